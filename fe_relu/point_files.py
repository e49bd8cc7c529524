# SPDX-License-Identifier: MIT
"""Points in files, a block at a time: npy arrays, or tables of text.

Ranks share a file: each reads rows that lie one after the other, rank 0 the first ones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

#: Bytes read at once; lines of text take 20 times as much while they become numbers.
BLOCK_BYTES = 1 << 20

#: Bytes of the longest line of text; more is no table.
MAX_LINE = 1 << 16


class Block(NamedTuple):
    """Finite points, shape (n, columns); where each comes from; the bytes that hold them."""

    points: npt.NDArray
    place: Callable[[int], str]
    nbytes: int


def points_in(path: str, dim: int) -> NpyPoints | TextPoints:
    """The points in a file: npy by its suffix, else text.

    Args:
        path: The file.
        dim: Coordinates that count; there may be a third column, which is ignored.

    Raises:
        ValueError: It holds no points, or not of that many coordinates.
        OSError: It cannot be opened.
    """
    kind = NpyPoints if path.lower().endswith(".npy") else TextPoints
    return kind.of(path, {dim, max(dim, 3)})


def _require_columns(found: int, allowed: set[int], where: str) -> None:
    if found not in allowed:
        wanted = " or ".join(str(count) for count in sorted(allowed))
        raise ValueError(f"{where}: {found} columns; points have {wanted}")


def _require_finite(block: Block) -> None:
    bad = np.flatnonzero(~np.isfinite(block.points).all(axis=1))
    if bad.size:
        numbers = ", ".join(str(number) for number in block.points[bad[0]].tolist())
        raise ValueError(f"{block.place(int(bad[0]))}: the point ({numbers}) is not finite")


@dataclass(frozen=True)
class NpyPoints:
    """Points in a NumPy array, shape (n, columns), row by row.

    Args:
        path: The file.
        shape: Of the array.
        dtype: Of the array.
        start: The byte at which its numbers start.
    """

    path: str
    shape: tuple[int, int]
    dtype: np.dtype
    start: int

    #: Whether a first line names the columns.
    titled = False

    @staticmethod
    def of(path: str, columns: set[int]) -> NpyPoints:
        with open(path, "rb") as file:
            try:
                version = np.lib.format.read_magic(file)
                read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                    version, np.lib.format.read_array_header_2_0
                )
                shape, columnwise, dtype = read(file)
            except ValueError as error:
                raise ValueError(f"{path}: no npy file: {error}") from error
            start = file.tell()
        if len(shape) != 2:
            raise ValueError(f"{path}: an array of shape {shape}; points have shape (n, 2)")
        _require_columns(shape[1], columns, path)
        if dtype.kind not in "fiu" or dtype.itemsize > 8:
            raise ValueError(f"{path}: an array of {dtype}; points are real numbers")
        if columnwise and shape[0] > 1:
            raise ValueError(
                f"{path}: an array in Fortran's order; np.save(…, np.ascontiguousarray(points)) "
                "writes one that can be read in blocks"
            )
        if os.path.getsize(path) < start + shape[0] * shape[1] * dtype.itemsize:
            raise ValueError(f"{path}: cut off; {shape[0]} points do not fit into the file")
        return NpyPoints(path, shape, dtype, start)

    @property
    def precision(self) -> np.dtype:
        """The type of number in which points are passed on."""
        single = self.dtype.kind == "f" and self.dtype.itemsize <= 4
        return np.dtype(np.float32 if single else np.float64)

    def share(self, rank: int, ranks: int) -> int:
        """Bytes of a rank's rows."""
        first, end = self._rows(rank, ranks)
        return (end - first) * self._row_bytes

    def blocks(self, rank: int, ranks: int) -> Iterator[Block]:
        """A rank's points, block by block.

        Raises:
            ValueError: A point is NaN or infinite, or the file became shorter.
        """
        first, end = self._rows(rank, ranks)
        step = max(1, BLOCK_BYTES // self._row_bytes)
        with open(self.path, "rb") as file:
            file.seek(self.start + first * self._row_bytes)
            for row in range(first, end, step):
                count = min(step, end - row)
                numbers = np.fromfile(file, self.dtype, count * self.shape[1])
                if numbers.size < count * self.shape[1]:
                    raise ValueError(f"{self.path}: became shorter while it was read")
                points = numbers.reshape(count, -1).astype(self.precision, copy=False)
                block = Block(points, self._place(row), numbers.nbytes)
                _require_finite(block)
                yield block

    @property
    def _row_bytes(self) -> int:
        return self.shape[1] * self.dtype.itemsize

    def _rows(self, rank: int, ranks: int) -> tuple[int, int]:
        return self.shape[0] * rank // ranks, self.shape[0] * (rank + 1) // ranks

    def _place(self, row: int) -> Callable[[int], str]:
        return lambda k: f"{self.path}: row {row + k}"


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
                    _require_columns(len(fields), columns, f"{path}: line {number}")
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
        _require_finite(block)
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
