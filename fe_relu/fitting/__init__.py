# SPDX-License-Identifier: MIT
"""Output weights from data: interpolation matrices, and least squares with them."""
