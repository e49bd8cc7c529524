# SPDX-License-Identifier: MIT
"""Messages and bytes per rank from 1 to 4096 ranks, counted on simulated ranks in one process.

    python3 demos/model_scaling.py [MAX_RANKS] [PICTURE]

Who sends what to whom is a pure function of mesh partition, block layout and points. For some
ranks of R, this runs the code that decides it: `Blocks.layouts`, `favourite` and `claimed` lay out
blocks and give them to ranks, `Blocks.candidates` finds who answers each point, `Blocks.holders`
whose parts hold each vertex, and `Parcels.of` sorts what goes to whom. Nothing is sent.

Counted: messages to other ranks, the items in them, and items that stay. Of a rank's points at most
`SAMPLE` are drawn in each region, and each stands for as many as were left out. Vertices are
counted exactly: one of each kind, times how many there are. Messages and bytes are those of the
rank that sends most among up to `RANKS_LOOKED_AT`; "kept" is the share that stays, of all of them.

Modelled: 16 bytes a point out, 8 a value back, 8 a nodal value moved. Mesh partitions are strips of
rows, or compact parts: a process grid that fits no block layout, on ranks in random order. For up
to `MAX_PARTITIONED` ranks, DOLFINx's own partitioner is asked as well.

Measured: the time that the routing code takes, without MPI.
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise, product
from math import isqrt, sqrt
from pathlib import Path
from time import perf_counter

from mpi4py import MPI

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from dolfinx import graph

from fe_relu import Grid
from fe_relu.meshes.grid.blocks import Blocks, Window
from fe_relu.meshes.mesh import Table
from fe_relu.parallel.exchange import Parcels
from fe_relu.parallel.layouts import REPLICATED_VALUES

MAX_RANKS = 4096
MAX_PARTITIONED = 64
RANKS_LOOKED_AT = 16
SAMPLE = 100_000
#: How many cells a drifting particle may have moved along each axis.
DRIFT = 3
POINT, VALUE, INDEX = 16, 8, 8  # bytes

PICTURE = Path(__file__).parent.parent / "docs" / "pictures" / "scaling.png"

Points = tuple[np.ndarray, np.ndarray]  # coordinates (2, n); how many points each stands for


# ---- the situation -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """A square mesh, so many points, and so many ranks."""

    size: int
    vertices: int
    points: float

    @cached_property
    def mesh(self) -> Grid:
        side = isqrt(self.vertices) - 1
        return Grid(np.zeros(2), np.eye(2), (side, side), "right")

    @property
    def density(self) -> float:
        """Points per cell."""
        return self.points / (self.mesh.shape[0] * self.mesh.shape[1])

    @property
    def looked_at(self) -> list[int]:
        return sorted({int(rank) for rank in np.linspace(0, self.size - 1, RANKS_LOOKED_AT)})


def strips(setting: Setting) -> Blocks:
    parts = min(setting.size, setting.mesh.shape[1])
    return Blocks(setting.mesh, (1, parts), tuple(range(parts)))


def compact_parts(setting: Setting) -> Blocks:
    columns = min(max(1, round(0.8 * sqrt(setting.size))), setting.mesh.shape[0])
    rows = min(setting.size // columns, setting.mesh.shape[1])
    ranks = np.random.default_rng(1).permutation(setting.size)[: columns * rows]
    return Blocks(setting.mesh, (columns, rows), tuple(int(rank) for rank in ranks))


PARTITIONS = {"strips": strips, "parts": compact_parts}


@cache
def partition(setting: Setting, name: str) -> Blocks:
    return PARTITIONS[name](setting)


@cache
def blocks_for(setting: Setting, name: str) -> Blocks:
    """The blocks for a mesh partition."""
    windows = [partition(setting, name).part(rank) for rank in range(setting.size)]
    return aligned(setting, [_some_vertices(window) for window in windows])


def aligned(setting: Setting, vertices: list[np.ndarray]) -> Blocks:
    """What `fe_relu.parallel.redistribute.aligned` agrees on, from what every rank owns."""
    found = []
    for layout in Blocks.layouts(setting.mesh, setting.size):
        favourites = [layout.favourite(own) for own in vertices]
        blocks = layout.claimed([block for block, _ in favourites])
        stays = [
            number
            for rank, (block, number) in enumerate(favourites)
            if block >= 0 and blocks.ranks[block] == rank
        ]
        found.append((sum(stays), blocks))
    return max(found, key=lambda pair: pair[0])[1]


def _some_vertices(window: Window, along_axis: int = 16) -> np.ndarray:
    """Evenly spaced ones of a part, the same number for all parts; none of an empty one."""
    if 0 in window.shape:
        return np.empty(0, np.int64)
    steps = (2 * np.arange(along_axis) + 1) / (2 * along_axis)
    i, j = (
        start + (count * steps).astype(np.int64)
        for start, count in zip(window.start, window.shape, strict=True)
    )
    return (j[:, None] * (window.grid.shape[0] + 1) + i).ravel()


# ---- points of a rank ----------------------------------------------------------------------------


def spread(rng: np.random.Generator, count: float, start: tuple, shape: tuple) -> Points:
    """So many points in a box of cells, or `SAMPLE` that stand for them."""
    drawn = min(round(count), SAMPLE)
    x = np.array(start)[:, None] + np.array(shape)[:, None] * rng.random((2, drawn))
    return x, np.full(drawn, count / max(drawn, 1))


def anywhere(setting: Setting, name: str, rank: int, rng: np.random.Generator) -> Points:
    return spread(rng, setting.points / setting.size, (0, 0), setting.mesh.shape)


def drifting(setting: Setting, name: str, rank: int, rng: np.random.Generator) -> Points:
    """Points of the own block, moved. Its sides and corners are regions of their own."""
    window = blocks_for(setting, name).part(rank)
    drawn = [spread(rng, 0, (0, 0), (0, 0))]
    for (i, ni), (j, nj) in product(*map(_border_and_middle, window.start, window.shape)):
        x, weights = spread(rng, setting.density * ni * nj, (i, j), (ni, nj))
        drawn.append((x + rng.uniform(-DRIFT, DRIFT, x.shape), weights))
    coordinates, weights = zip(*drawn, strict=True)
    return np.concatenate(coordinates, axis=1), np.concatenate(weights)


def _border_and_middle(start: int, count: int) -> list[tuple[int, int]]:
    """Start and size of the parts of an axis: what drift can lead out of, and what it cannot."""
    width = min(DRIFT, count)
    cuts = sorted({start, start + width, start + count - width, start + count})
    return [(a, b - a) for a, b in pairwise(cuts)]


def own_cells(setting: Setting, name: str, rank: int, rng: np.random.Generator) -> Points:
    """Points in the cells of the mesh that the rank owns."""
    part = partition(setting, name).part(rank)
    return spread(rng, setting.density * part.shape[0] * part.shape[1], part.start, part.shape)


#: What is asked, and in which mesh partition.
EVALUATIONS = {
    "anywhere": (anywhere, "parts"),
    "drifting": (drifting, "parts"),
    "own strip": (own_cells, "strips"),
    "own part": (own_cells, "parts"),
}


# ---- vertices of a rank --------------------------------------------------------------------------


def owned_vertices(setting: Setting, name: str, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """One of each kind of vertices that a rank owns in a mesh partition, and how many there are.

    Kinds are told apart by the block columns and block rows on their two sides.
    """
    part, blocks = partition(setting, name).part(rank), blocks_for(setting, name)
    i, across = _kinds(part.start[0], part.shape[0], blocks.column_of_cell)
    j, along = _kinds(part.start[1], part.shape[1], blocks.row_of_cell)
    numbers = j[:, None] * (setting.mesh.shape[0] + 1) + i
    return numbers.ravel(), np.outer(along, across).ravel()


def _kinds(start: int, count: int, block_of_cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A part owns the vertices at its start and within, the last part also those at the end."""
    cells = block_of_cell.size
    k = np.arange(start, start + count + (start + count == cells and count > 0))
    before, after = block_of_cell[np.maximum(k - 1, 0)], block_of_cell[np.minimum(k, cells - 1)]
    kind = before.astype(np.int64) * cells + after
    _, first, counts = np.unique(kind, return_index=True, return_counts=True)
    return k[first], counts


