# SPDX-License-Identifier: MIT
"""The torch modules of this package; only `fe_relu.formats.torch` imports them, when asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fe_relu.layers.network import Affine
from fe_relu.meshes.grid.active import Locator, Piece, nan_where_not_finite, values_at
from fe_relu.meshes.grid.grid import Grid

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
    """The operations of `fe_relu.meshes.grid.active.Arrays` on tensors."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        return torch.where(condition, yes, no)

    def whole(self, numbers: Any) -> Any:
        return numbers.detach().to(torch.int64)

    def real(self, integers: Any) -> Any:
        return integers.to(self.dtype)

    def at_most(self, integers: Any, most: int) -> Any:
        return integers.clamp(max=most)

    def take(self, table: Any, entries: Any) -> Any:
        return table.index_select(1, entries).to(self.dtype)


class ActiveNeurons(nn.Module):
    """A P1 network by its active neurons: x (n, 2) to u (n, k), at one cost for any size of mesh.

    Its derivative by x is the network's gradient, on edges and vertices too. `values`, the nodal
    values, are a parameter if trainable, else a buffer; of the shape that `P1Network` has.

    Args:
        grid: The structured mesh.
        values: Shape (num_vertices,) or (k, num_vertices).
        trainable: Whether the nodal values are a parameter.
    """

    values: torch.Tensor
    table: torch.Tensor

    def __init__(self, grid: Grid, values: torch.Tensor, *, trainable: bool) -> None:
        super().__init__()
        self.mesh, self.locator = grid, Locator(grid)
        if trainable:
            self.values = nn.Parameter(values)
            return
        self.register_buffer("values", values)
        self.register_buffer("table", self.padded(), persistent=False)
        self.register_load_state_dict_post_hook(_renew_table)

    def padded(self) -> torch.Tensor:
        """The nodal values with a ring of zeros, as `Piece.table` has them, shape (k, entries)."""
        (nx, ny), values = self.mesh.shape, torch.atleast_2d(self.values)
        corners = (nx + 1) * (ny + 1)
        parts = [values[:, :corners].unflatten(1, (ny + 1, nx + 1))]
        if self.mesh.has_centres:
            parts.append(values[:, corners:].unflatten(1, (ny, nx)))
        return torch.cat([functional.pad(part, (1, 1, 1, 1)).flatten(1) for part in parts], dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table = self.padded() if isinstance(self.values, nn.Parameter) else self.table
        x = _promoted(x, table)
        arrays, columns = TorchArrays(x.dtype), (x.select(1, 0), x.select(1, 1))
        points = self.locator(arrays, *columns, DTYPES[x.dtype])
        return (values_at(arrays, table, points) + nan_where_not_finite(*columns)).T

    def extra_repr(self) -> str:
        nx, ny = self.mesh.shape
        return f"{nx} x {ny} cells, {self.mesh.diagonal}"


def _renew_table(module: ActiveNeurons, _keys: Any) -> None:
    with torch.no_grad():
        module.table.copy_(module.padded())


class ActiveTable(nn.Module):
    """A piece of an active form that only looks up: x (n, 2) to u (n, k); nothing to train.

    Args:
        piece: What evaluates the table.
        table: As the piece has it.
    """

    table: torch.Tensor

    def __init__(self, piece: Piece, table: torch.Tensor) -> None:
        super().__init__()
        self.piece = piece
        self.register_buffer("table", table)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = _promoted(x, self.table)
        arrays, columns = TorchArrays(x.dtype), (x.select(1, 0), x.select(1, 1))
        values = self.piece.evaluated(arrays, self.table, *columns, DTYPES[x.dtype])
        return (values + nan_where_not_finite(*columns)).T


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
