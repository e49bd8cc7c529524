# SPDX-License-Identifier: MIT
"""What vertices and cells must be to be a mesh; errors name the first offender and how many."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.basics.ordering import order_of, sorted_columns
from fe_relu.meshes.simplices.location.boxes import GROUP, boxes_of, groups_near, room_for
from fe_relu.meshes.simplices.location.exact import determinant_2, determinant_3, side
from fe_relu.meshes.simplices.location.neighbours import along_curve, centres, neighbours

#: A cell is degenerate if some height of it is at most this times its longest edge.
FLATNESS = 2.0**-40

#: Sizes of edges whose powers neither overflow nor vanish.
SMALLEST, LARGEST = 1e-60, 1e60

NAMES = {1: "interval", 2: "triangle", 3: "tetrahedron"}


def checked_arrays(
    vertices: npt.ArrayLike, cells: npt.ArrayLike, corners_of_cells: int | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Copies of vertices (dim, n) and cells of the right types, zeros without sign.

    Args:
        vertices: Coordinates.
        cells: Corners of cells, shape (corners, m).
        corners_of_cells: How many a cell has, dim + 1 by default.

    Raises:
        ValueError: They have other shapes, a coordinate is not finite, or there is no such vertex.
        TypeError: Coordinates are not real numbers, or corners not integers.
    """
    given, corners = np.asarray(vertices), np.asarray(cells)
    if given.dtype.kind not in "fiu" or given.dtype.itemsize > 8:
        raise TypeError(f"vertices must be real numbers, not {given.dtype}")
    if corners.dtype.kind not in "iu":
        raise TypeError(f"cells must be integers, the vertices' numbers, not {corners.dtype}")
    if given.ndim != 2 or given.shape[0] not in NAMES or given.shape[1] == 0:
        raise ValueError(
            f"vertices must have shape (dim, n), one column each, dim 1, 2 or 3, not {given.shape}"
        )
    dim, count = given.shape
    needed = corners_of_cells or dim + 1
    if corners.ndim != 2 or corners.shape[0] != needed or corners.shape[1] == 0:
        raise ValueError(
            f"cells in {dim}-D must have shape ({needed}, m), one column each, not {corners.shape}"
        )
    points = np.array(given, np.float64, order="C") + 0.0
    infinite = ~np.all(np.isfinite(points), axis=0, keepdims=False)
    _refuse(infinite, "vertices have NaN or infinite coordinates")
    if (largest := np.abs(points).max()) > LARGEST:
        raise ValueError(f"coordinates up to {largest:g} are beyond {LARGEST:g}; rescale the mesh")
    wrong = np.any((corners < 0) | (corners >= count), axis=0, keepdims=False)
    _refuse(wrong, f"cells name vertices that are not there, of {count}")
    return points, np.array(corners, np.int64, order="C")


def require_mesh(vertices: npt.NDArray[np.float64], cells: npt.NDArray[np.int64]) -> None:
    """Raises unless these are a conforming mesh: cells share whole facets, edges, vertices or none.

    Raises:
        ValueError: A vertex is in no cell, or in the place of another; a cell is degenerate; a
            facet has three cells, or two on one side; or cells overlap.
    """
    count = vertices.shape[1]
    used = np.zeros(count, np.bool_)
    used[cells] = True
    _refuse(~used, "vertices are in no cell; leave them out", what="vertex")
    _require_apart(vertices)
    cells = sorted_columns(cells)
    signs = np.empty(cells.shape[1], np.int8)
    flat = np.empty(cells.shape[1], np.bool_)
    _shapes(vertices, cells, signs, flat)
    size = f"a height of at most {FLATNESS:.0e} of their longest edge, or are below {SMALLEST:g}"
    _refuse(flat, f"cells are degenerate: they have {size}")
    beyond, third = neighbours(cells, count)
    if third >= 0:
        raise ValueError(f"{_facet(cells, third)} is of more than two cells")
    folded = _folded(beyond, signs)
    _refuse(folded, "cells are on the same side of a facet as their neighbour: they overlap")
    _require_no_overlap(vertices, cells, beyond)


def _refuse(bad: npt.NDArray[np.bool_], why: str, what: str = "") -> None:
    if bad.any():
        first, number = np.flatnonzero(bad)[0], np.count_nonzero(bad)
        what = what or ("vertex" if why.startswith("vertices") else "cell")
        raise ValueError(f"{number} of {bad.size} {why}; the first is {what} {first}")


