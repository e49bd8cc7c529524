# SPDX-License-Identifier: MIT
"""The grid spread over ranks in blocks: the serial network's bits, whatever lies where."""

import itertools
import tracemalloc
from types import SimpleNamespace

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import fem
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import DIAGONALS, MAPS, SHAPES, mapped, on_first_rank, random_function, rectangle
from fe_relu import (
    Grid,
    P1Network,
    UnsupportedFunctionError,
    function_from_network,
    interpolation_plan,
    network_from_function,
)
from fe_relu.meshes.grid.blocks import Blocks
from fe_relu.parallel.exchange import exchange_on


def pair(comm, diagonal, shape, *, space=("P", 1), dtype=np.float64, image=None, **options):
    """The network of one random function, spread in blocks, and of this rank alone."""
    networks = []
    for group, more in ((comm, options), (MPI.COMM_SELF, {})):
        msh = rectangle(group, diagonal, shape, dtype=dtype, **more)
        if image is not None:
            mapped(msh, MAPS[image])
        u = random_function(fem.functionspace(msh, space), np.random.default_rng(7))
        networks.append(network_from_function(u, layout="blocks"))
    return networks


def points_everywhere(grid, rng, count):
    """Inside, around, far outside, on vertices, edges and half steps: block borders included."""
    size = np.array(grid.shape, float)[:, None]
    around = rng.random((2, count)) * (size + 4) - 2
    halves = np.indices([2 * n + 5 for n in grid.shape]).reshape(2, -1) / 2 - 1
    lattice = np.concatenate([around, halves, 1e3 * around[:, : count // 10]], axis=1)
    return grid.origin[:, None] + grid.axes @ lattice[:, rng.permutation(lattice.shape[1])]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_values_gradients_and_plans_are_the_serial_bits(comm, diagonal, shape, dtype):
    spread, alone = pair(comm, diagonal, shape, space=("P", 1, (2,)), dtype=dtype)
    assert spread.blocks is None if comm.size == 1 else spread.blocks is not None
    rng = np.random.default_rng(comm.rank)
    x = points_everywhere(spread.mesh, rng, 100 * comm.rank)[:, comm.rank :].astype(dtype)
    assert spread(x).tobytes() == alone(x).tobytes()
    assert spread.gradient(x).tobytes() == alone.gradient(x).tobytes()
    assert spread.plan(x)().tobytes() == alone(x).tobytes()
    assert spread.gather().values.tobytes() == alone.values.tobytes()


@pytest.mark.parametrize("image", MAPS)
def test_affine_images_are_spread_too(comm, image):
    spread, alone = pair(comm, "crossed", (6, 5), image=image)
    x = points_everywhere(spread.mesh, np.random.default_rng(comm.rank), 500)
    assert spread(x).tobytes() == alone(x).tobytes()


#: Which points a rank asks for, by name: (points of this rank, blocks) → points.
SITUATIONS = {
    "no points": lambda x, rank, size: x[:, :0],
    "none on one rank": lambda x, rank, size: x[:, : 0 if rank == 0 else None],
    "all on one rank": lambda x, rank, size: x[:, : None if rank == size - 1 else 0],
    "all in one corner": lambda x, rank, size: 0.01 * (x % 1),
    "everywhere": lambda x, rank, size: x,
}


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (6, 5)])
@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("cells", ["spread", "on one rank"])
def test_empty_ranks_take_part(comm, situation, cells, shape):
    options = {} if cells == "spread" else {"partitioner": on_first_rank}
    spread, alone = pair(comm, "left_right", shape, **options)
    x = np.random.default_rng(comm.rank).random((2, 200))
    x = SITUATIONS[situation](x, comm.rank, comm.size)
    assert spread(x).tobytes() == alone(x).tobytes()
    assert spread.gradient(x).tobytes() == alone.gradient(x).tobytes()


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_back_bit_for_bit_from_blocks(comm, diagonal):
    for options in ({}, {"partitioner": on_first_rank}, {"ghosts": "none"}):
        V = fem.functionspace(rectangle(comm, diagonal, (6, 5), **options), ("P", 1, (2,)))
        u = random_function(V, np.random.default_rng(3))
        back, certificate = function_from_network(network_from_function(u, layout="blocks"), V)
        assert back.x.array.tobytes() == u.x.array.tobytes()
        assert certificate.exact


def test_certificates_of_blocks_are_those_of_the_whole(comm):
    spread, alone = pair(comm, "crossed", (6, 5))
    V = fem.functionspace(rectangle(comm, "left", (4, 7), partitioner=on_first_rank), ("P", 1))
    whole = alone.gather()
    assert function_from_network(spread, V)[1] == function_from_network(whole, V)[1]
    assert spread.explicit().widths == alone.explicit().widths


@pytest.mark.parametrize("layout", ["blocks", "replicated"])
def test_plans_follow_updates(comm, layout):
    V = fem.functionspace(rectangle(comm, "crossed", (6, 5)), ("P", 1))
    u = random_function(V, np.random.default_rng(1))
    network = network_from_function(u, layout=layout)
    x = np.random.default_rng(comm.rank).random((2, 300 * comm.rank))
    plan = network.plan(x)
    first = plan()
    u.x.array[:] *= -3.7
    updated = network.update(u)
    assert plan().tobytes() == updated(x).tobytes()
    assert plan(network).tobytes() == first.tobytes() == network(x).tobytes()
    other = P1Network(Grid((0, 0), np.eye(2), (1, 1), "right"), np.ones(4))
    with pytest.raises(ValueError, match="another grid"):
        plan(other)


@pytest.mark.parametrize("layout", ["blocks", "replicated"])
def test_each_rank_computes_in_the_precision_of_its_own_points(comm, layout):
    V = fem.functionspace(rectangle(comm, "right", (6, 5), dtype=np.float32), ("P", 1))
    network = network_from_function(random_function(V, np.random.default_rng(1)), layout=layout)
    x = np.random.default_rng(comm.rank).random((2, 50))
    mine = x.astype(np.float64 if comm.rank == 0 else np.float32)
    values = network(mine)
    assert values.dtype == mine.dtype
    assert values.tobytes() == network.gather()(mine).tobytes() == network.plan(mine)().tobytes()


@pytest.mark.parametrize("method", ["__call__", "gradient", "plan"])
def test_nan_on_one_rank_raises_on_all(comm, method):
    spread, _ = pair(comm, "right", (6, 5))
    x = np.full((2, 5), 0.3)
    if comm.rank == comm.size - 1:
        x[1, 3] = np.nan
    with pytest.raises(ValueError, match="1 of 5 points are NaN or infinite, the first at index 3"):
        getattr(spread, method)(x)
    assert spread(np.full((2, 5), 0.3)).shape == (5,)


def test_gradient_is_that_of_dolfinx(comm):
    """In cells: the constant gradient of each, against ufl.grad interpolated into DG0."""
    import ufl

    from fe_relu.fenicsx import compat

    for diagonal, layout in itertools.product(DIAGONALS, ["blocks", "replicated"]):
        msh = mapped(rectangle(comm, diagonal, (5, 4)), MAPS["sheared"])
        u = random_function(fem.functionspace(msh, ("P", 1)), np.random.default_rng(1))
        W = fem.functionspace(msh, ("DG", 0, (2,)))
        points = W.element.interpolation_points
        points = points() if callable(points) else points
        slopes = fem.Function(W)
        slopes.interpolate(fem.Expression(ufl.grad(u), points))
        cells = msh.topology.index_map(2).size_local
        corners = msh.geometry.x[compat.geometry_dofmap(msh)[:cells]]
        network = network_from_function(u, layout=layout)
        found = network.gradient(corners.mean(axis=1).T)
        exact = slopes.x.array.reshape(-1, 2)[:cells].T
        assert np.abs(found - exact).max(initial=0) < 1e-11


def spelt_out(runs):
    """(place, number) of each vertex of runs."""
    return [(run.place + k, run.first + k) for run in runs for k in range(run.length)]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.integers(1, 12),
    diagonal=st.sampled_from(DIAGONALS),
)
def test_blocks_cover_the_grid_and_hold_what_their_cells_need(shape, size, diagonal):
    """A pure function of shape and number of ranks, so any number of ranks fits in one process."""
    grid = Grid((0, 0), np.eye(2), shape, diagonal)
    blocks = Blocks.layouts(grid, size)[-1]
    number = len(blocks.ranks)
    blocks = blocks.claimed([(3 * r) % (number + 1) - 1 for r in range(size)])
    windows = [blocks.window(rank) for rank in range(size)]
    assert sum(w.shape[0] * w.shape[1] for w in windows) == shape[0] * shape[1]
    assert len(set(blocks.ranks)) == len(blocks.ranks) <= size
    assert set(blocks.ranks) <= set(range(size))
    position, rank = blocks.holders(grid, np.arange(grid.num_vertices))
    owned = []
    for r, window in enumerate(windows):
        held = window.vertices(grid)
        assert sorted(position[rank == r]) == sorted(held)
        assert window.local_numbers(grid, held).tolist() == list(range(held.size))
        assert held.size == window.num_vertices(grid.has_centres)
        assert spelt_out(window.runs(grid)) == list(enumerate(held))
        own = spelt_out(window.runs(grid, own=True))
        assert own == [(place, held[place]) for place, _ in own]
        owned += [number for _, number in own]
    assert sorted(owned) == list(range(grid.num_vertices))


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
    x = points_everywhere(network.mesh, rng, 50)[:, : counts[comm.rank % 4]]
    assert network(x).tobytes() == alone(x).tobytes()


