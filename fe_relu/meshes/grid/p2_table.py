# SPDX-License-Identifier: MIT
"""The forward pass of a P2 network that visits active neurons only: compiled loops.

Cut every triangle into 4^levels equal ones: the network is the P1 interpolant there of the P2
function

    u = u_first + high·(u_middle − u_first) + low·(u_last − u_middle) + q(high, low),
    q = 4 (s_fm λ_first λ_middle + s_ml λ_middle λ_last + s_fl λ_first λ_last),
    λ_first = 1 − high,  λ_middle = high − low,  λ_last = low.

On each small triangle, what the interpolant lacks is the same q of its own λ, times 4^−levels. An
upright small triangle has its vertices in the order first, middle, last; one upside down has the
roles of the edges fm and ml exchanged. So a point costs two evaluations of q, whatever `levels` is.

The *table* has a record for each lattice point, numbered as in `fe_relu.meshes.grid.locate`, ring of zeros
included: nodal value there, surplus of the edge to the right, of the edge upward, of the cell's
diagonal; for `crossed`, the nodal value at the cell's centre instead of the last, and the surpluses
of the half diagonals to its corners 00, 10, 01, 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.meshes.grid.locate import (
    BLOCK,
    CUTS,
    Place,
    corner_steps,
    locate,
    slopes_from_corners,
    unpacked,
    within,
)
from fe_relu.meshes.grid.midpoints import Nodes, surpluses
from fe_relu.meshes.grid.table import Located, Table
from fe_relu.meshes.mesh import Answers

if TYPE_CHECKING:
    from fe_relu.meshes.grid.window import Window

#: Numbers in the record of a lattice point, by whether cells are crossed.
RECORD = {False: 4, True: 8}


@compiled
def _entries_halved(first: Any, middle: Any, last: Any, place: Any, entries: Any) -> None:
    """Table entries of (vertices first, middle, last; edges fm, ml, fl), shape (6, n)."""
    width = place.nx + 3
    for k in range(first.size):
        left, mid, right = np.int64(first[k]), np.int64(middle[k]), np.int64(last[k])
        mirrored = np.int64(right - left < width)
        cell = left - mirrored
        below = mid < cell + width
        entries[0, k] = 4 * left
        entries[1, k] = 4 * mid
        entries[2, k] = 4 * right
        entries[3, k] = 4 * cell + 1 if below else 4 * left + 2
        entries[4, k] = 4 * mid + 2 if below else 4 * (cell + width) + 1
        entries[5, k] = 4 * cell + 3


@compiled
def _entries_crossed(first: Any, middle: Any, last: Any, place: Any, entries: Any) -> None:
    width = place.nx + 3
    centres = width * (place.ny + 3)
    for k in range(first.size):
        mid, end = np.int64(middle[k]), np.int64(last[k])
        number = np.int64(first[k]) - centres
        cell = number + number // (width - 1)
        entries[0, k] = 8 * cell + 3
        entries[1, k] = 8 * mid
        entries[2, k] = 8 * end
        entries[3, k] = _spoke(cell, mid, width)
        entries[4, k] = 8 * mid + (1 if end - mid == 1 else 2)
        entries[5, k] = _spoke(cell, end, width)


@compiled
def _spoke(cell: Any, corner: Any, width: Any) -> Any:
    upper = np.int64(corner - cell >= width)
    right = corner - cell - upper * width
    return 8 * cell + 4 + 2 * upper + right


@compiled
def find_entries(first: Any, middle: Any, last: Any, place: Any, cut: Any, entries: Any) -> None:
    """Writes the six table entries of located points into entries, shape (6, n)."""
    if cut.crossed:
        _entries_crossed(first, middle, last, place, entries)
    else:
        _entries_halved(first, middle, last, place, entries)


@compiled
def find_bumps(high: Any, low: Any, scale: Any, fm: Any, ml: Any, fl: Any) -> None:
    """Writes the factors of the three surpluses at located points into fm, ml, fl, shape (n,).

    Args:
        high: Weights, see the module's text, shape (n,); low likewise.
        low: See high.
        scale: 2^levels, of the dtype to compute in.
        fm: To write, likewise ml and fl.
        ml: See fm.
        fl: See fm.
    """
    real = high.dtype.type
    one, four = real(1), real(4)
    shrunk = one / (scale * scale)
    for k in range(high.size):
        h, w = high[k], low[k]
        a, b = h * scale, w * scale
        a, b = a - np.floor(a), b - np.floor(b)
        upper, lower = max(a, b), min(a, b)
        begin, end = (one - upper) * (upper - lower), (upper - lower) * lower
        fm[k] = four * ((one - h) * (h - w) - shrunk * (begin if a >= b else end))
        ml[k] = four * ((h - w) * w - shrunk * (end if a >= b else begin))
        fl[k] = four * ((one - h) * w - shrunk * ((one - upper) * lower))


@compiled
def combine(
    entries: Any, high: Any, low: Any, fm: Any, ml: Any, fl: Any, table: Any, out: Any
) -> None:
    """Writes the values at located points, of one component, into out, shape (n,)."""
    for k in range(out.size):
        start, value = table[np.uint64(entries[0, k])], table[np.uint64(entries[1, k])]
        linear = start + high[k] * (value - start)
        linear += low[k] * (table[np.uint64(entries[2, k])] - value)
        bumps = fm[k] * table[np.uint64(entries[3, k])] + ml[k] * table[np.uint64(entries[4, k])]
        out[k] = linear + (bumps + fl[k] * table[np.uint64(entries[5, k])])


@compiled
def combine_located(
    first: Any, middle: Any, last: Any, high: Any, low: Any,
    place: Any, cut: Any, scale: Any, table: Any, out: Any,
) -> None:  # fmt: skip
    """Writes the values at located points into out, shape (k, n); table has shape (k, entries)."""
    real = high.dtype.type
    entries = np.empty((6, BLOCK), np.int64)
    fm, ml, fl = np.empty(BLOCK, real), np.empty(BLOCK, real), np.empty(BLOCK, real)
    for start in range(0, high.size, BLOCK):
        stop = min(start + BLOCK, high.size)
        n = stop - start
        find_entries(first[start:stop], middle[start:stop], last[start:stop], place, cut, entries)
        h, w = high[start:stop], low[start:stop]
        find_bumps(h, w, scale, fm[:n], ml[:n], fl[:n])
        for component in range(len(table)):
            here = out[component, start:stop]
            combine(entries, h, w, fm, ml, fl, table[component], here)


@compiled
def evaluate(
    scale: Any, x: Any, y: Any, frame: Any, place: Any, cut: Any, table: Any, out: Any
) -> Any:
    """Writes the network's values at the points (x, y) into out, shape (k, n).

    Args and result are those of `fe_relu.kernels.locate`; table has shape (k, entries), scale is
    2^levels, of the dtype to compute in.
    """
    first, middle = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    last = np.empty(BLOCK, np.int64)
    high, low = np.empty(BLOCK, frame.dtype), np.empty(BLOCK, frame.dtype)
    bad = 0
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        n = stop - start
        xs, ys = x[start:stop], y[start:stop]
        bad += locate(xs, ys, frame, place, cut, first, middle, last, high, low)
        combine_located(
            first[:n], middle[:n], last[:n], high[:n], low[:n],
            place, cut, scale, table, out[:, start:stop],
        )  # fmt: skip
    return bad


@compiled
def gradient(
    scale: Any, x: Any, y: Any, frame: Any, place: Any, cut: Any, table: Any, out: Any
) -> Any:
    """Writes the gradient at the points (x, y) into out, shape (k, 2, n); see `evaluate`.

    Along an edge of a small triangle, the slope of the network is that of the P2 function at the
    edge's midpoint.
    """
    real = frame.dtype.type
    numbers = unpacked(frame)
    first, middle = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    last = np.empty(BLOCK, np.int64)
    high, low = np.empty(BLOCK, frame.dtype), np.empty(BLOCK, frame.dtype)
    entries = np.empty((6, BLOCK), np.int64)
    one, two, four, half = real(1), real(2), real(4), real(0.5)
    width = place.nx + 3
    centres = width * (place.ny + 3)
    bad = 0
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        n = stop - start
        xs, ys = x[start:stop], y[start:stop]
        bad += locate(xs, ys, frame, place, cut, first, middle, last, high, low)
        find_entries(first[:n], middle[:n], last[:n], place, cut, entries)
        for k in range(n):
            a, b = high[k] * scale, low[k] * scale
            i, j = min(np.floor(a), scale - one), min(np.floor(b), scale - one)
            upright = a - i >= b - j
            # Midpoints of the small triangle's edges along high and along low.
            h, w = (i + half) / scale, (j if upright else j + one) / scale
            h_low, w_low = (i + one if upright else i) / scale, (j + half) / scale
            steps = corner_steps(first[k], middle[k], last[k], width, centres)
            inside = real(within(xs[k], ys[k], numbers, place))
            for component in range(len(table)):
                values = table[component]
                fm, ml = values[entries[3, k]], values[entries[4, k]]
                fl = values[entries[5, k]]
                per_high = fm * (one - two * h + w) + ml * w - fl * w
                per_low = ml * (h_low - two * w_low) + (fl - fm) * (one - h_low)
                to_middle = values[entries[1, k]] - values[entries[0, k]] + four * per_high
                to_last = values[entries[2, k]] - values[entries[1, k]] + four * per_low
                to_middle, to_last = inside * to_middle, inside * to_last
                slopes = slopes_from_corners(steps, to_middle, to_middle + to_last, frame)
                out[component, 0, start + k], out[component, 1, start + k] = slopes
    return bad


@dataclass(frozen=True, eq=False)
class P2Table(Table):
    """Nodal values and surpluses of a P2 function as `fe_relu.meshes.grid.p2_table` reads them.

    Args:
        window: As for `Table`.
        entries: Shape (k, records · numbers in a record).
        levels: Of the network.
    """

    levels: int

    @staticmethod
    def of(window: Window, values: npt.NDArray, levels: int) -> P2Table:  # type: ignore[override]
        grid, nodes = window.grid, Nodes.of(window, values)
        edges = surpluses(window, nodes)
        (nx, ny), record = window.shape, RECORD[grid.has_centres]
        table = np.zeros((len(nodes.vertices), ny + 3, nx + 3, record), nodes.vertices.dtype)
        if nx > 0:
            table[:, 1:-1, 1:-1, 0] = nodes.vertices
            table[:, 1:-1, 1:-2, 1] = edges.right
            table[:, 1:-2, 1:-1, 2] = edges.up
            table[:, 1:-2, 1:-2, 3] = nodes.middle if edges.diagonal is None else edges.diagonal
            for k, spoke in enumerate(edges.spokes):
                table[:, 1:-2, 1:-2, 4 + k] = spoke
        return P2Table(window, table.reshape(len(table), -1), levels)

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Values at points (2, n), computed in dtype, shape (k, n)."""
        out = np.empty((len(self.entries), x.shape[1]), dtype)
        return self._run(partial(evaluate, self._scale(out.dtype)), x, out)

    def gradient(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Gradients at points (2, n), computed in dtype, shape (k, 2, n)."""
        out = np.empty((len(self.entries), 2, x.shape[1]), dtype)
        return self._run(partial(gradient, self._scale(out.dtype)), x, out)

    def values_at(self, points: Located) -> Answers:
        """Values at located points, shape (k, n)."""
        out = np.empty((len(self.entries), points.high.size), points.high.dtype)
        combine_located(
            points.first,
            points.middle,
            points.last,
            points.high,
            points.low,
            Place.of(self.window),
            CUTS[self.grid.diagonal],
            self._scale(out.dtype),
            self.entries,
            out,
        )
        return Answers(out, points.away)

    def _scale(self, dtype: np.dtype) -> np.floating:
        return dtype.type(2.0**self.levels)
