# SPDX-License-Identifier: MIT
"""Convex faces cut into triangles that are as fat as can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled


def triangulated(
    vertices: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    corners: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Triangles (3, t), counter-clockwise, without new vertices, and the face of each.

    Of all ways to cut a face, that whose worst triangle has the greatest height per length of its
    longest edge; so vertices on the line between their neighbours are no obstacle.
    """
    sizes = np.diff(offsets)
    cells = np.empty((int((sizes - 2).sum()), 3), np.int64)
    _triangulate(vertices, offsets, corners, cells)
    return cells.T.copy(), np.repeat(np.arange(len(sizes)), sizes - 2)


@compiled
def _quality(vertices: Any, a: Any, b: Any, c: Any) -> Any:
    """Twice the area over the square of the longest edge."""
    ux, uy = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1]
    vx, vy = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1]
    wx, wy = vx - ux, vy - uy
    longest = max(ux * ux + uy * uy, vx * vx + vy * vy, wx * wx + wy * wy)
    return (ux * vy - uy * vx) / longest


@compiled
def _triangulate(vertices: Any, offsets: Any, corners: Any, cells: Any) -> None:
    most = 4
    for f in range(offsets.size - 1):
        most = max(most, offsets[f + 1] - offsets[f])
    best, middle = np.empty((most, most)), np.empty((most, most), np.int64)
    stack = np.empty((most, 2), np.int64)
    place = 0
    for f in range(offsets.size - 1):
        first, count = offsets[f], offsets[f + 1] - offsets[f]
        if count == 3:
            for i in range(3):
                cells[place, i] = corners[first + i]
            place += 1
            continue
        # best[i, j]: the worst triangle of the best way to cut what lies beyond the chord i–j.
        for i in range(count - 1):
            best[i, i + 1] = np.inf
        for span in range(2, count):
            for i in range(count - span):
                j = i + span
                best[i, j] = -np.inf
                for k in range(i + 1, j):
                    worst = min(best[i, k], best[k, j])
                    if worst <= best[i, j]:
                        continue
                    shape = _quality(
                        vertices, corners[first + i], corners[first + k], corners[first + j]
                    )
                    worst = min(worst, shape)
                    if worst > best[i, j]:
                        best[i, j], middle[i, j] = worst, k
        stack[0, 0], stack[0, 1], held = 0, count - 1, 1
        while held > 0:
            held -= 1
            i, j = stack[held]
            if j - i < 2:
                continue
            k = middle[i, j]
            cells[place, 0] = corners[first + i]
            cells[place, 1] = corners[first + k]
            cells[place, 2] = corners[first + j]
            place += 1
            stack[held, 0], stack[held, 1] = i, k
            stack[held + 1, 0], stack[held + 1, 1] = k, j
            held += 2
