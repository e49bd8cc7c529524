# SPDX-License-Identifier: MIT
"""How points find the ranks that answer them, and how the answers come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from fe_relu import kernels
from fe_relu.exchange import Parcels, exchange_on
from fe_relu.parallel import largest, together
from fe_relu.points import require_finite
from fe_relu.tables import Located, Table

if TYPE_CHECKING:
    from mpi4py import MPI

    from fe_relu.blocks import Blocks
    from fe_relu.grid import Grid

#: What points ask of a table: `Table.values` or `Table.gradient`.
Ask = Callable[[Table, npt.NDArray, npt.DTypeLike], npt.NDArray]


class TableHolder(Protocol):
    """What points are routed to: a network of which each rank holds a table."""

    @property
    def grid(self) -> Grid: ...
    @property
    def comm(self) -> MPI.Comm | None: ...
    @property
    def blocks(self) -> Blocks | None: ...
    @property
    def table(self) -> Table: ...
    @property
    def dtype(self) -> np.dtype: ...
    @property
    def dim_out(self) -> int: ...
    @property
    def newest(self) -> Sequence[TableHolder]: ...


def agreed_dtype(comm: MPI.Comm | None, values: np.dtype, points: np.dtype) -> np.dtype:
    """The dtype to compute in: the wider of the values' and of any rank's points'. Collective."""
    dtype = np.result_type(values, points)
    if comm is None or comm.size == 1 or values == np.float64:
        return dtype
    return np.dtype(np.float64 if largest(comm, dtype.itemsize) > 4 else np.float32)


def answers(network: TableHolder, x: npt.NDArray, dtype: np.dtype, ask: Ask) -> npt.NDArray:
    """What the points (2, n) ask, shape (…, n). Collective.

    Points that another rank's window answers travel there, each rank's in one message, and back.
    """
    if network.blocks is None or network.comm is None:
        with together(network.comm):
            return ask(network.table, x, dtype)
    route, asked = _sent(network.comm, network.grid, network.blocks, x, dtype)
    return route.back(ask(network.table, asked, dtype))


@dataclass(frozen=True, eq=False)
class Route:
    """The way back of the answers to points that were sent out."""

    comm: MPI.Comm
    parcels: Parcels
    sources: Sequence[int]
    numbers: Sequence[int]  # of points that came from each source

    def back(self, found: npt.NDArray) -> npt.NDArray:
        """Answers (…, n) in the order of this rank's points, from those (…, m) that it found."""
        lead, dtype = found.shape[:-1], found.dtype
        answers = np.split(found, np.cumsum(self.numbers)[:-1], axis=-1) if self.numbers else []
        received = self.parcels.like(lead, dtype)
        exchange_on(self.comm).swap(self.sources, answers, self.parcels.ranks, received)
        return self.parcels.unpack(received) if received else np.empty((*lead, 0), dtype)


@dataclass(frozen=True, eq=False)
class Plan:
    """Evaluation of a network at fixed points: `plan()`, or `plan(network)` for another one.

    What is kept on this rank, and what was sent to it, stays located in this rank's window.
    """

    network: TableHolder
    located: Located
    route: Route | None

    @staticmethod
    def of(network: TableHolder, x: npt.NDArray) -> Plan:
        """Collective; x has shape (2, n)."""
        dtype = agreed_dtype(network.comm, network.dtype, x.dtype)
        if network.blocks is None or network.comm is None:
            with together(network.comm):
                return Plan(network, network.table.locate(x, dtype), None)
        route, asked = _sent(network.comm, network.grid, network.blocks, x, dtype)
        return Plan(network, network.table.locate(asked, dtype), route)

    def __call__(self, network: TableHolder | None = None) -> npt.NDArray:
        """Values at the planned points, shape (n,) or (k, n). Collective.

        Args:
            network: One with the grid and the layout of the planned one; by default the newest that
                `update` has made from it.

        Raises:
            ValueError: The network has another grid or layout.
        """
        if network is None:
            network = next(iter(self.network.newest), self.network)
        with together(self.network.comm):
            if (network.grid, network.blocks) != (self.network.grid, self.network.blocks):
                raise ValueError("the plan is for another grid or another layout")
        values = network.table.values_at(self.located)
        if self.route is not None:
            values = self.route.back(values)
        return values[0] if network.dim_out == 1 else values


def _sent(
    comm: MPI.Comm, grid: Grid, blocks: Blocks, x: npt.NDArray, dtype: np.dtype
) -> tuple[Route, npt.NDArray]:
    """Sends points to the ranks that answer them; returns those (2, m) that came to this rank."""
    with together(comm):
        destinations = np.empty(x.shape[1], np.int32)
        frame, first_of_row = (
            kernels.lattice_frame(grid, dtype),
            blocks.row_of_cell * blocks.counts[0],
        )
        ranks = np.array(blocks.ranks)
        if kernels.owners(
            x[0], x[1], frame, blocks.column_of_cell, first_of_row, ranks, destinations
        ):
            require_finite(x)
    parcels = Parcels.of(destinations, comm.size)
    packed = parcels.pack(x.astype(dtype, copy=False))
    sources, sent = exchange_on(comm).send(parcels.ranks, packed)
    points = [part.view(dtype).reshape(2, -1) for part in sent]
    asked = np.concatenate([np.empty((2, 0), dtype), *points], axis=1)
    return Route(comm, parcels, sources, [part.shape[1] for part in points]), asked
