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

The *table* has a record for each lattice point, numbered as in `fe_relu.meshes.grid.locate`, ring
of zeros included: nodal value there, surplus of the edge to the right, of the edge upward, of the
cell's diagonal; for `crossed`, the nodal value at the cell's centre instead of the last, and the
surpluses of the half diagonals to its corners 00, 10, 01, 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled, inlined, vectorised
from fe_relu.meshes.grid.locate import INDEX, between, known_of, located, slopes
from fe_relu.meshes.grid.loops import STRETCH, strangers
from fe_relu.meshes.grid.midpoints import Nodes, surpluses
from fe_relu.meshes.grid.table import Located, Table
from fe_relu.meshes.mesh import Answers

if TYPE_CHECKING:
    from fe_relu.meshes.grid.window import Window

#: Nodal values beyond max/16 of their dtype are read scaled by this, so that no sum overflows: of a
#: nodal value, two differences and three surpluses of up to twice their size.
SCALE = 1 / 16

#: Numbers in the record of a lattice point, by whether cells are crossed.
RECORD = {False: 4, True: 8}


@dataclass(frozen=True, eq=False)
class P2Table(Table):
    """Nodal values and surpluses of a P2 function: see the module's text.

    Args:
        window: As for `Table`.
        entries: Shape (k, records · numbers in a record).
        levels: Of the network.
        nodal: Nodal values (k, n) in the order of the window refined by two.
    """

    levels: int
    nodal: npt.NDArray

    @staticmethod
    def of(window: Window, values: npt.NDArray, levels: int) -> P2Table:  # type: ignore[override]
        """From nodal values (k, n) in the order of the window refined by two."""
        with np.errstate(over="ignore", invalid="ignore"):  # then scaled ones are read
            return P2Table(window, _records(window, values), levels, values)

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Values at points (2, n), shape (k, n), in the wider of dtype and that of the entries."""
        return self._run(partial(evaluate, 2.0**self.levels), x, dtype)

    def gradient(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Gradients at points (2, n), shape (k, 2, n), in the dtype of `values`."""
        return self._run(partial(gradient, 2.0**self.levels), x, dtype, 2)

    def _read(self, dtype: np.dtype) -> tuple[npt.NDArray, float]:
        """As in `Table`; surpluses are differences, to be taken in the wider dtype."""
        if dtype != self.entries.dtype:
            return self._widened, 1
        return (self.entries, 1) if self._scaled is None else (self._scaled, SCALE)

    @cached_property
    def _scaled(self) -> npt.NDArray | None:
        """The table of scaled values, if those of the function are so large that sums overflow."""
        dtype = self.entries.dtype
        if np.abs(self.nodal).max(initial=0) <= np.finfo(dtype).max * SCALE:
            return None
        return _records(self.window, self.nodal * dtype.type(SCALE))

    @cached_property
    def _widened(self) -> npt.NDArray:
        return _records(self.window, self.nodal.astype(np.float64))

    def _combine(self, points: Located, entries: npt.NDArray, out: npt.NDArray) -> None:
        vertices, weights = (points.first, points.middle, points.last), (points.high, points.low)
        setting = self.setting(out.dtype)
        for component, here in zip(entries, out, strict=True):
            combine(2.0**self.levels, *vertices, *weights, setting, component, here)


def _records(window: Window, values: npt.NDArray) -> npt.NDArray:
    """The table of nodal values (k, n), shape (k, entries)."""
    nodes = Nodes.of(window, values)
    edges = surpluses(window, nodes)
    (nx, ny), record = window.shape, RECORD[window.grid.has_centres]
    table = np.zeros((len(nodes.vertices), ny + 3, nx + 3, record), nodes.vertices.dtype)
    if nx > 0:
        table[:, 1:-1, 1:-1, 0] = nodes.vertices
        table[:, 1:-1, 1:-2, 1] = edges.right
        table[:, 1:-2, 1:-1, 2] = edges.up
        table[:, 1:-2, 1:-2, 3] = nodes.middle if edges.diagonal is None else edges.diagonal
        for k, spoke in enumerate(edges.spokes):
            table[:, 1:-2, 1:-2, 4 + k] = spoke
    return table.reshape(len(table), -1)


