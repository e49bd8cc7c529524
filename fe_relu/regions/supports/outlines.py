# SPDX-License-Identifier: MIT
"""The outlines of unions of intervals and of triangles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def joined(intervals: Floats) -> Floats:
    """Intervals (m, 2), those that touch as one."""
    found: list[list[float]] = []
    ends: Any = intervals.tolist()
    for start, end in sorted(ends):
        if found and start <= found[-1][1]:
            found[-1][1] = max(end, found[-1][1])
        else:
            found.append([start, end])
    return np.array(found).reshape(-1, 2)


def single_edges(cells: Ints) -> Ints:
    """Edges of one triangle only, (2, m), with the triangle on the left."""
    ends = np.concatenate([cells[[0, 1]], cells[[1, 2]], cells[[2, 0]]], axis=1)
    undirected = np.sort(ends, axis=0)
    _, first, counts = np.unique(undirected, axis=1, return_index=True, return_counts=True)
    return ends[:, first[counts == 1]]


def area(loop: Floats) -> float:
    x, y = loop - loop[:, :1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def loops_of(vertices: Floats, cells: Ints) -> list[list[int]]:
    """Edges of one triangle only, as closed chains that pass no vertex twice."""
    ahead: dict[int, list[int]] = {}
    edges: Any = single_edges(cells).T.tolist()
    for a, b in edges:
        ahead.setdefault(a, []).append(b)
    left = {(a, b): _leftmost(vertices, a, b, ahead[b]) for a, b in edges}
    loops = []
    while left:
        (a, b), walk = min(left), []
        while (a, b) in left:
            walk.append(a)
            a, b = b, left.pop((a, b))
        loops += _simple(walk)
    places: Any = [vertices[:, loop].T.tolist() for loop in loops]
    firsts = [min(range(len(at)), key=at.__getitem__) for at in places]
    turned = [loop[first:] + loop[:first] for loop, first in zip(loops, firsts, strict=True)]
    return sorted(turned, key=lambda loop: vertices[:, loop[:2]].T.tolist())


def _simple(walk: list[int]) -> list[list[int]]:
    """A closed walk as closed chains that pass no vertex twice; it touches itself, at most."""
    loops: list[list[int]] = []
    path: list[int] = []
    place: dict[int, int] = {}
    for vertex in walk:
        if vertex in place:
            loops.append(path[place[vertex] :])
            for other in loops[-1]:
                del place[other]
            del path[len(path) - len(loops[-1]) :]
        place[vertex] = len(path)
        path.append(vertex)
    return [*loops, path]


def _leftmost(vertices: Floats, before: int, here: int, ways: list[int]) -> int:
    """Of the ways on, the one that turns most to the left: around the same part."""
    if len(ways) == 1:
        return ways[0]
    back, *on = (complex(*(vertices[:, k] - vertices[:, here])) for k in (before, *ways))
    # Clockwise from where the chain comes from, the first edge bounds the same part.
    angles = np.angle([way / back for way in on]) % (2 * np.pi)
    return ways[int(np.argmax(angles))]
