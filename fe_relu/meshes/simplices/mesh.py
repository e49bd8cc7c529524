# SPDX-License-Identifier: MIT
"""Meshes of intervals, triangles or tetrahedra, in any arrangement."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull

from fe_relu.meshes.mesh import EdgeNodes
from fe_relu.meshes.recognition.boxes import located_box
from fe_relu.meshes.recognition.recognise import MeshCells
from fe_relu.meshes.simplices import diamonds, ring
from fe_relu.meshes.simplices.active import QuadraticPiece, SimplexPiece
from fe_relu.meshes.simplices.checks import checked_arrays, require_mesh
from fe_relu.meshes.simplices.location.locator import Locator
from fe_relu.meshes.simplices.nodes import Nodes
from fe_relu.meshes.simplices.part import Whole
from fe_relu.meshes.simplices.quadratic import Edges, edges_of
from fe_relu.meshes.simplices.table import Table
from fe_relu.meshes.stars.box import Box

#: Points and coordinates are trusted to this many units of roundoff of the largest coordinate.
ROUNDOFF_UNITS = 16


@dataclass(frozen=True, eq=False)
class SimplexMesh:
    """A conforming mesh of intervals, triangles or tetrahedra.

    Two cells share a whole facet, edge or vertex, or nothing. Several components, holes and slivers
    are welcome; numbers of vertices and cells are as given. Meshes are equal if their arrays are.

    Args:
        vertices: Coordinates, shape (dim, n), dim 1, 2 or 3.
        cells: The corners of each cell in any order, shape (dim + 1, m).

    Raises:
        ValueError: An array has another shape; a coordinate is not finite; a vertex is in no cell
            or where another one is; a cell is degenerate; or cells overlap or are not conforming.
        TypeError: vertices are not real numbers, or cells not integers.

    Examples:
        >>> from fe_relu.meshes.simplices.mesh import SimplexMesh
        >>> mesh = SimplexMesh([[0, 1, 0, 2], [0, 0, 1, 2]], [[0, 1], [1, 2], [2, 3]])
        >>> mesh.dim, mesh.num_vertices, mesh.num_cells
        (2, 4, 2)
    """

    is_structured = False
    is_partial = False
    is_simplicial = True
    slack = 0.0

    vertex_array: npt.NDArray[np.float64]
    cell_array: npt.NDArray[np.int64]

    def __init__(self, vertices: npt.ArrayLike, cells: npt.ArrayLike) -> None:
        points, corners = checked_arrays(vertices, cells)
        require_mesh(points, corners)
        points.flags.writeable = corners.flags.writeable = False
        object.__setattr__(self, "vertex_array", points)
        object.__setattr__(self, "cell_array", corners)

    @staticmethod
    def conforming(vertices: npt.NDArray, cells: npt.NDArray) -> SimplexMesh:
        """The mesh of arrays that are one by construction; that they conform is not checked."""
        return _unchecked(*checked_arrays(vertices, cells))

    @cached_property
    def digest(self) -> bytes:
        """A number that only equal meshes share."""
        digest = hashlib.blake2b(repr(self.cell_array.shape).encode(), digest_size=32)
        digest.update(self.vertex_array)
        digest.update(self.cell_array)
        return digest.digest()

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, SimplexMesh) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple:
        """Without what is made from the arrays."""
        return _unchecked, (self.vertex_array, self.cell_array)

    @property
    def dim(self) -> int:
        return len(self.vertex_array)

    @property
    def num_vertices(self) -> int:
        return self.vertex_array.shape[1]

    @property
    def num_cells(self) -> int:
        return self.cell_array.shape[1]

    def vertices(self) -> npt.NDArray[np.float64]:
        """Coordinates, shape (dim, num_vertices)."""
        return self.vertex_array

    def cells(self) -> npt.NDArray[np.int64]:
        """Vertices of each cell, shape (dim + 1, num_cells)."""
        return self.cell_array

    @property
    def facts(self) -> dict[str, Any]:
        """Its dimension, for JSON: the rest is in `arrays`."""
        return {"dim": self.dim}

    @property
    def arrays(self) -> dict[str, npt.NDArray]:
        """Vertices and cells, for files."""
        index = np.int32 if self.num_vertices < 1 << 31 else np.int64
        return {"vertices": self.vertex_array, "cells": self.cell_array.astype(index)}

    @staticmethod
    def of_facts(facts: Any, vertices: npt.NDArray, cells: npt.NDArray) -> SimplexMesh:
        """The mesh from its `facts` and `arrays`.

        Raises:
            ValueError: They are none.
        """
        dim = facts.get("dim")
        if type(dim) is not int or dim != len(vertices):
            raise ValueError(f"vertices in {len(vertices)}-D are no mesh of dimension {dim!r:.40}")
        return SimplexMesh(vertices, cells)

    @cached_property
    def whole(self) -> Whole:
        """The part that is all of it."""
        return Whole(self)

    @property
    def outline(self) -> npt.NDArray[np.float64]:
        """Corners around it: in 2-D of its convex hull, one after the other, else of a box."""
        if self.dim == 2:
            return self.vertex_array[:, ConvexHull(self.vertex_array.T).vertices]
        low, high = self.vertex_array.min(axis=1), self.vertex_array.max(axis=1)
        return np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(
            self.dim, -1
        )

    @cached_property
    def extended(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], int]:
        """Vertices and cells with the ring on which functions go to zero, and how many are own.

        In 3-D only boxes have a ring: outside others, functions are zero at once.
        """
        if self.dim < 3:
            return ring.extended(self.vertex_array, self.cell_array)
        if self.box is None:
            return self.vertex_array, self.cell_array, self.num_vertices
        box, numbers = self.box
        ghosts, cells = box.ring()
        place = np.empty(self.num_vertices + ghosts.shape[1], np.int64)
        place[numbers] = np.arange(numbers.size)
        place[numbers.size :] = np.arange(numbers.size, place.size)
        everywhere = np.hstack([self.vertex_array, ghosts])
        return everywhere, np.hstack([self.cell_array, place[cells]]), self.num_vertices

    @cached_property
    def box(self) -> tuple[Box, npt.NDArray[np.int64]] | None:
        """The box of tetrahedra that this is and the numbers of vertices in it, if it is one."""
        if self.dim < 3:
            return None
        found = located_box(MeshCells.of(self.vertex_array, self.cell_array))
        return None if found is None else (found[0], found[0].numbers(found[1]))

    @property
    def has_ring(self) -> bool:
        """Whether functions go to zero continuously around the mesh."""
        return self.dim < 3 or self.box is not None

    @cached_property
    def locator(self) -> Locator:
        """The structure in which points find their cells."""
        vertices, cells, own = self.extended
        return Locator(self.vertex_array, vertices[:, own:], cells, self.roundoff())

    def roundoff(self, dtype: Any = np.float64, points: npt.NDArray | None = None) -> float:
        """The distance below which coordinates do not tell points apart."""
        size = np.abs(self.vertex_array).max()
        if points is not None:
            size = max(size, np.abs(points).max(initial=0))
        return float(ROUNDOFF_UNITS * np.finfo(dtype).eps * size)

    @cached_property
    def step(self) -> float:
        """The least height of a cell: no slope is larger than 2·dim·max |nodal value| per step."""
        return self.locator.least_height

    def resolution(self, dtype: Any = np.float64, points: npt.NDArray | None = None) -> float:
        """The distance, in steps, below which coordinates of this dtype cannot tell points apart.

        It is that of points (dim, n), if given, as well as of the mesh itself.
        """
        return self.roundoff(dtype, points) / self.step

    def contains(self, x: npt.NDArray) -> npt.NDArray[np.bool_]:
        """Which columns of x lie in the closed mesh, up to roundoff of coordinates; shape (n,)."""
        near = self.roundoff(np.result_type(x.dtype, np.float32))
        return self.locator.near_points(x, near)[0]

    def refined(self, factor: int) -> Any:
        """The mesh itself, or (2) the nodes of P2 functions.

        Raises:
            ValueError: The factor is another.
        """
        if factor not in (1, 2):
            raise ValueError(f"meshes of simplices are refined by 1 or 2, not by {factor}")
        return self if factor == 1 else self.nodes

    @cached_property
    def nodes(self) -> Nodes:
        """Vertices, then the middles of edges in increasing order of (lower, higher vertex)."""
        return Nodes.of(self.vertex_array, self.cell_array)

    def edges(self) -> EdgeNodes:
        """All edges, and their nodes in `refined(2)`."""
        return self.nodes.numbered

    @cached_property
    def cell_edges(self) -> Edges:
        """What evaluation of P2 functions reads of the edges of cells."""
        return edges_of(self.locator, self.nodes)

    def midpoints(
        self, a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """The numbers in `refined(2)` of the middles of vertices a and b; a itself if b = a."""
        return self.nodes.between(a, b)

    def hidden_layers(self, dtype: np.dtype) -> Any:
        """Two layers, and the hats as sums of what comes out; see `diamonds` and `stars.kuhn`.

        Raises:
            ValueError: The mesh is one of tetrahedra, but no box, or only nearly.
        """
        if not self.has_ring:
            raise ValueError(
                "this mesh of tetrahedra has no small explicit network: known ones have some 70 "
                "neurons a vertex in three hidden layers, and only those of create_box, and their "
                'affine images, have five in two; evaluation, gradients, files and form="active" '
                "need none"
            )
        if self.box is not None and self.box[0].off > self.roundoff(dtype):
            raise ValueError(
                f"vertices are up to {self.box[0].off:.2g} off the lattice, more than roundoff of "
                f"{np.dtype(dtype)}: layers on the lattice would be another function; values in "
                "float32, of the precision of the coordinates, have layers"
            )
        return _hidden_layers(self, np.dtype(dtype))

    def shifts(self, points: npt.NDArray, nodes: npt.NDArray[np.int64], degree: int) -> npt.NDArray:
        """How far points (dim, n) are from nodes, vertices of `refined(degree)`, in steps; (n,)."""
        return np.abs(points - self.refined(degree).vertices()[:, nodes]).sum(axis=0) / self.step

    def matches(self, other: Any, dtype: Any = np.float64, *, rtol: float = 0.0) -> bool:
        """Whether both are one mesh."""
        return self == other

    def table(self, values: npt.NDArray) -> Table:
        """The P1 function with nodal values (k, n), as compiled loops read it."""
        return Table.of(self.locator, values)

    def piece(self, values: npt.NDArray) -> SimplexPiece:
        """How libraries of arrays evaluate the P1 function with nodal values (n,) or (k, n)."""
        return SimplexPiece(self, values)

    def quadratic_piece(self, values: npt.NDArray, levels: int) -> SimplexPiece:
        """The same of a P2 network, of nodal values on `refined(2)`."""
        return QuadraticPiece(self, values, levels=levels)


@lru_cache(maxsize=8)
def _hidden_layers(mesh: SimplexMesh, dtype: np.dtype) -> Any:
    """Made once for all networks on a mesh."""
    if mesh.box is not None:
        box, numbers = mesh.box
        return box.hidden_layers(dtype, numbers)
    return diamonds.hidden_layers(mesh.vertices(), mesh.cells(), dtype)


def _unchecked(vertices: npt.NDArray, cells: npt.NDArray) -> SimplexMesh:
    """The mesh of arrays that have been checked."""
    mesh = object.__new__(SimplexMesh)
    vertices.flags.writeable = cells.flags.writeable = False
    object.__setattr__(mesh, "vertex_array", vertices)
    object.__setattr__(mesh, "cell_array", cells)
    return mesh
