# SPDX-License-Identifier: MIT
"""P2 functions on structured meshes as deep ReLU networks."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property, partial
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from fe_relu import kernels, p2_kernels
from fe_relu.blocks import Window
from fe_relu.fields import GridNetwork
from fe_relu.grid import Grid
from fe_relu.intervals import Box
from fe_relu.network import ReLUNetwork
from fe_relu.p2_layers import explicit_layers
from fe_relu.parallel import largest
from fe_relu.quadratic import Edges, Nodes, largest_bump, surpluses
from fe_relu.tables import Located, Table

#: From here on the error of products is below the roundoff of float64.
MAX_LEVELS = 26


@dataclass(frozen=True, eq=False)
class P2Table(Table):
    """Nodal values and surpluses of a P2 function as `fe_relu.p2_kernels` reads them.

    Args:
        grid: As for `Table`.
        window: As for `Table`.
        entries: Shape (k, records · numbers in a record).
        levels: Of the network.
    """

    levels: int

    @staticmethod
    def from_nodes(grid: Grid, window: Window, nodes: Nodes, edges: Edges, levels: int) -> P2Table:
        (nx, ny), record = window.shape, p2_kernels.RECORD[grid.has_centres]
        table = np.zeros((len(nodes.vertices), ny + 3, nx + 3, record), nodes.vertices.dtype)
        if nx > 0:
            table[:, 1:-1, 1:-1, 0] = nodes.vertices
            table[:, 1:-1, 1:-2, 1] = edges.right
            table[:, 1:-2, 1:-1, 2] = edges.up
            table[:, 1:-2, 1:-2, 3] = nodes.middle if edges.diagonal is None else edges.diagonal
            for k, spoke in enumerate(edges.spokes):
                table[:, 1:-2, 1:-2, 4 + k] = spoke
        return P2Table(grid, window, table.reshape(len(table), -1), levels)

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
        """Values at points (2, n), computed in dtype, shape (k, n)."""
        out = np.empty((len(self.entries), x.shape[1]), dtype)
        return self._run(partial(p2_kernels.evaluate, self._scale(out.dtype)), x, out)

    def gradient(self, x: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
        """Gradients at points (2, n), computed in dtype, shape (k, 2, n)."""
        out = np.empty((len(self.entries), 2, x.shape[1]), dtype)
        return self._run(partial(p2_kernels.gradient, self._scale(out.dtype)), x, out)

    def values_at(self, points: Located) -> npt.NDArray:
        """Values at located points, shape (k, n)."""
        out = np.empty((len(self.entries), points.high.size), points.high.dtype)
        p2_kernels.combine_located(
            points.first,
            points.middle,
            points.last,
            points.high,
            points.low,
            kernels.Place.of(self.window),
            kernels.CUTS[self.grid.diagonal],
            self._scale(out.dtype),
            self.entries,
            out,
        )
        return out

    def _scale(self, dtype: np.dtype) -> np.floating:
        return dtype.type(2.0**self.levels)


@dataclass(frozen=True, eq=False)
class P2Network(GridNetwork):
    """The P1 interpolant of a P2 function on its mesh refined `levels` times, as a deep network.

    Each edge adds a product of two hats to the P1 part, and each product is a ReLU network whose
    error falls fourfold with every layer (He, Li, Xu 2021, section 3). The hidden layers are the
    mesh lines, the hats, and `levels` + 1 more of constant width.

    Nodes are the vertices and the midpoints of edges, numbered as the vertices of the grid refined
    by two. At all of them the network has the nodal values. See `GridNetwork` for the other
    arguments and errors.

    Args:
        levels: How often triangles are refined, from 1 to `MAX_LEVELS`.

    Raises:
        ValueError: levels is out of range.
        TypeError: levels is no integer.
    """

    _: KW_ONLY
    levels: int = 10

    degree = 2
    steepness = 34.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_levels(self.levels)

    @property
    def _nodes(self) -> Nodes:
        return Nodes.of(self.window, np.atleast_2d(self.values), self.grid.has_centres)

    @property
    def _edges(self) -> Edges:
        return surpluses(self.grid, self.window, self._nodes)

    @cached_property
    def table(self) -> Table:
        """The nodal values and surpluses of the window as evaluation reads them."""
        return P2Table.from_nodes(self.grid, self.window, self._nodes, self._edges, self.levels)

    @cached_property
    def error_bound(self) -> float:
        """Sup over the mesh of |network − P2 function|, and all components.

        4^−levels times that for the P1 part alone. It is attained, and no bound could be smaller;
        roundoff of evaluation is not in it. Collective if the values are spread in blocks.
        """
        own = 4.0**-self.levels * largest_bump(self._edges)
        return own if self.blocks is None or self.comm is None else largest(self.comm, own)

    def bounds(self, box: Box | None = None) -> NoReturn:
        """Raises the TypeError that says whose bounds are known."""
        raise TypeError(
            "a P2Network has no exact bounds; explicit().bounds(box) enclose its values by "
            "interval arithmetic"
        )

    def explicit(self) -> ReLUNetwork:
        """The same function as affine layers with a ReLU after all but the last.

        Hidden layers: the lines of the mesh; one hat per vertex; then `levels` + 1 layers of two
        neurons for each vertex and each edge, and two for each output. Layers are of the dtype of
        the values. Collective if the values are spread in blocks; every rank then gets the whole.

        Raises:
            ValueError: There would be more than `fe_relu.p2_layers.MAX_NEURONS` neurons.
        """
        whole = self if self.blocks is None else self.gather()
        return explicit_layers(whole.grid, np.atleast_2d(whole.values), self.levels)


def checked_levels(levels: int) -> None:
    """Raises unless levels is an integer from 1 to `MAX_LEVELS`."""
    if isinstance(levels, bool) or not isinstance(levels, int | np.integer):
        raise TypeError(f"levels must be an integer, not {levels!r}")
    if not 1 <= levels <= MAX_LEVELS:
        raise ValueError(
            f"levels must be from 1 to {MAX_LEVELS}, not {levels}; 1 keeps values at midpoints, "
            f"{MAX_LEVELS} makes the error less than roundoff"
        )
