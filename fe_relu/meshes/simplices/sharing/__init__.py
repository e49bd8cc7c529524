# SPDX-License-Identifier: MIT
"""Meshes of simplices that no rank holds whole: what each has of one, and who may have a point."""
