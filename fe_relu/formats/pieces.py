# SPDX-License-Identifier: MIT
"""Active forms by kind of network: each is a sum of pieces that look up what counts at a point."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.meshes.grid.active import P2Piece, Piece
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network


@singledispatch
def pieces(network: Any) -> tuple[Piece, ...]:
    """The pieces whose sum a network is, on all of ℝ². Of this process alone.

    Raises:
        ValueError: The network does not know itself as such a sum.
    """
    raise ValueError(
        f'a {type(network).__name__} has no form="active", which needs the mesh that its neurons '
        'belong to; form="relu" writes its layers as they are'
    )


@pieces.register
def _(network: P1Network) -> tuple[Piece, ...]:
    return (Piece(network.mesh, network.values),)


@pieces.register
def _(network: Surrogate) -> tuple[Piece, ...]:
    """A P1 function on the mesh of each level that has a kept vertex, as its hats go on outside."""
    scalar = network.coefficients.ndim == 1
    return tuple(
        Piece(window.grid, values[0] if scalar else values)
        for window, values in network.functions()
    )


@pieces.register
def _(network: P2Network) -> tuple[Piece, ...]:
    return (P2Piece(network.mesh, network.values, network.levels),)
