# SPDX-License-Identifier: MIT
"""P1 functions on structured meshes as two-hidden-layer ReLU networks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import numpy as np
import numpy.typing as npt

from fe_relu.blocks import Blocks, Window
from fe_relu.grid import Grid
from fe_relu.hats import hidden_layers, mesh_hats
from fe_relu.network import Affine, ReLUNetwork
from fe_relu.parallel import gather_columns, largest, together
from fe_relu.points import real_points, require_finite
from fe_relu.redistribute import fetch
from fe_relu.routing import Ask, Plan, answers
from fe_relu.tables import Table

if TYPE_CHECKING:
    from mpi4py import MPI

Outside = Literal["extend", "nan", "raise"]


class NodalSource(Protocol):
    """Where new nodal values come from, in the vertex order of the window."""

    def values(self, u: Any) -> npt.NDArray: ...


@dataclass(frozen=True, eq=False)
class P1Network:
    """The P1 function with nodal values on a grid: a ReLU network with two hidden layers.

    On ℝ² outside the mesh it goes on as the network does: linearly down to zero on a ring of one
    cell, then exactly zero. See `fe_relu.hats` for the formulas.

    Args:
        grid: The structured mesh.
        values: Nodal values in the grid's vertex order, shape (num_vertices,) for a scalar
            network, (k, num_vertices) for one with k ≥ 1 outputs; float32 or float64. Where
            `blocks` are given, those of this rank's window only, in its vertex order.
        comm: The communicator whose ranks hold this network and call it together; None for a
            network of this process alone.
        blocks: How the nodal values are spread over the ranks; None where each has all of them.

    Raises:
        ValueError: values have another shape or are not finite.
        TypeError: values are not float32 or float64.
    """

    grid: Grid
    values: npt.NDArray
    comm: MPI.Comm | None = None
    blocks: Blocks | None = None
    source: NodalSource | None = field(default=None, repr=False)
    #: The last network that `update` made, shared by all that stem from one conversion; for plans.
    newest: list[P1Network] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        values = np.array(self.values)
        if values.dtype not in (np.float32, np.float64):
            raise TypeError(f"nodal values must be float32 or float64, not {values.dtype}")
        count = self.window.num_vertices(self.grid.has_centres)
        if values.ndim not in (1, 2) or values.shape[-1] != count or values.shape == (0, count):
            raise ValueError(
                f"nodal values must have shape ({count},) or (k, {count}), not {values.shape}"
            )
        if not np.isfinite(values).all():
            bad = np.count_nonzero(~np.isfinite(values))
            raise ValueError(f"{bad} of {values.size} nodal values are NaN or infinite")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    @property
    def dim_in(self) -> int:
        return 2

    @property
    def dim_out(self) -> int:
        return 1 if self.values.ndim == 1 else len(self.values)

    @property
    def dtype(self) -> np.dtype:
        return self.values.dtype

    @property
    def window(self) -> Window:
        """The cells whose nodal values this rank holds."""
        if self.blocks is None or self.comm is None:
            return Window((0, 0), self.grid.shape)
        return self.blocks.window(self.comm.rank)

    @cached_property
    def size(self) -> float:
        """Max |nodal value|. Collective if the values are spread in blocks."""
        own = float(np.abs(self.values).max(initial=0))
        return own if self.blocks is None or self.comm is None else largest(self.comm, own)

    @cached_property
    def table(self) -> Table:
        """The nodal values of the window as evaluation reads them."""
        return Table.of(self.grid, self.window, np.atleast_2d(self.values))

    def __call__(self, x: npt.ArrayLike, *, outside: Outside = "extend") -> npt.NDArray:
        """Values at the columns of x. Collective over `comm`.

        Each rank passes its own points, any number, also none, anywhere, and gets their values in
        its order, the same bits on any number of ranks and in any layout.

        Args:
            x: Coordinates, shape (2, n) or (3, n); the third row is ignored.
            outside: What holds outside the mesh: "extend" is what the explicit network does,
                "nan" gives NaN, "raise" raises. Points within `Grid.resolution` are inside.

        Returns:
            Shape (n,) if there is one output, else (k, n); of the wider dtype of the values and of
            this rank's points.

        Raises:
            ValueError: x has another shape, a NaN or infinite coordinate, or (outside="raise") a
                point outside; on every rank, naming the first such rank.
            TypeError: x does not hold real numbers.
        """
        values = self._asked(x, outside, Table.values)
        return values[0] if self.dim_out == 1 else values

    def gradient(self, x: npt.ArrayLike, *, outside: Outside = "extend") -> npt.NDArray:
        """The gradient at the columns of x, constant on each cell. Collective, see `__call__`.

        On edges and vertices, where the network has a kink, it is the gradient of one cell that
        meets there: the one whose value evaluation takes, always the same for the same coordinates.
        Outside the mesh it is that of the ring of one cell, then zero.

        Args:
            x: Coordinates, as for `__call__`.
            outside: As for `__call__`.

        Returns:
            Shape (2, n) if there is one output, else (k, 2, n), per unit of the coordinates.

        Raises:
            ValueError: As for `__call__`.
            TypeError: As for `__call__`.
        """
        slopes = self._asked(x, outside, Table.gradient)
        return slopes[0] if self.dim_out == 1 else slopes

    def plan(self, x: npt.ArrayLike) -> Plan:
        """Evaluation at the same points again and again: routing and location done once.

        Collective. `plan()` gives the values of the newest network that `update` has made from this
        one; `plan(network)` those of any network of the same grid and layout.

        Args:
            x: Coordinates, as for `__call__`.

        Raises:
            ValueError: As for `__call__`.
            TypeError: As for `__call__`.
        """
        with together(self.comm):
            x = real_points(x, 2)
        return Plan.of(self, x)

    def _asked(self, x: npt.ArrayLike, outside: Outside, ask: Ask) -> npt.NDArray:
        with together(self.comm):
            x = real_points(x, 2)
            masked = outside_mask(self.grid, x, outside)
        found = answers(self, x, ask)
        if masked is not None:
            found[..., masked] = np.nan
        return found

    def values_at_vertices(self, vertices: npt.NDArray[np.int64]) -> npt.NDArray:
        """Nodal values at any vertices of the grid, shape (k, n). Collective."""
        values = np.atleast_2d(self.values)
        if self.blocks is None or self.comm is None:
            return values[:, vertices]
        return fetch(self.comm, self.grid, self.blocks, values, vertices)

    def explicit(self) -> ReLUNetwork:
        """The same function as three affine layers with a ReLU after the first two.

        First hidden layer: the lines of the mesh. Second: one hat per vertex. Output: the nodal
        values. Layers are of the dtype of the values. Collective if the values are spread in
        blocks; every rank then gets the whole.
        """
        whole = self if self.blocks is None else self.gather()
        values = np.atleast_2d(whole.values)
        output = Affine(values, np.zeros(len(values), self.dtype))
        hidden = hidden_layers(self.grid, self.dtype, mesh_hats(self.grid))
        return ReLUNetwork((*hidden, output))

    def update(self, u: Any) -> P1Network:
        """The network of another function on the same mesh, at the cost of copying its values.

        For time steps. Collective. Hidden layers stay; only the output layer is new.

        Args:
            u: A `dolfinx.fem.Function` on the mesh this network came from; cheapest when it is of
                the same function space.

        Raises:
            ValueError: u is not P1 or lives on another mesh, or this network does not come from a
                function.
        """
        if self.source is None:
            raise ValueError("only a network that network_from_function made can be updated")
        values = self.source.values(u)
        with together(self.comm):
            updated = replace(self, values=values)
        self.newest[:] = [updated]
        return updated

    @overload
    def gather(self, root: None = None) -> P1Network: ...
    @overload
    def gather(self, root: int) -> P1Network | None: ...
    def gather(self, root: int | None = None) -> P1Network | None:
        """The whole network as one of this process alone. Collective.

        Args:
            root: The rank that wants it; None means every rank.

        Returns:
            A network with `comm` None; on other ranks than root, None.
        """
        with together(self.comm):
            size = 1 if self.comm is None else self.comm.size
            if root is not None and not 0 <= root < size:
                raise ValueError(f"root must be a rank from 0 to {size - 1}, not {root}")
        values = self._whole_values(root)
        return None if values is None else P1Network(self.grid, values)

    def _whole_values(self, root: int | None) -> npt.NDArray | None:
        wanted = self.comm is None or root is None or self.comm.rank == root
        if self.blocks is None or self.comm is None:
            return self.values if wanted else None
        columns = gather_columns(self.comm, np.atleast_2d(self.values), root)
        if columns is None:
            return None
        whole = np.empty((len(columns), self.grid.num_vertices), self.dtype)
        windows = [self.blocks.window(rank) for rank in range(self.comm.size)]
        whole[:, np.concatenate([w.vertices(self.grid) for w in windows])] = columns
        return whole[0] if self.values.ndim == 1 else whole


def outside_mask(grid: Grid, x: npt.NDArray, outside: Outside) -> npt.NDArray[np.bool_] | None:
    """The points to be NaN, if any are to be."""
    if outside not in ("extend", "nan", "raise"):
        raise ValueError(f'outside must be "extend", "nan" or "raise", not {outside!r}')
    if outside == "extend":
        return None
    require_finite(x)
    masked = ~grid.contains(x)
    if outside == "raise" and masked.any():
        first = int(np.flatnonzero(masked)[0])
        raise ValueError(
            f"{np.count_nonzero(masked)} of {masked.size} points are outside the mesh, the first "
            f'at index {first}: ({x[0, first]}, {x[1, first]}); outside="extend" or "nan" allows '
            "them"
        )
    return masked
