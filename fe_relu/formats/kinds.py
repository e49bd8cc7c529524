# SPDX-License-Identifier: MIT
"""The kinds of network that files hold: what of each is stored, as a table.

Only what a network is made from is stored; what follows from it is computed anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.formats.stored import Array, Contents, Stored, naturals
from fe_relu.formats.stored_parts import (
    coarse_values,
    part_values,
    stored_layer,
    stored_mesh,
    vertex_tensor,
)
from fe_relu.hierarchy.basis import HierarchicalNetwork
from fe_relu.hierarchy.nested import Nesting, levels_and_stars, nested_levels
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.hierarchy.transform import unit_of_blocks
from fe_relu.layers.affine import Affine
from fe_relu.layers.bubbles import DeepNetwork
from fe_relu.layers.network import PoolingNetwork, ReLUNetwork
from fe_relu.layers.pooling import Pooling
from fe_relu.meshes.grid.grid import Grid
from fe_relu.meshes.kinds import KINDS as MESHES
from fe_relu.meshes.kinds import divided, divisions
from fe_relu.meshes.mesh import Mesh
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network
from fe_relu.networks.q1 import Q1Network
from fe_relu.parallel.layouts import Layout, Spread, layout_on, spread_on

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
        network: From what is stored, a communicator or None, and the word of `LAYOUTS` for where
            values are to be, the network. Local. Raises ValueError or TypeError if there is none.
        spreads: Whether networks of this kind can be spread.
        prepared: From a network, the same one in a layout that `contents` takes. Collective.
    """

    network_type: type
    contents: Callable[[Any], Contents]
    network: Callable[[Stored, MPI.Comm | None, str], Any]
    spreads: bool = False
    prepared: Callable[[Any], Any] = _itself


def _own_facts(network: Any, facts: dict[str, type]) -> dict[str, Any]:
    return {name: kind(getattr(network, name)) for name, kind in facts.items()}


def _stored_facts(stored: Stored, facts: dict[str, type]) -> dict[str, Any]:
    return {name: stored.fact(name, kind) for name, kind in facts.items()}


# Numbers on a mesh


def mesh_facts(mesh: Mesh) -> dict[str, Any]:
    """What a file says of a mesh, under the name of its kind."""
    return {name: mesh.facts for name, kind in MESHES.items() if kind.mesh_type is type(mesh)}


def mesh_arrays(mesh: Mesh, layout: Layout) -> dict[str, Array]:
    """The arrays of a mesh, which one rank writes."""
    return {
        f"mesh.{name}": Array(array.dtype, array.shape, [(0, array)] if layout.speaks else [])
        for name, array in mesh.arrays.items()
    }


def vertex_array(values: npt.NDArray, mesh: Mesh, layout: Layout, degree: int = 1) -> Array:
    """Values (…, n) of this rank's part as the array of the whole mesh, refined by degree."""
    if not layout.is_spread:
        return Array(values.dtype, values.shape, [(0, values)] if layout.speaks else [])
    part, count = layout.part(mesh).refined(degree), mesh.refined(degree).num_vertices
    parts = (
        (k * count + run.first, row[run.place : run.place + run.length])
        for k, row in enumerate(np.atleast_2d(values))
        for run in part.runs(own=True)
    )
    return Array(values.dtype, (*values.shape[:-1], count), parts)


