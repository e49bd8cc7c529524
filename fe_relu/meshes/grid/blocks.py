# SPDX-License-Identifier: MIT
"""Which rank holds which part of the grid, by arithmetic alone: nothing here communicates.

The cells of the grid are cut into px · py blocks of nearly equal size. A block's *window* holds the
nodal values of all vertices of its cells, so vertices on the border of two blocks are in both
windows, and a point is answered by the owner of the cell it lies in. Points outside the mesh belong
to the block of the nearest cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.meshes.grid.grid import Grid
from fe_relu.meshes.grid.locate import kept, lattice_point, unpacked
from fe_relu.meshes.grid.table import lattice_frame
from fe_relu.meshes.grid.window import Window


@dataclass(frozen=True)
class Blocks:
    """The cells of a grid cut into counts[0] · counts[1] blocks, block (bx, by) on a rank each.

    Cuts run between cells whose numbers are multiples of `unit`, so that a block is also one of a
    grid coarser by that factor.

    Args:
        grid: The whole grid.
        counts: (px, py), number of blocks along each axis.
        ranks: The rank that holds block by·px + bx; ranks not named hold none.
        unit: Divides nx and ny.
    """

    asks_several = False

    grid: Grid
    counts: tuple[int, int]
    ranks: tuple[int, ...]
    unit: int = 1

    @property
    def num_vertices(self) -> int:
        return self.grid.num_vertices

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
        return [Blocks(grid, counts, tuple(range(most)), unit) for counts in near]

    def refined(self, factor: int) -> Blocks:
        """The same blocks of the grid refined by a factor."""
        return replace(self, grid=self.grid.refined(factor), unit=self.unit * factor)

    @staticmethod
    def of(grid: Grid, size: int, unit: int = 1) -> Blocks:
        """The shortest of `layouts`."""
        return Blocks.layouts(grid, size, unit)[0]

    def favourite(self, vertices: npt.NDArray[np.int64]) -> tuple[int, int]:
        """The block that most of these vertices lie in, and how many do; (−1, 0) without any."""
        if vertices.size == 0:
            return -1, 0
        i, j, _ = self.grid.places(vertices)
        nx, ny = self.grid.shape
        i, j = np.minimum(i, nx - 1), np.minimum(j, ny - 1)
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
        return _parts(self.grid.shape[0], self.counts[0], self.unit)

    @cached_property
    def row_of_cell(self) -> npt.NDArray[np.int32]:
        return _parts(self.grid.shape[1], self.counts[1], self.unit)

    def part(self, rank: int) -> Window:
        """The cells that a rank holds; none if no block is its own."""
        if rank not in self.ranks:
            return Window(self.grid, (0, 0), (0, 0), self.unit)
        by, bx = divmod(self.ranks.index(rank), self.counts[0])
        i = np.flatnonzero(self.column_of_cell == bx)
        j = np.flatnonzero(self.row_of_cell == by)
        return Window(self.grid, (int(i[0]), int(j[0])), (i.size, j.size), self.unit)

    def side_by_side(self) -> npt.NDArray[np.int64]:
        """The numbers of the vertices in the windows of all ranks, one after the other."""
        size = max(self.ranks) + 1
        return np.concatenate([self.part(rank).numbers() for rank in range(size)])

    def rank_of_cells(self, i: npt.NDArray, j: npt.NDArray) -> npt.NDArray[np.int64]:
        """The rank that holds each cell (i, j)."""
        block = self.row_of_cell[j] * self.counts[0] + self.column_of_cell[i]
        return np.array(self.ranks)[block]

    def owners(self, vertices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The one rank that each vertex counts for: that of the cell up and right, or nearest."""
        i, j, _ = self.grid.places(vertices)
        nx, ny = self.grid.shape
        return self.rank_of_cells(np.minimum(i, nx - 1), np.minimum(j, ny - 1))

    def holders(
        self, vertices: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Every rank whose window holds a vertex: (position in `vertices`, rank), all pairs."""
        i, j, centre = self.grid.places(vertices)
        nx, ny = self.grid.shape
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

    def candidates(
        self, x: npt.NDArray, positions: npt.NDArray[np.int64], dtype: np.dtype
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
        """The rank that answers each of the points x[:, positions]: that of the nearest cell."""
        first_of_row = self.row_of_cell * self.counts[0]
        frame, ranks = lattice_frame(self.grid, dtype), np.array(self.ranks)
        columns = self.column_of_cell
        return positions, _owners(x[0], x[1], positions, frame, columns, first_of_row, ranks)


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


@compiled
def _owners(x: Any, y: Any, positions: Any, frame: Any, columns: Any, rows: Any, ranks: Any) -> Any:
    """The rank that answers each point, shape (m,), int32.

    Args:
        x: First coordinates, shape (n,), any stride.
        y: Second coordinates, likewise.
        positions: Of the points in question among these, shape (m,).
        frame: As `lattice_frame` returns, of the dtype to compute in.
        columns: Block column of each column of cells, shape (nx,).
        rows: Block row of each row of cells, shape (ny,), times the number of block columns.
        ranks: Rank of each block.
    """
    real = frame.dtype.type
    numbers = unpacked(frame)
    out = np.empty(positions.size, np.int32)
    for k in range(out.size):
        s, t = lattice_point(real(x[positions[k]]), real(y[positions[k]]), numbers)
        i = min(np.int64(kept(s, 1, columns.size + 1, real)), columns.size) - 1
        j = min(np.int64(kept(t, 1, rows.size + 1, real)), rows.size) - 1
        out[k] = ranks[rows[j] + columns[i]]
    return out
