# SPDX-License-Identifier: MIT
"""The command line: files of networks and points, looked at, converted and evaluated."""
