# SPDX-License-Identifier: MIT
"""On which side of a facet a point lies, said alike by both cells that share it.

Numbers are computed as unevaluated sums of two floats, (high, low), which hold 106 bits. So
differences of coordinates are exact, and a determinant is off by less than 2⁻¹⁰⁰ of the sum of its
terms' sizes; what is below `NOTHING` of that counts as zero, and the point as one on the facet.
"""

from __future__ import annotations

from typing import Any

from fe_relu.basics.compiled import compiled, inlined

#: A determinant is zero if it is at most this times the sum of its terms' sizes.
NOTHING = 2.0**-96

#: Cuts a float in two halves of 26 bits (Dekker 1971).
_SPLIT = 2.0**27 + 1


@inlined
def difference(a: Any, b: Any) -> Any:
    """A − b of floats, exactly (Knuth)."""
    high = a - b
    b_seen = a - high
    a_seen = high + b_seen
    return high, (a - a_seen) + (b_seen - b)


@inlined
def _halves(a: Any) -> Any:
    scaled = _SPLIT * a
    high = scaled - (scaled - a)
    return high, a - high


@inlined
def product(a: Any, b: Any) -> Any:
    """A·b of pairs."""
    high = a[0] * b[0]
    a0, a1 = _halves(a[0])
    b0, b1 = _halves(b[0])
    low = ((a0 * b0 - high) + a0 * b1 + a1 * b0) + a1 * b1
    low += a[0] * b[1] + a[1] * b[0]
    total = high + low
    return total, low - (total - high)


@inlined
def minus(a: Any, b: Any) -> Any:
    """A − b of pairs."""
    high, low = difference(a[0], b[0])
    first, second = difference(a[1], b[1])
    low += first
    total = high + low
    low = low - (total - high) + second
    high = total + low
    return high, low - (high - total)


@inlined
def plus(a: Any, b: Any) -> Any:
    """A + b of pairs."""
    return minus(a, (-b[0], -b[1]))


@inlined
def minor(a: Any, b: Any, c: Any, d: Any) -> Any:
    """A·d − b·c of pairs."""
    return minus(product(a, d), product(b, c))


@inlined
def _terms(a: Any, b: Any, c: Any, d: Any) -> Any:
    return abs(a[0] * d[0]) + abs(b[0] * c[0])


@compiled
def determinant_2(o: Any, p: Any, q: Any) -> Any:
    """The determinant of the vectors from o to p and q in the plane, and its terms' sizes."""
    a, b = difference(p[0], o[0]), difference(p[1], o[1])
    c, d = difference(q[0], o[0]), difference(q[1], o[1])
    return minor(a, b, c, d), _terms(a, b, c, d)


@compiled
def determinant_3(o: Any, p: Any, q: Any, r: Any) -> Any:
    """The determinant of the vectors from o to p, q and r, and the sum of its terms' sizes."""
    a0, a1, a2 = difference(p[0], o[0]), difference(p[1], o[1]), difference(p[2], o[2])
    b0, b1, b2 = difference(q[0], o[0]), difference(q[1], o[1]), difference(q[2], o[2])
    c0, c1, c2 = difference(r[0], o[0]), difference(r[1], o[1]), difference(r[2], o[2])
    first = product(a0, minor(b1, b2, c1, c2))
    second = product(a1, minor(b2, b0, c2, c0))
    third = product(a2, minor(b0, b1, c0, c1))
    sizes = (
        abs(a0[0]) * _terms(b1, b2, c1, c2)
        + abs(a1[0]) * _terms(b2, b0, c2, c0)
        + abs(a2[0]) * _terms(b0, b1, c0, c1)
    )
    return plus(plus(first, second), third), sizes


@inlined
def _sign(determinant: Any, sizes: Any) -> Any:
    high = determinant[0]
    if abs(high) <= NOTHING * sizes:
        return 0
    return 1 if high > 0 else -1


@compiled
def side(o: Any, p: Any, q: Any, r: Any, dim: Any) -> Any:
    """The sign of the determinant of the vectors from o to p, q, r, of which dim − 0 count.

    Args:
        o: A point, three coordinates; likewise p, q, r.
        p: See o.
        q: See o; in two dimensions the last that counts.
        r: See o; in three dimensions the last that counts.
        dim: 1, 2 or 3.
    """
    if dim == 1:
        return 1 if p[0] > o[0] else (-1 if p[0] < o[0] else 0)
    if dim == 2:
        determinant, sizes = determinant_2(o, p, q)
        return _sign(determinant, sizes)
    determinant, sizes = determinant_3(o, p, q, r)
    return _sign(determinant, sizes)
