# SPDX-License-Identifier: MIT
"""P1 functions on structured meshes as two-hidden-layer ReLU networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import numpy as np
import numpy.typing as npt

from fe_relu import kernels
from fe_relu.grid import Grid
from fe_relu.hats import hidden_layers
from fe_relu.network import Affine, ReLUNetwork
from fe_relu.parallel import together
from fe_relu.points import non_finite_points, real_points

if TYPE_CHECKING:
    from mpi4py import MPI

Outside = Literal["extend", "nan", "raise"]

#: Points brought into contiguous rows of one dtype at a time, where they are not so given.
CHUNK_POINTS = 1 << 14


class NodalSource(Protocol):
    """Where new nodal values come from, in the vertex order of the grid."""

    def values(self, u: Any) -> npt.NDArray: ...


@dataclass(frozen=True, eq=False)
class P1Network:
    """The P1 function with nodal values on a grid: a ReLU network with two hidden layers.

    On ℝ² outside the mesh it goes on as the network does: linearly down to zero on a ring of one
    cell, then exactly zero. See `fe_relu.hats` for the formulas.

    Args:
        grid: The structured mesh.
        values: Nodal values in the grid's vertex order, shape (num_vertices,) for a scalar
            network, (k, num_vertices) for one with k ≥ 1 outputs; float32 or float64.
        comm: The communicator whose ranks hold this network and call it together; None for a
            network of this process alone.

    Raises:
        ValueError: values have another shape or are not finite.
        TypeError: values are not float32 or float64.
    """

    grid: Grid
    values: npt.NDArray
    comm: MPI.Comm | None = None
    source: NodalSource | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        values = np.array(self.values)
        if values.dtype not in (np.float32, np.float64):
            raise TypeError(f"nodal values must be float32 or float64, not {values.dtype}")
        num_vertices = self.grid.num_vertices
        if values.ndim not in (1, 2) or values.shape[-1] != num_vertices or not len(values):
            raise ValueError(
                f"nodal values must have shape ({num_vertices},) or (k, {num_vertices}), "
                f"not {values.shape}"
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

    def __call__(self, x: npt.ArrayLike, *, outside: Outside = "extend") -> npt.NDArray:
        """Values at the columns of x. Collective over `comm`.

        Each rank passes its own points, any number, also none, anywhere, and gets their values in
        its order, the same bits on any number of ranks.

        Args:
            x: Coordinates, shape (2, n) or (3, n); the third row is ignored.
            outside: What holds outside the mesh: "extend" is what the explicit network does,
                "nan" gives NaN, "raise" raises. Points within `Grid.resolution` are inside.

        Returns:
            Shape (n,) if there is one output, else (k, n); of the wider dtype of x and values.

        Raises:
            ValueError: x has another shape, a NaN or infinite coordinate, or (outside="raise") a
                point outside; on every rank, naming the first such rank.
            TypeError: x does not hold real numbers.
        """
        with together(self.comm):
            values = self._evaluate(real_points(x, 2), outside)
        return values[0] if self.dim_out == 1 else values

    def _evaluate(self, x: npt.NDArray, outside: Outside) -> npt.NDArray:
        if outside not in ("extend", "nan", "raise"):
            raise ValueError(f'outside must be "extend", "nan" or "raise", not {outside!r}')
        dtype = np.result_type(self.dtype, x.dtype)
        values = np.empty((self.dim_out, x.shape[1]), dtype)
        frame = kernels.lattice_frame(self.grid, dtype)
        cut = kernels.CUTS[self.grid.diagonal]
        bad = 0
        for columns, (x0, x1) in _contiguous_rows(x, dtype):
            out = values[:, columns]
            bad += kernels.evaluate(x0, x1, frame, *self.grid.shape, cut, self._table, out)
        if bad:
            raise non_finite_points(~np.isfinite(x).all(axis=0))
        if outside != "extend":
            inside = self.grid.contains(x)
            if outside == "raise" and not inside.all():
                raise _outside_points(x, inside)
            values[:, ~inside] = np.nan
        return values

    @cached_property
    def _table(self) -> npt.NDArray:
        return kernels.padded_table(self.grid, np.atleast_2d(self.values))

    def explicit(self) -> ReLUNetwork:
        """The same function as three affine layers with a ReLU after the first two.

        First hidden layer: the lines of the mesh. Second: one hat per vertex. Output: the nodal
        values. Layers are of the dtype of the values.
        """
        values = np.atleast_2d(self.values)
        output = Affine(values, np.zeros(len(values), self.dtype))
        return ReLUNetwork((*hidden_layers(self.grid, self.dtype), output))

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
            return replace(self, values=values)

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
        if root is not None and self.comm is not None and self.comm.rank != root:
            return None
        return P1Network(self.grid, self.values)


def _contiguous_rows(
    x: npt.NDArray, dtype: np.dtype
) -> Iterator[tuple[slice, tuple[npt.NDArray, npt.NDArray]]]:
    """The rows of x as the kernel wants them: all at once as they are, or copied in chunks."""
    if all(row.flags.carray and row.dtype == dtype for row in x):
        yield slice(None), (x[0], x[1])
        return
    scratch = np.empty((2, CHUNK_POINTS), dtype)
    for start in range(0, x.shape[1], CHUNK_POINTS):
        columns = slice(start, min(start + CHUNK_POINTS, x.shape[1]))
        rows = scratch[:, : columns.stop - start]
        rows[:] = x[:, columns]
        yield columns, (rows[0], rows[1])


def _outside_points(x: npt.NDArray, inside: npt.NDArray[np.bool_]) -> ValueError:
    first = int(np.flatnonzero(~inside)[0])
    return ValueError(
        f"{np.count_nonzero(~inside)} of {inside.size} points are outside the mesh, the first at "
        f'index {first}: ({x[0, first]}, {x[1, first]}); outside="extend" or "nan" allows them'
    )
