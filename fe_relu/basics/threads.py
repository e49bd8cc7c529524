# SPDX-License-Identifier: MIT
"""How many threads a process may use, and points shared out among them for compiled loops.

A process uses as many as FE_RELU_NUM_THREADS says, else as OMP_NUM_THREADS says if it is a number,
else its share of the cores it may run on: all of them for a serial process, for MPI ranks on one
node each the same number, so that together they never use more than there are.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.basics.points import require_finite

#: Fewer points than this are not worth a second thread.
POINTS_PER_THREAD = 1 << 17

#: Points brought into contiguous rows of one dtype at a time, where they are not so given.
CHUNK_POINTS = 1 << 14

#: Points asked for at a time where some are listed: the room for a list is used again, as memory
#: that is new to the process costs more than what is written to it.
LISTED_POINTS = 1 << 16

DOUBLE = np.dtype(np.float64)

#: Coordinates one by one.
Rows = tuple[npt.NDArray, ...]

#: Where launchers say how many ranks share this node: Open MPI, MPICH and Intel MPI, Slurm.
LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE")


def num_threads() -> int:
    """Threads that this process may use, at least 1.

    Raises:
        ValueError: FE_RELU_NUM_THREADS is not a whole number from 1 on.
    """
    if "FE_RELU_NUM_THREADS" in os.environ:
        if (own := _whole_number("FE_RELU_NUM_THREADS")) is None:
            text = os.environ["FE_RELU_NUM_THREADS"]
            raise ValueError(f"FE_RELU_NUM_THREADS must be a whole number from 1 on, not {text!r}")
        return own
    if (openmp := _whole_number("OMP_NUM_THREADS")) is not None:
        return openmp
    ranks = next(filter(None, map(_whole_number, LOCAL_RANKS)), 1)
    return max(1, len(os.sched_getaffinity(0)) // ranks)


def _whole_number(name: str) -> int | None:
    """A variable's number from 1 on, if it has one; what others set is theirs to judge."""
    # OMP_NUM_THREADS may be a list, one number for each level; Slurm's may read "2(x3)".
    text = os.environ.get(name, "").split(",")[0].split("(")[0].strip()
    return int(text) if text.isdecimal() and int(text) >= 1 else None


def parts(num_points: int) -> list[slice]:
    """The points in as many parts as there are threads worth using."""
    count = max(1, min(num_threads(), num_points // POINTS_PER_THREAD))
    edges = [num_points * k // count for k in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def total(job: Callable[[slice], int], shares: Iterable[slice]) -> int:
    """The sum of what a job returns for each part; the job lets go of the interpreter's lock."""
    first, *others = shares
    if not others:
        return job(first)
    waiting = [_pool(len(others)).submit(job, share) for share in others]
    return job(first) + sum(result.result() for result in waiting)


@lru_cache(maxsize=1)
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(size, thread_name_prefix="fe_relu")


# A forked child has none of its parent's threads, and would wait for them for ever.
os.register_at_fork(after_in_child=_pool.cache_clear)


def swept(
    x: npt.NDArray,
    ask: Callable[[Rows, slice, npt.NDArray], tuple[int, int]],
    *,
    rows: int,
    dtype: np.dtype = DOUBLE,
    listing: bool = False,
) -> npt.NDArray[np.int64]:
    """Asks for all points (dim, n), a part to a thread; the increasing positions of those listed.

    Args:
        x: The points.
        ask: Called with rows, the points that they are, and positions to write into, which are
            counted from the first of them; returns how many points are not finite, and how many
            positions are written.
        rows: How many there are; the last coordinate stands for those beyond.
        dtype: Of the rows.
        listing: Whether positions are wanted.

    Raises:
        ValueError: A coordinate is NaN or infinite.
    """
    shares = parts(x.shape[1])
    found: dict[int, list[npt.NDArray]] = {}

    def run(part: slice) -> int:
        step = min(part.stop - part.start, LISTED_POINTS) if listing else part.stop - part.start
        room, bad, found[part.start] = np.empty(step if listing else 0, np.int64), 0, []
        for columns, here in _contiguous_rows(x, part, step, dtype, rows):
            more, listed = ask(here, columns, room)
            found[part.start].append(room[:listed] + columns.start)
            bad += more
        return bad

    if total(run, shares):
        require_finite(x)
    nothing = np.empty(0, np.int64)
    return np.concatenate([nothing, *(away for part in shares for away in found[part.start])])


def _contiguous_rows(
    x: npt.NDArray, part: slice, step: int, dtype: np.dtype, rows: int
) -> Iterator[tuple[slice, Rows]]:
    """A part's rows, so many points at a time or fewer: as they are, or copied."""
    as_they_are = all(row.flags.carray and row.dtype == dtype for row in x)
    scratch = np.empty((len(x), 0 if as_they_are else CHUNK_POINTS), dtype)
    step = max(1, step if as_they_are else min(step, CHUNK_POINTS))
    for start in range(part.start, part.stop, step):
        columns = slice(start, min(start + step, part.stop))
        here = x[:, columns]
        if not as_they_are:
            here = scratch[:, : here.shape[1]]
            copy_points(x[:, columns], here)
        yield columns, tuple(here[min(k, len(x) - 1)] for k in range(rows))


@compiled
def copy_points(x: Any, rows: Any) -> None:
    """Copies rows of any strides, all in one pass: they may be columns in memory."""
    for k in range(x.shape[1]):
        for axis in range(len(x)):
            rows[axis, k] = x[axis, k]
