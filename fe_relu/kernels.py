# SPDX-License-Identifier: MIT
"""The forward pass that visits active neurons only: compiled loops over plain arrays.

At a point of the mesh, at most three hats are active and sum to one. A point is *located* as

    three table entries (first, middle, last) and 1 ≥ high ≥ low ≥ 0, where
    u = u_first + high·(u_middle − u_first) + low·(u_last − u_middle),

without a branch, a block of points at a time, so that the compiler vectorises the arithmetic and
the processor overlaps the loads. The *table* holds the nodal values of a window of the grid (the
whole of it, unless it is spread over ranks) padded with a ring of zeros, on which the network
continues outside the mesh:

    (nx + 3)·(ny + 3) vertices, row by row, then (nx + 2)·(ny + 2) cell centres for `crossed`,

where the window has nx by ny cells.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from fe_relu.blocks import Window
from fe_relu.grid import Grid

#: Points located at a time; their indices and weights stay in the first-level cache.
BLOCK = 1024


class Cut(NamedTuple):
    """How cells are cut: cell (i, j) as ╲ if parity + (i + j)·alternating is odd, else as ╱.

    If crossed, cells have both diagonals and the other two entries mean nothing.
    """

    crossed: bool
    parity: int
    alternating: int


CUTS = {
    "right": Cut(False, 0, 0),
    "left": Cut(False, 1, 0),
    "crossed": Cut(True, 0, 0),
    "left_right": Cut(False, 0, 1),
    "right_left": Cut(False, 1, 1),
}


class Place(NamedTuple):
    """Where a table lies: the window's first cell and its shape, both along each axis."""

    i0: int
    j0: int
    nx: int
    ny: int

    @staticmethod
    def of(window: Window) -> Place:
        return Place(*window.start, *window.shape)


def held_bounds(grid: Grid, window: Window) -> tuple[float, float, float, float]:
    """The lattice coordinates, counted from the ring, that a window answers, first and end of each.

    A window on the border of the grid answers for everything beyond it.
    """
    bounds = []
    for start, cells, total in zip(window.start, window.shape, grid.shape, strict=True):
        bounds.append(-np.inf if start == 0 and cells else start + 1.0)
        bounds.append(np.inf if start + cells == total else start + cells + 1.0)
    return bounds[0], bounds[1], bounds[2], bounds[3]


def lattice_frame(grid: Grid, dtype: npt.DTypeLike) -> npt.NDArray:
    """The affine map to lattice coordinates as six numbers of the dtype to compute in."""
    return np.concatenate([grid.origin, grid.inverse.ravel()]).astype(dtype)


def _compiled(function: Callable) -> Callable:
    """Compiles a function when it is first called, and keeps the result on disk."""
    try:
        return njit(cache=True, error_model="numpy", nogil=True)(function)
    except RuntimeError:  # nowhere to write: no home, a read-only installation
        warnings.warn(
            "found no folder for compiled code, so it is compiled anew in every process; "
            "NUMBA_CACHE_DIR names one",
            RuntimeWarning,
            stacklevel=2,
        )
        return njit(error_model="numpy", nogil=True)(function)


@_compiled
def _unpacked(frame: Any) -> Any:
    """The frame's numbers and 1 as scalars, which no store of a loop can change."""
    return frame[0], frame[1], frame[2], frame[3], frame[4], frame[5], frame.dtype.type(1)


@_compiled
def _lattice_point(x: Any, y: Any, unpacked: Any) -> Any:
    """Lattice coordinates counted from the ring of the whole grid."""
    x0, y0, m00, m01, m10, m11, one = unpacked
    return m00 * (x - x0) + m01 * (y - y0) + one, m10 * (x - x0) + m11 * (y - y0) + one


@_compiled
def _kept(s: Any, first: Any, last: Any, real: Any) -> Any:
    """S cut off at both ends of a table, beyond which the network is zero for good.

    The comparison sends NaN to the first end, so that no point can lead outside the table.
    """
    s = s if s > first else real(first)
    return min(s, real(last))


@_compiled
def _not_finite(x: Any, y: Any) -> Any:
    return np.int64(x - x != 0) + np.int64(y - y != 0)


