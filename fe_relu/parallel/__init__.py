# SPDX-License-Identifier: MIT
"""Ranks and messages: how they agree, who holds what, how numbers travel. No mesh is known here."""
