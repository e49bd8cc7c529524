# SPDX-License-Identifier: MIT
"""Affine maps with sparse weights, the layers of networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse


@dataclass(frozen=True, eq=False)
class Affine:
    """The affine map x ↦ weight @ x + bias.

    Args:
        weight: Sparse or dense, shape (dim_out, dim_in), real; kept as a read-only `csr_array`.
        bias: Shape (dim_out,), real; kept read-only.

    Raises:
        ValueError: The shapes do not fit, or an entry is NaN or infinite.
        TypeError: The entries are not real numbers.

    Examples:
        >>> import numpy as np, fe_relu
        >>> fe_relu.Affine([[1, 2], [0, 1]], [0.5, 0])(np.array([[1.0], [2.0]]))
        array([[5.5],
               [2. ]])
    """

    is_affine = True

    weight: sparse.csr_array
    bias: npt.NDArray

    def __post_init__(self) -> None:
        given = self.weight if sparse.issparse(self.weight) else np.asarray(self.weight)
        bias = np.array(self.bias)
        if given.ndim != 2 or bias.shape != (given.shape[0],):
            raise ValueError(
                f"an affine map needs a weight of shape (m, n) and a bias of shape (m,), "
                f"not {given.shape} and {bias.shape}"
            )
        dtype = np.result_type(given.dtype, bias.dtype, np.float32)
        if dtype.kind != "f":
            raise TypeError(f"an affine map needs real numbers, not {dtype}")
        weight = sparse.csr_array(given, dtype=dtype, copy=True)
        weight.sum_duplicates()
        bias = bias.astype(dtype)
        if not (np.isfinite(weight.data).all() and np.isfinite(bias).all()):
            raise ValueError("an affine map needs finite numbers; there are NaN or infinite ones")
        for array in (weight.data, weight.indices, weight.indptr, bias):
            array.flags.writeable = False
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)

    @property
    def dim_in(self) -> int:
        return self.weight.shape[1]

    @property
    def dim_out(self) -> int:
        return self.weight.shape[0]

    @property
    def num_nonzeros(self) -> int:
        """Number of non-zero weights."""
        return int(np.count_nonzero(self.weight.data))

    def astype(self, dtype: npt.DTypeLike) -> Affine:
        """The same map, its numbers rounded."""
        return Affine(self.weight.astype(dtype), self.bias.astype(dtype))

    def __call__(self, x: npt.NDArray) -> npt.NDArray:
        """Values at the columns of x, shape (dim_out, n)."""
        return self.weight @ x + self.bias[:, None]

    def __matmul__(self, inner: Affine) -> Affine:
        """The one affine map x ↦ self(inner(x))."""
        return Affine(self.weight @ inner.weight, self.weight @ inner.bias + self.bias)
