# SPDX-License-Identifier: MIT
"""Which rank holds which part of the grid, by arithmetic alone: nothing here communicates.

The cells of the grid are cut into px · py blocks of nearly equal size. A rank's *window* holds the
nodal values of all vertices of its block's cells, so vertices on the border of two blocks are in
both windows. It may have a margin of more cells, those that the rank's own points lie in: a rank
answers what lies in its window, and asks for the rest the rank whose block it lies in. Points
outside the mesh belong to the block of the nearest cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.meshes.grid.boxes import NO_MARGIN, Box, Margin
from fe_relu.meshes.grid.grid import Grid
from fe_relu.meshes.grid.locate import clamped, lattice_point, unpacked
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
        margins: Of each block's window, if any window has one.
    """

    asks_several = False

    grid: Grid
    counts: tuple[int, int]
    ranks: tuple[int, ...]
    unit: int = 1
    margins: tuple[Margin, ...] = ()

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
        margins = tuple(margin.refined(factor) for margin in self.margins)
        grid = self.grid.refined(factor)
        return replace(self, grid=grid, unit=self.unit * factor, margins=margins)

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

    def extent(self, vertices: npt.NDArray[np.int64]) -> Box | None:
        """All cells around these vertices, and between; None without any."""
        if vertices.size == 0:
            return None
        spans = []
        for numbers, n in zip(self.grid.places(vertices)[:2], self.grid.shape, strict=True):
            spans += [max(int(numbers.min()) - 1, 0), min(int(numbers.max()) + 1, n)]
        return Box(*spans)

    def widened(self, extents: Sequence[Box | None]) -> Blocks:
        """Windows that hold each rank's extent too, or as much as may be, see `Box.margin_to`."""
        blocks = (Box(*map(int, box)) for box in self.boxes)
        margins = tuple(
            block.margin_to(extents[rank]) for rank, block in zip(self.ranks, blocks, strict=True)
        )
        return replace(self, margins=margins if any(map(any, margins)) else ())

    @cached_property
    def boxes(self) -> npt.NDArray[np.int64]:
        """The cells of each block, shape (px · py, 4): see `Box`."""
        i, j = (
            np.searchsorted(parts, np.arange(count + 1))
            for parts, count in zip(
                (self.column_of_cell, self.row_of_cell), self.counts, strict=True
            )
        )
        by, bx = np.divmod(np.arange(len(self.ranks)), self.counts[0])
        return np.stack([i[bx], i[bx + 1], j[by], j[by + 1]], axis=1)

    @cached_property
    def windows(self) -> npt.NDArray[np.int64]:
        """The cells of each block's window, likewise."""
        if not self.margins:
            return self.boxes
        return self.boxes + np.array(self.margins) * np.array([-1, 1, -1, 1])

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
        block = self.ranks.index(rank)
        left, right, below, above = map(int, self.windows[block])
        margin = self.margins[block] if self.margins else NO_MARGIN
        start, shape = (left, below), (right - left, above - below)
        return Window(self.grid, start, shape, self.unit, margin)

    def side_by_side(self) -> npt.NDArray[np.int64]:
        """The numbers of the vertices `own` of the windows of all ranks, one after the other."""
        parts = map(self.part, range(max(self.ranks) + 1))
        return np.concatenate([part.numbers()[part.own] for part in parts])

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
        places, columns, rows = self.grid.places(vertices), self.column_of_cell, self.row_of_cell
        return _holders(*places, columns, rows, self.windows, np.array(self.ranks), self._reach)

    @cached_property
    def _reach(self) -> tuple[int, int]:
        """How many columns and rows of blocks from its own a window touches."""
        left, right, below, above = self.windows.T
        by, bx = np.divmod(np.arange(len(self.ranks)), self.counts[0])
        reaches = []
        for own, parts, first, end in (
            (bx, self.column_of_cell, left, right),
            (by, self.row_of_cell, below, above),
        ):
            before, after = parts[np.maximum(first - 1, 0)], parts[np.minimum(end, parts.size - 1)]
            reaches.append(int(max((own - before).max(), (after - own).max())))
        return reaches[0], reaches[1]

    def candidates(
        self, x: npt.NDArray, positions: npt.NDArray[np.int64], dtype: np.dtype
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
        """The rank that answers each of the points x[:, positions]: that of the nearest cell."""
        first_of_row = self.row_of_cell * self.counts[0]
        frame, ranks = lattice_frame(self.grid, dtype), np.array(self.ranks, np.int32)
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
    real, numbers = frame.dtype.type, unpacked(frame)
    end_i, end_j = real(columns.size), real(rows.size)
    out = np.empty(positions.size, np.int32)
    for k in range(out.size):
        at = np.uint64(positions[k])
        s, t = lattice_point(real(x[at]), real(y[at]), numbers)
        # Cells are counted from the ring, which belongs to the cells beside it.
        i = np.uint32(np.int32(clamped(s, numbers[6], end_i))) - np.uint32(1)
        j = np.uint32(np.int32(clamped(t, numbers[6], end_j))) - np.uint32(1)
        out[k] = ranks[np.uint64(rows[np.uint64(j)] + columns[np.uint64(i)])]
    return out


@compiled
def _holders(
    i: Any, j: Any, centre: Any, columns: Any, rows: Any, windows: Any, ranks: Any, reach: Any
) -> Any:
    """The vertices that windows hold: (position, rank), shape (m,) each, by increasing position.

    Args:
        i: Column of each vertex, or of the cell whose centre it is, shape (n,).
        j: Its row, likewise.
        centre: Whether it is the centre of a cell.
        columns: Block column of each column of cells, shape (nx,).
        rows: Block row of each row of cells, shape (ny,).
        windows: As in `Blocks`.
        ranks: The rank of each block.
        reach: How many columns and rows of blocks away a window may be.
    """
    px, py = columns[-1] + 1, rows[-1] + 1
    positions, found = np.empty(i.size, np.int64), np.empty(i.size, np.int64)
    count = 0
    for k in range(i.size):
        bx, by = columns[min(i[k], columns.size - 1)], rows[min(j[k], rows.size - 1)]
        for row in range(max(by - reach[1], 0), min(by + reach[1] + 1, py)):
            for column in range(max(bx - reach[0], 0), min(bx + reach[0] + 1, px)):
                block = row * px + column
                left, right, below, above = windows[block]
                end_i, end_j = i[k] + centre[k], j[k] + centre[k]
                if left <= i[k] and end_i <= right and below <= j[k] and end_j <= above:
                    if count == positions.size:
                        positions = np.append(positions, np.empty_like(positions))
                        found = np.append(found, np.empty_like(found))
                    positions[count], found[count] = k, ranks[block]
                    count += 1
    return positions[:count], found[:count]
