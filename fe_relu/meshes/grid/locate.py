# SPDX-License-Identifier: MIT
"""Where a point is in a grid and its ring: which neurons are active there, and how much.

At a point of the mesh, at most three hats are active and sum to one. A point is *located* as

    three table entries (first, middle, last) and 1 ≥ high ≥ low ≥ 0, where
    u = u_first + high·(u_middle − u_first) + low·(u_last − u_middle),

without a branch, so that the compiler makes vectors of points and the processor overlaps their
look-ups. The *table* holds the nodal values of a window of the grid (the whole of it, unless it is
spread over ranks) padded with a ring of zeros, on which the network continues outside the mesh:

    (nx + 3)·(ny + 3) vertices, row by row, then (nx + 2)·(ny + 2) cell centres for `crossed`,

where the window has nx by ny cells. Points that another window answers are *strangers*; they are
listed in the same pass, and what is said of them means nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fe_relu.basics.compiled import compiled, inlined

if TYPE_CHECKING:
    from fe_relu.meshes.grid.window import Window

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


class Setting(NamedTuple):
    """What the loops know of a table beside its entries.

    Args:
        frame: As `lattice_frame` returns, of the dtype to compute in.
        limits: Of the same dtype, along each axis: the least and the largest lattice coordinate,
            counted from the ring, that the table has an answer for; its last column of cells.
        bounds: As `held_bounds` returns.
        place: Where the table lies.
        cut: One of `CUTS`.
    """

    frame: Any
    limits: Any
    bounds: tuple[float, float, float, float]
    place: Place
    cut: Cut


class Spot(NamedTuple):
    """A located point: the vertices of its triangle as table entries, and its two weights.

    Args:
        corner: The entry of corner 00 of its cell.
        first: See the module's text, as for middle, last, high and low.
        middle: See first.
        last: See first.
        high: See first.
        low: See first.
        straight: Whether high is along the first axis and low along the second, not the reverse.
        flipped: Whether the slope per high or along the first axis changes sign; see `slopes`.
        astray: Whether the table has no answer.
    """

    corner: Any
    first: Any
    middle: Any
    last: Any
    high: Any
    low: Any
    straight: Any
    flipped: Any
    astray: Any


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


@inlined
def clamped(s: Any, first: Any, last: Any) -> Any:
    """As `kept`, with ends of the dtype of s."""
    return min(s if s > first else first, last)


@compiled
def not_finite(x: Any, y: Any) -> Any:
    return np.int64(x - x != 0) + np.int64(y - y != 0)


class Counting(NamedTuple):
    """How entries are counted: that of corner (i, j) is width·j + i + shift, of dtype `INDEX`.

    Of 32 bits, since a vector has twice as many of them as of 64. What is below zero, and sums that
    pass 2³² on their way, come right modulo 2³².

    Args:
        width: Entries in a row of vertices.
        shift: The entry of lattice point (0, 0), were it in the table.
        centres: The entry of the centre of cell (i, j) is j less than its corner's plus this.
        parity: See `Cut`, alternating likewise.
        alternating: See parity.
    """

    width: Any
    shift: Any
    centres: Any
    parity: Any
    alternating: Any


class Known(NamedTuple):
    """A `Setting` as scalars: numbers are from `unpacked`."""

    numbers: Any
    limits: Any
    counting: Any


@inlined
def known_of(setting: Any) -> Any:
    """The scalars of a `Setting`, which no store of a loop can change."""
    place, cut, ends = setting.place, setting.cut, setting.limits
    width = place.nx + 3
    counting = Counting(
        INDEX(width),
        INDEX(-(place.j0 * width + place.i0)),
        INDEX(width * (place.ny + 3) + place.j0),
        INDEX(cut.parity),
        INDEX(cut.alternating),
    )
    limits = ends[0], ends[1], ends[2], ends[3], ends[4], ends[5]
    return Known(unpacked(setting.frame), limits, counting)


@inlined
def located(x: Any, y: Any, known: Any, crossed: Any) -> Any:
    """The `Spot` of a point."""
    numbers, limits, counting = known
    first_s, last_s, top_i, first_t, last_t, top_j = limits
    one = numbers[6]
    s, t = lattice_point(x, y, numbers)
    in_s, in_t = clamped(s, first_s, last_s), clamped(t, first_t, last_t)
    astray = (s != in_s) | (t != in_t)
    p, q = min(np.floor(in_s), top_i), min(np.floor(in_t), top_j)
    # Every sum back to 32 bits: Numba widens them.
    i, j = INDEX(np.int32(p)), INDEX(np.int32(q))
    corner = INDEX(INDEX(INDEX(j * counting.width) + i) + counting.shift)
    if crossed:
        return _crossed(in_s - p, in_t - q, one, j, corner, counting, astray)
    return _halved(in_s - p, in_t - q, one, INDEX(i + j), corner, counting, astray)


@inlined
def _halved(a: Any, b: Any, one: Any, number: Any, corner: Any, counting: Any, astray: Any) -> Any:
    """Cells with one diagonal: ╲ is ╱ seen in a mirror that swaps the columns of the cell.

    Seen so, the triangle is 00, 10, 11 (below the diagonal) or 00, 01, 11.
    """
    width = counting.width
    mirrored = INDEX(counting.parity ^ INDEX(number & counting.alternating))
    a = one - a if mirrored != 0 else a
    below = a > b
    left = INDEX(corner + mirrored)
    right = INDEX(INDEX(corner + INDEX(1)) - mirrored)
    middle = right if below else INDEX(left + width)
    last = INDEX(right + width)
    return Spot(corner, left, middle, last, max(a, b), min(a, b), below, mirrored != 0, astray)


@inlined
def _crossed(a: Any, b: Any, one: Any, j: Any, corner: Any, counting: Any, astray: Any) -> Any:
    """Cells with both diagonals: first is the centre, middle and last the ends of one side."""
    width = counting.width
    half, step = one / (one + one), INDEX(1)
    a, b = a - half, b - half
    upright = abs(a) > abs(b)  # the side is the left or right one, not bottom or top
    across, along = (a, b) if upright else (b, a)
    far = INDEX(corner + (step if upright else width))
    middle = far if across > 0 else corner
    last = INDEX(middle + (width if upright else step))
    first = INDEX(corner + INDEX(counting.centres - j))
    size = abs(across)
    high, low = size + size, size + along
    return Spot(corner, first, middle, last, high, low, upright, across <= 0, astray)


@inlined
def between(first: Any, middle: Any, last: Any, high: Any, low: Any) -> Any:
    """The value at a point from those at its vertices, theirs to the bit where the point is one."""
    start = first + high * (middle - first)
    return (middle if high == 1 else start) + low * (last - middle)


@inlined
def slopes(per_high: Any, per_low: Any, spot: Any, numbers: Any, crossed: Any) -> Any:
    """The gradient from the slopes per weight, 0 where the table has no answer.

    Weights are the lattice coordinates in a cell (a mirrored) in descending order; if crossed, high
    is twice the distance from the centre across the side, and low that distance plus the way along.
    """
    _, _, m00, m01, m10, m11, one = numbers
    zero = one - one
    if crossed:
        per_high = per_high + per_high + per_low
        per_high = -per_high if spot.flipped else per_high
    along_s, along_t = (per_high, per_low) if spot.straight else (per_low, per_high)
    if not crossed:
        along_s = -along_s if spot.flipped else along_s
    along_s, along_t = (zero, zero) if spot.astray else (along_s, along_t)
    return m00 * along_s + m10 * along_t, m01 * along_s + m11 * along_t
