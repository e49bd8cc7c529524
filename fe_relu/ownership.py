# SPDX-License-Identifier: MIT
"""Which window answers which point: compiled loops over plain arrays, without communication."""

from __future__ import annotations

from typing import Any

import numpy as np

from fe_relu.blocks import Window
from fe_relu.compiled import compiled
from fe_relu.grid import Grid
from fe_relu.kernels import kept, lattice_point, not_finite, unpacked


def held_bounds(grid: Grid, window: Window) -> tuple[float, float, float, float]:
    """The lattice coordinates, counted from the ring, that a window answers, first and end of each.

    A window on the border of the grid answers for everything beyond it.
    """
    bounds = []
    for start, cells, total in zip(window.start, window.shape, grid.shape, strict=True):
        bounds.append(-np.inf if start == 0 and cells else start + 1.0)
        bounds.append(np.inf if start + cells == total else start + cells + 1.0)
    return bounds[0], bounds[1], bounds[2], bounds[3]


@compiled
def sort_by_key(keys: Any, size: Any) -> Any:
    """How often each key 0 … size − 1 occurs, and the stable order that sorts the keys."""
    counts = np.zeros(size, np.int64)
    for key in keys:
        counts[key] += 1
    place = np.cumsum(counts) - counts
    order = np.empty(keys.size, np.int64)
    for k in range(keys.size):
        key = keys[k]
        order[place[key]] = k
        place[key] += 1
    return counts, order


@compiled
def held(x: Any, y: Any, frame: Any, bounds: Any, out: Any) -> Any:
    """Writes into out whether a window answers each point; counts NaN or infinite coordinates.

    Args:
        x: First coordinates, shape (n,), any stride.
        y: Second coordinates, likewise.
        frame: As `lattice_frame` returns, of the dtype to compute in.
        bounds: As `held_bounds` returns.
        out: Shape (n,), bool.
    """
    real = frame.dtype.type
    numbers = unpacked(frame)
    first_i, end_i, first_j, end_j = bounds
    bad = 0
    for k in range(out.size):
        bad += not_finite(x[k], y[k])
        s, t = lattice_point(real(x[k]), real(y[k]), numbers)
        out[k] = (s >= first_i) & (s < end_i) & (t >= first_j) & (t < end_j)
    return bad


@compiled
def owners(x: Any, y: Any, frame: Any, columns: Any, rows: Any, ranks: Any) -> Any:
    """The rank that answers each point, shape (n,), int32.

    Args:
        x: First coordinates, shape (n,), any stride.
        y: Second coordinates, likewise.
        frame: As `lattice_frame` returns, of the dtype to compute in.
        columns: Block column of each column of cells, shape (nx,).
        rows: Block row of each row of cells, shape (ny,), times the number of block columns.
        ranks: Rank of each block.
    """
    real = frame.dtype.type
    numbers = unpacked(frame)
    out = np.empty(x.size, np.int32)
    for k in range(out.size):
        s, t = lattice_point(real(x[k]), real(y[k]), numbers)
        i = min(np.int64(kept(s, 1, columns.size + 1, real)), columns.size) - 1
        j = min(np.int64(kept(t, 1, rows.size + 1, real)), rows.size) - 1
        out[k] = ranks[rows[j] + columns[i]]
    return out
