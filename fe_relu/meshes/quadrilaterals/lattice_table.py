# SPDX-License-Identifier: MIT
"""Nodal values on a lattice, and what points ask of them: four of them count at a point.

The *table* is that of `fe_relu.meshes.grid.locate`, ring of zeros included. In the cell of corner
00 with weights a, b along the axes,

    u = u₀₀ + a (u₁₀ − u₀₀) + b (u₀₁ − u₀₀) + a b (u₁₁ − u₁₀ − u₀₁ + u₀₀).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled, inlined, vectorised
from fe_relu.meshes.grid.locate import INDEX, clamped, known_of, lattice_point
from fe_relu.meshes.grid.loops import STRETCH, strangers
from fe_relu.meshes.grid.table import Located, Table
from fe_relu.meshes.mesh import Answers


@dataclass(frozen=True, eq=False)
class LatticeTable(Table):
    """Nodal values of a bilinear function on a window; see `Table`."""

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Values at points (2, n), shape (k, n), in the wider of dtype and that of the entries."""
        return self._run(evaluate, x, dtype)

    def gradient(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Gradients at points (2, n), shape (k, 2, n), in the dtype of `values`."""
        return self._run(gradient, x, dtype, 2)

    def locate(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Located:
        """The corners 00 of points (2, n) as `first`, and their weights as `high` and `low`."""
        dtype, n = np.result_type(dtype, self.entries), x.shape[1]
        setting = self.setting(dtype)
        first, weights = np.empty(n, INDEX), np.empty((2, n), dtype)

        def ask(rows: tuple[npt.NDArray, ...], columns: slice, away: npt.NDArray) -> tuple:
            return locate(*rows, setting, first[columns], weights[:, columns], away)

        away = self._swept(x, dtype, ask)
        return Located(first, first, first, weights[0], weights[1], away)

    def hats(self, points: Located) -> tuple[npt.NDArray, npt.NDArray]:
        """As of a `Table`, of four hats."""
        width, (a, b) = self.window.shape[0] + 3, (points.high, points.low)
        first = points.first.astype(np.int64)
        entries = np.stack([first, first + 1, first + width, first + width + 1])
        return entries, np.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b])

    def _combine(self, points: Located, entries: npt.NDArray, out: npt.NDArray) -> None:
        width = INDEX(self.window.shape[0] + 3)
        for component, here in zip(entries, out, strict=True):
            combine(points.first, points.high, points.low, width, component, here)


@inlined
def _spot(x: Any, y: Any, known: Any) -> Any:
    """Corner 00 of a point's cell, the point's weights, and whether the table has no answer."""
    numbers, limits, counting = known
    first_s, last_s, top_i, first_t, last_t, top_j = limits
    s, t = lattice_point(x, y, numbers)
    in_s, in_t = clamped(s, first_s, last_s), clamped(t, first_t, last_t)
    p, q = min(np.floor(in_s), top_i), min(np.floor(in_t), top_j)
    i, j = INDEX(np.int32(p)), INDEX(np.int32(q))
    corner = INDEX(INDEX(INDEX(j * counting.width) + i) + counting.shift)
    return corner, in_s - p, in_t - q, (s != in_s) | (t != in_t)


@inlined
def _corners(table: Any, corner: Any, width: Any, real: Any) -> Any:
    above = INDEX(corner + width)
    return (
        real(table[np.uint64(corner)]),
        real(table[np.uint64(INDEX(corner + INDEX(1)))]),
        real(table[np.uint64(above)]),
        real(table[np.uint64(INDEX(above + INDEX(1)))]),
    )


@inlined
def _value(u: Any, a: Any, b: Any) -> Any:
    low, high = u[0] + a * (u[1] - u[0]), u[2] + a * (u[3] - u[2])
    return low + b * (high - low)


@compiled
def values_block(x: Any, y: Any, setting: Any, table: Any, out: Any) -> Any:
    """Writes the values of one component; whether there are points without an answer."""
    vectorised()
    known, real = known_of(setting), out.dtype.type
    width, astray = known.counting.width, False
    for k in range(out.size):
        corner, a, b, beyond = _spot(x[k], y[k], known)
        out[k] = _value(_corners(table, corner, width, real), a, b)
        astray |= beyond
    return astray


@compiled
def evaluate(x: Any, y: Any, setting: Any, table: Any, out: Any, away: Any) -> Any:
    """Writes values at points into out, shape (k, n); see `fe_relu.meshes.grid.loops.evaluate`."""
    bad = count = 0
    for component in range(len(table)):
        for start in range(0, x.size, STRETCH):
            stop = min(start + STRETCH, x.size)
            xs, ys, here = x[start:stop], y[start:stop], out[component, start:stop]
            if values_block(xs, ys, setting, table[component], here) and component == 0:
                found, count = strangers(xs, ys, setting, start, away, count)
                bad += found
    return bad, count


@compiled
def _locate(x: Any, y: Any, setting: Any, first: Any, weights: Any) -> Any:
    vectorised()
    known, astray = known_of(setting), False
    for k in range(x.size):
        corner, a, b, beyond = _spot(x[k], y[k], known)
        first[k], weights[0, k], weights[1, k] = corner, a, b
        astray |= beyond
    return astray


@compiled
def locate(x: Any, y: Any, setting: Any, first: Any, weights: Any, away: Any) -> Any:
    """Writes corners (n,) and weights (2, n) of points; otherwise as `evaluate`."""
    bad = count = 0
    for start in range(0, x.size, STRETCH):
        stop = min(start + STRETCH, x.size)
        xs, ys = x[start:stop], y[start:stop]
        if _locate(xs, ys, setting, first[start:stop], weights[:, start:stop]):
            found, count = strangers(xs, ys, setting, start, away, count)
            bad += found
    return bad, count


@compiled
def combine(first: Any, a: Any, b: Any, width: Any, table: Any, out: Any) -> None:
    """Writes the values at located points, of one component, into out, shape (n,)."""
    vectorised()
    real = out.dtype.type
    for k in range(out.size):
        out[k] = _value(_corners(table, first[k], width, real), real(a[k]), real(b[k]))


@compiled
def gradient_block(x: Any, y: Any, setting: Any, table: Any, along: Any, up: Any) -> Any:
    """Writes the gradients of one component; whether there are points without an answer."""
    vectorised()
    known, real = known_of(setting), along.dtype.type
    _, _, m00, m01, m10, m11, one = known.numbers
    zero, width, astray = one - one, known.counting.width, False
    for k in range(along.size):
        corner, a, b, beyond = _spot(x[k], y[k], known)
        u = _corners(table, corner, width, real)
        below, above, before, behind = u[1] - u[0], u[3] - u[2], u[2] - u[0], u[3] - u[1]
        along_s, along_t = below + b * (above - below), before + a * (behind - before)
        along_s, along_t = (zero, zero) if beyond else (along_s, along_t)
        along[k], up[k] = m00 * along_s + m10 * along_t, m01 * along_s + m11 * along_t
        astray |= beyond
    return astray


@compiled
def gradient(x: Any, y: Any, setting: Any, table: Any, out: Any, away: Any) -> Any:
    """Writes gradients at points into out, shape (k, 2, n), 0 beyond the ring; see `evaluate`."""
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