def _facet(cells: npt.NDArray[np.int64], number: int) -> str:
    cell, i = divmod(int(number), 4)
    corners = [int(vertex) for vertex in np.delete(cells[:, cell], i)]
    kind = ("vertex", "edge", "facet")[len(corners) - 1]
    return f"the {kind} of vertices {corners}, of cell {cell},"


def _require_apart(vertices: npt.NDArray[np.float64]) -> None:
    """Raises if two vertices are in one place."""
    order = order_of(*vertices)
    sorted_ = vertices[:, order]
    same = (sorted_[:, 1:] == sorted_[:, :-1]).all(axis=0)
    if same.any():
        a, b = np.sort(np.stack([order[:-1][same], order[1:][same]]), axis=0)
        first = order_of(a, b)[0]
        raise ValueError(
            f"{np.count_nonzero(same)} vertices are in the place of another, the first is vertex "
            f"{b[first]}, where vertex {a[first]} is; where the mesh is slit, a function has two "
            "values, and a network one: merge the vertices, or open the slit"
        )


@compiled
def _shapes(vertices: Any, cells: Any, signs: Any, flat: Any) -> None:
    """The orientation of each cell, and whether it is degenerate."""
    dim = len(vertices)
    for k in range(cells.shape[1]):
        o = _point(vertices, cells[0, k])
        p = _point(vertices, cells[1, k])
        longest, cross = _distance(o, p), 1.0
        if dim == 1:
            volume = p[0] - o[0]
        elif dim == 2:
            q = _point(vertices, cells[2, k])
            volume = determinant_2(o, p, q)[0][0]
            longest = max(longest, _distance(o, q), _distance(p, q))
            cross = longest
        else:
            q, r = _point(vertices, cells[2, k]), _point(vertices, cells[3, k])
            volume = determinant_3(o, p, q, r)[0][0]
            longest = max(longest, _distance(o, q), _distance(o, r))
            longest = max(longest, _distance(p, q), _distance(p, r), _distance(q, r))
            cross = max(_area(o, p, q), _area(o, p, r), _area(o, q, r), _area(p, q, r))
        signs[k] = 1 if volume > 0 else -1
        flat[k] = not (abs(volume) > FLATNESS * longest * cross and longest > SMALLEST)


@compiled
def _point(vertices: Any, v: Any) -> Any:
    dim = len(vertices)
    return (
        vertices[0, v], vertices[1, v] if dim >= 2 else 0.0, vertices[2, v] if dim >= 3 else 0.0
    )  # fmt: skip


