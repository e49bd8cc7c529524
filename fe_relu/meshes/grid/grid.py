# SPDX-License-Identifier: MIT
"""Structured triangle meshes as lattices: where the vertices are and how cells are halved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.meshes.grid import hats
from fe_relu.meshes.grid.active import GridP2Piece, GridPiece
from fe_relu.meshes.grid.locate import CUTS
from fe_relu.meshes.grid.midpoints import numbered_edges
from fe_relu.meshes.grid.table import Table
from fe_relu.meshes.grid.window import Window
from fe_relu.meshes.mesh import EdgeNodes

#: Names of the diagonals, as in `dolfinx.mesh.DiagonalType`. In lattice units, cell (i, j) is the
#: unit square at (i, j):
#:
#:     right   left    crossed   left_right (i + j even / odd)   right_left (even / odd)
#:      ┌─┐     ┌─┐      ┌─┐              ╱ / ╲                         ╲ / ╱
#:      │╱│     │╲│      │╳│
#:      └─┘     └─┘      └─┘
DIAGONALS = ("right", "left", "crossed", "left_right", "right_left")

#: Points and coordinates are trusted to this many units of roundoff of their own size.
ROUNDOFF_UNITS = 16


@dataclass(frozen=True, eq=False)
class Grid:
    """The mesh with vertices origin + axes @ (i, j), 0 ≤ i ≤ nx, 0 ≤ j ≤ ny.

    Vertices are numbered as in `dolfinx.mesh.create_rectangle`: (i, j) is vertex j·(nx + 1) + i;
    with `crossed` cells the centre of cell (i, j) is vertex (nx + 1)·(ny + 1) + j·nx + i.

    Args:
        origin: Vertex (0, 0), shape (2,), in the units of the mesh.
        axes: The lattice steps as columns, shape (2, 2); rotation and shear are welcome.
        shape: (nx, ny), the number of cells along each axis, at least 1.
        diagonal: One of `DIAGONALS`.
        slack: How far vertices of the mesh that the grid was found in are off, in steps; two grids
            are equal whatever it is.

    Raises:
        ValueError: An argument has another shape, is not finite, or the axes are parallel.
        TypeError: origin or axes are complex.

    Examples:
        >>> import fe_relu
        >>> grid = fe_relu.Grid((0, 0), [[0.5, 0], [0, 1]], (2, 1), "right")
        >>> grid.num_vertices, grid.num_cells
        (6, 4)
        >>> grid.vertices()[:, 4]
        array([0.5, 1. ])
    """

    origin: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    shape: tuple[int, int]
    diagonal: str
    slack: float = 0.0

    def __post_init__(self) -> None:
        origin, axes = _real(self.origin), _real(self.axes)
        if origin.shape != (2,) or axes.shape != (2, 2):
            raise ValueError(
                f"a grid needs an origin of shape (2,) and axes of shape (2, 2), "
                f"not {origin.shape} and {axes.shape}"
            )
        if not (np.isfinite(origin).all() and np.isfinite(axes).all()):
            raise ValueError("origin and axes of a grid must be finite")
        shape = np.asarray(self.shape)
        if shape.shape != (2,) or shape.dtype.kind not in "iu" or (shape < 1).any():
            raise ValueError(f"a grid needs at least 1 x 1 cells, not {self.shape}")
        if self.diagonal not in DIAGONALS:
            raise ValueError(f"diagonal must be one of {DIAGONALS}, not {self.diagonal!r}")
        if not 0 <= self.slack <= 0.5:
            raise ValueError(f"slack must be from 0 to 0.5 of a step, not {self.slack}")
        steps = np.linalg.norm(axes, axis=0)
        if not steps.all() or abs(np.linalg.det(axes / steps)) <= 1e-12:
            raise ValueError(f"the axes {axes.tolist()} are parallel or zero")
        origin.flags.writeable = axes.flags.writeable = False
        object.__setattr__(self, "origin", origin)
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "shape", (int(shape[0]), int(shape[1])))

    def _key(self) -> tuple:
        return (
            type(self), self.origin.tobytes(), self.axes.tobytes(), self.shape, self.diagonal
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    dim = 2
    is_structured = True
    is_partial = False
    is_simplicial = True
    table_type = Table

    @property
    def has_centres(self) -> bool:
        """Whether cells have a vertex in their middle."""
        return self.diagonal == "crossed"

    @property
    def num_vertices(self) -> int:
        nx, ny = self.shape
        return (nx + 1) * (ny + 1) + (nx * ny if self.has_centres else 0)

    @property
    def num_cells(self) -> int:
        """Number of triangles."""
        nx, ny = self.shape
        return (4 if self.has_centres else 2) * nx * ny

    @cached_property
    def inverse(self) -> npt.NDArray[np.float64]:
        """The matrix from coordinates to lattice coordinates, shape (2, 2)."""
        inverse = np.asarray(np.linalg.inv(self.axes), np.float64)
        inverse.flags.writeable = False
        return inverse

    @property
    def corners(self) -> npt.NDArray[np.float64]:
        """The four corners as columns, shape (2, 4), in the order 00, 10, 01, 11."""
        nx, ny = self.shape
        return self.origin[:, None] + self.axes @ np.array([[0, nx, 0, nx], [0, 0, ny, ny]])

    @property
    def outline(self) -> npt.NDArray[np.float64]:
        """The corners, one after the other around the mesh, shape (2, 4)."""
        return self.corners[:, [0, 1, 3, 2]]

    @property
    def facts(self) -> dict[str, Any]:
        """Origin, axes, shape and diagonal, for JSON."""
        return {
            "origin": self.origin.tolist(),
            "axes": self.axes.tolist(),
            "shape": list(self.shape),
            "diagonal": self.diagonal,
            **({"slack": self.slack} if self.slack else {}),
        }

    @property
    def arrays(self) -> dict[str, npt.NDArray]:
        """None: its facts are all."""
        return {}

    @staticmethod
    def of_facts(facts: Any) -> Grid:
        """The grid from its `facts`.

        Raises:
            ValueError: They are none.
        """
        try:
            origin, axes, shape = facts["origin"], facts["axes"], tuple(facts["shape"])
            numbers = [*origin, *(step for row in axes for step in row)]
            diagonal, slack = facts["diagonal"], facts.get("slack", 0.0)
        except (KeyError, TypeError, AttributeError):
            raise ValueError("the grid has no lists origin, axes and shape, and diagonal") from None
        numbers.append(slack)
        if not all(type(number) in (int, float) for number in numbers) or type(diagonal) is not str:
            raise ValueError("origin or axes of the grid hold something else than numbers")
        if not all(type(count) is int and 0 < count < 1 << 63 for count in shape):
            raise ValueError("the shape of the grid holds something else than numbers of cells")
        with np.errstate(all="ignore"):
            return Grid(origin, axes, shape, diagonal, float(slack))

    @cached_property
    def whole(self) -> Window:
        """The window that is all of it."""
        return Window(self, (0, 0), self.shape)

    def places(
        self, vertices: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Place (i, j) of each vertex, for a centre that of its cell; and which are centres."""
        nx, ny = self.shape
        first = (nx + 1) * (ny + 1)
        centre = vertices >= first
        within = np.where(centre, vertices - first, vertices)
        j, i = np.divmod(within, np.where(centre, nx, nx + 1))
        return i, j, centre

    def lattice_positions(self, vertices: npt.NDArray[np.int64] | None = None) -> npt.NDArray:
        """Lattice coordinates of the vertices, all by default, shape (2, n)."""
        i, j, centre = self.places(np.arange(self.num_vertices) if vertices is None else vertices)
        return np.array([i, j]) + 0.5 * centre

    def vertices(self) -> npt.NDArray[np.float64]:
        """Coordinates of the vertices, shape (2, num_vertices)."""
        return self.origin[:, None] + self.axes @ self.lattice_positions()

    def vertices_at(self, i: npt.NDArray, j: npt.NDArray) -> npt.NDArray[np.int64]:
        """The vertices at lattice places (i, j), counted in half steps if the grid has centres."""
        nx, ny = self.shape
        if not self.has_centres:
            return j * (nx + 1) + i
        centre = (nx + 1) * (ny + 1) + (j // 2) * nx + i // 2
        return np.where(i % 2 == 1, centre, (j // 2) * (nx + 1) + i // 2)

    def midpoints(
        self, a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """The numbers in `refined(2)` of the middles of vertices a and b; a itself if b = a."""
        places = self.lattice_positions(a) + self.lattice_positions(b)
        finer = 2 if self.has_centres else 1
        return self.refined(2).vertices_at(*np.rint(finer * places).astype(np.int64))

    def cells(self) -> npt.NDArray[np.int64]:
        """Vertices of each triangle, shape (3, num_cells): those of a lattice cell together."""
        nx, ny = self.shape
        j, i = (part.ravel() for part in np.indices((ny, nx)))
        v00 = j * (nx + 1) + i
        v10, v01, v11 = v00 + 1, v00 + nx + 1, v00 + nx + 2
        if self.has_centres:
            centre = (nx + 1) * (ny + 1) + j * nx + i
            sides = ((v00, v10), (v10, v11), (v01, v11), (v00, v01))
            triangles = [(a, b, centre) for a, b in sides]
        else:
            cut = CUTS[self.diagonal]
            backslash = (cut.parity + (i + j) * cut.alternating) % 2 == 1
            low, high = np.where(backslash, v10, v00), np.where(backslash, v01, v11)
            triangles = [
                (low, np.where(backslash, v00, v10), high),
                (low, np.where(backslash, v11, v01), high),
            ]
        return np.stack([np.stack(one) for one in triangles], axis=-1).reshape(3, -1)

    def refined(self, factor: int) -> Grid:
        """The grid with steps smaller by a factor and as many more cells, of the same diagonal."""
        if factor == 1:
            return self
        nx, ny = self.shape
        finer = (nx * factor, ny * factor)
        slack = min(0.5, factor * self.slack)
        return Grid(self.origin, self.axes / factor, finer, self.diagonal, slack)

    def hidden_layers(self, dtype: np.dtype) -> Any:
        """The mesh lines, and one neuron for each hat; see `fe_relu.meshes.grid.hats`."""
        lines, neurons = hats.hidden_layers(self, dtype, hats.mesh_hats(self))
        return lines, neurons, sparse.eye_array(self.num_vertices, dtype=dtype, format="csr")

    def shifts(self, points: npt.NDArray, nodes: npt.NDArray[np.int64], degree: int) -> npt.NDArray:
        """How far points (2, n) are from nodes, vertices of `refined(degree)`, in steps; (n,)."""
        places = self.refined(degree).lattice_positions(nodes) / degree
        return np.abs(self.to_lattice(points) - places).sum(axis=0)

    def piece(self, values: npt.NDArray) -> GridPiece:
        """How libraries of arrays evaluate the P1 function with nodal values (n,) or (k, n)."""
        return GridPiece(self, values)

    def quadratic_piece(self, values: npt.NDArray, levels: int) -> GridPiece:
        """The same of a P2 network, of nodal values on `refined(2)`."""
        return GridP2Piece(self, values, levels=levels)

    def edges(self) -> EdgeNodes:
        """All edges, and their nodes in `refined(2)`."""
        return numbered_edges(self)

    def to_lattice(self, x: npt.NDArray) -> npt.NDArray[np.float64]:
        """Lattice coordinates of the columns of x, shape (2, n)."""
        return self.inverse @ (x[:2] - self.origin[:, None])

    def resolution(self, dtype: Any = np.float64, points: npt.NDArray | None = None) -> float:
        """The distance in lattice units below which coordinates of this dtype cannot tell apart.

        It grows with the number of cells and with distance from the coordinate origin over extent.
        It is that of points (2, n), if given, as well as of the grid itself.
        """
        size = np.abs(self.corners).max(axis=1)
        if points is not None:
            size = np.maximum(size, np.abs(points).max(axis=1, initial=0))
        steps = np.abs(self.inverse) @ size
        eps = np.finfo(dtype).eps
        return float(ROUNDOFF_UNITS * eps * (1 + steps.max()))

    def contains(self, x: npt.NDArray) -> npt.NDArray[np.bool_]:
        """Which columns of x lie in the closed domain, up to `resolution` or slack; shape (n,)."""
        slack = max(self.slack, self.resolution(np.result_type(x.dtype, np.float32)))
        lattice = self.to_lattice(x)
        upper = np.array(self.shape)[:, None] + slack
        return np.all((lattice >= -slack) & (lattice <= upper), axis=0)

    def matches(self, other: Grid, dtype: Any = np.float64, *, rtol: float = 0.0) -> bool:
        """Whether both describe one mesh: corners agree up to rtol of a step and roundoff."""
        same = (type(self), self.shape, self.diagonal)
        if same != (type(other), other.shape, other.diagonal):
            return False
        apart = self.inverse @ (self.corners - other.corners)
        return bool(np.abs(apart).max() <= rtol + 2 * self.resolution(dtype))


def on_grid(mesh: Any, what: str) -> Grid:
    """The mesh, if it is a grid, which `what` needs.

    Raises:
        TypeError: It is another kind of mesh.
    """
    if type(mesh) is not Grid:
        raise TypeError(f"{what} needs a structured mesh, a Grid, not a {type(mesh).__name__}")
    return mesh


def _real(numbers: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A copy as floats; zeros lose their sign, so that equal grids have equal bits."""
    if np.iscomplexobj(numbers):
        raise TypeError("origin and axes of a grid must be real numbers")
    return np.array(numbers, np.float64) + 0.0
