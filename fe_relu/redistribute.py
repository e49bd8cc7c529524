# SPDX-License-Identifier: MIT
"""Nodal values move between the partition of a mesh and the blocks of its grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu.blocks import Blocks
from fe_relu.exchange import Exchange, Parcels, exchange_on
from fe_relu.grid import Grid

if TYPE_CHECKING:
    from mpi4py import MPI


def aligned_blocks(
    comm: MPI.Comm, grid: Grid, vertices: npt.NDArray[np.int64], unit: int = 1
) -> Blocks:
    """Blocks given to the ranks that own most of their vertices already. Collective.

    So that values move little, and points of a rank's own cells mostly not at all. One number from
    each rank decides; `vertices` are the grid's numbers of the dofs that this rank owns. Blocks are
    cut at multiples of unit.
    """
    found = []
    for layout in Blocks.layouts(grid, comm.size, unit):
        favourite, number = layout.favourite(grid, vertices)
        blocks = layout.claimed(comm.allgather(favourite))
        mine = favourite >= 0 and blocks.ranks[favourite] == comm.rank
        found.append((comm.allreduce(number if mine else 0), blocks))
    return max(found, key=lambda pair: pair[0])[1]


@dataclass(frozen=True, eq=False)
class Redistribution:
    """The way of nodal values from the ranks that own dofs to all windows that hold the vertices.

    Found once; then each use sends one message to each rank addressed.
    """

    exchange: Exchange
    positions: npt.NDArray[np.int64]  # owned dof of each value sent, before sorting by rank
    parcels: Parcels
    sources: Sequence[int]
    places: Sequence[npt.NDArray[np.int64]]  # place in the window of each value received
    num_values: int

    @staticmethod
    def of(
        comm: MPI.Comm, grid: Grid, blocks: Blocks, vertices: npt.NDArray[np.int64]
    ) -> Redistribution:
        """Collective; `vertices` are the grid's numbers of the dofs that this rank owns."""
        exchange, window = exchange_on(comm), blocks.window(comm.rank)
        positions, ranks = blocks.holders(grid, vertices)
        parcels = Parcels.of(ranks, comm.size)
        sources, numbers = exchange.send(parcels.ranks, parcels.pack(vertices[None, positions]))
        places = [window.local_numbers(grid, sent.view(np.int64)) for sent in numbers]
        count = window.num_vertices(grid.has_centres)
        return Redistribution(exchange, positions, parcels, sources, places, count)

    def values(self, owned: npt.NDArray) -> npt.NDArray:
        """Window values (k, num_values) from owned values (k, n). Collective."""
        packed = self.parcels.pack(owned[:, self.positions])
        received = [np.empty((len(owned), place.size), owned.dtype) for place in self.places]
        self.exchange.swap(self.parcels.ranks, packed, self.sources, received)
        values = np.empty((len(owned), self.num_values), owned.dtype)
        for place, columns in zip(self.places, received, strict=True):
            values[:, place] = columns
        return values


def fetch(
    comm: MPI.Comm, grid: Grid, blocks: Blocks, values: npt.NDArray, vertices: npt.NDArray
) -> npt.NDArray:
    """Values at any vertices of the grid, from the windows that hold them. Collective.

    Args:
        comm: The communicator of the blocks.
        grid: The whole grid.
        blocks: Who holds what.
        values: This rank's window values, shape (k, n_window).
        vertices: The grid's numbers of the vertices wanted here, shape (n,).

    Returns:
        Shape (k, n).
    """
    exchange, window = exchange_on(comm), blocks.window(comm.rank)
    parcels = Parcels.of(blocks.owners(grid, vertices), comm.size)
    sources, wanted = exchange.send(parcels.ranks, parcels.pack(vertices[None]))
    answers = [values[:, window.local_numbers(grid, sent.view(np.int64))] for sent in wanted]
    received = parcels.like((len(values),), values.dtype)
    exchange.swap(sources, answers, parcels.ranks, received)
    return parcels.unpack(received) if received else np.empty((len(values), 0), values.dtype)
