# SPDX-License-Identifier: MIT
"""Small networks with a proven error: sums of a few hats on nested meshes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from fe_relu.blocks import Blocks
from fe_relu.grid import Grid
from fe_relu.hats import hidden_layers
from fe_relu.levelsum import LevelSum, on_boundary, outside
from fe_relu.nesting import Nesting, level_hats, levels_and_stars, numbers_in_coarser
from fe_relu.network import Affine, ReLUNetwork
from fe_relu.p1 import Outside, P1Network, outside_mask
from fe_relu.parallel import gather_columns, together
from fe_relu.points import real_points
from fe_relu.routing import answers
from fe_relu.tables import Table

if TYPE_CHECKING:
    from mpi4py import MPI

Method = Literal["auto", "nodal", "levels"]

#: method="auto" evaluates from nodal values if a rank has at most this many (1 GiB in float64).
NODAL_VERTICES = 1 << 27


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Σ coefficient · hat over the kept vertices, each hat on the mesh of the level of its vertex.

    A ReLU network with two hidden layers, everywhere on ℝ²: hats of vertices on the boundary reach
    as far beyond it as one step of their level. `HierarchicalNetwork.truncate` and `.compress` make
    surrogates and know what they approximate: u.

    Args:
        grid: The mesh of u.
        levels: How often the coarsest mesh was halved to get it.
        vertices: Numbers in the grid of the kept vertices, increasing, shape (n,). Where `blocks`
            are given, those of this rank's window and, of levels that are split on all ranks
            alike, all.
        coefficients: Shape (n,), or (k, n) for a vector function.
        kept: How many coefficients are kept of each level, on all ranks, shape (levels + 1,).
        error: Sup |surrogate − u| over the mesh and all components.
        bound: Σ over levels of the largest dropped |coefficient|; error is at most this.
        h1_error: The H¹ seminorm of surrogate − u over the mesh.
        ceiling: |surrogate| is nowhere larger than this.
        comm: The communicator whose ranks hold this network and call it together.
        blocks: How it is spread over the ranks; None where each has all of it.
    """

    grid: Grid
    levels: int
    vertices: npt.NDArray[np.int64]
    coefficients: npt.NDArray
    kept: tuple[int, ...]
    error: float
    bound: float
    h1_error: float
    ceiling: float
    comm: MPI.Comm | None = None
    blocks: Blocks | None = None

    def __post_init__(self) -> None:
        self.vertices.flags.writeable = self.coefficients.flags.writeable = False

    @property
    def dim_in(self) -> int:
        return 2

    @property
    def dim_out(self) -> int:
        return 1 if self.coefficients.ndim == 1 else len(self.coefficients)

    @property
    def dtype(self) -> np.dtype:
        return self.coefficients.dtype

    @property
    def num_kept(self) -> int:
        """Number of kept coefficients, that is of second-layer neurons; on all ranks."""
        return sum(self.kept)

    def __call__(
        self, x: npt.ArrayLike, *, outside: Outside = "extend", method: Method = "auto"
    ) -> npt.NDArray:
        """Values at the columns of x. Collective over `comm`, as for `P1Network`.

        Args:
            x: Coordinates, shape (2, n) or (3, n); the third row is ignored.
            outside: As for `P1Network`; "extend" is what the explicit network does.
            method: How. "nodal": inside the mesh from nodal values on the fine grid, made at the
                first call, three loads for each point. "levels": from the kept coefficients, at
                most three look-ups for each point and level. "auto": nodal for up to
                `NODAL_VERTICES` vertices on a rank.

        Returns:
            Shape (n,) if there is one output, else (k, n); of the wider dtype of the coefficients
            and of this rank's points.

        Raises:
            ValueError: As for `P1Network`, or method is another word.
            TypeError: x does not hold real numbers.
        """
        with together(self.comm):
            x = real_points(x, 2)
            masked = outside_mask(self.grid, x, outside)
            if method not in ("auto", "nodal", "levels"):
                raise ValueError(f'method must be "auto", "nodal" or "levels", not {method!r}')
            count = self.nesting.window.num_vertices(self.grid.has_centres)
            nodal = method == "nodal" or (method == "auto" and count <= NODAL_VERTICES)
            ask = SurrogateTable.from_nodes if nodal else SurrogateTable.from_levels
        values = answers(self, x, ask)
        if masked is not None:
            values[:, masked] = np.nan
        return values[0] if self.dim_out == 1 else values

    @cached_property
    def table(self) -> SurrogateTable:
        return SurrogateTable(self)

    @cached_property
    def nesting(self) -> Nesting:
        """The levels, as this rank's window has them."""
        return Nesting.of(self.grid, self.levels, self.comm, self.blocks)

    def to_p1(self) -> P1Network:
        """The P1 network with the same values on the mesh.

        Outside it continues otherwise: on a ring of one cell of the fine mesh.
        """
        rows, nesting = np.atleast_2d(self.coefficients), self.nesting
        everywhere = np.zeros(self.vertices.size, np.bool_)
        coarse = None
        if nesting.is_shared:
            level, _ = levels_and_stars(self.grid, self.levels, self.vertices)
            everywhere = level <= nesting.outer
            numbers = numbers_in_coarser(self.grid, nesting.unit, self.vertices[everywhere])
            coarse = np.zeros((len(rows), nesting.coarse.num_vertices), self.dtype)
            coarse[:, numbers] = rows[:, everywhere]
        count = nesting.window.num_vertices(self.grid.has_centres)
        values = np.zeros((len(rows), count), self.dtype)
        places = nesting.window.local_numbers(self.grid, self.vertices[~everywhere])
        values[:, places] = rows[:, ~everywhere]
        nodal = nesting.join(values, coarse)
        nodal = nodal[0] if self.coefficients.ndim == 1 else nodal
        return P1Network(self.grid, nodal, self.comm, self.blocks)

    def explicit(self) -> ReLUNetwork:
        """The same function as three affine layers with a ReLU after the first two.

        First hidden layer: the mesh lines in use, shared by all levels. Second: one hat per kept
        coefficient, in the order of their vertices. Output: the coefficients. Collective if the
        network is spread in blocks; every rank then gets the whole.
        """
        vertices, rows = self._whole()
        hidden = hidden_layers(self.grid, self.dtype, level_hats(self.grid, self.levels, vertices))
        return ReLUNetwork((*hidden, Affine(rows, np.zeros(len(rows), self.dtype))))

    def _whole(self) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
        """All kept vertices, increasing, and their coefficients (k, n)."""
        vertices, rows = self.vertices, np.atleast_2d(self.coefficients)
        if self.blocks is None or self.comm is None:
            return vertices, rows
        own = self.blocks.owners(self.grid, vertices) == self.comm.rank
        vertices = gather_columns(self.comm, vertices[None, own])[0]
        order = np.argsort(vertices)
        return vertices[order], gather_columns(self.comm, rows[:, own])[:, order]


