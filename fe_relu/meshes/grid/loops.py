# SPDX-License-Identifier: MIT
"""The forward pass that visits active neurons only: compiled loops over plain arrays.

See `fe_relu.meshes.grid.locate` for what is done at each point.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fe_relu.basics.compiled import GATHERS, compiled, inlined, vectorised
from fe_relu.meshes.grid.locate import (
    INDEX,
    between,
    known_of,
    lattice_point,
    located,
    not_finite,
    slopes,
    unpacked,
)

#: Points whose numbers stay in the first-level cache, for loops that keep them.
BLOCK = 1024

#: Points between two looks for strangers among them.
STRETCH = 4096 if GATHERS else BLOCK


@compiled
def strangers(x: Any, y: Any, setting: Any, begin: Any, away: Any, count: Any) -> Any:
    """Lists the points that another window answers; counts NaN or infinite coordinates.

    Args:
        x: First coordinates, shape (n,).
        y: Second coordinates, likewise.
        setting: Of the table.
        begin: The position of the first point.
        away: To write positions into, with room for all points from here on; no room at all for a
            table of the whole grid.
        count: How many are written already.

    Returns:
        How many coordinates are not finite, and how many positions are written now.
    """
    beyond = np.empty(x.size, np.uint8)
    bad = _beyond(x, y, setting, beyond)
    if away.size > 0:
        for k in range(x.size):  # no branches: each position is written, and stays if it counts
            away[count] = begin + k
            count += beyond[k]
    return bad, count


@compiled
def _beyond(x: Any, y: Any, setting: Any, beyond: Any) -> Any:
    """Marks the points that another window answers; counts NaN or infinite coordinates."""
    vectorised()
    numbers = unpacked(setting.frame)
    first_s, end_s, first_t, end_t = setting.bounds
    bad = 0
    for k in range(x.size):
        bad += not_finite(x[k], y[k])
        s, t = lattice_point(x[k], y[k], numbers)
        held = (s >= first_s) & (s < end_s) & (t >= first_t) & (t < end_t)
        beyond[k] = not held
    return bad


@inlined
def _locate(
    x: Any, y: Any, known: Any, crossed: Any,
    first: Any, middle: Any, last: Any, high: Any, low: Any,
) -> Any:  # fmt: skip
    astray = False
    for k in range(x.size):
        spot = located(x[k], y[k], known, crossed)
        first[k], middle[k], last[k] = spot.first, spot.middle, spot.last
        high[k], low[k] = spot.high, spot.low
        astray |= spot.astray
    return astray


@compiled
def locate_block(
    x: Any, y: Any, setting: Any, first: Any, middle: Any, last: Any, high: Any, low: Any
) -> Any:
    """Locates points, and says whether there are any that the table has no answer for."""
    vectorised()
    known = known_of(setting)
    if setting.cut.crossed:
        return _locate(x, y, known, True, first, middle, last, high, low)
    return _locate(x, y, known, False, first, middle, last, high, low)


@compiled
def locate(
    x: Any, y: Any, setting: Any,
    first: Any, middle: Any, last: Any, high: Any, low: Any, away: Any,
) -> Any:  # fmt: skip
    """Locates points: see the module's text.

    Args:
        x: First coordinates, shape (n,), contiguous, of the dtype to compute in.
        y: Second coordinates, likewise.
        setting: Of the table.
        first: Table entries to write, shape (n,), of dtype `INDEX`; middle and last likewise.
        middle: See first.
        last: See first.
        high: Weights to write, shape (n,), of the dtype to compute in; low likewise.
        low: See high.
        away: See `strangers`, as for the result.
    """
    bad = count = 0
    for start in range(0, x.size, STRETCH):
        stop = min(start + STRETCH, x.size)
        xs, ys = x[start:stop], y[start:stop]
        if locate_block(
            xs, ys, setting, first[start:stop], middle[start:stop], last[start:stop],
            high[start:stop], low[start:stop],
        ):  # fmt: skip
            found, count = strangers(xs, ys, setting, start, away, count)
            bad += found
    return bad, count


@compiled
def combine(first: Any, middle: Any, last: Any, high: Any, low: Any, table: Any, out: Any) -> None:
    """Writes the values at located points, of one component, into out, shape (n,)."""
    vectorised()
    real = out.dtype.type
    for k in range(out.size):
        # Unsigned, because a signed index costs a test for counting from the end.
        a, b = real(table[np.uint64(first[k])]), real(table[np.uint64(middle[k])])
        c = real(table[np.uint64(last[k])])
        out[k] = between(a, b, c, real(high[k]), real(low[k]))


@inlined
def _values(x: Any, y: Any, known: Any, crossed: Any, table: Any, out: Any) -> Any:
    real = out.dtype.type
    astray = False
    for k in range(out.size):
        spot = located(x[k], y[k], known, crossed)
        a, b = real(table[np.uint64(spot.first)]), real(table[np.uint64(spot.middle)])
        c = real(table[np.uint64(spot.last)])
        out[k] = between(a, b, c, spot.high, spot.low)
        astray |= spot.astray
    return astray


@compiled
def values_block(x: Any, y: Any, setting: Any, table: Any, out: Any) -> Any:
    """Writes the values of one component; whether there are points without an answer."""
    vectorised()
    known = known_of(setting)
    if setting.cut.crossed:
        return _values(x, y, known, True, table, out)
    return _values(x, y, known, False, table, out)


@compiled
def evaluate(x: Any, y: Any, setting: Any, table: Any, out: Any, away: Any) -> Any:
    """Writes the network's values at the points (x, y) into out, shape (k, n).

    Arguments and result are those of `locate`; table has shape (k, entries), see the module's text.
    """
    size = 0 if GATHERS else STRETCH
    first, middle, last = np.empty(size, INDEX), np.empty(size, INDEX), np.empty(size, INDEX)
    high, low = np.empty(size, out.dtype), np.empty(size, out.dtype)
    bad = count = 0
    for component in range(len(table)):  # one after the other: two tables crowd the cache
        for start in range(0, x.size, STRETCH):
            stop = min(start + STRETCH, x.size)
            xs, ys, here = x[start:stop], y[start:stop], out[component, start:stop]
            if GATHERS:
                astray = values_block(xs, ys, setting, table[component], here)
            else:
                astray = locate_block(xs, ys, setting, first, middle, last, high, low)
                combine(first, middle, last, high, low, table[component], here)
            if astray and component == 0:
                found, count = strangers(xs, ys, setting, start, away, count)
                bad += found
    return bad, count


@inlined
def _gradient(x: Any, y: Any, known: Any, crossed: Any, table: Any, along: Any, up: Any) -> Any:
    real = along.dtype.type
    astray = False
    for k in range(along.size):
        spot = located(x[k], y[k], known, crossed)
        a, b = real(table[np.uint64(spot.first)]), real(table[np.uint64(spot.middle)])
        c = real(table[np.uint64(spot.last)])
        along[k], up[k] = slopes(b - a, c - b, spot, known.numbers, crossed)
        astray |= spot.astray
    return astray


@compiled
def gradient_block(x: Any, y: Any, setting: Any, table: Any, along: Any, up: Any) -> Any:
    """Writes the gradients of one component; whether there are points without an answer."""
    vectorised()
    known = known_of(setting)
    if setting.cut.crossed:
        return _gradient(x, y, known, True, table, along, up)
    return _gradient(x, y, known, False, table, along, up)


@compiled
def gradient(x: Any, y: Any, setting: Any, table: Any, out: Any, away: Any) -> Any:
    """Writes the gradient at the points (x, y) into out, shape (k, 2, n); see `evaluate`.

    It is that of the located triangle; beyond the ring it is 0.
    """
    bad = count = 0
    for component in range(len(table)):
        for start in range(0, x.size, STRETCH):
            stop = min(start + STRETCH, x.size)
            xs, ys = x[start:stop], y[start:stop]
            along, up = out[component, 0, start:stop], out[component, 1, start:stop]
            astray = gradient_block(xs, ys, setting, table[component], along, up)
            if astray and component == 0:
                found, count = strangers(xs, ys, setting, start, away, count)
                bad += found
    return bad, count
