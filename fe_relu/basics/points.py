# SPDX-License-Identifier: MIT
"""What points are, stated and checked in one place.

Points are the columns of an array x of shape (dim, n), or (3, n) with rows beyond dim ignored, as
`dolfinx.fem.Function.interpolate` passes them. float32 stays float32, integers become float64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def checked_points(x: npt.ArrayLike, dim: int) -> npt.NDArray:
    """The `dim` coordinate rows of x as floats; a view where x is a float array already.

    This is the one place that states what points are: shape (dim, n), or (3, n) with rows
    beyond dim ignored; float32 stays, integers become float64; NaN and infinity are refused.
    """
    x = real_points(x, dim)
    require_finite(x)
    return x


def require_finite(x: npt.NDArray) -> None:
    """Raises if a coordinate is NaN or infinite, naming the first such point and how many."""
    bad = ~np.isfinite(x).all(axis=0)
    if bad.any():
        first, count = np.flatnonzero(bad)[0], np.count_nonzero(bad)
        raise ValueError(
            f"{count} of {bad.size} points are NaN or infinite, the first at index {first}"
        )


def real_points(x: npt.ArrayLike, dim: int) -> npt.NDArray:
    """`checked_points` without the look at every number."""
    x = np.asarray(x)
    if x.dtype.kind not in "fiu" or x.dtype.itemsize > 8:
        raise TypeError(f"points must be real numbers (float32, float64 or integer), not {x.dtype}")
    if x.ndim != 2 or x.shape[0] not in {dim, max(dim, 3)}:
        raise ValueError(
            f"points must have shape ({dim}, n) or ({max(dim, 3)}, n), one column each, not "
            f"{x.shape}; an array of shape (n, {dim}) is passed as its transpose, points.T"
        )
    single = x.dtype.kind == "f" and x.dtype.itemsize <= 4
    return x[:dim].astype(np.float32 if single else np.float64, copy=False)
