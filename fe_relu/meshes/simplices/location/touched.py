# SPDX-License-Identifier: MIT
"""Which buckets cells reach into: points in others are in no cell, and are dismissed at once.

They are those in holes, and those that are another rank's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled, inlined
from fe_relu.meshes.simplices.location.buckets import bucket, place


class Touched(NamedTuple):
    """Marks of the coarsest buckets.

    Args:
        grid: What tells of their grid, see `Buckets`.
        marks: A bit for each bucket, eight together: 1 where a box around a cell, widened by the
            reach, meets it.
        reach: A distance.
    """

    grid: npt.NDArray[np.float64]
    marks: npt.NDArray[np.uint8]
    reach: float


def touched_by(
    vertices: npt.NDArray, cells: npt.NDArray, grid: npt.NDArray[np.float64], reach: float
) -> Touched:
    """The buckets of a grid that cells (dim + 1, m) reach into."""
    marks = np.zeros(int(grid[4:7].prod()) // 8 + 1, np.uint8)
    _mark(vertices, cells, grid, reach, marks)
    return Touched(grid.copy(), marks, reach)


@compiled
def _mark(vertices: Any, cells: Any, grid: Any, reach: Any, marks: Any) -> None:
    dim, nx, ny = len(vertices), np.int64(grid[4]), np.int64(grid[5])
    for k in range(cells.shape[1]):
        a0, a1 = _span(vertices, cells, k, grid, reach, 0)
        b0, b1 = _span(vertices, cells, k, grid, reach, 1) if dim >= 2 else (0, 0)
        c0, c1 = _span(vertices, cells, k, grid, reach, 2) if dim >= 3 else (0, 0)
        for c in range(c0, c1 + 1):
            for b in range(b0, b1 + 1):
                for a in range(a0, a1 + 1):
                    byte, bit = divmod((c * ny + b) * nx + a, 8)
                    marks[byte] |= np.uint8(1 << bit)


@inlined
def _span(vertices: Any, cells: Any, k: Any, grid: Any, reach: Any, axis: Any) -> Any:
    """The first and the last bucket along an axis."""
    low, high = np.inf, -np.inf
    for i in range(len(cells)):
        at = vertices[axis, cells[i, k]]
        low, high = min(low, at), max(high, at)
    first = place((low - reach - grid[axis]) * grid[3], grid[4 + axis])
    return first, place((high + reach - grid[axis]) * grid[3], grid[4 + axis])


@inlined
def may_be_in(x: Any, y: Any, z: Any, touched: Any, near: Any, dim: Any) -> Any:
    """Whether a point may be in a cell, or so near to one."""
    if near > touched.reach:
        return True
    number = np.uint64(bucket(x, y, z, touched.grid, dim))
    bits = touched.marks[number >> np.uint64(3)] >> (number & np.uint64(7))
    return bits & np.uint64(1) != 0
