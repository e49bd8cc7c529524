# SPDX-License-Identifier: MIT
"""Numbers at the vertices of a grid, in files: each rank writes and reads those of its window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu import safetensors
from fe_relu.blocks import Blocks, Window
from fe_relu.grid import Grid
from fe_relu.nesting import Nesting, numbers_in_finer
from fe_relu.safetensors import Tensor, naturals
from fe_relu.stored import Array, Stored

if TYPE_CHECKING:
    from mpi4py import MPI


def grid_facts(grid: Grid) -> dict[str, Any]:
    return {
        "origin": grid.origin.tolist(),
        "axes": grid.axes.tolist(),
        "shape": list(grid.shape),
        "diagonal": grid.diagonal,
    }


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


def vertex_array(
    values: npt.NDArray, grid: Grid, window: Window, comm: MPI.Comm | None, blocks: Blocks | None
) -> Array:
    """Values (…, n) of a window as the array of the whole grid: each number is one rank's."""
    shape = (*values.shape[:-1], grid.num_vertices)
    if comm is not None and blocks is not None:
        return Array(values.dtype, shape, _own_parts(values, grid, window))
    return Array(values.dtype, shape, [(0, values)] if comm is None or comm.rank == 0 else [])


def _own_parts(
    values: npt.NDArray, grid: Grid, window: Window
) -> Iterator[tuple[int, npt.NDArray]]:
    for k, row in enumerate(np.atleast_2d(values)):
        for run in window.runs(grid, own=True):
            yield k * grid.num_vertices + run.first, row[run.place : run.place + run.length]


def vertex_tensor(stored: Stored, name: str, grid: Grid, degree: int = 1) -> Tensor:
    """The one array of the file, with a number for each vertex of the grid refined by degree.

    Raises:
        ValueError: It is not that.
    """
    stored.require_tensors([name])
    tensor = stored.tensor(name, "f", len(stored.tensors[name].shape))
    count = grid.refined(degree).num_vertices
    if tensor.shape[-1:] != (count,):
        refined = f", refined by {degree}," if degree > 1 else ""
        raise ValueError(
            f"{name!r} has shape {list(tensor.shape)}, but the grid of shape "
            f"{list(grid.shape)}{refined} has {count} vertices"
        )
    return tensor


def window_values(stored: Stored, tensor: Tensor, grid: Grid, window: Window) -> npt.NDArray:
    """The values (…, n) of a window."""
    count = window.num_vertices(grid.has_centres)
    values = np.empty((*tensor.shape[:-1], count), tensor.dtype.newbyteorder("="))
    for k, row in enumerate(np.atleast_2d(values)):
        for run in window.runs(grid):
            part = row[run.place : run.place + run.length]
            safetensors.read(stored.file, tensor, k * grid.num_vertices + run.first, part)
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
            safetensors.read(stored.file, tensor, first + int(row[0]), between)
            found.append(between[row - row[0]])
    return np.concatenate(found).reshape(-1, coarse.num_vertices)
