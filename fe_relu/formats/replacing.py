# SPDX-License-Identifier: MIT
"""A file that many ranks write is replaced at once or not at all.

They write into a temporary file beside it, which takes its name when all have come through and
all bytes are on disk. Whoever reads, also after a crash, finds the old file or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fe_relu.parallel.agreement import rank_of, together, told

if TYPE_CHECKING:
    from mpi4py import MPI


def require_replaceable(target: str) -> None:
    """Raises unless there is a regular file or nothing at target, in a folder that exists."""
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "no such folder to save in", folder)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(target).st_mode):
            raise ValueError(f"{target} is no regular file and cannot be replaced by one")


@contextlib.contextmanager
def told_of(target: str) -> Iterator[None]:
    """Errors about a file that is to become target are told of target."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror, target) from error


@contextlib.contextmanager
def replacing(target: str, start: bytes, size: int, comm: MPI.Comm | None) -> Iterator[str]:
    """A temporary file beside target that takes its place if all ranks come through.

    It has its whole size, and these bytes at its start. Collective; the body is local work.

    Raises:
        Exception: What failed first on any rank, on every rank; target is then what it was before.
    """
    first = rank_of(comm) == 0
    # Not the target's name and more: that may be as long as names can be.
    temporary = os.path.join(os.path.dirname(target), f"{secrets.token_hex(8)}.partial")
    try:
        with together(comm), told_of(target):
            if first:
                with open(temporary, "xb") as file:
                    file.write(start)
                    file.truncate(size)
        temporary = told(comm, temporary)
        with together(comm), told_of(target):
            yield temporary
        with together(comm), told_of(target):
            if first:
                with contextlib.suppress(FileNotFoundError):
                    shutil.copymode(target, temporary)
                os.replace(temporary, target)
                _sync_folder(os.path.dirname(target))
    finally:
        if first:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _sync_folder(folder: str) -> None:
    """Makes the new name last through a loss of power, where folders can be opened."""
    if os.name != "posix":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
