# SPDX-License-Identifier: MIT
"""The command line: one line about an error and exit code 2, and no partial output.

What commands need is imported when one runs, so that help appears at once.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fe_relu.cli.arguments import parser
from fe_relu.parallel import launched

if TYPE_CHECKING:
    from mpi4py import MPI

#: Exit codes: those of shells for processes that a signal ended are 128 and its number.
ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141

#: Seconds for the first of several ranks to report an error, where ranks cannot tell each other.
PATIENCE = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, by default that of this process, and returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    comm = None
    try:
        comm = launched.world()  # first, so that ranks also wait for each other to refuse arguments
        with _first_rank_speaks():
            given = parser().parse_args(arguments)
        _run(given, comm)
        _flush()
    except BrokenPipeError:
        _close_output()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        if comm is not None:
            comm.Abort(INTERRUPTED)
        return INTERRUPTED
    except Exception as error:
        _report(error, comm, debug)
        return ERROR
    return 0


def _run(given: argparse.Namespace, comm: MPI.Comm | None) -> None:
    """On all ranks if the command is for several, else on the first while the others wait."""
    commands = importlib.import_module("fe_relu.cli.commands")
    run = getattr(commands, given.run)
    if comm is None or given.collective:
        run(given, comm)
        return
    from fe_relu.parallel.agreement import together

    with together(comm):
        if comm.rank == 0:
            run(given, None)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _close_output()
        raise OSError(error.errno, error.strerror, "standard output") from error


def _close_output() -> None:
    """What is left to print goes nowhere, and not to an error when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: Exception, comm: MPI.Comm | None, debug: bool) -> None:
    """One line, by the first rank if all ranks fail together; else by this one, which ends all."""
    alone = comm is not None and not launched.all_arrive(comm)
    if alone or launched.is_first():
        if debug:
            traceback.print_exception(error)
        print(f"fe-relu: error: {_one_line(error)}", file=sys.stderr, flush=True)
    elif comm is None:
        time.sleep(PATIENCE)  # a launcher ends the first rank too when this one has failed
    if alone and comm is not None:
        comm.Abort(ERROR)


def _one_line(error: Exception) -> str:
    """What it says, without line ends, colours, and whatever else moves a terminal."""
    plain = re.sub("\x1b\\[[0-9;]*[A-Za-z]", "", _told(error))
    return " ".join("".join(c for c in plain if c.isprintable() or c.isspace()).split())


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    told = str(error)
    if isinstance(error, MemoryError):
        return f"out of memory{f': {told}' if told else ''}"
    expected = isinstance(error, ValueError | TypeError | OSError | ImportError)
    return told if told and expected else f"{type(error).__name__}: {told}; --debug shows where"


@contextlib.contextmanager
def _first_rank_speaks() -> Iterator[None]:
    """Help and version are printed once."""
    if launched.is_first():
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
