# SPDX-License-Identifier: MIT
"""What evaluation reads of cells: a record each, and the cells around vertices and edges.

Corners of a cell are kept in increasing order of the vertices' numbers, so that its barycentric
coordinates have the same bits wherever the cell is kept. A *record* is, in words of 64 bits,

    1-D   4   x₀, row of λ₁, links, corners
    2-D   8   x₀, y₀, rows of λ₁ and λ₂, links                      (corners: an array of their own)
    3-D  16   x₀, y₀, z₀, rows of λ₁, λ₂ and λ₃, links, corners

where λᵢ = row · (point − corner 0), λ₀ = 1 − Σ λᵢ, and links and corners are of 32 bits. Link i is
−1 where facet i is on the boundary, else 2·(the cell beyond) + (whether its number is the smaller).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled, inlined
from fe_relu.basics.ordering import order_of
from fe_relu.meshes.simplices.location.exact import determinant_2, determinant_3, difference, minor
from fe_relu.meshes.simplices.location.neighbours import neighbours

#: Floats of a record, by dimension.
WORDS = {1: 4, 2: 8, 3: 16}

#: More cells than this have no links of 32 bits.
MOST_CELLS = 1 << 29

#: Records start at multiples of this, so that one of a triangle lies in one line of the cache.
LINE = 64

#: Barycentric coordinates are off by at most this, times 1 + Σ |row entry · coordinate|.
ROUNDOFF = 8 * 2.0**-52


class Records(NamedTuple):
    """Cells as compiled loops read them; all arrays but the first have entries of 32 bits.

    Args:
        words: The records, one after the other.
        links: The same memory.
        corners: Of triangles, three each; else the same memory.
        smallest: The cell with the smallest number at each vertex.
        edge_starts: In 3-D where the cells of each vertex begin in `edge_cells`; else empty.
        edge_cells: Of each vertex the cells in which it is not the last corner, by their numbers.
    """

    words: npt.NDArray[np.float64]
    links: npt.NDArray[np.int32]
    corners: npt.NDArray[np.int32]
    smallest: npt.NDArray[np.int32]
    edge_starts: npt.NDArray[np.int32]
    edge_cells: npt.NDArray[np.int32]


def records_of(
    vertices: npt.NDArray, cells: npt.NDArray[np.int32], numbers: npt.NDArray[np.int64]
) -> Records:
    """The records of cells (dim + 1, m), corners in order of their numbers.

    Args:
        vertices: Coordinates, shape (dim, n).
        cells: Corners of each cell.
        numbers: By which the smallest cell is found, shape (m,).
    """
    dim, (_, count) = len(vertices), cells.shape
    size = WORDS[dim] * 8 * count
    corner_bytes = 12 * count if dim == 2 else 0
    memory: npt.NDArray[np.uint8] = np.empty(size + corner_bytes + LINE, np.uint8)
    memory = memory[-memory.ctypes.data % LINE :]
    words, links = memory[:size].view(np.float64), memory[:size].view(np.int32)
    corners = memory[size : size + 12 * count].view(np.int32) if dim == 2 else links
    _FILL[dim](vertices, cells, words)
    beyond, _ = neighbours(cells, vertices.shape[1])
    _link(beyond, numbers, cells, links, corners, dim)
    smallest = np.empty(vertices.shape[1], np.int32)
    _smallest(cells, numbers, smallest)
    edges = _cells_of_edges(cells, numbers, vertices.shape[1]) if dim == 3 else (smallest[:0],) * 2
    return Records(words, links, corners, smallest, *edges)


@compiled
def _fill_1(vertices: Any, cells: Any, words: Any) -> None:
    for k in range(cells.shape[1]):
        x0, x1 = vertices[0, cells[0, k]], vertices[0, cells[1, k]]
        words[4 * k], words[4 * k + 1] = x0, 1 / (x1 - x0)


@compiled
def _fill_2(vertices: Any, cells: Any, words: Any) -> None:
    for k in range(cells.shape[1]):
        a, b, c = cells[0, k], cells[1, k], cells[2, k]
        ax, ay, bx, by = vertices[0, a], vertices[1, a], vertices[0, b], vertices[1, b]
        cx, cy = vertices[0, c], vertices[1, c]
        determinant = determinant_2((ax, ay, 0.0), (bx, by, 0.0), (cx, cy, 0.0))[0][0]
        w = 8 * k
        words[w], words[w + 1] = ax, ay
        words[w + 2], words[w + 3] = (cy - ay) / determinant, -(cx - ax) / determinant
        words[w + 4], words[w + 5] = -(by - ay) / determinant, (bx - ax) / determinant


@compiled
def _fill_3(vertices: Any, cells: Any, words: Any) -> None:
    for k in range(cells.shape[1]):
        w = 16 * k
        ox, oy, oz = (
            vertices[0, cells[0, k]], vertices[1, cells[0, k]], vertices[2, cells[0, k]],
        )  # fmt: skip
        words[w], words[w + 1], words[w + 2] = ox, oy, oz
        p = _corner(vertices, cells[1, k])
        q = _corner(vertices, cells[2, k])
        r = _corner(vertices, cells[3, k])
        determinant = determinant_3((ox, oy, oz), p, q, r)[0][0]
        for i in range(3):
            u, v = ((q, r), (r, p), (p, q))[i]
            u0, u1, u2 = difference(u[0], ox), difference(u[1], oy), difference(u[2], oz)
            v0, v1, v2 = difference(v[0], ox), difference(v[1], oy), difference(v[2], oz)
            words[w + 3 * i + 3] = minor(u1, u2, v1, v2)[0] / determinant
            words[w + 3 * i + 4] = minor(u2, u0, v2, v0)[0] / determinant
            words[w + 3 * i + 5] = minor(u0, u1, v0, v1)[0] / determinant


_FILL = {1: _fill_1, 2: _fill_2, 3: _fill_3}


@inlined
def _corner(vertices: Any, v: Any) -> Any:
    return vertices[0, v], vertices[1, v], vertices[2, v]


@compiled
def _link(beyond: Any, numbers: Any, cells: Any, links: Any, corners: Any, dim: Any) -> None:
    width, first = links.size // len(beyond), first_link(dim)
    for k in range(len(beyond)):
        for i in range(dim + 1):
            link = -1
            if beyond[k, i] >= 0:
                other = beyond[k, i] // 4
                link = 2 * other + (numbers[other] < numbers[k])
            links[width * k + first + i] = link
            corners[corner_place(k, i, dim)] = cells[i, k]


@compiled
def _smallest(cells: Any, numbers: Any, smallest: Any) -> None:
    smallest[:] = -1
    for k in range(cells.shape[1]):
        for i in range(len(cells)):
            v = cells[i, k]
            if smallest[v] < 0 or numbers[k] < numbers[smallest[v]]:
                smallest[v] = k


def _cells_of_edges(
    cells: npt.NDArray[np.int32], numbers: npt.NDArray[np.int64], num_vertices: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    starts = np.zeros(num_vertices + 2, np.int32)
    listed = np.empty(3 * cells.shape[1], np.int32)
    _list(cells, order_of(numbers), starts, listed)
    return starts[:-1], listed


@compiled
def _list(cells: Any, by_number: Any, starts: Any, listed: Any) -> None:
    """Lists cells by vertex; starts has one entry more in front while it is filled."""
    for k in range(cells.shape[1]):
        for i in range(3):
            starts[cells[i, k] + 2] += 1
    for v in range(2, starts.size):
        starts[v] += starts[v - 1]
    for place in range(by_number.size):
        k = by_number[place]
        for i in range(3):
            v = cells[i, k] + 1
            listed[starts[v]] = k
            starts[v] += 1


@inlined
def first_link(dim: Any) -> Any:
    """Where links begin in a record, counted in 32 bits."""
    return 4 if dim == 1 else (12 if dim == 2 else 24)


@inlined
def link(records: Any, cell: Any, i: Any, dim: Any) -> Any:
    """Link i of a cell."""
    width = 8 if dim == 1 else (16 if dim == 2 else 32)
    return np.int64(records.links[np.uint64(width * cell + first_link(dim) + i)])


@inlined
def corner_place(cell: Any, i: Any, dim: Any) -> Any:
    """Where corner i of a cell is among `corners`."""
    if dim == 2:
        return np.uint64(3 * cell + i)
    return np.uint64(8 * cell + 6 + i) if dim == 1 else np.uint64(32 * cell + 28 + i)


@inlined
def barycentric(words: Any, cell: Any, x: Any, y: Any, z: Any, dim: Any) -> Any:
    """λ₀, …, λ₃ of a point in a cell, those beyond dim 0, and what they are off by at most."""
    one = np.uint64(1)
    if dim == 1:
        w = np.uint64(4 * cell)
        l1 = words[w + one] * (x - words[w])
        return 1 - l1, l1, 0.0, 0.0, ROUNDOFF * (1 + abs(l1))
    if dim == 2:
        w = np.uint64(8 * cell)
        x, y = x - words[w], y - words[w + one]
        a, b = words[w + np.uint64(2)] * x, words[w + np.uint64(3)] * y
        c, d = words[w + np.uint64(4)] * x, words[w + np.uint64(5)] * y
        l1, l2 = a + b, c + d
        return 1 - l1 - l2, l1, l2, 0.0, ROUNDOFF * (1 + abs(a) + abs(b) + abs(c) + abs(d))
    w = np.uint64(16 * cell)
    x, y, z = x - words[w], y - words[w + one], z - words[w + np.uint64(2)]
    a, b, c = words[w + np.uint64(3)] * x, words[w + np.uint64(4)] * y, words[w + np.uint64(5)] * z
    l1, size = a + b + c, abs(a) + abs(b) + abs(c)
    a, b, c = words[w + np.uint64(6)] * x, words[w + np.uint64(7)] * y, words[w + np.uint64(8)] * z
    l2, size = a + b + c, size + abs(a) + abs(b) + abs(c)
    a, b, c = (
        words[w + np.uint64(9)] * x,
        words[w + np.uint64(10)] * y,
        words[w + np.uint64(11)] * z,
    )
    l3, size = a + b + c, size + abs(a) + abs(b) + abs(c)
    return 1 - l1 - l2 - l3, l1, l2, l3, ROUNDOFF * (1 + size)


@inlined
def least_of(l0: Any, l1: Any, l2: Any, l3: Any, dim: Any) -> Any:
    """The least of dim + 1 numbers, and which it is."""
    i, least = 0, l0
    i, least = (1 if l1 < least else i), min(l1, least)
    if dim >= 2:
        i, least = (2 if l2 < least else i), min(l2, least)
    if dim >= 3:
        i, least = (3 if l3 < least else i), min(l3, least)
    return least, i


@inlined
def num_cells(records: Any, dim: Any) -> Any:
    return records.words.size // (4 if dim == 1 else (8 if dim == 2 else 16))


@inlined
def row_entry(words: Any, cell: Any, j: Any, axis: Any, dim: Any) -> Any:
    """Entry of the row of λ_(j + 1)."""
    width = 4 if dim == 1 else (8 if dim == 2 else 16)
    return words[np.uint64(width * cell + dim + dim * j + axis)]


@inlined
def height(words: Any, cell: Any, i: Any, dim: Any) -> Any:
    """How far corner i of a cell is from facet i."""
    square = 0.0
    for axis in range(dim):
        slope = 0.0
        for j in range(dim):
            if i == 0 or j == i - 1:
                slope += row_entry(words, cell, j, axis, dim)
        square += slope * slope
    return 1 / np.sqrt(square)
