# SPDX-License-Identifier: MIT
"""How many neurons are awake at a point, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.points import checked_points
from fe_relu.hierarchy.basis import HierarchicalNetwork
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.network import CHUNK_ENTRIES, LayeredNetwork
from fe_relu.networks.nodal import NodalNetwork


@dataclass(frozen=True, eq=False)
class ActivationStatistics:
    """Of each hidden layer, how many neurons are above 0 at a point.

    Attributes:
        widths: How many there are.
        mean: The average over the points.
        least: Over the points.
        most: Over the points.
        num_points: How many points there are.
    """

    widths: tuple[int, ...]
    mean: npt.NDArray[np.float64]
    least: npt.NDArray[np.int64]
    most: npt.NDArray[np.int64]
    num_points: int

    @property
    def share(self) -> npt.NDArray[np.float64]:
        """The average part of each layer that is awake: the density of its activation matrix."""
        return self.mean / np.maximum(1, self.widths)

    def __str__(self) -> str:
        lines = ["layer    neurons   awake: mean  least   most    share"]
        for k, width in enumerate(self.widths):
            lines.append(
                f"{k + 1:5d}  {width:9d}  {self.mean[k]:11.2f}  {self.least[k]:5d}  "
                f"{self.most[k]:5d}  {100 * self.share[k]:6.2f}%"
            )
        return "\n".join(lines)


@singledispatch
def activation_statistics(network: Any, points: npt.ArrayLike) -> ActivationStatistics:
    """How many neurons are awake at points, layer by layer: deep layers are sparser than wide ones.

    Of a network on a mesh, its explicit layers are looked at: about half of the lines of a mesh are
    awake at a point, and of the hats those of the corners of one cell. Neurons whose argument is 0
    but for roundoff may count, as at points on mesh lines. Collective if values are spread; each
    rank then has its own points.

    Args:
        network: A `ReLUNetwork`, or a network with explicit layers.
        points: Shape (dim, n) or (3, n), n ≥ 1.

    Raises:
        ValueError: Points have another shape, are none, or are not finite; or the network has no
            small explicit layers.
        TypeError: Points are not real numbers, or it is no network of this package.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (8, 8), "right")
        >>> network = fe_relu.P1Network(grid, np.ones(81))
        >>> found = fe_relu.activation_statistics(network, [[0.5, 3.25, 6.5], [0.25, 2.5, 6.25]])
        >>> found.widths, found.mean.round(2).tolist()
        ((35, 81), [17.67, 3.0])
    """
    raise TypeError(f"a {type(network).__name__} is no network whose neurons are known")


@activation_statistics.register
def _(network: LayeredNetwork, points: npt.ArrayLike) -> ActivationStatistics:
    x = checked_points(points, network.dim_in)
    if x.shape[1] == 0:
        raise ValueError("activation statistics need at least one point")
    awake = np.empty((network.hidden_layers, x.shape[1]), np.int64)
    widths = [0] * network.hidden_layers
    step = max(1, CHUNK_ENTRIES // max(network.widths))
    for start in range(0, x.shape[1], step):
        some = slice(start, start + step)
        h = x[:, some].astype(np.result_type(network.dtype, x.dtype))
        for k, hidden in enumerate(network.activations(h)):
            awake[k, some] = np.count_nonzero(hidden, axis=0)
            widths[k] = len(hidden)
    return ActivationStatistics(
        tuple(widths), awake.mean(axis=1), awake.min(axis=1), awake.max(axis=1), x.shape[1]
    )


def _of_explicit(network: Any, points: npt.ArrayLike) -> ActivationStatistics:
    return activation_statistics(network.explicit(), points)


for kind in (NodalNetwork, Surrogate):
    activation_statistics.register(kind, _of_explicit)


@activation_statistics.register
def _(network: HierarchicalNetwork, points: npt.ArrayLike) -> ActivationStatistics:
    return activation_statistics(network.to_p1(), points)
