# SPDX-License-Identifier: MIT
"""Cones that hyperplanes through 0 cut space into, and functions that are linear on each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fe_relu.basics.arguments import checked_integer
from fe_relu.cpwl.rationals import Vector, normal_to

#: Rays come from all choices of dim − 1 hyperplanes; no more than so many are looked at.
MOST_CHOICES = 100_000


@dataclass(frozen=True)
class Fan:
    """The cones between hyperplanes normal · x = 0 that have only 0 in common.

    A function that is linear on each cone *conforms* to the fan; it is known by its values on
    `rays`, one vector of whole numbers on each edge of the cones.

    Args:
        normals: Whole numbers, a row for each hyperplane, shape (m, dim).

    Raises:
        ValueError: A normal is 0, two are of one hyperplane, all have a line in common, or there
            are too many.
        TypeError: They are not integers.

    Examples:
        >>> import fe_relu
        >>> fan = fe_relu.cpwl.Fan([(1, 0), (0, 1), (1, -1)])  # max(0, x, y) conforms to it
        >>> fan.rays.T.tolist()
        [[-1, -1], [-1, 0], [0, -1], [0, 1], [1, 0], [1, 1]]
    """

    normals: tuple[tuple[int, ...], ...]

    def __init__(self, normals: Sequence[Sequence[int]] | npt.NDArray) -> None:
        rows = np.array(normals)
        if rows.dtype.kind not in "iu":
            raise TypeError(f"normals of a fan must be integers, not {rows.dtype}")
        if rows.ndim != 2 or rows.shape[1] < 1:
            raise ValueError(f"normals of a fan have shape (m, dim), not {rows.shape}")
        object.__setattr__(self, "normals", tuple(tuple(int(a) for a in row) for row in rows))
        for one, other in itertools.combinations(self.normals, 2):
            if not (np.outer(one, other) - np.outer(other, one)).any():
                raise ValueError(f"normals {one} and {other} are of one hyperplane, or one is 0")
        if np.linalg.matrix_rank(rows) < self.dim:
            raise ValueError(
                f"the {len(rows)} hyperplanes have a line in common; a fan in {self.dim}-D needs "
                "normals that span it"
            )
        choices = 1
        for k in range(self.dim - 1):
            choices = choices * (len(rows) - k) // (k + 1)
        if choices > MOST_CHOICES:
            raise ValueError(f"{len(rows)} hyperplanes in {self.dim}-D are too many for a fan")

    @property
    def dim(self) -> int:
        return len(self.normals[0])

    @cached_property
    def rays(self) -> npt.NDArray[np.int64]:
        """Shape (dim, n), sorted: where dim − 1 hyperplanes meet in a line, its two directions."""
        found = set()
        for rows in itertools.combinations(self.normals, self.dim - 1):
            ray = normal_to(rows)
            if any(ray):
                found |= {ray, tuple(-entry for entry in ray)}
        rays = np.array(sorted(found)).T
        rays.flags.writeable = False
        return rays

    @cached_property
    def pairs(self) -> npt.NDArray[np.int64]:
        """Pairs of rays that no hyperplane separates: those of a common cone, shape (2, p)."""
        sides = np.sign(np.array(self.normals) @ self.rays)
        apart = (sides[:, :, None] * sides[:, None, :] < 0).any(axis=0)
        return np.array(np.nonzero(np.triu(~apart, 1)))

    def values(self, function: Callable[[npt.NDArray], npt.NDArray] | npt.ArrayLike) -> Vector:
        """A conforming function's values on the rays, as rational numbers: floats are.

        Args:
            function: Taken at points of shape (dim, n), or the values themselves, shape (n,).

        Raises:
            ValueError: A function is seen not to be linear on a cone, or values have another shape.
        """
        if not callable(function):
            given = [Fraction(float(value)) for value in np.ravel(function)]
            if len(given) != self.rays.shape[1]:
                raise ValueError(f"a fan of {self.rays.shape[1]} rays has no {len(given)} values")
            return tuple(given)
        rays = self.rays.astype(float)
        found = np.asarray(function(rays))
        a, b = self.pairs
        sums = np.asarray(function(3 * rays[:, a] + rays[:, b]))
        size = np.abs(found).max(initial=1.0)
        if (np.abs(sums - (3 * found[a] + found[b])) > 1e-9 * size).any():
            raise ValueError("the function is not linear on the cones of the fan")
        return tuple(Fraction(float(value)) for value in found)


def braid_fan(n: int) -> Fan:
    """The fan of x_i = 0 and x_i = x_j in ℝⁿ, to which max(0, x_1, …, x_n) conforms.

    Examples:
        >>> import fe_relu
        >>> fan = fe_relu.cpwl.braid_fan(4)
        >>> len(fan.normals), fan.rays.shape[1]
        (10, 30)
    """
    n = checked_integer("n", n, least=1)
    eye = np.eye(n, dtype=int)
    differences = [eye[i] - eye[j] for i, j in itertools.combinations(range(n), 2)]
    return Fan(np.array([*eye, *differences]))
