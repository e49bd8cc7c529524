# SPDX-License-Identifier: MIT
"""A tree of boxes around groups of simplices, in which none that meets a box can be missed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled, inlined

#: Simplices in a box of the lowest level, and boxes in one of the next.
GROUP, BRANCHES = 16, 8

#: Boxes that wait while a tree is searched, at most: it has fewer than 16 levels.
_WAITING = 16 * BRANCHES


class Boxes(NamedTuple):
    """Boxes level by level, the lowest first.

    Args:
        sides: Lower and upper corner of each, shape (boxes, 2, 3); axes beyond dim are 0.
        levels: Where each level begins, and the end.
    """

    sides: npt.NDArray[np.float64]
    levels: npt.NDArray[np.int64]


def boxes_of(vertices: npt.NDArray, simplices: npt.NDArray) -> Boxes:
    """The tree over simplices (corners, m), near ones one after the other."""
    counts = [-(-simplices.shape[1] // GROUP)]
    while counts[-1] > 1:
        counts.append(-(-counts[-1] // BRANCHES))
    levels = np.concatenate([[0], np.cumsum(counts)])
    sides = np.zeros((levels[-1], 2, 3))
    _fill(vertices, simplices, levels, sides)
    return Boxes(sides, levels)


@compiled
def _fill(vertices: Any, simplices: Any, levels: Any, sides: Any) -> None:
    for axis in range(len(vertices)):
        for box in range(len(sides)):
            sides[box, 0, axis], sides[box, 1, axis] = np.inf, -np.inf
        for k in range(simplices.shape[1]):
            side = sides[k // GROUP]
            for i in range(len(simplices)):
                at = vertices[axis, simplices[i, k]]
                side[0, axis], side[1, axis] = min(side[0, axis], at), max(side[1, axis], at)
    for level in range(levels.size - 2):
        for box in range(levels[level], levels[level + 1]):
            above = levels[level + 1] + (box - levels[level]) // BRANCHES
            for axis in range(len(vertices)):
                sides[above, 0, axis] = min(sides[above, 0, axis], sides[box, 0, axis])
                sides[above, 1, axis] = max(sides[above, 1, axis], sides[box, 1, axis])


@inlined
def room_for(boxes: Any) -> Any:
    """Memory for `groups_near`."""
    return np.empty(boxes.levels[1] + _WAITING, np.int64)


@inlined
def groups_near(boxes: Any, low: Any, high: Any, found: Any) -> Any:
    """Lists the groups whose boxes meet a box, as group·GROUP is their first simplex; their count.

    Args:
        boxes: The tree.
        low: The lower corner, three numbers.
        high: The upper corner.
        found: To write into, from `room_for`.
    """
    count, sides, levels = 0, boxes.sides, boxes.levels
    stack = found[found.size - _WAITING :]  # of 16·box + level
    waiting, stack[0] = 1, levels.size - 2
    while waiting > 0:
        waiting -= 1
        level, box = stack[waiting] % 16, stack[waiting] // 16
        if level == 0:
            found[count] = box
            count += 1
            continue
        size = levels[level] - levels[level - 1]
        for child in range(box * BRANCHES, min(box * BRANCHES + BRANCHES, size)):
            side = sides[levels[level - 1] + child]
            meets = (side[0, 0] <= high[0]) & (low[0] <= side[1, 0])
            meets &= (side[0, 1] <= high[1]) & (low[1] <= side[1, 1])
            meets &= (side[0, 2] <= high[2]) & (low[2] <= side[1, 2])
            stack[waiting] = 16 * child + level - 1
            waiting += meets
    return count
