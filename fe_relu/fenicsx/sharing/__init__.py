# SPDX-License-Identifier: MIT
"""Meshes whose cells stay on the ranks that dolfinx gave them to."""
