# SPDX-License-Identifier: MIT
"""How many threads a process may use, and points shared out among them.

A process uses as many as FE_RELU_NUM_THREADS says, else as OMP_NUM_THREADS says if it is a number,
else its share of the cores it may run on: all of them for a serial process, for MPI ranks on one
node each the same number, so that together they never use more than there are.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

#: Fewer points than this are not worth a second thread.
POINTS_PER_THREAD = 1 << 17

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
