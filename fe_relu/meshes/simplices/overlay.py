# SPDX-License-Identifier: MIT
"""The largest difference of P1 functions on two meshes of simplices, cell by cell of one of them.

Where a cell of one mesh meets a cell of the other, the difference is affine, and largest at a
vertex of what they share. Each of those vertices is an end of what an edge of the one has in the
other: in 1-D, 2-D and 3-D alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics import threads
from fe_relu.basics.compiled import compiled, inlined
from fe_relu.meshes.simplices.location.boxes import GROUP, boxes_of, groups_near, room_for
from fe_relu.meshes.simplices.location.neighbours import along_curve, centres, neighbours

if TYPE_CHECKING:
    from fe_relu.meshes.simplices.mesh import SimplexMesh


class Cells(NamedTuple):
    """A P1 function as compiled loops read it.

    Args:
        vertices: Coordinates, shape (dim, n).
        corners: Of each cell, shape (dim + 1, m).
        rows: Of each cell, the row of each barycentric coordinate, relative to the first corner,
            shape (m, dim + 1, dim).
        values: Nodal values, shape (k, n).
    """

    vertices: npt.NDArray[np.float64]
    corners: npt.NDArray[np.int64]
    rows: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]

    @staticmethod
    def of(vertices: npt.NDArray, corners: npt.NDArray, values: npt.NDArray) -> Cells:
        vertices = np.ascontiguousarray(vertices, np.float64)
        edges = vertices[:, corners[1:]] - vertices[:, corners[:1]]  # (axis, edge, cell)
        rows = np.linalg.inv(edges.transpose(2, 0, 1))
        rows = np.concatenate([-rows.sum(axis=1, keepdims=True), rows], axis=1)
        contiguous = np.ascontiguousarray(corners, np.int64), np.ascontiguousarray(rows)
        return Cells(vertices, *contiguous, np.ascontiguousarray(values, np.float64))


def largest_differences(
    mesh: SimplexMesh,
    values: npt.NDArray,
    points: npt.NDArray,
    corners: npt.NDArray,
    nodal: npt.NDArray,
) -> npt.NDArray[np.float64]:
    """Sup |network − function| over each cell and component, up to roundoff; shape (k, m).

    Where functions on the mesh end with a jump, it is a bound in the cells that reach beyond: there
    the function itself counts with its largest nodal value.

    Args:
        mesh: The mesh of the network.
        values: Its nodal values, shape (k, vertices).
        points: Nodes of the function, shape (dim, n).
        corners: Of its cells, shape (dim + 1, m).
        nodal: Its values at the nodes, shape (k, n).
    """
    function = Cells.of(points, corners, nodal)
    vertices, cells, own = mesh.extended
    cells = cells[:, along_curve(centres(vertices, cells))]
    padded = np.zeros((len(values), vertices.shape[1]))
    padded[:, :own] = values[:, :own]
    network, boxes = Cells.of(vertices, cells, padded), boxes_of(vertices, cells)
    most = np.zeros((len(values), corners.shape[1]))

    def run(part: slice) -> int:
        _largest(function, network, boxes, part.start, part.stop, most)
        return 0

    threads.total(run, threads.parts(most.shape[1]))
    alone = np.abs(function.values[:, corners]) * _counts_alone(mesh, function)
    return np.maximum(most, alone.max(axis=1, initial=0))


def _counts_alone(mesh: SimplexMesh, function: Cells) -> npt.NDArray[np.bool_]:
    """At which corners of its cells (dim + 1, m) the function counts without the network.

    With a ring around the mesh, where the network ends at zero, at corners beyond it: in between,
    differences are largest at vertices of the overlay. Else, at all corners of cells that reach
    beyond the mesh by more than roundoff.
    """
    if mesh.has_ring:
        return (mesh.locator.cells_at(function.vertices) < 0)[function.corners]
    middles = centres(function.vertices, function.corners)
    beyond, x, facets = mesh.locator.cells_at(middles) < 0, mesh.vertices(), _boundary(mesh)
    _entered(function, x, facets, boxes_of(x, facets), mesh.roundoff(), beyond)
    return np.broadcast_to(beyond, function.corners.shape)


def _boundary(mesh: SimplexMesh) -> npt.NDArray[np.int64]:
    """The facets of one cell only, near ones one after the other, shape (dim, f)."""
    cells = np.sort(mesh.cells(), axis=0)
    cell, i = np.nonzero(neighbours(cells, mesh.num_vertices)[0] < 0)
    facets = np.stack([cells[j + (j >= i), cell] for j in range(mesh.dim)])
    return np.ascontiguousarray(facets[:, along_curve(centres(mesh.vertices(), facets))])


@compiled
def _largest(function: Any, network: Any, boxes: Any, start: Any, stop: Any, most: Any) -> None:
    """Raises most to the largest difference found in each of the function's cells from start on."""
    groups, count = room_for(boxes), network.corners.shape[1]
    corners = len(function.corners)
    there, here = np.empty((corners, corners)), np.empty((corners, corners))
    for k in range(start, stop):
        low, high = _box(function, k)
        for group in range(groups_near(boxes, low, high, groups)):
            begin = groups[group] * GROUP
            for s in range(begin, min(begin + GROUP, count)):
                if not _may_meet(low, high, network, s):
                    continue
                apart = _seen_from(network, s, function, k, there)
                if apart or _seen_from(function, k, network, s, here):
                    continue
                for a in range(corners):
                    for b in range(a):
                        _compare(function, k, network, s, a, b, there, most, k)
                        _compare(network, s, function, k, a, b, here, most, k)


