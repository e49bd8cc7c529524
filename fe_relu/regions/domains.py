# SPDX-License-Identifier: MIT
"""Domains: boxes, convex polygons and meshes, as the faces that are cut first."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.arguments import checked_box
from fe_relu.meshes.grid.grid import Grid
from fe_relu.meshes.simplices.checks import LARGEST
from fe_relu.meshes.simplices.mesh import SimplexMesh

#: A polygon has no area, and a corner is none, if it is below this part of its size.
FLATNESS = 2.0**-40


class Cells(NamedTuple):
    """Convex cells of a conforming subdivision: intervals, or polygons counter-clockwise.

    Attributes:
        vertices: Shape (n, dim).
        offsets: Shape (cells + 1,).
        corners: Those of cell c are `corners[offsets[c] : offsets[c + 1]]`.
    """

    vertices: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.int64]
    corners: npt.NDArray[np.int64]


@singledispatch
def cells_of(domain: Any, dim: int) -> Cells:
    """The cells of a domain.

    Args:
        domain: A box ((x0, x1), …), a convex polygon of shape (2, n), n ≥ 3, or a mesh.
        dim: The number of coordinates.

    Raises:
        ValueError: A box is empty or flat; a polygon has no area or is not convex; a mesh is of
            another dimension; or a coordinate is not finite.
        TypeError: Coordinates are not real numbers.
    """
    if dim == 2 and np.ndim(domain) == 2 and np.shape(domain)[0] == 2 != np.shape(domain)[1]:
        return _one(_checked_polygon(domain))
    sides = checked_box(domain, dim)
    if dim == 1:
        return _one(sides.T.copy())
    (x0, x1), (y0, y1) = sides
    return _one(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))


@cells_of.register
def _(cells: Cells, dim: int) -> Cells:
    return cells


@cells_of.register(Grid)
@cells_of.register(SimplexMesh)
def _(mesh: Any, dim: int) -> Cells:
    if mesh.dim != dim:
        raise ValueError(f"the network takes {dim} inputs, and the mesh is {mesh.dim}-dimensional")
    return simplices(mesh.vertices(), mesh.cells())


def simplices(vertices: npt.NDArray, cells: npt.NDArray) -> Cells:
    """Intervals or triangles (dim + 1, m), in their order, with corners in the right one."""
    points = vertices.T.astype(np.float64)
    sides = points[cells[1:]] - points[cells[0]]
    size = sides[0, :, 0] if len(vertices) == 1 else _cross(sides[0], sides[1])
    corners = cells.astype(np.int64)
    corners[:2] = np.where(size < 0, corners[1::-1], corners[:2])
    count = len(corners)
    return Cells(points, count * np.arange(corners.shape[1] + 1), corners.T.ravel().copy())


def _one(vertices: npt.NDArray[np.float64]) -> Cells:
    count = len(vertices)
    return Cells(vertices, np.array([0, count]), np.arange(count))


def _checked_polygon(given: Any) -> npt.NDArray[np.float64]:
    """Corners (n, 2), counter-clockwise, without those on the line between their neighbours."""
    polygon = np.asarray(given)
    if polygon.dtype.kind not in "fiu":
        raise TypeError(f"a polygon needs real numbers, not {polygon.dtype}")
    polygon = polygon.astype(np.float64).T
    if len(polygon) < 3:
        raise ValueError(f"a polygon needs at least 3 corners, not {len(polygon)}")
    if not np.isfinite(polygon).all():
        raise ValueError("a polygon needs finite corners; there are NaN or infinite coordinates")
    if (largest := np.abs(polygon).max()) > LARGEST:
        raise ValueError(f"coordinates up to {largest:g} are beyond {LARGEST:g}; rescale them")
    size = np.ptp(polygon, axis=0).max()
    seen = polygon - polygon.mean(axis=0)
    area = _cross(seen, np.roll(seen, -1, axis=0)).sum() / 2
    if not abs(area) > FLATNESS * size * size:
        raise ValueError(f"the polygon has no area: {abs(area):g} at a size of {size:g}")
    polygon = polygon[:: 1 if area > 0 else -1]
    while True:
        before = polygon - np.roll(polygon, 1, axis=0)
        turns = _cross(before, np.roll(before, -1, axis=0))
        onward = (before * np.roll(before, -1, axis=0)).sum(axis=1)
        straight = abs(turns) <= FLATNESS * size * size
        if not straight.any() or (straight & (onward < 0)).any():
            break
        polygon = np.delete(polygon, np.flatnonzero(straight)[0], axis=0)
    angles = np.arctan2(turns, onward)
    if straight.any() or (turns < 0).any() or not np.isclose(angles.sum(), 2 * np.pi):
        raise ValueError(
            "the polygon is not convex, or its corners are not one after the other around it; "
            "cut it into triangles, and pass the mesh"
        )
    return polygon.copy()


def _cross(a: npt.NDArray, b: npt.NDArray) -> npt.NDArray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
