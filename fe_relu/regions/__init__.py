# SPDX-License-Identifier: MIT
"""Linear regions: every ReLU network in one or two variables as a P1 function on a mesh."""
