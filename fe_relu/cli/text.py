# SPDX-License-Identifier: MIT
"""What is said on standard output and error: plain text, in the terminal's own encoding."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from functools import singledispatch
from typing import TextIO


def plain(text: str) -> str:
    """Text in one line, without line ends, colours, and whatever else moves a terminal."""
    text = re.sub("\x1b\\[[0-9;]*[A-Za-z]", "", text)
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


def say(text: str) -> None:
    """Prints text, with escapes for what the encoding of standard output has not."""
    encoding = sys.stdout.encoding or "utf-8"
    with standard_output():
        print(text.encode(encoding, "backslashreplace").decode(encoding))


@contextlib.contextmanager
def standard_output() -> Iterator[None]:
    """What is printed is there afterwards.

    Raises:
        BrokenPipeError: Nobody reads it.
        OSError: It cannot be written.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        close(sys.stdout)
        raise
    except OSError as error:
        close(sys.stdout)
        raise OSError(error.errno, error.strerror, "standard output") from error


@singledispatch
def told(error: BaseException) -> str:
    """What an error says to somebody who does not know the code."""
    return f"{type(error).__name__}: {error}; --debug shows where"


@told.register(ValueError)
@told.register(TypeError)
@told.register(ImportError)
def _(error: Exception) -> str:
    return str(error) or told.dispatch(BaseException)(error)


@told.register
def _(error: OSError) -> str:
    if error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


@told.register
def _(error: MemoryError) -> str:
    return f"out of memory: {error}".removesuffix(": ")


def open_streams() -> None:
    """Standard streams that are closed lead nowhere, and no other file gets their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def close(stream: TextIO) -> None:
    """What is left to say on a stream goes nowhere, and not to an error when Python ends."""
    with contextlib.suppress(OSError):  # of a stream that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
