# SPDX-License-Identifier: MIT
"""Messages and bytes per rank where a mesh stays as its ranks have it, on simulated ranks.

    python3 demos/model_partitions.py [MAX_RANKS]

`model_scaling.py` has blocks of a grid; this has the cells that a partition gave to each rank, and
the directory that says who may have a point. For all ranks of R it runs the code that fills the
directory (`Frame.of`, `entries`, `Directory.of`), and for some that which asks it
(`Directory.candidates`) and sorts points by whom they go to (`Parcels.of`). Nothing is sent.

The mesh is a turned square or cube of equal triangles or tetrahedra, so that no line is along a
bucket; parts are the cells nearest to jittered seeds, compact and ragged as those of a partitioner.
Counted are messages and what is in them, for the rank that sends most of those looked at. Modelled:
8 bytes a coordinate and a value, 1 for the answer "mine" or "not mine".
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from time import perf_counter

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from fe_relu.meshes.simplices.sharing.directory import Directory, Frame, entries
from fe_relu.parallel.exchange import Parcels

MAX_RANKS = 4096
RANKS_LOOKED_AT = 16
#: Cubes of each rank, by dimension: 2 triangles or 6 tetrahedra each.
CUBES = {2: 1024, 3: 343}
#: Points of each rank, in a call.
POINTS = 10_000
#: How many cubes a drifting particle may have moved along each axis.
DRIFT = 3


@dataclass(frozen=True)
class Mesh:
    """A turned lattice of simplices, shared out among so many ranks."""

    dim: int
    size: int

    @cached_property
    def side(self) -> int:
        return round((CUBES[self.dim] * self.size) ** (1 / self.dim))

    @cached_property
    def turn(self) -> np.ndarray:
        if self.dim == 2:
            return np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
        return Rotation.from_rotvec([0.3, -0.5, 0.4]).as_matrix()

    @cached_property
    def owner(self) -> np.ndarray:
        """The rank of each cube, with an axis for each of space."""
        rng = np.random.default_rng(self.size)
        per_side = int(np.ceil(self.size ** (1 / self.dim) - 1e-9))
        lattice = np.indices(self.dim * [per_side]).reshape(self.dim, -1).T
        chosen = rng.permutation(len(lattice))[: self.size]
        seeds = (lattice[chosen] + rng.random((self.size, self.dim))) / per_side * self.side
        cubes = np.indices(self.dim * [self.side]).reshape(self.dim, -1).T + 0.5
        return cKDTree(seeds).query(cubes)[1].reshape(self.dim * [self.side])

    @cached_property
    def cubes_of(self) -> list[np.ndarray]:
        """The cubes of each rank, shape (dim, m)."""
        flat = self.owner.ravel()
        order = np.argsort(flat, kind="stable")
        starts = np.searchsorted(flat[order], np.arange(1, self.size))
        places = np.split(order, starts)
        return [np.array(np.unravel_index(own, self.owner.shape)) for own in places]

    def cells_of(self, rank: int) -> tuple[np.ndarray, np.ndarray]:
        """Vertices and cells of a rank."""
        cubes, eye = self.cubes_of[rank], np.eye(self.dim)
        paths = [
            np.cumsum([np.zeros(self.dim), *eye[list(order)]], axis=0)
            for order in permutations(range(self.dim))
        ]  # (path, corner, axis)
        corners = cubes.T[:, None, None] + np.array(paths)
        cells = np.arange(corners[..., 0].size).reshape(-1, self.dim + 1).T
        return self.turn @ corners.reshape(-1, self.dim).T, cells

    def owners_at(self, lattice: np.ndarray) -> np.ndarray:
        """The rank whose cells have points in lattice coordinates, −1 outside."""
        cube = np.floor(lattice).astype(np.int64)
        inside = ((cube >= 0) & (cube < self.side)).all(axis=0)
        return np.where(inside, self.owner[tuple(np.where(inside, cube, 0))], -1)

    @cached_property
    def directory(self) -> Directory:
        corners = self.turn @ (np.indices(self.dim * [2]).reshape(self.dim, -1) * self.side)
        frame = Frame.of(corners.min(axis=1), corners.max(axis=1), self.size)
        found = [entries(frame, *self.cells_of(rank), 1e-6) for rank in range(self.size)]
        ranks = np.repeat(np.arange(self.size), [buckets.size for buckets, _ in found])
        buckets, boxes = zip(*found, strict=True)
        return Directory.of(frame, np.concatenate(buckets), ranks, np.concatenate(boxes, axis=2))

    @property
    def looked_at(self) -> list[int]:
        return sorted({int(rank) for rank in np.linspace(0, self.size - 1, RANKS_LOOKED_AT)})


# ---- points of a rank, in lattice coordinates ----------------------------------------------------


def anywhere(mesh: Mesh, rank: int, rng: np.random.Generator) -> np.ndarray:
    return mesh.side * rng.random((mesh.dim, POINTS))


def drifting(mesh: Mesh, rank: int, rng: np.random.Generator) -> np.ndarray:
    """Points of own cells, moved."""
    cubes = mesh.cubes_of[rank]
    at = cubes[:, rng.integers(cubes.shape[1], size=POINTS)] + rng.random((mesh.dim, POINTS))
    moved = at + rng.uniform(-DRIFT, DRIFT, at.shape)
    return np.clip(moved, 1e-3, mesh.side - 1e-3)


QUESTIONS: dict[str, Callable[[Mesh, int, np.random.Generator], np.ndarray]] = {
    "anywhere": anywhere,
    "drifting": drifting,
}


@dataclass(frozen=True)
class Load:
    """What ranks send, in a call.

    Args:
        messages: To other ranks.
        bytes: Out, and back to it.
        kept: The share of points that stay.
        asked: Ranks asked for each point that travels.
    """

    messages: int
    bytes: float
    kept: float
    asked: float

    @staticmethod
    def of(mesh: Mesh, question: str) -> "Load":
        """That of the rank that sends most; shares are those of all looked at."""
        messages, most, away, asked = 0, 0.0, 0, 0
        for rank in mesh.looked_at:
            x = QUESTIONS[question](mesh, rank, np.random.default_rng(rank))
            owners = mesh.owners_at(x)
            travelling = np.flatnonzero(owners != rank)
            positions, ranks = mesh.directory.candidates(mesh.turn @ x, travelling, 1e-9, rank)
            assert set(travelling) <= set(positions[ranks == owners[positions]])  # none is missed
            parcels = Parcels.of(ranks, mesh.size, positions)
            messages = max(messages, len(parcels.ranks))
            most = max(most, positions.size * (8 * mesh.dim + 1) + travelling.size * 8)
            away, asked = away + travelling.size, asked + positions.size
        return Load(messages, most, 1 - away / (POINTS * len(mesh.looked_at)), asked / max(away, 1))


def shared(mesh: Mesh) -> tuple[int, float, float]:
    """What a rank receives when a function is converted: messages, bytes; and its vertices.

    Its share has the vertices of its own cells and of all that share a vertex with those, and it
    gets the values that are others'. A vertex belongs to the rank of the cube above it.
    """
    messages, most, own = 0, 0, 0
    for rank in mesh.looked_at:
        cubes = mesh.cubes_of[rank]
        reach = np.indices(mesh.dim * [4]).reshape(mesh.dim, -1).T - 1
        near = np.unique((cubes[:, None] + reach.T[:, :, None]).reshape(mesh.dim, -1), axis=1)
        near = near[:, ((near >= 0) & (near <= mesh.side)).all(axis=0)]
        owners = mesh.owner[tuple(np.minimum(near, mesh.side - 1))]
        others = np.unique(owners[owners != rank])
        messages = max(messages, others.size)
        most = max(most, 8 * np.count_nonzero(owners != rank))
        own = max(own, np.count_nonzero(owners == rank))
    return messages, most, own


def human(count: float) -> str:
    """Bytes with three digits."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def print_table(dim: int, most: int) -> Mesh:
    what = {2: "triangles", 3: "tetrahedra"}[dim]
    cells = CUBES[dim] * {2: 2, 3: 6}[dim]
    print(f"\n{what}, {cells:,} cells and {POINTS:,} points a rank")
    print(
        f"{'':5}{'points anywhere':>28}{'drifting points':>30}{'conversion':>14}{'directory':>22}"
    )
    head = f"{'msgs':>6}{'bytes':>9}{'kept':>6}{'asked':>8}"
    print(f"{'ranks':>5}{head}{head}{'msgs':>6}{'bytes':>9}{'bytes':>9}{'a rank':>9}{'ns/pt':>6}")
    mesh = Mesh(dim, 1)
    for size in [4**k for k in range(7) if 4**k <= most]:
        mesh = Mesh(dim, size)
        loads = [Load.of(mesh, question) for question in QUESTIONS]
        row = "".join(
            f"{load.messages:6}{human(load.bytes):>9}{load.kept:6.0%}{load.asked:8.2f}"
            for load in loads
        )
        messages, received, _ = shared(mesh)
        held = mesh.directory.num_bytes
        print(
            f"{size:5}{row}{messages:6}{human(received):>9}"
            f"{human(held):>9}{human(held / size):>9}{asking_time(mesh):6.0f}"
        )
    return mesh


def asking_time(mesh: Mesh) -> float:
    """Nanoseconds to find the candidates of a point, the shortest of several runs."""
    x = mesh.turn @ anywhere(mesh, 0, np.random.default_rng(0))
    every, times = np.arange(x.shape[1]), []
    for _ in range(10):
        start = perf_counter()
        mesh.directory.candidates(x, every, 1e-9, -1)
        times.append(perf_counter() - start)
    return 1e9 * min(times) / x.shape[1]


def print_limits(mesh: Mesh) -> None:
    """Where the directory is as large as what it is the directory of."""
    each = mesh.directory.num_bytes / mesh.size
    print(f"\nthe directory takes {each:,.0f} bytes for each rank there is, on every rank:")
    for vertices in (10**4, 10**5, 10**6):
        held = 8 * vertices
        print(f"  as much as {vertices:>9,} values of a rank from {held / each:,.0f} ranks on")


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else MAX_RANKS
    for dim in (2, 3):
        print_limits(print_table(dim, most))


if __name__ == "__main__":
    main()