def test_other_communicators_at_once(comm):
    half, copy = comm.Split(comm.rank % 2), comm.Dup()
    x = np.random.default_rng(comm.rank).random((2, 50))
    found = [pair(group, "right", (6, 5))[0](x) for group in (half, copy)]
    assert found[0].tobytes() == found[1].tobytes()
    half.Free()
    copy.Free()


def test_an_exception_on_one_rank_in_update_raises_on_all(comm):
    spread, _ = pair(comm, "right", (6, 5))
    function = fem.Function(spread.source.V)
    broken = SimpleNamespace() if comm.rank == comm.size - 1 else function
    with pytest.raises(TypeError, match="not SimpleNamespace"):
        spread.update(broken)


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


def test_unknown_layout_is_refused(comm):
    u = fem.Function(fem.functionspace(rectangle(comm), ("P", 1)))
    with pytest.raises(ValueError, match='layout must be "auto", "blocks" or "replicated"'):
        network_from_function(u, layout="sharded")


SPACES = {
    "P1": ("P", 1, (2,)),
    "P2": ("P", 2, (2,)),
    "DG1": ("DG", 1, (2,)),
    "DG0": ("DG", 0, (2,)),
}


@pytest.mark.parametrize("layout", ["blocks", "replicated"])
@pytest.mark.parametrize("name", SPACES)
def test_interpolation_on_another_mesh(comm, name, layout):
    """Planned or not: what dolfinx makes of the network of this rank alone."""
    V = fem.functionspace(rectangle(comm, "left_right", (6, 5)), ("P", 1, (2,)))
    u = random_function(V, np.random.default_rng(1))
    network = network_from_function(u, layout=layout)
    W = fem.functionspace(rectangle(comm, "crossed", (7, 8), "shifted"), SPACES[name])
    expected, found = fem.Function(W), fem.Function(W)
    expected.interpolate(network.gather())
    found.interpolate(network)
    assert found.x.array.tobytes() == expected.x.array.tobytes()
    plan = interpolation_plan(network, W)
    owned = 2 * W.dofmap.index_map.size_local
    assert np.abs(plan().x.array - expected.x.array)[:owned].max(initial=0) < 1e-13
    u.x.array[:] *= -2
    network.update(u)
    assert np.abs(plan(found).x.array + 2 * expected.x.array)[:owned].max(initial=0) < 1e-13


