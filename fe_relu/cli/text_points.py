# SPDX-License-Identifier: MIT
"""Points in tables of text, a block at a time.

Ranks share a file by its bytes: each reads the lines that start within its share.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import NoReturn

import numpy as np

from fe_relu.cli.npy_points import Block, require_columns, require_finite

#: Bytes read at once; lines take 20 times as much while they become numbers.
BLOCK_BYTES = 1 << 20

#: Bytes of the longest line; more is no table.
MAX_LINE = 1 << 16


@dataclass(frozen=True)
class TextPoints:
    """Points in lines of text: numbers with commas or white space between them.

    Args:
        path: The file.
        columns: How many numbers each line has; empty lines do not count.
        delimiter: A comma, or None for white space.
        titled: Whether a first line names the columns.
        start: The byte at which the first point starts.
        size: Bytes of the file.
    """

    path: str
    columns: int
    delimiter: str | None
    titled: bool
    start: int
    size: int

    precision = np.dtype(np.float64)

    @staticmethod
    def of(path: str, columns: set[int]) -> TextPoints:
        titled, number = False, 0
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = 3 if file.read(3) == b"\xef\xbb\xbf" else 0  # the mark that Excel puts first
            file.seek(start)
            while line := _line(file, path, number := number + 1):
                delimiter = "," if "," in line else None
                fields = line.strip().split(delimiter)
                if any(_is_number(field) for field in fields):
                    require_columns(len(fields), columns, f"{path}: line {number}")
                    return TextPoints(path, len(fields), delimiter, titled, start, size)
                if line.strip() and titled:
                    raise ValueError(f"{path}: line {number}: {line.strip()[:40]!r} is no point")
                titled = titled or bool(line.strip())
                start = file.tell()
        raise ValueError(f"{path}: line {number}: the file ends without a point")

    def share(self, rank: int, ranks: int) -> int:
        """Bytes of a rank's lines, nearly."""
        first, end = (self._cut(r, ranks) for r in (rank, rank + 1))
        return end - first

    def blocks(self, rank: int, ranks: int) -> Iterator[Block]:
        """A rank's points, block by block: the lines that start within its share of the bytes.

        Raises:
            ValueError: A line is no point, or the point is NaN or infinite.
        """
        first, end = (self._cut(r, ranks) for r in (rank, rank + 1))
        with open(self.path, "rb") as file:
            file.seek(first)
            if first > self.start:  # the line that goes on here is the rank's before
                file.seek(first - 1)
                self._rest_of_line(file)
            while (at := file.tell()) < end:
                text = file.read(min(BLOCK_BYTES, end - at))
                if not text.endswith(b"\n"):
                    text += self._rest_of_line(file)
                lines = re.split("\r?\n", text.decode("ascii", "replace"))
                filled = [k for k, line in enumerate(lines) if line and not line.isspace()]
                if filled:
                    yield self._block([lines[k] for k in filled], filled, at, len(text))

    def _block(self, lines: Sequence[str], numbers: Sequence[int], at: int, nbytes: int) -> Block:
        def place(k: int) -> str:
            return f"{self.path}: line {_lines_before(self.path, at) + numbers[k] + 1}"

        try:
            points = np.loadtxt(lines, delimiter=self.delimiter, comments=None, ndmin=2)
        except ValueError as error:
            self._refuse(lines, place, error)
        if points.shape[1] != self.columns:
            self._refuse(lines, place, None)
        block = Block(points, place, nbytes)
        require_finite(block)
        return block

    def _refuse(
        self, lines: Sequence[str], place: Callable[[int], str], error: Exception | None
    ) -> NoReturn:
        """Raises, naming the first line that is no point."""
        for k, line in enumerate(lines):
            fields = line.split(self.delimiter)
            if len(fields) != self.columns:
                raise ValueError(f"{place(k)}: {len(fields)} columns, not {self.columns}") from None
            for field in fields:
                if not _is_number(field):
                    raise ValueError(f"{place(k)}: {field.strip()[:40]!r} is no number") from None
        raise ValueError(f"{place(0)} and on: {error}")

    def _cut(self, rank: int, ranks: int) -> int:
        return self.start + (self.size - self.start) * rank // ranks

    def _rest_of_line(self, file: BufferedReader) -> bytes:
        at = file.tell()
        rest = file.readline(MAX_LINE)
        if len(rest) == MAX_LINE and not rest.endswith(b"\n"):
            raise ValueError(
                f"{self.path}: line {_lines_before(self.path, at) + 1} has more than {MAX_LINE} "
                "bytes; this is no table of points"
            )
        return rest


def _line(file: BufferedReader, path: str, number: int) -> str:
    line = file.readline(MAX_LINE)
    if len(line) == MAX_LINE and not line.endswith(b"\n"):
        raise ValueError(
            f"{path}: line {number} has more than {MAX_LINE} bytes; this is no table of points"
        )
    return line.decode("ascii", "replace")


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def _lines_before(path: str, end: int) -> int:
    """Lines that end before a byte of a file."""
    lines, left = 0, end
    with open(path, "rb") as file:
        while left > 0 and (text := file.read(min(BLOCK_BYTES, left))):
            lines, left = lines + text.count(b"\n"), left - len(text)
    return lines
