# SPDX-License-Identifier: MIT
"""What a mesh is: the few questions that networks ask of every kind.

A kind of mesh is a frozen class with these methods, in a module or package of its own beside this
one, a row in `fe_relu.meshes.kinds`, and a function in `fe_relu.fenicsx.meshes` that finds it in a
dolfinx mesh. Nothing else needs to know it.

    mesh.whole               the part that holds all of it
    part.table(values)       numbers as compiled loops read them
    table.values(x, dtype)   what they are at points
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.active import Piece


class Answers(NamedTuple):
    """What a table says of n points.

    Attributes:
        numbers: Shape (…, n).
        away: Increasing positions of the points that other parts of the mesh answer; there,
            numbers mean nothing.
    """

    numbers: npt.NDArray
    away: npt.NDArray[np.int64]


class Table(Protocol):
    """Numbers at the vertices of a part, as compiled loops read them; NaN points raise."""

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Values at points (dim, n), computed in dtype, shape (k, n)."""
        ...

    def gradient(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Gradients at points (dim, n), computed in dtype, shape (k, dim, n)."""
        ...

    def locate(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Any:
        """Points (dim, n) found, for `values_at`, with `away` as in `Answers`."""
        ...

    def values_at(self, points: Any) -> Answers:
        """Values at located points, shape (k, n)."""
        ...


class EdgeNodes(NamedTuple):
    """The nodes of P2 functions, by what they are of the mesh.

    Attributes:
        vertices: The node at each vertex.
        ends: The vertices that each edge joins, shape (2, edges).
        middles: The node in the middle of each edge.
    """

    vertices: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    middles: npt.NDArray[np.int64]


class Run(NamedTuple):
    """Vertices that follow each other both in the whole mesh and in a part."""

    first: int  # the whole mesh's number of the first of them
    place: int  # its place in the part
    length: int


class Part(Protocol):
    """The cells of a mesh that one rank holds, all of them or some, and their vertices."""

    @property
    def num_vertices(self) -> int: ...
    @property
    def own(self) -> Any:
        """Which of its vertices, as an index, all parts together have each at least once."""
        ...

    def numbers(self) -> npt.NDArray[np.int64]:
        """The whole mesh's numbers of its vertices, in its own order."""
        ...

    def local_numbers(self, vertices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Its own numbers of vertices of the whole mesh that it holds."""
        ...

    def runs(self, *, own: bool = False) -> Iterator[Run]:
        """Its vertices in its order; with `own` such that all parts have each vertex once."""
        ...

    def refined(self, factor: int) -> Any:
        """The same part of the mesh refined by a factor."""
        ...

    def table(self, values: npt.NDArray) -> Table:
        """The P1 function with nodal values (k, n)."""
        ...

    def hats(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """The hats that are awake at points (dim, n): their vertices, then their values.

        Numbers of vertices are those in the whole mesh, −1 where there is no hat; shape (2 c, n)
        for c hats at most. Others are zero.
        """
        ...

    def quadratic_table(self, values: npt.NDArray, levels: int) -> Table:
        """The P1 interpolant on the part refined `levels` times of a P2 function (k, n)."""
        ...

    def largest_bump(self, values: npt.NDArray) -> float:
        """Sup |P2 function with nodal values (k, n) − its P1 part| over the part."""
        ...


class Mesh(Protocol):
    """A mesh: frozen, hashable, and equal to another that is the same."""

    @property
    def dim(self) -> int: ...
    @property
    def num_vertices(self) -> int: ...
    @property
    def num_cells(self) -> int: ...
    @property
    def whole(self) -> Any:
        """The `Part` that is all of it."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """What a file says of it, for JSON."""
        ...

    @property
    def arrays(self) -> dict[str, npt.NDArray]:
        """What a file holds of it besides, in two dimensions each."""
        ...

    @property
    def outline(self) -> npt.NDArray[np.float64]:
        """Corners of the smallest convex polygon around it, one after the other, (dim, n)."""
        ...

    def vertices(self) -> npt.NDArray[np.float64]:
        """Coordinates, shape (dim, num_vertices)."""
        ...

    def cells(self) -> npt.NDArray[np.int64]:
        """Vertices of each cell, shape (corners, num_cells)."""
        ...

    def contains(self, x: npt.NDArray) -> npt.NDArray[np.bool_]:
        """Which columns of x lie in the closed mesh, up to `resolution`; shape (n,)."""
        ...

    def resolution(self, dtype: Any = np.float64, points: npt.NDArray | None = None) -> float:
        """Below this distance, in steps, coordinates of the dtype do not tell points apart."""
        ...

    def refined(self, factor: int) -> Any:
        """The mesh whose vertices are the nodes of functions of this degree."""
        ...

    @property
    def is_structured(self) -> bool:
        """Whether vertices are where a formula says."""
        ...

    @property
    def is_simplicial(self) -> bool:
        """Whether cells have dim + 1 corners, so that functions of degree 1 are P1."""
        ...

    @property
    def is_partial(self) -> bool:
        """Whether this rank knows its share only, the vertices and cells that are its own."""
        ...

    @property
    def slack(self) -> float:
        """How far vertices of the mesh that this was found in are off, in steps."""
        ...

    def matches(self, other: Any, dtype: Any = np.float64, *, rtol: float = 0.0) -> bool:
        """Whether both are one mesh, up to rtol of a step and roundoff."""
        ...

    def shifts(self, points: npt.NDArray, nodes: npt.NDArray[np.int64], degree: int) -> npt.NDArray:
        """How far points (dim, n) are from nodes, vertices of `refined(degree)`, in steps; (n,)."""
        ...

    def hidden_layers(self, dtype: np.dtype) -> Any:
        """Two layers, and the hats (vertices, neurons) as sums of what comes out, everywhere.

        Of quadrilaterals three layers and a pooling, after which there are the hats.
        """
        ...

    def piece(self, values: npt.NDArray) -> Piece:
        """How libraries of arrays evaluate the P1 function with nodal values (n,) or (k, n)."""
        ...


class QuadraticMesh(Mesh, Protocol):
    """A mesh of simplices, on which there are P2 functions too."""

    def midpoints(
        self, a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """The numbers in `refined(2)` of the middles of vertices a and b; a itself if b = a."""
        ...

    def quadratic_piece(self, values: npt.NDArray, levels: int) -> Piece:
        """The same of a P2 network, of nodal values on `refined(2)`."""
        ...

    def edges(self) -> EdgeNodes:
        """All edges, and their nodes in `refined(2)`."""
        ...