def test_interpolation_plans_refuse_what_they_cannot_do(comm):
    V = fem.functionspace(rectangle(comm), ("P", 1))
    network = network_from_function(random_function(V, np.random.default_rng(1)))
    with pytest.raises(UnsupportedFunctionError, match="values at points"):
        interpolation_plan(network, fem.functionspace(V.mesh, ("Bubble", 3)))
    with pytest.raises(ValueError, match="V needs 2 inputs and 2 outputs"):
        interpolation_plan(network, fem.functionspace(V.mesh, ("P", 1, (2,))))
    with pytest.raises(ValueError, match="another space"):
        interpolation_plan(network, V)(fem.Function(fem.functionspace(V.mesh, ("P", 2))))


def test_memory_of_a_rank_is_its_share(comm):
    """Bytes held per rank: window and its table, of N values in all, and nothing of size N."""
    shape = (240, 200)
    msh = rectangle(comm, "right", shape)
    u = fem.Function(fem.functionspace(msh, ("P", 1)))
    held, peak = [], []
    for layout in ("blocks", "replicated"):
        network = network_from_function(u, layout=layout)
        network.table  # noqa: B018
        held.append(network.values.nbytes + network.table.entries.nbytes)
        x = np.random.default_rng(comm.rank).random((2, 20_000 // comm.size))
        tracemalloc.start()
        network.update(u)(x)
        peak.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    share = 1 / comm.size
    assert held[0] < (share + 0.05) * held[1]
    # Update and evaluation together: this rank's share of values and of points, a few times.
    assert peak[0] < 10 * share * (8 * np.prod(shape) + 8 * 3 * 20_000)
