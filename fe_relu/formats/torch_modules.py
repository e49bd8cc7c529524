# SPDX-License-Identifier: MIT
"""The torch modules of this package; only `fe_relu.formats.torch` imports them, when asked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fe_relu.layers.affine import Affine
from fe_relu.layers.pooling import Pooling
from fe_relu.meshes.active import Piece, nan_where_not_finite

DTYPES = {torch.float32: "float32", torch.float64: "float64"}


class SparseLinear(nn.Module):
    """y = x Wᵀ + b for a sparse W: `torch.nn.Linear` that stores and trains non-zeros only.

    Args:
        indices: Rows and columns of the non-zeros in row-major order, shape (2, m).
        weight: The non-zeros, shape (m,).
        bias: Shape (out_features,).
        in_features: Columns of W.
    """

    indices: torch.Tensor

    def __init__(
        self, indices: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, in_features: int
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, len(bias)
        self.register_buffer("indices", indices)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        matrix = torch.sparse_coo_tensor(
            self.indices,
            self.weight,
            (self.out_features, self.in_features),
            check_invariants=False,
            is_coalesced=True,
        )
        return torch.sparse.mm(matrix, x.T).T + self.bias

    def extra_repr(self) -> str:
        shape = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{shape}, nonzeros={len(self.weight)}"


class Pool(nn.Module):
    """Products of pairs of columns, or the larger of both: x (n, dim_in) to (n, m).

    Args:
        pooling: Which, and which pairs.
    """

    pairs: torch.Tensor

    def __init__(self, pooling: Pooling) -> None:
        super().__init__()
        self.dim_in, self.kind = pooling.dim_in, pooling.kind
        self.register_buffer("pairs", torch.tensor(pooling.pairs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = (x.index_select(1, numbers) for numbers in self.pairs)
        return one * other if self.kind == "product" else torch.maximum(one, other)

    def extra_repr(self) -> str:
        return f"dim_in={self.dim_in}, pairs={self.pairs.shape[1]}, kind={self.kind!r}"


@singledispatch
def module_of(layer: Any, dtype: np.dtype, sparse: bool) -> nn.Module:
    """A layer as a module."""
    raise NotImplementedError


@module_of.register
def _(layer: Pooling, dtype: np.dtype, sparse: bool) -> nn.Module:
    return Pool(layer)


@module_of.register
def _(layer: Affine, dtype: np.dtype, sparse: bool) -> nn.Module:
    return sparse_linear_of(layer, dtype) if sparse else linear_of(layer, dtype)


def linear_of(layer: Affine, dtype: np.dtype) -> nn.Linear:
    """An affine map as a dense module; no random numbers are drawn only to be replaced."""
    linear = nn.Linear(layer.dim_in, layer.dim_out, device="meta")
    linear.weight = nn.Parameter(torch.from_numpy(layer.weight.toarray().astype(dtype)))
    linear.bias = nn.Parameter(torch.from_numpy(layer.bias.astype(dtype)))
    return linear


def sparse_linear_of(layer: Affine, dtype: np.dtype) -> SparseLinear:
    """An affine map by its non-zeros."""
    entries = layer.weight.tocoo()
    indices = torch.from_numpy(np.array(entries.coords, np.int64))
    weight = torch.from_numpy(entries.data.astype(dtype))
    return SparseLinear(indices, weight, torch.from_numpy(layer.bias.astype(dtype)), layer.dim_in)


class TorchArrays:
    """The operations of `fe_relu.meshes.active.Arrays` on tensors."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        return torch.where(condition, yes, no)

    def whole(self, numbers: Any) -> Any:
        return numbers.detach().to(torch.int64)

    def real(self, integers: Any) -> Any:
        return integers.to(self.dtype)

    def at_most(self, integers: Any, most: Any) -> Any:
        return integers.clamp(max=most)

    def least(self, *numbers: Any) -> Any:
        least, *others = numbers
        for other in others:  # as a loop: compilers of torch trace no `functools.reduce`
            least = torch.minimum(least, other)
        return least

    def first_largest(self, rows: Any) -> Any:
        return rows.argmax(1)

    def fixed(self, numbers: Any) -> Any:
        return numbers.detach()

    def root(self, numbers: Any) -> Any:
        return numbers.sqrt()

    def upright(self, numbers: Any) -> Any:
        return numbers.unsqueeze(1)

    def entries(self, table: Any, places: Any) -> Any:
        found = table.index_select(0, places.flatten()).view(places.shape)
        return found.to(self.dtype) if found.is_floating_point() else found

    def take(self, table: Any, entries: Any) -> Any:
        return table.index_select(1, entries).to(self.dtype)


