# SPDX-License-Identifier: MIT
"""Nodal values as compiled loops read them, and what points ask of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.threads import Rows, swept
from fe_relu.meshes.mesh import Answers
from fe_relu.meshes.simplices.location import walk
from fe_relu.meshes.simplices.location.locator import Locator

#: Values beyond max/4 of their dtype are read scaled by this, so that no sum of theirs overflows.
SCALE = 0.25


@dataclass(frozen=True, eq=False)
class Located:
    """Points with the corners of their cells and the weights of all corners but the first.

    Args:
        cells: As they are kept, −1 for none, shape (n,).
        corners: Rows of the table, shape (dim + 1, n).
        weights: Of the dtype that values are computed in, shape (dim, n).
        away: As for `Answers`.
    """

    cells: npt.NDArray[np.int32]
    corners: npt.NDArray[np.uint32]
    weights: npt.NDArray
    away: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Table:
    """Nodal values on the cells of a locator.

    Points are located in float64; values are computed in the wider of the dtype that is asked for
    and that of the entries.

    Args:
        locator: The cells.
        entries: The values of each vertex in the locator's order, zeros for those of the ring and
            one row of zeros more; shape (vertices + 1, k).
        partial: Whether other parts of the mesh answer points that are in none of these cells.
    """

    locator: Locator
    entries: npt.NDArray
    partial: bool = False

    @staticmethod
    def of(locator: Locator, values: npt.NDArray, *, partial: bool = False) -> Table:
        """From nodal values (k, n) of the locator's own vertices."""
        entries = np.zeros((locator.order.size + 1, len(values)), values.dtype)
        own = values.shape[1]
        for output, numbers in enumerate(values):
            entries[:own, output] = numbers[locator.order[:own]]
        return Table(locator, entries, partial)

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Values at points (dim, n), shape (k, n)."""
        return self._run(walk.evaluate, x, dtype)

    def gradient(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Gradients at points (dim, n), those of their cells, shape (k, dim, n)."""
        return self._run(walk.gradient, x, dtype, self.locator.dim)

    def _run(
        self, loop: Callable[..., tuple[int, int]], x: npt.NDArray, dtype: npt.DTypeLike, *axes: int
    ) -> Answers:
        dtype = np.result_type(dtype, self.entries)
        out = np.empty((self.entries.shape[1], *axes, x.shape[1]), dtype)
        entries, scale = self._read(dtype)
        search, coordinates = self.locator.search_for(x.dtype), self.locator.axes

        def ask(rows: Rows, columns: slice, away: npt.NDArray) -> tuple[int, int]:
            return loop(*rows, search, entries, out[..., columns], away, coordinates)

        away = swept(x, ask, rows=3, listing=self.partial)
        return Answers(_unscaled(out, scale), away)

    def locate(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Located:
        """The cells, corners and weights of points (dim, n)."""
        dtype, (dim, n) = np.result_type(dtype, self.entries), x.shape
        # One array, not two: NumPy asks for large pages of memory only for large arrays.
        memory = np.empty(n * (dim * dtype.itemsize + (dim + 2) * 4), np.uint8)
        weights = memory[: dim * n * dtype.itemsize].view(dtype).reshape(dim, n)
        places = memory[dim * n * dtype.itemsize :].view(np.uint32).reshape(dim + 2, n)
        cells, corners = places[0].view(np.int32), places[1:]
        search, axes = self.locator.search_for(x.dtype), self.locator.axes

        def ask(rows: Rows, columns: slice, away: npt.NDArray) -> tuple[int, int]:
            into = cells[columns], corners[:, columns], weights[:, columns]
            return walk.locate(*rows, search, *into, away, axes)

        return Located(cells, corners, weights, swept(x, ask, rows=3, listing=self.partial))

    def values_at(self, points: Located) -> Answers:
        """Values at located points, shape (k, n), in the wider of their dtype and the entries'."""
        dtype = np.result_type(points.weights, self.entries)
        entries, scale = self._read(dtype)
        out = np.empty((entries.shape[1], points.weights.shape[1]), dtype)
        self._combine(points, entries, out)
        return Answers(_unscaled(out, scale), points.away)

    def _combine(self, points: Located, entries: npt.NDArray, out: npt.NDArray) -> None:
        walk.combine(points.corners, points.weights, entries, out, self.locator.axes)

    def hats(self, points: Located) -> tuple[npt.NDArray, npt.NDArray]:
        """Rows of the hats that are awake at located points, and their values, (dim + 1, n)."""
        first = 1 - points.weights.sum(axis=0)
        first[points.cells < 0] = 0
        return points.corners, np.concatenate([first[None], points.weights])

    def _read(self, dtype: np.dtype) -> tuple[npt.NDArray, float]:
        """The entries as they are read in computing in dtype, and what they are scaled by."""
        if self._scaled is None or dtype != self.entries.dtype:
            return self.entries, 1
        return self._scaled, SCALE

    @cached_property
    def _scaled(self) -> npt.NDArray | None:
        """Scaled entries, if those of the table are so large that their differences overflow."""
        most = np.finfo(self.entries.dtype).max * SCALE
        if -most <= self.entries.min(initial=0) and self.entries.max(initial=0) <= most:
            return None
        return self.entries * self.entries.dtype.type(SCALE)


def hats_at(table: Table, numbers: npt.NDArray[np.int64], x: npt.NDArray, dtype: Any) -> Answers:
    """What `Part.hats` says, of a table on vertices with these numbers in the whole mesh."""
    located, order = table.locate(x, dtype), table.locator.order
    rows, values = table.hats(located)
    known = np.full(order.size + 1, -1)
    own = order < numbers.size
    known[:-1][own] = numbers[order[own]]
    return Answers(np.concatenate([known[rows].astype(float), values]), located.away)


def _unscaled(numbers: npt.NDArray, scale: float) -> npt.NDArray:
    """Numbers in their own size. Values, (k, n), do not overflow by roundoff; gradients may."""
    if scale != 1:
        if numbers.ndim == 2:
            most = np.finfo(numbers.dtype).max * scale
            np.clip(numbers, -most, most, out=numbers)
        with np.errstate(over="ignore"):
            numbers *= numbers.dtype.type(1 / scale)
    return numbers
