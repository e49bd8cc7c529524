# SPDX-License-Identifier: MIT
"""Points shared out among threads, as compiled loops want them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from fe_relu.basics import threads
from fe_relu.basics.points import require_finite

#: Points brought into contiguous rows of float64 at a time, where they are not so given.
CHUNK_POINTS = 1 << 14

#: Coordinates one by one; the last of the mesh's stands for those beyond.
Rows = tuple[npt.NDArray, npt.NDArray, npt.NDArray]


def swept(
    x: npt.NDArray,
    ask: Callable[[Rows, slice, npt.NDArray], tuple[int, int]],
    partial: bool = False,
) -> npt.NDArray[np.int64]:
    """Asks for all points (dim, n), a part to a thread; the positions of those in no cell.

    Args:
        x: The points.
        ask: Called with rows, the points that they are, and positions to write into, which are
            counted from the first of them; returns how many points are not finite, and how many
            positions are written.
        partial: Whether positions are wanted.

    Raises:
        ValueError: A coordinate is NaN or infinite.
    """
    shares = threads.parts(x.shape[1])
    found: dict[int, npt.NDArray] = {}

    def run(part: slice) -> int:
        away = np.empty(part.stop - part.start if partial else 0, np.int64)
        bad = count = 0
        for columns, rows in _contiguous_rows(x, part):
            more, listed = ask(rows, columns, away[count:])
            away[count : count + listed] += columns.start
            bad, count = bad + more, count + listed
        found[part.start] = away[:count].copy()
        return bad

    if threads.total(run, shares):
        require_finite(x)
    return np.concatenate([found[part.start] for part in shares])


def _contiguous_rows(x: npt.NDArray, part: slice) -> Iterator[tuple[slice, Rows]]:
    """Three rows as the loops want them, the last repeated: as they are, or copied in chunks."""
    last = len(x) - 1
    if all(row.flags.carray and row.dtype == np.float64 for row in x):
        yield part, (x[0, part], x[min(1, last), part], x[last, part])
        return
    scratch = np.empty((len(x), CHUNK_POINTS))
    for start in range(part.start, part.stop, CHUNK_POINTS):
        columns = slice(start, min(start + CHUNK_POINTS, part.stop))
        rows = scratch[:, : columns.stop - start]
        rows[:] = x[:, columns]
        yield columns, (rows[0], rows[min(1, last)], rows[last])
