# SPDX-License-Identifier: MIT
"""P1 functions in the hierarchical basis: dropping small coefficients makes small networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from fe_relu import surplus
from fe_relu.aims import check_aim
from fe_relu.blocks import Blocks, Window
from fe_relu.grid import Grid
from fe_relu.hats import lines_in_use
from fe_relu.intervals import Box
from fe_relu.nesting import (
    Nesting,
    checked_level,
    level_hats,
    levels_and_stars,
    nested_levels,
    numbers_in_finer,
)
from fe_relu.p1 import P1Network
from fe_relu.parallel import any_of, largest, require_alike, together
from fe_relu.ranking import Ranking
from fe_relu.seminorm import h1_seminorm, hat_seminorms
from fe_relu.surrogate import Surrogate

if TYPE_CHECKING:
    from mpi4py import MPI

Norm = Literal["sup", "H1"]


class _Part(NamedTuple):
    """Coefficients (k, n) with level and star of their vertices."""

    rows: npt.NDArray
    level: npt.NDArray[np.uint8]
    star: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class HierarchicalNetwork:
    """A P1 function as Σ coefficient · hat, each hat on the coarsest of nested meshes that has it.

    Coefficients are nodal values on the coarsest mesh, level 0, and surpluses on those of level 1
    to `levels`: u at a vertex minus the mean of u at the ends of the edge that it halves. Where u
    is smooth they fall by four from level to level, so that few of them matter.

    Args:
        grid: The mesh of the finest level.
        levels: How often the coarsest mesh is halved to get it.
        surpluses: The coefficients in the grid's vertex order, shape (n,) or (k, n). Where `blocks`
            are given, those of this rank's window.
        comm: The communicator whose ranks hold this together.
        blocks: How the coefficients are spread over the ranks; None where each has all of them.
        coarse: Coefficients that all ranks need, (k, m), of the levels that no block halves.

    Raises:
        ValueError: surpluses have another shape or are not finite, or the grid is not one halved so
            often.
        TypeError: surpluses are not float32 or float64.
    """

    grid: Grid
    levels: int
    surpluses: npt.NDArray
    comm: MPI.Comm | None = None
    blocks: Blocks | None = None
    coarse: npt.NDArray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", nested_levels(self.grid, self.levels))
        checked = P1Network(self.grid, self.surpluses, self.comm, self.blocks)
        object.__setattr__(self, "surpluses", checked.values)

    @property
    def dim_in(self) -> int:
        return 2

    @property
    def dim_out(self) -> int:
        return 1 if self.surpluses.ndim == 1 else len(self.surpluses)

    @property
    def dtype(self) -> np.dtype:
        return self.surpluses.dtype

    @property
    def window(self) -> Window:
        return self.nesting.window

    @cached_property
    def nesting(self) -> Nesting:
        """The levels, as this rank's window has them."""
        return Nesting.of(self.grid, self.levels, self.comm, self.blocks)

    def vertices(self, level: int) -> npt.NDArray[np.int64]:
        """Numbers in the grid of the vertices that are new at a level; in blocks, this window's."""
        return self.window.grid_numbers(self.grid, self._at(level))

    def coefficients(self, level: int) -> npt.NDArray:
        """The coefficients of `vertices(level)`, shape (n,) or (k, n)."""
        return self.surpluses[..., self._at(level)]

    def _at(self, level: int) -> npt.NDArray[np.int64]:
        return np.flatnonzero(self._parts[0].level == checked_level(level, self.levels))

    def to_p1(self) -> P1Network:
        """The function by its nodal values: the inverse transform."""
        coarse = None if self.coarse is None else self.coarse.copy()
        nodal = self.nesting.join(np.atleast_2d(self.surpluses).copy(), coarse)
        nodal = nodal[0] if self.surpluses.ndim == 1 else nodal
        return P1Network(self.grid, nodal, self.comm, self.blocks)

    def bounds(self, box: Box | None = None) -> NoReturn:
        """Raises the TypeError that says whose bounds are known."""
        raise TypeError(
            "a HierarchicalNetwork has no bounds of its own; to_p1().bounds(box) are exact"
        )

    def truncate(self, *, levels: int) -> Surrogate:
        """The interpolant of u on the mesh of a level: all coefficients up to that one. Collective.

        Coefficients that are zero need no neuron and are not kept.

        Args:
            levels: From 0 to the number of levels, which leaves u as it is.

        Raises:
            ValueError: There is no such level.
            TypeError: levels is not an integer, or ranks pass different ones.
        """
        with together(self.comm):
            last = checked_level(levels, self.levels)
        self._require_alike(last)
        sizes = self._sizes("sup")
        return self._surrogate(lambda size, level: (level <= last) & (size > 0), sizes)

    def compress(
        self,
        *,
        tol: float | None = None,
        max_neurons: int | None = None,
        relative: bool = False,
        norm: Norm = "sup",
    ) -> Surrogate:
        """The surrogate that keeps the largest coefficients only. Collective.

        One threshold decides for all coefficients, on all ranks; equal sizes are kept or dropped
        together. A vector function's coefficient is as large as the largest of its components.

        Args:
            tol: Keep so many that the error is at most tol.
            max_neurons: Keep as many as leave the explicit network with at most this many neurons,
                first layer included. Either this or tol.
            relative: tol counts in units of max |u|, or of u's H¹ seminorm.
            norm: Which error tol bounds. "sup": the largest over the mesh and all components, see
                `Surrogate.error`. "H1": the H¹ seminorm, see `Surrogate.h1_error`; coefficients
                then count by the seminorm of what they add.

        Raises:
            ValueError: tol is not positive and finite, max_neurons is below 1, both or none are
                given, relative comes without tol, or norm is another word.
            TypeError: tol is no real number, max_neurons no integer, or ranks pass different ones.
        """
        with together(self.comm):
            check_aim(tol, max_neurons, relative, norm)
        self._require_alike((tol, max_neurons, relative, norm))
        sizes = self._sizes(norm)
        ranking = Ranking.of(sizes[0][self.window.owned(self.grid)], self._spread)
        if tol is not None:
            limit = tol * (self._error(norm, sizes, np.inf) if relative else 1.0)
            number = ranking.first(
                lambda threshold: self._error(norm, sizes, threshold) <= limit, ranking.total
            )
        else:
            assert max_neurons is not None
            number = self._affordable(ranking, sizes[0], int(max_neurons))
        threshold = ranking.threshold(number)
        return self._surrogate(lambda size, level: size >= threshold, sizes)

    def _affordable(self, ranking: Ranking, sizes: npt.NDArray, max_neurons: int) -> int:
        """How many of the largest coefficients make at most so many neurons."""
        stop = min(max_neurons, ranking.total) + 1
        candidates = np.flatnonzero(sizes >= max(ranking.threshold(stop - 1), np.nextafter(0, 1)))
        vertices = self.window.grid_numbers(self.grid, candidates)

        def too_many(threshold: float) -> bool:
            kept = vertices[sizes[candidates] >= threshold]
            lines = lines_in_use(self.grid, level_hats(self.grid, self.levels, kept))
            lines = lines if self._spread is None else any_of(self._spread, lines)
            return np.count_nonzero(lines) + ranking.number_from(threshold) > max_neurons

        return ranking.first(too_many, stop) - 1

    @property
    def _spread(self) -> MPI.Comm | None:
        """The communicator to ask for what this rank does not hold."""
        return None if self.blocks is None else self.comm

    def _require_alike(self, arguments: object) -> None:
        if self.comm is not None:
            require_alike(self.comm, arguments, "arguments")

    @cached_property
    def _parts(self) -> list[_Part]:
        """The coefficients of this window, and those of the coarse grid if it is shared."""
        vertices = [self.window.vertices(self.grid)]
        rows = [np.atleast_2d(self.surpluses)]
        if self.coarse is not None:
            vertices.append(numbers_in_finer(self.grid, self.nesting.unit))
            rows.append(self.coarse)
        return [
            _Part(part, *levels_and_stars(self.grid, self.levels, numbers))
            for part, numbers in zip(rows, vertices, strict=True)
        ]

    def _sizes(self, norm: Norm) -> list[npt.NDArray[np.float64]]:
        """How large the coefficients of each part are, shape (n,) each."""
        sizes = [np.abs(part.rows).max(axis=0).astype(np.float64) for part in self._parts]
        if norm == "sup":
            return sizes
        weights = hat_seminorms(self.grid)
        return [s * weights[part.star] for s, part in zip(sizes, self._parts, strict=True)]

    def _nodal(self, chosen: _Choice, sizes: list[npt.NDArray]) -> npt.NDArray:
        """Nodal values (k, n) of the sum of some coefficients."""
        rows = [
            np.where(chosen(size, part.level), part.rows, part.rows.dtype.type(0))
            for size, part in zip(sizes, self._parts, strict=True)
        ]
        return self.nesting.join(rows[0], rows[1] if len(rows) > 1 else None)

    def _error(self, norm: Norm, sizes: list[npt.NDArray], threshold: float) -> float:
        """The error of dropping all coefficients below a threshold."""
        dropped = self._nodal(lambda size, level: size < threshold, sizes)
        return self._h1(dropped) if norm == "H1" else self._sup(dropped)

    def _sup(self, nodal: npt.NDArray) -> float:
        own = float(np.abs(nodal).max(initial=0))
        return own if self._spread is None else largest(self._spread, own)

    def _h1(self, nodal: npt.NDArray) -> float:
        return h1_seminorm(self.grid, self.window, nodal, self._spread)

    def _surrogate(self, chosen: _Choice, sizes: list[npt.NDArray]) -> Surrogate:
        kept = [chosen(size, part.level) for size, part in zip(sizes, self._parts, strict=True)]
        dropped = self._nodal(lambda size, level: ~chosen(size, level), sizes)
        number, most = self._tally(kept[0])
        vertices, rows = self._collected(kept)
        roundoff = 1 + 4 * (self.levels + 1) * float(np.finfo(self.dtype).eps)
        return Surrogate(
            self.grid,
            self.levels,
            vertices,
            rows[0] if self.surpluses.ndim == 1 else rows,
            kept=tuple(int(n) for n in number),
            error=self._sup(dropped),
            bound=float(most[0].sum()) * roundoff,
            h1_error=self._h1(dropped),
            ceiling=float(most[1].sum()) * roundoff,
            comm=self.comm,
            blocks=self.blocks,
        )

    def _tally(self, kept: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
        """By level: how many are kept; the largest dropped, the largest kept. Of all ranks."""
        number, most = np.zeros(self.levels + 1, np.int64), np.zeros((2, self.levels + 1))
        own, sizes = self.window.owned(self.grid), self._sizes("sup")[0]
        surplus.tally(self._parts[0].level, sizes, kept, own, number, most)
        if self._spread is None:
            return number, most
        found = self._spread.allgather((number, most))
        return sum(n for n, _ in found), np.max([m for _, m in found], axis=0)

    def _collected(
        self, kept: list[npt.NDArray[np.bool_]]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
        """Kept vertices, increasing, and their coefficients (k, n): of this window and shared."""
        window, *shared = self._parts
        inside = kept[0] & (window.level > self.nesting.outer) if shared else kept[0]
        places = np.flatnonzero(inside)
        vertices, rows = self.window.grid_numbers(self.grid, places), window.rows[:, places]
        if shared:
            numbers = numbers_in_finer(self.grid, self.nesting.unit)[kept[1]]
            vertices = np.concatenate([vertices, numbers])
            rows = np.concatenate([rows, shared[0].rows[:, kept[1]]], axis=1)
        order = np.argsort(vertices)
        return vertices[order], rows[:, order]


#: Which coefficients, from their sizes and levels.
_Choice = Callable[[npt.NDArray, npt.NDArray], npt.NDArray[np.bool_]]
