# SPDX-License-Identifier: MIT
"""One rank's share of a mesh that no rank holds whole: its own cells, and those that they meet.

The cells of others that share a vertex with own ones are there as well, and the ring around both.
So whatever a point of an own cell may touch is known here, and the share says the same bits of it
as the whole mesh does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.ordering import order_of
from fe_relu.basics.points import require_finite
from fe_relu.meshes.mesh import Answers
from fe_relu.meshes.simplices.location.locator import Locator
from fe_relu.meshes.simplices.table import Table, hats_at

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Share:
    """What a rank holds of a mesh; see `fe_relu.meshes.mesh.Part`.

    Args:
        vertices: Coordinates, ordered by the first, then the second, …; shape (dim, n).
        global_numbers: Of these vertices, shape (n,).
        own: Places of those that count for this rank, by increasing number.
        cells: Corners of the cells, then of those of the ring around them, shape (dim + 1, m);
            corners increase in a cell, and so do cells but for those of the ring.
        mine: Which cells are this rank's own.
        ring: Coordinates of the ring's vertices, which are numbered from n on, shape (dim, r).
        near: As for `Locator`.
    """

    vertices: npt.NDArray[np.float64]
    global_numbers: Ints
    own: Ints
    cells: Ints
    mine: npt.NDArray[np.bool_]
    ring: npt.NDArray[np.float64]
    near: float

    @property
    def num_vertices(self) -> int:
        return self.vertices.shape[1]

    @cached_property
    def locator(self) -> Locator:
        """The structure in which points find cells."""
        return Locator(self.vertices, self.ring, self.cells, self.near, mine=self.mine)

    @cached_property
    def _by_number(self) -> Ints:
        return order_of(self.global_numbers)

    def numbers(self) -> Ints:
        """The whole mesh's numbers of the vertices."""
        return self.global_numbers

    def local_numbers(self, vertices: Ints) -> Ints:
        """The places here of vertices of the whole mesh."""
        order = self._by_number
        return order[np.searchsorted(self.global_numbers, vertices, sorter=order)]

    def refined(self, factor: int) -> Share:
        require_p1(factor)
        return self

    def table(self, values: npt.NDArray) -> Any:
        """The P1 function with nodal values (k, n)."""
        if self.cells.size == 0:
            return Nowhere(len(self.vertices), len(values), values.dtype)
        return Table.of(self.locator, values, partial=True)

    def hats(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Numbers of vertices, and values, of the hats that are awake at points; see `Part`."""
        if self.cells.size == 0:
            require_finite(x)
            numbers = np.zeros((2 * len(self.cells), x.shape[1]))
            return Answers(numbers, np.arange(x.shape[1]))
        table = self.table(np.zeros((1, self.num_vertices)))
        return hats_at(table, self.global_numbers, x, dtype)

    def inside(self, x: npt.NDArray, distance: float) -> Answers:
        """Which points (dim, n) are at most so far from the mesh, shape (1, n)."""
        if self.cells.size == 0:
            return Answers(np.zeros((1, x.shape[1]), np.bool_), np.arange(x.shape[1]))
        near, away = self.locator.near_points(x, distance)
        return Answers(near[None], away)


@dataclass(frozen=True)
class Nowhere:
    """A function on no cells, as a rank without any has it: others answer all points.

    Args:
        dim: Dimension of points.
        outputs: Number of values.
        dtype: Of values.
    """

    dim: int
    outputs: int
    dtype: np.dtype

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        return self._zeros(x, dtype)

    def gradient(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        return self._zeros(x, dtype, self.dim)

    def locate(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        return self._zeros(x, dtype)

    def values_at(self, points: Answers) -> Answers:
        """Zeros, as many as this function has outputs, whatever the one had that located points."""
        numbers = np.zeros((self.outputs, points.away.size), np.result_type(points[0], self.dtype))
        return Answers(numbers, points.away)

    def _zeros(self, x: npt.NDArray, dtype: npt.DTypeLike, *axes: int) -> Answers:
        require_finite(x)
        numbers = np.zeros((self.outputs, *axes, x.shape[1]), np.result_type(dtype, self.dtype))
        return Answers(numbers, np.arange(x.shape[1]))


def require_p1(degree: int) -> None:
    """Raises unless it is 1: nodes of a higher degree are not shared out.

    Raises:
        ValueError: It is another.
    """
    if degree != 1:
        raise ValueError(
            "P2 functions on meshes of simplices are not spread over ranks; "
            'layout="replicated" gives each rank the whole'
        )
