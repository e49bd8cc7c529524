# SPDX-License-Identifier: MIT
"""The cells that a point may be in, listed by buckets: for readers that look up and never search.

Buckets are squares or cubes, about as many as there are cells. One that meets many cells has a
finer grid of buckets, and so on, so that no list is long where cells differ in size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled, inlined

#: Buckets for each cell.
DENSITY = 2.0

#: A bucket that meets more cells than this, by dimension, and than there are around a vertex, has a
#: finer grid.
CROWD = {1: 4, 2: 12, 3: 40}

#: Grids within grids.
_DEPTH = 16

#: Numbers that tell of a grid; see `Candidates`.
_FACTS = 8


class Candidates(NamedTuple):
    """All grids, the coarsest first, and the lists of their buckets.

    Args:
        grids: For each its lower corner, buckets per unit of length, their number along each axis,
            and which bucket is its first; shape (grids, 8).
        firsts: Where the list of each bucket begins.
        counts: How long it is; or minus the number of a finer grid.
        cells: The lists, numbers increasing in each, and one number more for empty lists.
        depth: At most so many grids are asked for a point.
    """

    grids: npt.NDArray[np.float64]
    firsts: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    cells: npt.NDArray[np.int32]
    depth: int

    @property
    def longest(self) -> int:
        """Of the lists."""
        return int(self.counts.max())


def candidates_of(
    vertices: npt.NDArray[np.float64], cells: npt.NDArray[np.int64], slack: float
) -> Candidates:
    """The lists for cells (dim + 1, m): each has those that are at most `slack` from its bucket.

    Raises:
        ValueError: They are longer than numbers of 32 bits can count.
    """
    dim, count = len(vertices), cells.shape[1]
    low, high = vertices.min(axis=1) - slack, vertices.max(axis=1) + slack
    size = float((high - low).max())
    spans = (high - low) / size
    step = (spans.clip(1e-6).prod() / (count * DENSITY)) ** (1 / dim)
    while np.ceil(spans / step).clip(1).prod() > 2 * count * DENSITY + 8:  # of a box that is flat
        step *= 1.1
    first = np.zeros(_FACTS)
    first[:dim] = low
    first[3] = 1 / (step * size)
    first[4:7] = 1
    first[4 : 4 + dim] = np.ceil(spans / step).clip(1)
    around = int(np.bincount(cells.ravel()).max())
    crowd = max(CROWD[dim], around)
    rows = _rows(vertices, cells)
    found = Candidates(*_listed(vertices, cells, rows, first, crowd, slack))
    if found.cells.size >= 1 << 31:
        raise ValueError(
            f"buckets of {count} cells meet {found.cells.size} of them, more than numbers of 32 "
            "bits can count; a coarser mesh has fewer"
        )
    return found


@compiled
def _rows(vertices: Any, cells: Any) -> Any:
    """Of each cell, the slopes of λ₁, …, λ_dim by the coordinates, (m, dim, dim)."""
    dim, count = len(vertices), cells.shape[1]
    rows = np.empty((count, dim, dim))
    edges = np.empty((dim, dim))
    for k in range(count):
        for j in range(dim):
            for axis in range(dim):
                edges[axis, j] = vertices[axis, cells[j + 1, k]] - vertices[axis, cells[0, k]]
        _invert(edges, rows[k])
    return rows


@inlined
def _invert(a: Any, out: Any) -> None:
    """Writes the inverse of a matrix of 1, 2 or 3 rows."""
    dim = len(a)
    if dim == 1:
        out[0, 0] = 1 / a[0, 0]
    elif dim == 2:
        d = a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
        out[0, 0], out[0, 1] = a[1, 1] / d, -a[0, 1] / d
        out[1, 0], out[1, 1] = -a[1, 0] / d, a[0, 0] / d
    else:
        for i in range(3):
            for j in range(3):
                p, q, r, s = (j + 1) % 3, (j + 2) % 3, (i + 1) % 3, (i + 2) % 3
                out[i, j] = a[p, r] * a[q, s] - a[p, s] * a[q, r]
        d = a[0, 0] * out[0, 0] + a[0, 1] * out[1, 0] + a[0, 2] * out[2, 0]
        for i in range(3):
            for j in range(3):
                out[i, j] /= d


@inlined
def _meets(vertices: Any, cells: Any, rows: Any, k: Any, middle: Any, half: Any) -> Any:
    """Whether a cell may meet a box: no facet's plane has the box on its outer side."""
    dim = len(vertices)
    last = 1.0
    beyond = 0.0
    meets = True
    for i in range(dim):
        here, reach = 0.0, 0.0
        for axis in range(dim):
            here += rows[k, i, axis] * (middle[axis] - vertices[axis, cells[0, k]])
            reach += abs(rows[k, i, axis]) * half
        meets &= here + reach >= 0
        last -= here
    for axis in range(dim):
        slope = 0.0
        for i in range(dim):
            slope += rows[k, i, axis]
        beyond += abs(slope) * half
    return meets & (last + beyond >= 0)


@inlined
def _range(vertices: Any, cells: Any, k: Any, axis: Any, grid: Any, slack: Any) -> Any:
    """The first and last bucket along an axis that the box of a cell reaches."""
    low = high = vertices[axis, cells[0, k]]
    for i in range(1, len(cells)):
        at = vertices[axis, cells[i, k]]
        low, high = min(low, at), max(high, at)
    most = grid[4 + axis] - 1
    first = np.floor((low - slack - grid[axis]) * grid[3])
    last = np.floor((high + slack - grid[axis]) * grid[3])
    return int(min(max(first, 0.0), most)), int(min(max(last, 0.0), most))


