# SPDX-License-Identifier: MIT
"""Hat functions as single neurons of a second layer whose first layer is the mesh lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.layers.affine import Affine

if TYPE_CHECKING:
    from fe_relu.meshes.grid.grid import Grid


class Star(NamedTuple):
    """hat(ξ, η) = relu(1 − weight · Σ relu(a ξ + b η)), one (a, b) per direction.

    (ξ, η) are lattice coordinates relative to the vertex. The formula holds on all of ℝ², because
    every kink of the sum inside the support lies on a mesh line.
    """

    weight: float
    directions: tuple[tuple[int, int], ...]


_AXES = ((1, 0), (-1, 0), (0, 1), (0, -1))
_DIAGONALS = ((1, 1), (-1, -1), (1, -1), (-1, 1))

SLASH = Star(1, ((-1, 0), (0, 1), (1, -1)))  # six cells around it, each halved as ╱
BACKSLASH = Star(1, ((-1, 0), (0, -1), (1, 1)))  # six cells around it, each halved as ╲
DIAMOND = Star(1, _AXES)  # 1 − |ξ| − |η|: four neighbours, or eight, four of them cell centres
SQUARE = Star(0.5, _DIAGONALS)  # 1 − max(|ξ|, |η|): eight neighbours
CENTRE = Star(1, _DIAGONALS)  # the same at half the size: the middle of a crossed cell

#: Stars of the vertices (i, j) with i + j even, with i + j odd, and of the cell centres.
STARS: dict[str, tuple[Star, Star, Star | None]] = {
    "right": (SLASH, SLASH, None),
    "left": (BACKSLASH, BACKSLASH, None),
    "crossed": (DIAMOND, DIAMOND, CENTRE),
    "left_right": (SQUARE, DIAMOND, None),
    "right_left": (DIAMOND, SQUARE, None),
}

#: Every direction a mesh line can have, with a side; rows of the first layer are (direction, line).
DIRECTIONS = _AXES + _DIAGONALS


class Hats(NamedTuple):
    """Hat functions of one star and one spacing, a second-layer neuron each.

    Args:
        star: Their star.
        spacing: Steps of the lattice between neighbouring vertices of the mesh they belong to.
        neurons: Rows of the second layer, shape (n,).
        positions: Lattice coordinates of their vertices, shape (2, n).
    """

    star: Star
    spacing: int
    neurons: npt.NDArray[np.int64]
    positions: npt.NDArray


def mesh_hats(grid: Grid) -> list[Hats]:
    """The hats of all vertices of the grid, neuron v that of vertex v."""
    positions = grid.lattice_positions()
    return [Hats(star, 1, v, positions[:, v]) for star, v in star_vertices(grid)]


def hidden_layers(grid: Grid, dtype: np.dtype, hats: Sequence[Hats]) -> tuple[Affine, Affine]:
    """The two layers whose activations at x are the hat functions at x.

    The first holds one neuron per side of a mesh line in use, relu(a s + b t − c); hats share them,
    also hats of different spacing, because relu(c t) = c relu(t) for c > 0. The second holds one
    neuron per hat with 3 (`right`, `left`) or 4 non-zeros.
    """
    used = lines_in_use(grid, hats)
    direction, offset = _line_equations(grid, used)
    normal = direction @ grid.inverse
    first = Affine(normal.astype(dtype), (-normal @ grid.origin - offset).astype(dtype))
    column = np.cumsum(used).reshape(used.shape) - 1
    entries = [np.empty((3, 0))]
    for group in hats:
        for index, lines in _lines(grid, group):
            weight = np.full(lines.size, -group.star.weight / group.spacing)
            entries.append(np.array([weight, group.neurons, column[index, lines]]))
    weights, rows, columns = np.concatenate(entries, axis=1)
    num_hats = sum(group.neurons.size for group in hats)
    where = (rows.astype(np.int64), columns.astype(np.int64))
    second = sparse.csr_array((weights.astype(dtype), where), shape=(num_hats, offset.size))
    return first, Affine(second, np.ones(num_hats, dtype))


def mesh_lines(grid: Grid) -> tuple[npt.NDArray, npt.NDArray]:
    """The first layer in lattice coordinates: relu(a s + b t − c), directions (m, 2) and c (m,)."""
    return _line_equations(grid, lines_in_use(grid, mesh_hats(grid)))


def _line_equations(grid: Grid, used: npt.NDArray[np.bool_]) -> tuple[npt.NDArray, npt.NDArray]:
    direction, line = np.nonzero(used)
    return np.array(DIRECTIONS, float)[direction], line - float(_reach(grid))


def lines_in_use(grid: Grid, hats: Iterable[Hats]) -> npt.NDArray[np.bool_]:
    """Which neurons of the first layer the hats need, one row for each of `DIRECTIONS`."""
    used = np.zeros((len(DIRECTIONS), 2 * _reach(grid) + 1), np.bool_)
    for group in hats:
        for index, lines in _lines(grid, group):
            used[index, lines] = True
    return used


def _lines(grid: Grid, hats: Hats) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """For each direction of a star, its number and the line through each hat's vertex.

    The lines of a direction (a, b) are a s + b t = c, c an integer, numbered from c = −(nx + ny).
    """
    for direction in hats.star.directions:
        offset = (direction @ hats.positions).astype(np.int64)
        yield DIRECTIONS.index(direction), offset + _reach(grid)


def _reach(grid: Grid) -> int:
    return sum(grid.shape)


def star_vertices(grid: Grid) -> Iterator[tuple[Star, npt.NDArray[np.int64]]]:
    """Each star of the grid with the vertices that have it."""
    nx, ny = grid.shape
    even, odd, centre = STARS[grid.diagonal]
    j, i = np.divmod(np.arange((nx + 1) * (ny + 1)), nx + 1)
    yield even, np.flatnonzero((i + j) % 2 == 0)
    yield odd, np.flatnonzero((i + j) % 2 == 1)
    if centre is not None:
        yield centre, np.arange((nx + 1) * (ny + 1), grid.num_vertices)
