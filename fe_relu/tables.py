# SPDX-License-Identifier: MIT
"""A window's nodal values as the kernels read them, and what points ask of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fe_relu import kernels, threads
from fe_relu.blocks import Window
from fe_relu.grid import Grid
from fe_relu.points import require_finite

#: Points brought into contiguous rows of one dtype at a time, where they are not so given.
CHUNK_POINTS = 1 << 14


@dataclass(frozen=True, eq=False)
class Located:
    """Points with their three vertices and two weights, see `fe_relu.kernels`; shape (n,) each."""

    first: npt.NDArray
    middle: npt.NDArray
    last: npt.NDArray
    high: npt.NDArray
    low: npt.NDArray


@dataclass(frozen=True, eq=False)
class Table:
    """Nodal values on a window of a grid, padded with a ring of zeros.

    Args:
        grid: The whole grid.
        window: The part of it that the values are of.
        entries: Shape (k, entries), see `fe_relu.kernels`.

    Raises:
        ValueError: There are more entries than indices can name.
    """

    grid: Grid
    window: Window
    entries: npt.NDArray

    def __post_init__(self) -> None:
        most = np.iinfo(kernels.INDEX).max
        if self.entries.shape[1] > most:
            raise ValueError(
                f"one rank would hold {self.entries.shape[1]} nodal values, and evaluates {most} "
                'at most; layout="blocks" on more ranks spreads them'
            )

    @staticmethod
    def of(grid: Grid, window: Window, values: npt.NDArray) -> Table:
        """From nodal values (k, n) in window order."""
        if window.num_vertices(grid.has_centres) == 0:  # a ring alone: what it says is not used
            return Table(grid, window, np.zeros((len(values), 9 + 4), values.dtype))
        return Table(grid, window, _padded(window, values, grid.has_centres))

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
        """Values at points (2, n), computed in dtype, shape (k, n)."""
        return self._run(kernels.evaluate, x, np.empty((len(self.entries), x.shape[1]), dtype))

    def gradient(self, x: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
        """Gradients at points (2, n), computed in dtype, shape (k, 2, n)."""
        return self._run(kernels.gradient, x, np.empty((len(self.entries), 2, x.shape[1]), dtype))

    def _run(self, kernel: Callable[..., int], x: npt.NDArray, out: npt.NDArray) -> npt.NDArray:
        frame = kernels.lattice_frame(self.grid, out.dtype)
        place, cut = kernels.Place.of(self.window), kernels.CUTS[self.grid.diagonal]

        def run(part: slice) -> int:
            here = out[..., part]
            return sum(
                kernel(x0, x1, frame, place, cut, self.entries, here[..., columns])
                for columns, (x0, x1) in _contiguous_rows(x[:, part], out.dtype)
            )

        if threads.total(run, threads.parts(x.shape[1])):
            require_finite(x)
        return out

    def locate(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Located:
        """The vertices and weights of points (2, n)."""
        frame = kernels.lattice_frame(self.grid, dtype)
        place, cut = kernels.Place.of(self.window), kernels.CUTS[self.grid.diagonal]
        n, weight, index = x.shape[1], np.dtype(dtype), np.dtype(kernels.INDEX)
        # One array, not five: NumPy asks for large pages of memory only for large arrays.
        memory = np.empty(n * (2 * weight.itemsize + 3 * index.itemsize), np.uint8)
        high, low = memory[: 2 * n * weight.itemsize].view(weight).reshape(2, n)
        first, middle, last = memory[2 * n * weight.itemsize :].view(index).reshape(3, n)
        located = (first, middle, last, high, low)
        bad = 0
        for columns, (x0, x1) in _contiguous_rows(x, np.dtype(dtype)):
            parts = (array[columns] for array in located)
            bad += kernels.locate(x0, x1, frame, place, cut, *parts)
        if bad:
            require_finite(x)
        return Located(*located)

    def values_at(self, points: Located) -> npt.NDArray:
        """Values at located points, shape (k, n)."""
        out = np.empty((len(self.entries), points.high.size), points.high.dtype)
        for entries, here in zip(self.entries, out, strict=True):
            kernels.combine(
                points.first, points.middle, points.last, points.high, points.low, entries, here
            )
        return out


def _padded(window: Window, values: npt.NDArray, has_centres: bool) -> npt.NDArray:
    """The table of a window's nodal values (k, n) with a ring of zeros, shape (k, entries).

    On sides where the grid goes on, the ring is never read: other windows hold those cells.
    """
    nx, ny = window.shape
    corners = (nx + 1) * (ny + 1)
    parts = [_ring(values[:, :corners], nx + 1, ny + 1)]
    if has_centres:
        parts.append(_ring(values[:, corners:], nx, ny))
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _ring(values: npt.NDArray, nx: int, ny: int) -> npt.NDArray:
    table = np.zeros((len(values), ny + 2, nx + 2), values.dtype)
    table[:, 1:-1, 1:-1] = values.reshape(len(values), ny, nx)
    return table.reshape(len(values), -1)


def _contiguous_rows(
    x: npt.NDArray, dtype: np.dtype
) -> Iterator[tuple[slice, tuple[npt.NDArray, npt.NDArray]]]:
    """The rows of x as the kernels want them: all at once as they are, or copied in chunks."""
    if all(row.flags.carray and row.dtype == dtype for row in x):
        yield slice(None), (x[0], x[1])
        return
    scratch = np.empty((2, CHUNK_POINTS), dtype)
    for start in range(0, x.shape[1], CHUNK_POINTS):
        columns = slice(start, min(start + CHUNK_POINTS, x.shape[1]))
        rows = scratch[:, : columns.stop - start]
        rows[:] = x[:, columns]
        yield columns, (rows[0], rows[1])
