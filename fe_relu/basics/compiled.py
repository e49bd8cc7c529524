# SPDX-License-Identifier: MIT
"""Compilation of loops over plain arrays: the one module that knows Numba."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """Compiles a function when it is first called, and keeps the result on disk."""
    try:
        return njit(cache=True, error_model="numpy", nogil=True)(function)
    except RuntimeError:  # nowhere to write: no home, a read-only installation
        warnings.warn(
            "found no folder for compiled code, so it is compiled anew in every process; "
            "NUMBA_CACHE_DIR names one",
            RuntimeWarning,
            stacklevel=2,
        )
        return njit(error_model="numpy", nogil=True)(function)
