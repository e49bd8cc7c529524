# SPDX-License-Identifier: MIT
"""Which structured mesh some cells are, told from coordinates alone."""
