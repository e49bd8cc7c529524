# SPDX-License-Identifier: MIT
"""Whether this process is one of several ranks, told by what launchers leave in the environment.

A serial process never imports mpi4py, which need not be installed.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from fe_relu.basics.refusals import needed

if TYPE_CHECKING:
    from mpi4py import MPI

#: Variables that hold the number of ranks and the rank: Open MPI, MPICH and Intel MPI, MVAPICH.
LAUNCHERS = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
)


def is_first() -> bool:
    """Whether this is a serial process or rank 0."""
    return all(os.environ.get(rank, "0") == "0" for _, rank in LAUNCHERS)


def world() -> MPI.Comm | None:
    """The communicator of all ranks that were launched together; None for a serial process.

    It is a copy, on which nobody else communicates.

    Raises:
        ImportError: There are several, and mpi4py is not installed.
    """
    if all(os.environ.get(size, "1") == "1" for size, _ in LAUNCHERS):
        return None
    with needed("mpi4py", "running on several ranks"):
        from mpi4py import MPI
    return MPI.COMM_WORLD.Dup() if MPI.COMM_WORLD.size > 1 else None


def all_arrive(comm: MPI.Comm, patience: float = 5.0) -> bool:
    """Whether all ranks get here within so many seconds."""
    request = comm.Ibarrier()
    deadline = time.monotonic() + patience
    while not request.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
