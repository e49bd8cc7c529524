# SPDX-License-Identifier: MIT
"""What a network is, and what is proven of it."""
