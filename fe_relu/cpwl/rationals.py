# SPDX-License-Identifier: MIT
"""Linear algebra of small matrices in rational numbers, without roundoff."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

Vector = tuple[Fraction, ...]


class Reduced(NamedTuple):
    """What elimination finds of a matrix A.

    Attributes:
        pivots: Columns that are a basis of all.
        solvers: For each of them a functional that is 1 on it and 0 on the other pivots.
        functionals: A basis of those that are 0 on all columns.
    """

    pivots: tuple[int, ...]
    solvers: tuple[Vector, ...]
    functionals: tuple[Vector, ...]


def reduced(columns: Sequence[Sequence[Fraction | int]], height: int) -> Reduced:
    """Gauss and Jordan's elimination of the matrix with these columns of so many numbers."""
    width = len(columns)
    rows = [
        [Fraction(column[i]) for column in columns] + [Fraction(int(i == j)) for j in range(height)]
        for i in range(height)
    ]
    pivots: list[int] = []
    for column in range(width):
        rank = len(pivots)
        found = next((i for i in range(rank, height) if rows[i][column]), None)
        if found is None:
            continue
        rows[rank], rows[found] = rows[found], rows[rank]
        scale = rows[rank][column]
        rows[rank] = [entry / scale for entry in rows[rank]]
        for i in range(height):
            factor = rows[i][column]
            if i != rank and factor:
                rows[i] = [
                    a - factor * b if b else a for a, b in zip(rows[i], rows[rank], strict=True)
                ]
        pivots.append(column)
    made = [tuple(row[width:]) for row in rows]
    return Reduced(tuple(pivots), tuple(made[: len(pivots)]), tuple(made[len(pivots) :]))


def dot(one: Sequence[Fraction | int], other: Sequence[Fraction | int]) -> Fraction:
    return sum((Fraction(a) * b for a, b in zip(one, other, strict=True) if a and b), Fraction(0))


def normal_to(rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """A vector of d whole numbers without a common factor, orthogonal to d − 1 rows; or zeros."""
    dim = len(rows) + 1
    found = reduced([[row[k] for row in rows] for k in range(dim)], dim - 1)
    if len(found.pivots) < dim - 1:
        return (0,) * dim
    (free,) = set(range(dim)) - set(found.pivots)
    entries = [Fraction(0)] * dim
    entries[free] = Fraction(1)
    for pivot, solver in zip(found.pivots, found.solvers, strict=True):
        entries[pivot] = -dot(solver, [row[free] for row in rows])
    return whole(entries)


def whole(vector: Sequence[Fraction]) -> tuple[int, ...]:
    """The multiple by a positive number that has whole entries without a common factor."""
    from math import gcd, lcm

    scale = lcm(*(entry.denominator for entry in vector))
    entries = [int(entry * scale) for entry in vector]
    factor = gcd(*entries) or 1
    return tuple(entry // factor for entry in entries)
