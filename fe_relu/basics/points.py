# SPDX-License-Identifier: MIT
"""What points are, stated and checked in one place.

Points are the columns of an array x of shape (dim, n), or (3, n) as
`dolfinx.fem.Function.interpolate` passes them; then rows beyond dim are constant, and ignored.
float32 stays float32, integers become float64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def checked_points(x: npt.ArrayLike, dim: int) -> npt.NDArray:
    """The `dim` coordinate rows of x as floats; a view where x is a float array already.

    Raises:
        ValueError: x has another shape, a further row that varies, or a coordinate that is NaN or
            infinite.
        TypeError: x does not hold real numbers, or is masked.
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
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError("points are a masked array; x[:, ~x.mask.any(axis=0)].data are the others")
    x = np.asarray(x)
    if x.dtype.kind not in "fiu" or x.dtype.itemsize > 8:
        raise TypeError(f"points must be real numbers (float32, float64 or integer), not {x.dtype}")
    if x.ndim != 2 or x.shape[0] not in {dim, max(dim, 3)}:
        raise ValueError(
            f"points must have shape ({dim}, n) or ({max(dim, 3)}, n), one column each, not "
            f"{x.shape}; an array of shape (n, {dim}) is passed as its transpose, points.T"
        )
    for row in x[dim:]:
        if row.size > 1 and not (row == row[0]).all() and not (row != row).all():
            raise ValueError(
                f"points in {dim}-D have a row of other coordinates that varies, from {row[0]} to "
                f"{row[row != row[0]][0]}; if rows are points, pass the transpose, points.T"
            )
    single = x.dtype.kind == "f" and x.dtype.itemsize <= 4
    return x[:dim].astype(np.float32 if single else np.float64, copy=False)