@_compiled
def _locate_halved(
    x: Any, y: Any, frame: Any, place: Any, cut: Any,
    first: Any, middle: Any, last: Any, high: Any, low: Any,
) -> Any:  # fmt: skip
    """Cells with one diagonal: ╲ is ╱ seen in a mirror that swaps the columns of the cell.

    Seen so, the triangle is 00, 10, 11 (below the diagonal) or 00, 01, 11.
    """
    real = frame.dtype.type
    unpacked = _unpacked(frame)
    i0, j0 = place.i0, place.j0
    i1, j1 = i0 + place.nx + 2, j0 + place.ny + 2
    width = place.nx + 3
    bad = 0
    for k in range(x.size):
        bad += _not_finite(x[k], y[k])
        s, t = _lattice_point(x[k], y[k], unpacked)
        s, t = _kept(s, i0, i1, real), _kept(t, j0, j1, real)
        i, j = min(np.int64(s), i1 - 1), min(np.int64(t), j1 - 1)
        a, b = s - real(i), t - real(j)
        mirrored = cut.parity ^ ((i + j) & cut.alternating)
        a = real(1) - a if mirrored else a
        corner = (j - j0) * width + i - i0
        left = corner + mirrored
        right = corner + 1 - mirrored
        first[k] = left
        middle[k] = right if a > b else left + width
        last[k] = right + width
        high[k] = max(a, b)
        low[k] = min(a, b)
    return bad


@_compiled
def _locate_crossed(
    x: Any, y: Any, frame: Any, place: Any, cut: Any,
    first: Any, middle: Any, last: Any, high: Any, low: Any,
) -> Any:  # fmt: skip
    """Cells with both diagonals: first is the centre, middle and last the ends of one side."""
    real = frame.dtype.type
    unpacked = _unpacked(frame)
    i0, j0 = place.i0, place.j0
    i1, j1 = i0 + place.nx + 2, j0 + place.ny + 2
    width = place.nx + 3
    centres = width * (place.ny + 3)
    bad = 0
    for k in range(x.size):
        bad += _not_finite(x[k], y[k])
        s, t = _lattice_point(x[k], y[k], unpacked)
        s, t = _kept(s, i0, i1, real), _kept(t, j0, j1, real)
        i, j = min(np.int64(s), i1 - 1), min(np.int64(t), j1 - 1)
        a, b = s - real(i) - real(0.5), t - real(j) - real(0.5)
        upright = abs(a) > abs(b)  # the side is the left or right one, not bottom or top
        across, along = (a, b) if upright else (b, a)
        to_far_side, to_end = (1, width) if upright else (width, 1)
        corner = (j - j0) * width + i - i0 + (to_far_side if across > 0 else 0)
        first[k] = centres + (j - j0) * (width - 1) + i - i0
        middle[k] = corner
        last[k] = corner + to_end
        high[k] = real(2) * abs(across)
        low[k] = abs(across) + along
    return bad


@_compiled
def locate(
    x: Any, y: Any, frame: Any, place: Any, cut: Any,
    first: Any, middle: Any, last: Any, high: Any, low: Any,
) -> Any:  # fmt: skip
    """Locates points: see the module's text; counts NaN or infinite coordinates.

    Args:
        x: First coordinates, shape (n,), contiguous, of the dtype to compute in.
        y: Second coordinates, likewise.
        frame: As `lattice_frame` returns, of the dtype to compute in.
        place: Where the table lies.
        cut: One of `CUTS`.
        first: Table entries to write, shape (n,), int64 or int32; middle and last likewise.
        middle: See first.
        last: See first.
        high: Weights to write, shape (n,), of the dtype to compute in; low likewise.
        low: See high.
    """
    if cut.crossed:
        return _locate_crossed(x, y, frame, place, cut, first, middle, last, high, low)
    return _locate_halved(x, y, frame, place, cut, first, middle, last, high, low)


@_compiled
def combine(first: Any, middle: Any, last: Any, high: Any, low: Any, table: Any, out: Any) -> None:
    """Writes the values at located points, of one component, into out, shape (n,)."""
    for k in range(out.size):
        # Unsigned, because a signed index costs a test for counting from the end.
        start, value = table[np.uint64(first[k])], table[np.uint64(middle[k])]
        out[k] = start + high[k] * (value - start) + low[k] * (table[np.uint64(last[k])] - value)


@_compiled
def evaluate(x: Any, y: Any, frame: Any, place: Any, cut: Any, table: Any, out: Any) -> Any:
    """Writes the network's values at the points (x, y) into out, shape (k, n).

    Arguments and result are those of `locate`; table has shape (k, entries), see the module's text.
    """
    # One array each: the compiler vectorises only where it can tell the arrays apart.
    first, middle = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    last = np.empty(BLOCK, np.int64)
    high, low = np.empty(BLOCK, frame.dtype), np.empty(BLOCK, frame.dtype)
    bad = 0
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        xs, ys = x[start:stop], y[start:stop]
        bad += locate(xs, ys, frame, place, cut, first, middle, last, high, low)
        for component in range(len(table)):
            here = out[component, start:stop]
            combine(first, middle, last, high, low, table[component], here)
    return bad


