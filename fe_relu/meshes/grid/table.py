# SPDX-License-Identifier: MIT
"""A window's nodal values as the kernels read them, and what points ask of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics import threads
from fe_relu.basics.compiled import compiled
from fe_relu.basics.points import require_finite
from fe_relu.meshes.grid import locate as kernels
from fe_relu.meshes.grid.locate import lattice_point, not_finite, unpacked
from fe_relu.meshes.mesh import Answers

if TYPE_CHECKING:
    from fe_relu.meshes.grid.grid import Grid
    from fe_relu.meshes.grid.window import Window

#: Points brought into contiguous rows of one dtype at a time, where they are not so given.
CHUNK_POINTS = 1 << 14


@dataclass(frozen=True, eq=False)
class Located:
    """Points with their three vertices and two weights, see `fe_relu.meshes.grid.locate`; shape (n,) each."""

    first: npt.NDArray
    middle: npt.NDArray
    last: npt.NDArray
    high: npt.NDArray
    low: npt.NDArray
    away: npt.NDArray


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

    @property
    def grid(self) -> Grid:
        return self.window.grid

    def away(self, x: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
        if self.window.shape == self.grid.shape:
            return np.empty(0, np.int64)
        out = np.empty(x.shape[1], np.bool_)
        held(x[0], x[1], lattice_frame(self.grid, dtype), held_bounds(self.grid, self.window), out)
        return np.flatnonzero(~out)

    def __post_init__(self) -> None:
        most = np.iinfo(kernels.INDEX).max
        if self.entries.shape[1] > most:
            raise ValueError(
                f"one rank would hold {self.entries.shape[1]} nodal values, and evaluates {most} "
                'at most; layout="blocks" on more ranks spreads them'
            )

    @staticmethod
    def of(window: Window, values: npt.NDArray) -> Table:
        """From nodal values (k, n) in window order."""
        if window.num_vertices == 0:  # a ring alone: what it says is not used
            return Table(window, np.zeros((len(values), 9 + 4), values.dtype))
        return Table(window, _padded(window, values, window.grid.has_centres))

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Values at points (2, n), computed in dtype, shape (k, n)."""
        return self._run(kernels.evaluate, x, np.empty((len(self.entries), x.shape[1]), dtype))

    def gradient(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Gradients at points (2, n), computed in dtype, shape (k, 2, n)."""
        return self._run(kernels.gradient, x, np.empty((len(self.entries), 2, x.shape[1]), dtype))

    def _run(self, kernel: Callable[..., int], x: npt.NDArray, out: npt.NDArray) -> Answers:
        frame = lattice_frame(self.grid, out.dtype)
        place, cut = kernels.Place.of(self.window), kernels.CUTS[self.grid.diagonal]

        def run(part: slice) -> int:
            here = out[..., part]
            return sum(
                kernel(x0, x1, frame, place, cut, self.entries, here[..., columns])
                for columns, (x0, x1) in _contiguous_rows(x[:, part], out.dtype)
            )

        if threads.total(run, threads.parts(x.shape[1])):
            require_finite(x)
        return Answers(out, self.away(x, out.dtype))

    def locate(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Located:
        """The vertices and weights of points (2, n)."""
        frame = lattice_frame(self.grid, dtype)
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
        return Located(*located, self.away(x, dtype))

    def values_at(self, points: Located) -> Answers:
        """Values at located points, shape (k, n)."""
        out = np.empty((len(self.entries), points.high.size), points.high.dtype)
        for entries, here in zip(self.entries, out, strict=True):
            kernels.combine(
                points.first, points.middle, points.last, points.high, points.low, entries, here
            )
        return Answers(out, points.away)


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


def lattice_frame(grid: Grid, dtype: npt.DTypeLike) -> npt.NDArray:
    """The affine map to lattice coordinates as six numbers of the dtype to compute in."""
    return np.concatenate([grid.origin, grid.inverse.ravel()]).astype(dtype)


def held_bounds(grid: Grid, window: Window) -> tuple[float, float, float, float]:
    """The lattice coordinates, counted from the ring, that a window answers, first and end of each.

    A window on the border of the grid answers for everything beyond it.
    """
    bounds = []
    for start, cells, total in zip(window.start, window.shape, grid.shape, strict=True):
        bounds.append(-np.inf if start == 0 and cells else start + 1.0)
        bounds.append(np.inf if start + cells == total else start + cells + 1.0)
    return bounds[0], bounds[1], bounds[2], bounds[3]


@compiled
def held(x: Any, y: Any, frame: Any, bounds: Any, out: Any) -> Any:
    """Writes into out whether a window answers each point; counts NaN or infinite coordinates.

    Args:
        x: First coordinates, shape (n,), any stride.
        y: Second coordinates, likewise.
        frame: As `lattice_frame` returns, of the dtype to compute in.
        bounds: As `held_bounds` returns.
        out: Shape (n,), bool.
    """
    real = frame.dtype.type
    numbers = unpacked(frame)
    first_i, end_i, first_j, end_j = bounds
    bad = 0
    for k in range(out.size):
        bad += not_finite(x[k], y[k])
        s, t = lattice_point(real(x[k]), real(y[k]), numbers)
        out[k] = (s >= first_i) & (s < end_i) & (t >= first_j) & (t < end_j)
    return bad
