# SPDX-License-Identifier: MIT
"""Continuous piecewise linear functions as sums of maxima, and which of them few layers can be."""

from fe_relu.cpwl.decomposition import MaxDecomposition, dc_decomposition, max_decomposition

__all__ = ["MaxDecomposition", "dc_decomposition", "max_decomposition"]
