# SPDX-License-Identifier: MIT
"""Affine maps and ReLUs: networks as layers, and their algebra."""
