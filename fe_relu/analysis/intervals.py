# SPDX-License-Identifier: MIT
"""Bounds of any layers' neurons over a box by interval arithmetic, and of their roundoff.

A neuron that reads activations h off by at most e, with weights w and bias b in their own dtype, is
off by at most Σ |w| e + (2 + n) eps (Σ |w| (|h| + e) + |b|), whatever the order of the n terms that
are not zero. Of many hats only a few are awake at a point, also when each is a little off: those
sums need no more than the largest terms, as many as there can be awake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.affine import Affine
from fe_relu.layers.network import LayeredNetwork, ReLUNetwork
from fe_relu.layers.pooling import Pooling
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network

#: Lower and upper values, shape (width,) each.
Pair = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

#: Hats are within one step of their vertex, along each axis, and hats of centres within a half. A
#: quarter wider than that, 3 x 3 vertices and 2 x 2 centres hold a point.
AWAKE_HATS = 9 + 4

#: How far hats may be off for that to hold.
MOST_OFF = 0.25


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


def interval_bounds(network: LayeredNetwork, box: npt.NDArray) -> NetworkBounds:
    """What layer after layer can be, each input of a neuron for itself.

    The first layer's bounds are attained, but neurons that cannot be large at the same time are
    taken to be. Roundoff of evaluation in the layers' own precision is included.
    """
    *layers, outputs = [pair for pair, _ in _intervals(network, box)]
    hidden = (pair for pair, neurons in zip(layers, network.rectified, strict=False) if neurons)
    return NetworkBounds(*outputs, tuple(hidden), not layers, box)


def _intervals(network: LayeredNetwork, box: npt.NDArray) -> Iterator[tuple[Pair, Pair]]:
    """What comes out of each layer, and the same after the ReLU, if there is one."""
    after: Pair = (box[:, 0], box[:, 1])
    eps = float(np.finfo(network.dtype).eps)
    for layer, rectified in zip(network.layers, network.rectified, strict=True):
        found = _interval(layer, *after, eps)
        after = (np.maximum(found[0], 0), np.maximum(found[1], 0)) if rectified else found
        yield found, after


@singledispatch
def _interval(layer: Any, lower: npt.NDArray, upper: npt.NDArray, eps: float) -> Pair:
    """What comes out of a layer, given what its inputs can be, with roundoff."""
    raise NotImplementedError


@_interval.register
def _(layer: Affine, lower: npt.NDArray, upper: npt.NDArray, eps: float) -> Pair:
    weight, bias = layer.weight.astype(float), layer.bias.astype(float)
    up, down = weight.maximum(0), weight.minimum(0)
    size = abs(weight) @ np.maximum(np.abs(lower), np.abs(upper)) + np.abs(bias)
    roundoff = (2 + np.diff(weight.indptr)) * np.finfo(layer.bias.dtype).eps * size
    return (
        up @ lower + down @ upper + bias - roundoff,
        up @ upper + down @ lower + bias + roundoff,
    )


@_interval.register
def _(layer: Pooling, lower: npt.NDArray, upper: npt.NDArray, eps: float) -> Pair:
    """Of a product the extremes at ends, and one rounding."""
    (a, b), (c, d) = lower[layer.pairs], upper[layer.pairs]
    if layer.kind == "maximum":
        return np.maximum(a, b), np.maximum(c, d)
    ends = np.array([a * b, a * d, c * b, c * d])
    off = eps * np.abs(ends).max(axis=0)
    return ends.min(axis=0) - off, ends.max(axis=0) + off


@singledispatch
def roundoff(
    network: Any, layers: LayeredNetwork, box: npt.NDArray
) -> list[npt.NDArray[np.float64]]:
    """How far off neurons before their ReLU may be, and outputs at last; an array for each layer.

    Args:
        network: What the layers are explicit layers of, or they themselves.
        layers: In the dtype that they are evaluated in, in any order of summation.
        box: Where, shape (dim_in, 2).
    """
    return _layer_by_layer(layers, box, None)


@roundoff.register
def _(network: P1Network, layers: ReLUNetwork, box: npt.NDArray) -> list[npt.NDArray[np.float64]]:
    awake = _awake(network)
    return _layer_by_layer(layers, box, awake.hats * awake.neurons)


class Awake(NamedTuple):
    """What can be awake together, by roundoff too.

    Attributes:
        hats: So many at a point: on a mesh of simplices, those of a vertex and of its neighbours.
        edges: So many at a vertex.
        neurons: So many of the second layer make a hat.
    """

    hats: int
    edges: int
    neurons: int


def _awake(network: P1Network | P2Network) -> Awake:
    if network.mesh.is_structured:
        return Awake(AWAKE_HATS, 8, 1)
    mesh: Any = network.mesh
    edges = int(np.bincount(mesh.edges().ends.ravel()).max())
    _, _, hats = mesh.hidden_layers(network.dtype)
    return Awake(1 + edges, edges, int(np.diff(hats.indptr).max()))


@roundoff.register
def _(network: Surrogate, layers: ReLUNetwork, box: npt.NDArray) -> list[npt.NDArray[np.float64]]:
    return _layer_by_layer(layers, box, AWAKE_HATS * (network.levels + 1))


@roundoff.register
def _(network: P2Network, layers: ReLUNetwork, box: npt.NDArray) -> list[npt.NDArray[np.float64]]:
    """Lines, hats and outputs, where hats are off by e, values up to U, and surpluses up to S.

    In numbers of a grid, where at most 13 hats are awake together, with eight edges each:

    - P1 part and products: each awake hat moves the first by U e; each edge between two awake ones,
      at most eight at a hat, adds 8 s (S(tₑ) − S(tᵢ) − S(tⱼ)), which moves by 4 S e at most.
    - A sawtooth's own rounding doubles from level to level, and its factor falls fourfold: 36 eps
      in all, for each of 8 S a vertex and an edge have; a vertex has eight edges, awake or not.
    - Each level sums 2 · (13 + 8 · 13) such terms and more, of size 13 U + 16 · 8 · 13 S together.
    """
    lines, hats = _layer_by_layer(ReLUNetwork(layers.layers[:2]), box, None)
    off, eps = float(hats.max()), float(np.finfo(network.dtype).eps)
    if off > MOST_OFF:
        return _layer_by_layer(layers, box, None)
    most, awake = network.size, _awake(network)
    bump = 4.0**network.levels * network.error_bound
    edges = awake.edges * awake.hats
    sawteeth = 8 * bump * 2 * edges
    moved = awake.neurons * off * (awake.hats * most + 4 * edges / 2 * bump)
    terms = awake.neurons * (awake.hats + edges + 2)
    rounded = eps * (36 * sawteeth + 2 * terms * 2 * (awake.hats * most + sawteeth))
    return [lines, hats, np.full(network.dim_out, moved + rounded)]


def _layer_by_layer(
    network: LayeredNetwork, box: npt.NDArray, awake: int | None
) -> list[npt.NDArray[np.float64]]:
    """Of at most so many awake neurons of the second layer, if hats are little enough off."""
    size: npt.NDArray = np.abs(box).max(axis=1)
    error: npt.NDArray = np.zeros(len(box))
    found: list[npt.NDArray[np.float64]] = []
    *before, _ = network.rectified
    layers = zip(network.layers, (*before, True), _intervals(network, box), strict=True)
    eps = float(np.finfo(network.dtype).eps)
    for k, (layer, told, ((_, most), (lower, upper))) in enumerate(layers):
        few = k == 2 and error.max(initial=0) <= MOST_OFF
        error = _through(layer, size, error, awake if few else None, eps)
        if told:
            found.append(error)
        size = np.maximum(np.abs(lower), np.abs(upper))
        error = np.where(most + error > 0, error, 0) if told else error
    return found


@singledispatch
def _through(
    layer: Any, size: npt.NDArray, error: npt.NDArray, most: int | None, eps: float
) -> npt.NDArray[np.float64]:
    """How far a layer's results are off if its inputs, of this size, are off by so much."""
    raise NotImplementedError