@compiled
def _distance(p: Any, q: Any) -> Any:
    return np.sqrt((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 + (p[2] - q[2]) ** 2)


@compiled
def _area(o: Any, p: Any, q: Any) -> Any:
    """Twice the area of a triangle in space."""
    a0, a1, a2 = p[0] - o[0], p[1] - o[1], p[2] - o[2]
    b0, b1, b2 = q[0] - o[0], q[1] - o[1], q[2] - o[2]
    x, y, z = a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0
    return np.sqrt(x * x + y * y + z * z)


def _folded(beyond: npt.NDArray[np.int64], signs: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
    """Which cells are on the same side of a facet as the cell beyond it.

    Corners are in order, so the side of a facet that its cell is on is told by the parity of the
    corner opposite and the orientation of the cell.
    """
    other, j = np.divmod(beyond, 4)
    i = np.arange(beyond.shape[1])
    opposite = (signs[:, None] * signs[other]) * (1 - 2 * ((i + j) % 2)) < 0
    return ((beyond >= 0) & ~opposite).any(axis=1)


def _require_no_overlap(
    vertices: npt.NDArray[np.float64], cells: npt.NDArray[np.int64], beyond: npt.NDArray[np.int64]
) -> None:
    """Raises if cells of the mesh, whose neighbours are on different sides, overlap.

    They do only where the boundary meets a cell that it is not the boundary of: a vertex of it lies
    in a cell of which it is no corner, or one of its edges crosses one of its facets.
    """
    dim = len(vertices)
    cell, i = np.nonzero(beyond < 0)
    facets = np.stack([cells[j + (j >= i), cell] for j in range(dim)])
    edges = np.unique(
        np.concatenate([facets[[a, b]] for b in range(dim) for a in range(b)], axis=1), axis=1
    ) if dim > 1 else facets[[0, 0]]  # fmt: skip
    curve = along_curve(centres(vertices, cells))
    ordered = np.ascontiguousarray(cells[:, curve])
    boundary = np.unique(facets)
    inside = np.empty(boundary.size, np.int64)
    _cells_around(vertices, boundary, ordered, boxes_of(vertices, ordered), inside)
    if (inside >= 0).any():
        first = np.flatnonzero(inside >= 0)[0]
        raise ValueError(
            f"{np.count_nonzero(inside >= 0)} vertices lie in cells of which they are no corner, "
            f"the first is vertex {boundary[first]}, in cell {curve[inside[first]]}: cells "
            "overlap, or are not cut where their neighbours are"
        )
    if dim == 1:
        return
    order = along_curve(centres(vertices, facets))
    facets = np.ascontiguousarray(facets[:, order])
    crossed = np.empty(edges.shape[1], np.int64)
    _crossings(vertices, edges, facets, boxes_of(vertices, facets), crossed)
    if (crossed >= 0).any():
        first = np.flatnonzero(crossed >= 0)[0]
        raise ValueError(
            f"{np.count_nonzero(crossed >= 0)} edges cross the boundary, the first is that of "
            f"vertices {edges[:, first].tolist()}, at cell {cell[order[crossed[first]]]}: "
            "cells overlap"
        )


@compiled
def _cells_around(vertices: Any, chosen: Any, cells: Any, boxes: Any, found: Any) -> None:
    """For each of some vertices a cell that it lies in and is no corner of, or −1."""
    count, groups = cells.shape[1], room_for(boxes)
    for place in range(chosen.size):
        v, found[place] = chosen[place], -1
        point = _point(vertices, v)
        for group in range(groups_near(boxes, point, point, groups)):
            begin = groups[group] * GROUP
            for k in range(begin, min(begin + GROUP, count)):
                if not _is_corner(cells, k, v) and _holds(vertices, cells, k, point):
                    found[place] = k


@compiled
def _is_corner(cells: Any, k: Any, v: Any) -> Any:
    found = False
    for i in range(len(cells)):
        found |= cells[i, k] == v
    return found


@compiled
def _holds(vertices: Any, cells: Any, k: Any, point: Any) -> Any:
    """Whether a point lies in a cell, its boundary included."""
    dim = len(vertices)
    for axis in range(dim):
        low, high = np.inf, -np.inf
        for i in range(dim + 1):
            at = vertices[axis, cells[i, k]]
            low, high = min(low, at), max(high, at)
        if not low <= point[axis] <= high:
            return False
    for i in range(dim + 1):
        p = _point(vertices, cells[1 if i == 0 else 0, k])
        q = _point(vertices, cells[2 if i <= 1 else 1, k]) if dim >= 2 else p
        r = _point(vertices, cells[3 if i <= 2 else 2, k]) if dim >= 3 else p
        if side(point, p, q, r, dim) * side(_point(vertices, cells[i, k]), p, q, r, dim) < 0:
            return False
    return True


@compiled
def _crossings(vertices: Any, edges: Any, facets: Any, boxes: Any, found: Any) -> None:
    """For each edge a facet whose inside it passes through, or −1."""
    dim, count = len(vertices), facets.shape[1]
    groups = room_for(boxes)
    for e in range(edges.shape[1]):
        found[e] = -1
        a, b = _point(vertices, edges[0, e]), _point(vertices, edges[1, e])
        low = min(a[0], b[0]), min(a[1], b[1]), min(a[2], b[2])
        high = max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2])
        for group in range(groups_near(boxes, low, high, groups)):
            begin = groups[group] * GROUP
            for k in range(begin, min(begin + GROUP, count)):
                p, q = _point(vertices, facets[0, k]), _point(vertices, facets[1, k])
                r = _point(vertices, facets[2, k]) if dim >= 3 else q
                if side(a, p, q, r, dim) * side(b, p, q, r, dim) >= 0:
                    continue
                if dim == 2:
                    crosses = side(p, a, b, b, 2) * side(q, a, b, b, 2) < 0
                else:
                    first, second = side(a, b, p, q, 3), side(a, b, q, r, 3)
                    crosses = first != 0 and first == second and first == side(a, b, r, p, 3)
                if crosses:
                    found[e] = k
