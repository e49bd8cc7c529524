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
from fe_relu.meshes.simplices.nodes import Nodes
from fe_relu.meshes.simplices.part import largest_bump
from fe_relu.meshes.simplices.quadratic import Edges, QuadraticTable, edges_of
from fe_relu.meshes.simplices.table import Table, hats_at

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Numbering:
    """The numbers that vertices or nodes here have in the whole mesh.

    Args:
        of_whole: The number of each, shape (n,).
        own: Places of those that count for this rank, by increasing number.
    """

    of_whole: Ints
    own: Ints

    @staticmethod
    def of(numbers: Ints, starts: Ints, rank: int) -> Numbering:
        """Of numbers, of which starts[rank] … starts[rank + 1] − 1 count for this rank."""
        places = np.flatnonzero((starts[rank] <= numbers) & (numbers < starts[rank + 1]))
        return Numbering(numbers, places[order_of(numbers[places])])

    @property
    def num_vertices(self) -> int:
        return self.of_whole.size

    def numbers(self) -> Ints:
        return self.of_whole

    @cached_property
    def _order(self) -> Ints:
        return order_of(self.of_whole)

    def local_numbers(self, numbers: Ints) -> Ints:
        """The places here of numbers of the whole mesh."""
        places = np.searchsorted(self.of_whole, numbers, sorter=self._order)
        return self._order[places.clip(max=max(self.of_whole.size - 1, 0))]


@dataclass(frozen=True, eq=False)
class Share:
    """What a rank holds of a mesh; see `fe_relu.meshes.mesh.Part`.

    Args:
        vertices: Coordinates, ordered by the first, then the second, …; shape (dim, n).
        numbering: Of these vertices.
        cells: Corners of the cells, then of those of the ring around them, shape (dim + 1, m);
            corners increase in a cell, and so do cells but for those of the ring.
        mine: Which cells are this rank's own.
        ring: Coordinates of the ring's vertices, which are numbered from n on, shape (dim, r).
        near: As for `Locator`.
        node_numbering: Of `nodes`, where P2 functions are shared out.
    """

    vertices: npt.NDArray[np.float64]
    numbering: Numbering
    cells: Ints
    mine: npt.NDArray[np.bool_]
    ring: npt.NDArray[np.float64]
    near: float
    node_numbering: Numbering | None = None

    @property
    def num_vertices(self) -> int:
        return self.vertices.shape[1]

    @property
    def own(self) -> Ints:
        """Places of the vertices that count for this rank, by increasing number."""
        return self.numbering.own

    @cached_property
    def of_mesh(self) -> npt.NDArray[np.bool_]:
        """Which cells are none of the ring's."""
        return self.cells.max(axis=0, initial=0) < self.num_vertices

    @property
    def own_cells(self) -> Ints:
        """The cells of the mesh that are this rank's own."""
        return self.cells[:, self.of_mesh & self.mine]

    @cached_property
    def nodes(self) -> Nodes:
        """Of P2 functions on all cells of the mesh that are here."""
        return Nodes.of(self.vertices, self.cells[:, self.of_mesh])

    @property
    def own_edges(self) -> tuple[Ints, Ints]:
        """The nodes in the middle of edges that count for this rank, and both ends, (2, e)."""
        own = self.refined(2).own
        places = own[own >= self.num_vertices]
        return places, self.nodes.edges[:, places - self.num_vertices]

    @cached_property
    def cell_edges(self) -> Edges:
        """What evaluation of P2 functions reads of the edges of cells."""
        return edges_of(self.locator, self.nodes)

    @cached_property
    def locator(self) -> Locator:
        """The structure in which points find cells."""
        return Locator(self.vertices, self.ring, self.cells, self.near, mine=self.mine)

    def numbers(self) -> Ints:
        """The whole mesh's numbers of the vertices."""
        return self.numbering.of_whole

    def local_numbers(self, vertices: Ints) -> Ints:
        """The places here of vertices of the whole mesh."""
        return self.numbering.local_numbers(vertices)

    def refined(self, factor: int) -> Any:
        """The share itself, or (2) what tells the numbers of the nodes of P2 functions.

        Raises:
            ValueError: Those are not shared out.
        """
        if factor == 1:
            return self
        if self.node_numbering is None:
            raise ValueError(
                "the mesh was shared out for P1 functions; Conversion(V) of a P2 space V shares "
                "out the nodes of P2 functions too"
            )
        return self.node_numbering

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
        return hats_at(table, self.numbers(), x, dtype)

    def nearest_nodes(self, x: npt.NDArray, degree: int) -> Answers:
        """Numbers in the whole mesh of vertices, or (2) nodes, that points (dim, n) are at, (1, n).

        That is the node of a point's cell with about its barycentric coordinates.
        """
        if self.cells.size == 0:
            return Answers(np.zeros((1, x.shape[1]), np.int64), np.arange(x.shape[1]))
        found = self.hats(x, np.float64)
        numbers, weights = np.split(found.numbers, 2)
        most, all_points = np.argsort(weights, axis=0)[::-1], np.arange(x.shape[1])
        a, b = (self.local_numbers(numbers[row, all_points].astype(np.int64)) for row in most[:2])
        if degree == 1:
            return Answers(self.numbers()[a][None], found.away)
        at_vertex = weights[most[0], all_points] > 0.75
        at_vertex[found.away] = True
        nodes = self.nodes.between(a, np.where(at_vertex, a, b))
        return Answers(self.refined(2).numbers()[nodes][None], found.away)

    def quadratic_table(self, values: npt.NDArray, levels: int) -> Any:
        """The network of so many levels of the P2 function with nodal values (k, n)."""
        if self.cells.size == 0:
            return Nowhere(len(self.vertices), len(values), values.dtype)
        return QuadraticTable.on(self, values, levels, partial=True)

    def largest_bump(self, values: npt.NDArray) -> float:
        """Sup |P2 function − its P1 part| on this rank's own cells."""
        cells = self.own_cells
        return largest_bump(self.nodes, cells, values) if cells.size else 0.0

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
