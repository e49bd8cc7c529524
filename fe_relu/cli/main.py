# SPDX-License-Identifier: MIT
"""The command line: one line about an error and exit code 2, and no partial output.

What commands need is imported when one runs, so that help appears at once.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fe_relu.cli.arguments import parser
from fe_relu.cli.text import close, open_streams, plain, standard_output, told
from fe_relu.parallel import launched

if TYPE_CHECKING:
    from mpi4py import MPI

#: Exit codes: those of shells for processes that a signal ended are 128 and its number.
ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, by default that of this process, and returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    comm = None
    try:
        open_streams()
        if launched.was_started_by_rank():
            launched.leave()
        given = _parsed(arguments)
        if given is not None and given.collective:
            comm = launched.world()
            _run(given, comm)
        elif given is not None and launched.is_first():
            launched.leave()  # the other ranks are done
            _run(given, None)
    except BrokenPipeError:
        return BROKEN_PIPE
    except KeyboardInterrupt:
        launched.abort(comm, INTERRUPTED)
        return INTERRUPTED
    except Exception as error:
        _report(error, comm, debug)
        return ERROR
    return 0


def _parsed(arguments: list[str]) -> argparse.Namespace | None:
    """What is asked for; None where help or the version was, which the first rank has printed."""
    with standard_output(), contextlib.suppress(SystemExit), _first_rank_speaks():
        return parser().parse_args(arguments)
    return None


def _run(given: argparse.Namespace, comm: MPI.Comm | None) -> None:
    commands = importlib.import_module("fe_relu.cli.commands")
    getattr(commands, given.run)(given, comm)


def _report(error: Exception, comm: MPI.Comm | None, debug: bool) -> None:
    """One line, by the first rank if all ranks fail together; else by this one, which ends all."""
    alone = not launched.all_arrive(comm)
    if alone or launched.is_first():
        try:
            if debug:
                traceback.print_exception(error)
            print(f"fe-relu: error: {plain(told(error))}", file=sys.stderr, flush=True)
        except OSError:
            close(sys.stderr)
    launched.await_first(comm)
    if alone:
        launched.abort(comm, ERROR)


@contextlib.contextmanager
def _first_rank_speaks() -> Iterator[None]:
    """Help and version are printed once."""
    if launched.is_first():
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
