# SPDX-License-Identifier: MIT
"""Meshes of convex quadrilaterals in any arrangement."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.quadrilaterals.active import QuadrilateralPiece
from fe_relu.meshes.quadrilaterals.lattice import require_q1
from fe_relu.meshes.quadrilaterals.table import Cells, QuadrilateralTable
from fe_relu.meshes.simplices.checks import checked_arrays
from fe_relu.meshes.simplices.location.locator import Locator
from fe_relu.meshes.simplices.mesh import SimplexMesh
from fe_relu.meshes.simplices.part import Whole

Ints = npt.NDArray[np.int64]

#: Why there are no layers.
NO_LAYERS = (
    "a Q1 function on quadrilaterals that are no parallelograms of a lattice is no ReLU network, "
    "with products neither: in the coordinates of the plane it is no polynomial; evaluation, "
    'gradients, files and form="active" need no layers, and interpolation to P1 on triangles, '
    "mesh.CellType.triangle, gives a function that has them"
)

#: The corners, of four, of the two triangles that stand for a cell where points are located.
HALVES = ((0, 1, 3), (0, 2, 3))


@dataclass(frozen=True, eq=False)
class QuadrilateralMesh:
    """A conforming mesh of convex quadrilaterals in the plane.

    Corners 00, 10, 01, 11 of the unit square go to those of a cell, and what is between them by the
    bilinear map; it is affine where a cell is a parallelogram. Meshes are equal if their arrays
    are.

    Args:
        vertices: Coordinates, shape (2, n).
        cells: The corners of each cell, 00, 10, 01, 11, shape (4, m).

    Raises:
        ValueError: As for `SimplexMesh`, or a cell is not convex.
        TypeError: vertices are not real numbers, or cells not integers.

    Examples:
        >>> from fe_relu.meshes.quadrilaterals.mesh import QuadrilateralMesh
        >>> mesh = QuadrilateralMesh([[0, 1, 0, 2], [0, 0, 1, 2]], [[0], [1], [2], [3]])
        >>> mesh.dim, mesh.num_vertices, mesh.num_cells
        (2, 4, 1)
    """

    is_structured = False
    is_partial = False
    is_simplicial = False
    slack = 0.0
    dim = 2

    vertex_array: npt.NDArray[np.float64]
    cell_array: Ints

    def __init__(self, vertices: npt.ArrayLike, cells: npt.ArrayLike) -> None:
        points, corners = checked_arrays(vertices, cells, 4)
        if len(points) != 2:
            raise ValueError(f"quadrilaterals are in the plane, not in {len(points)}-D")
        _require_convex(points, corners)
        halves = SimplexMesh(points, halved(corners))
        points.flags.writeable = corners.flags.writeable = False
        object.__setattr__(self, "vertex_array", points)
        object.__setattr__(self, "cell_array", corners)
        object.__setattr__(self, "halves", halves)

    @cached_property
    def halves(self) -> SimplexMesh:
        """The triangles in which points are located: cell k is triangles 2 k and 2 k + 1."""
        return SimplexMesh(self.vertex_array, halved(self.cell_array))

    @cached_property
    def digest(self) -> bytes:
        """A number that only equal meshes share."""
        digest = hashlib.blake2b(b"quadrilaterals", digest_size=32)
        digest.update(self.vertex_array)
        digest.update(self.cell_array)
        return digest.digest()

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, QuadrilateralMesh) and self.digest == other.digest
        )

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple:
        return QuadrilateralMesh, (self.vertex_array, self.cell_array)

    @property
    def num_vertices(self) -> int:
        return self.vertex_array.shape[1]

    @property
    def num_cells(self) -> int:
        return self.cell_array.shape[1]

    def vertices(self) -> npt.NDArray[np.float64]:
        """Coordinates, shape (2, num_vertices)."""
        return self.vertex_array

    def cells(self) -> Ints:
        """Vertices of each cell, its corners 00, 10, 01, 11; shape (4, num_cells)."""
        return self.cell_array

    @property
    def facts(self) -> dict[str, Any]:
        """Its dimension, for JSON: the rest is in `arrays`."""
        return {"dim": 2}

    @property
    def arrays(self) -> dict[str, npt.NDArray]:
        """Vertices and cells, for files."""
        index = np.int32 if self.num_vertices < 1 << 31 else np.int64
        return {"vertices": self.vertex_array, "cells": self.cell_array.astype(index)}

    @staticmethod
    def of_facts(facts: Any, vertices: npt.NDArray, cells: npt.NDArray) -> QuadrilateralMesh:
        """The mesh from its `facts` and `arrays`.

        Raises:
            ValueError: They are none.
        """
        if facts.get("dim") != 2:
            raise ValueError(f"there are no quadrilaterals of dimension {facts.get('dim')!r:.40}")
        return QuadrilateralMesh(vertices, cells)

    @cached_property
    def whole(self) -> Whole:
        """The part that is all of it."""
        return Whole(self)

    def table(self, values: npt.NDArray) -> QuadrilateralTable:
        """The Q1 function with nodal values (k, n), as compiled loops read it."""
        return QuadrilateralTable.on(self.locator, self.shapes, values)

    @cached_property
    def shapes(self) -> Cells:
        """What evaluation reads of the cells."""
        return Cells.of(self.locator, self.cell_array)

    @property
    def locator(self) -> Locator:
        """The structure in which points find their triangles."""
        return self.halves.locator

    @property
    def extended(self) -> tuple[npt.NDArray[np.float64], Ints, int]:
        """The triangles with their ring; see `SimplexMesh.extended`."""
        return self.halves.extended

    def roundoff(self, dtype: Any = np.float64, points: npt.NDArray | None = None) -> float:
        """The distance below which coordinates do not tell points apart."""
        return self.halves.roundoff(dtype, points)

    @property
    def outline(self) -> npt.NDArray[np.float64]:
        """Corners of the convex hull, one after the other, (2, n)."""
        return self.halves.outline

    @property
    def step(self) -> float:
        """The least height of half a cell."""
        return self.halves.step

    def resolution(self, dtype: Any = np.float64, points: npt.NDArray | None = None) -> float:
        """As of a `SimplexMesh`."""
        return self.halves.resolution(dtype, points)

    def contains(self, x: npt.NDArray) -> npt.NDArray[np.bool_]:
        """Which columns of x lie in the closed mesh, up to roundoff of coordinates; shape (n,)."""
        return self.halves.contains(x)

    def shifts(self, points: npt.NDArray, nodes: Ints, degree: int) -> npt.NDArray:
        """How far points (2, n) are from vertices, in steps; (n,)."""
        return self.halves.shifts(points, nodes, degree)

    def matches(self, other: Any, dtype: Any = np.float64, *, rtol: float = 0.0) -> bool:
        """Whether both are one mesh."""
        return self == other

    def refined(self, factor: int) -> QuadrilateralMesh:
        """The mesh itself; see `QuadrilateralGrid.refined`."""
        require_q1(factor)
        return self

    def with_ring(self) -> tuple[npt.NDArray[np.float64], Ints]:
        """Vertices and cells, those of the ring among them with one corner twice."""
        vertices, triangles, _ = self.halves.extended
        ring = triangles[:, 2 * self.num_cells :]
        return vertices, np.concatenate([self.cell_array, ring[[0, 1, 2, 2]]], axis=1)

    def piece(self, values: npt.NDArray) -> QuadrilateralPiece:
        """How libraries of arrays evaluate the Q1 function with nodal values (n,) or (k, n)."""
        return QuadrilateralPiece(self, values)

    def hidden_layers(self, dtype: np.dtype) -> NoReturn:
        raise ValueError(NO_LAYERS)


def halved(cells: Ints) -> Ints:
    """Two triangles for each cell (4, m), one after the other, shape (3, 2 m)."""
    return np.stack([cells[list(half)] for half in HALVES], axis=-1).reshape(3, -1)


def _require_convex(vertices: npt.NDArray, cells: Ints) -> None:
    around = vertices[:, cells[[0, 1, 3, 2]]]
    edges = np.roll(around, -1, axis=1) - around
    ahead = np.roll(edges, -1, axis=1)
    turns = edges[0] * ahead[1] - edges[1] * ahead[0]
    convex = (turns > 0).all(axis=0) | (turns < 0).all(axis=0)
    if not convex.all():
        first = np.flatnonzero(~convex)[0]
        raise ValueError(
            f"{np.count_nonzero(~convex)} of {convex.size} cells are not convex, the first is cell "
            f"{first}; corners are to be in the order 00, 10, 01, 11"
        )
