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
from fe_relu.meshes.simplices.sharing.share import Share

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


@dataclass(frozen=True)
class SpreadNodes:
    """The nodes of P2 functions on a mesh that no rank holds whole, of which each has a share."""

    num_vertices: int


@dataclass(frozen=True, eq=False)
class SpreadMesh:
    """A mesh whose cells live on the ranks that have them in dolfinx; see `meshes.mesh.Mesh`.

    Meshes are equal if this rank's shares are.

    Args:
        share: What this rank holds.
        extent: What all know.
        num_nodes: Of P2 functions on the whole mesh, where these are shared out.
    """

    is_partial = True
    is_simplicial = True
    is_structured = False
    slack = 0.0

    share: Share
    extent: Extent
    num_nodes: int = 0

    @cached_property
    def digest(self) -> bytes:
        share = self.share
        digest = hashlib.blake2b(repr(self.extent).encode(), digest_size=32)
        for array in (share.vertices, share.numbers(), share.own, share.cells, share.mine):
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
        return self.share.own_cells

    def contribution(self, degree: int) -> tuple[npt.NDArray, ...]:
        """What `joined` wants of this rank.

        The vertices that count for it, by increasing number; its cells, corners by those numbers;
        and for P2 functions the nodes at those vertices, and both ends and the node of its edges.
        """
        share = self.share
        cells = share.numbers()[share.own_cells]
        if degree == 1:
            return share.vertices[:, share.own], cells
        numbers, (places, edges) = share.refined(2), share.own_edges
        ends = share.numbers()[edges]
        nodes = numbers.numbers()[places]
        return (
            share.vertices[:, share.own],
            cells,
            numbers.numbers()[None, share.own],
            np.concatenate([ends, nodes[None]]),
        )

    @staticmethod
    def joined(vertices: npt.NDArray, cells: Ints, *nodes: Ints) -> tuple[SimplexMesh, Ints]:
        """The whole mesh from the contributions of all ranks, side by side.

        And for each of its vertices, or of the nodes of P2 functions, which it is of these.
        """
        order = order_of(*vertices)
        place = inverse(order)
        cells = sorted_columns(place[cells])
        mesh = SimplexMesh(vertices[:, order], cells[:, order_of(*cells)])
        if not nodes:
            return mesh, order
        at_vertices, (a, b, at_edges) = nodes
        everywhere = np.empty(mesh.nodes.num_vertices, np.int64)
        everywhere[: order.size] = at_vertices[0, order]
        everywhere[mesh.midpoints(place[a], place[b])] = at_edges
        return mesh, everywhere

    def refined(self, factor: int) -> SpreadMesh | SpreadNodes:
        return self if factor == 1 else SpreadNodes(self.num_nodes)

    def midpoints(self, a: Ints, b: Ints) -> Ints:
        """As of a `SimplexMesh`, of vertices that are in this rank's share."""
        share = self.share
        nodes = share.nodes.between(share.local_numbers(a), share.local_numbers(b))
        return share.refined(2).numbers()[nodes]

    def resolution(self, dtype: Any = np.float64, points: npt.NDArray | None = None) -> float:
        """As of a `SimplexMesh`."""
        return self.extent.roundoff(dtype, points) / self.step

    def contains(self, x: npt.NDArray) -> npt.NDArray[np.bool_]:
        raise ValueError(GATHER)

    def shifts(self, points: npt.NDArray, nodes: Ints, degree: int) -> npt.NDArray:
        """As of a `SimplexMesh`, of vertices that are in this rank's share."""
        places = self.share.refined(degree).local_numbers(nodes)
        there = (self.share.vertices if degree == 1 else self.share.nodes.vertices())[:, places]
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
