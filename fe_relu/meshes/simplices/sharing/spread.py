# SPDX-License-Identifier: MIT
"""A mesh of simplices that no rank holds whole, and who holds what of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.basics.ordering import inverse, order_of, sorted_columns
from fe_relu.meshes.simplices.mesh import ROUNDOFF_UNITS, SimplexMesh
from fe_relu.meshes.simplices.sharing.directory import Directory
from fe_relu.meshes.simplices.sharing.share import Share, require_p1

Ints = npt.NDArray[np.int64]

#: What to do where the whole mesh is needed.
GATHER = "each rank holds a share of the mesh only; network.gather() is the whole on each"


class Extent(NamedTuple):
    """What every rank knows of the whole mesh.

    Args:
        num_vertices: Of all ranks.
        num_cells: Likewise.
        size: The largest |coordinate|.
        step: The least height of a cell.
        mark: The sum of `mark_of` of all ranks' own cells, modulo 2⁶⁴.
    """

    num_vertices: int
    num_cells: int
    size: float
    step: float
    mark: int

    def roundoff(self, dtype: Any = np.float64, points: npt.NDArray | None = None) -> float:
        """The distance below which coordinates do not tell points apart; see `SimplexMesh`."""
        size = self.size if points is None else max(self.size, np.abs(points).max(initial=0))
        return float(ROUNDOFF_UNITS * np.finfo(dtype).eps * size)


@dataclass(frozen=True, eq=False)
class SpreadMesh:
    """A mesh whose cells live on the ranks that have them in dolfinx; see `meshes.mesh.Mesh`.

    Meshes are equal if this rank's shares are.

    Args:
        share: What this rank holds.
        extent: What all know.
    """

    is_partial = True
    is_simplicial = True
    is_structured = False
    slack = 0.0

    share: Share
    extent: Extent

    @cached_property
    def digest(self) -> bytes:
        share = self.share
        digest = hashlib.blake2b(repr(self.extent).encode(), digest_size=32)
        for array in (share.vertices, share.global_numbers, share.own, share.cells, share.mine):
            digest.update(np.ascontiguousarray(array))
        return digest.digest()

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, SpreadMesh) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def dim(self) -> int:
        return len(self.share.vertices)

    @property
    def num_vertices(self) -> int:
        return self.extent.num_vertices

    @property
    def num_cells(self) -> int:
        return self.extent.num_cells

    @property
    def step(self) -> float:
        """The least height of a cell, of all ranks."""
        return self.extent.step

    def vertices(self) -> npt.NDArray[np.float64]:
        """Coordinates of the vertices in this rank's share."""
        return self.share.vertices

    def cells(self) -> Ints:
        """The cells that are this rank's own, by the places of their corners among `vertices`."""
        own = self.share.mine & (self.share.cells.max(axis=0) < self.share.num_vertices)
        return self.share.cells[:, own]

    @property
    def contribution(self) -> tuple[npt.NDArray[np.float64], Ints]:
        """What `joined` wants: the vertices that count for this rank, and its cells.

        Vertices are by increasing number in the whole mesh, corners are those numbers.
        """
        share = self.share
        return share.vertices[:, share.own], share.global_numbers[self.cells()]

    @staticmethod
    def joined(vertices: npt.NDArray, cells: Ints) -> tuple[SimplexMesh, Ints]:
        """The whole mesh from the contributions of all ranks, side by side.

        And for each of its vertices, which it is of these.
        """
        order = order_of(*vertices)
        cells = sorted_columns(inverse(order)[cells])
        return SimplexMesh(vertices[:, order], cells[:, order_of(*cells)]), order

    def refined(self, factor: int) -> SpreadMesh:
        require_p1(factor)
        return self

    def resolution(self, dtype: Any = np.float64, points: npt.NDArray | None = None) -> float:
        """As of a `SimplexMesh`."""
        return self.extent.roundoff(dtype, points) / self.step

    def contains(self, x: npt.NDArray) -> npt.NDArray[np.bool_]:
        raise ValueError(GATHER)

    def shifts(self, points: npt.NDArray, nodes: Ints, degree: int) -> npt.NDArray:
        """As of a `SimplexMesh`, of vertices that are in this rank's share."""
        require_p1(degree)
        there = self.share.vertices[:, self.share.local_numbers(nodes)]
        return np.abs(points - there).sum(axis=0) / self.step

    def matches(self, other: Any, dtype: Any = np.float64, *, rtol: float = 0.0) -> bool:
        """Whether both are one mesh, shared out alike or not, but for a chance of 2⁻⁶⁴."""
        return isinstance(other, SpreadMesh) and self.extent == other.extent


def mark_of(vertices: npt.NDArray, cells: Ints) -> int:
    """A number of a set of cells, of vertices (dim, n), that does not depend on their order."""
    return int(_mark(np.ascontiguousarray(vertices).view(np.uint64), cells))


@compiled
def _mark(words: Any, cells: Any) -> Any:
    """The sum over cells of a hash of their corners' coordinates."""
    total = np.uint64(0)
    for k in range(cells.shape[1]):
        one = np.uint64(0xCBF29CE484222325)
        for i in range(len(cells)):
            for axis in range(len(words)):
                one = (one ^ words[axis, cells[i, k]]) * np.uint64(0x9E3779B97F4A7C15)
                one ^= one >> np.uint64(29)
        total += one
    return total


@dataclass(frozen=True)
class Partition:
    """Who holds what of a mesh, as one rank knows it; see `fe_relu.parallel.layouts.Division`.

    Args:
        mesh: The mesh.
        rank: This rank.
        starts: Rank r owns the vertices starts[r] … starts[r + 1] − 1.
        holders_of_own: All pairs of a vertex that this rank owns and a rank in whose share it is:
            the vertices, increasing, and the ranks.
        directory: Who may hold a point.
    """

    asks_several = True

    mesh: SpreadMesh
    rank: int
    starts: Ints
    holders_of_own: tuple[Ints, Ints]
    directory: Directory

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Partition) and self.mesh == other.mesh

    def __hash__(self) -> int:
        return hash(self.mesh)

    @property
    def num_vertices(self) -> int:
        return self.mesh.num_vertices

    def part(self, rank: int) -> Share:
        """The share of this rank, which knows no other."""
        assert rank == self.rank
        return self.mesh.share

    def side_by_side(self) -> Ints:
        """The numbers of the vertices that count for each rank, rank by rank."""
        return np.arange(self.num_vertices)

    def owners(self, vertices: Ints) -> Ints:
        """The one rank that each vertex counts for."""
        return np.searchsorted(self.starts, vertices, side="right") - 1

    def holders(self, vertices: Ints) -> tuple[Ints, Ints]:
        """Every rank that holds one of the vertices that count for this rank: (position, rank)."""
        owned, ranks = self.holders_of_own
        order = order_of(vertices)
        first = np.searchsorted(owned, vertices[order])
        counts = np.searchsorted(owned, vertices[order], side="right") - first
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
        require_p1(factor)
        return self
