# SPDX-License-Identifier: MIT
"""Small networks with a proven error: sums of a few hats on nested meshes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.hierarchy.nested import (
    Nesting,
    coarsened,
    level_hats,
    levels_and_stars,
    nested_levels,
    numbers_in_coarser,
)
from fe_relu.layers.affine import Affine
from fe_relu.layers.network import ReLUNetwork
from fe_relu.meshes.grid.grid import Grid
from fe_relu.meshes.grid.hats import hidden_layers
from fe_relu.meshes.grid.locate import lattice_point, unpacked
from fe_relu.meshes.grid.table import lattice_frame
from fe_relu.meshes.grid.window import Window
from fe_relu.meshes.mesh import Answers, Table
from fe_relu.networks.nodal import (
    Outside,
    answers,
    checked_values,
    facts_of,
    layout_of,
    mesh_of,
    table_values,
    whole_of,
)
from fe_relu.networks.on_mesh import OnMesh
from fe_relu.networks.p1 import P1Network
from fe_relu.parallel.agreement import rank_of
from fe_relu.parallel.layouts import Alone, Layout, checked_root

#: Numbers of vertices are kept in 64 bits, and products of them in float64, which has so many.
MAX_VERTICES = 1 << 53


@dataclass(frozen=True, eq=False)
class Surrogate(OnMesh):
    """Σ coefficient · hat over the kept vertices, each hat on the mesh of the level of its vertex.

    A ReLU network with two hidden layers, everywhere on ℝ²: hats of vertices on the boundary reach
    as far beyond it as one step of their level. `HierarchicalNetwork.truncate` and `.compress` make
    surrogates and know what they approximate: u.

    Args:
        mesh: The grid of u.
        levels: How often the coarsest mesh was halved to get it.
        vertices: Numbers in the mesh of the kept vertices, increasing, shape (n,). Where they are
            spread, those of this rank's window and, of levels that are split on all ranks alike,
            all of them.
        coefficients: Shape (n,), or (k, n) for a vector function.
        kept: How many coefficients are kept of each level, on all ranks, shape (levels + 1,).
        error: Sup |surrogate − u| over the mesh and all components. Roundoff of the transform is
            not in it: a few eps of max |u|, which is what remains where tol is smaller.
        bound: Σ over levels of the largest dropped |coefficient|; error is at most this.
        h1_error: The H¹ seminorm of surrogate − u over the mesh.
        ceiling: |surrogate| is nowhere larger than this.
        layout: Where coefficients live, as for `P1Network`.

    Raises:
        ValueError: vertices or coefficients have another shape, or are not of the grid or finite;
            kept does not count them; an error is negative; or the grid has more than 2⁵³ vertices.
        TypeError: coefficients are not float32 or float64.

    Examples:
        >>> import numpy as np, fe_relu
        >>> from fe_relu.hierarchy import hierarchical_from_network
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (64, 64), "right")
        >>> u = fe_relu.P1Network(grid, np.exp(-grid.vertices()[0]))
        >>> small = hierarchical_from_network(u).compress(tol=1e-2)
        >>> small.num_kept < 700, small.error <= small.bound
        (True, True)
    """

    mesh: Grid
    levels: int
    vertices: npt.NDArray[np.int64]
    coefficients: npt.NDArray
    kept: tuple[int, ...]
    error: float
    bound: float
    h1_error: float
    ceiling: float
    layout: Layout = Alone()  # noqa: RUF009  (frozen)

    degree = 1
    steepness = 4.0
    other_forms = ("to_p1", "explicit")
    coefficients_in = "coefficients"

    def __post_init__(self) -> None:
        vertices = np.array(self.vertices, np.int64)
        if self.mesh.num_vertices > MAX_VERTICES:
            raise ValueError(f"a surrogate's mesh has at most {MAX_VERTICES} vertices")
        if vertices.ndim != 1:
            raise ValueError(f"kept vertices must have shape (n,), not {vertices.shape}")
        inside = (vertices >= 0) & (vertices < self.mesh.num_vertices)
        if not inside.all() or (np.diff(vertices) <= 0).any():
            raise ValueError("kept vertices must be numbers of the mesh's vertices, increasing")
        coefficients = checked_values(self.coefficients, vertices.size, "coefficients")
        if not all(e >= 0 for e in (self.error, self.bound, self.h1_error, self.ceiling)):
            raise ValueError("errors and bounds of a surrogate must be at least 0")
        vertices.flags.writeable = False
        object.__setattr__(self, "levels", nested_levels(self.mesh, self.levels))
        self._require_count(vertices)
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "coefficients", coefficients)

    def _require_count(self, vertices: npt.NDArray[np.int64]) -> None:
        """Raises unless kept says how many vertices there are of each level."""
        level, _ = levels_and_stars(self.mesh, self.levels, vertices)
        found = tuple(map(int, np.bincount(level, minlength=self.levels + 1)))
        whole = not self.layout.is_spread
        if len(self.kept) != len(found) or (whole and tuple(self.kept) != found):
            raise ValueError(
                f"kept must say how many vertices there are of each of {len(found)} levels, not "
                f"{self.kept!r:.80}"
            )

    @property
    def size(self) -> float:
        """|surrogate| is nowhere larger."""
        return self.ceiling

    @property
    def num_kept(self) -> int:
        """Number of kept coefficients, that is of second-layer neurons; on all ranks."""
        return sum(self.kept)

    def __call__(self, x: npt.ArrayLike, *, outside: Outside = "extend") -> npt.NDArray:
        """Values at the columns of x. Collective over `comm`, as for `P1Network`.

        All levels are summed into nodal values, at the first call, and cost three loads for each
        point together; beyond the mesh, each level is looked up on its own.

        Args:
            x: Coordinates, shape (2, n) or (3, n); a third row is constant.
            outside: As for `P1Network`; "extend" is what the explicit network does.

        Returns:
            Shape (n,) if there is one output, else (k, n); of the wider dtype of the coefficients
            and of this rank's points.

        Raises:
            ValueError: As for `P1Network`.
            TypeError: x does not hold real numbers.

        Examples:
            >>> import numpy as np, fe_relu
            >>> grid = fe_relu.Grid((0, 0), np.eye(2), (4, 4), "right")
            >>> hat = fe_relu.HierarchicalNetwork(grid, 2, np.eye(25)[12]).compress(tol=0.1)
            >>> hat([[2.0, 1.0], [2.0, 2.0]])  # two steps wide: new on a mesh of spacing 2
            array([1. , 0.5])
        """
        values = answers(self, table_values, x, outside)
        return values[0] if self.dim_out == 1 else values

    @cached_property
    def window(self) -> Window:
        """The cells whose coefficients this rank holds."""
        return self.layout.part(self.mesh)

    @cached_property
    def table(self) -> SurrogateTable:
        return SurrogateTable(self)

    @cached_property
    def nesting(self) -> Nesting:
        """The levels, as this rank's window has them."""
        return Nesting.of(self.window, self.levels)

    def to_p1(self) -> P1Network:
        """The P1 network with the same values on the mesh.

        Outside it continues otherwise: on a ring of one cell of the fine mesh.
        """
        nodal = self.nodal()
        rows = nodal[0] if self.coefficients.ndim == 1 else nodal
        return P1Network(self.mesh, rows, self.layout)

    def nodal(self) -> npt.NDArray:
        """Nodal values (k, n) in this rank's window."""
        nesting = self.nesting
        level, _ = levels_and_stars(self.mesh, self.levels, self.vertices)
        rows = np.atleast_2d(self.coefficients)
        everywhere = (level <= nesting.outer) & nesting.is_shared
        coarse = None
        if nesting.is_shared:
            numbers = numbers_in_coarser(self.mesh, nesting.unit, self.vertices[everywhere])
            coarse = np.zeros((len(rows), nesting.coarse.num_vertices), self.dtype)
            coarse[:, numbers] = rows[:, everywhere]
        values = np.zeros((len(rows), self.window.num_vertices), self.dtype)
        places = self.window.local_numbers(self.vertices[~everywhere])
        values[:, places] = rows[:, ~everywhere]
        return nesting.join(values, coarse)

    def functions(self, *, beyond: bool = False) -> Iterator[tuple[Window, npt.NDArray]]:
        """P1 functions on meshes of several levels, of which this is the sum everywhere.

        Each is the window of a level's mesh that this rank holds, the whole one of levels that all
        ranks hold alike, and its nodal values (k, n) there.

        Args:
            beyond: Only those that are not zero beyond the mesh, where hats of inner vertices are.
        """
        level, _ = levels_and_stars(self.mesh, self.levels, self.vertices)
        rows = np.atleast_2d(self.coefficients)
        chosen = level[self._on_border] if beyond else level
        for at in [int(at) for at in np.unique(chosen)] or [0]:
            shared = self.nesting.is_shared and at <= self.nesting.outer
            mesh = self.nesting.up_to(max(at, self.nesting.outer)).window
            factor = 1 << (self.levels - at)
            window = coarsened(self.mesh, factor).whole if shared else mesh
            vertices = numbers_in_coarser(self.mesh, factor, self.vertices[level == at])
            values = np.zeros((len(rows), window.num_vertices), self.dtype)
            values[:, window.local_numbers(vertices)] = rows[:, level == at]
            yield window, values

    @property
    def _on_border(self) -> npt.NDArray[np.bool_]:
        """Which of the vertices are on the border of the mesh."""
        i, j, centre = self.mesh.places(self.vertices)
        nx, ny = self.mesh.shape
        return ~centre & ((i % nx == 0) | (j % ny == 0))

    def explicit(self) -> ReLUNetwork:
        """The same function as three affine layers with a ReLU after the first two.

        First hidden layer: the mesh lines in use, shared by all levels. Second: one hat per kept
        coefficient, in the order of their vertices. Output: the coefficients. Collective if the
        network is spread; every rank then gets the whole.
        """
        vertices, rows = self._whole()
        hidden = hidden_layers(self.mesh, self.dtype, level_hats(self.mesh, self.levels, vertices))
        return ReLUNetwork((*hidden, Affine(rows, np.zeros(len(rows), self.dtype))))

    def gather(self, root: int | None = None) -> Surrogate | None:
        """The whole surrogate as one of this process alone. Collective, as `P1Network.gather`."""
        with self.layout.together() as terms:
            root = checked_root(root, self.layout)
            terms.alike("roots", root)
            terms.all_alike(facts_of(self))
        whole = self.whole()
        return whole if root in (None, rank_of(self.comm)) else None

    def whole(self) -> Surrogate:
        """The whole surrogate, of this process alone. Collective only where it is spread."""
        vertices, rows = self._whole()
        rows = rows[0] if self.coefficients.ndim == 1 else rows
        return replace(self, vertices=vertices, coefficients=rows, layout=Alone())

    def _whole(self) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
        """All kept vertices, increasing, and their coefficients (k, n)."""
        return self.layout.collect(self.vertices, np.atleast_2d(self.coefficients))


