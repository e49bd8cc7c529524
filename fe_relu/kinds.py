# SPDX-License-Identifier: MIT
"""The kinds of network that files hold: what of each is stored, as a table.

Only what a network is made from is stored; what follows from it is computed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu import safetensors
from fe_relu.blocks import Blocks, Window
from fe_relu.bubbles import DeepNetwork
from fe_relu.grid import Grid
from fe_relu.network import Affine, ReLUNetwork
from fe_relu.p1 import P1Network
from fe_relu.safetensors import Tensor, naturals
from fe_relu.stored import Array, Contents, Stored

if TYPE_CHECKING:
    from mpi4py import MPI


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
    """

    network_type: type
    contents: Callable[[Any], Contents]
    network: Callable[[Stored, MPI.Comm | None, bool], Any]
    spreads: bool = False


# Nodal values on a grid


def nodal(network_type: type, **facts: type) -> Kind:
    """A type of networks with arguments and attributes grid, values, comm, blocks, and facts."""

    def contents(network: Any) -> Contents:
        values, grid = network.values, network.grid
        shape = (*values.shape[:-1], grid.num_vertices)
        stored = {
            "grid": {
                "origin": grid.origin.tolist(),
                "axes": grid.axes.tolist(),
                "shape": list(grid.shape),
                "diagonal": grid.diagonal,
            }
        }
        own = {name: kind(getattr(network, name)) for name, kind in facts.items()}
        return Contents(stored | own, {"values": Array(values.dtype, shape, _nodal_parts(network))})

    def network(stored: Stored, comm: MPI.Comm | None, spread: bool) -> Any:
        grid = stored_grid(stored)
        stored.require_tensors(["values"])
        tensor = stored.tensor("values", "f", len(stored.tensors["values"].shape))
        if tensor.shape[-1:] != (grid.num_vertices,):
            raise ValueError(
                f"'values' has shape {list(tensor.shape)}, but the grid of shape "
                f"{list(grid.shape)} has {grid.num_vertices} vertices"
            )
        blocks = Blocks.of(grid, comm.size) if comm is not None and spread else None
        window = None if comm is None or blocks is None else blocks.window(comm.rank)
        values = _nodal_values(stored, tensor, grid, window)
        own = {name: stored.fact(name, kind) for name, kind in facts.items()}
        return network_type(grid=grid, values=values, comm=comm, blocks=blocks, **own)

    return Kind(network_type, contents, network, spreads=True)


def _nodal_parts(network: Any) -> Iterator[tuple[int, npt.NDArray]]:
    """All values by the first rank, or in blocks, each by one of the ranks that hold it."""
    grid, comm, blocks = network.grid, network.comm, network.blocks
    if comm is None or blocks is None:
        if comm is None or comm.rank == 0:
            yield 0, network.values
        return
    for k, row in enumerate(np.atleast_2d(network.values)):
        for run in network.window.runs(grid, own=True):
            yield k * grid.num_vertices + run.first, row[run.place : run.place + run.length]


def _nodal_values(stored: Stored, tensor: Tensor, grid: Grid, window: Window | None) -> npt.NDArray:
    """The values of a window, all of them without one."""
    if window is None:
        return stored.whole("values", "f", len(tensor.shape))
    count = window.num_vertices(grid.has_centres)
    values = np.empty((*tensor.shape[:-1], count), tensor.dtype.newbyteorder("="))
    for k, row in enumerate(np.atleast_2d(values)):
        for run in window.runs(grid):
            first, part = (
                k * grid.num_vertices + run.first,
                slice(run.place, run.place + run.length),
            )
            safetensors.read(stored.file, tensor, first, row[part])
    return values


def stored_grid(stored: Stored) -> Grid:
    """The grid of the facts.

    Raises:
        ValueError: There is none.
    """
    grid = stored.fact("grid", dict)
    try:
        numbers = [*grid["origin"], *(step for row in grid["axes"] for step in row)]
        shape = naturals(grid["shape"], "the shape of the grid", most=2)
        diagonal = grid["diagonal"]
    except (KeyError, TypeError):
        raise ValueError("the grid has no lists origin, axes and shape, and diagonal") from None
    if not all(type(number) in (int, float) for number in numbers) or type(diagonal) is not str:
        raise ValueError("origin or axes of the grid hold something else than numbers")
    with np.errstate(all="ignore"):
        return Grid(grid["origin"], grid["axes"], shape, diagonal)  # type: ignore[arg-type]


