# SPDX-License-Identifier: MIT
"""Checks of arguments that many functions take, each in one place."""

from __future__ import annotations

import numbers
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: ((x0, x1), (y0, y1), …): the points with x0 ≤ x ≤ x1, y0 ≤ y ≤ y1, ….
Box = Sequence[Sequence[float]]


def checked_integer(name: str, value: object, least: int | None = None) -> int:
    """The value as an `int`.

    Raises:
        TypeError: It is not an integer; True and False are none.
        ValueError: It is below the least that is allowed.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return int(value)


def checked_levels(levels: object, least: int, most: int) -> int:
    """The number of levels of a deep network as an `int`.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is out of range.
    """
    levels = checked_integer("levels", levels)
    if not least <= levels <= most:
        raise ValueError(
            f"levels must be between {least} and {most}, not {levels}; "
            f"after {most} levels the error is below the roundoff of float64"
        )
    return levels


def checked_box(box: object, dim: int) -> npt.NDArray[np.float64]:
    """The box as an array of shape (dim, 2); in one dimension (a, b) alone will do.

    Raises:
        ValueError: It has another shape, is empty or flat, or is not finite.
        TypeError: It does not hold real numbers.
    """
    try:
        sides = np.array(box)
    except ValueError:  # rows of different lengths
        sides = np.empty(0)
    if dim == 1 and sides.shape == (2,):
        sides = sides[None]
    if sides.shape != (dim, 2):
        raise ValueError(f"a box is {dim} pairs, ((x0, x1), …), not {box!r}")
    if sides.dtype.kind not in "fiu":
        raise TypeError(f"a box needs real numbers, not {sides.dtype}")
    sides = sides.astype(float)
    if not (np.isfinite(sides).all() and (sides[:, 0] < sides[:, 1]).all()):
        raise ValueError(f"a box needs finite sides with lower < upper, not {sides.tolist()}")
    return sides
