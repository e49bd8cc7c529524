# SPDX-License-Identifier: MIT
"""Values at points: a bucket, a walk from its cell to the point's, and the nodal values there.

Points are done in blocks, each in passes over all its points: while one pass computes, what the
next one reads is on its way from memory. A walk goes on to the cell beyond the facet whose
barycentric coordinate is least. Where it ends, a point is in the cell for sure, unless a coordinate
is within roundoff of zero or the walk has led out of the mesh; such points are settled one by one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fe_relu.basics.compiled import compiled, inlined, prefetch, vectorised
from fe_relu.meshes.simplices.location.boxes import room_for
from fe_relu.meshes.simplices.location.buckets import bucket, descended, unpacked
from fe_relu.meshes.simplices.location.known import Block
from fe_relu.meshes.simplices.location.records import (
    barycentric,
    corner_place,
    first_link,
    least_of,
    row_entry,
)
from fe_relu.meshes.simplices.location.settle import settle

#: Points in a block.
BLOCK = 256

#: Steps of a walk after which a point is settled by itself.
_PATIENCE = 32


@inlined
def new_block(search: Any) -> Any:
    numbers, weights = np.empty((3, BLOCK), np.int64), np.empty((3, BLOCK))
    groups = room_for(search.where.boxes)
    return Block(
        numbers[0], weights[0], weights[1], weights[2], numbers[1], numbers[2], groups
    )  # fmt: skip


@inlined
def _fetch_record(links: Any, cell: Any, dim: Any) -> None:
    width = 8 if dim == 1 else (16 if dim == 2 else 32)
    prefetch(links, width * cell)
    if dim == 3:
        prefetch(links, width * cell + 16)


@inlined
def _find(x: Any, y: Any, z: Any, search: Any, block: Any, dim: Any) -> Any:
    """Finds points' cells and weights; how many are doubtful."""
    buckets, records, count = search.buckets, search.where.records, x.size
    words, links, corners, starts = records.words, records.links, records.corners, buckets.starts
    cell, active, doubtful = block.cell, block.active, block.doubtful
    w1, w2, w3 = block.w1, block.w2, block.w3
    grid, waiting, doubts = unpacked(buckets.grids[0]), 0, 0
    for k in range(count):
        cell[k] = bucket(x[k], y[k], z[k], grid, dim)
        prefetch(starts, cell[k])
    for k in range(count):
        entry = np.int64(starts[np.uint64(cell[k])])
        cell[k], active[np.uint64(waiting)] = entry, k
        waiting += int(entry < 0)
    for place in range(waiting):
        n = active[place]
        cell[n] = descended(x[n], y[n], z[n], buckets, cell[n], dim)
    for k in range(count):
        active[k] = k
        _fetch_record(links, cell[k], dim)
    waiting = count
    width, first = (8 if dim == 1 else (16 if dim == 2 else 32)), first_link(dim)
    for _ in range(_PATIENCE):
        going = 0
        for place in range(waiting):
            k = active[place]
            j = np.uint64(k)
            here = cell[j]
            l0, l1, l2, l3, roundoff = barycentric(words, here, x[j], y[j], z[j], dim)
            w1[j] = l1
            if dim >= 2:
                w2[j] = l2
            if dim >= 3:
                w3[j] = l3
            least, i = least_of(l0, l1, l2, l3, dim)
            beyond = np.int64(links[np.uint64(width * here + first + i)]) >> 1
            goes = (least < -roundoff) & (beyond >= 0)
            here = beyond if goes else here
            cell[j] = here
            active[np.uint64(going)], doubtful[np.uint64(doubts)] = k, k
            going += goes
            doubts += (not goes) & (not least > roundoff)
            _fetch_record(links, here, dim)
            if dim == 2:
                prefetch(corners, 3 * here)
        waiting = going
        if waiting == 0:
            break
    for place in range(waiting):
        doubtful[doubts] = active[place]
        doubts += 1
    return doubts


@compiled
def find(x: Any, y: Any, z: Any, search: Any, block: Any, axes: Any) -> Any:
    """Finds the points of a block, and counts those with coordinates that are not finite.

    Args:
        x: First coordinates, at most `BLOCK`.
        y: Second ones, or again x; likewise z.
        z: See y.
        search: The mesh.
        block: To write cells and weights into.
        axes: A tuple as long as points have coordinates; so their number is a constant of the loop.
    """
    doubts = _find(x, y, z, search, block, len(axes))
    if doubts == 0:
        return 0
    return settle(x, y, z, search.where, block, doubts, axes)


@inlined
def mixed(u0: Any, u1: Any, u2: Any, u3: Any, w1: Any, w2: Any, w3: Any, dim: Any) -> Any:
    """The value from those at the corners, theirs to the bit where a weight is 1."""
    value = u0 + w1 * (u1 - u0)
    value = u1 if w1 == 1 else value
    if dim >= 2:
        value = u2 if w2 == 1 else value + w2 * (u2 - u0)
    if dim >= 3:
        value = u3 if w3 == 1 else value + w3 * (u3 - u0)
    return value


