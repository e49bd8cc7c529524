# SPDX-License-Identifier: MIT
"""Which cells points lie in, and whether they are in a mesh or within some distance of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.basics.threads import Rows, swept
from fe_relu.meshes.simplices.location.boxes import GROUP, groups_near
from fe_relu.meshes.simplices.location.records import corner_place, height, num_cells
from fe_relu.meshes.simplices.location.settle import nearness
from fe_relu.meshes.simplices.location.touched import may_be_in
from fe_relu.meshes.simplices.location.walk import BLOCK, find, list_lost, new_block

if TYPE_CHECKING:
    from fe_relu.meshes.simplices.location.locator import Locator


def near(
    locator: Locator, x: npt.NDArray, distance: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which points (dim, n) are at most so far from a cell that is not of the ring.

    And, increasing, the positions of those that have no cell here, if others have cells as well.

    Raises:
        ValueError: A coordinate is NaN or infinite.
    """
    out, own = np.empty(x.shape[1], np.bool_), locator.own.shape[1]
    search, axes = locator.search_for(x.dtype), locator.axes

    def ask(rows: Rows, columns: slice, away: npt.NDArray) -> tuple[int, int]:
        return _near(*rows, search, distance, own, out[columns], away, axes)

    away = swept(x, ask, rows=3, listing=locator.mine is not None)
    return out, away


def cells_at(locator: Locator, x: npt.NDArray) -> npt.NDArray[np.int64]:
    """The number of the cell that answers each of the points (dim, n), −1 if there is none.

    Raises:
        ValueError: A coordinate is NaN or infinite.
    """
    out = np.empty(x.shape[1], np.int64)
    search, numbers, axes = locator.search, locator.numbers, locator.axes

    def ask(rows: Rows, columns: slice, away: npt.NDArray) -> tuple[int, int]:
        return _cells(*rows, search, numbers, out[columns], axes), 0

    swept(x, ask, rows=3)
    return out


@compiled
def _cells(x: Any, y: Any, z: Any, search: Any, numbers: Any, out: Any, axes: Any) -> Any:
    bad, block = 0, new_block(search)
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        bad += find(x[start:stop], y[start:stop], z[start:stop], search, block, axes)
        for k in range(stop - start):
            out[start + k] = numbers[block.cell[k]] if block.cell[k] >= 0 else -1
    return bad


@compiled
def _near(
    x: Any, y: Any, z: Any, search: Any, distance: Any, own: Any, out: Any, away: Any, axes: Any
) -> Any:
    """Writes which points are near to a cell all of whose corners are below `own`; see `nearness`.

    Arguments are otherwise those of `walk.evaluate`, and so is what is returned.
    """
    bad, listed, block, dim = 0, 0, new_block(search), len(axes)
    records = search.where.records
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        bad += find(x[start:stop], y[start:stop], z[start:stop], search, block, axes)
        listed = list_lost(block.cell[: stop - start], search.mine, start, away, listed)
        for k in range(stop - start):
            cell, place = block.cell[k], start + k
            out[place] = cell >= 0 and _is_own(records, cell, own, dim)
            if not out[place]:
                point = x[place], y[place] if dim >= 2 else 0.0, z[place] if dim >= 3 else 0.0
                out[place] = _is_near(point, search.where, distance, own, block.groups, dim)
    return bad, listed


@compiled
def _is_near(point: Any, where: Any, near: Any, own: Any, groups: Any, dim: Any) -> Any:
    records, place, (x, y, z) = where.records, where.place, point
    if not may_be_in(x, y, z, where.touched, near, dim):
        return False
    low, high = (x - near, y - near, z - near), (x + near, y + near, z + near)
    for group in range(groups_near(where.boxes, low, high, groups)):
        begin = groups[group] * GROUP
        for cell in range(begin, min(begin + GROUP, num_cells(records, dim))):
            is_own = _is_own(records, cell, own, dim)
            if is_own and nearness(point, records, place, cell, near, dim)[0]:
                return True
    return False


@compiled
def _is_own(records: Any, cell: Any, own: Any, dim: Any) -> Any:
    is_own = True
    for i in range(dim + 1):
        is_own &= records.corners[corner_place(cell, i, dim)] < own
    return is_own


@compiled
def least_height(records: Any, own: Any, dim: Any) -> Any:
    """The least height of a cell all of whose corners are below `own`."""
    least = np.inf
    for cell in range(num_cells(records, dim)):
        if _is_own(records, cell, own, dim):
            for i in range(dim + 1):
                least = min(least, height(records.words, cell, i, dim))
    return least
