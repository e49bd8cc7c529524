# SPDX-License-Identifier: MIT
"""Points in npy files, a block at a time.

Ranks share a file: each reads rows that lie one after the other, rank 0 the first ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: Bytes read at once.
BLOCK_BYTES = 1 << 20


class Block(NamedTuple):
    """Finite points, shape (n, columns); where each comes from; the bytes that hold them."""

    points: npt.NDArray
    place: Callable[[int], str]
    nbytes: int


def require_columns(found: int, allowed: set[int], where: str) -> None:
    """Raises, naming the place, unless points may have so many columns."""
    if found not in allowed:
        wanted = " or ".join(str(count) for count in sorted(allowed))
        raise ValueError(f"{where}: {found} columns; points have {wanted}")


def require_finite(block: Block) -> None:
    """Raises, naming the place, if a point is NaN or infinite."""
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
        if any(type(count) is not int or count < 0 for count in shape):
            raise ValueError(f"{path}: an array of shape {shape}, which is none")
        require_columns(shape[1], columns, path)
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
                require_finite(block)
                yield block

    @property
    def _row_bytes(self) -> int:
        return self.shape[1] * self.dtype.itemsize

    def _rows(self, rank: int, ranks: int) -> tuple[int, int]:
        return self.shape[0] * rank // ranks, self.shape[0] * (rank + 1) // ranks

    def _place(self, row: int) -> Callable[[int], str]:
        return lambda k: f"{self.path}: row {row + k}"
