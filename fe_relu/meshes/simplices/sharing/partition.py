# SPDX-License-Identifier: MIT
"""Who holds what of a mesh that no rank holds whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.ordering import order_of
from fe_relu.meshes.simplices.sharing.directory import Directory
from fe_relu.meshes.simplices.sharing.spread import SpreadMesh

Ints = npt.NDArray[np.int64]


class Holders(NamedTuple):
    """Who has the vertices of a mesh, or the nodes of P2 functions on it.

    Args:
        starts: Those of rank r are starts[r] … starts[r + 1] − 1.
        own: All pairs of one that is of this rank and a rank in whose share it is: the numbers,
            increasing.
        ranks: The ranks.
    """

    starts: Ints
    own: Ints
    ranks: Ints


@dataclass(frozen=True)
class Partition:
    """Who holds what of a mesh, as one rank knows it; see `fe_relu.parallel.layouts.Division`.

    Args:
        mesh: The mesh.
        rank: This rank.
        directory: Who may hold a point.
        holders_of: Vertices, and where P2 functions are shared out, nodes.
        degree: Whether values are at vertices (1) or at nodes (2).
    """

    asks_several = True

    mesh: SpreadMesh
    rank: int
    directory: Directory
    holders_of: tuple[Holders, ...]
    degree: int = 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Partition):
            return False
        return self.degree == other.degree and self.mesh == other.mesh

    def __hash__(self) -> int:
        return hash((self.mesh, self.degree))

    @property
    def _here(self) -> Holders:
        return self.holders_of[self.degree - 1]

    @property
    def num_vertices(self) -> int:
        return int(self._here.starts[-1])

    def part(self, rank: int) -> Any:
        """The share of this rank, which knows no other."""
        assert rank == self.rank
        return self.mesh.share.refined(self.degree)

    def side_by_side(self) -> Ints:
        """The numbers of the vertices that count for each rank, rank by rank."""
        return np.arange(self.num_vertices)

    def owners(self, vertices: Ints) -> Ints:
        """The one rank that each vertex counts for."""
        return np.searchsorted(self._here.starts, vertices, side="right") - 1

    def holders(self, vertices: Ints) -> tuple[Ints, Ints]:
        """Every rank that holds one of the vertices that count for this rank: (position, rank)."""
        _, own, ranks = self._here
        order = order_of(vertices)
        first = np.searchsorted(own, vertices[order])
        counts = np.searchsorted(own, vertices[order], side="right") - first
        each = np.repeat(np.arange(order.size), counts)
        within = np.arange(each.size) - (np.cumsum(counts) - counts)[each]
        return order[each], ranks[first[each] + within]

    def candidates(
        self, x: npt.NDArray, positions: Ints, dtype: np.dtype
    ) -> tuple[Ints, npt.NDArray]:
        """The other ranks that may answer the points x[:, positions]: (position, rank)."""
        near = self.mesh.extent.roundoff(np.result_type(x.dtype, np.float32))
        return self.directory.candidates(x, positions, near, self.rank)

    def refined(self, factor: int) -> Partition:
        self.mesh.share.refined(factor)
        return replace(self, degree=self.degree * factor)
