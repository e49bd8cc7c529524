# SPDX-License-Identifier: MIT
"""Points shared out among threads as compiled loops want them, and a list of some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics import threads
from fe_relu.basics.compiled import compiled
from fe_relu.basics.points import require_finite

#: Points brought into contiguous rows of one dtype at a time, where they are not so given.
CHUNK_POINTS = 1 << 14

#: Points asked for at a time where some are listed: the room for a list is used again, as memory
#: that is new to the process costs more than what is written to it.
LISTED_POINTS = 1 << 16

DOUBLE = np.dtype(np.float64)

#: Coordinates one by one.
Rows = tuple[npt.NDArray, ...]


def swept(
    x: npt.NDArray,
    ask: Callable[[Rows, slice, npt.NDArray], tuple[int, int]],
    *,
    rows: int,
    dtype: np.dtype = DOUBLE,
    listing: bool = False,
) -> npt.NDArray[np.int64]:
    """Asks for all points (dim, n), a part to a thread; the increasing positions of those listed.

    Args:
        x: The points.
        ask: Called with rows, the points that they are, and positions to write into, which are
            counted from the first of them; returns how many points are not finite, and how many
            positions are written.
        rows: How many there are; the last coordinate stands for those beyond.
        dtype: Of the rows.
        listing: Whether positions are wanted.

    Raises:
        ValueError: A coordinate is NaN or infinite.
    """
    shares = threads.parts(x.shape[1])
    found: dict[int, list[npt.NDArray]] = {}

    def run(part: slice) -> int:
        step = min(part.stop - part.start, LISTED_POINTS) if listing else part.stop - part.start
        room, bad, found[part.start] = np.empty(step if listing else 0, np.int64), 0, []
        for columns, here in _contiguous_rows(x, part, step, dtype, rows):
            more, listed = ask(here, columns, room)
            found[part.start].append(room[:listed] + columns.start)
            bad += more
        return bad

    if threads.total(run, shares):
        require_finite(x)
    nothing = np.empty(0, np.int64)
    return np.concatenate([nothing, *(away for part in shares for away in found[part.start])])


def _contiguous_rows(
    x: npt.NDArray, part: slice, step: int, dtype: np.dtype, rows: int
) -> Iterator[tuple[slice, Rows]]:
    """A part's rows, so many points at a time or fewer: as they are, or copied."""
    as_they_are = all(row.flags.carray and row.dtype == dtype for row in x)
    scratch = np.empty((len(x), 0 if as_they_are else CHUNK_POINTS), dtype)
    step = max(1, step if as_they_are else min(step, CHUNK_POINTS))
    for start in range(part.start, part.stop, step):
        columns = slice(start, min(start + step, part.stop))
        here = x[:, columns]
        if not as_they_are:
            here = scratch[:, : here.shape[1]]
            copy_points(x[:, columns], here)
        yield columns, tuple(here[min(k, len(x) - 1)] for k in range(rows))


@compiled
def copy_points(x: Any, rows: Any) -> None:
    """Copies rows of any strides, all in one pass: they may be columns in memory."""
    for k in range(x.shape[1]):
        for axis in range(len(x)):
            rows[axis, k] = x[axis, k]
