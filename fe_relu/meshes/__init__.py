# SPDX-License-Identifier: MIT
"""Shapes: where vertices and cells are, and which of them count at a point. No ranks, no files."""
