# SPDX-License-Identifier: MIT
"""Active forms by kind of network: each is a sum of pieces that look up what counts at a point."""

from __future__ import annotations

import functools
from typing import Any

from fe_relu.active import Piece
from fe_relu.p1 import P1Network


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
