# SPDX-License-Identifier: MIT
"""Faces across whose edges a network does not bend become one, as long as that is convex."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.regions.halfedges import HalfEdges, loops, of_loops

#: A network bends across an edge if slopes differ by more than this part of the largest.
BEND = 2.0**-36

#: Corners are straight up to this sine.
STRAIGHT = 2.0**-36


def merged(
    faces: HalfEdges, slopes: npt.NDArray[np.float64]
) -> tuple[HalfEdges, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Fewer faces, the vertices that are left, and an old face in each of the new ones.

    Where all faces on which the network is one affine function make up a convex polygon, that is
    one face; where not, edges between them are left out one by one, the last first, as long as
    faces stay convex. Vertices at which no edge ends but two in line are left out.

    Args:
        faces: All that the network may bend across.
        slopes: The gradient on each face, shape (faces, k, 2).
    """
    edges = faces.num_edges
    origins, nexts = faces.origins[:edges].copy(), faces.nexts[:edges].copy()
    twins = faces.twins[:edges]
    face = np.empty(edges, np.int64)
    _label(nexts, faces.starts[: faces.num_faces], face)
    inner = np.flatnonzero((twins >= 0) & (twins > np.arange(edges)))
    slopes = slopes.reshape(faces.num_faces, -1)
    jump = np.abs(slopes[face[inner]] - slopes[face[twins[inner]]]).max(axis=1)
    flat = inner[jump <= BEND * np.abs(slopes).max()]
    removed = np.zeros(edges, np.bool_)
    group = np.arange(faces.num_faces)
    _merge(faces.points, origins, nexts, twins, face, flat[::-1].copy(), removed, group)
    starts = np.full(faces.num_faces, -1)
    left = np.flatnonzero(~removed)
    starts[face[left]] = left  # `face` names the group by now
    old = np.flatnonzero(starts >= 0)
    few = HalfEdges(
        faces.points, faces.num_points, origins, nexts, twins, len(left),
        starts[old].astype(np.int32), len(old),
    )  # fmt: skip
    offsets, corners = loops(few)
    return *_without_straight(faces.vertices(), offsets, corners), old


@compiled
def _label(nexts: Any, starts: Any, face: Any) -> None:
    for f in range(starts.size):
        h = starts[f]
        while True:
            face[h] = f
            h = nexts[h]
            if h == starts[f]:
                break


@compiled
def _root(group: Any, f: Any) -> Any:
    while group[f] != f:
        group[f] = group[group[f]]
        f = group[f]
    return f


@compiled
def _turns_left(points: Any, a: Any, b: Any, c: Any) -> Any:
    """Whether a, b, c turn left or go straight on."""
    ux, uy = points[2 * b] - points[2 * a], points[2 * b + 1] - points[2 * a + 1]
    vx, vy = points[2 * c] - points[2 * b], points[2 * c + 1] - points[2 * b + 1]
    size = np.sqrt((ux * ux + uy * uy) * (vx * vx + vy * vy))
    return ux * vy - uy * vx >= -STRAIGHT * size and ux * vx + uy * vy > -size * (1 - STRAIGHT)


@compiled
def _merge(
    points: Any, origins: Any, nexts: Any, twins: Any, face: Any, flat: Any,
    removed: Any, group: Any,
) -> None:  # fmt: skip
    """Takes out half-edges, whole components of one affine function first."""
    count = origins.size
    gone = np.zeros(count, np.bool_)
    for h in flat:
        gone[h] = gone[twins[h]] = True
        a, b = _root(group, face[h]), _root(group, face[twins[h]])
        group[max(a, b)] = min(a, b)
    # The boundary of each component: one loop of left turns, or it is not convex.
    ahead, back = np.full(count, -1), np.full(count, -1)
    sides = np.zeros(group.size, np.int64)
    for h in range(count):
        if not gone[h]:
            after = nexts[h]
            while gone[after]:
                after = nexts[twins[after]]
            ahead[h], back[after] = after, h
            sides[_root(group, face[h])] += 1
    convex = np.zeros(group.size, np.bool_)
    seen = np.zeros(count, np.bool_)
    for h in range(count):
        if gone[h] or seen[h]:
            continue
        length, left, turn, at = 0, True, 0.0, h
        while True:
            seen[at] = True
            length += 1
            a, b, c = origins[at], origins[ahead[at]], origins[ahead[ahead[at]]]
            left = left and _turns_left(points, a, b, c)
            ux, uy = points[2 * b] - points[2 * a], points[2 * b + 1] - points[2 * a + 1]
            vx, vy = points[2 * c] - points[2 * b], points[2 * c + 1] - points[2 * b + 1]
            turn += np.arctan2(ux * vy - uy * vx, ux * vx + uy * vy)
            at = ahead[at]
            if at == h:
                break
        root = _root(group, face[h])
        convex[root] = left and length == sides[root] and abs(turn - 2 * np.pi) < 1
    for h in flat:
        if convex[_root(group, face[h])]:
            removed[h] = removed[twins[h]] = True
    for h in range(count):
        if convex[_root(group, face[h])]:
            face[h] = _root(group, face[h])
            if not gone[h]:
                nexts[h] = ahead[h]
    # Edge by edge in the others. `back` is now the half-edge before.
    for h in range(count):
        if not removed[h]:
            back[nexts[h]] = h
    for h in flat:
        t = twins[h]
        if removed[h] or face[h] == face[t]:
            continue
        before, after = back[h], nexts[t]
        if not _turns_left(points, origins[before], origins[h], origins[nexts[after]]):
            continue
        before_t, after_t = back[t], nexts[h]
        if not _turns_left(points, origins[before_t], origins[t], origins[nexts[after_t]]):
            continue
        if before == t or before_t == h:
            continue
        removed[h] = removed[t] = True
        nexts[before], back[after] = after, before
        nexts[before_t], back[after_t] = after_t, before_t
        keep, at = min(face[h], face[t]), after
        while True:
            face[at] = keep
            at = nexts[at]
            if at == after:
                break


def _without_straight(
    vertices: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    corners: npt.NDArray[np.int64],
) -> tuple[HalfEdges, npt.NDArray[np.int64]]:
    """The same faces without vertices at which none of them has a corner."""
    ends = np.empty_like(corners)
    ends[:-1] = corners[1:]
    ends[offsets[1:] - 1] = corners[offsets[:-1]]
    starts = np.empty_like(corners)
    starts[1:] = corners[:-1]
    starts[offsets[:-1]] = corners[offsets[1:] - 1]
    a, b = vertices[corners] - vertices[starts], vertices[ends] - vertices[corners]
    sine = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    bent = sine > STRAIGHT * np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    needed = np.zeros(len(vertices), np.bool_)
    needed[corners[bent]] = True
    kept = needed[corners]
    number = np.cumsum(needed) - 1
    sums = np.concatenate([[0], np.cumsum(kept)])
    left = np.flatnonzero(needed)
    return of_loops(vertices[left], sums[offsets], number[corners[kept]]), left
