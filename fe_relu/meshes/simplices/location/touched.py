# SPDX-License-Identifier: MIT
"""Which buckets cells reach into: points in others are in no cell, and are dismissed at once.

They are those in holes, and those that are another rank's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled, inlined
from fe_relu.meshes.simplices.location.buckets import bucket


class Touched(NamedTuple):
    """Marks of the coarsest buckets.

    Args:
        grid: What tells of their grid, see `Buckets`.
        marks: 1 where a box around a cell, widened by the reach, meets a bucket.
        reach: A distance.
    """

    grid: npt.NDArray[np.float64]
    marks: npt.NDArray[np.uint8]
    reach: float


def touched_by(
    vertices: npt.NDArray, cells: npt.NDArray, grid: npt.NDArray[np.float64], reach: float
) -> Touched:
    """The buckets of a grid that cells (dim + 1, m) reach into."""
    marks = np.zeros(int(grid[4:7].prod()), np.uint8)
    _mark(vertices, cells, grid, reach, marks)
    return Touched(grid.copy(), marks, reach)


@compiled
def _mark(vertices: Any, cells: Any, grid: Any, reach: Any, marks: Any) -> None:
    dim, nx, ny = len(vertices), np.int64(grid[4]), np.int64(grid[5])
    low, high = np.zeros(3), np.zeros(3)
    for k in range(cells.shape[1]):
        for axis in range(dim):
            low[axis], high[axis] = np.inf, -np.inf
            for i in range(len(cells)):
                at = vertices[axis, cells[i, k]]
                low[axis], high[axis] = min(low[axis], at - reach), max(high[axis], at + reach)
        first = bucket(low[0], low[1], low[2], grid, dim)
        last = bucket(high[0], high[1], high[2], grid, dim)
        for c in range(first // (nx * ny), last // (nx * ny) + 1):
            for b in range(first // nx % ny, last // nx % ny + 1):
                for a in range(first % nx, last % nx + 1):
                    marks[(c * ny + b) * nx + a] = 1


@inlined
def may_be_in(x: Any, y: Any, z: Any, touched: Any, near: Any, dim: Any) -> Any:
    """Whether a point may be in a cell, or so near to one."""
    if near > touched.reach:
        return True
    return touched.marks[np.uint64(bucket(x, y, z, touched.grid, dim))] != 0
