# SPDX-License-Identifier: MIT
"""Where the values of a network live: on this process alone, on all ranks alike, or spread.

*Who holds what* is a division, pure arithmetic on a mesh; *how it moves* is in `routing` and
`redistribute`; a layout joins both, so that networks need not know that there are ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from fe_relu.parallel import agreement, redistribute
from fe_relu.parallel.agreement import Terms
from fe_relu.parallel.routing import Inquiry, Visit, visited

if TYPE_CHECKING:
    from mpi4py import MPI

#: layout="auto" gives every rank all values up to this many numbers (32 MiB in float64).
REPLICATED_VALUES = 1 << 22

LayoutName = Literal["auto", "blocks", "replicated"]
LAYOUTS = ("auto", "blocks", "replicated")


class Division(Protocol):
    """Which rank holds which part of a mesh: pure functions, which send no messages.

    Where this is no arithmetic, a rank knows its own part, and of vertices the holders of its own.

    Attributes:
        asks_several: Whether several ranks may be asked for a point, of which those that have it
            answer; otherwise the one that is asked does.
    """

    asks_several: bool

    @property
    def num_vertices(self) -> int:
        """Of the whole mesh."""
        ...

    def part(self, rank: int) -> Any:
        """What a rank holds; see `fe_relu.meshes.mesh.Part`."""
        ...

    def side_by_side(self) -> npt.NDArray[np.int64]:
        """The numbers of the vertices `part.own` of all ranks, rank by rank."""
        ...

    def owners(self, vertices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The one rank that each vertex counts for."""
        ...

    def holders(
        self, vertices: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Every rank that holds a vertex: (position in `vertices`, rank), all pairs."""
        ...

    def candidates(
        self, x: npt.NDArray, positions: npt.NDArray[np.int64], dtype: np.dtype
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
        """The ranks that answer the points x[:, positions]: (position, rank), all pairs."""
        ...

    def refined(self, factor: int) -> Division:
        """The same of the mesh refined by a factor."""
        ...


class Layout(Protocol):
    """Where values live. Methods are collective over `comm`, but for `part` and `refined`."""

    @property
    def comm(self) -> MPI.Comm | None:
        """The communicator whose ranks hold the values together."""
        ...

    @property
    def speaks(self) -> bool:
        """Whether this rank speaks for its part: of ranks that hold the same, the first does."""
        ...

    @property
    def is_spread(self) -> bool:
        """Whether other ranks hold what this one does not."""
        ...

    def part(self, mesh: Any) -> Any:
        """What this rank holds of a mesh."""
        ...

    def refined(self, factor: int) -> Any:
        """The layout of values on the mesh refined by a factor."""
        ...

    def together(self) -> AbstractContextManager[Terms]:
        """Local work after which all ranks go on or all raise; see `agreement.together`."""
        ...

    def visit(self, inquiry: Inquiry) -> Visit:
        """Points brought to the parts that answer them."""
        ...

    def fetch(self, values: npt.NDArray, vertices: npt.NDArray[np.int64]) -> npt.NDArray:
        """Values (k, n) at any vertices, from the values (k, m) of parts."""
        ...

    def gather(self, values: npt.NDArray, root: int | None = None) -> npt.NDArray | None:
        """The values (…, n) of the whole mesh from those of parts; on root alone if given."""
        ...

    def gather_mesh(self, mesh: Any, degree: int, root: int | None = None) -> tuple[Any, Any]:
        """The whole of a mesh, and which of this one's each of its nodes is; likewise."""
        ...

    def collect(
        self, vertices: npt.NDArray[np.int64], rows: npt.NDArray
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
        """Some vertices of all parts, increasing, and what they have, (k, n)."""
        ...

    def largest(self, number: float) -> float:
        """The largest of the parts' numbers; NaN if one of them is."""
        ...

    def summed(self, numbers: npt.ArrayLike) -> npt.NDArray:
        """The sums of the parts' numbers."""
        ...


class _Whole:
    """What layouts do where each rank holds all values: nothing has to move."""

    is_spread = False

    def part(self, mesh: Any) -> Any:
        return mesh.whole

    def refined(self, factor: int) -> Any:
        return self

    def fetch(self, values: npt.NDArray, vertices: npt.NDArray[np.int64]) -> npt.NDArray:
        return values[:, vertices]

    def gather_mesh(self, mesh: Any, degree: int, root: int | None = None) -> tuple[Any, Any]:
        return mesh, slice(None)

    def collect(
        self, vertices: npt.NDArray[np.int64], rows: npt.NDArray
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
        return vertices, rows

    def largest(self, number: float) -> float:
        return number

    def summed(self, numbers: npt.ArrayLike) -> npt.NDArray:
        return np.asarray(numbers)


@dataclass(frozen=True)
class Alone(_Whole):
    """All values are held by this process, which asks nobody."""

    comm = None
    speaks = True

    def together(self) -> AbstractContextManager[Terms]:
        return agreement.together(None)

    def visit(self, inquiry: Inquiry) -> Visit:
        return Visit(inquiry.here()[2])

    def gather(self, values: npt.NDArray, root: int | None = None) -> npt.NDArray:
        return values


@dataclass(frozen=True)
class Replicated(_Whole):
    """Every rank of a communicator holds all values; they call together, and no point travels."""

    comm: MPI.Comm

    @cached_property
    def speaks(self) -> bool:
        return self.comm.rank == 0

    def together(self) -> AbstractContextManager[Terms]:
        return agreement.together(self.comm)

    def visit(self, inquiry: Inquiry) -> Visit:
        if self.comm.size == 1:
            return Visit(inquiry.here()[2])
        with self.together() as terms:
            own = inquiry.here()[2]
            terms.all_alike(inquiry.facts)
        return Visit(own)

    def gather(self, values: npt.NDArray, root: int | None = None) -> npt.NDArray | None:
        return values if root in (None, self.comm.rank) else None

    def __reduce__(self) -> tuple:
        """Elsewhere there is no such communicator, but all values are here: alone."""
        return Alone, ()


@dataclass(frozen=True)
class Spread:
    """Each rank of a communicator holds the values of its part of the mesh."""

    comm: MPI.Comm
    division: Division

    speaks = True
    is_spread = True

    def part(self, mesh: Any) -> Any:
        return self.division.part(self.comm.rank)

    def refined(self, factor: int) -> Spread:
        return Spread(self.comm, self.division.refined(factor))

    def together(self) -> AbstractContextManager[Terms]:
        return agreement.together(self.comm)

    def visit(self, inquiry: Inquiry) -> Visit:
        return visited(self.comm, self.division, inquiry)

    def fetch(self, values: npt.NDArray, vertices: npt.NDArray[np.int64]) -> npt.NDArray:
        return redistribute.fetch(self.comm, self.division, values, vertices)

    def gather(self, values: npt.NDArray, root: int | None = None) -> npt.NDArray | None:
        return redistribute.gather_parts(self.comm, self.division, values, root)

    def gather_mesh(self, mesh: Any, degree: int, root: int | None = None) -> tuple[Any, Any]:
        if not mesh.is_partial:
            return mesh, slice(None)
        own = mesh.contribution(degree)
        gathered = [agreement.gather_columns(self.comm, part, root) for part in own]
        with self.together():
            return mesh.joined(*gathered) if root in (None, self.comm.rank) else (None, None)

    def collect(
        self, vertices: npt.NDArray[np.int64], rows: npt.NDArray
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
        own = self.division.owners(vertices) == self.comm.rank
        vertices = agreement.gather_columns(self.comm, vertices[None, own])[0]
        order = np.argsort(vertices)
        return vertices[order], agreement.gather_columns(self.comm, rows[:, own])[:, order]

    def largest(self, number: float) -> float:
        return agreement.largest(self.comm, number)

    def summed(self, numbers: npt.ArrayLike) -> npt.NDArray:
        return agreement.summed(self.comm, numbers)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "the values are spread over the ranks of a communicator, which cannot be pickled or "
            "copied; network.gather() is the whole network of this process alone"
        )


def layout_on(comm: MPI.Comm | None) -> Alone | Replicated:
    """All values on every rank of comm; None is this process alone."""
    return Alone() if comm is None else Replicated(comm)


def spread_on(
    comm: MPI.Comm | None, layout: str, numbers: int, division: Callable[[MPI.Comm], Division]
) -> Layout:
    """The layout of so many numbers that a word of `LAYOUTS` stands for.

    Collective if the division is made so.
    """
    return Spread(comm, division(comm)) if is_spread(comm, layout, numbers) else layout_on(comm)


def is_spread(comm: MPI.Comm | None, layout: str, numbers: int) -> bool:
    """Whether a word of `LAYOUTS` means that so many numbers are spread over the ranks of comm."""
    wanted = layout == "blocks" or (layout == "auto" and numbers > REPLICATED_VALUES)
    return comm is not None and comm.size > 1 and wanted


def checked_layout(layout: Any) -> str:
    """The word, if it is one of `LAYOUTS`."""
    if layout not in LAYOUTS:
        raise ValueError(f'layout must be "auto", "blocks" or "replicated", not {layout!r}')
    return layout


def checked_root(root: Any, layout: Layout) -> int | None:
    """A rank of the layout's, or None for every rank.

    Raises:
        TypeError: It is no integer.
        ValueError: There is no such rank.
    """
    if root is None:
        return None
    if isinstance(root, bool) or not isinstance(root, int | np.integer):
        raise TypeError(f"root must be the number of a rank or None, not {root!r}")
    size = 1 if layout.comm is None else layout.comm.size
    if not 0 <= root < size:
        raise ValueError(f"root must be a rank from 0 to {size - 1}, not {root}")
    return int(root)
