# SPDX-License-Identifier: MIT
"""Stars of triangles: hat functions of any triangulation as neurons of a second layer."""
