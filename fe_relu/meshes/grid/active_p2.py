# SPDX-License-Identifier: MIT
"""The active form of a P2 network: six numbers of a table, whatever its depth.

The formula is that of `fe_relu.meshes.grid.p2_table`, and the decisions are those of its gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.grid.active import Arrays, Located, Locator, Piece
from fe_relu.meshes.grid.p2_table import RECORD


@dataclass(frozen=True, eq=False)
class P2Piece(Piece):
    """The P1 interpolant of a P2 function on its mesh refined `levels` times, on all of ℝ²."""

    levels: int

    @property
    def table(self) -> npt.NDArray:
        """Nodal values and surpluses, see `fe_relu.meshes.grid.p2_table`, shape (k, entries)."""
        return self.grid.whole.quadratic_table(np.atleast_2d(self.values), self.levels).entries

    def evaluated(self, arrays: Arrays, table: Any, x: Any, y: Any, dtype: npt.DTypeLike) -> Any:
        """Values at points (x, y), shape (n,) both, computed in dtype; shape (k, n)."""
        points = Locator(self.grid, dtype)(arrays, x, y)
        entries = (self._crossed if self.grid.has_centres else self._halved)(arrays, points)
        start, value, end, *surpluses = (arrays.take(table, entry) for entry in entries)
        fm, ml, fl = (
            factor * surplus
            for factor, surplus in zip(self._bumps(arrays, points), surpluses, strict=True)
        )
        linear = start + points.high * (value - start) + points.low * (end - value)
        return linear + (fm + ml + fl)

    def _halved(self, arrays: Arrays, points: Located) -> tuple[Any, ...]:
        width, size = self.grid.shape[0] + 3, RECORD[False]
        left, mid, right = points.first, points.middle, points.last
        cell = arrays.where(right - left > width, left, left - 1)
        below = cell + width > mid
        return (
            left * size,
            mid * size,
            right * size,
            arrays.where(below, cell * size + 1, left * size + 2),
            arrays.where(below, mid * size + 2, (cell + width) * size + 1),
            cell * size + 3,
        )

    def _crossed(self, arrays: Arrays, points: Located) -> tuple[Any, ...]:
        width, size = self.grid.shape[0] + 3, RECORD[True]
        mid, end = points.middle, points.last
        number = points.first - width * (self.grid.shape[1] + 3)
        cell = number + number // (width - 1)
        side = mid * size + 1
        return (
            cell * size + 3,
            mid * size,
            end * size,
            _spoke(arrays, cell, mid, width),
            arrays.where(end - mid > 1, side + 1, side),
            _spoke(arrays, cell, end, width),
        )

    def _bumps(self, arrays: Arrays, points: Located) -> tuple[Any, Any, Any]:
        """The factors of the surpluses of the edges first-middle, middle-last and first-last."""
        most, shrunk = 2**self.levels, 4.0**-self.levels
        h, w = points.high, points.low
        a, b = (_fraction(arrays, t * float(most), most) for t in (h, w))
        upright = a >= b
        upper, lower = arrays.where(upright, a, b), arrays.where(upright, b, a)
        begin, end = (1 - upper) * (upper - lower), (upper - lower) * lower
        fm, ml = arrays.where(upright, begin, end), arrays.where(upright, end, begin)
        fl = (1 - upper) * lower
        return (
            ((1 - h) * (h - w) - fm * shrunk) * 4,
            ((h - w) * w - ml * shrunk) * 4,
            ((1 - h) * w - fl * shrunk) * 4,
        )


def _fraction(arrays: Arrays, t: Any, most: int) -> Any:
    """How far t is in its cell; `most` belongs to the last one."""
    return t - arrays.real(arrays.at_most(arrays.whole(t), most - 1))


def _spoke(arrays: Arrays, cell: Any, corner: Any, width: int) -> Any:
    """The entry of the half diagonal from the centre of a cell to a corner."""
    away = corner - cell
    number = arrays.where(away > width - 1, away - (width - 2), away)
    return cell * RECORD[True] + 4 + number
