# SPDX-License-Identifier: MIT
"""The least and largest values of quadratic functions on simplices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.grid.midpoints import EDGES


def extremes(corners: npt.NDArray, middles: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    """Least and largest value of quadratic functions, (k, m) both, from (k, 3, m) nodal values.

    They are attained at a corner, on an edge where the slope along it vanishes, or inside where the
    gradient does.

    Args:
        corners: At the corners of m triangles.
        middles: At the middles of the edges opposite to them.
    """
    most = max(np.abs(corners).max(initial=0), np.abs(middles).max(initial=0))
    unit = np.ldexp(1.0, min(int(np.frexp(most)[1]), 1023))  # so that nothing overflows or vanishes
    corners, middles = corners / unit, middles / unit
    surpluses = [
        middles[:, k] - (corners[:, a] + corners[:, b]) / 2 for k, (a, b) in enumerate(EDGES)
    ]
    found = [corners[:, k] for k in range(3)]
    for (a, b), surplus in zip(EDGES, surpluses, strict=True):
        found.append(_top_of_edge(corners[:, a], corners[:, b], surplus))
    found.append(_top_inside(corners, *surpluses))
    seen = np.stack(found)
    with np.errstate(over="ignore"):  # a bump may be larger than the largest number
        return np.fmin.reduce(seen) * unit, np.fmax.reduce(seen) * unit


def _top_of_edge(start: npt.NDArray, end: npt.NDArray, surplus: npt.NDArray) -> npt.NDArray:
    """The value where start (1 − t) + end t + 4 surplus t (1 − t) is flat; start if outside."""
    rise, bend = end - start, np.where(surplus == 0, 1, 8 * surplus)
    t = np.where(surplus == 0, 0, np.clip(0.5 + rise / bend, 0, 1))
    return start + rise * t + 4 * surplus * t * (1 - t)


def _top_inside(
    corners: npt.NDArray, s23: npt.NDArray, s13: npt.NDArray, s12: npt.NDArray
) -> npt.NDArray:
    """The value where the gradient vanishes; NaN if that is not inside."""
    a, b, c = (corners[:, k] for k in range(3))
    mixed = s12 - s13 - s23
    right_x, right_y = (c - a) / 4 - s13, (c - b) / 4 - s23
    with np.errstate(all="ignore"):
        det = 4 * s13 * s23 - mixed * mixed
        x = (-2 * s23 * right_x - mixed * right_y) / det
        y = (-2 * s13 * right_y - mixed * right_x) / det
        z = 1 - x - y
        top = a * x + b * y + c * z + 4 * (s12 * x * y + s13 * x * z + s23 * y * z)
        return np.where((x >= 0) & (y >= 0) & (z >= 0), top, np.nan)


def extremes_on_simplices(
    corners: npt.NDArray, surpluses: npt.NDArray
) -> tuple[npt.NDArray, npt.NDArray]:
    """Least and largest value of P2 functions, (k, m) both; on tetrahedra numbers around them.

    Args:
        corners: Values at the corners of m cells, shape (k, dim + 1, m).
        surpluses: Of their edges, in the order of `simplices.nodes.pairs`, shape (k, edges, m).
    """
    corners, surpluses = corners.astype(float), surpluses.astype(float)
    if corners.shape[1] == 3:
        ends = (corners[:, a] + corners[:, b] for a, b in EDGES)
        middles = [end / 2 + surpluses[:, 2 - k] for k, end in enumerate(ends)]
        return extremes(corners, np.stack(middles, axis=1))
    if corners.shape[1] == 2:
        top = _top_of_edge(corners[:, 0], corners[:, 1], surpluses[:, 0])
        seen = np.concatenate([corners, top[:, None]], axis=1)
        return seen.min(axis=1), seen.max(axis=1)
    below, above = np.minimum(surpluses, 0).sum(axis=1), np.maximum(surpluses, 0).sum(axis=1)
    return corners.min(axis=1) + below, corners.max(axis=1) + above
