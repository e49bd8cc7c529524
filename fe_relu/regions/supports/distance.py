# SPDX-License-Identifier: MIT
"""Distances of points to points, segments and triangles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Pairs of a point and a simplex looked at together.
AT_ONCE = 1 << 20


def to_simplices(points: Floats, simplices: Floats) -> Floats:
    """Of points (…, dim) to simplices (…, corners, dim): points, segments or triangles."""
    count = simplices.shape[-2]
    least: npt.NDArray = np.full((), np.inf)
    inside: npt.NDArray = np.ones((), bool)
    for k in range(count if count > 2 else 1):
        a, b = simplices[..., k, :], simplices[..., (k + 1) % count, :]
        side, away = b - a, points - a
        length = (side * side).sum(axis=-1)
        along = np.clip((away * side).sum(axis=-1) / np.where(length > 0, length, 1), 0, 1)
        least = np.minimum(least, _length(away - along[..., None] * side))
        if count == 3:
            inside = inside & (side[..., 0] * away[..., 1] - side[..., 1] * away[..., 0] >= 0)
    return np.where(inside, 0, least) if count == 3 else least


def _length(x: Floats) -> Floats:
    """Of vectors (…, dim), however long they are."""
    return np.hypot.reduce(np.abs(x), axis=-1)


def nearest(points: Floats, simplices: Floats) -> tuple[Floats, Ints]:
    """The distance of points (n, dim) to the nearest of simplices, and which that is."""
    distance, which = np.full(len(points), np.inf), np.zeros(len(points), np.int64)
    if len(simplices) == 0 or len(points) == 0:
        return distance, which
    middles = simplices.mean(axis=1)
    radius = _length(simplices - middles[:, None]).max()
    corners, tree = cKDTree(simplices.reshape(-1, points.shape[1])), cKDTree(middles)
    # The nearest is not farther than the nearest corner, and its middle by a radius at most.
    reach = corners.query(points)[0] * (1 + 1e-12) + radius
    counts = tree.query_ball_point(points, reach, return_length=True)
    ends = np.cumsum(counts)
    for first, last in _stretches(ends):
        near = tree.query_ball_point(points[first:last], reach[first:last])
        rows, columns = np.repeat(np.arange(first, last), counts[first:last]), np.concatenate(near)
        found = to_simplices(points[rows], simplices[columns.astype(np.int64)])
        starts = ends[first:last] - counts[first:last]
        least = np.lexsort((found, rows))[starts - starts[0]]
        distance[first:last], which[first:last] = found[least], columns[least]
    return distance, which


def _stretches(ends: Ints) -> Iterator[tuple[int, int]]:
    """Stretches of points with about `AT_ONCE` pairs each, of which those up to a point end so."""
    first = 0
    while first < len(ends):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + AT_ONCE, side="right")))
        yield first, last
        first = last