# ---- who sends what to whom ----------------------------------------------------------------------


@dataclass(frozen=True)
class Traffic:
    """What a rank sends to others in one round, and what it keeps."""

    messages: int
    travelling: float
    kept: float

    @staticmethod
    def of(destinations: np.ndarray, weights: np.ndarray, rank: int, size: int) -> "Traffic":
        parcels = Parcels.of(destinations, size)
        sums = np.concatenate([[0], np.cumsum(weights[parcels.order])])
        counts = np.diff(sums[list(parcels.starts)])
        away = np.array(parcels.ranks, int) != rank
        return Traffic(int(away.sum()), float(counts[away].sum()), float(counts[~away].sum()))


def owners(blocks: Blocks, x: np.ndarray) -> np.ndarray:
    """The rank that answers each point, found as `fe_relu.parallel.routing` does."""
    return blocks.candidates(x, np.arange(x.shape[1]), np.dtype(np.float64))[1]


def asking(setting: Setting, asked: str, rank: int) -> Traffic:
    """The points that a rank sends out to be evaluated."""
    points, name = EVALUATIONS[asked]
    x, weights = points(setting, name, rank, np.random.default_rng(rank))
    destinations = owners(blocks_for(setting, name), x)
    return Traffic.of(destinations, weights, rank, setting.size)


