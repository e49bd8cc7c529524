# SPDX-License-Identifier: MIT
"""Networks with products recognised as the Q1 or P2 function on a mesh that their layers are of."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np

from fe_relu.layers.affine import Affine
from fe_relu.layers.network import PoolingNetwork
from fe_relu.layers.pooling import Pooling
from fe_relu.networks.p2 import MAX_LEVELS, P2Network
from fe_relu.networks.q1 import Q1Network


def nodal_network(
    network: PoolingNetwork, mesh: Any, degree: int, rtol: float
) -> Q1Network | P2Network | None:
    """The network on a mesh of which this is `Q1Network.explicit()` or `P2Network.pooling()`.

    Its nodal values are the output weights, bit for bit (a −0 comes back as 0).

    Args:
        network: Of this process alone.
        mesh: Not spread.
        degree: 1 on quadrilaterals, 2 on simplices; there is none else.
        rtol: Weights of the hidden layers may be this fraction of the largest off, besides
            roundoff.

    Returns:
        None if the layers are others.
    """
    output = network.last
    if (degree == 1) == mesh.is_simplicial or network.dim_in != mesh.dim or output.bias.any():
        return None
    if output.dim_in != mesh.refined(degree).num_vertices:
        return None
    weights = output.weight.toarray().astype(network.dtype)
    values = np.empty_like(weights)
    found: Q1Network | P2Network
    try:
        if degree == 1:
            found = Q1Network(mesh, weights)
            layers = found.explicit().layers
        else:
            edges = mesh.edges()
            values[:, np.concatenate([edges.vertices, edges.middles])] = weights
            found = P2Network(mesh, values, levels=MAX_LEVELS)
            layers = found.pooling().layers
    except ValueError:  # the mesh has no such layers
        return None
    if len(layers) != len(network.layers):
        return None
    tolerance = rtol + 16 * float(np.finfo(network.dtype).eps)
    same = zip(layers[:-1], network.layers[:-1], strict=True)
    return found if all(_is_alike(own, other, tolerance) for own, other in same) else None


@singledispatch
def _is_alike(own: Any, other: Any, tolerance: float) -> bool:
    """Whether a layer is another one up to a tolerance."""
    raise NotImplementedError


@_is_alike.register
def _(own: Pooling, other: Any, tolerance: float) -> bool:
    return (
        isinstance(other, Pooling)
        and (own.kind, own.dim_in) == (other.kind, other.dim_in)
        and np.array_equal(own.pairs, other.pairs)
    )


@_is_alike.register
def _(own: Affine, other: Any, tolerance: float) -> bool:
    if not isinstance(other, Affine) or own.weight.shape != other.weight.shape:
        return False
    off = abs(own.weight - other.weight).max(), np.abs(own.bias - other.bias).max(initial=0)
    most = abs(own.weight).max(), np.abs(own.bias).max(initial=0)
    return all(apart <= tolerance * size for apart, size in zip(off, most, strict=True))
