# SPDX-License-Identifier: MIT
"""How many neurons and weights a network's explicit layers have, counted without making them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.hierarchy.basis import HierarchicalNetwork
from fe_relu.hierarchy.nested import level_hats, levels_and_stars, star_of
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.network import PoolingNetwork, ReLUNetwork
from fe_relu.meshes.grid.grid import Grid
from fe_relu.meshes.grid.hats import DIRECTIONS, Hats
from fe_relu.networks.p1 import P1Network


class Size(NamedTuple):
    """Of a network in explicit layers: ReLUs layer by layer, non-zero weights, bytes if sparse."""

    hidden: tuple[int, ...]
    nonzeros: int
    nbytes: int

    @property
    def neurons(self) -> int:
        return sum(self.hidden)


@singledispatch
def explicit_size(network: Any) -> Size:
    """The size of a network's explicit layers, which are not made if it has a mesh.

    Raises:
        ValueError: There are too many.
    """
    return explicit_size(network.explicit())


@explicit_size.register
def _(network: ReLUNetwork) -> Size:
    return _size(network.widths[1:-1], network.num_nonzeros, network.dim_out, network.dtype)


@explicit_size.register
def _(network: PoolingNetwork) -> Size:
    raise ValueError(
        f"a network with {network.num_products} products is beyond the theorems about the size of "
        "ReLU networks; its widths and num_nonzeros say how large it is"
    )


@explicit_size.register
def _(network: P1Network) -> Size:
    return _mesh_size(network.mesh, network)


@explicit_size.register
def _(network: HierarchicalNetwork) -> Size:
    return _mesh_size(network.mesh, network.to_p1())


@explicit_size.register
def _(network: Surrogate) -> Size:
    hats = level_hats(network.mesh, network.levels, network.vertices)
    terms = sum(len(group.star.directions) * group.neurons.size for group in hats)
    return _hat_size(network.mesh, hats, terms, network.coefficients)


@singledispatch
def _mesh_size(mesh: Any, network: P1Network) -> Size:
    return explicit_size(network.explicit())


@_mesh_size.register
def _(grid: Grid, network: P1Network) -> Size:
    return _hat_size(grid, _rim_hats(grid), _num_terms(grid), network.values)


def _hat_size(grid: Grid, hats: Sequence[Hats], terms: int, output: npt.NDArray) -> Size:
    """That of lines, then hats with so many terms together, then a dense output layer."""
    lines = np.array([_num_lines(hats, direction) for direction in DIRECTIONS])
    normals = (np.array(DIRECTIONS, float) @ grid.inverse).astype(output.dtype)
    nonzeros = int(lines @ np.count_nonzero(normals, axis=1)) + terms + np.count_nonzero(output)
    hidden = (int(lines.sum()), output.shape[-1])
    return _size(hidden, nonzeros, 1 if output.ndim == 1 else len(output), output.dtype)


def _size(hidden: Sequence[int], nonzeros: int, dim_out: int, dtype: np.dtype) -> Size:
    rows = sum(hidden) + dim_out
    return Size(tuple(hidden), nonzeros, (nonzeros + rows) * (dtype.itemsize + 4))


def _num_lines(hats: Sequence[Hats], direction: tuple[int, int]) -> int:
    """How many mesh lines of a direction (a, b) the hats use: a s + b t at the vertices (s, t)."""
    used = [direction @ group.positions for group in hats if direction in group.star.directions]
    return np.unique(np.concatenate(used)).size if used else 0


def _rim_hats(grid: Grid) -> list[Hats]:
    """Hats that use all lines of the mesh: every line reaches a vertex of its star near the rim."""
    rim = [np.unique(np.clip([0, 1, n - 1, n], 0, n)) for n in grid.shape]
    nx, ny = grid.shape
    vertices = [_numbers(nx + 1, ny + 1, rim)]
    if grid.has_centres:
        inner = [rim_of[rim_of < n] for rim_of, n in zip(rim, grid.shape, strict=True)]
        vertices.append((nx + 1) * (ny + 1) + _numbers(nx, ny, inner))
    return level_hats(grid, 0, np.unique(np.concatenate(vertices)))


def _numbers(nx: int, ny: int, rim: list[npt.NDArray]) -> npt.NDArray[np.int64]:
    """Numbers, row by row, of the places in these columns, and of those in these rows."""
    columns = np.arange(ny)[:, None] * nx + rim[0]
    rows = rim[1][:, None] * nx + np.arange(nx)
    return np.concatenate([columns.ravel(), rows.ravel()])


def _num_terms(grid: Grid) -> int:
    """Non-zeros of the second layer: three or four for each vertex, as its star has directions."""
    first = np.array([0, 1, grid.num_vertices - 1])
    _, stars = levels_and_stars(grid, 0, first)
    return len(star_of(grid, int(stars[0])).directions) * grid.num_vertices
