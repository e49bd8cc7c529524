# SPDX-License-Identifier: MIT
"""P1 functions on tetrahedra as maxima of four from a point, and of three from a line.

On a convex mesh, a function is the alternating sum of what it is *at* its vertices, edges, facets
and cells, each continued from there as if nothing else were (Brianchon and Gram's formula, summed
over the cells): vertices − edges + facets − cells. At a facet it is a maximum of two, at an edge a
function of the plane across, see `fe_relu.cpwl.rays`. At a vertex it bends on cones of two rays a
and b, by W a × b, and such a cone is, with p and q of a frame of four rays on both sides of its
plane, one of the six where a maximum of four bends:

    c_a a + c_b b + c_p p + c_q q = 0,      bends c_i c_j,      all c_i > 0,

if not of a but of −a, then with the half-plane from the line of a to b in between. What is left are
half-planes, which are functions of the plane again, and cones of rays r and the frame: at each r
two more maxima of four, of r and −r with three of the frame; then one of the frame.

Outside the mesh nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.cpwl import rays
from fe_relu.cpwl.bends import Bends, Ints, bends_of, cross, det

#: Four rays in general position that surround 0, and the factors with which they add up to 0.
FRAME = np.array([[29, -11, -17, -7], [3, 23, -19, -9], [5, 7, 11, -31]])

#: Pairs of the frame, the number of each pair, and which three are not the one.
PAIRS = np.array([[0, 0, 0, 1, 1, 2], [1, 2, 3, 2, 3, 3]])
PLACE = np.array([[-1, 0, 1, 2], [0, -1, 3, 4], [1, 3, -1, 5], [2, 4, 5, -1]])
OTHERS = np.array([[1, 0, 0, 0], [2, 2, 1, 1], [3, 3, 3, 2]])


class Terms(NamedTuple):
    """sign · max(0, three gradients · (x − apex)): signs (m,), gradients (m, 3, 3), apexes (m,)."""

    signs: npt.NDArray
    gradients: npt.NDArray
    apexes: Ints


def terms(
    vertices: npt.NDArray,
    cells: Ints,
    values: npt.NDArray,
    triples: Callable[..., Any] = rays.triples,
) -> Terms:
    """All maxima, of a P1 function on a convex mesh of tetrahedra, in floats or exact numbers."""
    bends = bends_of(vertices, cells, values)
    frame = FRAME.astype(vertices.dtype) if vertices.dtype != object else _rational(FRAME)
    left = _Left.of(bends, vertices.shape[1])
    made = [
        _of_cones(bends, frame, left),
        *_of_rays(bends, frame, left),
        _of_frame(frame, left),
        _of_lines(bends, left, triples),
    ]
    return Terms(*map(np.concatenate, zip(*made, strict=True)))


@dataclass
class _Left:
    """What is left while maxima are taken away.

    Attributes:
        along: Of the cones of each ray and the frame, shape (4, h).
        between: Of the cones in the frame, a pair a row, at each vertex, shape (6, n).
        lines: Half-planes: their rays, sides and bends.
    """

    along: npt.NDArray
    between: npt.NDArray
    lines: list[tuple[Ints, npt.NDArray, npt.NDArray]]

    @staticmethod
    def of(bends: Bends, num_vertices: int) -> _Left:
        dtype = bends.weights.dtype
        along = np.zeros((4, len(bends.origins)), dtype)
        between = np.zeros((6, num_vertices), dtype)
        return _Left(along, between, [(bends.lines, bends.sides, bends.bends)])


def _of_cones(bends: Bends, frame: npt.NDArray, left: _Left) -> Terms:
    """A maximum for each cone, of its rays or their opposites and the best two of the frame."""
    one, other = bends.cones
    a, b = bends.directions[:, one], bends.directions[:, other]
    p, q, (c_a, c_b, c_p, c_q) = _sides(a, b, frame)
    up_a, up_b = np.where(c_a < 0, -1, 1), np.where(c_b < 0, -1, 1)
    c_a, c_b, origins = abs(c_a), abs(c_b), bends.origins[one]
    size = bends.weights * up_a * up_b / (c_a * c_b)
    np.add.at(left.between, (PLACE[p, q], origins), -size * c_p * c_q)
    for up, ray, factor in ((up_a, one, c_a), (up_b, other, c_b)):
        down = up < 0
        for number, further in ((p, c_p), (q, c_q)):
            weight = -size * factor * further
            np.add.at(left.along, (number, ray), up * weight)
            left.lines.append((ray[down], frame[:, number[down]], weight[down]))
    flipped_a, flipped_b = up_a < 0, up_b < 0
    left.lines += [
        (one[flipped_a], b[:, flipped_a], bends.weights[flipped_a]),
        (other[flipped_b], (up_a * a)[:, flipped_b], (up_a * bends.weights)[flipped_b]),
    ]
    corners = np.array([up_a * a, up_b * b, frame[:, p], frame[:, q]])
    return _maxima(corners, np.array([c_a, c_b, c_p, c_q]), size, origins)


def _of_rays(bends: Bends, frame: npt.NDArray, left: _Left) -> list[Terms]:
    """Two maxima for each ray: of it and of its opposite, each with three of the frame.

    −r and r are made of three rays of the frame each, and not of the same. What is left on the
    cones of r and the frame balances, and so is a sum of multiples of both.
    """
    numbers = np.arange(len(bends.origins))
    back, ahead = (_combination(sign * bends.directions, frame) for sign in (-1, 1))
    not_back, not_ahead = back.argmin(axis=0), ahead.argmin(axis=0)
    size_back = left.along[not_ahead, numbers] / back[not_ahead, numbers]
    size_ahead = left.along[not_back, numbers] / ahead[not_back, numbers]
    for number in range(4):
        side = np.repeat(frame[:, [number]], len(numbers), axis=1)
        left.lines.append((numbers, side, size_ahead * ahead[number]))
    made = []
    for sign, combination, missing, size in (
        (1, back, not_back, size_back),
        (-1, ahead, not_ahead, -size_ahead),
    ):
        three = OTHERS[:, missing]
        factors = np.vstack([0 * numbers + 1, combination[three, numbers]])
        for i, j in ((0, 1), (0, 2), (1, 2)):
            weight = -size * factors[1 + i] * factors[1 + j]
            np.add.at(left.between, (PLACE[three[i], three[j]], bends.origins), weight)
        corners = np.array([sign * bends.directions, *(frame[:, number] for number in three)])
        made.append(_maxima(corners, factors, size, bends.origins))
    return made


def _of_frame(frame: npt.NDArray, left: _Left) -> Terms:
    """One maximum at each vertex: what is left on the cones of the frame balances."""
    whole, count = _dependency(frame), left.between.shape[1]
    size = left.between.sum(axis=0) / (whole[PAIRS[0]] * whole[PAIRS[1]]).sum()
    corners = np.repeat(frame.T[:, :, None], count, axis=2)
    return _maxima(corners, np.repeat(whole[:, None], count, axis=1), size, np.arange(count))


def _maxima(corners: npt.NDArray, factors: npt.NDArray, size: npt.NDArray, at: Ints) -> Terms:
    """Maxima that bend by size · factor i · factor j on the cones of corners i and j (4, 3, m)."""
    found = []
    for i, j in ((0, 1), (1, 2), (2, 0)):
        normal = cross(corners[i], corners[j])
        up = (normal * corners[3]).sum(axis=0)
        found.append(np.where(up > 0, normal, -normal) * (abs(size) * factors[i] * factors[j]))
    used = size != 0
    gradients = np.array(found).transpose(2, 0, 1)
    return Terms(np.where(size[used] > 0, 1, -1), gradients[used], at[used])


def _sides(a: npt.NDArray, b: npt.NDArray, frame: npt.NDArray) -> tuple[Ints, Ints, npt.NDArray]:
    """Numbers of rays p, q of the frame on both sides of a and b, and factors of a, b, p, q.

    The factors of p and q are above 0; of several pairs it is that with the best of them.
    """
    heights = np.array([det(a, b, frame[:, [k]]) for k in range(4)])
    p, q = PAIRS
    found = np.array([heights[q], -heights[p]])
    sign = np.where(found[0] > 0, 1, -1)
    found = found * sign
    c_a, c_b = (
        np.array([det(x, frame[:, [i]], frame[:, [j]]) for i, j in PAIRS.T]) for x in (b, a)
    )
    size_a, size_b, sizes = (np.sqrt((x.astype(float) ** 2).sum(axis=0)) for x in (a, b, frame))
    angles = [
        found[0].astype(float) / (sizes[q][:, None] * size_a * size_b),
        found[1].astype(float) / (sizes[p][:, None] * size_a * size_b),
        abs(c_a).astype(float) / ((sizes[p] * sizes[q])[:, None] * size_b),
        abs(c_b).astype(float) / ((sizes[p] * sizes[q])[:, None] * size_a),
    ]
    best = np.min(angles, axis=0).argmax(axis=0)
    numbers = np.arange(a.shape[1])
    p, q, sign = p[best], q[best], sign[best, numbers]
    c_p, c_q = found[:, best, numbers]
    return p, q, np.array([sign * c_a[best, numbers], -sign * c_b[best, numbers], c_p, c_q])


def _dependency(frame: npt.NDArray) -> npt.NDArray:
    """Factors above 0 with which the frame adds up to 0."""
    factors = np.array(
        [(-1) ** k * det(*np.delete(frame, k, axis=1).T[:, :, None])[0] for k in range(4)]
    )
    return factors if factors[0] > 0 else -factors


def _combination(x: npt.NDArray, frame: npt.NDArray) -> npt.NDArray:
    """Factors ≥ 0 of the frame, one of them 0, that make the columns of x; shape (4, m)."""
    whole = _dependency(frame)
    p, q, s = (frame[:, [k]] for k in range(3))
    volume = det(p, q, s)
    found = np.array(
        [det(x, q, s) / volume, det(p, x, s) / volume, det(p, q, x) / volume, 0 * x[0]]
    )
    lowest = (found / whole[:, None]).min(axis=0)
    return found - lowest * whole[:, None]


def _of_lines(bends: Bends, left: _Left, triples: Callable[..., Any]) -> Terms:
    """Half-planes from lines, which balance around each, as functions of the plane across it."""
    lines, sides, weights = (
        np.concatenate(parts, axis=-1) for parts in zip(*left.lines, strict=True)
    )
    along = bends.directions
    axis = np.eye(3, dtype=int)[:, abs(along).argmin(axis=0)]
    one = cross(along, axis)
    two = cross(along, one)
    scale = (cross(one, two) * along).sum(axis=0) / (along * along).sum(axis=0)
    order = np.argsort(lines, kind="stable")
    line, side = lines[order], sides[:, order]
    x, y = ((across[:, line] * side).sum(axis=0) for across in (one, two))
    flat = np.ascontiguousarray(np.vstack([x, y, weights[order] / scale[line]]))
    starts = np.searchsorted(line, np.arange(along.shape[1] + 1))
    most = flat.shape[1] + rays.EXTRA * along.shape[1]
    found, places = np.empty((5, most), flat.dtype), np.empty(most, np.int64)
    fixed = rays.FIXED.astype(float) if flat.dtype != object else _rational(rays.FIXED)
    count = triples(starts, flat, fixed, found, places)
    signs, gx, gy, hx, hy = found[:, :count]
    one, two = one[:, places[:count]], two[:, places[:count]]
    gradients = np.array([gx * one + gy * two, hx * one + hy * two, 0 * one]).transpose(2, 0, 1)
    return Terms(signs, gradients, bends.origins[places[:count]])


def _rational(numbers: npt.NDArray) -> npt.NDArray:
    """Exact numbers, of which quotients are exact."""
    return np.frompyfunc(lambda number: Fraction(int(number)), 1, 1)(numbers)
