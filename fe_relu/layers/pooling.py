# SPDX-License-Identifier: MIT
"""Pooling: products or maxima of pairs of numbers, in place of a ReLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fe_relu.basics.arguments import checked_integer

#: What becomes of a pair, by the word for it.
KINDS = {"product": np.multiply, "maximum": np.maximum}


@dataclass(frozen=True, eq=False)
class Pooling:
    """The map h ↦ (h_i · h_j), or (max(h_i, h_j)), one number for each of some pairs (i, j).

    Bilinear pooling gives what ReLUs alone cannot: the product of two hats (Kratsios, Zamanlooy
    2022, arXiv 2204.11231).

    Args:
        pairs: The numbers i and j of each pair, shape (2, m); kept read-only.
        dim_in: How many numbers there are.
        kind: "product" or "maximum".

    Raises:
        ValueError: The shape is another, a number is out of range, or kind another word.
        TypeError: pairs are not integers.

    Examples:
        >>> import numpy as np, fe_relu
        >>> fe_relu.Pooling([[0, 0], [1, 0]], 2)(np.array([[3.0], [4.0]]))
        array([[12.],
               [ 9.]])
    """

    is_affine = False
    num_nonzeros = 0

    pairs: npt.NDArray[np.int64]
    dim_in: int
    kind: Literal["product", "maximum"] = "product"

    def __post_init__(self) -> None:
        pairs = np.array(self.pairs)
        if pairs.ndim != 2 or len(pairs) != 2:
            raise ValueError(f"pooling needs pairs of shape (2, m), not {pairs.shape}")
        if pairs.dtype.kind not in "iu" and pairs.size:
            raise TypeError(f"pooling needs pairs of integers, not {pairs.dtype}")
        object.__setattr__(self, "dim_in", checked_integer("dim_in", self.dim_in, least=0))
        if pairs.size and not (pairs.min() >= 0 and pairs.max() < self.dim_in):
            raise ValueError(
                f"pairs are of numbers 0 to {self.dim_in - 1}, not {pairs.min()} to {pairs.max()}"
            )
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            raise ValueError(f"kind must be {' or '.join(map(repr, KINDS))}, not {self.kind!r}")
        pairs = pairs.astype(np.int64)
        pairs.flags.writeable = False
        object.__setattr__(self, "pairs", pairs)

    @property
    def dim_out(self) -> int:
        return self.pairs.shape[1]

    def __call__(self, h: npt.NDArray) -> npt.NDArray:
        """Of the rows of h, (dim_in, n), those that the pairs make, (dim_out, n).

        Raises:
            ValueError: h has another number of rows.
        """
        rows = np.shape(h)[:1]
        if rows != (self.dim_in,):
            raise ValueError(f"this pooling takes {self.dim_in} rows, not {sum(rows)}")
        return KINDS[self.kind](*np.asarray(h)[self.pairs])
