# SPDX-License-Identifier: MIT
"""P1 functions in the hierarchical basis: dropping small coefficients makes small networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu.hierarchy import compression
from fe_relu.hierarchy.nested import (
    Nesting,
    checked_level,
    levels_and_stars,
    nested_levels,
    numbers_in_finer,
)
from fe_relu.meshes.grid.grid import Grid, on_grid
from fe_relu.meshes.grid.window import Window
from fe_relu.networks.nodal import checked_values, layout_of, mesh_of
from fe_relu.networks.on_mesh import OnMesh
from fe_relu.networks.p1 import P1Network
from fe_relu.parallel.layouts import Alone, Layout

if TYPE_CHECKING:
    from fe_relu.hierarchy.compression import Norm
    from fe_relu.hierarchy.surrogate import Surrogate


@dataclass(frozen=True, eq=False)
class HierarchicalNetwork(OnMesh):
    """A P1 function as Σ coefficient · hat, each hat on the coarsest of nested meshes that has it.

    Coefficients are nodal values on the coarsest mesh, level 0, and surpluses on those of level 1
    to `levels`: u at a vertex minus the mean of u at the ends of the edge that it halves. Where u
    is smooth they fall by four from level to level, so that few of them matter.

    Args:
        mesh: The grid of the finest level.
        levels: How often the coarsest mesh is halved to get it.
        surpluses: The coefficients in the mesh's vertex order, shape (n,) or (k, n). Where they are
            spread, those of this rank's window.
        layout: Where they live, as for `P1Network`.
        coarse: Coefficients that all ranks need, (k, m), of the levels that no window halves.

    Raises:
        ValueError: surpluses have another shape or are not finite, or the grid is not one halved so
            often.
        TypeError: surpluses are not float32 or float64.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right")
        >>> hat = fe_relu.HierarchicalNetwork(grid, 1, np.eye(9)[4])
        >>> hat.to_p1().values[4], hat.vertices(0)
        (np.float64(1.0), array([0, 2, 6, 8]))
    """

    mesh: Grid
    levels: int
    surpluses: npt.NDArray
    layout: Layout = Alone()  # noqa: RUF009  (frozen)
    coarse: npt.NDArray | None = field(default=None, repr=False)

    other_forms = ("to_p1", "compress")
    coefficients_in = "surpluses"

    def __post_init__(self) -> None:
        on_grid(self.mesh, "the hierarchical basis")
        object.__setattr__(self, "levels", nested_levels(self.mesh, self.levels))
        count = self.window.num_vertices
        object.__setattr__(self, "surpluses", checked_values(self.surpluses, count, "surpluses"))

    @cached_property
    def window(self) -> Window:
        """The cells whose coefficients this rank holds."""
        return self.layout.part(self.mesh)

    @cached_property
    def nesting(self) -> Nesting:
        """The levels, as this rank's window has them."""
        return Nesting.of(self.window, self.levels)

    def vertices(self, level: int) -> npt.NDArray[np.int64]:
        """Numbers in the mesh of the vertices that are new at a level; of this rank's window."""
        return self.window.whole_numbers(self._at(level))

    def coefficients(self, level: int) -> npt.NDArray:
        """The coefficients of `vertices(level)`, shape (n,) or (k, n)."""
        return self.surpluses[..., self._at(level)]

    def _at(self, level: int) -> npt.NDArray[np.int64]:
        return np.flatnonzero(self.parts[0].level == checked_level(level, self.levels))

    def to_p1(self) -> P1Network:
        """The function by its nodal values: the inverse transform."""
        coarse = None if self.coarse is None else self.coarse.copy()
        nodal = self.nesting.join(np.atleast_2d(self.surpluses).copy(), coarse)
        nodal = nodal[0] if self.surpluses.ndim == 1 else nodal
        return P1Network(self.mesh, nodal, self.layout)

    def truncate(self, *, levels: int) -> Surrogate:
        """The interpolant of u on the mesh of a level: all coefficients up to that one. Collective.

        Coefficients that are zero need no neuron and are not kept.

        Args:
            levels: From 0 to the number of levels, which leaves u as it is.

        Raises:
            ValueError: There is no such level.
            TypeError: levels is not an integer, or ranks pass different ones.

        Examples:
            >>> import numpy as np, fe_relu
            >>> grid = fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right")
            >>> fe_relu.HierarchicalNetwork(grid, 1, np.ones(9)).truncate(levels=0).num_kept
            4
        """
        return compression.truncated(self, levels)

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

        Examples:
            >>> import numpy as np, fe_relu
            >>> grid = fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right")
            >>> h = fe_relu.HierarchicalNetwork(grid, 1, np.arange(9) / 8)
            >>> small = h.compress(tol=0.3)
            >>> small.kept, small.error
            ((2, 4), 0.25)
        """
        return compression.compressed(self, tol, max_neurons, relative, norm)

    @cached_property
    def parts(self) -> list[compression.Part]:
        """The coefficients of this window, and those of the coarse mesh if it is shared."""
        vertices = [self.window.numbers()]
        rows = [np.atleast_2d(self.surpluses)]
        if self.coarse is not None:
            vertices.append(numbers_in_finer(self.mesh, self.nesting.unit))
            rows.append(self.coarse)
        return [
            compression.Part(part, *levels_and_stars(self.mesh, self.levels, numbers))
            for part, numbers in zip(rows, vertices, strict=True)
        ]


@layout_of.register
def _(network: HierarchicalNetwork) -> Layout:
    return network.layout


@mesh_of.register
def _(network: HierarchicalNetwork) -> Grid:
    return network.mesh
