# SPDX-License-Identifier: MIT
"""Sparse exchange: items travel to the ranks that are to see them, and answers travel back.

Nobody knows beforehand who will write to whom. Ranks find out without asking all others: everyone
sends synchronously, receives whatever arrives, and enters a non-blocking barrier once its own
messages have been taken (Hoefler, Siebert, Lumsdaine 2010, "Scalable communication protocols for
dynamic sparse data exchange"). A rank sends one message to each rank that it addresses.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu import ownership

if TYPE_CHECKING:
    from mpi4py import MPI

#: Tags 0 and 1 are those of `Exchange.send`.
SWAP_TAG = 2


@dataclass(frozen=True)
class Parcels:
    """Items sorted by the rank they go to; what stays on this rank is among them.

    Args:
        order: Positions of the items, those for one rank together, shape (n,).
        ranks: Ranks addressed, increasing.
        starts: Items for ranks[k] are order[starts[k] : starts[k + 1]].
    """

    order: npt.NDArray[np.int64]
    ranks: tuple[int, ...]
    starts: tuple[int, ...]

    @staticmethod
    def of(destinations: npt.NDArray, size: int) -> Parcels:
        """Parcels from the rank, below size, that each item goes to."""
        counts, order = ownership.sort_by_key(destinations, size)
        ranks = [rank for rank, count in enumerate(counts) if count > 0]
        starts = itertools.accumulate((int(counts[rank]) for rank in ranks), initial=0)
        return Parcels(order, tuple(ranks), tuple(starts))

    def pack(self, columns: npt.NDArray) -> list[npt.NDArray]:
        """The columns (k, n) that go to each rank, contiguous."""
        if len(self.ranks) == 1:
            return [np.ascontiguousarray(columns)]
        return [np.array([row[self.order[part]] for row in columns]) for part in self._parts()]

    def like(self, lead: tuple[int, ...], dtype: npt.DTypeLike) -> list[npt.NDArray]:
        """Room for answers of shape (*lead, n), one array for each rank addressed."""
        return [np.empty((*lead, part.stop - part.start), dtype) for part in self._parts()]

    def unpack(self, packed: Sequence[npt.NDArray]) -> npt.NDArray:
        """Answers in the order of the items, from those of each rank addressed."""
        if len(packed) == 1:
            return packed[0]
        rows = math.prod(packed[0].shape[:-1])
        out = np.empty((rows, self.order.size), packed[0].dtype)
        for part, columns in zip(self._parts(), packed, strict=True):
            for row, values in zip(out, columns.reshape(rows, -1), strict=True):
                row[self.order[part]] = values
        return out.reshape(*packed[0].shape[:-1], -1)

    def _parts(self) -> list[slice]:
        return [slice(a, b) for a, b in itertools.pairwise(self.starts)]


class Exchange:
    """Messages between the ranks of a communicator, apart from all other messages on it."""

    def __init__(self, comm: MPI.Comm) -> None:
        self.comm = comm.Dup()
        self.rounds = 0

    def send(
        self, ranks: Sequence[int], arrays: Sequence[npt.NDArray]
    ) -> tuple[list[int], list[npt.NDArray]]:
        """Sends arrays[k] to ranks[k]. Collective.

        All arrays, on all ranks, have the same dtype and number of rows, and some column.

        Returns:
            The ranks that wrote to this one, increasing, and the bytes that each wrote.
        """
        from mpi4py import MPI

        # A fast rank may be one round ahead of a slow one, never two: two tags keep them apart.
        tag = self.rounds % 2
        self.rounds += 1
        arrived: dict[int, npt.NDArray] = {}
        pending = []
        for rank, array in self._from_here_on(ranks, arrays):
            if rank == self.comm.rank:
                arrived[rank] = _bytes(array)
            else:
                pending.append(self.comm.Issend(_bytes(array), rank, tag))
        barrier = None
        status = MPI.Status()
        while barrier is None or not barrier.Test():
            message = self.comm.Improbe(MPI.ANY_SOURCE, tag, status)
            if message is not None:
                buffer = np.empty(status.Get_count(MPI.BYTE), np.uint8)
                message.Recv(buffer)
                arrived[status.Get_source()] = buffer
                continue
            while pending and pending[-1].Test():
                pending.pop()
            if barrier is None and not pending:
                barrier = self.comm.Ibarrier()
            os.sched_yield()
        sources = sorted(arrived)
        return sources, [arrived[source] for source in sources]

    def _from_here_on(
        self, ranks: Sequence[int], arrays: Sequence[npt.NDArray]
    ) -> list[tuple[int, npt.NDArray]]:
        """What goes to whom, the next higher rank first, lest all write to rank 0 at once."""
        size, own = self.comm.size, self.comm.rank
        return sorted(zip(ranks, arrays, strict=True), key=lambda pair: (pair[0] - own) % size)

    def swap(
        self,
        ranks: Sequence[int],
        arrays: Sequence[npt.NDArray],
        sources: Sequence[int],
        expected: Sequence[npt.NDArray],
    ) -> None:
        """Sends arrays[k] to ranks[k] and receives from sources[k] into expected[k].

        Among ranks that know of each other, and of the sizes, from a `send` before.
        """
        from mpi4py import MPI

        requests = []
        for source, buffer in zip(sources, expected, strict=True):
            if source == self.comm.rank:
                buffer[...] = arrays[list(ranks).index(source)]
            else:
                requests.append(self.comm.Irecv(_bytes(buffer), source, SWAP_TAG))
        for rank, array in self._from_here_on(ranks, arrays):
            if rank != self.comm.rank:
                requests.append(
                    self.comm.Isend(_bytes(np.ascontiguousarray(array)), rank, SWAP_TAG)
                )
        MPI.Request.Waitall(requests)


def _bytes(array: npt.NDArray) -> npt.NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)


_KEYVAL: list[int] = []


def exchange_on(comm: MPI.Comm) -> Exchange:
    """The exchange of this communicator: made once and kept with it. Collective the first time."""
    from mpi4py import MPI

    if not _KEYVAL:
        _KEYVAL.append(MPI.Comm.Create_keyval(delete_fn=lambda _comm, _key, own: own.comm.Free()))
    known = comm.Get_attr(_KEYVAL[0])
    if isinstance(known, Exchange):
        return known
    exchange = Exchange(comm)
    comm.Set_attr(_KEYVAL[0], exchange)
    return exchange
