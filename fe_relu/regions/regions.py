# SPDX-License-Identifier: MIT
"""The linear regions of a ReLU network in one or two variables, as a mesh and a P1 function."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.arguments import checked_integer
from fe_relu.basics.refusals import wrong_kind
from fe_relu.cpwl.decomposition import MaxDecomposition
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.network import PoolingNetwork, ReLUNetwork
from fe_relu.meshes.simplices.mesh import SimplexMesh
from fe_relu.networks.nodal import NodalNetwork
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.q1 import Q1Network
from fe_relu.regions.domains import Cells, cells_of
from fe_relu.regions.halfedges import loops, of_loops
from fe_relu.regions.layerwise import TOLERANCE_UNITS, Layer, Step, cut_by_layers
from fe_relu.regions.line import knots
from fe_relu.regions.merging import BEND, merged
from fe_relu.regions.pieces import activity, slopes_of_faces
from fe_relu.regions.triangles import triangulated

#: So many regions are refused, unless more are allowed.
MOST_REGIONS = 5_000_000


@dataclass(frozen=True, eq=False)
class LinearRegions:
    """Convex faces of a conforming subdivision, on each of which a network is affine.

    Attributes:
        vertices: Coordinates, shape (dim, n).
        values: The network's values at them, shape (n,), or (k, n) of k outputs.
        offsets: The corners of face f are `corners[offsets[f] : offsets[f + 1]]`.
        corners: Numbers of vertices: in 2-D counter-clockwise, in 1-D from left to right.
        slopes: The gradient of the network on each face, shape (dim, faces) or (k, dim, faces),
            from its weights, so that it keeps its digits on slivers.
        constants: What the affine function of each face is at the origin, shape (faces,) or
            (k, faces).
        cells: The cell of the domain that each face is a part of, shape (faces,); 0 of a box or a
            polygon. Of `minimal` regions that of one of the faces that became one.
    """

    vertices: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.int64]
    corners: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]
    _layers: tuple[Layer, ...]
    _steps: tuple[Step, ...]
    _chosen: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        for array in (self.vertices, self.values, self.offsets, self.corners, self.cells):
            array.flags.writeable = False

    @property
    def dim(self) -> int:
        return len(self.vertices)

    @property
    def num_regions(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_vertices(self) -> int:
        return self.vertices.shape[1]

    def faces(self) -> list[npt.NDArray[np.int64]]:
        """The vertices of each face."""
        return np.split(self.corners, self.offsets[1:-1])

    @cached_property
    def _slopes(self) -> npt.NDArray[np.float64]:
        """Shape (faces, k, dim)."""
        faces = len(self._steps[-1].parents) if self._steps else self.num_regions
        slopes = slopes_of_faces(self._layers, self._steps, faces)
        return slopes if self._chosen is None else slopes[self._chosen]

    @cached_property
    def slopes(self) -> npt.NDArray[np.float64]:
        """The network's gradient on each face."""
        slopes = self._slopes.transpose(1, 2, 0)
        return slopes[0] if self.values.ndim == 1 else slopes

    @cached_property
    def constants(self) -> npt.NDArray[np.float64]:
        """What the affine function of each face is at the origin."""
        at = self.corners[self.offsets[:-1]]
        there = np.einsum("fkd,df->kf", self._slopes, self.vertices[:, at])
        constants = np.atleast_2d(self.values)[:, at] - there
        return constants[0] if self.values.ndim == 1 else constants

    @cached_property
    def simplices(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The cells of `mesh()`, shape (dim + 1, m), and the face of each."""
        if self.dim == 1:
            return self.corners.reshape(-1, 2).T.copy(), np.arange(self.num_regions)
        return triangulated(self.vertices.T.copy(), self.offsets, self.corners)

    @cached_property
    def sizes(self) -> npt.NDArray[np.float64]:
        """The area of each face, or its length, shape (faces,)."""
        cells, face = self.simplices
        found = np.zeros(self.num_regions)
        np.add.at(found, face, volumes(self.vertices, cells))
        return found

    def mesh(self) -> SimplexMesh:
        """The faces cut into triangles, or the intervals, with the same vertices."""
        return SimplexMesh.conforming(self.vertices, self.simplices[0])

    def network(self) -> P1Network:
        """The P1 function on `mesh()` that the network is, on the domain."""
        return P1Network(self.mesh(), self.values)


def volumes(
    vertices: npt.NDArray[np.float64], cells: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Lengths of intervals or areas of triangles, shape (m,)."""
    sides = vertices[:, cells[1:]] - vertices[:, cells[:1]]
    if len(vertices) == 1:
        return sides[0, 0]
    return (sides[0, 0] * sides[1, 1] - sides[1, 0] * sides[0, 1]) / 2


def linear_regions(
    network: Any, domain: Any, *, minimal: bool = False, max_regions: int = MOST_REGIONS
) -> LinearRegions:
    """The faces on which a ReLU network is affine: on a domain it is a P1 function on them.

    Layer by layer, each convex face is cut by the lines on which neurons of that layer change sign
    in it. Vertices are shared by the faces around them, and edges end where a face on either side
    has a corner; so the faces cut into triangles are a conforming mesh. One tolerance decides what
    is 0 (`fe_relu.regions.layerwise.TOLERANCE_UNITS` units of roundoff): lines that are equal up to
    it are one, and lines that pass a vertex within it go through it.

    In 1-D, faces are the intervals between knots. Compiled; time and memory grow with the number of
    faces. On ranks, each that calls has the whole.

    Args:
        network: A `ReLUNetwork` with one or two inputs, or a network whose explicit layers are one.
        domain: A box ((x0, x1), (y0, y1)), a convex polygon of shape (2, n), or a mesh, the edges
            of which are then among those of the faces; in 1-D (a, b) or a mesh of intervals.
        minimal: Whether faces across whose edges the network does not bend become one, as long as
            that is convex.
        max_regions: An error comes instead of more.

    Raises:
        ValueError: The network has more than two inputs; the domain has no area, or is not convex;
            there are too many regions, or the network overflows.
        TypeError: The network is of another kind.

    Examples:
        >>> import numpy as np, fe_relu
        >>> tent = fe_relu.ReLUNetwork(  # relu(x) + relu(y)
        ...     (fe_relu.Affine(np.eye(2), [0, 0]), fe_relu.Affine([[1, 1]], [0]))
        ... )
        >>> regions = fe_relu.linear_regions(tent, ((-1, 1), (-1, 2)))
        >>> regions.num_regions, regions.num_vertices
        (4, 9)
        >>> regions.network()([[0.5, -0.5], [0.25, 1.75]])
        array([0.75, 1.75])
    """
    layers = dense_layers(layers_of(network))
    most = checked_integer("max_regions", max_regions, 1)
    dim = layers[0][0].shape[1]
    if dim > 2:
        raise ValueError(
            f"the network takes {dim} inputs; linear regions are found for one or two, of a "
            "network on a line or a plane in the others: network @ that affine map"
        )
    cells = cells_of(domain, dim)
    if len(cells.offsets) - 1 > most:
        raise ValueError(f"the mesh alone has more than {most} cells; max_regions=… allows more")
    with np.errstate(over="ignore", invalid="ignore"):  # refused where it happens
        if dim == 2:
            return _in_plane(layers, cells, most, minimal)
        found = _on_line(layers, cells, most)
    return _without_knots(found) if minimal else found


@singledispatch
def layers_of(network: Any) -> ReLUNetwork:
    """The network as layers.

    Raises:
        TypeError: It has none.
    """
    raise wrong_kind(network, "a ReLUNetwork, nor has it explicit layers", "to_p1")


@layers_of.register
def _(network: ReLUNetwork) -> ReLUNetwork:
    return network


@layers_of.register(Q1Network)
@layers_of.register(PoolingNetwork)
def _(network: Any) -> ReLUNetwork:
    raise TypeError(
        f"a {type(network).__name__} has no linear regions, as products bend everywhere; its "
        "interpolant on triangles has, P1Network(Grid(…), values)"
    )


@layers_of.register(NodalNetwork)
@layers_of.register(Surrogate)
@layers_of.register(MaxDecomposition)
def _(network: Any) -> ReLUNetwork:
    return network.explicit()


def dense_layers(network: ReLUNetwork) -> tuple[Layer, ...]:
    """Weight and bias of each layer, dense, in double precision."""
    return tuple(
        (layer.weight.toarray().astype(np.float64), layer.bias.astype(np.float64))
        for layer in network.layers
    )


def _in_plane(layers: tuple[Layer, ...], cells: Cells, most: int, minimal: bool) -> LinearRegions:
    faces, values, steps = cut_by_layers(of_loops(*cells), layers, most)
    chosen = None
    if minimal:
        faces, kept, chosen = merged(faces, slopes_of_faces(layers, steps, faces.num_faces))
        values = values[kept]
    offsets, corners = loops(faces)
    inside: npt.NDArray[np.int64] = np.arange(len(cells.offsets) - 1)
    for step in steps:
        inside = inside[step.parents]
    return LinearRegions(
        faces.vertices().T.copy(),
        _by_output(values),
        offsets,
        corners,
        inside if chosen is None else inside[chosen],
        layers,
        tuple(steps),
        chosen,
    )


def _on_line(layers: tuple[Layer, ...], cells: Cells, most: int) -> LinearRegions:
    """Cells in order from left to right; what lies between two that are apart is left out."""
    starts, ends = cells.vertices[cells.corners, 0].reshape(-1, 2).T
    order = np.argsort(starts)
    x, values = knots(np.unique(cells.vertices[cells.corners, 0]), layers, most)
    middles = (x[1:] + x[:-1]) / 2
    inside = order[np.maximum(np.searchsorted(starts[order], middles) - 1, 0)]
    faces = np.flatnonzero(middles < ends[inside])
    used, corners = np.unique(np.stack([faces, faces + 1], axis=1), return_inverse=True)
    return LinearRegions(
        x[None, used],
        _by_output(values[used]),
        2 * np.arange(len(faces) + 1),
        corners.ravel(),
        inside[faces],
        layers,
        _steps_of(middles[faces], layers),
    )


def _steps_of(x: npt.NDArray[np.float64], layers: tuple[Layer, ...]) -> tuple[Step, ...]:
    """Which neurons are active in the middle of each interval."""
    rows, steps, every = x[:, None], [], np.arange(len(x))
    eps = TOLERANCE_UNITS * np.finfo(np.float64).eps
    for weight, bias in layers[:-1]:
        tol = eps * (np.abs(rows) @ np.abs(weight).T + np.abs(bias))
        rows = rows @ weight.T + bias
        steps.append(Step(every, activity(rows, tol)))
        rows = np.maximum(rows, 0)
    return tuple(steps)


def _without_knots(found: LinearRegions) -> LinearRegions:
    """The same function without knots where no output bends."""
    slopes = found._slopes.reshape(found.num_regions, -1)
    jump = np.abs(np.diff(slopes, axis=0)).max(axis=1)
    left, right = found.corners.reshape(-1, 2).T
    bent = (jump > BEND * np.abs(slopes).max()) | (left[1:] != right[:-1])
    first = np.flatnonzero(np.append(True, bent))
    last = np.append(first[1:], found.num_regions) - 1
    used, corners = np.unique(np.stack([left[first], right[last]], axis=1), return_inverse=True)
    return LinearRegions(
        found.vertices[:, used],
        found.values[..., used],
        2 * np.arange(len(first) + 1),
        corners.ravel(),
        found.cells[first],
        found._layers,
        found._steps,
        first,
    )


def _by_output(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Values (n, k) as a network returns them."""
    return values[:, 0].copy() if values.shape[1] == 1 else values.T.copy()