@inlined
def _record(
    corner: Any, first: Any, middle: Any, last: Any, straight: Any, width: Any, crossed: Any
) -> Any:
    """Table entries of (vertices first, middle, last; edges fm, ml, fl) of a triangle."""
    if crossed:
        size, side = INDEX(8), INDEX(2 if straight else 1)
        return (
            INDEX(INDEX(size * corner) + INDEX(3)),
            INDEX(size * middle),
            INDEX(size * last),
            _spoke(corner, middle, width),
            INDEX(INDEX(size * middle) + side),
            _spoke(corner, last, width),
        )
    size, right, up = INDEX(4), INDEX(1), INDEX(2)
    below = INDEX(size * corner)
    left, end = INDEX(size * first), INDEX(size * middle)
    above = INDEX(below + INDEX(size * width))
    return (
        left,
        end,
        INDEX(size * last),
        INDEX(below + right) if straight else INDEX(left + up),
        INDEX(end + up) if straight else INDEX(above + right),
        INDEX(below + INDEX(3)),
    )


@inlined
def _spoke(cell: Any, corner: Any, width: Any) -> Any:
    """The entry of the half diagonal of a cell to a corner: 4, 5, 6, 7 for 00, 10, 01, 11."""
    away = INDEX(corner - cell)
    # Compared with 1, not with width: for that, LLVM subtracts and tests in one, without vectors.
    number = INDEX(INDEX(away - width) + INDEX(2)) if away > INDEX(1) else away
    return INDEX(INDEX(INDEX(8) * cell) + INDEX(number + INDEX(4)))


@inlined
def _bumps(h: Any, w: Any, scale: Any) -> Any:
    """The factors of the three surpluses at a point of weights h and w; scale is 2^levels."""
    one = scale / scale
    four = (one + one) * (one + one)
    shrunk = one / (scale * scale)
    a, b = h * scale, w * scale
    a, b = a - np.floor(a), b - np.floor(b)
    upper, lower = max(a, b), min(a, b)
    begin, end = (one - upper) * (upper - lower), (upper - lower) * lower
    fm = four * ((one - h) * (h - w) - shrunk * (begin if a >= b else end))
    ml = four * ((h - w) * w - shrunk * (end if a >= b else begin))
    return fm, ml, four * ((one - h) * w - shrunk * ((one - upper) * lower))


@inlined
def _value(numbers: Any, h: Any, w: Any, scale: Any) -> Any:
    """The value at a point of weights h and w from the six numbers of its triangle."""
    first, middle, last, s_fm, s_ml, s_fl = numbers
    fm, ml, fl = _bumps(h, w, scale)
    return between(first, middle, last, h, w) + ((fm * s_fm + ml * s_ml) + fl * s_fl)


@inlined
def _looked_up(table: Any, record: Any, real: Any) -> Any:
    e0, e1, e2, e3, e4, e5 = record
    return (
        real(table[np.uint64(e0)]),
        real(table[np.uint64(e1)]),
        real(table[np.uint64(e2)]),
        real(table[np.uint64(e3)]),
        real(table[np.uint64(e4)]),
        real(table[np.uint64(e5)]),
    )