def moving(setting: Setting, name: str, rank: int) -> Traffic:
    """The nodal values that a rank sends out when a function is converted."""
    vertices, counts = owned_vertices(setting, name, rank)
    positions, ranks = blocks_for(setting, name).holders(vertices)
    return Traffic.of(ranks, counts[positions], rank, setting.size)


@dataclass(frozen=True)
class Load:
    """The most that a rank sends, and the share that all of them keep."""

    messages: int
    bytes: float
    kept: float

    @staticmethod
    def of(ranks: list[Traffic], item: int) -> "Load":
        everything = sum(traffic.travelling + traffic.kept for traffic in ranks)
        return Load(
            max(traffic.messages for traffic in ranks),
            item * max(traffic.travelling for traffic in ranks),
            sum(traffic.kept for traffic in ranks) / max(everything, 1),
        )


@cache
def evaluation(setting: Setting, asked: str) -> Load:
    return Load.of([asking(setting, asked, rank) for rank in setting.looked_at], POINT + VALUE)


@cache
def conversion(setting: Setting, name: str) -> Load:
    return Load.of([moving(setting, name, rank) for rank in setting.looked_at], VALUE)


def window_bytes(setting: Setting) -> int:
    """Nodal values of the largest window, and once more in a table with its ring."""
    windows = [blocks_for(setting, "parts").part(rank) for rank in setting.looked_at]
    ringed = [Window(w.grid, w.start, (w.shape[0] + 2, w.shape[1] + 2)) for w in windows]
    most = [max(w.num_vertices for w in both) for both in (windows, ringed)]
    return VALUE * sum(most)


def route_bytes(setting: Setting) -> float:
    """What `Redistribution` keeps: position and order of values sent, place of those received."""
    ranks = [moving(setting, "parts", rank) for rank in setting.looked_at]
    windows = [blocks_for(setting, "parts").part(rank) for rank in setting.looked_at]
    sent = max(traffic.travelling + traffic.kept for traffic in ranks)
    return INDEX * (2 * sent + max(w.num_vertices for w in windows))


# ---- DOLFINx's own partition ---------------------------------------------------------------------


def partitioned(setting: Setting) -> np.ndarray:
    """The part of each square of the mesh, as DOLFINx's partitioner cuts the triangles' graph."""
    edges = _adjacent_triangles(setting.mesh.shape[0])
    edges = np.concatenate([edges, edges[::-1]], axis=1)
    edges = edges[:, np.argsort(edges[0], kind="stable")]
    offsets = np.searchsorted(edges[0], np.arange(setting.mesh.num_cells + 1)).astype(np.int32)
    adjacency = graph.adjacencylist(np.ascontiguousarray(edges[1]), offsets)
    adjacency = getattr(adjacency, "_cpp_object", adjacency)  # DOLFINx 0.10 wraps it
    parts = graph.partitioner()(MPI.COMM_SELF, setting.size, adjacency, False)
    return parts.array[::2].astype(np.int64)


def _adjacent_triangles(side: int) -> np.ndarray:
    """Pairs of neighbours; square k has the triangles 2k, below its diagonal, and 2k + 1."""
    square = np.arange(side * side, dtype=np.int64).reshape(side, side)
    pairs = [
        (2 * square, 2 * square + 1),
        (2 * square[:, :-1], 2 * square[:, 1:] + 1),
        (2 * square[:-1] + 1, 2 * square[1:]),
    ]
    return np.concatenate([np.stack([a.ravel(), b.ravel()]) for a, b in pairs], axis=1)