@_through.register
def _(
    layer: Affine, size: npt.NDArray, error: npt.NDArray, most: int | None, eps: float
) -> npt.NDArray[np.float64]:
    own_eps = float(np.finfo(layer.bias.dtype).eps)
    weight = abs(layer.weight).astype(float)
    counts = np.diff(weight.indptr)
    terms = counts if most is None else np.minimum(counts, most)
    magnitude = _largest_sums(weight, size + error, most) + np.abs(layer.bias)
    return _largest_sums(weight, error, most) + (2 + terms) * own_eps * magnitude


@_through.register
def _(
    layer: Pooling, size: npt.NDArray, error: npt.NDArray, most: int | None, eps: float
) -> npt.NDArray[np.float64]:
    (a, b), (d, e) = size[layer.pairs], error[layer.pairs]
    if layer.kind == "maximum":
        return np.maximum(d, e)
    return a * e + b * d + d * e + eps * (a + d) * (b + e)


def _largest_sums(
    weight: sparse.csr_array, column: npt.NDArray, most: int | None
) -> npt.NDArray[np.float64]:
    """Weight @ column, of each row only so many largest terms; all numbers are ≥ 0."""
    sums = weight @ column
    if most is None:
        return sums
    for row in np.flatnonzero(np.diff(weight.indptr) > most):
        entries = slice(weight.indptr[row], weight.indptr[row + 1])
        terms = weight.data[entries] * column[weight.indices[entries]]
        sums[row] = np.partition(terms, -most)[-most:].sum()
    return sums
