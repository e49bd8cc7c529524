# SPDX-License-Identifier: MIT
"""The forward pass on grids that visits active neurons only, for every library of arrays.

It is that of `fe_relu.meshes.grid.locate` and takes the same decisions at the same points. Points
beyond the ring of zeros around the mesh go to a corner of the ring, where the network is zero,
without a slope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.active import Arrays
from fe_relu.meshes.grid.locate import CUTS
from fe_relu.meshes.grid.p2_table import RECORD
from fe_relu.meshes.grid.table import lattice_frame

if TYPE_CHECKING:
    from fe_relu.meshes.grid.grid import Grid


class Located(NamedTuple):
    """Three table entries and 1 ≥ high ≥ low ≥ 0 for each point, see `locate`."""

    first: Any
    middle: Any
    last: Any
    high: Any
    low: Any


@dataclass(frozen=True)
class Locator:
    """Where points lie on a grid and its ring: constants of the formula, in Python's numbers.

    Args:
        grid: The structured mesh.
    """

    grid: Grid
    frames: dict[str, list[float]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Not when it is called: who traces that, as torch does, sees numbers only.
        frames = ((dtype, lattice_frame(self.grid, dtype)) for dtype in ("float32", "float64"))
        object.__setattr__(self, "frames", {dtype: frame.tolist() for dtype, frame in frames})

    def __call__(self, arrays: Arrays, x: Sequence[Any], dtype: str) -> Located:
        """Locates points of coordinates x, (n,) both, computing in "float32" or "float64"."""
        cells = self._crossed if self.grid.has_centres else self._halved
        return cells(arrays, *self.placed(arrays, x, dtype))

    def placed(self, arrays: Arrays, x: Sequence[Any], dtype: str) -> tuple[Any, Any, Any, Any]:
        """The cell (i, j) of each point, counted from the ring, and where it is in that."""
        nx, ny = self.grid.shape
        x0, y0, m00, m01, m10, m11 = self.frames[dtype]
        u, v = x[0] - x0, x[1] - y0
        s, t = u * m00 + v * m01 + 1, u * m10 + v * m11 + 1
        within = (s >= 0) & (s <= nx + 2) & (t >= 0) & (t <= ny + 2)
        s, t = arrays.where(within, s, 0), arrays.where(within, t, 0)
        i = arrays.at_most(arrays.whole(s), nx + 1)
        j = arrays.at_most(arrays.whole(t), ny + 1)
        return i, j, s - arrays.real(i), t - arrays.real(j)

    def _halved(self, arrays: Arrays, i: Any, j: Any, a: Any, b: Any) -> Located:
        width = self.grid.shape[0] + 3
        cut = CUTS[self.grid.diagonal]
        left, step = j * width + i, 1
        if cut.alternating:
            mirrored = (i + j + cut.parity) % 2
            a = arrays.where(mirrored > 0, 1 - a, a)
            left, step = left + mirrored, 1 - mirrored * 2
        elif cut.parity:
            a, left, step = 1 - a, left + 1, -1
        below = a > b
        return Located(
            left,
            arrays.where(below, left + step, left + width),
            left + step + width,
            arrays.where(below, a, b),
            arrays.where(below, b, a),
        )

    def _crossed(self, arrays: Arrays, i: Any, j: Any, a: Any, b: Any) -> Located:
        nx, ny = self.grid.shape
        width = nx + 3
        a, b = a - 0.5, b - 0.5
        size_a, size_b = arrays.where(a > 0, a, -a), arrays.where(b > 0, b, -b)
        upright = size_a > size_b
        across, along = arrays.where(upright, a, b), arrays.where(upright, b, a)
        size = arrays.where(upright, size_a, size_b)
        end = j * width + i
        far = arrays.where(upright, end + 1, end + width)
        middle = arrays.where(across > 0, far, end)
        last = arrays.where(upright, middle + width, middle + 1)
        centre = j * (width - 1) + i + width * (ny + 3)
        return Located(centre, middle, last, size * 2, size + along)


@dataclass(frozen=True, eq=False)
class GridPiece:
    """A P1 function; see `fe_relu.meshes.active.Piece`.

    Args:
        mesh: The structured mesh.
        values: Nodal values, shape (num_vertices,) or (k, num_vertices), float32 or float64.
    """

    mesh: Grid
    values: npt.NDArray
    locator: Locator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "locator", Locator(self.mesh))

    @property
    def constants(self) -> Mapping[str, npt.NDArray]:
        """None: vertices are where a formula says."""
        return {}

    @property
    def places(self) -> npt.NDArray[np.int64] | None:
        """For each entry of the table which nodal value it is, num_vertices for zero."""
        count = self.mesh.num_vertices
        table = self.mesh.whole.table(np.arange(1.0, count + 1)[None]).entries[0]
        return (table.astype(np.int64) - 1) % (count + 1)

    @property
    def table(self) -> npt.NDArray:
        """The values with a ring of zeros, see `fe_relu.meshes.grid.locate`, shape (k, entries)."""
        return self.mesh.whole.table(np.atleast_2d(self.values)).entries

    def evaluated(
        self, arrays: Arrays, constants: Mapping[str, Any], table: Any, x: Sequence[Any], dtype: str
    ) -> Any:
        """Values at points of coordinates x, (n,) both, computed in dtype; shape (k, n)."""
        return values_at(arrays, table, self.locator(arrays, x, dtype))


def values_at(arrays: Arrays, table: Any, points: Located) -> Any:
    """Values at located points, shape (k, n)."""
    start, value = arrays.take(table, points.first), arrays.take(table, points.middle)
    return between(arrays, points, start, value, arrays.take(table, points.last))


def between(arrays: Arrays, points: Located, start: Any, value: Any, end: Any) -> Any:
    """The value at a point from those at its vertices, theirs to the bit where the point is one.

    There the slope is that of its triangle all the same, for who differentiates this.
    """
    high, rise = points.high, value - start
    near = arrays.where(high >= 1, value + (high - 1) * rise, start + high * rise)
    return near + points.low * (end - value)


@dataclass(frozen=True, eq=False)
class GridP2Piece(GridPiece):
    """The P1 interpolant of a P2 function on its mesh refined `levels` times, on all of ℝ².

    Six numbers of a table, whatever its depth; the formula is that of `p2_table`, and the decisions
    are those of its gradient.
    """

    levels: int = field(kw_only=True)
    places = None

    @property
    def table(self) -> npt.NDArray:
        """Nodal values and surpluses, see `fe_relu.meshes.grid.p2_table`, shape (k, entries)."""
        return self.mesh.whole.quadratic_table(np.atleast_2d(self.values), self.levels).entries

    def evaluated(
        self, arrays: Arrays, constants: Mapping[str, Any], table: Any, x: Sequence[Any], dtype: str
    ) -> Any:
        """Values at points of coordinates x, (n,) both, computed in dtype; shape (k, n)."""
        points = self.locator(arrays, x, dtype)
        entries = (self._crossed if self.mesh.has_centres else self._halved)(arrays, points)
        start, value, end, *surpluses = (arrays.take(table, entry) for entry in entries)
        fm, ml, fl = (
            factor * surplus
            for factor, surplus in zip(self._bumps(arrays, points), surpluses, strict=True)
        )
        return between(arrays, points, start, value, end) + (fm + ml + fl)

    def _halved(self, arrays: Arrays, points: Located) -> tuple[Any, ...]:
        width, size = self.mesh.shape[0] + 3, RECORD[False]
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
        width, size = self.mesh.shape[0] + 3, RECORD[True]
        mid, end = points.middle, points.last
        number = points.first - width * (self.mesh.shape[1] + 3)
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
