# SPDX-License-Identifier: MIT
"""A P2 function is its P1 part and one bump 4 λᵢ λⱼ for each edge, by the edge's surplus.

The surplus of an edge is its midpoint's nodal value minus the mean of its ends' values. Nodes are
numbered as the vertices of the grid refined by two; their edges are those of the grid itself,
whatever the refined diagonals would be.

    right, left, alternating: vertices · at (even, even), midpoints | − ╱ at the other places
    crossed: cell centres at (odd, odd), midpoints of half diagonals at the centres of refined cells
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.grid.locate import CUTS
from fe_relu.meshes.mesh import EdgeNodes

if TYPE_CHECKING:
    from fe_relu.meshes.grid.grid import Grid
    from fe_relu.meshes.grid.window import Window

#: The corners that edges 0, 1, 2 of a triangle join; a P2 element has its nodes 3, 4, 5 there.
EDGES = ((1, 2), (0, 2), (0, 1))

#: The quarters of a triangle by its six nodes, edge k of each parallel to edge k of the whole.
QUARTERS = ((0, 5, 4), (5, 1, 3), (4, 3, 2), (3, 4, 5))

#: Middles of half diagonals of a crossed cell: from its centre to the corner (a, b).
SPOKES = ((0, 0), (1, 0), (0, 1), (1, 1))


class Nodes(NamedTuple):
    """What nodes have, by kind, each of shape (k, rows, columns) in the order of the lattice.

    vertices: (ny + 1, nx + 1). right: of edges along the first axis, (ny + 1, nx). up: along the
    second, (ny, nx + 1). middle: of the cells, (ny, nx): the midpoint of its diagonal, or its
    centre. spokes: of crossed cells, as `SPOKES` lists them, (ny, nx) each.
    """

    vertices: npt.NDArray
    right: npt.NDArray
    up: npt.NDArray
    middle: npt.NDArray
    spokes: tuple[npt.NDArray, ...]

    @staticmethod
    def of(window: Window, values: npt.NDArray) -> Nodes:
        """Views of values (k, n) at the nodes of a window of cells, in its order.

        A window without cells has one vertex of value 0, so that its shapes fit too.
        """
        (nx, ny), k = window.shape, len(values)
        values = values if nx > 0 else np.zeros((k, 1), values.dtype)
        split = (2 * nx + 1) * (2 * ny + 1)
        places = values[:, :split].reshape(k, 2 * ny + 1, 2 * nx + 1)
        spokes: tuple[npt.NDArray, ...] = ()
        if window.grid.has_centres:
            centres = values[:, split:].reshape(k, 2 * ny, 2 * nx)
            spokes = tuple(centres[:, b::2, a::2] for a, b in SPOKES)
        return Nodes(
            places[:, ::2, ::2],
            places[:, ::2, 1::2],
            places[:, 1::2, ::2],
            places[:, 1::2, 1::2],
            spokes,
        )


class Edges(NamedTuple):
    """What edges have, by kind; shapes as those of `Nodes`. Halved cells have diagonals, no spokes.

    backslash: which cells are halved as ╲, shape (ny, nx).
    """

    right: npt.NDArray
    up: npt.NDArray
    diagonal: npt.NDArray | None
    spokes: tuple[npt.NDArray, ...]
    backslash: npt.NDArray[np.bool_]


def backslash_cells(window: Window) -> npt.NDArray[np.bool_]:
    """Which cells of the window are halved as ╲, shape (ny, nx)."""
    cut, (i0, j0), (nx, ny) = CUTS[window.grid.diagonal], window.start, window.shape
    i, j = np.arange(i0, i0 + nx), np.arange(j0, j0 + ny)
    return (cut.parity + (i + j[:, None]) * cut.alternating) % 2 == 1


def edge_nodes(
    window: Window, nodes: Nodes
) -> Iterator[tuple[npt.NDArray, npt.NDArray, npt.NDArray]]:
    """What the midpoint and both ends of all edges have, kind by kind in the order of `Edges`."""
    v = nodes.vertices
    yield nodes.right, v[:, :, :-1], v[:, :, 1:]
    yield nodes.up, v[:, :-1], v[:, 1:]
    if nodes.spokes:
        ny, nx = nodes.middle.shape[1:]
        for (a, b), spoke in zip(SPOKES, nodes.spokes, strict=True):
            yield spoke, nodes.middle, v[:, b : b + ny, a : a + nx]
        return
    backslash = backslash_cells(window)
    low = np.where(backslash, v[:, :-1, 1:], v[:, :-1, :-1])
    high = np.where(backslash, v[:, 1:, :-1], v[:, 1:, 1:])
    yield nodes.middle, low, high


def surpluses(window: Window, nodes: Nodes) -> Edges:
    """The surpluses of all edges, from nodal values."""
    half = nodes.vertices.dtype.type(0.5)
    right, up, *others = (
        middle - half * (one + other) for middle, one, other in edge_nodes(window, nodes)
    )
    backslash = backslash_cells(window)
    if nodes.spokes:
        return Edges(right, up, None, tuple(others), backslash)
    return Edges(right, up, others[0], (), backslash)


def triangle_edges(
    edges: Edges,
) -> Iterator[tuple[npt.NDArray, npt.NDArray, npt.NDArray]]:
    """The three edges of all triangles, in as many groups as a cell has triangles."""
    below, above = edges.right[:, :-1], edges.right[:, 1:]
    before, behind = edges.up[:, :, :-1], edges.up[:, :, 1:]
    if edges.diagonal is None:
        s00, s10, s01, s11 = edges.spokes
        yield below, s00, s10
        yield above, s01, s11
        yield before, s00, s01
        yield behind, s10, s11
        return
    yield below, np.where(edges.backslash, before, behind), edges.diagonal
    yield above, np.where(edges.backslash, behind, before), edges.diagonal


def bump_size(a: npt.NDArray, b: npt.NDArray, c: npt.NDArray) -> npt.NDArray[np.float64]:
    """Sup |4 (a λ₂λ₃ + b λ₁λ₃ + c λ₁λ₂)| over a triangle with edge surpluses a, b, c, exactly.

    On an edge it is attained at the midpoint. Inside, the one critical point is at
    λ = (a (b + c − a), b (a + c − b), c (a + b − c)) / d, if that is in the triangle, with d their
    sum and the value 4abc/d.
    """
    a, b, c = (np.asarray(s, np.float64) for s in (a, b, c))
    on_edges = np.maximum(np.maximum(np.abs(a), np.abs(b)), np.abs(c))
    unit = np.where(on_edges > 0, on_edges, 1)
    a, b, c = a / unit, b / unit, c / unit
    places = a * (b + c - a), b * (a + c - b), c * (a + b - c)
    d = sum(places)
    inside = np.logical_and.reduce([place * d > 0 for place in places])
    value = np.divide(4 * a * b * c, d, out=np.zeros_like(d), where=inside)
    return unit * np.maximum(np.where(on_edges > 0, 1.0, 0.0), np.abs(value))


def largest_bump(edges: Edges) -> float:
    """Sup |P2 function − its P1 part| over the triangles of a window, and all components."""
    return max(float(bump_size(*group).max(initial=0)) for group in triangle_edges(edges))


def numbered_edges(grid: Grid) -> EdgeNodes:
    """The nodes of vertices and edges, kind by kind."""
    nodes = np.arange(grid.refined(2).num_vertices)[None]
    numbers = Nodes.of(grid.whole, nodes)
    vertices = numbers.vertices.ravel()
    if grid.has_centres:
        vertices = np.concatenate([vertices, numbers.middle.ravel()])
    vertex_of_node = np.full(nodes.size, -1)
    vertex_of_node[vertices] = np.arange(vertices.size)
    columns = [[part.ravel() for part in kind] for kind in edge_nodes(grid.whole, numbers)]
    middles, one, other = (np.concatenate(part) for part in zip(*columns, strict=True))
    return EdgeNodes(vertices, vertex_of_node[np.array([one, other])], middles)
