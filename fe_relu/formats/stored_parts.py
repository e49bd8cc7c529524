# SPDX-License-Identifier: MIT
"""Parts of networks as files claim them, checked: meshes, numbers at vertices, layers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.formats.stored import Stored, Tensor
from fe_relu.hierarchy.nested import Nesting, numbers_in_finer
from fe_relu.layers.affine import Affine
from fe_relu.layers.beside import Layer
from fe_relu.layers.pooling import KINDS as POOLINGS
from fe_relu.layers.pooling import Pooling
from fe_relu.meshes.kinds import KINDS
from fe_relu.meshes.mesh import Mesh, Part


def stored_mesh(stored: Stored) -> Mesh:
    """The mesh of the facts.

    Raises:
        ValueError: There is none.
    """
    found = [name for name in KINDS if name in stored.facts]
    if len(found) != 1:
        raise ValueError(f"the mesh is none of the kinds {', '.join(KINDS)}")
    kind = KINDS[found[0]]
    for name in kind.arrays:
        if f"mesh.{name}" not in stored.tensors:
            raise ValueError(f"the array 'mesh.{name}' is missing")
    arrays = {name: stored.whole(f"mesh.{name}", type, 2) for name, type in kind.arrays.items()}
    return kind.of_facts(stored.fact(found[0], dict), **arrays)


def vertex_tensor(stored: Stored, name: str, mesh: Mesh, degree: int = 1) -> Tensor:
    """The one array beside the mesh, with a number for each vertex of that refined by degree.

    Raises:
        ValueError: It is not that.
    """
    stored.require_tensors([name, *(f"mesh.{own}" for own in mesh.arrays)])
    tensor = stored.tensor(name, "f", len(stored.tensors[name].shape))
    count = mesh.refined(degree).num_vertices
    if tensor.shape[-1:] != (count,):
        refined = f", refined by {degree}," if degree > 1 else ""
        raise ValueError(
            f"{name!r} has shape {list(tensor.shape)}, but the mesh{refined} has {count} vertices"
        )
    return tensor


def part_values(stored: Stored, tensor: Tensor, part: Part) -> npt.NDArray:
    """The values (…, n) of a part."""
    dtype, count = tensor.dtype.newbyteorder("="), tensor.shape[-1]
    values = np.empty((*tensor.shape[:-1], part.num_vertices), dtype)
    for k, row in enumerate(np.atleast_2d(values)):
        for run in part.runs():
            place = row[run.place : run.place + run.length]
            stored.read(tensor, k * count + run.first, place)
    return values


def coarse_values(stored: Stored, tensor: Tensor, nesting: Nesting) -> npt.NDArray:
    """The values (k, m) of all vertices of the coarse grid, read by rows of the lattice."""
    grid, coarse = nesting.grid, nesting.coarse
    numbers = numbers_in_finer(grid, nesting.unit)
    (nx, ny), dtype = coarse.shape, tensor.dtype.newbyteorder("=")
    rows = [*numbers[: (nx + 1) * (ny + 1)].reshape(ny + 1, nx + 1)]
    if grid.has_centres:
        rows += [*numbers[(nx + 1) * (ny + 1) :].reshape(ny, nx)]
    found = []
    for first in range(0, tensor.size, grid.num_vertices):
        for row in rows:
            between = np.empty(row[-1] - row[0] + 1, dtype)
            stored.read(tensor, first + int(row[0]), between)
            found.append(between[row - row[0]])
    return np.concatenate(found).reshape(-1, coarse.num_vertices)


def stored_layer(stored: Stored, k: int, dim_in: int, dim_out: int) -> Layer:
    """Layer k of the file.

    Raises:
        ValueError: Its arrays are no affine map, and no pooling, of these dimensions.
    """
    for kind in POOLINGS:
        if f"layers.{k}.{kind}" in stored.tensors:
            pairs = stored.whole(f"layers.{k}.{kind}", "i", 2)
            if pairs.shape != (2, dim_out):
                raise ValueError(f"layer {k} has pairs of shape {pairs.shape}, not (2, {dim_out})")
            return Pooling(pairs, dim_in, kind)  # type: ignore[arg-type]
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
