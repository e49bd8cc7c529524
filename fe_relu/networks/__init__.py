# SPDX-License-Identifier: MIT
"""A mesh, values and a layout are a network."""
