# SPDX-License-Identifier: MIT
"""Affine layers in files: compressed sparse rows and biases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.formats.stored import Stored
from fe_relu.layers.network import Affine


def layer_arrays(layer: Affine) -> dict[str, npt.NDArray]:
    """The weight by compressed rows, and the bias; indices in 32 bits where they fit."""
    weight = layer.weight
    index = np.int32 if max(*weight.shape, weight.nnz) < 1 << 31 else np.int64
    return {
        "weight.data": weight.data,
        "weight.indices": weight.indices.astype(index),
        "weight.indptr": weight.indptr.astype(index),
        "bias": layer.bias,
    }


def stored_layer(stored: Stored, k: int, dim_in: int, dim_out: int) -> Affine:
    """Layer k of the file.

    Raises:
        ValueError: Its arrays are no affine map of these dimensions.
    """
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
