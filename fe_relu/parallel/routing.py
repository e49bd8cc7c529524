# SPDX-License-Identifier: MIT
"""How points find the ranks that answer them, and how the answers come back.

A rank answers its own points and, in the same pass, lists those that other parts of the mesh are
to answer. One reduction then says that no rank has failed and whether anybody sends; where nobody
does, that was all. Otherwise points travel, each rank's in one message, and their answers come
back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.parallel.agreement import settle, together
from fe_relu.parallel.exchange import Parcels, exchange_on

if TYPE_CHECKING:
    from mpi4py import MPI

    from fe_relu.parallel.layouts import Division

#: The types that points have, in an order that all ranks know: one message has one.
FLOATS: tuple[np.dtype, np.dtype] = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Inquiry:
    """What points ask of a mesh's parts, as local work that may fail.

    Args:
        points: This rank's points, shape (dim, n), checked.
        answer: From points and the dtype to compute in, what this rank's part says of them: an
            object with `away`, the increasing positions of points that other parts answer, and,
            if it is to be sent back, `numbers`, shape (…, n).
        dtype: Of the values asked for; answers are of the wider of it and the points' own.
        facts: What must be the same on all ranks, by its name in the plural.
    """

    points: Callable[[], npt.NDArray]
    answer: Callable[[npt.NDArray, np.dtype], Any]
    dtype: np.dtype
    facts: Mapping[str, object] = field(default_factory=dict)

    def here(self) -> tuple[npt.NDArray, np.dtype, Any]:
        """Points of this rank, the dtype of their answers, and what its own part says of them."""
        x = self.points()
        dtype = np.result_type(self.dtype, x.dtype)
        return x, dtype, self.answer(x, dtype)


@dataclass(frozen=True, eq=False)
class Route:
    """The way back of the answers to points that were sent out."""

    comm: MPI.Comm
    parcels: Parcels  # by their positions among all points of this rank
    sources: Sequence[int]
    numbers: Sequence[int]  # of points that came from each source and are answered
    #: Which of the points that came are answered here; by default all.
    answered: npt.NDArray[np.int64] | slice = field(default_factory=lambda: slice(None))

    def complete(self, own: npt.NDArray, found: npt.NDArray) -> None:
        """Writes others' answers into own (…, n), from those (…, m) that this rank has found."""
        found = found[..., self.answered]
        answers = np.split(found, np.cumsum(self.numbers)[:-1], axis=-1) if self.numbers else []
        received = self.parcels.room(found.shape[:-1], found.dtype)
        exchange_on(self.comm).swap(self.sources, answers, self.parcels.ranks, received)
        self.parcels.unpack(received, own)


class Visit(NamedTuple):
    """What this rank's part says of its own points, and of those that came on each route."""

    own: Any
    routes: Sequence[tuple[Route, Any]] = ()

    def numbers(self) -> npt.NDArray:
        """All answers to this rank's points, (…, n). Collective where there are routes."""
        for route, found in self.routes:
            route.complete(self.own.numbers, found.numbers)
        return self.own.numbers


def visited(comm: MPI.Comm, division: Division, inquiry: Inquiry) -> Visit:
    """Brings points to the parts that answer them. Collective."""
    error: BaseException | None = None
    parcels, packed, counts = Parcels.of(np.empty(0, np.int64), comm.size), [], [0, 0]
    try:
        x, dtype, own = inquiry.here()
        if own.away.size:
            positions, ranks = division.candidates(x, own.away, dtype)
            parcels = Parcels.of(ranks, comm.size, positions)
            packed = parcels.pack(x)
            counts[FLOATS.index(x.dtype)] = positions.size
    except BaseException as raised:
        error = raised
    facts = {what: str(fact) for what, fact in inquiry.facts.items()}
    sent = settle(comm, error, facts, counts)
    routes = []
    for k, turn in enumerate(FLOATS):
        if sent[k]:
            here = parcels if counts[k] else Parcels.of(parcels.order[:0], comm.size)
            route, found = _route(comm, inquiry, here, packed if counts[k] else [], len(x), turn)
            if division.asks_several:
                route = _answered(route, found.away)
            routes.append((route, found))
    return Visit(own, routes)


def _route(
    comm: MPI.Comm,
    inquiry: Inquiry,
    parcels: Parcels,
    packed: Sequence[npt.NDArray],
    dim: int,
    dtype: np.dtype,
) -> tuple[Route, Any]:
    """Sends points to the ranks that answer them; what this rank says of those that came here."""
    sources, sent = exchange_on(comm).send(parcels.ranks, packed)
    points = [part.view(dtype).reshape(dim, -1) for part in sent]
    with together(comm):
        asked = points[0] if len(points) == 1 else np.hstack([np.empty((dim, 0), dtype), *points])
        found = inquiry.answer(asked, np.result_type(inquiry.dtype, dtype))
    return Route(comm, parcels, sources, [part.shape[1] for part in points]), found


def _answered(route: Route, away: npt.NDArray[np.int64]) -> Route:
    """The same of those points only that the ranks asked for them have. Collective.

    Args:
        route: The way of all.
        away: Which of the points that came here are none of this rank's.
    """
    mine = np.ones(sum(route.numbers), np.uint8)
    mine[away] = 0
    told = np.split(mine, np.cumsum(route.numbers)[:-1]) if route.numbers else []
    heard = route.parcels.room((), np.uint8)
    exchange_on(route.comm).swap(route.sources, told, route.parcels.ranks, heard)
    return Route(
        route.comm,
        route.parcels.kept(heard),
        route.sources,
        [int(part.sum()) for part in told],
        np.flatnonzero(mine),
    )