@inlined
def _corner(first: Any, middle: Any, last: Any, place: Any, crossed: Any) -> Any:
    """The entry of corner 00 of a located point's cell; if its triangle is straight, see `Spot`."""
    width = INDEX(place.nx + 3)
    if crossed:
        number = INDEX(first - INDEX(width * INDEX(place.ny + 3)))
        corner = INDEX(number + number // INDEX(width - INDEX(1)))
        return corner, INDEX(last - middle) == width
    corner = INDEX(first - INDEX(INDEX(last - first) < width))
    return corner, middle < INDEX(corner + width)


@inlined
def _combine(
    scale: Any, first: Any, middle: Any, last: Any, high: Any, low: Any,
    place: Any, crossed: Any, table: Any, out: Any,
) -> None:  # fmt: skip
    real = out.dtype.type
    width, parts = INDEX(place.nx + 3), real(scale)
    for k in range(out.size):
        corner, straight = _corner(first[k], middle[k], last[k], place, crossed)
        record = _record(corner, first[k], middle[k], last[k], straight, width, crossed)
        out[k] = _value(_looked_up(table, record, real), real(high[k]), real(low[k]), parts)


@compiled
def combine(
    scale: Any, first: Any, middle: Any, last: Any, high: Any, low: Any,
    setting: Any, table: Any, out: Any,
) -> None:  # fmt: skip
    """Writes the values at located points, of one component, into out, shape (n,)."""
    vectorised()
    if setting.cut.crossed:
        _combine(scale, first, middle, last, high, low, setting.place, True, table, out)
    else:
        _combine(scale, first, middle, last, high, low, setting.place, False, table, out)


@inlined
def _values(scale: Any, x: Any, y: Any, known: Any, crossed: Any, table: Any, out: Any) -> Any:
    real = out.dtype.type
    width, parts = known.counting.width, real(scale)
    astray = False
    for k in range(out.size):
        spot = located(x[k], y[k], known, crossed)
        record = _record(
            spot.corner, spot.first, spot.middle, spot.last, spot.straight, width, crossed
        )
        out[k] = _value(_looked_up(table, record, real), spot.high, spot.low, parts)
        astray |= spot.astray
    return astray


@compiled
def values_block(scale: Any, x: Any, y: Any, setting: Any, table: Any, out: Any) -> Any:
    """Writes the values of one component; whether there are points without an answer."""
    vectorised()
    known = known_of(setting)
    if setting.cut.crossed:
        return _values(scale, x, y, known, True, table, out)
    return _values(scale, x, y, known, False, table, out)


@compiled
def evaluate(scale: Any, x: Any, y: Any, setting: Any, table: Any, out: Any, away: Any) -> Any:
    """Writes the network's values at the points (x, y) into out, shape (k, n).

    Other arguments and the result are those of `fe_relu.meshes.grid.loops.evaluate`; table has
    shape (k, entries), scale is 2^levels.
    """
    bad = count = 0
    for component in range(len(table)):  # one after the other: two tables crowd the cache
        for start in range(0, x.size, STRETCH):
            stop = min(start + STRETCH, x.size)
            xs, ys, here = x[start:stop], y[start:stop], out[component, start:stop]
            astray = values_block(scale, xs, ys, setting, table[component], here)
            if astray and component == 0:
                found, count = strangers(xs, ys, setting, start, away, count)
                bad += found
    return bad, count


@inlined
def _steps(numbers: Any, h: Any, w: Any, scale: Any) -> Any:
    """The slopes along high and along low in the small triangle of a point of weights h and w.

    Along an edge of a small triangle, the slope of the network is that of the P2 function at the
    edge's midpoint.
    """
    first, middle, last, fm, ml, fl = numbers
    one = scale / scale
    two, half, shrunk = one + one, one / (one + one), one / scale
    a, b = h * scale, w * scale
    i, j = min(np.floor(a), scale - one), min(np.floor(b), scale - one)
    upright = a - i >= b - j
    # Midpoints of the small triangle's edges along high and along low.
    h_high, w_high = (i + half) * shrunk, (j if upright else j + one) * shrunk
    h_low, w_low = (i + one if upright else i) * shrunk, (j + half) * shrunk
    per_high = fm * (one - two * h_high + w_high) + ml * w_high - fl * w_high
    per_low = ml * (h_low - two * w_low) + (fl - fm) * (one - h_low)
    return middle - first + two * two * per_high, last - middle + two * two * per_low


@inlined
def _gradient(
    scale: Any, x: Any, y: Any, known: Any, crossed: Any, table: Any, along: Any, up: Any
) -> Any:
    real = along.dtype.type
    width, parts = known.counting.width, real(scale)
    astray = False
    for k in range(along.size):
        spot = located(x[k], y[k], known, crossed)
        record = _record(
            spot.corner, spot.first, spot.middle, spot.last, spot.straight, width, crossed
        )
        per_high, per_low = _steps(_looked_up(table, record, real), spot.high, spot.low, parts)
        along[k], up[k] = slopes(per_high, per_low, spot, known.numbers, crossed)
        astray |= spot.astray
    return astray


@compiled
def gradient_block(
    scale: Any, x: Any, y: Any, setting: Any, table: Any, along: Any, up: Any
) -> Any:
    """Writes the gradients of one component; whether there are points without an answer."""
    vectorised()
    known = known_of(setting)
    if setting.cut.crossed:
        return _gradient(scale, x, y, known, True, table, along, up)
    return _gradient(scale, x, y, known, False, table, along, up)


@compiled
def gradient(scale: Any, x: Any, y: Any, setting: Any, table: Any, out: Any, away: Any) -> Any:
    """Writes the gradient at the points (x, y) into out, shape (k, 2, n); see `evaluate`."""
    bad = count = 0
    for component in range(len(table)):
        for start in range(0, x.size, STRETCH):
            stop = min(start + STRETCH, x.size)
            xs, ys = x[start:stop], y[start:stop]
            along, up = out[component, 0, start:stop], out[component, 1, start:stop]
            astray = gradient_block(scale, xs, ys, setting, table[component], along, up)
            if astray and component == 0:
                found, count = strangers(xs, ys, setting, start, away, count)
                bad += found
    return bad, count
