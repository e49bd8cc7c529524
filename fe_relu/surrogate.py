# SPDX-License-Identifier: MIT
"""Small networks with a proven error: sums of a few hats on nested meshes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import numpy.typing as npt

from fe_relu.blocks import Blocks
from fe_relu.fields import Outside, outside_mask
from fe_relu.grid import Grid
from fe_relu.hats import hidden_layers
from fe_relu.intervals import Box
from fe_relu.levelsum import LevelSum, on_boundary, outside
from fe_relu.nesting import (
    Nesting,
    checked_level,
    level_hats,
    levels_and_stars,
    nested_levels,
    numbers_in_coarser,
)
from fe_relu.network import Affine, ReLUNetwork
from fe_relu.p1 import P1Network
from fe_relu.parallel import gather_columns, together
from fe_relu.points import real_points
from fe_relu.routing import answers
from fe_relu.tables import Table

if TYPE_CHECKING:
    from mpi4py import MPI

#: Vertices are looked up by their numbers in float64, which has so many integers.
MAX_VERTICES = 1 << 53

#: Evaluation sums as many levels into nodal values as have at most this many vertices on a rank
#: (1 GiB in float64).
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
            alike, all of them.
        coefficients: Shape (n,), or (k, n) for a vector function.
        kept: How many coefficients are kept of each level, on all ranks, shape (levels + 1,).
        error: Sup |surrogate − u| over the mesh and all components. Roundoff of the transform is
            not in it: a few eps of max |u|, which is what remains where tol is smaller.
        bound: Σ over levels of the largest dropped |coefficient|; error is at most this.
        h1_error: The H¹ seminorm of surrogate − u over the mesh.
        ceiling: |surrogate| is nowhere larger than this.
        comm: The communicator whose ranks hold this network and call it together.
        blocks: How it is spread over the ranks; None where each has all of it.

    Raises:
        ValueError: vertices or coefficients have another shape, or are not of the grid or finite;
            kept does not count them; an error is negative; or the grid has more than 2⁵³ vertices.
        TypeError: coefficients are not float32 or float64.
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

    degree = 1
    steepness = 4.0

    def __post_init__(self) -> None:
        vertices, coefficients = np.array(self.vertices, np.int64), np.array(self.coefficients)
        if coefficients.dtype not in (np.float32, np.float64):
            raise TypeError(f"coefficients must be float32 or float64, not {coefficients.dtype}")
        rows = coefficients.shape[:-1]
        if len(rows) > 1 or rows == (0,) or vertices.shape != coefficients.shape[-1:]:
            raise ValueError(
                "a surrogate needs vertices of shape (n,) and coefficients of shape (n,) or "
                f"(k, n), not {vertices.shape} and {coefficients.shape}"
            )
        if self.grid.num_vertices > MAX_VERTICES:
            raise ValueError(f"a surrogate's grid has at most {MAX_VERTICES} vertices")
        inside = (vertices >= 0) & (vertices < self.grid.num_vertices)
        if not inside.all() or (np.diff(vertices) <= 0).any():
            raise ValueError("kept vertices must be numbers of the grid's vertices, increasing")
        if not np.isfinite(coefficients).all():
            raise ValueError("coefficients must be finite; there are NaN or infinite ones")
        if not all(e >= 0 for e in (self.error, self.bound, self.h1_error, self.ceiling)):
            raise ValueError("errors and bounds of a surrogate must be at least 0")
        vertices.flags.writeable = coefficients.flags.writeable = False
        object.__setattr__(self, "levels", nested_levels(self.grid, self.levels))
        self._require_count(vertices)
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "coefficients", coefficients)

    def _require_count(self, vertices: npt.NDArray[np.int64]) -> None:
        """Raises unless kept says how many vertices there are of each level."""
        level, _ = levels_and_stars(self.grid, self.levels, vertices)
        found = tuple(map(int, np.bincount(level, minlength=self.levels + 1)))
        whole = self.blocks is None
        if len(self.kept) != len(found) or (whole and tuple(self.kept) != found):
            raise ValueError(
                f"kept must say how many vertices there are of each of {len(found)} levels, not "
                f"{self.kept!r:.80}"
            )

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
    def size(self) -> float:
        """|surrogate| is nowhere larger."""
        return self.ceiling

    @property
    def num_kept(self) -> int:
        """Number of kept coefficients, that is of second-layer neurons; on all ranks."""
        return sum(self.kept)

    def __call__(
        self, x: npt.ArrayLike, *, outside: Outside = "extend", nodal_levels: int | None = None
    ) -> npt.NDArray:
        """Values at the columns of x. Collective over `comm`, as for `P1Network`.

        Args:
            x: Coordinates, shape (2, n) or (3, n); the third row is ignored.
            outside: As for `P1Network`; "extend" is what the explicit network does.
            nodal_levels: The levels up to this one are summed into nodal values on its mesh, at the
                first call, and cost three loads for each point together; each finer level costs
                three look-ups more, however many coefficients are kept. None: all levels, or where
                that is too large for memory as many as have `NODAL_VERTICES` vertices on a rank.

        Returns:
            Shape (n,) if there is one output, else (k, n); of the wider dtype of the coefficients
            and of this rank's points.

        Raises:
            ValueError: As for `P1Network`, or there is no such level.
            TypeError: x does not hold real numbers, or nodal_levels is no integer.
        """
        with together(self.comm):
            x = real_points(x, 2)
            masked = outside_mask(self.grid, x, outside)
            last = self._nodal_level(nodal_levels)
        ask = partial(SurrogateTable.values, last=last)
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

    def _nodal_level(self, wanted: int | None) -> int:
        """The level up to which to evaluate by nodal values; blocks hold no coarser mesh's."""
        if wanted is not None:
            return max(checked_level(wanted, self.levels), self.nesting.outer)
        for level in range(self.levels, self.nesting.outer, -1):
            mesh = self.nesting.up_to(level)
            if mesh.window.num_vertices(mesh.grid.has_centres) <= NODAL_VERTICES:
                return level
        return self.nesting.outer

    def to_p1(self) -> P1Network:
        """The P1 network with the same values on the mesh.

        Outside it continues otherwise: on a ring of one cell of the fine mesh.
        """
        nodal = self.nodal(self.nesting)
        nodal = nodal[0] if self.coefficients.ndim == 1 else nodal
        return P1Network(self.grid, nodal, self.comm, self.blocks)

    def nodal(self, mesh: Nesting) -> npt.NDArray:
        """Nodal values (k, n) of the levels up to that of a mesh, in this rank's window of it."""
        level, _ = levels_and_stars(self.grid, self.levels, self.vertices)
        rows = np.atleast_2d(self.coefficients)[:, level <= mesh.levels]
        factor = 1 << (self.levels - mesh.levels)
        vertices = numbers_in_coarser(self.grid, factor, self.vertices[level <= mesh.levels])
        everywhere = mesh.is_shared & (level[level <= mesh.levels] <= mesh.outer)
        coarse = None
        if mesh.is_shared:
            numbers = numbers_in_coarser(mesh.grid, mesh.unit, vertices[everywhere])
            coarse = np.zeros((len(rows), mesh.coarse.num_vertices), self.dtype)
            coarse[:, numbers] = rows[:, everywhere]
        values = np.zeros((len(rows), mesh.window.num_vertices(mesh.grid.has_centres)), self.dtype)
        places = mesh.window.local_numbers(mesh.grid, vertices[~everywhere])
        values[:, places] = rows[:, ~everywhere]
        return mesh.join(values, coarse)

    def bounds(self, box: Box | None = None) -> NoReturn:
        """Raises the TypeError that says whose bounds are known."""
        raise TypeError(
            "a Surrogate has no bounds of its own; to_p1().bounds(box) are exact on the mesh, "
            "explicit().bounds(box) enclose its values everywhere"
        )

    def explicit(self) -> ReLUNetwork:
        """The same function as three affine layers with a ReLU after the first two.

        First hidden layer: the mesh lines in use, shared by all levels. Second: one hat per kept
        coefficient, in the order of their vertices. Output: the coefficients. Collective if the
        network is spread in blocks; every rank then gets the whole.
        """
        vertices, rows = self._whole()
        hidden = hidden_layers(self.grid, self.dtype, level_hats(self.grid, self.levels, vertices))
        return ReLUNetwork((*hidden, Affine(rows, np.zeros(len(rows), self.dtype))))

    def gather(self, root: int | None = None) -> Surrogate | None:
        """The whole surrogate as one of this process alone. Collective, as `P1Network.gather`."""
        with together(self.comm):
            size = 1 if self.comm is None else self.comm.size
            if root is not None and not 0 <= root < size:
                raise ValueError(f"root must be a rank from 0 to {size - 1}, not {root}")
        vertices, rows = self._whole()
        if self.comm is not None and root not in (None, self.comm.rank):
            return None
        rows = rows[0] if self.coefficients.ndim == 1 else rows
        return replace(self, vertices=vertices, coefficients=rows, comm=None, blocks=None)

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
    nodal: dict[int, Table] = field(default_factory=dict)
    finer: dict[int, LevelSum] = field(default_factory=dict)

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike, last: int) -> npt.NDArray:
        """Values at points (2, n), shape (k, n); from nodal values up to a level."""
        if last not in self.nodal:
            mesh = self.surrogate.nesting.up_to(last)
            self.nodal[last] = Table.of(mesh.grid, mesh.window, self.surrogate.nodal(mesh))
            self.finer[last] = self._sum(self._levels > last)
        values = self.nodal[last].values(x, dtype)
        if self.finer[last].occupied.any():
            values += self.finer[last].values(x, dtype)
        beyond = outside(self.surrogate.grid, x, dtype)
        if beyond.size:
            values[:, beyond] = self.boundary.values(x[:, beyond], dtype)
        return values

    @cached_property
    def boundary(self) -> LevelSum:
        """The hats that reach beyond the mesh."""
        return self._sum(on_boundary(self.surrogate.grid, self.surrogate.vertices))

    @property
    def _levels(self) -> npt.NDArray[np.uint8]:
        s = self.surrogate
        return levels_and_stars(s.grid, s.levels, s.vertices)[0]

    def _sum(self, which: npt.NDArray[np.bool_]) -> LevelSum:
        s = self.surrogate
        rows = np.atleast_2d(s.coefficients)[:, which]
        return LevelSum.of(s.grid, s.levels, s.vertices[which], rows)
