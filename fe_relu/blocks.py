# SPDX-License-Identifier: MIT
"""Who holds which part of the grid, by arithmetic alone: nothing here communicates.

The cells of the grid are cut into px · py blocks of nearly equal size. A block's *window* holds the
nodal values of all vertices of its cells, so vertices on the border of two blocks are in both
windows, and a point is answered by the owner of the cell it lies in. Points outside the mesh belong
to the block of the nearest cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.grid import Grid


@dataclass(frozen=True)
class Window:
    """The cells (i, j) with start ≤ (i, j) < start + shape, and their vertices.

    Vertices are numbered as in a grid of this shape: see `Grid`.
    """

    start: tuple[int, int]
    shape: tuple[int, int]

    def scaled(self, factor: int) -> Window:
        """The same part of a grid finer by a factor."""
        (i, j), (nx, ny) = self.start, self.shape
        return Window((i * factor, j * factor), (nx * factor, ny * factor))

    def num_vertices(self, has_centres: bool) -> int:
        nx, ny = self.shape
        if nx == 0 or ny == 0:
            return 0
        return (nx + 1) * (ny + 1) + (nx * ny if has_centres else 0)

    def local_numbers(self, grid: Grid, vertices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The numbers in this window of vertices of the grid that lie in it."""
        i, j, centre = grid.places(vertices)
        i, j, (nx, ny) = i - self.start[0], j - self.start[1], self.shape
        return np.where(centre, (nx + 1) * (ny + 1) + j * nx + i, j * (nx + 1) + i)

    def grid_numbers(self, grid: Grid, local: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The grid's numbers of vertices given by their numbers in this window."""
        (i0, j0), (ni, nj), nx = self.start, self.shape, grid.shape[0]
        corners, first = (ni + 1) * (nj + 1), (nx + 1) * (grid.shape[1] + 1)
        centre = local >= corners
        j, i = np.divmod(np.where(centre, local - corners, local), np.where(centre, ni, ni + 1))
        i, j = i + i0, j + j0
        return np.where(centre, first + j * nx + i, j * (nx + 1) + i)

    def owned(self, grid: Grid) -> npt.NDArray[np.bool_]:
        """Which vertices count as this window's, so that each vertex of the grid is one window's.

        Those on its last column and row are of the next window, if there is one.
        """
        (i0, j0), (ni, nj) = self.start, self.shape
        own = np.ones((nj + 1, ni + 1) if ni and nj else (0, 0), np.bool_)
        own[:, -1:] = i0 + ni == grid.shape[0]
        own[-1:] &= j0 + nj == grid.shape[1]
        centres = np.ones(ni * nj if grid.has_centres else 0, np.bool_)
        return np.concatenate([own.ravel(), centres])

    def vertices(self, grid: Grid) -> npt.NDArray[np.int64]:
        """The grid's numbers of the vertices of this window, in window order."""
        nx = grid.shape[0]
        (i0, j0), (ni, nj) = self.start, self.shape
        if ni == 0 or nj == 0:
            return np.empty(0, np.int64)
        i, j = np.arange(i0, i0 + ni + 1), np.arange(j0, j0 + nj + 1)
        numbers = (j[:, None] * (nx + 1) + i).ravel()
        if not grid.has_centres:
            return numbers
        first = (nx + 1) * (grid.shape[1] + 1)
        return np.concatenate([numbers, (first + j[:-1, None] * nx + i[:-1]).ravel()])

    def runs(self, grid: Grid, *, own: bool = False) -> Iterator[Run]:
        """The vertices of this window as runs, in window order.

        Args:
            grid: The whole grid.
            own: Without those on the border to a window right of it or above, so that the windows
                of all blocks have each vertex once.
        """
        (nx, ny), (i0, j0), (ni, nj) = grid.shape, self.start, self.shape
        if ni == 0 or nj == 0:
            return
        columns = ni if own and i0 + ni < nx else ni + 1
        rows = nj if own and j0 + nj < ny else nj + 1
        yield from _runs(Run(j0 * (nx + 1) + i0, 0, columns), rows, nx + 1, ni + 1)
        if grid.has_centres:
            first = (nx + 1) * (ny + 1) + j0 * nx + i0
            yield from _runs(Run(first, (ni + 1) * (nj + 1), ni), nj, nx, ni)


class Run(NamedTuple):
    """Vertices that follow each other both in the grid and in a window."""

    first: int  # the grid's number of the first of them
    place: int  # its place in the window
    length: int


def _runs(row: Run, rows: int, step: int, place_step: int) -> Iterator[Run]:
    """A run for each row, or one for all where rows follow each other without a gap."""
    if row.length == step == place_step:
        yield row._replace(length=rows * step)
        return
    for j in range(rows):
        yield Run(row.first + j * step, row.place + j * place_step, row.length)


@dataclass(frozen=True)
class Blocks:
    """The cells of a grid cut into counts[0] · counts[1] blocks, block (bx, by) on a rank each.

    Cuts run between cells whose numbers are multiples of `unit`, so that a block is also one of a
    grid coarser by that factor.

    Args:
        shape: (nx, ny), cells of the grid.
        counts: (px, py), number of blocks along each axis.
        ranks: The rank that holds block by·px + bx; ranks not named hold none.
        unit: Divides nx and ny.
    """

    shape: tuple[int, int]
    counts: tuple[int, int]
    ranks: tuple[int, ...]
    unit: int = 1

    @staticmethod
    def layouts(grid: Grid, size: int, unit: int = 1) -> list[Blocks]:
        """As many blocks as there are ranks or units, cut in the shortest ways or nearly so.

        The shortest comes first. Block k is on rank k.
        """
        shape = (grid.shape[0] // unit, grid.shape[1] // unit)
        ways = sorted(_fitting(shape, size), key=lambda counts: _cut(shape, counts))
        most = max(px * py for px, py in ways)
        ways = [(px, py) for px, py in ways if px * py == most]
        limit = 1.5 * _cut(shape, ways[0])
        near = [counts for counts in ways if _cut(shape, counts) <= limit]
        return [Blocks(grid.shape, counts, tuple(range(most)), unit) for counts in near]

    def scaled(self, factor: int) -> Blocks:
        """The same blocks of a grid finer by a factor."""
        nx, ny = self.shape
        return replace(self, shape=(nx * factor, ny * factor), unit=self.unit * factor)

    @staticmethod
    def of(grid: Grid, size: int, unit: int = 1) -> Blocks:
        """The shortest of `layouts`."""
        return Blocks.layouts(grid, size, unit)[0]

    def favourite(self, grid: Grid, vertices: npt.NDArray[np.int64]) -> tuple[int, int]:
        """The block that most of these vertices lie in, and how many do; (−1, 0) without any."""
        if vertices.size == 0:
            return -1, 0
        i, j, _ = grid.places(vertices)
        i, j = np.minimum(i, self.shape[0] - 1), np.minimum(j, self.shape[1] - 1)
        block = self.row_of_cell[j] * self.counts[0] + self.column_of_cell[i]
        numbers = np.bincount(block)
        return int(numbers.argmax()), int(numbers.max())

    def claimed(self, favourites: Sequence[int]) -> Blocks:
        """Each block on the first rank whose favourite it is, the rest on ranks left over."""
        ranks: dict[int, int] = {}
        for rank, block in enumerate(favourites):
            if block >= 0:
                ranks.setdefault(block, rank)
        taken = set(ranks.values())
        free = (rank for rank in range(len(favourites)) if rank not in taken)
        number = self.counts[0] * self.counts[1]
        return replace(
            self, ranks=tuple(ranks[b] if b in ranks else next(free) for b in range(number))
        )

    @cached_property
    def column_of_cell(self) -> npt.NDArray[np.int32]:
        """Which column of blocks cell column i is in, shape (nx,)."""
        return _parts(self.shape[0], self.counts[0], self.unit)

    @cached_property
    def row_of_cell(self) -> npt.NDArray[np.int32]:
        return _parts(self.shape[1], self.counts[1], self.unit)

    def window(self, rank: int) -> Window:
        """The cells that a rank holds; none if no block is its own."""
        if rank not in self.ranks:
            return Window((0, 0), (0, 0))
        by, bx = divmod(self.ranks.index(rank), self.counts[0])
        i = np.flatnonzero(self.column_of_cell == bx)
        j = np.flatnonzero(self.row_of_cell == by)
        return Window((int(i[0]), int(j[0])), (i.size, j.size))

    def rank_of_cells(self, i: npt.NDArray, j: npt.NDArray) -> npt.NDArray[np.int64]:
        """The rank that holds each cell (i, j)."""
        block = self.row_of_cell[j] * self.counts[0] + self.column_of_cell[i]
        return np.array(self.ranks)[block]

    def owners(self, grid: Grid, vertices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The one rank that each vertex counts for: that of the cell up and right, or nearest."""
        i, j, _ = grid.places(vertices)
        nx, ny = self.shape
        return self.rank_of_cells(np.minimum(i, nx - 1), np.minimum(j, ny - 1))

    def holders(
        self, grid: Grid, vertices: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Every rank whose window holds a vertex: (position in `vertices`, rank), all pairs."""
        i, j, centre = grid.places(vertices)
        nx, ny = self.shape
        right, up = np.minimum(i, nx - 1), np.minimum(j, ny - 1)
        left, down = np.where(centre, i, i - 1).clip(0), np.where(centre, j, j - 1).clip(0)
        across = self.column_of_cell[left] != self.column_of_cell[right]
        along = self.row_of_cell[down] != self.row_of_cell[up]
        cases = [
            (np.ones_like(across), right, up),
            (across, left, up),
            (along, right, down),
            (across & along, left, down),
        ]
        positions = [np.flatnonzero(mask) for mask, _, _ in cases]
        ranks = [
            self.rank_of_cells(ci[p], cj[p])
            for p, (_, ci, cj) in zip(positions, cases, strict=True)
        ]
        return np.concatenate(positions), np.concatenate(ranks)


def _parts(n: int, parts: int, unit: int) -> npt.NDArray[np.int32]:
    """0 … parts − 1, each repeated about n / parts times, a multiple of unit; n entries."""
    edges = n // unit * np.arange(parts + 1) // parts * unit
    return np.repeat(np.arange(parts, dtype=np.int32), np.diff(edges))


def _cut(shape: tuple[int, int], counts: tuple[int, int]) -> int:
    """Length of the cuts, the outline included."""
    return counts[0] * shape[1] + counts[1] * shape[0]


def _fitting(shape: tuple[int, int], size: int) -> Iterator[tuple[int, int]]:
    for px in range(1, min(shape[0], size) + 1):
        yield px, min(shape[1], size // px)
