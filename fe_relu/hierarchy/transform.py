# SPDX-License-Identifier: MIT
"""Networks become hierarchies, on one rank or spread over many."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.refusals import wrong_kind
from fe_relu.hierarchy.basis import HierarchicalNetwork
from fe_relu.hierarchy.nested import Nesting, nested_levels
from fe_relu.meshes.grid.blocks import Blocks
from fe_relu.meshes.grid.grid import Grid, on_grid
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network
from fe_relu.parallel.agreement import gather_columns
from fe_relu.parallel.layouts import Layout, Spread
from fe_relu.parallel.redistribute import Redistribution, aligned

#: Blocks are cut at multiples of a unit so large that each rank still has about this many of them.
UNITS_PER_RANK = 64


def hierarchical_from_network(
    network: P1Network | P2Network, *, levels: int | None = None
) -> HierarchicalNetwork:
    """The P1 network in the hierarchical basis of nested meshes. Collective over its `comm`.

    Args:
        network: A `P1Network` on a `Grid`.
        levels: How often the coarsest mesh is halved to get the network's. None: as often as
            possible.

    Raises:
        ValueError: The grid is not one halved so often; the message says which would be. Or the
            values are so large that sums of them overflow.
        TypeError: The network is of another kind, levels is no integer, or ranks pass different
            numbers.

    Examples:
        >>> import numpy as np, fe_relu
        >>> from fe_relu.hierarchy import hierarchical_from_network
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (4, 2), "right")
        >>> h = hierarchical_from_network(fe_relu.P1Network(grid, grid.vertices()[0] ** 2))
        >>> h.levels, h.coefficients(0)
        (1, array([ 0.,  4., 16.,  0.,  4., 16.]))
    """
    if not isinstance(network, P1Network):
        raise wrong_kind(network, "a P1Network, which has a hierarchical basis", "to_p1")
    with network.layout.together() as terms:
        mesh = on_grid(network.mesh, "the hierarchical basis")
        chosen = nested_levels(mesh, levels)
        terms.alike("numbers of levels", chosen)
    network = in_units(network.layout, network, chosen)
    nesting = Nesting.of(network.part, chosen)
    values = np.atleast_2d(network.values).copy()
    coarse = _gathered(nesting, values, network.layout.comm) if nesting.is_shared else None
    nesting.split(values, coarse)
    with network.layout.together():
        _require_room(values, chosen)
    rows = values[0] if network.values.ndim == 1 else values
    return HierarchicalNetwork(mesh, chosen, rows, network.layout, coarse)


def _require_room(surpluses: npt.NDArray, levels: int) -> None:
    """Raises unless sums over all levels, and slopes of them, stay finite."""
    room = float(np.finfo(surpluses.dtype).max) / (4 * (levels + 1))
    if not max(surpluses.max(initial=0), -surpluses.min(initial=0)) <= room:
        raise ValueError(
            f"sums over {levels} levels of values this large may overflow {surpluses.dtype}; "
            "divide the function by a number"
        )


def unit_of_blocks(grid: Grid, levels: int, size: int) -> int:
    """The power of two whose multiples blocks for so many ranks are cut at."""
    most = math.isqrt(grid.shape[0] * grid.shape[1] // (UNITS_PER_RANK * size))
    return 1 << min(levels, max(most, 1).bit_length() - 1)


@singledispatch
def in_units(layout: Layout, network: P1Network, levels: int) -> P1Network:
    """The network, its mesh cut where most levels need no neighbours, if it is cut at all."""
    return network


@in_units.register
def _(layout: Spread, network: P1Network, levels: int) -> P1Network:
    grid, comm = on_grid(network.mesh, "the hierarchical basis"), layout.comm
    unit = unit_of_blocks(grid, levels, comm.size)
    held: Any = layout.division
    if held.unit % unit == 0 and not held.margins:
        return network
    own = np.flatnonzero(network.part.owned())
    vertices = network.part.whole_numbers(own)
    blocks = aligned(comm, Blocks.layouts(grid, comm.size, unit), vertices)
    owned = np.atleast_2d(network.values)[:, own]
    values = Redistribution.of(comm, blocks, vertices).values(owned)
    rows = values[0] if network.values.ndim == 1 else values
    return replace(network, values=rows, layout=Spread(comm, blocks))


def _gathered(nesting: Nesting, values: npt.NDArray, comm: Any) -> npt.NDArray:
    """Nodal values of the coarse grid, which blocks do not split further, on every rank."""
    numbers, places = nesting.shared
    everyone = gather_columns(comm, numbers[None])[0]
    coarse = np.empty((len(values), nesting.coarse.num_vertices), values.dtype)
    coarse[:, everyone] = gather_columns(comm, values[:, places])
    return coarse
