# SPDX-License-Identifier: MIT
"""Hat functions as single neurons of a second layer whose first layer is the mesh lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.grid import Grid
from fe_relu.network import Affine


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


def hidden_layers(grid: Grid, dtype: np.dtype) -> tuple[Affine, Affine]:
    """The two layers whose activations at x are the hat functions of all vertices at x.

    The first holds one neuron per side of a mesh line in use, relu(a s + b t − c); hats share them.
    The second holds one neuron per vertex with 3 (`right`, `left`) or 4 non-zeros.
    """
    parts = zip(*_incidences(grid), strict=True)
    neurons, lines, weights = (np.concatenate(part) for part in parts)
    used, columns = np.unique(lines, axis=0, return_inverse=True)
    direction, offset = _line_equations(used)
    normal = direction @ grid.inverse
    first = Affine(normal.astype(dtype), (-normal @ grid.origin - offset).astype(dtype))
    shape = (grid.num_vertices, len(used))
    second = sparse.csr_array((-weights.astype(dtype), (neurons, columns.ravel())), shape=shape)
    return first, Affine(second, np.ones(grid.num_vertices, dtype))


def mesh_lines(grid: Grid) -> tuple[npt.NDArray, npt.NDArray]:
    """The first layer in lattice coordinates: relu(a s + b t − c), directions (m, 2) and c (m,)."""
    lines = np.concatenate([line for _, line, _ in _incidences(grid)])
    return _line_equations(np.unique(lines, axis=0))


def _line_equations(lines: npt.NDArray[np.int64]) -> tuple[npt.NDArray, npt.NDArray]:
    return np.array(DIRECTIONS, float)[lines[:, 0]], lines[:, 1]


def _incidences(grid: Grid) -> Iterator[tuple[npt.NDArray, npt.NDArray, npt.NDArray]]:
    """(vertex, (direction, line), weight) for every non-zero of the second layer.

    The lines of a direction (a, b) are a s + b t = c, c an integer.
    """
    positions = grid.lattice_positions()
    for star, vertices in star_vertices(grid):
        for direction in star.directions:
            offset = (direction @ positions[:, vertices]).astype(np.int64)
            index = np.full_like(offset, DIRECTIONS.index(direction))
            weights = np.full(len(vertices), float(star.weight))
            yield vertices, np.column_stack([index, offset]), weights


def star_vertices(grid: Grid) -> Iterator[tuple[Star, npt.NDArray[np.int64]]]:
    """Each star of the grid with the vertices that have it."""
    nx, ny = grid.shape
    even, odd, centre = STARS[grid.diagonal]
    j, i = np.divmod(np.arange((nx + 1) * (ny + 1)), nx + 1)
    yield even, np.flatnonzero((i + j) % 2 == 0)
    yield odd, np.flatnonzero((i + j) % 2 == 1)
    if centre is not None:
        yield centre, np.arange((nx + 1) * (ny + 1), grid.num_vertices)
