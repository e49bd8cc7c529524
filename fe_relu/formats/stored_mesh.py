# SPDX-License-Identifier: MIT
"""Numbers at the vertices of a mesh, in files: each rank writes and reads those of its part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.formats.stored import Array, Stored, Tensor
from fe_relu.hierarchy.nested import Nesting, numbers_in_finer
from fe_relu.meshes.kinds import KINDS, name_of
from fe_relu.meshes.mesh import Mesh
from fe_relu.parallel.layouts import Layout


def mesh_facts(mesh: Mesh) -> dict[str, Any]:
    """What a file says of a mesh, under the name of its kind."""
    return {name_of(mesh): mesh.facts}


def stored_mesh(stored: Stored) -> Mesh:
    """The mesh of the facts.

    Raises:
        ValueError: There is none.
    """
    found = [name for name in KINDS if name in stored.facts]
    if len(found) != 1:
        raise ValueError(f"the mesh is none of the kinds {', '.join(KINDS)}")
    return KINDS[found[0]].of_facts(stored.fact(found[0], dict))


def vertex_array(values: npt.NDArray, part: Any, count: int, layout: Layout) -> Array:
    """Values (…, n) of a part as the array of the whole mesh, with count vertices."""
    parts = _own_parts(values, part, count) if layout.speaks else []
    return Array(values.dtype, (*values.shape[:-1], count), parts)


def _own_parts(values: npt.NDArray, part: Any, count: int) -> Iterator[tuple[int, npt.NDArray]]:
    for k, row in enumerate(np.atleast_2d(values)):
        for run in part.runs(own=True):
            yield k * count + run.first, row[run.place : run.place + run.length]


def vertex_tensor(stored: Stored, name: str, mesh: Mesh, degree: int = 1) -> Tensor:
    """The one array of the file, with a number for each vertex of the mesh refined by degree.

    Raises:
        ValueError: It is not that.
    """
    stored.require_tensors([name])
    tensor = stored.tensor(name, "f", len(stored.tensors[name].shape))
    count = mesh.refined(degree).num_vertices
    if tensor.shape[-1:] != (count,):
        refined = f", refined by {degree}," if degree > 1 else ""
        raise ValueError(
            f"{name!r} has shape {list(tensor.shape)}, but the mesh{refined} has {count} vertices"
        )
    return tensor


def part_values(stored: Stored, tensor: Tensor, part: Any) -> npt.NDArray:
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
