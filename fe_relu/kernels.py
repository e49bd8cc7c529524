# SPDX-License-Identifier: MIT
"""The forward pass that visits active neurons only: compiled loops over plain arrays.

At a point of the mesh, at most three hats are active and sum to one. A point is *located* as

    three table entries (first, middle, last) and 1 ≥ high ≥ low ≥ 0, where
    u = u_first + high·(u_middle − u_first) + low·(u_last − u_middle),

without a branch, a block of points at a time, so that the compiler vectorises the arithmetic and
the processor overlaps the loads. The *table* holds the nodal values padded with a ring of zeros, on
which the network continues outside the mesh:

    (nx + 3)·(ny + 3) vertices, row by row, then (nx + 2)·(ny + 2) cell centres for `crossed`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

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


def padded_table(grid: Grid, values: npt.NDArray) -> npt.NDArray:
    """The table of nodal values (k, num_vertices) with its ring of zeros, shape (k, entries)."""
    nx, ny = grid.shape
    parts = [_ring(values[:, : (nx + 1) * (ny + 1)], nx + 1, ny + 1)]
    if grid.has_centres:
        parts.append(_ring(values[:, (nx + 1) * (ny + 1) :], nx, ny))
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _ring(values: npt.NDArray, nx: int, ny: int) -> npt.NDArray:
    table = np.zeros((len(values), ny + 2, nx + 2), values.dtype)
    table[:, 1:-1, 1:-1] = values.reshape(-1, ny, nx)
    return table.reshape(len(values), -1)


def lattice_frame(grid: Grid, dtype: npt.DTypeLike) -> npt.NDArray:
    """The affine map to lattice coordinates as six numbers of the dtype to compute in."""
    return np.concatenate([grid.origin, grid.inverse.ravel()]).astype(dtype)


@njit(cache=True, error_model="numpy")
def _lattice_point(x: Any, y: Any, frame: Any, nx: Any, ny: Any) -> Any:
    """Lattice coordinates counted from the ring, cut off where the network is zero for good.

    The comparisons send NaN to 0, so that no point can lead outside the table.
    """
    real = frame.dtype.type
    s = frame[2] * (x - frame[0]) + frame[3] * (y - frame[1]) + real(1)
    t = frame[4] * (x - frame[0]) + frame[5] * (y - frame[1]) + real(1)
    s = s if s > 0 else real(0)
    t = t if t > 0 else real(0)
    return min(s, real(nx + 2)), min(t, real(ny + 2))


@njit(cache=True, error_model="numpy")
def _not_finite(x: Any, y: Any) -> Any:
    return np.int64(x - x != 0) + np.int64(y - y != 0)


@njit(cache=True, error_model="numpy")
def _locate_halved(
    x: Any, y: Any, frame: Any, nx: Any, ny: Any, cut: Any,
    first: Any, middle: Any, last: Any, high: Any, low: Any,
) -> Any:  # fmt: skip
    """Cells with one diagonal: ╲ is ╱ seen in a mirror that swaps the columns of the cell.

    Seen so, the triangle is 00, 10, 11 (below the diagonal) or 00, 01, 11.
    """
    real = frame.dtype.type
    width = nx + 3
    bad = 0
    for k in range(x.size):
        bad += _not_finite(x[k], y[k])
        s, t = _lattice_point(x[k], y[k], frame, nx, ny)
        i, j = min(np.int64(s), nx + 1), min(np.int64(t), ny + 1)
        a, b = s - real(i), t - real(j)
        mirrored = cut.parity ^ ((i + j) & cut.alternating)
        a = real(1) - a if mirrored else a
        left = j * width + i + mirrored
        right = j * width + i + 1 - mirrored
        first[k] = left
        middle[k] = right if a > b else left + width
        last[k] = right + width
        high[k] = max(a, b)
        low[k] = min(a, b)
    return bad


@njit(cache=True, error_model="numpy")
def _locate_crossed(
    x: Any, y: Any, frame: Any, nx: Any, ny: Any,
    first: Any, middle: Any, last: Any, high: Any, low: Any,
) -> Any:  # fmt: skip
    """Cells with both diagonals: first is the centre, middle and last the ends of one side."""
    real = frame.dtype.type
    width = nx + 3
    centres = width * (ny + 3)
    bad = 0
    for k in range(x.size):
        bad += _not_finite(x[k], y[k])
        s, t = _lattice_point(x[k], y[k], frame, nx, ny)
        i, j = min(np.int64(s), nx + 1), min(np.int64(t), ny + 1)
        a, b = s - real(i) - real(0.5), t - real(j) - real(0.5)
        upright = abs(a) > abs(b)  # the side is the left or right one, not bottom or top
        across, along = (a, b) if upright else (b, a)
        to_far_side, to_end = (1, width) if upright else (width, 1)
        corner = j * width + i + (to_far_side if across > 0 else 0)
        first[k] = centres + j * (width - 1) + i
        middle[k] = corner
        last[k] = corner + to_end
        high[k] = real(2) * abs(across)
        low[k] = abs(across) + along
    return bad


@njit(cache=True, error_model="numpy")
def _combine(first: Any, middle: Any, last: Any, high: Any, low: Any, table: Any, out: Any) -> None:
    for k in range(out.size):
        # Unsigned, because a signed index costs a test for counting from the end.
        start, value = table[np.uint64(first[k])], table[np.uint64(middle[k])]
        out[k] = start + high[k] * (value - start) + low[k] * (table[np.uint64(last[k])] - value)


@njit(cache=True, error_model="numpy", nogil=True)
def evaluate(x: Any, y: Any, frame: Any, nx: Any, ny: Any, cut: Any, table: Any, out: Any) -> Any:
    """Writes the network's values at the points (x, y) into out.

    Args:
        x: First coordinates, shape (n,), contiguous, of the dtype to compute in.
        y: Second coordinates, likewise.
        frame: As `lattice_frame` returns, of the dtype to compute in.
        nx: Number of cells along the first axis.
        ny: Number of cells along the second axis.
        cut: One of `CUTS`.
        table: Shape (k, entries), as `padded_table` returns.
        out: Shape (k, n).

    Returns:
        Number of NaN or infinite coordinates; the values of such points mean nothing.
    """
    # One array each: the compiler vectorises only where it can tell the arrays apart.
    first, middle = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    last = np.empty(BLOCK, np.int64)
    high, low = np.empty(BLOCK, frame.dtype), np.empty(BLOCK, frame.dtype)
    bad = 0
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        xs, ys = x[start:stop], y[start:stop]
        if cut.crossed:
            bad += _locate_crossed(xs, ys, frame, nx, ny, first, middle, last, high, low)
        else:
            bad += _locate_halved(xs, ys, frame, nx, ny, cut, first, middle, last, high, low)
        for component in range(len(table)):
            here = out[component, start:stop]
            _combine(first, middle, last, high, low, table[component], here)
    return bad
