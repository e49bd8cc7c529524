# SPDX-License-Identifier: MIT
"""How ranks decide together: local work, then one verdict for all, and only then messages.

Every rank reaches every collective. Local work that may fail runs inside `together`, with the facts
that choose what happens next; all ranks go on, or all raise the same error.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mpi4py import MPI


class Terms:
    """Facts that must be the same on all ranks, for they decide which messages come next."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}

    def alike(self, what: str, fact: object) -> None:
        """Demands that all ranks have this fact; `what` names it in the plural."""
        self.facts[what] = str(fact)

    def all_alike(self, facts: Mapping[str, object]) -> None:
        """Demands it of several, by their names."""
        for what, fact in facts.items():
            self.alike(what, fact)


@contextmanager
def together(comm: MPI.Comm | None) -> Iterator[Terms]:
    """Local work after which all ranks go on or all raise what the first failing rank raised.

    Collective over comm (None: this process alone), by one reduction. The body must not
    communicate. It may name terms: facts that ranks must share.

    Raises:
        BaseException: What the body raised on the lowest rank where it raised; on other ranks the
            message says which rank that was.
        TypeError: Ranks name different terms; the message says which.
    """
    terms, error = Terms(), None
    try:
        yield terms
    except BaseException as raised:  # an interrupt on one rank must not leave the others waiting
        error = raised
    settle(comm, error, terms.facts)


def settle(
    comm: MPI.Comm | None,
    error: BaseException | None,
    facts: dict[str, str],
    flags: Sequence[int] = (),
) -> list[int]:
    """Goes on with the largest of all ranks' flags, or raises on all; see `together`."""
    if comm is None or comm.size == 1:
        if error is not None:
            raise error
        return list(flags)
    comm = _meeting_of(comm)
    mark = zlib.crc32(repr(sorted(facts.items())).encode())
    failing = 0 if error is None else comm.size - comm.rank
    most_failing, most, minus_least, *found = _largest_numbers(comm, [failing, mark, -mark, *flags])
    if most_failing:
        raise _told_of(comm, comm.size - most_failing, error)
    if most != -minus_least:
        raise _disagreement(comm.allgather(facts))
    return found


_MEETING: list[MPI.Comm] = []


def _meeting_of(comm: MPI.Comm) -> MPI.Comm:
    """Where the ranks of comm meet: one place for all communicators of all ranks.

    Ranks may come with different ones, where one of them has passed a wrong argument.
    """
    from mpi4py import MPI

    if MPI.Comm.Compare(comm, MPI.COMM_WORLD) not in (MPI.IDENT, MPI.CONGRUENT):
        return comm
    if not _MEETING:
        _MEETING.append(MPI.COMM_WORLD.Dup())
    return _MEETING[0]


def _largest_numbers(comm: MPI.Comm, numbers: Sequence[int]) -> list[int]:
    from mpi4py import MPI

    found = np.array(numbers, np.int64)
    comm.Allreduce(MPI.IN_PLACE, found, MPI.MAX)
    return [int(number) for number in found]


def _told_of(comm: MPI.Comm, first: int, error: BaseException | None) -> BaseException:
    """What the first failing rank raised, as this rank is to raise it."""
    told = (_plain_type(error), _message(error)) if error is not None else None
    kind, message = comm.bcast(told, root=first)
    if error is not None and comm.rank == first:
        return error
    return kind(f"on rank {first}: {message}")


def _plain_type(error: BaseException) -> type[BaseException]:
    """The nearest of the error's types that can be sent, and made from a message."""
    for kind in type(error).__mro__:
        try:
            pickle.loads(pickle.dumps(kind))("message")
        except Exception:
            continue
        return RuntimeError if kind in (Exception, BaseException) else kind
    return RuntimeError


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return f"{type(error).__name__}, which has no message"


def _disagreement(everyone: list[dict[str, str]]) -> TypeError:
    for what in {what: None for facts in everyone for what in facts}:
        found = {facts.get(what, "nothing") for facts in everyone}
        if len(found) > 1:
            return TypeError(f"ranks pass different {what}: {', '.join(sorted(found))}")
    return TypeError("ranks make different calls")


def same_ranks(one: MPI.Comm | None, other: MPI.Comm) -> bool:
    """Whether two communicators are of the same ranks in the same order; None is of any rank."""
    from mpi4py import MPI

    return one is None or MPI.Comm.Compare(one, other) in (MPI.IDENT, MPI.CONGRUENT)


def rank_of(comm: MPI.Comm | None) -> int:
    return 0 if comm is None else comm.rank


def size_of(comm: MPI.Comm | None) -> int:
    return 1 if comm is None else comm.size


def gathered(comm: MPI.Comm | None, fact: Any) -> list[Any]:
    """What each rank has, in the order of ranks, on every rank; small things of any type."""
    return [fact] if comm is None else comm.allgather(fact)


def told(comm: MPI.Comm | None, fact: Any) -> Any:
    """What rank 0 has, on every rank."""
    return fact if comm is None else comm.bcast(fact)


def largest(comm: MPI.Comm | None, number: float) -> float:
    """The largest of all ranks' numbers; NaN if one of them is."""
    if comm is None or comm.size == 1:
        return number
    from mpi4py import MPI

    undefined = number != number
    found = np.array([undefined, -np.inf if undefined else number])
    comm.Allreduce(MPI.IN_PLACE, found, MPI.MAX)
    return float("nan") if found[0] else float(found[1])


def summed(comm: MPI.Comm | None, numbers: npt.ArrayLike) -> npt.NDArray:
    """The sums of all ranks' numbers."""
    local = np.asarray(numbers)
    if comm is None:
        return local
    total = np.empty_like(local)
    comm.Allreduce(local, total)
    return total


def each_once(comm: MPI.Comm | None, numbers: npt.NDArray[np.int64], total: int) -> bool:
    """Whether the numbers of all ranks together are 0, …, total − 1, each once.

    Told by the sum of a 64-bit hash of each, so that no rank needs to see all of them.
    """
    rank, size = rank_of(comm), size_of(comm)
    share = np.arange(total * rank // size, total * (rank + 1) // size)
    own = numbers.size - share.size, int(_hash(numbers).sum()) - int(_hash(share).sum())
    surplus, difference = (sum(found) for found in zip(*gathered(comm, own), strict=True))
    return surplus == 0 and difference % 2**64 == 0


def _hash(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea, Flood 2014), a bijection of 64-bit integers."""
    z = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@overload
def gather_columns(comm: MPI.Comm, local: npt.NDArray, root: None = None) -> npt.NDArray: ...
@overload
def gather_columns(comm: MPI.Comm, local: npt.NDArray, root: int | None) -> npt.NDArray | None: ...
def gather_columns(
    comm: MPI.Comm, local: npt.NDArray, root: int | None = None
) -> npt.NDArray | None:
    """The columns of all ranks side by side: (k, n_r) on rank r to (k, Σ n_r).

    Collective; on every rank, or on root alone and None elsewhere.
    """
    if comm.size == 1:
        return local
    counts = [len(local) * columns for columns in comm.allgather(local.shape[1])]
    # Columns are sent as rows, so that what one rank sends stays together.
    rows = np.ascontiguousarray(local.T)
    if root is None:
        flat = np.empty(sum(counts), local.dtype)
        comm.Allgatherv(rows, (flat, counts))
    elif comm.rank == root:
        flat = np.empty(sum(counts), local.dtype)
        comm.Gatherv(rows, (flat, counts), root)
    else:
        comm.Gatherv(rows, None, root)
        return None
    return flat.reshape(-1, len(local)).T
