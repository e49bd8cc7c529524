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

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fe_relu.basics.compiled import compiled

if TYPE_CHECKING:
    from fe_relu.meshes.grid.window import Window

#: Points located at a time; their indices and weights stay in the first-level cache.
BLOCK = 1024

#: Numbers of table entries: half the memory of 64 bits, and a table of 2³² entries is 32 GiB.
INDEX = np.uint32


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


@compiled
def unpacked(frame: Any) -> Any:
    """The frame's numbers and 1 as scalars, which no store of a loop can change."""
    return frame[0], frame[1], frame[2], frame[3], frame[4], frame[5], frame.dtype.type(1)


@compiled
def lattice_point(x: Any, y: Any, numbers: Any) -> Any:
    """Lattice coordinates counted from the ring of the whole grid."""
    x0, y0, m00, m01, m10, m11, one = numbers
    return m00 * (x - x0) + m01 * (y - y0) + one, m10 * (x - x0) + m11 * (y - y0) + one


@compiled
def kept(s: Any, first: Any, last: Any, real: Any) -> Any:
    """S cut off at both ends of a table, beyond which the network is zero for good.

    The comparison sends NaN to the first end, so that no point can lead outside the table.
    """
    s = s if s > first else real(first)
    return min(s, real(last))


@compiled
def within(x: Any, y: Any, numbers: Any, place: Any) -> Any:
    """1 on a table, its ring included, else 0: what slopes are multiplied by."""
    s, t = lattice_point(x, y, numbers)
    return np.int64(
        (s >= place.i0)
        & (s <= place.i0 + place.nx + 2)
        & (t >= place.j0)
        & (t <= place.j0 + place.ny + 2)
    )


@compiled
def not_finite(x: Any, y: Any) -> Any:
    return np.int64(x - x != 0) + np.int64(y - y != 0)


@compiled
def _locate_halved(
    x: Any, y: Any, frame: Any, place: Any, cut: Any,
    first: Any, middle: Any, last: Any, high: Any, low: Any,
) -> Any:  # fmt: skip
    """Cells with one diagonal: ╲ is ╱ seen in a mirror that swaps the columns of the cell.

    Seen so, the triangle is 00, 10, 11 (below the diagonal) or 00, 01, 11.
    """
    real = frame.dtype.type
    numbers = unpacked(frame)
    i0, j0 = place.i0, place.j0
    i1, j1 = i0 + place.nx + 2, j0 + place.ny + 2
    width = place.nx + 3
    bad = 0
    for k in range(x.size):
        bad += not_finite(x[k], y[k])
        s, t = lattice_point(x[k], y[k], numbers)
        s, t = kept(s, i0, i1, real), kept(t, j0, j1, real)
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


@compiled
def _locate_crossed(
    x: Any, y: Any, frame: Any, place: Any, cut: Any,
    first: Any, middle: Any, last: Any, high: Any, low: Any,
) -> Any:  # fmt: skip
    """Cells with both diagonals: first is the centre, middle and last the ends of one side."""
    real = frame.dtype.type
    numbers = unpacked(frame)
    i0, j0 = place.i0, place.j0
    i1, j1 = i0 + place.nx + 2, j0 + place.ny + 2
    width = place.nx + 3
    centres = width * (place.ny + 3)
    bad = 0
    for k in range(x.size):
        bad += not_finite(x[k], y[k])
        s, t = lattice_point(x[k], y[k], numbers)
        s, t = kept(s, i0, i1, real), kept(t, j0, j1, real)
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


@compiled
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
        first: Table entries to write, shape (n,), of dtype `INDEX`; middle and last likewise.
        middle: See first.
        last: See first.
        high: Weights to write, shape (n,), of the dtype to compute in; low likewise.
        low: See high.
    """
    if cut.crossed:
        return _locate_crossed(x, y, frame, place, cut, first, middle, last, high, low)
    return _locate_halved(x, y, frame, place, cut, first, middle, last, high, low)


@compiled
def combine(first: Any, middle: Any, last: Any, high: Any, low: Any, table: Any, out: Any) -> None:
    """Writes the values at located points, of one component, into out, shape (n,)."""
    for k in range(out.size):
        # Unsigned, because a signed index costs a test for counting from the end.
        start, value = table[np.uint64(first[k])], table[np.uint64(middle[k])]
        out[k] = start + high[k] * (value - start) + low[k] * (table[np.uint64(last[k])] - value)


@compiled
def evaluate(x: Any, y: Any, frame: Any, place: Any, cut: Any, table: Any, out: Any) -> Any:
    """Writes the network's values at the points (x, y) into out, shape (k, n).

    Arguments and result are those of `locate`; table has shape (k, entries), see the module's text.
    """
    # One array each: the compiler vectorises only where it can tell the arrays apart.
    first, middle = np.empty(BLOCK, INDEX), np.empty(BLOCK, INDEX)
    last = np.empty(BLOCK, INDEX)
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


@compiled
def gradient(x: Any, y: Any, frame: Any, place: Any, cut: Any, table: Any, out: Any) -> Any:
    """Writes the gradient at the points (x, y) into out, shape (k, 2, n).

    The slopes of the located triangle come from its three vertices; beyond the ring they are 0.
    """
    real = frame.dtype.type
    numbers = unpacked(frame)
    width = place.nx + 3
    centres = width * (place.ny + 3)
    first, middle = np.empty(BLOCK, INDEX), np.empty(BLOCK, INDEX)
    last = np.empty(BLOCK, INDEX)
    high, low = np.empty(BLOCK, frame.dtype), np.empty(BLOCK, frame.dtype)
    bad = 0
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        xs, ys = x[start:stop], y[start:stop]
        bad += locate(xs, ys, frame, place, cut, first, middle, last, high, low)
        for k in range(xs.size):
            steps = corner_steps(first[k], middle[k], last[k], width, centres)
            inside = real(within(xs[k], ys[k], numbers, place))
            for component in range(len(table)):
                values = table[component]
                b = inside * (values[middle[k]] - values[first[k]])
                c = inside * (values[last[k]] - values[first[k]])
                slopes = slopes_from_corners(steps, b, c, frame)
                out[component, 0, start + k], out[component, 1, start + k] = slopes
    return bad


@compiled
def corner_steps(first: Any, middle: Any, last: Any, width: Any, centres: Any) -> Any:
    """Lattice steps from the first to the middle and to the last vertex, and their cross product.

    Places are integers or, for centres, integers and a half.
    """
    ai, aj = _lattice_place(first, width, centres)
    bi, bj = _lattice_place(middle, width, centres)
    ci, cj = _lattice_place(last, width, centres)
    bi, bj, ci, cj = bi - ai, bj - aj, ci - ai, cj - aj
    return bi, bj, ci, cj, bi * cj - bj * ci


@compiled
def slopes_from_corners(steps: Any, b: Any, c: Any, frame: Any) -> Any:
    """The gradient of the affine function that gains b and c along the two steps."""
    real = frame.dtype.type
    bi, bj, ci, cj, area = steps
    along_s = (real(cj) * b - real(bj) * c) / real(area)
    along_t = (real(bi) * c - real(ci) * b) / real(area)
    return frame[2] * along_s + frame[4] * along_t, frame[3] * along_s + frame[5] * along_t


@compiled
def _lattice_place(entry: Any, width: Any, centres: Any) -> Any:
    if entry < centres:
        return float(entry % width), float(entry // width)
    return (entry - centres) % (width - 1) + 0.5, (entry - centres) // (width - 1) + 0.5
