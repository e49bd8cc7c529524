# SPDX-License-Identifier: MIT
"""The part of a grid that a rank holds: some of its cells, and their vertices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

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
        unit: Where the grid is cut into windows, cuts are at multiples of this; 0 if it is not cut.
    """

    grid: Grid
    start: tuple[int, int]
    shape: tuple[int, int]
    unit: int = 0

    #: Which of its vertices are gathered: all, as what is on a border is the same on both sides.
    own = slice(None)

    def refined(self, factor: int) -> Window:
        """The same part of the grid refined by a factor."""
        if factor == 1:
            return self
        (i, j), (nx, ny) = self.start, self.shape
        finer = self.grid.refined(factor)
        return Window(
            finer, (i * factor, j * factor), (nx * factor, ny * factor), self.unit * factor
        )

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

    def owned(self) -> npt.NDArray[np.bool_]:
        """Which vertices count as this window's, so that each vertex of the grid is one window's.

        Those on its last column and row are of the next window, if there is one.
        """
        (i0, j0), (ni, nj) = self.start, self.shape
        own = np.ones((nj + 1, ni + 1) if ni and nj else (0, 0), np.bool_)
        own[:, -1:] = i0 + ni == self.grid.shape[0]
        own[-1:] &= j0 + nj == self.grid.shape[1]
        centres = np.ones(ni * nj if self.grid.has_centres else 0, np.bool_)
        return np.concatenate([own.ravel(), centres])

    def runs(self, *, own: bool = False) -> Iterator[Run]:
        """The vertices of this window as runs, in window order.

        Args:
            own: Without those on the border to a window right of it or above, so that the windows
                of all blocks have each vertex once.
        """
        (nx, ny), (i0, j0), (ni, nj) = self.grid.shape, self.start, self.shape
        if ni == 0 or nj == 0:
            return
        columns = ni if own and i0 + ni < nx else ni + 1
        rows = nj if own and j0 + nj < ny else nj + 1
        yield from _runs(Run(j0 * (nx + 1) + i0, 0, columns), rows, nx + 1, ni + 1)
        if self.grid.has_centres:
            first = (nx + 1) * (ny + 1) + j0 * nx + i0
            yield from _runs(Run(first, (ni + 1) * (nj + 1), ni), nj, nx, ni)

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


def _runs(row: Run, rows: int, step: int, place_step: int) -> Iterator[Run]:
    """A run for each row, or one for all where rows follow each other without a gap."""
    if row.length == step == place_step:
        yield row._replace(length=rows * step)
        return
    for j in range(rows):
        yield Run(row.first + j * step, row.place + j * place_step, row.length)
