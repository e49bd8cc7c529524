# SPDX-License-Identifier: MIT
"""Sparse exchange: items travel to the ranks that are to see them, and answers travel back.

Nobody knows beforehand who will write to whom. Ranks find out without asking all others: everyone
sends synchronously, receives whatever arrives, and enters a non-blocking barrier once its own
messages have been taken (Hoefler, Siebert, Lumsdaine 2010, "Scalable communication protocols for
dynamic sparse data exchange"). A rank sends one message to each rank that it addresses, in pieces
where it is longer than MPI counts.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled

if TYPE_CHECKING:
    from mpi4py import MPI

#: Tags 0 and 1 are those of `Exchange.send`.
SWAP_TAG = 2

#: Bytes of the longest message: MPI counts bytes in 32 bits.
MAX_BYTES = 1 << 30


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
    starts: npt.NDArray[np.int64]

    @staticmethod
    def of(
        destinations: npt.NDArray, size: int, positions: npt.NDArray[np.int64] | None = None
    ) -> Parcels:
        """Parcels from the rank, below size, that each item goes to.

        Args:
            destinations: Shape (n,), integers.
            size: Number of ranks.
            positions: Of the items, shape (n,); 0, …, n − 1 by default.
        """
        places = np.arange(destinations.size) if positions is None else positions
        counts, order = sorted_by_key(destinations, size, places)
        ranks = np.flatnonzero(counts)
        starts = np.concatenate([[0], np.cumsum(counts[ranks])])
        return Parcels(order, tuple(int(rank) for rank in ranks), starts)

    def pack(self, columns: npt.NDArray, dtype: npt.DTypeLike = None) -> list[npt.NDArray]:
        """The columns (k, n) that go to each rank, contiguous, of this dtype or their own."""
        packed = self.room((len(columns),), dtype or columns.dtype)
        if packed:
            _gather(columns, self.order, self.starts, packed[0].base)
        return packed

    def room(self, lead: tuple[int, ...], dtype: npt.DTypeLike) -> list[npt.NDArray]:
        """Room for (*lead, n) numbers, one array for each rank addressed, all in one."""
        rows = int(np.prod(lead))
        flat = np.empty(rows * self.order.size, dtype)
        return [
            flat[rows * a : rows * b].reshape(*lead, -1)
            for a, b in itertools.pairwise(map(int, self.starts))
        ]

    def kept(self, masks: Sequence[npt.NDArray[np.uint8]]) -> Parcels:
        """Those items, of what goes to each rank, that a mask is 1 at; perhaps none to some."""
        mask = np.concatenate([*masks, np.empty(0, np.uint8)]).astype(np.bool_)
        starts = np.concatenate([[0], np.cumsum([mask.sum() for mask in masks], dtype=np.int64)])
        return Parcels(self.order[mask], self.ranks, starts)

    def unpack(self, packed: Sequence[npt.NDArray], out: npt.NDArray) -> None:
        """Writes what `room` has received to the positions of the items in out, (*lead, n)."""
        if packed:
            rows = out.reshape(-1, out.shape[-1])
            _scatter(packed[0].base, self.order, self.starts, rows)


@compiled
def sorted_by_key(keys: Any, size: Any, items: Any) -> Any:
    """How often each key 0 … size − 1 occurs, and the items, those of each key together."""
    counts = np.zeros(size, np.int64)
    for key in keys:
        counts[key] += 1
    if counts.max() == keys.size:
        return counts, items
    place = np.cumsum(counts) - counts
    order = np.empty_like(items)
    for k in range(keys.size):
        key = keys[k]
        order[place[key]] = items[k]
        place[key] += 1
    return counts, order


@compiled
def _gather(columns: Any, order: Any, starts: Any, flat: Any) -> None:
    rows = len(columns)
    for part in range(starts.size - 1):
        first, end = starts[part], starts[part + 1]
        for row in range(rows):
            shift = rows * first + row * (end - first) - first
            for n in range(first, end):
                flat[shift + n] = columns[row, order[n]]


@compiled
def _scatter(flat: Any, order: Any, starts: Any, out: Any) -> None:
    rows = len(out)
    for part in range(starts.size - 1):
        first, end = starts[part], starts[part + 1]
        for row in range(rows):
            shift = rows * first + row * (end - first) - first
            for n in range(first, end):
                out[row, order[n]] = flat[shift + n]


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
        arrived: dict[int, list[npt.NDArray]] = {}
        pending = []
        for rank, array in self._from_here_on(ranks, arrays):
            if rank == self.comm.rank:
                arrived[rank] = [_bytes(array)]
            else:
                pending += [self.comm.Issend(piece, rank, tag) for piece in _pieces(array)]
        barrier = None
        status = MPI.Status()
        while barrier is None or not barrier.Test():
            message = self.comm.Improbe(MPI.ANY_SOURCE, tag, status)
            if message is not None:
                buffer = np.empty(status.Get_count(MPI.BYTE), np.uint8)
                message.Recv(buffer)
                arrived.setdefault(status.Get_source(), []).append(buffer)
                continue
            while pending and pending[-1].Test():
                pending.pop()
            if barrier is None and not pending:
                barrier = self.comm.Ibarrier()
            os.sched_yield()
        sources = sorted(arrived)
        return sources, [_joined(arrived[source]) for source in sources]

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
                requests += [self.comm.Irecv(piece, source, SWAP_TAG) for piece in _pieces(buffer)]
        for rank, array in self._from_here_on(ranks, arrays):
            if rank != self.comm.rank:
                whole = np.ascontiguousarray(array)
                requests += [self.comm.Isend(piece, rank, SWAP_TAG) for piece in _pieces(whole)]
        MPI.Request.Waitall(requests)


def _bytes(array: npt.NDArray) -> npt.NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)


def _pieces(array: npt.NDArray) -> Iterable[npt.NDArray[np.uint8]]:
    whole = _bytes(array)
    return (whole[first : first + MAX_BYTES] for first in range(0, whole.size, MAX_BYTES))


def _joined(pieces: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


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