@dataclass(frozen=True, eq=False)
class SurrogateTable:
    """What a rank needs to answer points, made when first asked."""

    surrogate: Surrogate

    def from_nodes(self, x: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
        """Values at points (2, n), shape (k, n), from nodal values inside the mesh."""
        values = self.nodal.values(x, dtype)
        beyond = outside(self.surrogate.grid, x, dtype)
        if beyond.size:
            values[:, beyond] = self.boundary.values(x[:, beyond], dtype)
        return values

    def from_levels(self, x: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
        """Values at points (2, n), shape (k, n), from the kept coefficients."""
        return self.everything.values(x, dtype)

    @cached_property
    def nodal(self) -> Table:
        return self.surrogate.to_p1().table

    @cached_property
    def boundary(self) -> LevelSum:
        """The hats that reach beyond the mesh."""
        return self._sum(on_boundary(self.surrogate.grid, self.surrogate.vertices))

    @cached_property
    def everything(self) -> LevelSum:
        return self._sum(np.ones(self.surrogate.vertices.size, np.bool_))

    def _sum(self, which: npt.NDArray[np.bool_]) -> LevelSum:
        s = self.surrogate
        rows = np.atleast_2d(s.coefficients)[:, which]
        return LevelSum.of(s.grid, s.levels, s.vertices[which], rows)
