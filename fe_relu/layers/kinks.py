# SPDX-License-Identifier: MIT
"""What a line has in common with a convex polygon is a segment, a point or nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def clipped_lines(
    normals: npt.NDArray, offsets: npt.NDArray, outline: npt.NDArray
) -> npt.NDArray[np.float64]:
    """What lines normal · x + offset = 0 have in common with a convex polygon; segments (m, 2, 2).

    Args:
        normals: Shape (n, 2); lines of normal 0 are none.
        offsets: Shape (n,).
        outline: Corners of the polygon as columns, one after the other around it.
    """
    lengths: npt.NDArray = np.linalg.norm(normals, axis=1)
    real = lengths > 0
    normals = normals[real] / lengths[real, None]
    offsets = offsets[real] / lengths[real]
    middle = outline.mean(axis=1)
    feet = middle - normals * (normals @ middle + offsets)[:, None]
    along = np.stack([-normals[:, 1], normals[:, 0]], axis=1)
    low: npt.NDArray = np.full(len(feet), -np.inf)
    high: npt.NDArray = np.full(len(feet), np.inf)
    for corner, following in zip(outline.T, np.roll(outline, -1, axis=1).T, strict=True):
        inward = np.array([corner[1] - following[1], following[0] - corner[0]])
        inward = inward * np.sign(inward @ (middle - corner))
        slope, room = along @ inward, (feet - corner) @ inward
        parallel = np.abs(slope) <= 1e-12 * np.linalg.norm(inward)
        reach = -room / np.where(parallel, 1, slope)
        low = np.where(~parallel & (slope > 0), np.maximum(low, reach), low)
        high = np.where(~parallel & (slope < 0), np.minimum(high, reach), high)
        slack = 1e-9 * np.abs(outline - middle[:, None]).max() * np.linalg.norm(inward)
        high = np.where(parallel & (room < -slack), -np.inf, high)
    met = low < high
    feet, along = feet[met], along[met]
    return np.stack([feet + t[met, None] * along for t in (low, high)], axis=1)
