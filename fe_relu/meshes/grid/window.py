# SPDX-License-Identifier: MIT
"""The part of a grid that a rank holds: some of its cells, and their vertices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.grid.boxes import NO_MARGIN, Margin
from fe_relu.meshes.grid.midpoints import Nodes, largest_bump, surpluses
from fe_relu.meshes.grid.p2_table import P2Table
from fe_relu.meshes.grid.table import Table
from fe_relu.meshes.mesh import Answers, Run

if TYPE_CHECKING:
    from fe_relu.meshes.grid.grid import Grid


@dataclass(frozen=True)
class Window:
    """The cells (i, j) of a grid with start ≤ (i, j) < start + shape, and their vertices.

    Vertices are numbered as in a grid of this shape: see `Grid`.

    Args:
        grid: The whole grid.
        start: Its first cell along each axis.
        shape: Its cells along each axis; (0, 0) if it is empty.
        unit: Where the grid is cut into blocks, cuts are at multiples of this; 0 if it is not cut.
        margin: What it holds beyond its block, the cells that no other window's block has.
    """

    grid: Grid
    start: tuple[int, int]
    shape: tuple[int, int]
    unit: int = 0
    margin: Margin = NO_MARGIN

    @property
    def own(self) -> Any:
        """Which of its vertices are gathered: also twice what is on a border of two blocks."""
        return self.owned() if any(self.margin) else slice(None)

    def refined(self, factor: int) -> Window:
        """The same part of the grid refined by a factor."""
        if factor == 1:
            return self
        (i, j), (nx, ny) = self.start, self.shape
        finer = self.grid.refined(factor)
        start, shape = (i * factor, j * factor), (nx * factor, ny * factor)
        return Window(finer, start, shape, self.unit * factor, self.margin.refined(factor))

    @property
    def num_vertices(self) -> int:
        nx, ny = self.shape
        if nx == 0 or ny == 0:
            return 0
        return (nx + 1) * (ny + 1) + (nx * ny if self.grid.has_centres else 0)

    def numbers(self) -> npt.NDArray[np.int64]:
        """The grid's numbers of its vertices, in window order."""
        nx, ny = self.grid.shape
        (i0, j0), (ni, nj) = self.start, self.shape
        if ni == 0 or nj == 0:
            return np.empty(0, np.int64)
        i, j = np.arange(i0, i0 + ni + 1), np.arange(j0, j0 + nj + 1)
        numbers = (j[:, None] * (nx + 1) + i).ravel()
        if not self.grid.has_centres:
            return numbers
        first = (nx + 1) * (ny + 1)
        return np.concatenate([numbers, (first + j[:-1, None] * nx + i[:-1]).ravel()])

    def local_numbers(self, vertices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The numbers in this window of vertices of the grid that lie in it."""
        i, j, centre = self.grid.places(vertices)
        i, j, (nx, ny) = i - self.start[0], j - self.start[1], self.shape
        return np.where(centre, (nx + 1) * (ny + 1) + j * nx + i, j * (nx + 1) + i)

    def whole_numbers(self, local: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The grid's numbers of vertices given by their numbers in this window."""
        (i0, j0), (ni, nj), (nx, ny) = self.start, self.shape, self.grid.shape
        corners, first = (ni + 1) * (nj + 1), (nx + 1) * (ny + 1)
        centre = local >= corners
        j, i = np.divmod(np.where(centre, local - corners, local), np.where(centre, ni, ni + 1))
        i, j = i + i0, j + j0
        return np.where(centre, first + j * nx + i, j * (nx + 1) + i)

    def _own_cells(self) -> tuple[slice, slice]:
        """The columns and rows of cells of its block, counted in the window."""
        (ni, nj), (left, right, below, above) = self.shape, self.margin
        return slice(left, ni - right), slice(below, nj - above)

    def _own_vertices(self) -> tuple[slice, slice]:
        """The columns and rows of corners that count as its block's.

        Those on a border to a block right of it or above are that one's.
        """
        slices = zip(self.start, self._own_cells(), self.grid.shape, strict=True)
        across, along = (slice(s.start, s.stop + (i + s.stop == n)) for i, s, n in slices)
        return across, along

    def owned(self) -> npt.NDArray[np.bool_]:
        """Which vertices count as this window's; each vertex of the grid is one window's."""
        (ni, nj), (columns, rows) = self.shape, self._own_vertices()
        own = np.zeros((nj + 1, ni + 1) if ni and nj else (0, 0), np.bool_)
        own[rows, columns] = True
        if not self.grid.has_centres:
            return own.ravel()
        centres, (columns, rows) = np.zeros((nj, ni), np.bool_), self._own_cells()
        centres[rows, columns] = True
        return np.concatenate([own.ravel(), centres.ravel()])

    def runs(self, *, own: bool = False) -> Iterator[Run]:
        """The vertices of this window as runs, in window order.

        Args:
            own: Those that are `owned` alone, so that all windows have each vertex once.
        """
        (nx, ny), (ni, nj) = self.grid.shape, self.shape
        if ni == 0 or nj == 0:
            return
        columns, rows = self._own_vertices() if own else (slice(0, ni + 1), slice(0, nj + 1))
        yield from self._runs(columns, rows, 0, nx + 1, 0, ni + 1)
        if self.grid.has_centres:
            columns, rows = self._own_cells() if own else (slice(0, ni), slice(0, nj))
            corners, held = (nx + 1) * (ny + 1), (ni + 1) * (nj + 1)
            yield from self._runs(columns, rows, corners, nx, held, ni)

    def _runs(
        self, columns: slice, rows: slice, first: int, step: int, place: int, place_step: int
    ) -> Iterator[Run]:
        """A run for each row, or one for all where rows follow each other without a gap.

        Args:
            columns: Of the window's vertices of one kind.
            rows: Likewise.
            first: The grid's number of the first vertex of this kind.
            step: How many of them a row of the grid has.
            place: The window's number of its first vertex of this kind.
            place_step: How many of them a row of the window has.
        """
        (i0, j0), length = self.start, columns.stop - columns.start
        first += (j0 + rows.start) * step + i0 + columns.start
        place += rows.start * place_step + columns.start
        count = rows.stop - rows.start
        if length == step == place_step:
            count, length = 1, count * length
        for j in range(count):
            yield Run(first + j * step, place + j * place_step, length)

    def table(self, values: npt.NDArray) -> Table:
        """The P1 or Q1 function with nodal values (k, n) of this window."""
        return self.grid.table_type.of(self, values)

    def hats(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Numbers of vertices, and values, of the hats that are awake at points; see `Part`."""
        count = self.num_vertices
        table = self.table(np.arange(1.0, count + 1)[None])
        located = table.locate(x, dtype)
        if count == 0:
            return Answers(np.zeros((2, x.shape[1])), located.away)
        entries, values = table.hats(located)
        local = table.entries[0].astype(np.int64)[entries] - 1
        numbers = np.append(self.numbers(), -1)[local]
        return Answers(np.concatenate([numbers.astype(float), values]), located.away)

    def quadratic_table(self, values: npt.NDArray, levels: int) -> P2Table:
        """The P2 function with nodal values (k, n) of this window refined by two."""
        return P2Table.of(self, values, levels)

    def largest_bump(self, values: npt.NDArray) -> float:
        """Sup |P2 function − its P1 part| over the window; values as for `quadratic_table`."""
        return largest_bump(surpluses(self, Nodes.of(self, values)))
