# SPDX-License-Identifier: MIT
"""Points in files, a block at a time: npy arrays, and tables of text.

Ranks share a file, rank 0 its first part: each reads the rows of its share, or the lines that start
within its share of the bytes.
"""

from __future__ import annotations

import csv
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: Bytes read at once; lines take 20 times as much while they become numbers.
BLOCK_BYTES = 1 << 20

#: Bytes of the longest line; more is no table.
MAX_LINE = 1 << 16

#: The name of a column of coordinates: that of the axis, with a unit in brackets if any.
NAME = re.compile(r"\s*([xyz]|x\d+)\s*(\[.*\]|\(.*\))?\s*", re.IGNORECASE)


class Block(NamedTuple):
    """Points; where each comes from; the bytes of the file that hold them."""

    points: npt.NDArray
    place: Callable[[int], str]
    nbytes: int

    def require(self, fine: npt.NDArray, fact: str) -> None:
        """Raises ValueError, with place and fact, for the first of the points (dim, n) not fine."""
        if not fine.all():
            bad = int(fine.argmin())
            point = ", ".join(map(str, self.points[:, bad].tolist()))
            raise ValueError(f"{self.place(bad)}: the point ({point}) {fact}")


class Points(NamedTuple):
    """The points of a file.

    Attributes:
        dim: Coordinates that count.
        titled: Whether a first line names the columns.
        precision: The type of their numbers.
        size: Rows or bytes that hold them.
        unit: Bytes of one of these.
        read: Blocks (n, columns) of what starts from one of these on, before another; columns
            after those that count are not used.
    """

    dim: int
    titled: bool
    precision: np.dtype
    size: int
    unit: int
    read: Callable[[int, int], Iterator[Block]]

    def share(self, rank: int, ranks: int) -> int:
        """Bytes of a rank's points, nearly."""
        return (self.size * (rank + 1) // ranks - self.size * rank // ranks) * self.unit

    def blocks(self, rank: int, ranks: int) -> Iterator[Block]:
        """A rank's points, shape (dim, n), block by block.

        Raises:
            ValueError: What is there is no point, or one with NaN or infinity, also where it is not
                used; the message says where.
        """
        for block in self.read(self.size * rank // ranks, self.size * (rank + 1) // ranks):
            whole = block._replace(points=block.points.T)
            whole.require(np.isfinite(whole.points).all(axis=0), "is not finite")
            yield whole._replace(points=whole.points[: self.dim])


def points_in(path: str, dim: int) -> Points:
    """The points in a file: npy by its suffix, else text.

    Args:
        path: The file.
        dim: Coordinates that count. In text, a line of names says which columns they are; else they
            come first, and a third column is not used.

    Raises:
        ValueError: It holds no points, or not of that many coordinates, or is no regular file.
        OSError: It cannot be opened.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path}: no regular file; points are not read from a pipe or a device")
    return (_npy_points if path.lower().endswith(".npy") else _text_points)(path, dim)


def _require_columns(found: int, dim: int, where: str) -> None:
    allowed = sorted({dim, max(dim, 3)})
    if found not in allowed:
        raise ValueError(f"{where}: {found} columns; points have {' or '.join(map(str, allowed))}")


def _npy_points(path: str, dim: int) -> Points:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: no npy file that is whole: {error}") from error
    if array.ndim != 2:
        raise ValueError(f"{path}: an array of shape {array.shape}; points have shape (n, {dim})")
    _require_columns(array.shape[1], dim, path)
    if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        raise ValueError(f"{path}: an array of {array.dtype}; points are real numbers")
    if not array.flags.c_contiguous:
        raise ValueError(
            f"{path}: an array in Fortran's order; np.save(…, np.ascontiguousarray(points)) "
            "writes one that can be read in blocks"
        )
    single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
    precision = np.dtype(np.float32 if single else np.float64)
    row, start = np.dtype((array.dtype, array.shape[1:])), array.offset

    def read(first: int, end: int) -> Iterator[Block]:
        # Not through the map: a file cut short kills.
        step = max(1, BLOCK_BYTES // row.itemsize)
        with open(path, "rb") as file:
            file.seek(start + first * row.itemsize)
            for at in range(first, end, step):
                count = min(step, end - at)
                numbers = np.fromfile(file, row, count)
                if len(numbers) < count:
                    raise ValueError(f"{path}: became shorter while it was read")
                place = lambda k, at=at: f"{path}: row {at + k}"  # noqa: E731
                yield Block(numbers.astype(precision, copy=False), place, numbers.nbytes)

    return Points(dim, False, precision, len(array), row.itemsize, read)


class Table(NamedTuple):
    """How lines of text hold numbers.

    Attributes:
        delimiter: A comma, or None for white space.
        columns: How many each line has.
        used: Those of the coordinates, then others that must be numbers too.
    """

    delimiter: str | None
    columns: int
    used: list[int]

    def rows(self, lines: Iterable[str]) -> Iterable[list[str]]:
        return csv.reader(lines) if self.delimiter else map(str.split, lines)

    def numbers(self, lines: list[str], place: Callable[[int], str]) -> npt.NDArray:
        """Those in use, shape (n, columns in use).

        Raises:
            ValueError: One is none, or a line has more columns or less.
        """
        try:
            numbers = np.loadtxt(lines, delimiter=self.delimiter, comments=None, ndmin=2)
            if numbers.shape[1] == self.columns:
                return numbers[:, self.used]
        except ValueError:
            pass  # a line is wrong, or holds words where they do not matter
        rows = list(self.rows(lines))
        for k, row in enumerate(rows):
            if len(row) != self.columns:
                raise ValueError(f"{place(k)}: {len(row)} columns, not {self.columns}")
            for field in (row[column] for column in self.used):
                if not _is_number(field):
                    raise ValueError(f"{place(k)}: {field.strip()[:40]!r} is no number")
        return np.array([[float(row[column]) for column in self.used] for row in rows])


def _text_points(path: str, dim: int) -> Points:
    title, number = "", 0
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = 3 if file.read(3) == b"\xef\xbb\xbf" else 0  # the mark that Excel puts first
        file.seek(start)
        while encoded := _line(file, path):
            line, number = encoded.decode("utf-8", "replace").strip(), number + 1
            table = Table("," if "," in line else None, 0, [])
            fields = next(iter(table.rows([line])), [])
            if any(map(_is_number, fields)):
                break
            if line and title:
                raise ValueError(f"{path}: line {number}: {line[:40]!r} is no point")
            title, start = title or line, file.tell()
        else:
            raise ValueError(f"{path}: line {number + 1}: the file ends without a point")
    where = f"{path}: line {number}"
    table = table._replace(columns=len(fields), used=_used(title, table, len(fields), dim, where))

    def read(first: int, end: int) -> Iterator[Block]:
        with open(path, "rb") as file:
            file.seek(start + first)
            if first > 0:  # the line that goes on here is the rank's before
                file.seek(start + first - 1)
                _line(file, path)
            while (at := file.tell()) < start + end:
                text = file.read(min(BLOCK_BYTES, start + end - at))
                if not text.endswith(b"\n"):
                    text += _line(file, path)
                split = enumerate(re.split("\r?\n", text.decode("ascii", "replace")), 1)
                lines = {number: line for number, raw in split if (line := raw.strip())}

                def place(k: int, at: int = at, lines: dict[int, str] = lines) -> str:
                    return f"{path}: line {_lines_before(path, at) + list(lines)[k]}"

                if lines:
                    yield Block(table.numbers(list(lines.values()), place), place, len(text))

    return Points(dim, bool(title), np.dtype(np.float64), size - start, 1, read)


def _used(title: str, table: Table, columns: int, dim: int, where: str) -> list[int]:
    """The columns of the coordinates, by their names if there are any."""
    if not title:
        _require_columns(columns, dim, where)
        return list(range(columns))
    words = title.lstrip("#").strip()
    ways = (next(iter(table.rows([words])), []), words.split("\t"))
    names = next((names for names in ways if len(names) == columns), None)
    if names is None:
        raise ValueError(f"{where}: {columns} columns, but the names before are {title[:80]!r}")
    found = [match[1].lower() if (match := NAME.fullmatch(name)) else None for name in names]
    axes = [f"x{k}" for k in range(dim)] if dim > 3 else list("xyz")
    for k, axis in enumerate(axes):
        if found.count(axis) > 1 or (k < dim and axis not in found):
            raise ValueError(
                f"{where}: {found.count(axis)} columns have the name {axis} in the line before, "
                f"{title[:80]!r}; {' and '.join(axes[:dim])} are taken by their names, or without "
                "a line of names the first columns"
            )
    return [found.index(axis) for axis in axes if axis in found]


def _line(file: BufferedReader, path: str) -> bytes:
    """What is left of a line."""
    at = file.tell()
    line = file.readline(MAX_LINE)
    if len(line) == MAX_LINE and not line.endswith(b"\n"):
        raise ValueError(
            f"{path}: line {_lines_before(path, at) + 1} has more than {MAX_LINE} bytes; this is "
            "no table of points"
        )
    return line


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def _lines_before(path: str, end: int) -> int:
    """Lines that end before a byte of a file."""
    parts = range(0, end, BLOCK_BYTES)
    with open(path, "rb") as file:
        return sum(file.read(min(BLOCK_BYTES, end - at)).count(b"\n") for at in parts)
