# SPDX-License-Identifier: MIT
"""The kinds of network that files hold: what of each is stored, as a table.

Only what a network is made from is stored; what follows from it is computed anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fe_relu.blocks import Blocks, Window
from fe_relu.bubbles import DeepNetwork
from fe_relu.grid import Grid
from fe_relu.hierarchical import HierarchicalNetwork
from fe_relu.hierarchy import unit_of_blocks
from fe_relu.nesting import Nesting, levels_and_stars, nested_levels
from fe_relu.network import ReLUNetwork
from fe_relu.p1 import P1Network
from fe_relu.p2 import P2Network
from fe_relu.safetensors import naturals
from fe_relu.stored import Array, Contents, Stored
from fe_relu.stored_grid import (
    coarse_values,
    grid_facts,
    stored_grid,
    vertex_array,
    vertex_tensor,
    window_values,
)
from fe_relu.stored_layers import layer_arrays, stored_layer
from fe_relu.surrogate import Surrogate

if TYPE_CHECKING:
    from mpi4py import MPI

#: A surrogate's grid may be of any size, but to cut it into blocks takes up to 20 bytes for each
#: cell along a side.
MAX_SIDE = 1 << 20


def _itself(network: Any) -> Any:
    return network


@dataclass(frozen=True)
class Kind:
    """How networks of one type are stored and made again.

    Args:
        network_type: The very type, no type derived from it.
        contents: From a network, what is stored of it. Local.
        network: From what is stored, a communicator or None, and whether values are to be spread
            over its ranks in blocks, the network. Local. Raises ValueError or TypeError if what is
            stored is none.
        spreads: Whether networks of this kind can be spread.
        prepared: From a network, the same one in a layout that `contents` takes. Collective.
    """

    network_type: type
    contents: Callable[[Any], Contents]
    network: Callable[[Stored, MPI.Comm | None, bool], Any]
    spreads: bool = False
    prepared: Callable[[Any], Any] = _itself


def _own_facts(network: Any, facts: dict[str, type]) -> dict[str, Any]:
    return {name: kind(getattr(network, name)) for name, kind in facts.items()}


def _stored_facts(stored: Stored, facts: dict[str, type]) -> dict[str, Any]:
    return {name: stored.fact(name, kind) for name, kind in facts.items()}


# Numbers on a grid


def nodal(network_type: type, **facts: type) -> Kind:
    """A type of `GridNetwork` whose further arguments and attributes are facts."""
    degree: int = network_type.degree  # type: ignore[attr-defined]

    def contents(network: Any) -> Contents:
        nodes, window = network.node_grid, network.window.scaled(degree)
        array = vertex_array(network.values, nodes, window, network.comm, network.blocks)
        own = _own_facts(network, facts)
        return Contents({"grid": grid_facts(network.grid)} | own, {"values": array})

    def network(stored: Stored, comm: MPI.Comm | None, spread: bool) -> Any:
        grid = stored_grid(stored)
        tensor = vertex_tensor(stored, "values", grid, degree)
        blocks = Blocks.of(grid, comm.size) if comm is not None and spread else None
        window = _window(grid, comm, blocks).scaled(degree)
        values = window_values(stored, tensor, grid.refined(degree), window)
        own = _stored_facts(stored, facts)
        return network_type(grid=grid, values=values, comm=comm, blocks=blocks, **own)

    return Kind(network_type, contents, network, spreads=True)


def _window(grid: Grid, comm: MPI.Comm | None, blocks: Blocks | None) -> Window:
    return (
        Window((0, 0), grid.shape) if comm is None or blocks is None else blocks.window(comm.rank)
    )


def hierarchical() -> Kind:
    """Coefficients of all vertices; blocks are cut in units, and ranks share what these leave."""

    def contents(network: HierarchicalNetwork) -> Contents:
        grid, where = network.grid, (network.window, network.comm, network.blocks)
        array = vertex_array(network.surpluses, grid, *where)
        return Contents({"grid": grid_facts(grid), "levels": network.levels}, {"surpluses": array})

    def network(stored: Stored, comm: MPI.Comm | None, spread: bool) -> HierarchicalNetwork:
        grid = stored_grid(stored)
        tensor = vertex_tensor(stored, "surpluses", grid)
        levels = nested_levels(grid, stored.fact("levels", int))
        blocks = _blocks_in_units(grid, levels, comm) if spread else None
        values = window_values(stored, tensor, grid, _window(grid, comm, blocks))
        nesting = Nesting.of(grid, levels, comm, blocks)
        coarse = coarse_values(stored, tensor, nesting) if nesting.is_shared else None
        return HierarchicalNetwork(grid, levels, values, comm, blocks, coarse)

    return Kind(HierarchicalNetwork, contents, network, spreads=True)


def _blocks_in_units(grid: Grid, levels: int, comm: MPI.Comm | None) -> Blocks | None:
    if comm is None:
        return None
    return Blocks.of(grid, comm.size, unit_of_blocks(grid, levels, comm.size))


def sparse(**facts: type) -> Kind:
    """Kept coefficients, which are few: one rank writes them, and each reads all and chooses."""

    def prepared(network: Surrogate) -> Surrogate:
        if network.blocks is None:
            return network
        whole = network.gather()
        assert whole is not None
        return replace(whole, comm=network.comm)

    def contents(network: Surrogate) -> Contents:
        grid, first = network.grid, network.comm is None or network.comm.rank == 0
        arrays = {
            name: Array(array.dtype, array.shape, [(0, array)] if first else [])
            for name, array in (
                ("vertices", network.vertices),
                ("coefficients", network.coefficients),
            )
        }
        shape = {"levels": network.levels, "kept": list(network.kept)}
        own = _own_facts(network, facts)
        return Contents({"grid": grid_facts(grid)} | shape | own, arrays)

    def network(stored: Stored, comm: MPI.Comm | None, spread: bool) -> Surrogate:
        stored.require_tensors(["vertices", "coefficients"])
        grid, dims = stored_grid(stored), len(stored.tensors["coefficients"].shape)
        whole = Surrogate(
            grid,
            nested_levels(grid, stored.fact("levels", int)),
            stored.whole("vertices", "i"),
            stored.whole("coefficients", "f", dims),
            naturals(stored.facts.get("kept"), "kept", most=64),
            **_stored_facts(stored, facts),
        )
        return replace(whole, comm=comm) if comm is None or not spread else _part(whole, comm)

    return Kind(Surrogate, contents, network, spreads=True, prepared=prepared)


def _part(whole: Surrogate, comm: MPI.Comm) -> Surrogate:
    """What this rank holds of a surrogate in blocks.

    Raises:
        ValueError: The grid is too large to be cut.
    """
    grid, levels = whole.grid, whole.levels
    if max(grid.shape) > MAX_SIDE:
        raise ValueError(
            f"a grid of {grid.shape[0]} x {grid.shape[1]} cells is not cut into blocks; "
            'layout="replicated" gives each rank the whole'
        )
    blocks = _blocks_in_units(grid, levels, comm)
    assert blocks is not None
    positions, ranks = blocks.holders(grid, whole.vertices)
    nesting = Nesting.of(grid, levels, comm, blocks)
    level, _ = levels_and_stars(grid, levels, whole.vertices)
    held = (level <= nesting.outer) & nesting.is_shared
    held[positions[ranks == comm.rank]] = True
    vertices, coefficients = whole.vertices[held], whole.coefficients[..., held]
    return replace(whole, vertices=vertices, coefficients=coefficients, comm=comm, blocks=blocks)


# Affine layers


def layered(network_type: type, **facts: type) -> Kind:
    """A type of networks with arguments and attributes layers, and facts."""

    def contents(network: Any) -> Contents:
        arrays = {}
        for k, layer in enumerate(network.layers):
            for name, numbers in layer_arrays(layer).items():
                arrays[f"layers.{k}.{name}"] = Array(numbers.dtype, numbers.shape, [(0, numbers)])
        return Contents({"widths": list(network.widths)} | _own_facts(network, facts), arrays)

    def network(stored: Stored, comm: MPI.Comm | None, spread: bool) -> Any:
        widths = naturals(stored.facts.get("widths"), "widths")
        depth = len(widths) - 1
        if depth < 1 or len(stored.tensors) != 4 * depth:
            raise ValueError(f"{len(stored.tensors)} arrays are not {depth} layers")
        layers = [stored_layer(stored, k, widths[k], widths[k + 1]) for k in range(depth)]
        return network_type(tuple(layers), **_stored_facts(stored, facts))

    return Kind(network_type, contents, network)


#: The name in the file of each kind. A further kind is a further row.
KINDS = {
    "p1": nodal(P1Network),
    "p2": nodal(P2Network, levels=int),
    "hierarchical": hierarchical(),
    "surrogate": sparse(error=float, bound=float, h1_error=float, ceiling=float),
    "relu": layered(ReLUNetwork),
    "deep": layered(DeepNetwork, error_bound=float),
}
