# SPDX-License-Identifier: MIT
"""Any hat function of a triangulation is a sum of diamonds: this finds them, star by star.

A *star* is a vertex v and its *link*, the neighbours counter-clockwise around it. A *diamond* is 1
where the diagonals ac and bd of a convex quadrilateral cross, linear on the four triangles, and 0
outside:

          c
        ╱ │ ╲
       d──┼───b      R(1 − R(s)/s(a) − R(−s)/|s(c)| − R(t)/t(b) − R(−t)/|t(d)|)
        ╲ │ ╱        s, t the distances from the lines bd and ac
          a

Arithmetic here is + − · / and comparison, so that the very same source runs on rationals.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fe_relu.basics.compiled import compiled

#: Of stars with more neighbours, about so many are tried as diagonals of the first diamond.
MOST_SPOKES = 14


class Star(NamedTuple):
    """A vertex with its link, and room for what is found.

    Attributes:
        p: Points, counted from the vertex, (…, 2): rows 0 … k − 1 are the link, row k is the
            vertex, and what follows is free.
        names: What vertex of the mesh each point is, −1 if none.
        k: The number of neighbours.
        tolerance: Points no farther than that from a line are on it.
        chain: Room for k points.
        parts: Diamonds, rows of 8 points: two on one line, two on the other, two to both sides of
            the first where the diamond ends, and two to both sides of the second.
        factors: What to multiply each diamond by.
    """

    p: Any
    names: Any
    k: Any
    tolerance: Any
    chain: Any
    parts: Any
    factors: Any


@compiled
def area(p: Any, a: Any, b: Any, c: Any) -> Any:
    """Twice the area of the triangle abc, negative if it is clockwise."""
    return (p[b, 0] - p[a, 0]) * (p[c, 1] - p[a, 1]) - (p[b, 1] - p[a, 1]) * (p[c, 0] - p[a, 0])


@compiled
def square(p: Any, a: Any, b: Any) -> Any:
    """The square of the distance of a from b."""
    return (p[b, 0] - p[a, 0]) ** 2 + (p[b, 1] - p[a, 1]) ** 2


@compiled
def on_line(p: Any, a: Any, b: Any, c: Any, tolerance: Any) -> Any:
    """Whether c is no farther than that from the line ab."""
    return area(p, a, b, c) ** 2 <= tolerance**2 * square(p, a, b)


@compiled
def place_between(p: Any, new: Any, a: Any, b: Any, to_a: Any, to_b: Any) -> None:
    """Makes the new point (to_a · a + to_b · b) / (to_a + to_b)."""
    for axis in range(2):
        p[new, axis] = (to_a * p[a, axis] + to_b * p[b, axis]) / (to_a + to_b)


@compiled
def steepness(p: Any, a: Any, b: Any, left: Any, right: Any) -> Any:
    """1 / the square of the distance of the line ab from the nearer of two points beside it.

    Infinite if they are at one side.
    """
    near, far = area(p, a, b, left), area(p, a, b, right)
    if not (near > 0 > far or near < 0 < far):
        return np.inf
    return square(p, a, b) / min(near**2, far**2)


@compiled
def slope(p: Any, part: Any) -> Any:
    """The square of the steepest slope of a diamond along the normals of its lines."""
    return max(
        steepness(p, part[0], part[1], part[4], part[5]),
        steepness(p, part[2], part[3], part[6], part[7]),
    )


@compiled
def straightened(star: Any) -> Any:
    """The star without link vertices that are on the line between their neighbours."""
    p, names, k = star.p, star.names, star.k
    r = 0
    while r < k and k > 3:
        before, after = (r - 1) % k, (r + 1) % k
        if area(p, k, before, after) > 0 and on_line(p, before, after, r, star.tolerance):
            for s in range(r, k):  # with the vertex itself, which is the last
                p[s, 0], p[s, 1], names[s] = p[s + 1, 0], p[s + 1, 1], names[s + 1]
            names[k] = -1
            k -= 1
        else:
            r += 1
    return Star(p, names, k, star.tolerance, star.chain, star.parts, star.factors)


@compiled
def opposite(star: Any, i: Any, new: Any) -> Any:
    """Where the ray from v away from neighbour i leaves the star: at a link vertex or a new point.

    Returns the point and the link vertices before and after it; the point is −1 if there is none.
    """
    p, k = star.p, star.k
    for m in range(k):
        behind = p[m, 0] * p[i, 0] + p[m, 1] * p[i, 1] < 0
        if behind and on_line(p, k, i, m, star.tolerance):
            return m, (m - 1) % k, (m + 1) % k
    for m in range(k):
        n = (m + 1) % k
        to_m, to_n = area(p, k, n, i), -area(p, k, m, i)
        if to_m > 0 and to_n >= 0:
            place_between(p, new, m, n, to_m, to_n)
            return new, m, n
    return -1, 0, 0


@compiled
def decomposed(star: Any, i: Any, j: Any) -> Any:
    """The hat as diamonds, the first of which has its diagonals along the spokes i and j.

    Returns how many, and the square of the steepest slope of any, infinite if these spokes will
    not do. What is left of the hat lies in the four sectors between the diagonals.
    """
    k, chain, parts = star.k, star.chain, star.parts
    c, before_c, after_c = opposite(star, i, k + 1)
    d, before_d, after_d = opposite(star, j, k + 2)
    if c < 0 or d < 0:
        return 0, np.inf
    parts[0] = (k, i, k, j, j, d, i, c)
    star.factors[0] = 1
    steepest = slope(star.p, parts[0])
    count, spare = 1, k + 3
    for start, first, last, end in (
        (i, i + 1, j - 1, j),
        (j, j + 1, before_c, c),
        (c, after_c, before_d, d),
        (d, after_d, i - 1, i),
    ):
        length = (last - first + 1) % k
        chain[0] = start
        for t in range(length):
            chain[t + 1] = (first + t) % k
        chain[length + 1] = end
        count, spare, worst = cut(star, length + 2, count, spare)
        steepest = max(steepest, worst)
    return count, steepest


@compiled
def cut(star: Any, length: Any, count: Any, spare: Any) -> Any:
    """Drops the inner points of the chain, one by one, with the diamonds that make up for each.

    For neighbours a, r, b on it, dropping r changes what is interpolated on v, a, r, b only. Where
    r is outside of the triangle vab the difference is one diamond. Where it is inside, it is two,
    the hat of r in that triangle. Those wait until none of the others is left.

    Returns the numbers of diamonds and of points, and the steepest slope as `decomposed` does.
    """
    p, k, chain = star.p, star.k, star.chain
    steepest = 0 * star.factors[0]
    t = 1
    while length > 2:
        inside = t == length - 1
        if inside:
            t = deepest(star, length)
        a, r, b = chain[t - 1], chain[t], chain[t + 1]
        beyond, base = area(p, a, r, b), area(p, k, a, b)
        if not base > 0:
            return count, spare, np.inf
        if inside:
            worst = dent(star, a, r, b, count, spare)
            count, spare = count + 2, spare + 2
        elif on_line(p, a, b, r, star.tolerance):
            worst = steepest
        elif beyond < 0:
            t += 1
            continue
        else:
            star.parts[count] = (k, r, a, b, a, b, k, r)
            star.factors[count] = beyond / (base + beyond)
            worst = star.factors[count] ** 2 * slope(p, star.parts[count])
            count += 1
        steepest = max(steepest, worst)
        length -= 1
        for s in range(t, length):
            chain[s] = chain[s + 1]
        t = max(t - 1, 1)
    return count, spare, steepest


@compiled
def deepest(star: Any, length: Any) -> Any:
    """Which inner point of the chain is the farthest inside the triangle of its neighbours."""
    best, depth = 1, np.inf
    for t in range(1, length - 1):
        a, r, b = star.chain[t - 1], star.chain[t], star.chain[t + 1]
        ratio = area(star.p, a, r, b) / area(star.p, star.k, a, b)
        if ratio < depth:
            best, depth = t, ratio
    return best


@compiled
def dent(star: Any, a: Any, r: Any, b: Any, count: Any, spare: Any) -> Any:
    """Two diamonds that make up for dropping r, which is inside the triangle vab.

    They are its hat there. The first has its diagonals along two of the spokes of r, which end in
    the triangle's sides, and the second one is at the third corner. Of three choices it takes the
    least steep.
    """
    p, k, factors = star.p, star.k, star.factors
    factors[count] = area(p, a, r, b) / area(p, k, a, b)
    best, steepest = 0, np.inf
    for choice in range(4):
        turn = choice if choice < 3 else best
        i, j, m = (k, a, b) if turn == 0 else (a, b, k) if turn == 1 else (b, k, a)
        to_i, to_j, to_m = area(p, r, j, m), area(p, r, m, i), area(p, r, i, j)
        place_between(p, spare, j, m, to_j, to_m)
        place_between(p, spare + 1, m, i, to_m, to_i)
        star.parts[count] = (r, i, r, j, j, spare + 1, i, spare)
        star.parts[count + 1] = (r, m, spare, spare + 1, spare, spare + 1, r, m)
        beyond, base = area(p, spare, m, spare + 1), area(p, r, spare, spare + 1)
        factors[count + 1] = factors[count] * beyond / (base + beyond)
        worst = max(
            factors[count] ** 2 * slope(p, star.parts[count]),
            factors[count + 1] ** 2 * slope(p, star.parts[count + 1]),
        )
        if worst < steepest:
            best, steepest = turn, worst
    return steepest


@compiled
def best_spokes(star: Any) -> Any:
    """The two spokes that lead to the fewest diamonds, and of those to the least steep ones.

    The first is −1 if no two will do.
    """
    p, k = star.p, star.k
    stride = (k - 1) // MOST_SPOKES + 1
    best_i, best_j, fewest, least = -1, -1, 4 * k, np.inf
    for i in range(0, k, stride):
        for j in range(0, k, stride):
            if area(p, k, i, j) > 0 and not on_line(p, k, i, j, star.tolerance):
                count, steepest = decomposed(star, i, j)
                fewer = count < fewest or (count == fewest and steepest < least)
                if fewer and steepest < np.inf:
                    best_i, best_j, fewest, least = i, j, count, steepest
    return best_i, best_j
