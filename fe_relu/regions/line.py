# SPDX-License-Identifier: MIT
"""The knots of a ReLU network in one variable, of any depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fe_relu.regions.layerwise import TOLERANCE_UNITS, Layer


def knots(
    x: npt.NDArray[np.float64], layers: Sequence[Layer], most: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sorted points between which the network is affine, x among them, and its values (n, k).

    Between two points in order, each neuron of the next layer is affine, and is 0 once if its signs
    at them differ; knots within the tolerance of `regions.layerwise` of each other are one.

    Raises:
        ValueError: There are more than `most` intervals.
    """
    eps = TOLERANCE_UNITS * np.finfo(np.float64).eps
    near = eps * np.abs(x).max()
    rows, top = x[:, None], np.array([np.abs(x).max()])
    for number, (weight, bias) in enumerate(layers):
        rows = rows @ weight.T + bias
        if not np.isfinite(rows).all():
            raise ValueError("the network overflows on the domain; rescale its weights")
        if number == len(layers) - 1:
            break
        rows[np.abs(rows) <= eps * (np.abs(weight) @ top + np.abs(bias))] = 0
        left, neuron = np.nonzero(rows[:-1] * rows[1:] < 0)
        a, b = rows[left, neuron], rows[left + 1, neuron]
        t = a / (a - b)
        new = (1 - t) * x[left] + t * x[left + 1]
        apart = (new - x[left] > near) & (x[left + 1] - new > near)
        order = np.flatnonzero(apart)[np.argsort(new[apart], kind="stable")]
        if len(order) and len(order) + len(x) - 1 > most:
            raise ValueError(
                f"there are more than {most} regions, after layer {number + 1}; "
                "max_regions=… allows more"
            )
        order = order[np.diff(new[order], prepend=-np.inf) > near]
        left, t, neuron = left[order], t[order, None], neuron[order]
        between = (1 - t) * rows[left] + t * rows[left + 1]
        between[np.arange(len(order)), neuron] = 0
        x = np.insert(x, left + 1, new[order])
        rows = np.maximum(np.insert(rows, left + 1, between, axis=0), 0)
        top = rows.max(axis=0, initial=0)
    return x, rows
