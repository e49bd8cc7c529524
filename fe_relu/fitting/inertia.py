# SPDX-License-Identifier: MIT
"""Rank and condition of a large sparse matrix, by counting eigenvalues."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

#: Singular values below this times the largest one count as zero: only AᵀA is looked at.
SMALLEST = 1e-7

#: Eigenvalues are found to this factor.
DETAIL = 1.01


def rank_and_condition(gram: sparse.csc_array) -> tuple[int, float]:
    """The rank of A and the ratio of its largest to its least singular value, from AᵀA.

    The ratio is right to 2 %; singular values below 1e-7 of the largest count as zero. It is
    infinite if all are.
    """
    count = gram.shape[0]
    bound = float(abs(gram).sum(axis=0).max())
    if bound == 0:
        return 0, float("inf")
    largest = _last(lambda t: count_below(gram, t) < count, bound * 1e-16, bound * DETAIL)
    zeros = count_below(gram, largest * SMALLEST**2)
    least = _last(lambda t: count_below(gram, t) <= zeros, largest * SMALLEST**2, largest)
    return count - zeros, float(np.sqrt(largest / least))


def _last(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The number up to which something holds, to a factor `DETAIL`, by bisection of logarithms."""
    while high / low > DETAIL:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if holds(middle) else (low, middle)
    return float(np.sqrt(low * high))


def count_below(gram: sparse.csc_array, shift: float) -> int:
    """How many eigenvalues of a symmetric matrix are below a shift, by Sylvester's law of inertia.

    The pivots of the shifted matrix, taken from its diagonal, have their signs.
    """
    shifted = sparse.csc_array(gram - shift * sparse.eye_array(gram.shape[0]))
    order, options = "MMD_AT_PLUS_A", {"SymmetricMode": True}
    factors = splu(shifted, permc_spec=order, diag_pivot_thresh=0.0, options=options)
    return int(np.count_nonzero(factors.U.diagonal() < 0))
