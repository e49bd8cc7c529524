# SPDX-License-Identifier: MIT
"""Simplex meshes: conforming intervals, triangles and tetrahedra in any arrangement."""