# Affine layers


def layered(network_type: type, **facts: type) -> Kind:
    """A type of networks with arguments and attributes layers, and facts."""

    def contents(network: Any) -> Contents:
        own = {name: kind(getattr(network, name)) for name, kind in facts.items()}
        arrays = {}
        for k, layer in enumerate(network.layers):
            for name, numbers in _layer_arrays(layer).items():
                arrays[f"layers.{k}.{name}"] = Array(numbers.dtype, numbers.shape, [(0, numbers)])
        return Contents({"widths": list(network.widths)} | own, arrays)

    def network(stored: Stored, comm: MPI.Comm | None, spread: bool) -> Any:
        widths = naturals(stored.facts.get("widths"), "widths")
        depth = len(widths) - 1
        if depth < 1 or len(stored.tensors) != 4 * depth:
            raise ValueError(f"{len(stored.tensors)} arrays are not {depth} layers")
        layers = [_layer(stored, k, widths[k], widths[k + 1]) for k in range(depth)]
        own = {name: stored.fact(name, kind) for name, kind in facts.items()}
        return network_type(tuple(layers), **own)

    return Kind(network_type, contents, network)


def _layer_arrays(layer: Affine) -> dict[str, npt.NDArray]:
    """The weight by compressed rows, and the bias; indices in 32 bits where they fit."""
    weight = layer.weight
    index = np.int32 if max(*weight.shape, weight.nnz) < 1 << 31 else np.int64
    return {
        "weight.data": weight.data,
        "weight.indices": weight.indices.astype(index),
        "weight.indptr": weight.indptr.astype(index),
        "bias": layer.bias,
    }


def _layer(stored: Stored, k: int, dim_in: int, dim_out: int) -> Affine:
    names = [f"layers.{k}.{name}" for name in ("weight.data", "weight.indices", "weight.indptr")]
    for name in (*names, f"layers.{k}.bias"):
        if name not in stored.tensors:
            raise ValueError(f"the array {name!r} is missing")
    data = stored.whole(names[0], "f")
    indices, indptr = (stored.whole(name, "i") for name in names[1:])
    bias = stored.whole(f"layers.{k}.bias", "f")
    if data.dtype != bias.dtype:
        raise ValueError(f"weight and bias of layer {k} are {data.dtype} and {bias.dtype}")
    if bias.shape != (dim_out,):
        raise ValueError(f"layer {k} has {bias.size} biases for {dim_out} outputs")
    _require_rows(k, indices, indptr, (dim_out, dim_in), data.size)
    return Affine(sparse.csr_array((data, indices, indptr), shape=(dim_out, dim_in)), bias)


def _require_rows(
    k: int, indices: npt.NDArray, indptr: npt.NDArray, shape: tuple[int, int], nnz: int
) -> None:
    """Raises unless these are the compressed rows of a matrix, each with increasing columns."""
    dim_out, dim_in = shape
    if indptr.size != dim_out + 1 or indptr[0] != 0 or indptr[-1] != nnz:
        raise ValueError(f"indptr of layer {k} does not divide {nnz} weights into {dim_out} rows")
    if (indptr[1:] < indptr[:-1]).any():
        raise ValueError(f"indptr of layer {k} decreases")
    if indices.size != nnz or (indices < 0).any() or (indices >= dim_in).any():
        raise ValueError(f"indices of layer {k} are not {nnz} columns from 0 to {dim_in - 1}")
    falls = np.flatnonzero(indices[1:] <= indices[:-1]) + 1
    if not np.isin(falls, indptr).all():
        raise ValueError(f"indices of layer {k} do not increase within each row")


#: The name in the file of each kind. A further kind is a further row.
KINDS = {
    "p1": nodal(P1Network),
    "relu": layered(ReLUNetwork),
    "deep": layered(DeepNetwork, error_bound=float),
}