def partitioned_loads(setting: Setting) -> tuple[Blocks, Load, Load]:
    """Blocks, evaluation at a random point of each own square, and conversion; of all ranks."""
    part, (nx, ny), rng = partitioned(setting), setting.mesh.shape, np.random.default_rng(0)
    padded = np.pad(part.reshape(ny, nx), (0, 1), mode="edge").ravel()
    owned = [np.flatnonzero(padded == rank) for rank in range(setting.size)]
    blocks = aligned(setting, owned)
    asked, moved = [], []
    for rank, vertices in enumerate(owned):
        j, i = np.divmod(np.flatnonzero(part == rank), nx)
        found = owners(blocks, np.array([i, j]) + rng.random((2, i.size)))
        asked.append(Traffic.of(found, np.ones(found.size), rank, setting.size))
        ranks = blocks.holders(vertices)[1]
        moved.append(Traffic.of(ranks, np.ones(ranks.size), rank, setting.size))
    return blocks, Load.of(asked, POINT + VALUE), Load.of(moved, VALUE)


# ---- tables --------------------------------------------------------------------------------------


SCALINGS: dict[str, Callable[[int], Setting]] = {
    "strong, N = P = 10^6": lambda size: Setting(size, 10**6, 10**6),
    "strong, N = P = 10^8": lambda size: Setting(size, 10**8, 10**8),
    "strong, N = P = 10^10": lambda size: Setting(size, 10**10, 10**10),
    "weak, N/R = P/R = 10^4": lambda size: Setting(size, 10**4 * size, 10**4 * size),
    "weak, N/R = P/R = 10^6": lambda size: Setting(size, 10**6 * size, 10**6 * size),
}

#: Vertices and ranks that do not divide well, beside some that do.
AWKWARD = [(10**8, 127), (10**8, 128), (10**8, 4093), (10**8, 4096), (33**2, 4096)]

HEADER = f"{'msgs':>6}{'bytes':>9}{'kept':>6}"


def rank_counts(most: int) -> list[int]:
    return [4**k for k in range(7) if 4**k <= most]