class ActiveTable(nn.Module):
    """A piece of an active form that only looks up: x (n, dim) to u (n, k), nothing to train.

    Args:
        piece: What evaluates a table.
        table: Its table, shape (k, entries), as a piece has it by default.
    """

    table: torch.Tensor

    def __init__(self, piece: Piece, table: torch.Tensor | None = None) -> None:
        super().__init__()
        self.piece, self.names = piece, list(piece.constants)
        for name, constant in piece.constants.items():
            self.register_buffer(f"mesh_{name}", torch.tensor(constant), persistent=False)
        numbers = torch.tensor(piece.table) if table is None else table
        self.register_buffer("table", numbers, persistent=table is None)

    def looked_up(self) -> torch.Tensor:
        """The table."""
        return self.table

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table = self.looked_up()
        x = _promoted(x, table)
        constants = {name: getattr(self, f"mesh_{name}") for name in self.names}
        columns = [x.select(1, axis) for axis in range(self.piece.mesh.dim)]
        arrays = TorchArrays(x.dtype)
        values = self.piece.evaluated(arrays, constants, table, columns, DTYPES[x.dtype])
        return (values + nan_where_not_finite(columns)).T


class ActiveNeurons(ActiveTable):
    """A P1 network by its active neurons: x (n, dim) to u (n, k), at one cost at every point.

    Its derivative by x is the network's gradient, on facets and vertices too. `values`, the nodal
    values, are a parameter if trainable, else a buffer; of the shape that `P1Network` has.

    Args:
        piece: Of the P1 function.
        trainable: Whether the nodal values are a parameter.
    """

    values: torch.Tensor
    places: torch.Tensor

    def __init__(self, piece: Piece, *, trainable: bool) -> None:
        values, places = torch.tensor(piece.values), torch.tensor(piece.places)
        super().__init__(piece, _placed(values, places))
        self.register_buffer("places", places, persistent=False)
        if trainable:
            self.values = nn.Parameter(values)
            return
        self.register_buffer("values", values)
        self.register_load_state_dict_post_hook(_renew_table)

    def looked_up(self) -> torch.Tensor:
        """The table, made of the values that are trained, if they are."""
        trains = isinstance(self.values, nn.Parameter)
        return _placed(self.values, self.places) if trains else self.table

    def extra_repr(self) -> str:
        return f"{self.piece.mesh.num_cells} cells, {self.piece.mesh.num_vertices} vertices"


def _placed(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Nodal values and zeros as `Piece.places` says, shape (k, entries)."""
    rows = torch.atleast_2d(values)
    return functional.pad(rows, (0, 1)).index_select(1, places)


def _renew_table(module: ActiveNeurons, _keys: Any) -> None:
    with torch.no_grad():
        module.table.copy_(_placed(module.values, module.places))


def _promoted(x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """The points in the wider of both types."""
    x = x.to(torch.promote_types(x.dtype, table.dtype))
    if x.dtype not in DTYPES:
        raise TypeError(f"active neurons compute in float32 or float64, not in {x.dtype}")
    return x


class Sum(nn.Module):
    """The sum of modules of the same shapes."""

    def __init__(self, terms: Sequence[nn.Module]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, *others = self.terms
        return sum((term(x) for term in others), start=first(x))
