# SPDX-License-Identifier: MIT
"""A network compared with whatever is to be the same: where to look, and how far off it may be."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.layers.affine import Affine
from fe_relu.layers.network import LayeredNetwork
from fe_relu.layers.pooling import Pooling
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
def _(network: LayeredNetwork) -> npt.NDArray[np.float64]:
    """Around 0, and near where some neurons of the first layer wake together."""
    rng, first = np.random.default_rng(7), network.first
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
def _(network: LayeredNetwork, x: npt.NDArray, eps: float) -> tuple[npt.NDArray, npt.NDArray]:
    """Layer by layer, as `roundoff` does for a whole box."""
    h, error = x.astype(float), np.zeros(x.shape)
    for layer, rectified in zip(network.layers, network.rectified, strict=True):
        h, error = _after(layer, h, error, eps)
        h = np.maximum(h, 0) if rectified else h
    return h, error


@singledispatch
def _after(
    layer: Any, h: npt.NDArray, error: npt.NDArray, eps: float
) -> tuple[npt.NDArray, npt.NDArray]:
    """Values after a layer, and how far off they may be."""
    raise NotImplementedError


@_after.register
def _(
    layer: Affine, h: npt.NDArray, error: npt.NDArray, eps: float
) -> tuple[npt.NDArray, npt.NDArray]:
    weight = layer.weight.astype(float)
    size, bias = abs(weight), layer.bias.astype(float)[:, None]
    units = (2 + np.diff(weight.indptr))[:, None] * eps
    error = size @ error + units * (size @ (np.abs(h) + error) + np.abs(bias))
    return weight @ h + bias, error


@_after.register
def _(
    layer: Pooling, h: npt.NDArray, error: npt.NDArray, eps: float
) -> tuple[npt.NDArray, npt.NDArray]:
    """Of a product (a ± d)(b ± e), with one rounding; a maximum is off as either may be."""
    (a, b), (d, e) = np.abs(h[layer.pairs]), error[layer.pairs]
    if layer.kind == "maximum":
        return layer(h), np.maximum(d, e)
    return layer(h), a * e + b * d + d * e + eps * (a + d) * (b + e)
