# SPDX-License-Identifier: MIT
"""The nodes of P2 functions on simplices, and how far such functions are from their P1 parts.

A P2 function is its P1 part and one bump 4 λᵢ λⱼ for each edge, by the edge's surplus: the value at
its middle less the mean of its ends' values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fe_relu.basics.ordering import distinct, sorted_columns
from fe_relu.meshes.grid.midpoints import bump_size
from fe_relu.meshes.mesh import EdgeNodes


def pairs(corners: int) -> list[tuple[int, int]]:
    """The corners that each edge of a cell joins, in the order (0, 1), (0, 2), (1, 2), (0, 3)."""
    return [(i, j) for j in range(corners) for i in range(j)]


@dataclass(frozen=True, eq=False)
class Nodes:
    """The nodes of P2 functions: the vertices of cells, then the middles of their edges.

    Args:
        corners: Coordinates of the vertices, shape (dim, n).
        edges: Lower and higher vertex of each edge, in increasing order, shape (2, edges).
    """

    corners: npt.NDArray[np.float64]
    edges: npt.NDArray[np.int64]

    @staticmethod
    def of(vertices: npt.NDArray[np.float64], cells: npt.NDArray[np.int64]) -> Nodes:
        """Of all vertices (dim, n), and the edges of cells (dim + 1, m)."""
        cells, n = sorted_columns(cells), vertices.shape[1]
        keys = np.concatenate([cells[i] * n + cells[j] for i, j in pairs(len(cells))])
        edges = np.stack(np.divmod(distinct(keys)[0], max(n, 1)))
        edges.flags.writeable = False
        return Nodes(vertices, edges)

    @property
    def num_corners(self) -> int:
        return self.corners.shape[1]

    @property
    def num_vertices(self) -> int:
        return self.num_corners + self.edges.shape[1]

    def vertices(self) -> npt.NDArray[np.float64]:
        """Coordinates of the nodes, shape (dim, num_vertices)."""
        a, b = self.corners[:, self.edges[0]], self.corners[:, self.edges[1]]
        return np.concatenate([self.corners, a + (b - a) / 2], axis=1)

    @property
    def numbered(self) -> EdgeNodes:
        """The nodes of vertices and edges."""
        n = self.num_corners
        return EdgeNodes(np.arange(n), self.edges, np.arange(n, self.num_vertices))

    def surpluses(self, values: npt.NDArray) -> npt.NDArray:
        """Of each edge, from values (k, n) at the nodes."""
        n, half = self.num_corners, values.dtype.type(0.5)
        a, b = values[:, self.edges[0]], values[:, self.edges[1]]
        return values[:, n:] - half * (a + b)

    @cached_property
    def _keys(self) -> npt.NDArray[np.int64]:
        return self.edges[0] * self.num_corners + self.edges[1]

    def edge_of(self, a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The number of the edge between vertices a and b, −1 where there is none.

        Numbers from `num_corners` on are vertices of the ring, of which the mesh has no edge.
        """
        wanted = np.minimum(a, b) * self.num_corners + np.maximum(a, b)
        places = np.searchsorted(self._keys, wanted).clip(max=max(self._keys.size - 1, 0))
        is_edge = (self._keys[places] == wanted) & (np.maximum(a, b) < self.num_corners)
        return np.where(is_edge, places, -1)

    def of_cells(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The edges of cells (dim + 1, m), shape (edges of a cell, m); −1 where there is none."""
        return np.stack([self.edge_of(cells[i], cells[j]) for i, j in pairs(len(cells))])

    def between(self, a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The nodes in the middle of vertices a and b; a itself if b = a.

        Raises:
            ValueError: Two vertices are not the ends of an edge.
        """
        edges = self.edge_of(a, b)
        missing = (a != b) & (edges < 0)
        if missing.any():
            first = np.flatnonzero(missing)[0]
            raise ValueError(
                f"{np.count_nonzero(missing)} of {missing.size} pairs of vertices have no edge, "
                f"the first is {a[first]} and {b[first]}"
            )
        return np.where(a == b, a, self.num_corners + edges)


def bump_sizes(surpluses: npt.NDArray) -> npt.NDArray[np.float64]:
    """Sup |Σ 4 s λᵢ λⱼ| over cells with edge surpluses (k, edges of a cell, m); shape (k, m).

    On intervals and triangles exactly, whatever the order of edges. On tetrahedra a bound, also for
    4^levels times what products of any depth lack, which is between 0 and 1 for each edge.
    """
    if surpluses.shape[1] == 1:
        return np.abs(surpluses[:, 0]).astype(np.float64)
    if surpluses.shape[1] == 3:
        return bump_size(*surpluses.swapaxes(0, 1))
    surpluses = surpluses.astype(np.float64)
    above, below = np.maximum(surpluses, 0).sum(axis=1), np.maximum(-surpluses, 0).sum(axis=1)
    return np.maximum(above, below)
