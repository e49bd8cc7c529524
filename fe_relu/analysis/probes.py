# SPDX-License-Identifier: MIT
"""A network compared with whatever is to be the same: where to look, and how far off it may be."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.layers.network import ReLUNetwork
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.q1 import Q1Network

#: Points of each kind that are looked at.
COUNT = 16


@singledispatch
def probes(network: Any) -> npt.NDArray[np.float64]:
    """Points (dim_in, n) at which a network shows what it is, always the same ones."""
    raise NotImplementedError


@probes.register(P1Network)
@probes.register(Q1Network)
def _(network: Any) -> npt.NDArray[np.float64]:
    """Between two vertices of the mesh."""
    rng, x = np.random.default_rng(7), network.mesh.vertices()
    one, other = x[:, rng.integers(0, x.shape[1], (2, 2 * COUNT))].swapaxes(0, 1)
    return one + (other - one) * rng.random(2 * COUNT)


@probes.register
def _(network: ReLUNetwork) -> npt.NDArray[np.float64]:
    """Around 0, and near where some neurons of the first layer wake together."""
    rng, first = np.random.default_rng(7), network.layers[0]
    points = [rng.standard_normal((first.dim_in, COUNT))]
    for _ in range(COUNT if first.dim_out else 0):
        rows = rng.integers(0, first.dim_out, min(first.dim_in, 8))
        weight, bias = first.weight[rows].toarray().astype(float), first.bias[rows].astype(float)
        meet = np.linalg.lstsq(weight, -bias)[0]
        step = 1 / np.linalg.norm(weight, axis=1).max(initial=1e-300)
        points.append((meet + 0.3 * step * rng.standard_normal(meet.shape))[:, None])
    return np.hstack(points)


@singledispatch
def values_and_roundoff(
    network: Any, x: npt.NDArray, eps: float
) -> tuple[npt.NDArray, npt.NDArray]:
    """Values (k, n) at points, and how far off they may be in numbers with this eps."""
    raise NotImplementedError


@values_and_roundoff.register(P1Network)
@values_and_roundoff.register(Q1Network)
def _(network: Any, x: npt.NDArray, eps: float) -> tuple[npt.NDArray, npt.NDArray]:
    dtype = np.float32 if eps > np.finfo(np.float64).eps else np.float64
    values = np.atleast_2d(network(x.astype(dtype)))
    off = network.steepness * network.mesh.resolution(dtype, x) * network.size
    return values, np.full(values.shape, off)


@values_and_roundoff.register
def _(network: ReLUNetwork, x: npt.NDArray, eps: float) -> tuple[npt.NDArray, npt.NDArray]:
    """Layer by layer, as `roundoff` does for a whole box."""
    h, error = x.astype(float), np.zeros(x.shape)
    for k, layer in enumerate(network.layers):
        weight = layer.weight.astype(float)
        size, bias = abs(weight), layer.bias.astype(float)[:, None]
        if k:
            h = np.maximum(h, 0)
        units = (2 + np.diff(weight.indptr))[:, None] * eps
        error = size @ error + units * (size @ (np.abs(h) + error) + np.abs(bias))
        h = weight @ h + bias
    return h, error
