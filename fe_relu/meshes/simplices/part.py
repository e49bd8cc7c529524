# SPDX-License-Identifier: MIT
"""All of a simplex mesh as the part that a process holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.mesh import Answers, Run
from fe_relu.meshes.simplices.nodes import Nodes, bump_sizes
from fe_relu.meshes.simplices.quadratic import QuadraticTable
from fe_relu.meshes.simplices.table import Table, hats_at


@dataclass(frozen=True)
class Whole:
    """The part of a mesh that is all of it; see `fe_relu.meshes.mesh.Part`."""

    mesh: Any  # a mesh, or the nodes on one

    own = slice(None)

    @property
    def num_vertices(self) -> int:
        return self.mesh.num_vertices

    def numbers(self) -> npt.NDArray[np.int64]:
        return np.arange(self.num_vertices)

    def local_numbers(self, vertices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return vertices

    def runs(self, *, own: bool = False) -> Iterator[Run]:
        yield Run(0, 0, self.num_vertices)

    def refined(self, factor: int) -> Whole:
        return Whole(self.mesh.refined(factor))

    def table(self, values: npt.NDArray) -> Table:
        """The P1 or Q1 function with nodal values (k, n)."""
        return self.mesh.table(values)

    def hats(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Numbers of vertices, and values, of the hats that are awake at points; see `Part`."""
        return hats_at(self.table(np.zeros((1, self.num_vertices))), self.numbers(), x, dtype)

    def quadratic_table(self, values: npt.NDArray, levels: int) -> QuadraticTable:
        """The network of so many levels of the P2 function with nodal values (k, n)."""
        return QuadraticTable.on(self.mesh, values, levels)

    def largest_bump(self, values: npt.NDArray) -> float:
        """Sup |P2 function − its P1 part|; on tetrahedra a bound, attained for some."""
        return largest_bump(self.mesh.nodes, self.mesh.cells(), values)


def largest_bump(nodes: Nodes, cells: npt.NDArray[np.int64], values: npt.NDArray) -> float:
    """Sup |P2 function − its P1 part| over cells, of values (k, n) at the nodes; see `Whole`."""
    return float(bump_sizes(nodes.surpluses(values)[:, nodes.of_cells(cells)]).max(initial=0))
