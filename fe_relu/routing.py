# SPDX-License-Identifier: MIT
"""How points find the ranks that answer them, and how the answers come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from fe_relu import kernels, ownership
from fe_relu.exchange import Parcels, exchange_on
from fe_relu.parallel import together
from fe_relu.points import require_finite
from fe_relu.tables import Located, Table

if TYPE_CHECKING:
    from mpi4py import MPI

    from fe_relu.blocks import Blocks
    from fe_relu.grid import Grid

#: What points ask of a table, for example `Table.values` or `Table.gradient`.
Ask = Callable[[Any, npt.NDArray, npt.DTypeLike], npt.NDArray]


class Answering(Protocol):
    """What points are routed to: a network of which each rank holds a table of some kind."""

    @property
    def grid(self) -> Grid: ...
    @property
    def comm(self) -> MPI.Comm | None: ...
    @property
    def blocks(self) -> Blocks | None: ...
    @property
    def table(self) -> Any: ...
    @property
    def dtype(self) -> np.dtype: ...


class TableHolder(Answering, Protocol):
    """A network whose tables hold nodal values."""

    @property
    def table(self) -> Table: ...
    @property
    def dim_out(self) -> int: ...
    @property
    def newest(self) -> Sequence[TableHolder]: ...


def answers(network: Answering, x: npt.NDArray, ask: Ask) -> npt.NDArray:
    """What the points (2, n) ask, shape (…, n). Collective.

    Computed in the wider dtype of the values and of this rank's points. Points that another rank's
    window answers travel there, each rank's in one message, and back.
    """
    dtype = np.result_type(network.dtype, x.dtype)
    if network.blocks is None or network.comm is None:
        with together(network.comm):
            return ask(network.table, x, dtype)
    found = {}
    for turn in _turns(network.comm, network.dtype, dtype):
        here = x if turn == dtype else x[:, :0]
        route, asked = _sent(network.comm, network.grid, network.blocks, here, turn)
        own, others = ask(network.table, here, turn), ask(network.table, asked, turn)
        found[turn] = route.completed(own, others)
    return found[dtype]


def _turns(comm: MPI.Comm, values: np.dtype, dtype: np.dtype) -> list[np.dtype]:
    """The dtypes that ranks compute in, in an order that all know: one message has one dtype."""
    if values == np.float64:
        return [dtype]
    return sorted(set(comm.allgather(dtype)), key=lambda found: found.itemsize)


@dataclass(frozen=True, eq=False)
class Route:
    """The way back of the answers to points that were sent out."""

    comm: MPI.Comm
    away: npt.NDArray[np.int64]  # positions of the points that were sent
    parcels: Parcels
    sources: Sequence[int]
    numbers: Sequence[int]  # of points that came from each source

    def completed(self, own: npt.NDArray, found: npt.NDArray) -> npt.NDArray:
        """All answers (…, n), from this rank's to its own points and those (…, m) it has found.

        This rank's table has answered all of its own points, for that is faster than sorting out
        which; what it says of points that were sent means nothing and is replaced.
        """
        answers = np.split(found, np.cumsum(self.numbers)[:-1], axis=-1) if self.numbers else []
        received = self.parcels.like(found.shape[:-1], found.dtype)
        exchange_on(self.comm).swap(self.sources, answers, self.parcels.ranks, received)
        if received:
            own[..., self.away] = self.parcels.unpack(received)
        return own


@dataclass(frozen=True, eq=False)
class Plan:
    """Evaluation of a network at fixed points: `plan()`, or `plan(network)` for another one.

    What is kept on this rank, and what was sent to it, stays located in this rank's window.
    """

    network: TableHolder
    own: Located
    routes: Sequence[tuple[Route, Located]] = ()  # and the points that came to this rank

    @staticmethod
    def of(network: TableHolder, x: npt.NDArray) -> Plan:
        """Collective; x has shape (2, n)."""
        dtype = np.result_type(network.dtype, x.dtype)
        with together(network.comm):
            own = network.table.locate(x, dtype)
        if network.blocks is None or network.comm is None:
            return Plan(network, own)
        routes = []
        for turn in _turns(network.comm, network.dtype, dtype):
            here = x if turn == dtype else x[:, :0]
            route, asked = _sent(network.comm, network.grid, network.blocks, here, turn)
            routes.append((route, network.table.locate(asked, turn)))
        return Plan(network, own, routes)

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
        values = network.table.values_at(self.own)
        for route, asked in self.routes:
            values = route.completed(values, network.table.values_at(asked))
        return values[0] if network.dim_out == 1 else values


def _sent(
    comm: MPI.Comm, grid: Grid, blocks: Blocks, x: npt.NDArray, dtype: np.dtype
) -> tuple[Route, npt.NDArray]:
    """Sends points to the ranks that answer them; returns those (2, m) that came to this rank."""
    frame = kernels.lattice_frame(grid, dtype)
    with together(comm):
        held = np.empty(x.shape[1], np.bool_)
        bounds = ownership.held_bounds(grid, blocks.window(comm.rank))
        if ownership.held(x[0], x[1], frame, bounds, held):
            require_finite(x)
    away = np.flatnonzero(~held)
    travelling = x[:, away].astype(dtype, copy=False)
    first_of_row = blocks.row_of_cell * blocks.counts[0]
    destinations = ownership.owners(
        travelling[0],
        travelling[1],
        frame,
        blocks.column_of_cell,
        first_of_row,
        np.array(blocks.ranks),
    )
    parcels = Parcels.of(destinations, comm.size)
    sources, sent = exchange_on(comm).send(parcels.ranks, parcels.pack(travelling))
    points = [part.view(dtype).reshape(2, -1) for part in sent]
    asked = np.concatenate([np.empty((2, 0), dtype), *points], axis=1)
    return Route(comm, away, parcels, sources, [part.shape[1] for part in points]), asked
