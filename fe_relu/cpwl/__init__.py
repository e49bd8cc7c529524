# SPDX-License-Identifier: MIT
"""Continuous piecewise linear functions as sums of maxima, and which of them few layers can be."""

from fe_relu.cpwl.conforming import Space, Verdict, conforming_space, represent
from fe_relu.cpwl.decomposition import MaxDecomposition, dc_decomposition, max_decomposition
from fe_relu.cpwl.fans import Fan, braid_fan

__all__ = [
    "Fan",
    "MaxDecomposition",
    "Space",
    "Verdict",
    "braid_fan",
    "conforming_space",
    "dc_decomposition",
    "max_decomposition",
    "represent",
]