@_compiled
def gradient(x: Any, y: Any, frame: Any, place: Any, cut: Any, table: Any, out: Any) -> Any:
    """Writes the gradient at the points (x, y) into out, shape (k, 2, n).

    The slopes of the located triangle come from its three vertices, whose lattice places are
    integers or, for centres, integers and a half.
    """
    real = frame.dtype.type
    width = place.nx + 3
    centres = width * (place.ny + 3)
    first, middle = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    last = np.empty(BLOCK, np.int64)
    high, low = np.empty(BLOCK, frame.dtype), np.empty(BLOCK, frame.dtype)
    bad = 0
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        xs, ys = x[start:stop], y[start:stop]
        bad += locate(xs, ys, frame, place, cut, first, middle, last, high, low)
        for k in range(xs.size):
            ai, aj = _lattice_place(first[k], width, centres)
            bi, bj = _lattice_place(middle[k], width, centres)
            ci, cj = _lattice_place(last[k], width, centres)
            bi, bj, ci, cj = bi - ai, bj - aj, ci - ai, cj - aj
            area = bi * cj - bj * ci
            for component in range(len(table)):
                values = table[component]
                b = values[middle[k]] - values[first[k]]
                c = values[last[k]] - values[first[k]]
                along_s = (real(cj) * b - real(bj) * c) / real(area)
                along_t = (real(bi) * c - real(ci) * b) / real(area)
                out[component, 0, start + k] = frame[2] * along_s + frame[4] * along_t
                out[component, 1, start + k] = frame[3] * along_s + frame[5] * along_t
    return bad


@_compiled
def _lattice_place(entry: Any, width: Any, centres: Any) -> Any:
    if entry < centres:
        return float(entry % width), float(entry // width)
    return (entry - centres) % (width - 1) + 0.5, (entry - centres) // (width - 1) + 0.5


@_compiled
def sort_by_key(keys: Any, size: Any) -> Any:
    """How often each key 0 … size − 1 occurs, and the stable order that sorts the keys."""
    counts = np.zeros(size, np.int64)
    for key in keys:
        counts[key] += 1
    place = np.cumsum(counts) - counts
    order = np.empty(keys.size, np.int64)
    for k in range(keys.size):
        key = keys[k]
        order[place[key]] = k
        place[key] += 1
    return counts, order


@_compiled
def held(x: Any, y: Any, frame: Any, bounds: Any, out: Any) -> Any:
    """Writes into out whether a window answers each point; counts NaN or infinite coordinates.

    Args:
        x: First coordinates, shape (n,), any stride.
        y: Second coordinates, likewise.
        frame: As `lattice_frame` returns, of the dtype to compute in.
        bounds: As `held_bounds` returns.
        out: Shape (n,), bool.
    """
    real = frame.dtype.type
    unpacked = _unpacked(frame)
    first_i, end_i, first_j, end_j = bounds
    bad = 0
    for k in range(out.size):
        bad += _not_finite(x[k], y[k])
        s, t = _lattice_point(real(x[k]), real(y[k]), unpacked)
        out[k] = (s >= first_i) & (s < end_i) & (t >= first_j) & (t < end_j)
    return bad


@_compiled
def owners(x: Any, y: Any, frame: Any, columns: Any, rows: Any, ranks: Any) -> Any:
    """The rank that answers each point, shape (n,), int32.

    Args:
        x: First coordinates, shape (n,), any stride.
        y: Second coordinates, likewise.
        frame: As `lattice_frame` returns, of the dtype to compute in.
        columns: Block column of each column of cells, shape (nx,).
        rows: Block row of each row of cells, shape (ny,), times the number of block columns.
        ranks: Rank of each block.
    """
    real = frame.dtype.type
    unpacked = _unpacked(frame)
    out = np.empty(x.size, np.int32)
    for k in range(out.size):
        s, t = _lattice_point(real(x[k]), real(y[k]), unpacked)
        i = min(np.int64(_kept(s, 1, columns.size + 1, real)), columns.size) - 1
        j = min(np.int64(_kept(t, 1, rows.size + 1, real)), rows.size) - 1
        out[k] = ranks[rows[j] + columns[i]]
    return out
