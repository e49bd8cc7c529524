# SPDX-License-Identifier: MIT
"""Which meshes nest: grids of twice the spacing, again and again, and who is new on which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fe_relu.basics.arguments import checked_integer
from fe_relu.hierarchy import surplus
from fe_relu.meshes.grid.grid import DIAGONALS, Grid
from fe_relu.meshes.grid.hats import STARS, Hats, Star
from fe_relu.meshes.grid.locate import CUTS, Place
from fe_relu.meshes.grid.window import Window

#: Numbers of cells have 63 bits.
MOST_LEVELS = 62

#: Diagonals whose halves are halved alike.
NESTING = tuple(name for name in DIAGONALS if name != "right_left")


def nested_levels(grid: Grid, levels: int | None) -> int:
    """How often to halve: as wanted, or (None) as often as the grid is a halved one.

    Raises:
        ValueError: The grid is not the result of that many halvings; the message says which would
            be.
        TypeError: levels is not an integer.
    """
    if levels is not None:
        levels = checked_integer("levels", levels, least=0)
    if grid.diagonal not in NESTING:
        raise ValueError(
            "right_left meshes do not nest: diagonals of coarse cells run across finer cells "
            f"cut the other way; {', '.join(NESTING)} meshes do nest"
        )
    nx, ny = grid.shape
    most = min((n & -n).bit_length() - 1 for n in grid.shape)
    if levels is None and most > 0:
        return most
    if levels is not None and levels <= most:
        return levels
    if levels is not None and levels > MOST_LEVELS:
        raise ValueError(
            f"levels must be at most {MOST_LEVELS}; {nx} x {ny} cells were halved {most} times"
        )
    unit = 2 if levels is None else 1 << levels
    wanted = "halving" if levels is None else f"halving {levels} times"
    near = [
        f"{name} = {_multiples_near(n, unit)}" for name, n in (("nx", nx), ("ny", ny)) if n % unit
    ]
    raise ValueError(
        f"{wanted} needs numbers of cells divisible by {unit}; {nx} x {ny} cells were halved "
        f"{most} times; sizes that would do: {', '.join(near)}"
    )


def checked_level(level: object, levels: int) -> int:
    level = checked_integer("a level", level)
    if not 0 <= level <= levels:
        raise ValueError(f"a level must be from 0 to {levels}, not {level}")
    return level


def _multiples_near(n: int, unit: int) -> str:
    below = n // unit * unit
    return f"{below} or {below + unit}" if below else f"{unit}"


def coarsened(grid: Grid, factor: int) -> Grid:
    """The grid on the same domain with steps longer by a factor that divides its shape."""
    nx, ny = grid.shape
    return Grid(grid.origin, grid.axes * factor, (nx // factor, ny // factor), grid.diagonal)


def coarsened_window(window: Window, factor: int) -> Window:
    """The same part of the coarsened grid."""
    (i0, j0), (ni, nj) = window.start, window.shape
    start, shape = (i0 // factor, j0 // factor), (ni // factor, nj // factor)
    return Window(coarsened(window.grid, factor), start, shape, window.unit // factor)


def numbers_in_finer(grid: Grid, factor: int) -> npt.NDArray[np.int64]:
    """The numbers that the vertices of `coarsened(grid, factor)` have in the grid."""
    (nx, ny), half = grid.shape, factor // 2
    corners = (
        np.arange(0, ny + 1, factor)[:, None] * (nx + 1) + np.arange(0, nx + 1, factor)
    ).ravel()
    if not grid.has_centres:
        return corners
    if factor == 1:
        return np.arange(grid.num_vertices)
    rows, columns = np.arange(half, ny, factor), np.arange(half, nx, factor)
    return np.concatenate([corners, (rows[:, None] * (nx + 1) + columns).ravel()])


def numbers_in_coarser(
    grid: Grid, factor: int, vertices: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The numbers in `coarsened(grid, factor)` of vertices of the grid that it has."""
    if factor == 1:
        return vertices
    nx, ny = grid.shape[0] // factor, grid.shape[1] // factor
    i, j, _ = grid.places(vertices)
    p, q = i // factor, j // factor
    return np.where(i % factor == 0, q * (nx + 1) + p, (nx + 1) * (ny + 1) + q * nx + p)


