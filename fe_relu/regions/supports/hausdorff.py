# SPDX-License-Identifier: MIT
"""How far two supports are apart.

Let d(x) be the distance of x to a support, a union of simplices K. Over a simplex with corners v,

    max over v of d(v)  ≤  sup of d  ≤  min over K of max over v of d(v, K),

as d(x, K) is convex in x. Simplices for which both differ by more than a tolerance are halved,
until none is left that could change the largest lower bound by more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fe_relu.regions.supports.distance import nearest, to_simplices
from fe_relu.regions.supports.support import Support

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: No more simplices are halved at a time than this; then bounds are as wide as they are.
MOST_HALVED = 1 << 15


@dataclass(frozen=True)
class SupportError:
    """The Hausdorff distance of two supports, enclosed.

    Attributes:
        lower: At most the distance; attained at a vertex of a cell or of its halves.
        upper: At least the distance.
        beyond: (lower, upper) of how far the network's support reaches beyond the other.
        missing: The same of the other's beyond the network's.
    """

    beyond: tuple[float, float]
    missing: tuple[float, float]

    @property
    def lower(self) -> float:
        return max(self.beyond[0], self.missing[0])

    @property
    def upper(self) -> float:
        return max(self.beyond[1], self.missing[1])


def hausdorff(one: Support, other: Support, rtol: float) -> SupportError:
    """The Hausdorff distance of two supports, enclosed; see `fe_relu.support_error`.

    Args:
        one: The network's.
        other: Of the same dimension.
        rtol: How far apart bounds may be, as part of the size of both.

    Raises:
        ValueError: They are of different dimensions.
    """
    if one.dim != other.dim:
        raise ValueError(f"supports are in {one.dim}-D and {other.dim}-D; they must be alike")
    points = np.concatenate([each.convex_parts.reshape(-1, one.dim) for each in (one, other)])
    size = float(np.ptp(points, axis=0).max()) if points.size else 0.0
    return SupportError(_reach(one, other, rtol * size), _reach(other, one, rtol * size))


def _reach(one: Support, other: Support, tolerance: float) -> tuple[float, float]:
    """Bounds of how far one support reaches beyond another."""
    if one.is_empty or other.is_empty:
        far = 0.0 if one.is_empty else np.inf
        return far, far
    targets, left = other.convex_parts, one.convex_parts
    lower, settled = 0.0, 0.0
    while True:
        distance, which = nearest(left.reshape(-1, one.dim), targets)
        lower = max(lower, float(distance.max()))
        upper = _upper(left, which.reshape(len(left), -1), other)
        undecided = upper > lower + tolerance
        settled = max(settled, float(upper[~undecided].max(initial=0)))
        if not undecided.any() or undecided.sum() > MOST_HALVED:
            return lower, max(settled, lower, float(upper[undecided].max(initial=0)))
        left = _halves(left[undecided])


def _upper(simplices: Floats, near: Ints, other: Support) -> Floats:
    """Bounds of how far simplices reach beyond a support.

    The least, over the convex parts K that are nearest to a corner or to the middle, of the largest
    d(corner, K); 0 where a ball around the middle, and so the simplex, is inside.
    """
    targets, middle = other.convex_parts, simplices.mean(axis=1)
    distance, around = nearest(middle, targets)
    found = np.full(len(simplices), np.inf)
    for candidates in (around, *near.T):
        parts = targets[candidates][:, None]
        found = np.minimum(found, to_simplices(simplices, parts).max(axis=1))
    radius = np.linalg.norm(simplices - middle[:, None], axis=2).max(axis=1)
    inner = (distance == 0) & (nearest(middle, other.rim)[0] >= radius)
    return np.where(inner, 0, found)


def _halves(simplices: Floats) -> Floats:
    """Each simplex cut at the middle of its longest edge."""
    count, corners, _ = simplices.shape
    edges = [(a, b) for b in range(corners) for a in range(b)]
    lengths = [((simplices[:, a] - simplices[:, b]) ** 2).sum(axis=1) for a, b in edges]
    longest = np.argmax(lengths, axis=0)
    ends, rows = np.array(edges)[longest], np.arange(count)
    middle = simplices[rows[:, None], ends].mean(axis=1)
    halves = np.stack([simplices, simplices])
    halves[0, rows, ends[:, 0]] = middle
    halves[1, rows, ends[:, 1]] = middle
    return halves.reshape(-1, *simplices.shape[1:])