@inlined
def _values(block: Any, corners: Any, table: Any, out: Any, outputs: Any, dim: Any) -> None:
    real, zero = out.dtype.type, out.dtype.type(0)
    cells, first, second, third = block.cell, block.w1, block.w2, block.w3
    for k in range(out.shape[1]):
        cell = max(cells[k], 0)
        for i in range(dim + 1):
            prefetch(table, outputs * np.int64(corners[corner_place(cell, i, dim)]))
    for k in range(out.shape[1]):
        cell = max(cells[k], 0)
        w1 = real(first[k])
        w2 = real(second[k]) if dim >= 2 else zero
        w3 = real(third[k]) if dim >= 3 else zero
        a = np.uint64(corners[corner_place(cell, 0, dim)])
        b = np.uint64(corners[corner_place(cell, 1, dim)])
        c = np.uint64(corners[corner_place(cell, 2, dim)]) if dim >= 2 else a
        d = np.uint64(corners[corner_place(cell, 3, dim)]) if dim >= 3 else a
        for output in range(outputs):
            u0, u1 = real(table[a, output]), real(table[b, output])
            u2, u3 = real(table[c, output]), real(table[d, output])
            value = mixed(u0, u1, u2, u3, w1, w2, w3, dim)
            out[output, k] = value if cells[k] >= 0 else zero


@inlined
def _values_of_any(block: Any, corners: Any, table: Any, out: Any, dim: Any) -> None:
    """A single output is a case of its own, without a loop."""
    if table.shape[1] == 1:
        _values(block, corners, table, out, 1, dim)
    else:
        _values(block, corners, table, out, table.shape[1], dim)


@compiled
def evaluate(
    x: Any, y: Any, z: Any, search: Any, table: Any, out: Any, away: Any, axes: Any
) -> Any:
    """Writes values at points into out, shape (k, n), 0 where there is no cell.

    Args:
        x: First coordinates; see `find`.
        y: See x.
        z: See x.
        search: The mesh.
        table: Nodal values, shape (vertices, k).
        out: To write into.
        away: To write positions of points into that have no cell here, as many as fit.
        axes: See `find`.

    Returns:
        How many points are not finite, and how many positions are written.
    """
    bad = listed = 0
    block, corners = new_block(search), search.where.records.corners
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        bad += find(x[start:stop], y[start:stop], z[start:stop], search, block, axes)
        _values_of_any(block, corners, table, out[:, start:stop], len(axes))
        listed = list_lost(block.cell[: stop - start], search.mine, start, away, listed)
    return bad, listed


@inlined
def list_lost(cell: Any, mine: Any, start: Any, away: Any, listed: Any) -> Any:
    """Lists the positions of points in no cell or one that is not answered here; their count."""
    if away.size > 0:
        for k in range(cell.size):
            away[min(listed, away.size - 1)] = start + k
            listed += cell[k] < 0 or (mine.size > 0 and not mine[cell[k]])
    return listed


@compiled
def gradient(
    x: Any, y: Any, z: Any, search: Any, table: Any, out: Any, away: Any, axes: Any
) -> Any:
    """Writes the gradients of points' cells into out, shape (k, dim, n); see `evaluate`."""
    bad, listed, dim = 0, 0, len(axes)
    block, records = new_block(search), search.where.records
    real = out.dtype.type
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        bad += find(x[start:stop], y[start:stop], z[start:stop], search, block, axes)
        for k in range(stop - start):
            cell = block.cell[k]
            out[:, :, start + k] = 0
            if cell < 0:
                continue
            first = records.corners[corner_place(cell, 0, dim)]
            for i in range(dim):
                corner = records.corners[corner_place(cell, i + 1, dim)]
                for output in range(len(out)):
                    rise = real(table[corner, output]) - real(table[first, output])
                    for axis in range(dim):
                        slope = real(row_entry(records.words, cell, i, axis, dim))
                        out[output, axis, start + k] += slope * rise
        listed = list_lost(block.cell[: stop - start], search.mine, start, away, listed)
    return bad, listed


@compiled
def locate(
    x: Any, y: Any, z: Any, search: Any, cells: Any, corners: Any, weights: Any, away: Any,
    axes: Any,
) -> Any:  # fmt: skip
    """Writes cells (n,), corners (dim + 1, n) and weights (dim, n) of points; see `evaluate`.

    A point without a cell has weights 0 and corners past the last vertex, where the table has 0.
    """
    bad, listed, dim = 0, 0, len(axes)
    block, records = new_block(search), search.where.records
    nothing = search.where.place.order.size
    real = weights.dtype.type
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        bad += find(x[start:stop], y[start:stop], z[start:stop], search, block, axes)
        for k in range(stop - start):
            cell = block.cell[k]
            cells[start + k] = cell
            for i in range(dim + 1):
                corner = records.corners[corner_place(max(cell, 0), i, dim)]
                corners[i, start + k] = corner if cell >= 0 else nothing
        for i, one in enumerate((block.w1, block.w2, block.w3)):
            if i < dim:
                for k in range(stop - start):
                    weights[i, start + k] = real(one[k]) if block.cell[k] >= 0 else real(0)
        listed = list_lost(block.cell[: stop - start], search.mine, start, away, listed)
    return bad, listed


@inlined
def _combine(corners: Any, weights: Any, table: Any, out: Any, dim: Any) -> None:
    real, outputs = out.dtype.type, table.shape[1]
    zero = real(0)
    for output in range(outputs):
        for k in range(out.shape[1]):
            u0 = real(table[np.uint64(corners[0, k]), output])
            u1 = real(table[np.uint64(corners[1, k]), output])
            u2 = real(table[np.uint64(corners[2, k]), output]) if dim >= 2 else u0
            u3 = real(table[np.uint64(corners[3, k]), output]) if dim >= 3 else u0
            w1 = real(weights[0, k])
            w2 = real(weights[1, k]) if dim >= 2 else zero
            w3 = real(weights[2, k]) if dim >= 3 else zero
            out[output, k] = mixed(u0, u1, u2, u3, w1, w2, w3, dim)


@compiled
def combine(corners: Any, weights: Any, table: Any, out: Any, axes: Any) -> None:
    """Writes values at located points into out, shape (k, n)."""
    vectorised()
    _combine(corners, weights, table, out, len(axes))
