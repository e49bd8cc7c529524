# SPDX-License-Identifier: MIT
"""Active forms by kind of network: each is a sum of pieces that look up what counts at a point."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fe_relu.active import Piece
from fe_relu.active_p2 import P2Piece
from fe_relu.nesting import coarsened, levels_and_stars, numbers_in_coarser
from fe_relu.p1 import P1Network
from fe_relu.p2 import P2Network
from fe_relu.surrogate import Surrogate


@functools.singledispatch
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
    return (Piece(network.grid, network.values),)


@pieces.register
def _(network: Surrogate) -> tuple[Piece, ...]:
    """A P1 function on the mesh of each level that has a kept vertex, as its hats go on outside."""
    grid, levels = network.grid, network.levels
    level, _ = levels_and_stars(grid, levels, network.vertices)
    found = []
    for at in np.unique(level) if level.size else [0]:
        factor, new = 1 << (levels - int(at)), level == at
        mesh = coarsened(grid, factor)
        vertices = numbers_in_coarser(grid, factor, network.vertices[new])
        values = np.zeros((*network.coefficients.shape[:-1], mesh.num_vertices), network.dtype)
        values[..., vertices] = network.coefficients[..., new]
        found.append(Piece(mesh, values))
    return tuple(found)


@pieces.register
def _(network: P2Network) -> tuple[Piece, ...]:
    return (P2Piece(network.grid, network.values, network.levels),)
