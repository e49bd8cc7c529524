# SPDX-License-Identifier: MIT
"""Values at vertices move between the ranks that own them and the parts of a divided mesh."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.parallel.agreement import gather_columns
from fe_relu.parallel.exchange import Exchange, Parcels, exchange_on

if TYPE_CHECKING:
    from mpi4py import MPI

    from fe_relu.parallel.layouts import Division


def aligned(comm: MPI.Comm, divisions: Iterable[Any], vertices: npt.NDArray[np.int64]) -> Any:
    """The division, its parts given to ranks that own most of their vertices already. Collective.

    So that values move little, and points of a rank's own cells mostly not at all. One number from
    each rank decides.

    Args:
        comm: The ranks.
        divisions: Ways to divide the mesh, with `favourite` and `claimed` as `Blocks` has them.
        vertices: Numbers of the vertices that this rank owns.
    """
    found = []
    for division in divisions:
        favourite, number = division.favourite(vertices)
        claimed = division.claimed(comm.allgather(favourite))
        mine = favourite >= 0 and claimed.ranks[favourite] == comm.rank
        found.append((comm.allreduce(number if mine else 0), claimed))
    return max(found, key=lambda pair: pair[0])[1]


@dataclass(frozen=True, eq=False)
class Redistribution:
    """The way of values from the ranks that own vertices to all parts that hold them.

    Found once; then each use sends one message to each rank addressed.
    """

    exchange: Exchange
    parcels: Parcels  # by positions among the owned vertices
    sources: Sequence[int]
    places: Sequence[npt.NDArray[np.int64]]  # place in the part of each value received
    num_values: int

    @staticmethod
    def of(comm: MPI.Comm, division: Division, vertices: npt.NDArray[np.int64]) -> Redistribution:
        """Collective; `vertices` are the numbers of those that this rank owns."""
        exchange, part = exchange_on(comm), division.part(comm.rank)
        positions, ranks = division.holders(vertices)
        parcels = Parcels.of(ranks, comm.size, positions)
        sources, numbers = exchange.send(parcels.ranks, parcels.pack(vertices[None]))
        places = [part.local_numbers(sent.view(np.int64)) for sent in numbers]
        return Redistribution(exchange, parcels, sources, places, part.num_vertices)

    def values(self, owned: npt.NDArray) -> npt.NDArray:
        """Values of the part (k, num_values) from owned values (k, n). Collective."""
        packed = self.parcels.pack(owned)
        received = [np.empty((len(owned), place.size), owned.dtype) for place in self.places]
        self.exchange.swap(self.parcels.ranks, packed, self.sources, received)
        values = np.empty((len(owned), self.num_values), owned.dtype)
        for place, columns in zip(self.places, received, strict=True):
            values[:, place] = columns
        return values


def fetch(
    comm: MPI.Comm, division: Division, values: npt.NDArray, vertices: npt.NDArray
) -> npt.NDArray:
    """Values at any vertices of the mesh, from the parts that hold them. Collective.

    Args:
        comm: The communicator of the division.
        division: Who holds what.
        values: This rank's values, shape (k, n_part).
        vertices: The numbers of the vertices wanted here, shape (n,).

    Returns:
        Shape (k, n).
    """
    exchange, part = exchange_on(comm), division.part(comm.rank)
    parcels = Parcels.of(division.owners(vertices), comm.size)
    sources, wanted = exchange.send(parcels.ranks, parcels.pack(vertices[None]))
    answers = [values[:, part.local_numbers(sent.view(np.int64))] for sent in wanted]
    received = parcels.room((len(values),), values.dtype)
    exchange.swap(sources, answers, parcels.ranks, received)
    out = np.empty((len(values), vertices.size), values.dtype)
    parcels.unpack(received, out)
    return out


def gather_parts(
    comm: MPI.Comm, division: Division, values: npt.NDArray, root: int | None
) -> npt.NDArray | None:
    """The values of the whole mesh from those of its parts, (…, n) both. Collective.

    On every rank, or on root alone and None elsewhere.
    """
    own = division.part(comm.rank).own
    columns = gather_columns(comm, np.atleast_2d(values)[:, own], root)
    if columns is None:
        return None
    whole = np.empty((len(columns), division.num_vertices), columns.dtype)
    whole[:, division.side_by_side()] = columns
    return whole.reshape(*values.shape[:-1], -1)