def nodal(network_type: type, **facts: type) -> Kind:
    """A type of `NodalNetwork` whose further arguments and attributes are facts."""
    degree: int = network_type.degree  # type: ignore[attr-defined]

    def contents(network: Any) -> Contents:
        array = vertex_array(network.values, network.mesh, network.layout, degree)
        own = _own_facts(network, facts) | ({"is_complex": True} if network.is_complex else {})
        arrays = mesh_arrays(network.mesh, network.layout) | {"values": array}
        return Contents(mesh_facts(network.mesh) | own, arrays)

    def network(stored: Stored, comm: MPI.Comm | None, layout: str) -> Any:
        mesh = stored_mesh(stored)
        tensor = vertex_tensor(stored, "values", mesh, degree)
        word = divided(mesh, layout)
        where = spread_on(comm, word, tensor.size, lambda c: divisions(mesh, c.size)[0])
        values = part_values(stored, tensor, where.part(mesh).refined(degree))
        own = _stored_facts(stored, facts)
        if "is_complex" in stored.facts:
            own["is_complex"] = stored.fact("is_complex", bool)
        return network_type(mesh, values, where, **own)

    def prepared(network: Any) -> Any:
        """The whole on every rank, of a mesh that no rank has whole."""
        if not network.mesh.is_partial:
            return network
        return replace(network.gather(), layout=layout_on(network.comm))

    return Kind(network_type, contents, network, spreads=True, prepared=prepared)


def _layout_in_units(
    mesh: Grid, levels: int, comm: MPI.Comm | None, layout: str, numbers: int
) -> Layout:
    """The same, cut where most levels need no neighbours.

    Raises:
        ValueError: The grid is too large to be cut.
    """

    def division(comm: MPI.Comm) -> Any:
        if max(mesh.shape) > MAX_SIDE:
            raise ValueError(
                f"a grid of {mesh.shape[0]} x {mesh.shape[1]} cells is not cut into blocks; "
                'layout="replicated" gives each rank the whole'
            )
        return divisions(mesh, comm.size, unit_of_blocks(mesh, levels, comm.size))[0]

    return spread_on(comm, layout, numbers, division)


def hierarchical() -> Kind:
    """Coefficients of all vertices; blocks are cut in units, and ranks share what these leave."""

    def contents(network: HierarchicalNetwork) -> Contents:
        array = vertex_array(network.surpluses, network.mesh, network.layout)
        facts = mesh_facts(network.mesh) | {"levels": network.levels}
        return Contents(facts, {"surpluses": array})

    def network(stored: Stored, comm: MPI.Comm | None, layout: str) -> HierarchicalNetwork:
        mesh = _nested_mesh(stored)
        tensor = vertex_tensor(stored, "surpluses", mesh)
        levels = nested_levels(mesh, stored.fact("levels", int))
        where = _layout_in_units(mesh, levels, comm, layout, tensor.size)
        window = where.part(mesh)
        values, nesting = part_values(stored, tensor, window), Nesting.of(window, levels)
        coarse = coarse_values(stored, tensor, nesting) if nesting.is_shared else None
        return HierarchicalNetwork(mesh, levels, values, where, coarse)

    return Kind(HierarchicalNetwork, contents, network, spreads=True)


def _nested_mesh(stored: Stored) -> Grid:
    mesh = stored_mesh(stored)
    if not isinstance(mesh, Grid):
        raise ValueError(f"a {type(mesh).__name__} is not nested; a Grid may be")
    return mesh


def sparse(**facts: type) -> Kind:
    """Kept coefficients, which are few: one rank writes them, and each reads all and chooses."""

    def prepared(network: Surrogate) -> Surrogate:
        if not network.layout.is_spread:
            return network
        return replace(network.whole(), layout=layout_on(network.comm))

    def contents(network: Surrogate) -> Contents:
        arrays = {
            name: Array(array.dtype, array.shape, [(0, array)] if network.layout.speaks else [])
            for name, array in (
                ("vertices", network.vertices),
                ("coefficients", network.coefficients),
            )
        }
        shape = {"levels": network.levels, "kept": list(network.kept)}
        own = _own_facts(network, facts)
        return Contents(mesh_facts(network.mesh) | shape | own, arrays)

    def network(stored: Stored, comm: MPI.Comm | None, layout: str) -> Surrogate:
        stored.require_tensors(["vertices", "coefficients"])
        mesh, dims = _nested_mesh(stored), len(stored.tensors["coefficients"].shape)
        levels = nested_levels(mesh, stored.fact("levels", int))
        whole = Surrogate(
            mesh,
            levels,
            stored.whole("vertices", "i"),
            stored.whole("coefficients", "f", dims),
            naturals(stored.facts.get("kept"), "kept", most=64),
            **_stored_facts(stored, facts),
        )
        numbers = sum(tensor.size for tensor in stored.tensors.values())
        return part_of(_layout_in_units(mesh, levels, comm, layout, numbers), whole)

    return Kind(Surrogate, contents, network, spreads=True, prepared=prepared)