@compiled
def _sweep(
    vertices: Any, cells: Any, rows: Any, ks: Any, grid: Any, slack: Any, ends: Any, out: Any
) -> None:
    """Counts the cells that each bucket meets, or with room in `out` lists them up to `ends`."""
    dim = len(vertices)
    nx, ny = int(grid[4]), int(grid[5])
    half = 0.5 / grid[3] + slack
    middle = np.zeros(3)
    for place in range(ks.size):
        k = ks[place]
        i0, i1 = _range(vertices, cells, k, 0, grid, slack)
        j0, j1, l0, l1 = 0, 0, 0, 0
        if dim >= 2:
            j0, j1 = _range(vertices, cells, k, 1, grid, slack)
        if dim >= 3:
            l0, l1 = _range(vertices, cells, k, 2, grid, slack)
        for l in range(l0, l1 + 1):
            middle[2] = grid[2] + (l + 0.5) / grid[3]
            for j in range(j0, j1 + 1):
                middle[1] = grid[1] + (j + 0.5) / grid[3]
                for i in range(i0, i1 + 1):
                    middle[0] = grid[0] + (i + 0.5) / grid[3]
                    if _meets(vertices, cells, rows, k, middle, half):
                        b = (l * ny + j) * nx + i
                        if out.size > 0:
                            out[ends[b]] = k
                        ends[b] += 1


@compiled
def _grown(array: Any, count: Any) -> Any:
    """The array, with room for so many if it has not."""
    if count <= array.size:
        return array
    more = np.empty(max(count, 2 * array.size), array.dtype)
    more[: array.size] = array
    return more


@compiled
def _listed(vertices: Any, cells: Any, rows: Any, first: Any, crowd: Any, slack: Any) -> Any:
    dim = len(vertices)
    grids = np.empty(_FACTS * 16)
    grids[:_FACTS] = first
    shares = np.zeros(3 * 16, np.int64)  # of each grid: where its cells wait, and end; its depth
    waiting = np.arange(cells.shape[1]).astype(np.int32)
    shares[1] = waiting.size
    firsts, counts = np.empty(0, np.int32), np.empty(0, np.int32)
    found = np.zeros(1, np.int32)
    total, num_found, num_waiting, num_grids, g, depth = 0, 1, waiting.size, 1, 0, 1
    nothing = np.empty(0, np.int32)
    while g < num_grids:
        grid = grids[_FACTS * g : _FACTS * (g + 1)].copy()
        grids[_FACTS * g + 7] = total
        ks = waiting[shares[3 * g] : shares[3 * g + 1]].copy()
        size = int(grid[4] * grid[5] * grid[6])
        edges = np.zeros(size + 1, np.int64)
        _sweep(vertices, cells, rows, ks, grid, slack, edges[1:], nothing)
        for b in range(size):
            edges[b + 1] += edges[b]
        listed = np.empty(max(edges[size], 1), np.int32)
        _sweep(vertices, cells, rows, ks, grid, slack, edges[:size].copy(), listed)
        firsts, counts = _grown(firsts, total + size), _grown(counts, total + size)
        for b in range(size):
            begin, count = edges[b], edges[b + 1] - edges[b]
            firsts[total + b], counts[total + b] = 0, count
            deep = shares[3 * g + 2]
            if count > crowd and deep + 1 < _DEPTH:
                counts[total + b] = -num_grids
                grids = _grown(grids, _FACTS * (num_grids + 1))
                shares = _grown(shares, 3 * (num_grids + 1))
                waiting = _grown(waiting, num_waiting + count)
                n = max(2.0, np.ceil((count / 4) ** (1 / dim)))
                _write_finer(grid, b, n, dim, grids[_FACTS * num_grids :])
                shares[3 * num_grids], shares[3 * num_grids + 1] = num_waiting, num_waiting + count
                shares[3 * num_grids + 2] = deep + 1
                depth = max(depth, deep + 2)
                waiting[num_waiting : num_waiting + count] = listed[begin : begin + count]
                num_waiting += count
                num_grids += 1
            elif count > 0:
                found = _grown(found, num_found + count)
                firsts[total + b] = num_found
                found[num_found : num_found + count] = listed[begin : begin + count]
                num_found += count
        total += size
        g += 1
    return (
        grids[: _FACTS * num_grids].copy().reshape(num_grids, _FACTS),
        firsts[:total].copy(),
        counts[:total].copy(),
        found[:num_found].copy(),
        depth,
    )


@inlined
def _write_finer(grid: Any, b: Any, n: Any, dim: Any, finer: Any) -> None:
    """Writes the grid with n buckets along each axis in bucket b of a grid."""
    nx, ny = int(grid[4]), int(grid[5])
    finer[0] = grid[0] + (b % nx) / grid[3]
    finer[1] = grid[1] + (b // nx % ny) / grid[3]
    finer[2] = grid[2] + (b // (nx * ny)) / grid[3]
    finer[3] = grid[3] * n
    finer[4], finer[5], finer[6] = n, n if dim >= 2 else 1.0, n if dim >= 3 else 1.0
