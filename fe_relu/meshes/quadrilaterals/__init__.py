# SPDX-License-Identifier: MIT
"""Meshes of quadrilaterals, on which functions are bilinear in each cell: Q1."""
