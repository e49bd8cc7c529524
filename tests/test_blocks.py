# SPDX-License-Identifier: MIT
"""Grids in blocks: arithmetic that covers every vertex, random partitions, and no waste."""

import tracemalloc

from mpi4py import MPI

import numpy as np
from dolfinx import fem
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import (
    DIAGONALS,
    everywhere,
    on_first_rank,
    points_in_cells,
    random_function,
    rectangle,
)
from fe_relu import Conversion, Grid, function_from_network, network_from_function
from fe_relu.meshes.grid.blocks import Blocks
from fe_relu.meshes.grid.boxes import LARGEST_WINDOW, Box
from fe_relu.parallel.exchange import exchange_on


def pair(comm, diagonal, shape, **options):
    """The network of one random function, spread in blocks, and of this rank alone."""
    networks = []
    for group, more in ((comm, options), (MPI.COMM_SELF, {})):
        V = fem.functionspace(rectangle(group, diagonal, shape, **more), ("P", 1))
        u = random_function(V, np.random.default_rng(7))
        networks.append(network_from_function(u, layout="blocks"))
    return networks


def test_certificates_of_blocks_are_those_of_the_whole(comm):
    spread, alone = pair(comm, "crossed", (6, 5))
    V = fem.functionspace(rectangle(comm, "left", (4, 7), partitioner=on_first_rank), ("P", 1))
    whole = alone.gather()
    assert function_from_network(spread, V)[1] == function_from_network(whole, V)[1]


def spelt_out(runs):
    """(place, number) of each vertex of runs."""
    return [(run.place + k, run.first + k) for run in runs for k in range(run.length)]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.integers(1, 12),
    diagonal=st.sampled_from(DIAGONALS),
    extents=st.lists(st.lists(st.integers(0, 99), max_size=3), min_size=12, max_size=12),
)
def test_blocks_cover_the_grid_and_hold_what_their_cells_need(shape, size, diagonal, extents):
    """A pure function of shape and number of ranks, so any number of ranks fits in one process."""
    grid = Grid((0, 0), np.eye(2), shape, diagonal)
    blocks = Blocks.layouts(grid, size)[-1]
    number = len(blocks.ranks)
    blocks = blocks.claimed([(3 * r) % (number + 1) - 1 for r in range(size)])
    wanted = [np.array(some, int) % grid.num_vertices for some in extents[:size]]
    narrow = [blocks.part(rank).num_vertices for rank in range(size)]
    blocks = blocks.widened([blocks.extent(vertices) for vertices in wanted])
    windows = [blocks.part(rank) for rank in range(size)]
    cells = [
        np.prod(np.add(w.shape, (-w.margin[0] - w.margin[1], -w.margin[2] - w.margin[3])))
        for w in windows
    ]
    assert sum(cells) == np.prod(shape)
    assert len(set(blocks.ranks)) == len(blocks.ranks) <= size
    assert set(blocks.ranks) <= set(range(size))
    numbers = np.arange(grid.num_vertices)
    position, rank = blocks.holders(numbers)
    owned = []
    for r, window in enumerate(windows):
        held = window.numbers()
        assert sorted(position[rank == r]) == sorted(held)
        assert window.local_numbers(held).tolist() == list(range(held.size))
        assert window.whole_numbers(np.arange(held.size)).tolist() == held.tolist()
        assert held.size == window.num_vertices
        assert spelt_out(window.runs()) == list(enumerate(held))
        own = spelt_out(window.runs(own=True))
        assert own == [(place, held[place]) for place, _ in own]
        assert [place for place, _ in own] == np.flatnonzero(window.owned()).tolist()
        assert set(held[window.owned()]) == set(np.flatnonzero(blocks.owners(numbers) == r))
        assert window.refined(2) == blocks.refined(2).part(r)
        assert held[window.own].tolist() == [number for _, number in own] or not any(window.margin)
        assert np.prod(window.shape) <= LARGEST_WINDOW * cells[r]
        assert held.size >= narrow[r]
        if r in blocks.ranks and wanted[r].size:
            block, extent = blocks.boxes[blocks.ranks.index(r)], blocks.extent(wanted[r])
            around = Box(
                *np.where([1, 0, 1, 0], np.minimum(block, extent), np.maximum(block, extent))
            )
            if around.num_cells <= LARGEST_WINDOW * cells[r]:
                assert set(wanted[r]) <= set(held)
        owned += [number for _, number in own]
    assert sorted(owned) == numbers.tolist()


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    diagonal=st.sampled_from(DIAGONALS),
    spread=st.booleans(),
    ghosts=st.sampled_from(["none", "shared_facet"]),
    counts=st.lists(st.integers(0, 40), min_size=4, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_mesh_partition_and_points(shape, diagonal, spread, ghosts, counts, seed):
    comm = MPI.COMM_WORLD
    options = {} if spread else {"partitioner": on_first_rank}
    network, alone = pair(comm, diagonal, shape, ghosts=ghosts, **options)
    rng = np.random.default_rng([seed, comm.rank])
    x = everywhere(network.mesh, rng, 50)[:, -counts[comm.rank % 4] :]
    assert network(x).tobytes() == alone(x).tobytes()


def test_ten_thousand_calls_leave_nothing_behind(comm):
    import resource

    spread, _ = pair(comm, "right", (6, 5))
    x = np.random.default_rng(comm.rank).random((2, 20))
    for _ in range(1000):
        spread(x)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(9000):
        spread(x)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2000  # kB


def test_a_communicator_has_one_of_its_own_and_takes_it_along(comm):
    copy = comm.Dup()
    exchange = exchange_on(copy)
    assert exchange_on(copy) is exchange
    copy.Free()
    assert exchange.comm == MPI.COMM_NULL


def test_memory_of_a_rank_is_its_share(comm):
    """Bytes held: those of a rank's block and of as many cells of its own around it; none of N."""
    shape = (240, 200)
    u = fem.Function(fem.functionspace(rectangle(comm, "right", shape), ("P", 1)))
    held, peak = [], []
    for layout in ("blocks", "replicated"):
        conversion = Conversion(u.function_space, layout=layout)
        network = conversion(u)
        held.append(network.values.nbytes + network.table.entries.nbytes)
        x = np.random.default_rng(comm.rank).random((2, 20_000 // comm.size))
        tracemalloc.start()
        conversion(u)(x)
        peak.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    share = min(LARGEST_WINDOW / comm.size, 1)
    assert held[0] < (share + 0.05) * held[1]
    # Conversion and evaluation together: this rank's share of values and of points, a few times.
    assert peak[0] < 10 * share * (8 * np.prod(shape) + 8 * 3 * 20_000)


def test_points_of_own_cells_stay(comm, rng):
    """All of them, as long as the window that this takes is at most twice the block."""
    V = fem.functionspace(rectangle(comm, "right", (40, 34)), ("P", 1))
    network = network_from_function(random_function(V, rng), layout="blocks")
    x, _ = points_in_cells(V.mesh, 500, rng)
    away = network.table.values(x, network.dtype).away
    part, mesh = network.part, network.mesh
    (i, j), (first_i, first_j) = mesh.inverse @ (x - mesh.origin[:, None]), part.start
    held = (first_i < i) & (i < first_i + part.shape[0])
    held &= (first_j < j) & (j < first_j + part.shape[1])
    assert not held[away].any()
    assert comm.size > LARGEST_WINDOW or away.size == 0
