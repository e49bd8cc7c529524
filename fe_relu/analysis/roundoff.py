# SPDX-License-Identifier: MIT
"""How far the neurons of layers are from what they would be without roundoff, over a box.

A neuron that reads activations h off by at most e, with weights w and bias b in their own dtype, is
off by at most Σ |w| e + (2 + n) eps (Σ |w| (|h| + e) + |b|), whatever the order of the n terms that
are not zero. Of many hats only a few are awake at a point, also when each is a little off: those
sums need no more than the largest terms, as many as there can be awake.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.analysis.intervals import interval_bounds
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.network import Affine, ReLUNetwork
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network

#: Hats are within one step of their vertex, along each axis, and hats of centres within a half. A
#: quarter wider than that, 3 x 3 vertices and 2 x 2 centres hold a point.
AWAKE_HATS = 9 + 4

#: How far hats may be off for that to hold.
MOST_OFF = 0.25


@singledispatch
def roundoff(network: Any, layers: ReLUNetwork, box: npt.NDArray) -> list[npt.NDArray[np.float64]]:
    """How far off neurons before their ReLU may be, and outputs at last; an array for each layer.

    Args:
        network: What the layers are explicit layers of, or they themselves.
        layers: In the dtype that they are evaluated in, in any order of summation.
        box: Where, shape (dim_in, 2).
    """
    return _layer_by_layer(layers, box, None)


@roundoff.register
def _(network: P1Network, layers: ReLUNetwork, box: npt.NDArray) -> list[npt.NDArray[np.float64]]:
    return _layer_by_layer(layers, box, AWAKE_HATS)


@roundoff.register
def _(network: Surrogate, layers: ReLUNetwork, box: npt.NDArray) -> list[npt.NDArray[np.float64]]:
    return _layer_by_layer(layers, box, AWAKE_HATS * (network.levels + 1))


@roundoff.register
def _(network: P2Network, layers: ReLUNetwork, box: npt.NDArray) -> list[npt.NDArray[np.float64]]:
    """Lines, hats and outputs, where hats are off by e, values up to U, and surpluses up to S.

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
    most = network.size
    bump = network.layout.largest(network.part.largest_bump(np.atleast_2d(network.values)))
    edges = 8 * AWAKE_HATS
    sawteeth = 8 * bump * 2 * edges
    moved = off * (AWAKE_HATS * most + 4 * edges / 2 * bump)
    rounded = eps * (36 * sawteeth + 2 * (AWAKE_HATS + edges + 2) * 2 * (13 * most + sawteeth))
    return [lines, hats, np.full(network.dim_out, moved + rounded)]


def _layer_by_layer(
    network: ReLUNetwork, box: npt.NDArray, awake: int | None
) -> list[npt.NDArray[np.float64]]:
    """Of at most so many awake neurons of the second layer, if hats are little enough off."""
    uppers = [upper for _, upper in interval_bounds(network.layers, box).layers]
    size, error = np.abs(box).max(axis=1), np.zeros(len(box))
    found: list[npt.NDArray[np.float64]] = []
    for k, layer in enumerate(network.layers):
        few = k == 2 and error.max(initial=0) <= MOST_OFF
        error = _through(layer, size, error, awake if few else None)
        found.append(error)
        if k < len(uppers):
            size = np.maximum(uppers[k], 0)
            error = np.where(uppers[k] + error > 0, error, 0)
    return found


def _through(
    layer: Affine, size: npt.NDArray, error: npt.NDArray, most: int | None
) -> npt.NDArray[np.float64]:
    """How far a layer's results are off if its inputs, of this size, are off by so much."""
    eps = float(np.finfo(layer.bias.dtype).eps)
    weight = abs(layer.weight).astype(float)
    counts = np.diff(weight.indptr)
    terms = counts if most is None else np.minimum(counts, most)
    magnitude = _largest_sums(weight, size + error, most) + np.abs(layer.bias)
    return _largest_sums(weight, error, most) + (2 + terms) * eps * magnitude


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
