# SPDX-License-Identifier: MIT
"""A window's nodal values as the kernels read them, and what points ask of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from fe_relu.basics.points import require_finite
from fe_relu.basics.threads import swept
from fe_relu.meshes.grid import loops
from fe_relu.meshes.grid.locate import CUTS, INDEX, Place, Setting
from fe_relu.meshes.mesh import Answers

if TYPE_CHECKING:
    from fe_relu.meshes.grid.grid import Grid
    from fe_relu.meshes.grid.window import Window

#: Entries beyond max/4 of their dtype are read scaled by this, so that no sum of theirs overflows.
SCALE = 0.25

#: What a kernel is called with: rows x and y, `Setting`, entries, numbers and positions to write.
Kernel = Callable[..., tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Located:
    """Points with their vertices and weights, of the dtype that values are computed in.

    Args:
        first: Table entries, see `fe_relu.meshes.grid.locate`, shape (n,); middle, last likewise.
        middle: See first.
        last: See first.
        high: Weights, shape (n,); low likewise.
        low: See high.
        away: As for `Answers`.
    """

    first: npt.NDArray
    middle: npt.NDArray
    last: npt.NDArray
    high: npt.NDArray
    low: npt.NDArray
    away: npt.NDArray[np.int64]


def lattice_frame(grid: Grid, dtype: npt.DTypeLike) -> npt.NDArray:
    """The affine map to lattice coordinates as six numbers of the dtype to compute in."""
    return np.concatenate([grid.origin, grid.inverse.ravel()]).astype(dtype)


def held_bounds(window: Window) -> tuple[float, float, float, float]:
    """The lattice coordinates, counted from the ring, that a window answers, first and end of each.

    A window on the border of the grid answers for everything beyond it.
    """
    bounds = []
    for start, cells, total in zip(window.start, window.shape, window.grid.shape, strict=True):
        bounds.append(-np.inf if start == 0 and cells else start + 1.0)
        bounds.append(np.inf if start + cells == total else start + cells + 1.0)
    return bounds[0], bounds[1], bounds[2], bounds[3]


@dataclass(frozen=True, eq=False)
class Table:
    """Nodal values on a window of a grid, padded with a ring of zeros.

    Args:
        window: The part of the grid that the values are of.
        entries: Shape (k, entries), see `fe_relu.meshes.grid.locate`.

    Raises:
        ValueError: There are more entries than indices can name.
    """

    window: Window
    entries: npt.NDArray
    _settings: dict[np.dtype, Setting] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        most = np.iinfo(INDEX).max
        if self.entries.shape[1] > most:
            raise ValueError(
                f"one rank would hold {self.entries.shape[1]} nodal values, and evaluates {most} "
                'at most; layout="blocks" on more ranks spreads them'
            )

    @classmethod
    def of(cls, window: Window, values: npt.NDArray) -> Self:
        """From nodal values (k, n) in window order."""
        if window.num_vertices == 0:  # a ring alone: what it says is not used
            return cls(window, np.zeros((len(values), 9 + 4), values.dtype))
        return cls(window, _padded(window, values))

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Values at points (2, n), shape (k, n), in the wider of dtype and that of the entries."""
        return self._run(loops.evaluate, x, dtype)

    def gradient(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Gradients at points (2, n), shape (k, 2, n), in the dtype of `values`."""
        return self._run(loops.gradient, x, dtype, 2)

    def _run(self, kernel: Kernel, x: npt.NDArray, dtype: npt.DTypeLike, *axes: int) -> Answers:
        dtype = np.result_type(dtype, self.entries)
        out = np.empty((len(self.entries), *axes, x.shape[1]), dtype)
        setting, (entries, scale) = self.setting(dtype), self._read(dtype)

        def ask(rows: tuple[npt.NDArray, ...], columns: slice, away: npt.NDArray) -> tuple:
            return kernel(*rows, setting, entries, out[..., columns], away)

        away = self._swept(x, dtype, ask)
        if scale != 1:
            with np.errstate(over="ignore"):  # of a gradient
                out *= dtype.type(1 / scale)
        return Answers(out, away)

    def locate(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Located:
        """The vertices and weights of points (2, n), in the dtype of `values`."""
        dtype = np.result_type(dtype, self.entries)
        setting = self.setting(dtype)
        n, index = x.shape[1], np.dtype(INDEX)
        # One array, not five: NumPy asks for large pages of memory only for large arrays.
        memory = np.empty(n * (2 * dtype.itemsize + 3 * index.itemsize), np.uint8)
        high, low = memory[: 2 * n * dtype.itemsize].view(dtype).reshape(2, n)
        first, middle, last = memory[2 * n * dtype.itemsize :].view(index).reshape(3, n)
        located = (first, middle, last, high, low)

        def ask(rows: tuple[npt.NDArray, ...], columns: slice, away: npt.NDArray) -> tuple:
            return loops.locate(*rows, setting, *(array[columns] for array in located), away)

        return Located(*located, self._swept(x, dtype, ask))

    def values_at(self, points: Located) -> Answers:
        """Values at located points, shape (k, n), in the wider of their dtype and the entries'."""
        dtype = np.result_type(points.high, self.entries)
        entries, scale = self._read(dtype)
        out = np.empty((len(entries), points.high.size), dtype)
        if 0 not in self.window.shape:  # else points are not located, and all are sent away
            self._combine(points, entries, out)
        if scale != 1:
            out *= dtype.type(1 / scale)
        return Answers(out, points.away)

    def _combine(self, points: Located, entries: npt.NDArray, out: npt.NDArray) -> None:
        vertices, weights = (points.first, points.middle, points.last), (points.high, points.low)
        for component, here in zip(entries, out, strict=True):
            loops.combine(*vertices, *weights, component, here)

    def hats(self, points: Located) -> tuple[npt.NDArray, npt.NDArray]:
        """Entries of the hats that are awake at located points, and their values, (3, n) both."""
        high, low = points.high, points.low
        entries = np.stack([points.first, points.middle, points.last])
        return entries, np.stack([1 - high, high - low, low])

    def _swept(self, x: npt.NDArray, dtype: np.dtype, ask: Callable[..., tuple]) -> npt.NDArray:
        """Asks for all points (2, n), a part to a thread; the positions of those to be sent away.

        Raises:
            ValueError: A coordinate is NaN or infinite.
        """
        if 0 in self.window.shape:
            require_finite(x)
            return np.arange(x.shape[1])
        return swept(x, ask, rows=2, dtype=dtype, listing=not self._whole)

    def setting(self, dtype: np.dtype) -> Setting:
        """What the kernels know beside the entries, for one dtype to compute in."""
        if dtype not in self._settings:
            bounds, grid = held_bounds(self.window), self.window.grid
            limits = (_limits(self.window, bounds, axis, dtype) for axis in (0, 1))
            self._settings[dtype] = Setting(
                lattice_frame(grid, dtype),
                np.concatenate(list(limits)),
                bounds,
                Place.of(self.window),
                CUTS[grid.diagonal],
            )
        return self._settings[dtype]

    def _read(self, dtype: np.dtype) -> tuple[npt.NDArray, float]:
        """The entries as they are read in computing in dtype, and what they are scaled by."""
        if self._scaled is None or dtype != self.entries.dtype:
            return self.entries, 1
        return self._scaled, SCALE

    @cached_property
    def _whole(self) -> bool:
        return self.window.shape == self.window.grid.shape

    @cached_property
    def _scaled(self) -> npt.NDArray | None:
        """Scaled entries, if those of the table are so large that their differences overflow."""
        most = np.finfo(self.entries.dtype).max * SCALE
        if -most <= self.entries.min(initial=0) and self.entries.max(initial=0) <= most:
            return None
        return self.entries * self.entries.dtype.type(SCALE)


def _limits(window: Window, bounds: tuple[float, ...], axis: int, dtype: np.dtype) -> npt.NDArray:
    """Where a table has answers along an axis, and its last column of cells; see `Setting`."""
    end = window.start[axis] + window.shape[axis] + 2
    first, bound = max(float(window.start[axis]), bounds[2 * axis]), bounds[2 * axis + 1]
    last = _largest(end, dtype) if bound > end else _largest(np.nextafter(bound, 0), dtype)
    return np.array([-_largest(-first, dtype), last, _largest(end - 1, dtype)])


def _largest(most: float, dtype: np.dtype) -> np.floating:
    """The largest number of a dtype that is at most this."""
    rounded = dtype.type(most)
    return rounded if rounded <= most else np.nextafter(rounded, dtype.type(-np.inf))


def _padded(window: Window, values: npt.NDArray) -> npt.NDArray:
    """The table of a window's nodal values (k, n) with a ring of zeros, shape (k, entries).

    On sides where the grid goes on, the ring is never read: other windows hold those cells.
    """
    nx, ny = window.shape
    corners = (nx + 1) * (ny + 1)
    parts = [_ring(values[:, :corners], nx + 1, ny + 1)]
    if window.grid.has_centres:
        parts.append(_ring(values[:, corners:], nx, ny))
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _ring(values: npt.NDArray, nx: int, ny: int) -> npt.NDArray:
    table = np.zeros((len(values), ny + 2, nx + 2), values.dtype)
    table[:, 1:-1, 1:-1] = values.reshape(len(values), ny, nx)
    return table.reshape(len(values), -1)