@layout_of.register
def _(network: Surrogate) -> Layout:
    return network.layout


@mesh_of.register
def _(network: Surrogate) -> Grid:
    return network.mesh


@whole_of.register
def _(network: Surrogate, root: int | None = None) -> Surrogate | None:
    return network.whole() if root is None else network.gather(root)


@dataclass(frozen=True, eq=False)
class SurrogateTable:
    """What a rank needs to answer points, made when first asked."""

    surrogate: Surrogate

    @cached_property
    def inside(self) -> Table:
        """All levels in one, which they are on the mesh."""
        return self.surrogate.window.table(self.surrogate.nodal())

    @cached_property
    def outside(self) -> list[Table]:
        """Level by level, as hats reach beyond the mesh."""
        parts = self.surrogate.functions(beyond=True)
        return [window.table(values) for window, values in parts]

    @cached_property
    def wide(self) -> SurrogateTable:
        """The same with coefficients in float64, so that levels are summed in it."""
        wide = self.surrogate.coefficients.astype(np.float64)
        return SurrogateTable(replace(self.surrogate, coefficients=wide))

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Values at points (2, n), shape (k, n)."""
        if np.dtype(dtype) != self.surrogate.dtype:
            return self.wide.values(x, dtype)
        found = self.inside.values(x, dtype)
        beyond = np.empty(x.shape[1], np.bool_)
        mesh = self.surrogate.mesh
        if _mark_outside(x[0], x[1], lattice_frame(mesh, dtype), mesh.shape, beyond):
            away = x[:, beyond]
            parts = (table.values(away, dtype).numbers for table in self.outside)
            found.numbers[:, beyond] = sum(parts)
        return found


@compiled
def _mark_outside(x: Any, y: Any, frame: Any, shape: Any, out: Any) -> Any:
    """Writes which points are not in the closed mesh; returns how many."""
    real = frame.dtype.type
    numbers = unpacked(frame)
    first, end_i, end_j = real(1), real(shape[0] + 1), real(shape[1] + 1)
    count = 0
    for k in range(out.size):
        s, t = lattice_point(real(x[k]), real(y[k]), numbers)
        beyond = (s < first) | (s > end_i) | (t < first) | (t > end_j)
        out[k] = beyond
        count += beyond
    return count