def levels_and_stars(
    grid: Grid, levels: int, vertices: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The level at which each vertex is new, and its star's place in `STARS`; shape (n,) both."""
    level, star = np.empty((2, vertices.size), np.uint8)
    surplus.classify(vertices, grid.shape, grid.has_centres, levels, level, star)
    return level, star


def star_of(grid: Grid, number: int) -> Star:
    star = STARS[grid.diagonal][number]
    assert star is not None
    return star


def level_hats(grid: Grid, levels: int, vertices: npt.NDArray[np.int64]) -> list[Hats]:
    """The hats of vertices, neuron n that of vertices[n], each on the mesh where it is new."""
    level, star = levels_and_stars(grid, levels, vertices)
    positions = grid.lattice_positions(vertices)
    return [
        Hats(star_of(grid, which), 1 << (levels - at), neurons, positions[:, neurons])
        for at in range(levels + 1)
        for which in range(3)
        if (neurons := np.flatnonzero((level == at) & (star == which))).size
    ]


@dataclass(frozen=True)
class Nesting:
    """How nodal values on a window of a grid become surpluses.

    The finest `inner` levels are split inside of the window, which is cut at multiples of the unit
    2^inner. What is left are the nodal values of the grid coarsened by the unit; to halve it
    further takes all of them. Where the window is the whole grid, nothing is left.

    Args:
        window: The part of the grid that values are of.
        levels: How often the grid is halved.
        inner: Levels split in the window.
    """

    window: Window
    levels: int
    inner: int

    @staticmethod
    def of(window: Window, levels: int) -> Nesting:
        """That of a window, from the multiples at which the grid is cut."""
        unit = window.unit or 1 << levels
        return Nesting(window, levels, min(levels, (unit & -unit).bit_length() - 1))

    def up_to(self, level: int) -> Nesting:
        """That of the mesh of a level, not below the outer ones, on the same part of the domain."""
        dropped = self.levels - level
        return Nesting(coarsened_window(self.window, 1 << dropped), level, self.inner - dropped)

    @property
    def grid(self) -> Grid:
        """The whole grid."""
        return self.window.grid

    @property
    def is_shared(self) -> bool:
        """Whether there is a coarse grid that all ranks have and split alike."""
        return self.outer > 0

    @property
    def outer(self) -> int:
        """Levels that are split on the whole coarse grid."""
        return self.levels - self.inner

    @property
    def unit(self) -> int:
        return 1 << self.inner

    @cached_property
    def coarse(self) -> Grid:
        """The grid that is left to split."""
        return coarsened(self.grid, self.unit)

    @cached_property
    def shared(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Vertices of the coarse grid in the window: their numbers there, and in the window."""
        numbers = coarsened_window(self.window, self.unit).numbers()
        finer = numbers_in_finer(self.grid, self.unit)[numbers]
        return numbers, self.window.local_numbers(finer)

    def split(self, values: npt.NDArray, coarse: npt.NDArray | None) -> None:
        """Nodal values (k, n) of the window to surpluses, in place.

        So are those of the whole coarse grid (k, m), which are needed if it is shared.
        """
        whole = self.coarse.whole
        if coarse is not None:
            finest = max(0, surplus.UNSETTLED - self.inner)
            self._run(surplus.settle, coarse, whole, self.outer, finest)
            self._spread(coarse, values)
        self._run(surplus.settle, values, self.window, self.inner, surplus.UNSETTLED)
        self._run(surplus.split, values, self.window, self.inner)
        if coarse is not None:
            self._run(surplus.split, coarse, whole, self.outer)
            self._spread(coarse, values)

    def join(self, values: npt.NDArray, coarse: npt.NDArray | None) -> npt.NDArray:
        """Nodal values of the window from its surpluses, and those of the coarse grid if any.

        In place, in both.
        """
        if coarse is not None:
            self._run(surplus.join, coarse, self.coarse.whole, self.outer)
            self._spread(coarse, values)
        self._run(surplus.join, values, self.window, self.inner)
        return values

    def _spread(self, coarse: npt.NDArray, values: npt.NDArray) -> None:
        numbers, places = self.shared
        values[:, places] = coarse[:, numbers]

    def _run(
        self, kernel: Callable, values: npt.NDArray, window: Window, levels: int, *more: int
    ) -> None:
        if values.shape[1] == 0:
            return
        for component in values:
            kernel(component, Place.of(window), CUTS[self.grid.diagonal], levels, *more)
