# SPDX-License-Identifier: MIT
"""Where the search for a point starts: a grid of buckets, in crowded ones a finer grid, and so on.

An entry of a bucket is the cell around its centre, or a cell near it; or −1 − (a finer grid) where
cells crowd. Buckets are squares or cubes with about one cell each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled, inlined
from fe_relu.meshes.simplices.location.records import barycentric, least_of, link

#: Buckets a cell.
DENSITY = 1.0

#: A bucket with the centres of more cells than this has a finer grid.
CROWD = 16

#: Grids within grids.
_DEPTH = 24

#: Numbers that tell of a grid; see `Buckets`.
_FACTS = 8

#: Steps of a walk that leads nowhere.
_PATIENCE = 1000

_EMPTY = np.iinfo(np.int32).min


class Buckets(NamedTuple):
    """All grids, the coarsest first.

    Args:
        grids: For each its lower corner, buckets per unit of length, their number along each axis,
            and where its entries begin; shape (grids, 8).
        starts: The entries.
    """

    grids: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int32]


def buckets_of(records: Any, middles: npt.NDArray, low: npt.NDArray, high: npt.NDArray) -> Buckets:
    """Buckets for cells with these middles (dim, m) in the box from low to high."""
    dim, count = middles.shape
    size = float((high - low).max())
    spans = (high - low) / size
    wanted = count * DENSITY
    step = (spans.clip(1e-6).prod() / wanted) ** (1 / dim)
    while np.ceil(spans / step).clip(1).prod() > 2 * wanted + 8:  # of a box that is flat
        step *= 1.1
    first = np.zeros(_FACTS)
    first[:dim] = low
    first[3] = 1 / (step * size)
    first[4:7] = 1
    first[4 : 4 + dim] = np.ceil(spans / step).clip(1)
    grids, starts = _divided(middles, first, DENSITY)
    _walk_to_centres(records, grids, starts, dim)
    return Buckets(grids, starts)


@compiled
def _divided(middles: Any, first: Any, density: Any) -> Any:
    """The grids, and a cell of each bucket that is not crowded or empty."""
    dim, count = middles.shape
    grids = first.copy().reshape(1, first.size)
    shares = np.zeros((1, 3), np.int64)  # of each grid: where its cells begin and end; its depth
    shares[0, 1] = count
    order, scratch = np.arange(count).astype(np.int32), np.empty(count, np.int32)
    starts = np.empty((0, 1), np.int32)
    total, g, num_grids = 0, 0, 1
    while g < num_grids:
        grid, begin, depth = grids[g].copy(), shares[g, 0], shares[g, 2]
        grids[g, 7] = total
        edges = _sort_by_bucket(middles, order[begin : shares[g, 1]], scratch, grid)
        starts = _with_room(starts, total + edges.size - 1)
        for b in range(edges.size - 1):
            inside = edges[b + 1] - edges[b]
            starts[total + b, 0] = order[begin + edges[b]] if inside > 0 else _EMPTY
            if inside <= CROWD or depth >= _DEPTH:
                continue
            starts[total + b, 0] = -1 - num_grids
            grids, shares = _with_room(grids, num_grids + 1), _with_room(shares, num_grids + 1)
            n = np.ceil((inside * density) ** (1 / dim))
            _write_finer(grid, b, n, dim, grids[num_grids])
            shares[num_grids, 0], shares[num_grids, 1] = begin + edges[b], begin + edges[b + 1]
            shares[num_grids, 2] = depth + 1
            num_grids += 1
        total += edges.size - 1
        g += 1
    return grids[:num_grids].copy(), starts[:total, 0].copy()


@compiled
def _sort_by_bucket(middles: Any, cells: Any, scratch: Any, grid: Any) -> Any:
    """Puts cells in the order of the buckets of a grid; where those of each begin, and the end."""
    edges = np.zeros(int(grid[4] * grid[5] * grid[6]) + 1, np.int64)
    for place in range(cells.size):
        edges[_bucket(middles, cells[place], grid) + 1] += 1
        scratch[place] = cells[place]
    for b in range(1, edges.size):
        edges[b] += edges[b - 1]
    free = edges.copy()
    for place in range(cells.size):
        b = _bucket(middles, scratch[place], grid)
        cells[free[b]] = scratch[place]
        free[b] += 1
    return edges


@compiled
def _with_room(rows: Any, count: Any) -> Any:
    """The rows, followed by others if they were fewer than wanted."""
    if count <= len(rows):
        return rows
    more = np.empty((max(count, 2 * len(rows)), rows.shape[1]), rows.dtype)
    more[: len(rows)] = rows
    return more


@inlined
def _write_finer(grid: Any, b: Any, n: Any, dim: Any, finer: Any) -> None:
    """Writes the grid with n buckets along each axis in bucket b of a grid."""
    nx, ny = int(grid[4]), int(grid[5])
    finer[0] = grid[0] + (b % nx) / grid[3]
    finer[1] = grid[1] + (b // nx % ny) / grid[3]
    finer[2] = grid[2] + (b // (nx * ny)) / grid[3]
    finer[3] = grid[3] * n
    finer[4], finer[5], finer[6] = n, n if dim >= 2 else 1.0, n if dim >= 3 else 1.0


@inlined
def _bucket(middles: Any, k: Any, grid: Any) -> Any:
    dim = len(middles)
    y = middles[1, k] if dim >= 2 else 0.0
    z = middles[2, k] if dim >= 3 else 0.0
    return bucket(middles[0, k], y, z, grid, dim)


@inlined
def place(s: Any, count: Any) -> Any:
    """The bucket along an axis; the first for NaN, the last for what is beyond."""
    return np.int64(np.int32(min(s if s > 0 else 0.0, count - 1)))


@inlined
def unpacked(grid: Any) -> Any:
    """What tells of a grid as scalars, which no store of a loop can change."""
    return grid[0], grid[1], grid[2], grid[3], grid[4], grid[5], grid[6]


@inlined
def bucket(x: Any, y: Any, z: Any, grid: Any, dim: Any) -> Any:
    """The bucket of a grid that a point is in, or the nearest."""
    b = place((x - grid[0]) * grid[3], grid[4])
    if dim == 2:
        b += np.int64(grid[4]) * place((y - grid[1]) * grid[3], grid[5])
    if dim == 3:
        j = place((y - grid[1]) * grid[3], grid[5])
        b += np.int64(grid[4]) * (j + np.int64(grid[5]) * place((z - grid[2]) * grid[3], grid[6]))
    return b


@compiled
def descended(x: Any, y: Any, z: Any, buckets: Any, entry: Any, dim: Any) -> Any:
    """The cell to start from, from the entry of a crowded bucket."""
    while entry < 0:
        grid = buckets.grids[-1 - entry]
        entry = np.int64(buckets.starts[np.int64(grid[7]) + bucket(x, y, z, grid, dim)])
    return entry


@compiled
def _walk_to_centres(records: Any, grids: Any, starts: Any, dim: Any) -> None:
    cell = np.int64(0)
    for grid in grids:
        nx, ny, nz = int(grid[4]), int(grid[5]), int(grid[6])
        for b in range(nx * ny * nz):
            i, j, l = b % nx, b // nx % ny, b // (nx * ny)
            # To and fro, so that one bucket is beside the next.
            j = ny - 1 - j if l % 2 else j
            i = nx - 1 - i if j % 2 else i
            place = int(grid[7]) + (l * ny + j) * nx + i
            if starts[place] < 0 and starts[place] != _EMPTY:
                continue
            x, y = grid[0] + (i + 0.5) / grid[3], grid[1] + (j + 0.5) / grid[3]
            z = grid[2] + (l + 0.5) / grid[3]
            cell = _walked(records, x, y, z, starts[place] if starts[place] >= 0 else cell, dim)
            starts[place] = cell


@compiled
def _walked(records: Any, x: Any, y: Any, z: Any, cell: Any, dim: Any) -> Any:
    """The cell where a walk toward a point ends, there or on the boundary."""
    for _ in range(_PATIENCE):
        l0, l1, l2, l3, roundoff = barycentric(records.words, cell, x, y, z, dim)
        least, i = least_of(l0, l1, l2, l3, dim)
        beyond = link(records, cell, i, dim) >> 1
        if least >= -roundoff or beyond < 0:
            break
        cell = beyond
    return cell
