# SPDX-License-Identifier: MIT
"""Points on facets, or where no walk leads: which cell answers, the same from wherever one starts.

A point lies in a cell if it is on the inner side of no facet's outside, said by `exact.side`. On a
facet, an edge or a vertex, the cell with the smallest number around it answers. A point that lies
in no cell, but within roundoff of one, is answered by the nearest as if it lay on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fe_relu.basics.compiled import compiled, inlined
from fe_relu.meshes.simplices.location.boxes import GROUP, groups_near
from fe_relu.meshes.simplices.location.exact import side
from fe_relu.meshes.simplices.location.records import (
    barycentric,
    corner_place,
    height,
    least_of,
    link,
    num_cells,
)
from fe_relu.meshes.simplices.location.touched import may_be_in

#: Steps after which a walk is given up, and boxes are searched.
_PATIENCE = 64


@compiled
def settle(x: Any, y: Any, z: Any, where: Any, block: Any, doubts: Any, axes: Any) -> Any:
    """Settles the first so many doubtful points; how many of them are not finite.

    Args:
        x: First coordinates of a block's points.
        y: Second ones, or again x; likewise z.
        z: See y.
        where: `known.Whereabouts`.
        block: To write into; its cells are near the points, perhaps.
        doubts: How many are doubtful.
        axes: A tuple as long as points have coordinates.
    """
    dim = len(axes)
    records, place, bad = where.records, where.place, 0
    cells, w1, w2, w3 = block.cell, block.w1, block.w2, block.w3
    for j in range(doubts):
        k = block.doubtful[j]
        a, b, c = x[k], y[k] if dim >= 2 else 0.0, z[k] if dim >= 3 else 0.0
        inside, on = np.int64(-1), 0
        if a - a + (b - b) + (c - c) != 0:
            bad += 1
        elif _is_in_box(a, b, c, place, dim) and may_be_in(a, b, c, where.touched, place.near, dim):
            inside, on = _at_vertex(a, b, c, records, place, cells[k], dim)
            if inside < 0:
                inside, on = _walked(a, b, c, records, place, cells[k], dim)
            if inside < 0:
                inside, on = _searched(a, b, c, where, block.groups, dim)
        kept, corners = (1 << (dim + 1)) - 1, dim + 1
        if inside >= 0 and on != 0:
            inside, kept, corners = _smallest(records, inside, on, dim)
        cells[k] = inside
        w1[k] = w2[k] = w3[k] = 0.0
        if inside >= 0:
            _, l1, l2, l3, _ = barycentric(records.words, inside, a, b, c, dim)
            w1[k] = _weight(l1, kept & 2, corners)
            w2[k] = _weight(l2, kept & 4, corners)
            w3[k] = _weight(l3, kept & 8, corners)
    return bad


@inlined
def _weight(weight: Any, kept: Any, corners: Any) -> Any:
    return 0.0 if not kept else (1.0 if corners == 1 else weight)


@inlined
def _is_in_box(x: Any, y: Any, z: Any, place: Any, dim: Any) -> Any:
    point, near, inside = (x, y, z), place.near, True
    for axis in range(dim):
        at = point[axis]
        inside &= (place.low[axis] <= at + near) & (at - near <= place.high[axis])
    return inside


@inlined
def _at_vertex(x: Any, y: Any, z: Any, records: Any, place: Any, cell: Any, dim: Any) -> Any:
    """As `_walked`, if the point is a corner of the cell: a shortcut for many points that are."""
    l0, l1, l2, l3, roundoff = barycentric(records.words, cell, x, y, z, dim)
    weights = (l0, l1, l2, l3)
    for i in range(dim + 1):
        if weights[i] >= 1 - 4 * roundoff and _vertex(records, place, cell, i, dim) == (x, y, z):
            return cell, (1 << (dim + 1)) - 1 - (1 << i)
    return np.int64(-1), 0


@inlined
def _walked(x: Any, y: Any, z: Any, records: Any, place: Any, cell: Any, dim: Any) -> Any:
    """A cell that the point is in and the facets of it that it is on, as bits; or −1."""
    for _ in range(_PATIENCE):
        out, on = _sides(x, y, z, records, place, cell, dim)
        if out < 0:
            return cell, on
        cell = link(records, cell, out, dim) >> 1
        if cell < 0:
            break
    return np.int64(-1), 0


@inlined
def _sides(x: Any, y: Any, z: Any, records: Any, place: Any, cell: Any, dim: Any) -> Any:
    """The facet of a cell that the point is farthest beyond, or −1; those it is on, as bits."""
    l0, l1, l2, l3, roundoff = barycentric(records.words, cell, x, y, z, dim)
    weights = (l0, l1, l2, l3)
    out, on, least, orientation = -1, 0, np.inf, 0
    for i in range(dim + 1):
        sign = 1 if weights[i] > 0 else -1
        if not abs(weights[i]) > roundoff:
            if orientation == 0:
                orientation = _side(
                    _vertex(records, place, cell, 0, dim), records, place, cell, 0, dim
                )
            sign = orientation * _side((x, y, z), records, place, cell, i, dim)
            sign = -sign if i % 2 else sign
        if sign == 0:
            on |= 1 << i
        if sign < 0 and weights[i] < least:
            out, least = i, weights[i]
    return out, on


@inlined
def _side(point: Any, records: Any, place: Any, cell: Any, i: Any, dim: Any) -> Any:
    """On which side of facet i of a cell a point is, where corners have their order."""
    p = _vertex(records, place, cell, 1 if i == 0 else 0, dim)
    q = _vertex(records, place, cell, 2 if i <= 1 else 1, dim) if dim >= 2 else p
    r = _vertex(records, place, cell, 3 if i <= 2 else 2, dim) if dim >= 3 else p
    return side(point, p, q, r, dim)


@inlined
def _corner(records: Any, cell: Any, i: Any, dim: Any) -> Any:
    return np.int64(records.corners[corner_place(cell, i, dim)])


@inlined
def _vertex(records: Any, place: Any, cell: Any, i: Any, dim: Any) -> Any:
    v = np.int64(place.order[_corner(records, cell, i, dim)])
    own, ring = place.own, place.ring
    if v < own.shape[1]:
        return own[0, v], own[1, v] if dim >= 2 else 0.0, own[2, v] if dim >= 3 else 0.0
    v -= own.shape[1]
    return ring[0, v], ring[1, v] if dim >= 2 else 0.0, ring[2, v] if dim >= 3 else 0.0


@compiled
def _searched(x: Any, y: Any, z: Any, where: Any, groups: Any, dim: Any) -> Any:
    """As `_walked`, of all cells that the point may be in; else the nearest, within roundoff."""
    records, place = where.records, where.place
    near, point = place.near, (x, y, z)
    low, high = (x - near, y - near, z - near), (x + near, y + near, z + near)
    best, least = np.int64(-1), near
    for group in range(groups_near(where.boxes, low, high, groups)):
        begin = groups[group] * GROUP
        for cell in range(begin, min(begin + GROUP, num_cells(records, dim))):
            is_near, beyond = nearness(point, records, place, cell, near, dim)
            if not is_near:
                continue
            out, on = _sides(x, y, z, records, place, cell, dim)
            if out < 0:
                return np.int64(cell), on
            if near > 0 and beyond <= least:
                best, least = np.int64(cell), beyond
    if best < 0:
        return best, 0
    return best, _behind(x, y, z, records, best, dim)


@inlined
def nearness(point: Any, records: Any, place: Any, cell: Any, near: Any, dim: Any) -> Any:
    """Whether a point is so near to a cell, and how far it is beyond a facet of it at most.

    Near is what is that near to the inner side of every facet, and to the box around the cell.
    """
    x, y, z = point
    l0, l1, l2, l3, roundoff = barycentric(records.words, cell, x, y, z, dim)
    least, i = least_of(l0, l1, l2, l3, dim)
    farthest, weights = -least * height(records.words, cell, i, dim), (l0, l1, l2, l3)
    if least < -roundoff and farthest * (1 + roundoff / least) > near:  # most are far
        return False, farthest
    for i in range(dim + 1):
        tall = height(records.words, cell, i, dim)
        farthest = max(farthest, -weights[i] * tall)
        if (-weights[i] - roundoff) * tall > near:
            return False, farthest
    return _is_in_box_of(point, records, place, cell, near, dim), farthest


@inlined
def _is_in_box_of(point: Any, records: Any, place: Any, cell: Any, near: Any, dim: Any) -> Any:
    p, q = _vertex(records, place, cell, 0, dim), _vertex(records, place, cell, 1, dim)
    r, s = _vertex(records, place, cell, min(2, dim), dim), _vertex(records, place, cell, dim, dim)
    inside = True
    for axis in range(dim):
        low = min(min(p[axis], q[axis]), min(r[axis], s[axis]))
        high = max(max(p[axis], q[axis]), max(r[axis], s[axis]))
        inside &= (low - near <= point[axis]) & (point[axis] <= high + near)
    return inside


@compiled
def _behind(x: Any, y: Any, z: Any, records: Any, cell: Any, dim: Any) -> Any:
    """The facets of the nearest cell that a point is beyond, or on, up to roundoff."""
    l0, l1, l2, l3, roundoff = barycentric(records.words, cell, x, y, z, dim)
    weights, on = (l0, l1, l2, l3), 0
    for i in range(dim + 1):
        if weights[i] <= roundoff:
            on |= 1 << i
    return on


@inlined
def _smallest(records: Any, cell: Any, on: Any, dim: Any) -> Any:
    """The cell that answers a point on facets of a cell; its corners around the point, as bits."""
    first, last, around = -1, -1, 0
    for i in range(dim, -1, -1):
        if not on & (1 << i):
            first, last, around = i, max(last, i), around + 1
    best = cell
    if around == 1:
        best = np.int64(records.smallest[_corner(records, cell, first, dim)])
    elif around == dim:
        best = _smaller_beyond(records, cell, on, dim)
    elif around == 2:
        ends = _corner(records, cell, first, dim), _corner(records, cell, last, dim)
        best = _smallest_around(records, ends, dim)
    kept = 0
    for i in range(dim + 1):
        for j in range(dim + 1):
            same = _corner(records, best, i, dim) == _corner(records, cell, j, dim)
            kept |= (1 << i) * (same and not on & (1 << j))
    return best, kept, around


@inlined
def _smaller_beyond(records: Any, cell: Any, on: Any, dim: Any) -> Any:
    """Of the two cells at the one facet that a point is on, the one with the smaller number."""
    best = cell
    for i in range(dim + 1):
        if on & (1 << i):
            beyond = link(records, cell, i, dim)
            best = beyond >> 1 if beyond >= 0 and beyond & 1 else best
    return best


@inlined
def _smallest_around(records: Any, ends: Any, dim: Any) -> Any:
    """In 3-D, of the cells around an edge the one with the smallest number."""
    for place in range(records.edge_starts[ends[0]], records.edge_starts[ends[0] + 1]):
        other = np.int64(records.edge_cells[place])
        for i in range(dim + 1):
            if _corner(records, other, i, dim) == ends[1]:
                return other
    return np.int64(-1)
