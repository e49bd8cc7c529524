# SPDX-License-Identifier: MIT
"""Whether this process is one of several ranks, told by what launchers leave in the environment.

A serial process never imports mpi4py, which need not be installed. A process that a rank starts
inherits the rank's environment, but is not a rank: nobody would answer it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from fe_relu.basics.refusals import needed

if TYPE_CHECKING:
    from mpi4py import MPI

#: Variables that hold the number of ranks and the rank: Open MPI, MPICH and Intel MPI, MVAPICH.
LAUNCHERS = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
)

#: What starts the names of the variables by which an MPI library finds the other ranks.
ADDRESSES = ("PMIX_NAMESPACE", "PMIX_RANK", "PMIX_SERVER_", "PMI_", *sum(LAUNCHERS, ()))

#: Seconds for the first of several ranks to report an error, where ranks cannot tell each other; a
#: launcher ends the others when it has.
PATIENCE = 10.0

#: Seconds for all ranks to start, before this process is taken for the only one.
PATIENCE_AT_START = 300.0

#: What a process says that waits for others.
ALONE = (
    "fe-relu: the environment says that this is one of several MPI ranks, and the others have not "
    "started it too; env -u OMPI_COMM_WORLD_SIZE -u PMI_SIZE -u MV2_COMM_WORLD_SIZE before the "
    "command makes it a process of its own"
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
    with needed("mpi4py", "running on several ranks"), _watched():
        from mpi4py import MPI
    return MPI.COMM_WORLD.Dup() if MPI.COMM_WORLD.size > 1 else None


@contextmanager
def _watched() -> Iterator[None]:
    """Ends this process, and says why, if the other ranks do not start what this one starts.

    Where MPI is started, a process waits for all ranks and lets no other thread of it run; so it is
    another process that watches.
    """
    if os.name != "posix":  # no fork
        yield
        return
    own = os.getpid()
    watcher = os.fork()
    if watcher == 0:
        _watch(own)
    try:
        yield
    finally:
        os.kill(watcher, signal.SIGKILL)
        os.waitpid(watcher, 0)


def _watch(process: int) -> NoReturn:
    """Waits for the end of a process, or ends it after `PATIENCE_AT_START`; then ends itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    start, told = time.monotonic(), False
    while os.getppid() == process:
        waited = time.monotonic() - start
        if waited > PATIENCE and not told:
            os.write(2, f"{ALONE}\n".encode())
            told = True
        if waited > PATIENCE_AT_START:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.1)
    os._exit(0)


def leave() -> None:
    """Makes this process a serial one, also for an MPI library, unless it has one already."""
    if "mpi4py.MPI" in sys.modules:
        return
    for name in [name for name in os.environ if name.startswith(ADDRESSES)]:
        del os.environ[name]


def was_started_by_rank() -> bool:
    """Whether a process that MPI knows by this rank started this one, perhaps through others.

    A shell, or another program without MPI, that a launcher starts in a rank's place is none.
    """
    if not any(size in os.environ for size, _ in LAUNCHERS):
        return False
    own = _addresses(dict(os.environ))
    process = os.getppid()
    try:
        while process > 1 and _addresses(_environment(process)) == own:
            if _uses_mpi(process):
                return True
            process = _parent(process)
    except OSError:  # there is no /proc here, or nothing to be seen of the process
        pass
    return False


def _addresses(environment: dict[str, str]) -> dict[str, str]:
    """Those by which two processes with different ones are different ranks."""
    names = ("PMIX_NAMESPACE", "PMI_FD", "PMI_PORT", *(rank for _, rank in LAUNCHERS))
    return {name: environment[name] for name in names if name in environment}


def _environment(process: int) -> dict[str, str]:
    with open(f"/proc/{process}/environ", "rb") as file:
        entries = os.fsdecode(file.read()).split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def _uses_mpi(process: int) -> bool:
    with open(f"/proc/{process}/maps", "rb") as file:
        return any(b"/libmpi" in line for line in file)


def _parent(process: int) -> int:
    with open(f"/proc/{process}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])


def all_arrive(comm: MPI.Comm | None, patience: float = 5.0) -> bool:
    """Whether all ranks get here within so many seconds."""
    if comm is None:
        return True
    request = comm.Ibarrier()
    deadline = time.monotonic() + patience
    while not request.Test():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def await_first(comm: MPI.Comm | None) -> None:
    """Gives the first rank time to report what this one would say too."""
    if comm is None and not is_first():
        time.sleep(PATIENCE)


def abort(comm: MPI.Comm | None, code: int) -> None:
    """Ends all ranks with an exit code; nothing in a serial process."""
    if comm is not None:
        comm.Abort(code)
