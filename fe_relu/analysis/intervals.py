# SPDX-License-Identifier: MIT
"""Bounds of a network's neurons over a box; for any layers, by interval arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fe_relu.layers.network import Affine

#: Lower and upper values, shape (width,) each.
Pair = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class NetworkBounds:
    """Lower and upper values of the outputs and of all neurons before their ReLU.

    Attributes:
        lower: Of each output, shape (k,).
        upper: Likewise.
        layers: For each hidden layer (lower, upper) of the pre-activations, in the order of
            `explicit()`'s neurons.
        exact: Each bound is attained at some point of the region, up to roundoff. Otherwise they
            enclose the values, roundoff included, and may be wide.
        box: The region, or the smallest box around it, shape (dim, 2).
        outline: Its corners, shape (dim, n), where it is a mesh and not a box.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (1, 1), "right")
        >>> found = fe_relu.bounds(fe_relu.P1Network(grid, np.arange(4.0)))
        >>> [len(lower) for lower, _ in found.layers]  # mesh lines, hats
        [7, 4]
    """

    lower: npt.NDArray[np.float64]
    upper: npt.NDArray[np.float64]
    layers: tuple[Pair, ...]
    exact: bool
    box: npt.NDArray[np.float64] | None = None
    outline: npt.NDArray[np.float64] | None = None


def interval_bounds(layers: tuple[Affine, ...], box: npt.NDArray) -> NetworkBounds:
    """What layer after layer can be, each input of a neuron for itself.

    The first layer's bounds are attained, but neurons that cannot be large at the same time are
    taken to be. Roundoff of evaluation in the layers' own precision is included.
    """
    lower, upper = box.T
    found = []
    for affine in layers:
        weight, bias = affine.weight.astype(float), affine.bias.astype(float)
        up, down = weight.maximum(0), weight.minimum(0)
        size = abs(weight) @ np.maximum(np.abs(lower), np.abs(upper)) + np.abs(bias)
        roundoff = (2 + np.diff(weight.indptr)) * np.finfo(affine.bias.dtype).eps * size
        z = (
            up @ lower + down @ upper + bias - roundoff,
            up @ upper + down @ lower + bias + roundoff,
        )
        found.append(z)
        lower, upper = np.maximum(z[0], 0), np.maximum(z[1], 0)
    *hidden, (lower, upper) = found
    return NetworkBounds(lower, upper, tuple(hidden), not hidden, box)
