# SPDX-License-Identifier: MIT
"""Supports of networks as unions of cells.

A continuous piecewise linear function that is not 0 somewhere on a simplex is 0 on a part of it
that has no interior, so its support is the union of the simplices with a vertex where it is not 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.points import real_points, require_finite
from fe_relu.meshes.quadrilaterals.mesh import halved
from fe_relu.meshes.simplices.checks import LARGEST, checked_arrays
from fe_relu.networks.p2 import P2Network
from fe_relu.networks.q1 import Q1Network
from fe_relu.regions.domains import cells_of
from fe_relu.regions.functionals import pieces_of
from fe_relu.regions.regions import volumes
from fe_relu.regions.supports.distance import nearest
from fe_relu.regions.supports.outlines import area, joined, loops_of, single_edges
from fe_relu.regions.triangles import triangulated

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Support:
    """A union of intervals, or of triangles: the closure of where a function is not 0.

    Simplices have whole facets or vertices in common, or nothing. Those without length or area
    count for nothing. The arrays are copied, and kept read-only.

    Args:
        vertices: Coordinates, shape (dim, n), dim 1 or 2.
        cells: Vertices of each simplex, shape (dim + 1, m), m ≥ 0; kept increasing in 1-D, and
            counter-clockwise in 2-D.

    Raises:
        ValueError: An array has another shape, a coordinate is not finite, or there is no such
            vertex.
        TypeError: vertices are not real numbers, or cells not integers.

    Examples:
        >>> import fe_relu
        >>> triangle = fe_relu.Support([[0, 1, 0], [0, 0, 2]], [[0], [1], [2]])
        >>> triangle.measure, float(triangle.distance([[3.0], [0.0]])[0])
        (1.0, 2.0)
    """

    vertices: Floats
    cells: Ints

    def __post_init__(self) -> None:
        vertices, cells = np.asarray(self.vertices), np.asarray(self.cells)
        if cells.shape[1:] != (0,) or vertices.shape not in ((1, 0), (2, 0)):
            vertices, cells = checked_arrays(vertices, cells)
        if len(vertices) > 2 or len(cells) != len(vertices) + 1:
            raise ValueError(
                f"supports are in 1-D and 2-D; vertices of shape {vertices.shape} and cells of "
                f"shape {cells.shape} are not"
            )
        cells = _oriented(vertices, cells.astype(np.int64))
        for name, array in (("vertices", vertices.astype(np.float64)), ("cells", cells)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @staticmethod
    def of_polygon(corners: npt.ArrayLike) -> Support:
        """A convex polygon, corners (2, n); or in 1-D an interval, ends (1, 2).

        Raises:
            ValueError: It has another shape, has no area, or is not convex.
            TypeError: Corners are not real numbers.
        """
        points = np.asarray(corners)
        if points.shape != (1, 2) and (points.ndim != 2 or len(points) != 2 or points.size < 6):
            raise ValueError(
                "a polygon needs corners of shape (2, n), n at least 3, and an interval (1, 2), "
                f"not {points.shape}"
            )
        cells = cells_of(points, len(points))
        return _of_faces(cells.vertices.T, cells.offsets, cells.corners)

    @property
    def dim(self) -> int:
        return len(self.vertices)

    @property
    def is_empty(self) -> bool:
        """Whether the function is 0 everywhere."""
        return len(self.convex_parts) == 0

    @property
    def measure(self) -> float:
        """Its length or area."""
        return float(np.abs(volumes(self.vertices, self.cells)).sum())

    @cached_property
    def convex_parts(self) -> Floats:
        """Corners of the triangles, or of intervals that do not touch; shape (m, dim + 1, dim)."""
        parts = self.vertices.T[self.cells[:, volumes(self.vertices, self.cells) > 0].T]
        return joined(parts[:, :, 0])[:, :, None] if self.dim == 1 else parts

    @cached_property
    def rim(self) -> Floats:
        """Ends of the pieces of the boundary, shape (m, dim, dim)."""
        if self.dim == 1:
            return self.convex_parts.reshape(-1, 1, 1)
        return self.vertices.T[single_edges(self.cells).T]

    def distance(self, x: npt.ArrayLike) -> Floats:
        """The distance of the columns of x, (dim, n), to the support; infinite if it is empty."""
        points = real_points(x, self.dim).astype(np.float64)
        require_finite(points)
        if (largest := np.abs(points).max(initial=0)) > LARGEST:
            raise ValueError(f"coordinates up to {largest:g} are beyond {LARGEST:g}; rescale them")
        return nearest(points.T, self.convex_parts)[0]

    def boundary(self) -> list[Floats]:
        """Closed polygons with the support on their left, (2, k) each; in 1-D intervals, (1, 2).

        Outer ones run counter-clockwise, and those of holes clockwise. None passes a vertex twice:
        parts, and holes, that touch in a vertex only have a polygon each. Polygons start at their
        least vertex, by its first coordinate, then its second, and are in the order of these.
        """
        if self.dim == 1:
            return list(self.convex_parts.transpose(0, 2, 1))
        loops = [self.vertices[:, loop] for loop in loops_of(self.vertices, self.cells)]
        return [loop for loop in loops if area(loop) != 0]


def support(network: Any, domain: Any = None, *, tolerance: float = 0.0) -> Support:
    """The closure of where a network is not 0, exactly: a union of its linear regions.

    Of a network on a mesh without a domain, of the cells of its mesh with a node where it is not 0;
    of a `P2Network` that is the support of the P2 function. Collective if values are spread.

    Args:
        network: On a mesh in 1-D or 2-D, or one of which there are `linear_regions`.
        domain: As for `linear_regions`; needed if the network has no mesh.
        tolerance: Values up to this in magnitude count as 0.

    Raises:
        ValueError: A domain is needed, or the network has three inputs; as for `linear_regions`.
        TypeError: The network is of another kind.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (4, 4), "right")
        >>> hat = fe_relu.P1Network(grid, np.eye(25)[12])
        >>> found = fe_relu.support(hat)
        >>> found.measure, [loop.shape for loop in found.boundary()]
        (3.0, [(2, 6)])
    """
    if isinstance(network, Support):
        raise TypeError("a Support is one already; pass it as it is")
    if getattr(network, "dim_in", 1) > 2:
        raise ValueError("supports are found in 1-D and 2-D; the network has three inputs or more")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, not {tolerance}")
    vertices, offsets, corners, sizes = _faces(network, domain)
    chosen = np.maximum.reduceat(sizes, offsets[:-1]) > tolerance if sizes.size else sizes > 0
    kept = np.repeat(chosen, np.diff(offsets))
    counts = np.concatenate([[0], np.cumsum(np.diff(offsets)[chosen])])
    return _of_faces(vertices, counts, corners[kept])


class Faces(NamedTuple):
    """Convex cells, and how large a function is at each of their corners.

    Attributes:
        vertices: Shape (dim, n).
        offsets: As in `LinearRegions`.
        corners: As in `LinearRegions`.
        sizes: The largest magnitude of a component at each corner, or of the whole cell.
    """

    vertices: Floats
    offsets: Ints
    corners: Ints
    sizes: Floats


@singledispatch
def _faces(network: Any, domain: Any) -> Faces:
    pieces = pieces_of(network, domain)
    sizes = np.abs(pieces.values).max(axis=0)[pieces.corners]
    return Faces(pieces.vertices, pieces.offsets, pieces.corners, sizes)


@_faces.register
def _(network: Q1Network, domain: Any) -> Faces:
    if domain is not None:
        raise ValueError("the support of a Q1Network is known on its own mesh; leave domain out")
    whole: Any = network.whole()
    cells, size = whole.mesh.cells(), np.abs(np.atleast_2d(whole.values)).max(axis=0)
    sizes = np.repeat(size[cells].max(axis=0), 2)
    return _of_cells(whole.mesh.vertices(), halved(cells), sizes)


@_faces.register
def _(network: P2Network, domain: Any) -> Faces:
    if domain is not None:
        raise ValueError("the support of a P2Network is known on its own mesh; leave domain out")
    whole = network.whole()
    cells, size = whole.mesh.cells(), np.abs(np.atleast_2d(whole.values)).max(axis=0)
    pairs = ((cells[a], cells[b]) for b in range(len(cells)) for a in range(b + 1))
    nodes = [whole.mesh.midpoints(*pair) for pair in pairs]
    return _of_cells(whole.mesh.vertices(), cells, size[np.array(nodes)].max(axis=0))


def _of_cells(vertices: Floats, cells: Ints, sizes: Floats) -> Faces:
    """Of simplices (dim + 1, m), with one number for each."""
    upright = _oriented(vertices, cells)
    offsets = np.arange(cells.shape[1] + 1) * len(cells)
    return Faces(vertices, offsets, upright.T.ravel(), np.repeat(sizes, len(cells)))


def _oriented(vertices: Floats, cells: Ints) -> Ints:
    """The same simplices, none with a negative volume."""
    turned = cells.copy()
    turned[:2] = np.where(volumes(vertices, cells) < 0, cells[1::-1], cells[:2])
    return turned


def _of_faces(vertices: Floats, offsets: Ints, corners: Ints) -> Support:
    cells: Ints
    if len(vertices) == 1:
        cells = corners.reshape(-1, 2).T
    elif corners.size:
        cells, _ = triangulated(vertices.T.copy(), offsets, corners)
    else:
        cells = np.empty((3, 0), np.int64)
    used, numbers = np.unique(cells, return_inverse=True)
    return Support(vertices[:, used], numbers.reshape(cells.shape))
