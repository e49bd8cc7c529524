# SPDX-License-Identifier: MIT
"""Structured triangle meshes: images of `create_rectangle`'s."""
