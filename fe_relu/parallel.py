# SPDX-License-Identifier: MIT
"""How ranks decide together and how nodal values move between them.

Every rank reaches every collective: local work that may fail runs inside `together`, and only when
all ranks have come through does anyone communicate.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mpi4py import MPI


@contextmanager
def together(comm: MPI.Comm | None) -> Iterator[None]:
    """Local work after which all ranks go on or all raise what the first failing rank raised.

    Collective over comm (None: this process alone). The body must not communicate.

    Raises:
        Exception: What the body raised on the lowest rank where it raised; on other ranks the
            message says which rank that was.
    """
    error = None
    try:
        yield
    except Exception as raised:
        error = raised
    if comm is not None and comm.size > 1:
        error = _first_error(comm, error)
    if error is not None:
        raise error


def _first_error(comm: MPI.Comm, error: Exception | None) -> Exception | None:
    from mpi4py import MPI

    first = comm.allreduce(comm.size if error is None else comm.rank, op=MPI.MIN)
    if first == comm.size:
        return None
    told = None if error is None else (_plain_type(error), _message(error))
    kind, message = comm.bcast(told, root=first)
    return error if comm.rank == first else kind(f"on rank {first}: {message}")


def _plain_type(error: Exception) -> type[Exception]:
    """The type to raise elsewhere: the error's own if it can be sent and made from a message."""
    try:
        pickle.loads(pickle.dumps(type(error)))("message")
    except Exception:
        return RuntimeError
    return type(error)


def _message(error: Exception) -> str:
    try:
        return str(error)
    except Exception:
        return f"{type(error).__name__}, which has no message"


def same_ranks(one: MPI.Comm | None, other: MPI.Comm) -> bool:
    """Whether two communicators are of the same ranks in the same order; None is of any rank."""
    from mpi4py import MPI

    return one is None or MPI.Comm.Compare(one, other) in (MPI.IDENT, MPI.CONGRUENT)


def require_alike(comm: MPI.Comm, fact: object, what: str) -> None:
    """Raises on every rank if ranks do not agree on a fact that decides what they do next.

    Raises:
        TypeError: They do not; `what` names the facts.
    """
    facts = comm.allgather(fact) if comm.size > 1 else [fact]
    if any(found != facts[0] for found in facts):
        raise TypeError(f"ranks pass different {what}: {sorted({str(found) for found in facts})}")


def largest(comm: MPI.Comm, number: float) -> float:
    """The largest of all ranks' numbers."""
    from mpi4py import MPI

    return comm.allreduce(number, op=MPI.MAX)


def summed(comm: MPI.Comm, numbers: npt.NDArray) -> npt.NDArray:
    """The sums of all ranks' numbers."""
    total = np.empty_like(numbers)
    comm.Allreduce(numbers, total)
    return total


def any_of(comm: MPI.Comm, flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which flags are set on some rank."""
    from mpi4py import MPI

    found = np.empty_like(flags)
    comm.Allreduce(flags, found, op=MPI.LOR)
    return found


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
