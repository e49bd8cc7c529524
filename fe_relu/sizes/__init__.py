# SPDX-License-Identifier: MIT
"""How large networks are and need be, smaller ones that are the same, and what is awake in them."""