@singledispatch
def part_of(where: Any, whole: Surrogate) -> Surrogate:
    """What this rank holds of a surrogate in a layout."""
    return replace(whole, layout=where)


@part_of.register
def _(where: Spread, whole: Surrogate) -> Surrogate:
    positions, ranks = where.division.holders(whole.vertices)
    nesting = Nesting.of(where.part(whole.mesh), whole.levels)
    level, _ = levels_and_stars(whole.mesh, whole.levels, whole.vertices)
    held = (level <= nesting.outer) & nesting.is_shared
    held[positions[ranks == where.comm.rank]] = True
    vertices, coefficients = whole.vertices[held], whole.coefficients[..., held]
    return replace(whole, vertices=vertices, coefficients=coefficients, layout=where)


# Layers


@singledispatch
def layer_arrays(layer: Any) -> dict[str, npt.NDArray]:
    """The arrays that a layer is made from."""
    raise NotImplementedError


@layer_arrays.register
def _(layer: Pooling) -> dict[str, npt.NDArray]:
    """The pairs, under the name of what is made of them."""
    return {layer.kind: layer.pairs}


@layer_arrays.register
def _(layer: Affine) -> dict[str, npt.NDArray]:
    """The weight by compressed rows, and the bias; indices in 32 bits where they fit."""
    weight = layer.weight
    index = np.int32 if max(*weight.shape, weight.nnz) < 1 << 31 else np.int64
    return {
        "weight.data": weight.data,
        "weight.indices": weight.indices.astype(index),
        "weight.indptr": weight.indptr.astype(index),
        "bias": layer.bias,
    }


def layered(network_type: type, **facts: type) -> Kind:
    """A type of networks with arguments and attributes layers, and facts."""

    def contents(network: Any) -> Contents:
        arrays = {}
        for k, layer in enumerate(network.layers):
            for name, numbers in layer_arrays(layer).items():
                arrays[f"layers.{k}.{name}"] = Array(numbers.dtype, numbers.shape, [(0, numbers)])
        return Contents({"widths": list(network.widths)} | _own_facts(network, facts), arrays)

    def network(stored: Stored, comm: MPI.Comm | None, layout: str) -> Any:
        widths = naturals(stored.facts.get("widths"), "widths")
        depth = len(widths) - 1
        if not 1 <= depth <= len(stored.tensors):
            raise ValueError(f"{len(stored.tensors)} arrays are not {depth} layers")
        layers = [stored_layer(stored, k, widths[k], widths[k + 1]) for k in range(depth)]
        if len(stored.tensors) != sum(len(layer_arrays(layer)) for layer in layers):
            raise ValueError(f"{len(stored.tensors)} arrays are not {depth} layers")
        return network_type(tuple(layers), **_stored_facts(stored, facts))

    return Kind(network_type, contents, network)


#: The name in the file of each kind. A further kind is a further row.
KINDS = {
    "p1": nodal(P1Network),
    "q1": nodal(Q1Network),
    "p2": nodal(P2Network, levels=int),
    "hierarchical": hierarchical(),
    "surrogate": sparse(error=float, bound=float, h1_error=float, ceiling=float),
    "relu": layered(ReLUNetwork),
    "pooling": layered(PoolingNetwork),
    "deep": layered(DeepNetwork, error_bound=float),
}
