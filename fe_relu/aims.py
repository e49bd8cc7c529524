# SPDX-License-Identifier: MIT
"""What a compression may aim at: an error or a number of neurons."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_aim(tol: Any, max_neurons: Any, relative: Any, norm: Any) -> None:
    """Raises unless these are arguments of `HierarchicalNetwork.compress`.

    Raises:
        ValueError: tol is not positive and finite, max_neurons is below 1, both or none are given,
            relative comes without tol, or norm is another word.
        TypeError: tol is no real number, or max_neurons no integer.
    """
    if (tol is None) == (max_neurons is None):
        raise ValueError("compress needs either tol, an error, or max_neurons, a budget")
    if norm not in ("sup", "H1"):
        raise ValueError(f'norm must be "sup" or "H1", not {norm!r}')
    if tol is not None:
        if isinstance(tol, bool) or not isinstance(tol, int | float | np.integer | np.floating):
            raise TypeError(f"tol must be a real number, not {tol!r}")
        if not 0 < tol <= float(np.finfo(float).max):
            raise ValueError(f"tol must be positive and finite, not {tol}")
        return
    if relative:
        raise ValueError("relative is about tol; a budget has none")
    if isinstance(max_neurons, bool) or not isinstance(max_neurons, int | np.integer):
        raise TypeError(f"max_neurons must be an integer, not {max_neurons!r}")
    if max_neurons < 1:
        raise ValueError(f"max_neurons must be at least 1, not {max_neurons}")