@inlined
def _box(cells: Any, k: Any) -> Any:
    """The corners of the box around a cell, three numbers each."""
    low0, high0 = _span(cells, k, 0)
    low1, high1 = _span(cells, k, 1) if len(cells.vertices) >= 2 else (0.0, 0.0)
    low2, high2 = _span(cells, k, 2) if len(cells.vertices) >= 3 else (0.0, 0.0)
    return (low0, low1, low2), (high0, high1, high2)


@inlined
def _span(cells: Any, k: Any, axis: Any) -> Any:
    low, high = np.inf, -np.inf
    for i in range(len(cells.corners)):
        at = cells.vertices[axis, cells.corners[i, k]]
        low, high = min(low, at), max(high, at)
    return low, high


@inlined
def _may_meet(low: Any, high: Any, cells: Any, s: Any) -> Any:
    lower, upper = _box(cells, s)
    meet = True
    for axis in range(3):
        meet &= (lower[axis] <= high[axis]) & (low[axis] <= upper[axis])
    return meet


@compiled
def _seen_from(cells: Any, k: Any, others: Any, s: Any, weights: Any) -> Any:
    """Writes barycentric coordinates (i, corner) in cell k of the corners of another cell.

    Says whether a facet of the cell has all of the other beyond it; then it stops there.
    """
    dim = len(cells.vertices)
    for i in range(dim + 1):
        largest = -np.inf
        for j in range(len(others.corners)):
            weight = 1.0 if i == 0 else 0.0
            for axis in range(dim):
                far = others.vertices[axis, others.corners[j, s]]
                weight += cells.rows[k, i, axis] * (far - cells.vertices[axis, cells.corners[0, k]])
            weights[i, j] = weight
            largest = max(largest, weight)
        if largest < 0:
            return True
    return False


@compiled
def _compare(
    one: Any, k: Any, other: Any, s: Any, a: Any, b: Any, weights: Any, most: Any, cell: Any
) -> None:
    """Raises most to the differences at both ends of what edge (a, b) of a cell has in another.

    Weights are the barycentric coordinates in the other of the cell's corners.
    """
    first, last = 0.0, 1.0
    for i in range(len(weights)):
        start, end = weights[i, a], weights[i, b]
        if start < 0 and end < 0:
            return
        if start < 0:
            first = max(first, start / (start - end))
        elif end < 0:
            last = min(last, start / (start - end))
    if first > last:
        return
    for t in (first, last):
        for output in range(len(most)):
            u, v = one.values[output, one.corners[a, k]], one.values[output, one.corners[b, k]]
            off = (1 - t) * u + t * v
            for i in range(len(weights)):
                weight = (1 - t) * weights[i, a] + t * weights[i, b]
                off -= weight * other.values[output, other.corners[i, s]]
            most[output, cell] = max(most[output, cell], abs(off))


@compiled
def _entered(function: Any, vertices: Any, facets: Any, boxes: Any, near: Any, enters: Any) -> None:
    """Which cells of the function a facet passes through, farther than roundoff from their own.

    Those that are known to be beyond the mesh are left as they are.
    """
    groups, count, dim = room_for(boxes), facets.shape[1], len(vertices)
    weights, least = np.empty((dim + 1, dim)), np.empty(dim + 1)
    room = np.empty((2, 2 * dim + 2, dim + 1))
    for k in range(enters.size):
        for i in range(dim + 1):
            least[i] = near * np.sqrt((function.rows[k, i] ** 2).sum())
        low, high = _box(function, k)
        for group in range(groups_near(boxes, low, high, groups)):
            begin = groups[group] * GROUP
            for f in range(begin, min(begin + GROUP, count)):
                if enters[k]:
                    break
                for i in range(dim + 1):
                    for j in range(dim):
                        weight = 1.0 if i == 0 else 0.0
                        for axis in range(dim):
                            origin = function.vertices[axis, function.corners[0, k]]
                            far = vertices[axis, facets[j, f]] - origin
                            weight += function.rows[k, i, axis] * far
                        weights[i, j] = weight
                enters[k] = _reaches_into(weights, least, room)


@compiled
def _reaches_into(weights: Any, least: Any, room: Any) -> Any:
    """Whether points of a polygon have all barycentric coordinates above the least ones.

    Weights are those of its corners, shape (dim + 1, corners); it is clipped by one after another.
    """
    corners, count = weights.shape
    now, after = room[0], room[1]
    for j in range(count):
        now[j] = weights[:, j]
    for i in range(corners):
        kept = 0
        for j in range(count):
            p, q = now[j], now[(j + 1) % count]
            above, next_above = p[i] - least[i], q[i] - least[i]
            if above > 0:
                after[kept] = p
                kept += 1
            if (above > 0) != (next_above > 0):
                after[kept] = p + (q - p) * (above / (above - next_above))
                kept += 1
        if kept == 0:
            return False
        now, after, count = after, now, kept
    return True