def human(count: float) -> str:
    """Bytes with three digits."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def written(load: Load) -> str:
    return f"{load.messages:6}{human(load.bytes):>9}{load.kept:6.0%}"


def shape(blocks: Blocks) -> str:
    return "{}x{}".format(*blocks.counts)


def print_evaluation(title: str, settings: list[Setting]) -> None:
    print(f"\n{title}: evaluation, per rank and call")
    print(" " * 14 + "".join(f"{asked:>21}" for asked in EVALUATIONS))
    print(f"{'ranks':>5}{'blocks':>9}" + HEADER * len(EVALUATIONS))
    for setting in settings:
        loads = "".join(written(evaluation(setting, asked)) for asked in EVALUATIONS)
        print(f"{setting.size:5}{shape(blocks_for(setting, 'parts')):>9}{loads}")


def print_conversion(title: str, settings: list[Setting]) -> None:
    print(f"\n{title}: conversion(u), per rank; memory of a rank")
    above = (
        f"{'from strips':>21}{'from parts':>21}{'replicated':>12}{'values':>10}{'kept by a':>12}"
    )
    print(f"{'':5}{above}")
    print(f"{'ranks':>5}{HEADER * 2}{'bytes':>12}{'and ring':>10}{'Conversion':>12}")
    for setting in settings:
        loads = "".join(written(conversion(setting, name)) for name in PARTITIONS)
        replicated = human(VALUE * setting.vertices * (1 - 1 / setting.size))
        memory = f"{human(window_bytes(setting)):>10}{human(route_bytes(setting)):>12}"
        print(f"{setting.size:5}{loads}{replicated:>12}{memory}")


def print_partitioned(most: int) -> None:
    print("\nDOLFINx's partitioner beside the modelled parts, N/R = P/R = 10^4")
    print(f"{'':14}{'own part':>21}{'as modelled':>21}{'conversion(u)':>21}{'as modelled':>21}")
    print(f"{'ranks':>5}{'blocks':>9}{HEADER * 4}")
    for size in rank_counts(min(most, MAX_PARTITIONED))[1:]:
        setting = Setting(size, 10**4 * size, 10**4 * size)
        blocks, own, moved = partitioned_loads(setting)
        loads = (own, evaluation(setting, "own part"), moved, conversion(setting, "parts"))
        print(f"{size:5}{shape(blocks):>9}{''.join(written(load) for load in loads)}")


def print_awkward(most: int) -> None:
    print("\nranks that do not divide well, as many points as vertices")
    print(f"{'':29}{'drifting':>21}{'own part':>21}{'values':>10}")
    print(f"{'vertices':>9}{'ranks':>6}{'blocks':>8}{'idle':>6}{HEADER * 2}{'and ring':>10}")
    for vertices, size in AWKWARD:
        if size <= most:
            setting = Setting(size, vertices, vertices)
            blocks = blocks_for(setting, "parts")
            loads = "".join(written(evaluation(setting, a)) for a in ("drifting", "own part"))
            about = f"{vertices:9}{size:6}{shape(blocks):>8}{size - len(blocks.ranks):6}"
            print(f"{about}{loads}{human(window_bytes(setting)):>10}")


def print_crowded(settings: list[Setting]) -> None:
    print("\npoints of all ranks in one hundredth of the mesh")
    print(f"{'ranks':>5}{'ranks that answer':>20}{'busiest answers, times the mean':>34}")
    for setting in settings:
        side, rng = setting.mesh.shape[0], np.random.default_rng(0)
        x, _ = spread(rng, SAMPLE, (0.2 * side, 0.2 * side), (0.1 * side, 0.1 * side))
        found = owners(blocks_for(setting, "parts"), x)
        answered = np.bincount(found, minlength=setting.size)
        busiest = answered.max() / answered.mean()
        print(f"{setting.size:5}{np.count_nonzero(answered):20}{busiest:34.1f}")


# ---- what the routing code takes, without MPI ----------------------------------------------------


def steps(
    grid: Grid, blocks: Blocks, size: int, x: np.ndarray
) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a rank does with its points x, and with as many messages that come to it."""
    window = Window(grid, (0, 0), (8, 8), 1)
    table = window.table(np.ones((1, window.num_vertices)))
    destinations = owners(blocks, x)
    parcels = Parcels.of(destinations, size)
    packed, found = parcels.pack(x), parcels.room((1,), np.dtype(np.float64))
    values = np.empty((1, x.shape[1]))
    yield "answer, list others'", lambda: table.values(x, np.float64).away
    yield "find owners", lambda: owners(blocks, x)
    yield "sort by rank", lambda: Parcels.of(destinations, size)
    yield "pack", lambda: parcels.pack(x)
    yield "join, answer, split", lambda: answered(table, packed)
    yield "unpack", lambda: parcels.unpack(found, values)


def answered(table: Table, packed: list[np.ndarray]) -> list[np.ndarray]:
    """What arrived, joined, asked in one call, and split again."""
    numbers = [points.shape[1] for points in packed]
    found = table.values(np.hstack(packed), np.float64).numbers
    return np.split(found, np.cumsum(numbers)[:-1], axis=-1)


def seconds(job: Callable[[], object]) -> float:
    """The shortest of twenty runs after one that does not count."""
    times = []
    for _ in range(21):
        start = perf_counter()
        job()
        times.append(perf_counter() - start)
    return min(times[1:])


def print_overheads(size: int) -> None:
    """The cost of a message is that of one point to each rank; of a point, that of many to few."""
    grid, few = Setting(size, 10**6, 1).mesh, min(size, 4)
    blocks_of_many, blocks_of_few = Blocks.layouts(grid, size)[0], Blocks.layouts(grid, few)[0]
    starts = [blocks_of_many.part(rank).start for rank in range(size)]
    x, _ = spread(np.random.default_rng(0), SAMPLE, (0, 0), grid.shape)
    one_each = steps(grid, blocks_of_many, size, np.array(starts).T + 0.5)
    message = {name: seconds(job) / size for name, job in one_each}
    point = {name: seconds(job) / SAMPLE for name, job in steps(grid, blocks_of_few, few, x)}
    message["sum"], point["sum"] = sum(message.values()), sum(point.values())
    print("\nwhat the routing code takes here, without MPI")
    print(f"{'':20}{'µs per message':>16}{'ns per point':>14}")
    for name in message:
        print(f"{name:20}{1e6 * message[name]:16.1f}{1e9 * point[name]:14.1f}")
    held = call_bytes(x, Parcels.of(owners(blocks_of_few, x), few))
    print(f"memory while a call runs: {held:.0f} bytes per point")
    print_limits(message["sum"], point["sum"])


