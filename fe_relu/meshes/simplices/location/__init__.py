# SPDX-License-Identifier: MIT
"""Where points are: the cells of simplices that they lie in."""
