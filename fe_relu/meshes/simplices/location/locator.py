# SPDX-License-Identifier: MIT
"""The structure in which points find their cells, made once for a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.basics.ordering import inverse
from fe_relu.meshes.simplices.location import nearness
from fe_relu.meshes.simplices.location.boxes import boxes_of
from fe_relu.meshes.simplices.location.buckets import buckets_of
from fe_relu.meshes.simplices.location.known import Place, Search, Whereabouts
from fe_relu.meshes.simplices.location.neighbours import along_curve, centres
from fe_relu.meshes.simplices.location.records import MOST_CELLS, records_of
from fe_relu.meshes.simplices.location.touched import touched_by


@dataclass(frozen=True, eq=False)
class Locator:
    """Cells in which points are found.

    Args:
        own: Coordinates of the mesh's vertices, shape (dim, n).
        ring: Coordinates of further vertices, around the mesh, shape (dim, r).
        cells: Corners of each cell, the ring's vertices counted from n on, shape (dim + 1, m).
        near: See `known.Place`.
        vertex_numbers: By which the corners of a cell are put in order; increasing by default.
        cell_numbers: The smallest of these answers where cells meet; increasing by default.
        mine: Which cells are answered here, those of the ring among them; all by default.

    Raises:
        ValueError: There are more cells than numbers of 32 bits can name.
    """

    own: npt.NDArray[np.float64]
    ring: npt.NDArray[np.float64]
    cells: npt.NDArray[np.int64]
    near: float
    vertex_numbers: npt.NDArray[np.int64] | None = None
    cell_numbers: npt.NDArray[np.int64] | None = None
    mine: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.cells.shape[1] > MOST_CELLS:
            raise ValueError(
                f"one rank would hold {self.cells.shape[1]} cells, and evaluates {MOST_CELLS} at "
                "most; more ranks spread them"
            )

    @property
    def dim(self) -> int:
        return len(self.own)

    @property
    def axes(self) -> tuple[int, ...]:
        """What tells loops the dimension."""
        return (0,) * self.dim

    @cached_property
    def order(self) -> npt.NDArray[np.int64]:
        """Of each vertex as records count, its number among own and ring; own ones first."""
        ring = self.own.shape[1] + along_curve(self.ring)
        return np.concatenate([along_curve(self.own), ring])

    def _curve(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """The middles of cells, and the order in which cells are kept."""
        middles = centres(np.concatenate([self.own, self.ring], axis=1), self.cells)
        return middles, along_curve(middles)

    def _numbers(self, curve: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return curve if self.cell_numbers is None else self.cell_numbers[curve]

    @cached_property
    def numbers(self) -> npt.NDArray[np.int64]:
        """The numbers of cells as they are kept; evaluation does without."""
        return self._numbers(self._curve()[1])

    @cached_property
    def search(self) -> Search:
        """What compiled loops read."""
        vertices = np.concatenate([self.own, self.ring], axis=1)
        middles, curve = self._curve()
        vertex_numbers = self.vertex_numbers
        if vertex_numbers is None:
            vertex_numbers = np.arange(vertices.shape[1])
        vertices = vertices[:, self.order]
        cells = np.empty(self.cells.shape, np.int32)
        _arrange(self.cells, curve, vertex_numbers, inverse(self.order), cells)
        records = records_of(vertices, cells, self._numbers(curve))
        low, high = vertices.min(axis=1), vertices.max(axis=1)
        buckets = buckets_of(records, middles[:, curve], low, high)
        own, ring = (np.ascontiguousarray(part).view() for part in (self.own, self.ring))
        own.flags.writeable = ring.flags.writeable = False
        place = Place(
            self.order.astype(np.int32), own, ring, _padded(low), _padded(high), self.near
        )
        mine = np.empty(0, np.bool_) if self.mine is None else self.mine[curve]
        reach = self.near * float(np.finfo(np.float32).eps / np.finfo(np.float64).eps)
        touched = touched_by(vertices, cells, buckets.grids[0], reach)
        where = Whereabouts(records, place, boxes_of(vertices, cells), touched)
        return Search(buckets, where, mine)

    def cells_at(self, x: npt.NDArray) -> npt.NDArray[np.int64]:
        """The number of the cell that answers each of the points (dim, n), −1 if there is none."""
        return nearness.cells_at(self, x)

    def search_for(self, dtype: np.dtype) -> Search:
        """`search` for points of this dtype: coarser ones are near from farther away."""
        eps = np.finfo(np.result_type(dtype, np.float32)).eps
        place = self.search.where.place
        near = place.near * float(eps / np.finfo(np.float64).eps)
        where = self.search.where._replace(place=place._replace(near=near))
        return self.search._replace(where=where)

    def near_points(
        self, x: npt.NDArray, distance: float
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """Which points (dim, n) are at most so far from a cell that is not of the ring.

        And, as for `Answers`, which others answer; there, what is said means nothing.
        """
        return nearness.near(self, x, distance)

    @cached_property
    def least_height(self) -> float:
        """The least height of a cell, of the ring's apart."""
        return nearness.least_height(self.search.where.records, self.own.shape[1], self.dim)

    @property
    def num_bytes(self) -> int:
        """The memory of the structure beside the mesh."""
        records, place, boxes, touched = self.search.where
        shared = 0 if records.corners is records.links else records.corners.nbytes
        arrays = (records.words, *records[3:], place.order, place.ring, boxes.sides, touched.marks)
        return shared + sum(array.nbytes for array in (*arrays, *self.search.buckets))


@compiled
def _arrange(cells: Any, curve: Any, numbers: Any, place: Any, arranged: Any) -> None:
    """Cells along the curve, corners in order of their numbers, as vertices are kept."""
    corners = len(cells)
    held = np.empty(corners, np.int64)
    for k in range(curve.size):
        for i in range(corners):
            v, j = cells[i, curve[k]], i
            while j > 0 and numbers[held[j - 1]] > numbers[v]:
                held[j] = held[j - 1]
                j -= 1
            held[j] = v
        for i in range(corners):
            arranged[i, k] = place[held[i]]


def _padded(corner: npt.NDArray) -> npt.NDArray:
    return np.concatenate([corner, np.zeros(3 - corner.size)])