def call_bytes(x: np.ndarray, parcels: Parcels) -> float:
    """All arrays of a call, per point of a rank that is sent as many points as it sends."""
    packed, answers = parcels.pack(x), parcels.room((1,), x.dtype)
    destinations, away = np.empty(x.shape[1], np.int32), np.empty(x.shape[1], np.int64)
    sent_and_received = 2 * [*packed, *answers] + packed  # joined
    held = [x, away, destinations, parcels.order, np.empty(x.shape[1]), *sent_and_received]
    return sum(array.nbytes for array in held) / x.shape[1]


def print_limits(message: float, point: float) -> None:
    """Where a·R = t·P/R."""
    print("ranks at which messages of points anywhere take as long as the points, sqrt(t P / a):")
    for exponent in (6, 8, 10):
        print(f"{f'P = 10^{exponent}':>14}{sqrt(point * 10**exponent / message):8.0f}")


# ---- picture -------------------------------------------------------------------------------------

#: On fewer ranks the modelled parts are blocks, and next to nothing is sent.
DRAWN_FROM = 16
DRAWN = ("strong, N = P = 10^8", "weak, N/R = P/R = 10^6")

#: Name, what is counted, style.
LINES: list[tuple[str, Callable[[Setting], Load], dict]] = [
    (
        "points anywhere",
        lambda setting: evaluation(setting, "anywhere"),
        {"color": "#c8442f", "marker": "o"},
    ),
    (
        "points in own cells",
        lambda setting: evaluation(setting, "own part"),
        {"color": "#c28a12", "marker": "s", "linestyle": "--"},
    ),
    (
        "drifting points",
        lambda setting: evaluation(setting, "drifting"),
        {"color": "#2a7ab8", "marker": "^"},
    ),
    (
        "a function converted",
        lambda setting: conversion(setting, "parts"),
        {"color": "#4b4b4b", "marker": "D", "linestyle": ":"},
    ),
]


def draw(settings: dict[str, list[Setting]], picture: Path) -> None:
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 12})
    figure, panels = plt.subplots(2, 2, figsize=(9, 6.8), sharex=True, sharey="row")
    for column, name in zip(panels.T, DRAWN, strict=True):
        column[0].set_title(re.sub(r"10\^(\d+)", r"$10^{\1}$", name), fontsize=13)
        draw_column(column, [setting for setting in settings[name] if setting.size >= DRAWN_FROM])
    panels[0, 0].set_ylabel("messages sent by a rank")
    panels[1, 0].set_ylabel("bytes of a rank, out and back")
    handles = panels[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="lower center", ncols=len(LINES), frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=130)


def draw_column(column: np.ndarray, settings: list[Setting]) -> None:
    """Messages above, bytes below."""
    ranks = [setting.size for setting in settings]
    for label, count, style in LINES:
        loads = [count(setting) for setting in settings]
        style = {"label": label, "markersize": 5, "linewidth": 1.8, **style}
        column[0].loglog(ranks, [load.messages for load in loads], **style)
        column[1].loglog(ranks, [load.bytes for load in loads], **style)
    for axes in column:
        axes.set_xscale("log", base=4)
        axes.set_xticks(ranks, [str(size) for size in ranks])
        axes.tick_params(axis="x", which="minor", bottom=False)
        axes.grid(color="#e4e4e4")
        axes.spines[["top", "right"]].set_visible(False)
    column[1].set_xlabel("ranks")


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else MAX_RANKS
    picture = Path(sys.argv[2]) if len(sys.argv) > 2 else PICTURE
    settings = {
        name: [scaling(size) for size in rank_counts(most)] for name, scaling in SCALINGS.items()
    }
    replicated = (
        f"{REPLICATED_VALUES:,} nodal values, {human(2 * VALUE * REPLICATED_VALUES)} with ring"
    )
    print(f"replicated by default up to {replicated}")
    for name, row in settings.items():
        print_evaluation(name, row)
        print_conversion(name, row)
    print_partitioned(most)
    print_awkward(most)
    print_crowded(settings[DRAWN[0]])
    print_overheads(most)
    draw(settings, picture)


if __name__ == "__main__":
    main()
