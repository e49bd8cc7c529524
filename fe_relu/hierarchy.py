# SPDX-License-Identifier: MIT
"""Functions and networks become hierarchies, on one rank or spread over many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu.blocks import Blocks
from fe_relu.convert import Layout, network_from_function
from fe_relu.fields import GridNetwork
from fe_relu.grid import Grid
from fe_relu.hierarchical import HierarchicalNetwork
from fe_relu.nesting import Nesting, nested_levels
from fe_relu.p1 import P1Network
from fe_relu.parallel import gather_columns, require_alike, together
from fe_relu.redistribute import Redistribution, aligned_blocks
from fe_relu.surrogate import Surrogate

if TYPE_CHECKING:
    from mpi4py import MPI

    from dolfinx import fem

__all__ = [
    "HierarchicalNetwork",
    "Surrogate",
    "hierarchical_from_function",
    "hierarchical_from_network",
]

#: Blocks are cut at multiples of a unit so large that each rank still has about this many of them.
UNITS_PER_RANK = 64


def hierarchical_from_function(
    u: fem.Function, *, levels: int | None = None, rtol: float = 1e-8, layout: Layout = "auto"
) -> HierarchicalNetwork:
    """The P1 function u in the hierarchical basis of nested meshes. Collective.

    Args:
        u: As for `network_from_function`.
        levels: How often the coarsest mesh is halved to get u's. None: as often as possible.
        rtol: As for `network_from_function`.
        layout: As for `network_from_function`.

    Raises:
        ValueError: As for `network_from_function`, or the mesh is not one halved so often.
        TypeError: As for `network_from_function`, u is P2, or levels is no integer.
    """
    return hierarchical_from_network(
        network_from_function(u, rtol=rtol, layout=layout), levels=levels
    )


def hierarchical_from_network(
    network: GridNetwork, *, levels: int | None = None
) -> HierarchicalNetwork:
    """The P1 network in the hierarchical basis of nested meshes. Collective over its `comm`.

    Args:
        network: A `P1Network`.
        levels: As for `hierarchical_from_function`.

    Raises:
        ValueError: The grid is not one halved so often; the message says which would be. Or the
            values are so large that sums of them overflow.
        TypeError: The network is of another kind, levels is no integer, or ranks pass different
            numbers.
    """
    grid, comm = network.grid, network.comm
    with together(comm):
        if not isinstance(network, P1Network):
            raise TypeError(
                f"a {type(network).__name__} has no hierarchical basis; a P1Network has, of a "
                "function in a P1 space"
            )
        chosen = nested_levels(grid, levels)
    if comm is not None:
        require_alike(comm, chosen, "numbers of levels")
    values, blocks = _in_units(network, chosen)
    nesting = Nesting.of(grid, chosen, comm, blocks)
    coarse = _gathered(nesting, values, comm) if comm and nesting.is_shared else None
    nesting.split(values, coarse)
    with together(comm):
        _require_room(values, chosen)
    rows = values[0] if network.values.ndim == 1 else values
    return HierarchicalNetwork(grid, chosen, rows, comm, blocks, coarse)


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


def _in_units(network: P1Network, levels: int) -> tuple[npt.NDArray, Blocks | None]:
    """The network's values (k, n), in blocks that are cut at multiples of a power of two."""
    values, grid, comm, blocks = np.atleast_2d(network.values), network.grid, network.comm, None
    if comm is None or network.blocks is None:
        return values.copy(), None
    unit = unit_of_blocks(grid, levels, comm.size)
    if network.blocks.unit % unit == 0:
        return values.copy(), network.blocks
    window = network.window
    own = np.flatnonzero(window.owned(grid))
    vertices = window.grid_numbers(grid, own)
    blocks = aligned_blocks(comm, grid, vertices, unit)
    return Redistribution.of(comm, grid, blocks, vertices).values(values[:, own]), blocks


def _gathered(nesting: Nesting, values: npt.NDArray, comm: MPI.Comm) -> npt.NDArray:
    """Nodal values of the coarse grid, which blocks do not split further, on every rank."""
    numbers, places = nesting.shared
    everyone = gather_columns(comm, numbers[None])[0]
    coarse = np.empty((len(values), nesting.coarse.num_vertices), values.dtype)
    coarse[:, everyone] = gather_columns(comm, values[:, places])
    return coarse
