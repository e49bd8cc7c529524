# SPDX-License-Identifier: MIT
"""Structured meshes of quadrilaterals: the cells of a lattice, not halved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.layers.affine import Affine
from fe_relu.layers.pooling import Pooling
from fe_relu.meshes.grid.grid import Grid
from fe_relu.meshes.quadrilaterals.active import LatticePiece
from fe_relu.meshes.quadrilaterals.lattice_table import LatticeTable

#: Of the two diagonals of a cell the one nearer to this direction halves it: one that cells have
#: no reason to be symmetric about.
_DIRECTION = 0.6


def halved_alike(points: npt.NDArray, cells: npt.NDArray) -> npt.NDArray:
    """Two triangles for each cell (4, m), (3, 2 m), along the same diagonal if cells are alike.

    Whatever the order of corners is.
    """
    a, b, c, d = cells
    angles = (np.arctan2(*(points[:, q] - points[:, p])[::-1]) for p, q in ((a, d), (b, c)))
    first, second = (np.cos(2 * (angle - _DIRECTION)) for angle in angles)
    along = first > second
    ends = np.where(along, a, b), np.where(along, d, c)
    sides = np.where(along, b, a), np.where(along, c, d)
    return np.stack([np.stack([*ends, side]) for side in sides], axis=-1).reshape(3, -1)


def require_q1(degree: int) -> None:
    """Raises unless it is 1.

    Raises:
        ValueError: It is another.
    """
    if degree != 1:
        raise ValueError("only Q1 functions are known on quadrilaterals")


@dataclass(frozen=True, eq=False)
class QuadrilateralGrid(Grid):
    """The mesh of the parallelograms of a lattice, whose vertices are those of a `Grid`.

    Outside, functions go down to zero on a ring of one cell, bilinear there too.

    Examples:
        >>> from fe_relu.meshes.quadrilaterals.lattice import QuadrilateralGrid
        >>> grid = QuadrilateralGrid((0, 0), [[0.5, 0], [0, 1]], (2, 1))
        >>> grid.num_vertices, grid.num_cells
        (6, 2)
    """

    diagonal: str = "right"  # of no meaning
    is_simplicial = False
    table_type = LatticeTable

    @property
    def num_cells(self) -> int:
        """Number of parallelograms."""
        return self.shape[0] * self.shape[1]

    def cells(self) -> npt.NDArray[np.int64]:
        """Vertices of each cell, its corners 00, 10, 01, 11; shape (4, num_cells)."""
        nx, ny = self.shape
        j, i = (part.ravel() for part in np.indices((ny, nx)))
        first = j * (nx + 1) + i
        return np.stack([first, first + 1, first + nx + 1, first + nx + 2])

    @property
    def facts(self) -> dict[str, Any]:
        """Origin, axes and shape, for JSON."""
        return {name: fact for name, fact in super().facts.items() if name != "diagonal"}

    @staticmethod
    def of_facts(facts: Any) -> QuadrilateralGrid:
        """The grid from its `facts`.

        Raises:
            ValueError: They are none.
        """
        return QuadrilateralGrid.of_grid(Grid.of_facts({**facts, "diagonal": "right"}))

    @staticmethod
    def of_grid(grid: Grid) -> QuadrilateralGrid:
        """The lattice of a grid, without its diagonals."""
        return QuadrilateralGrid(grid.origin, grid.axes, grid.shape, slack=grid.slack)

    def refined(self, factor: int) -> QuadrilateralGrid:
        """The grid itself: only functions of the lowest degree are known on it.

        Raises:
            ValueError: The factor is not 1.
        """
        require_q1(factor)
        return self

    def with_ring(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Vertices and cells with those of the ring."""
        (nx, ny), origin = self.shape, self.origin - self.axes @ (1, 1)
        wider = QuadrilateralGrid(origin, self.axes, (nx + 2, ny + 2))
        return wider.vertices(), wider.cells()

    def piece(self, values: npt.NDArray) -> LatticePiece:
        """How libraries of arrays evaluate the Q1 function with nodal values (n,) or (k, n)."""
        return LatticePiece(self, values)

    def hidden_layers(self, dtype: np.dtype) -> tuple[Affine, Affine, Affine, Pooling]:
        """Layers after which there are all hats, each as a product of two hats of one coordinate.

        In lattice coordinates (s, t): R(s − i) and R(i − s), from these R(1 − R(s − i) − R(i − s)),
        the hat at i, the same in t, and their products in the order of vertices.
        """
        nx, ny = self.shape
        knots = np.concatenate([np.arange(nx + 1.0), np.arange(ny + 1.0)])
        normals = np.repeat(self.inverse, [nx + 1, ny + 1], axis=0)
        offsets = normals @ self.origin + knots
        eye, dim = sparse.eye_array(knots.size), knots.size
        lines = Affine(np.vstack([normals, -normals]), np.concatenate([-offsets, offsets]))
        hats = Affine(sparse.hstack([-eye, -eye]), np.ones(dim))
        along = Affine(eye, np.zeros(dim))
        j, i = (part.ravel() for part in np.indices((ny + 1, nx + 1)))
        pooling = Pooling(np.array([i, nx + 1 + j]), dim)
        first, second, third = (layer.astype(dtype) for layer in (lines, hats, along))
        return first, second, third, pooling
