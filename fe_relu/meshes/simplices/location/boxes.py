# SPDX-License-Identifier: MIT
"""A tree of boxes around groups of simplices, in which none that meets a box can be missed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled

#: Simplices in a box of the lowest level, and boxes in one of the next.
GROUP, BRANCHES = 32, 8

#: Levels of more boxes than there can be.
_DEPTH = 12


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


@compiled
def groups_near(boxes: Any, low: Any, high: Any, found: Any) -> Any:
    """Lists the groups whose boxes meet a box, as group·GROUP is their first simplex; their count.

    Args:
        boxes: The tree.
        low: The lower corner, three numbers.
        high: The upper corner.
        found: To write into, as long as there are groups.
    """
    count = 0
    top = boxes.levels.size - 2
    if top < 0:
        return count
    level, box = np.empty(_DEPTH * BRANCHES, np.int64), np.empty(_DEPTH * BRANCHES, np.int64)
    level[0], box[0], waiting = top, 0, 1
    while waiting > 0:
        waiting -= 1
        at, which = level[waiting], box[waiting]
        side = boxes.sides[boxes.levels[at] + which]
        meets = True
        for axis in range(3):
            meets &= (side[0, axis] <= high[axis]) & (low[axis] <= side[1, axis])
        if not meets:
            continue
        if at == 0:
            found[count] = which
            count += 1
            continue
        size = boxes.levels[at] - boxes.levels[at - 1]
        for child in range(which * BRANCHES, min(which * BRANCHES + BRANCHES, size)):
            level[waiting], box[waiting] = at - 1, child
            waiting += 1
    return count
