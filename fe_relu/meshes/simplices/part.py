# SPDX-License-Identifier: MIT
"""All of a simplex mesh as the part that a process holds, and the nodes of its P2 functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.mesh import Run
from fe_relu.meshes.simplices.table import Table

if TYPE_CHECKING:
    from fe_relu.meshes.simplices.mesh import SimplexMesh


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
        """The P1 function with nodal values (k, n)."""
        return Table.of(self.mesh.locator, values)

    def quadratic_table(self, values: npt.NDArray, levels: int) -> NoReturn:
        raise ValueError("P2 functions on meshes of simplices are not evaluated yet")

    def largest_bump(self, values: npt.NDArray) -> NoReturn:
        raise ValueError("P2 functions on meshes of simplices are not evaluated yet")


@dataclass(frozen=True)
class Nodes:
    """The nodes of P2 functions: the vertices of a mesh, then the middles of its edges.

    Args:
        mesh: The mesh.
        edges: Lower and higher vertex of each edge, in increasing order, shape (2, edges).
    """

    mesh: SimplexMesh
    edges: npt.NDArray[np.int64]

    @staticmethod
    def of(mesh: SimplexMesh) -> Nodes:
        cells, n = np.sort(mesh.cells(), axis=0), mesh.num_vertices
        pairs = [cells[i] * n + cells[j] for j in range(len(cells)) for i in range(j)]
        edges = np.stack(np.divmod(np.unique(np.concatenate(pairs)), n))
        edges.flags.writeable = False
        return Nodes(mesh, edges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nodes) and self.mesh == other.mesh

    def __hash__(self) -> int:
        return hash(self.mesh)

    @property
    def num_vertices(self) -> int:
        return self.mesh.num_vertices + self.edges.shape[1]

    def vertices(self) -> npt.NDArray[np.float64]:
        """Coordinates of the nodes, shape (dim, num_vertices)."""
        vertices = self.mesh.vertices()
        a, b = vertices[:, self.edges[0]], vertices[:, self.edges[1]]
        return np.concatenate([vertices, a + (b - a) / 2], axis=1)

    def between(self, a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The nodes in the middle of vertices a and b; a itself if b = a.

        Raises:
            ValueError: Two vertices are not the ends of an edge.
        """
        n = self.mesh.num_vertices
        keys = self.edges[0] * n + self.edges[1]
        wanted = np.minimum(a, b) * n + np.maximum(a, b)
        places = np.searchsorted(keys, wanted).clip(max=max(keys.size - 1, 0))
        missing = (a != b) & (keys[places] != wanted)
        if missing.any():
            first = np.flatnonzero(missing)[0]
            raise ValueError(
                f"{np.count_nonzero(missing)} of {missing.size} pairs of vertices have no edge, "
                f"the first is {a[first]} and {b[first]}"
            )
        return np.where(a == b, a, n + places)
