# SPDX-License-Identifier: MIT
"""P2 functions as deep networks: products of hats by the book, explicit layers, and dolfinx."""

import itertools

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import fem

from cases import (
    DIAGONALS,
    MAPS,
    bound,
    certified,
    evaluated,
    mapped,
    on_first_rank,
    points_in_cells,
    random_function,
    rectangle,
)
from fe_relu import (
    Grid,
    P1Network,
    P2Network,
    UnsupportedFunctionError,
    compat,
    function_from_network,
    interpolation_plan,
    network_from_function,
    p2_layers,
)
from fe_relu.meshes.grid.hats import hidden_layers, mesh_hats
from fe_relu.meshes.grid.midpoints import bump_size
from fe_relu.networks.p2_layers import numbered_edges

FLOATS = (np.float32, np.float64)
SHAPES = [(1, 1), (3, 5), (4, 4)]

#: Origin and axes.
FRAMES = {
    "unit": ((0, 0), np.eye(2)),
    "rotated": ((0.3, -0.7), MAPS["rotated"] * [0.5, 3.0]),
    "sheared": ((5, 5), MAPS["sheared"] * [0.1, 0.2]),
}


def random_network(frame, shape, diagonal, rng, *, outputs=(), dtype=np.float64, levels=4):
    grid = Grid(*FRAMES[frame], shape, diagonal)
    values = rng.standard_normal((*outputs, grid.refined(2).num_vertices)).astype(dtype)
    return P2Network(grid, values, levels=levels)


def everywhere(grid, rng, count=300):
    """Points inside, around and far outside; nodes, and thirds of cells."""
    size = np.array(grid.shape, float)[:, None]
    quarters, thirds = (
        np.indices([k * (n + 4) + 1 for n in grid.shape]).reshape(2, -1) / k - 2 for k in (4, 3)
    )
    around = rng.random((2, count)) * (size + 4) - 2
    far = (rng.random((2, count)) - 0.5) * 1e6 * size
    return grid.origin[:, None] + grid.axes @ np.hstack([quarters, thirds, around, far])


def tolerance(network, x, dtype=np.float64):
    """What roundoff may do to P1 values, times the slopes of quadratic functions over theirs."""
    return 16 * bound(network.mesh, x, network.values, dtype)


def square_interpolant(t, levels):
    """The P1 interpolant of t² on 2^levels cells of [0, 1]."""
    knots = np.linspace(0, 1, 2**levels + 1)
    return np.interp(t, knots, knots**2)


def by_the_book(network, x):
    """Σ u_v φ_v + Σ_e s_e 4 Π(φᵢ, φⱼ), from all hats and a product of interpolants of squares."""
    h = x
    for layer in hidden_layers(network.mesh, network.dtype, mesh_hats(network.mesh)):
        h = np.maximum(layer(h), 0)
    vertices, (one, other), middles = numbered_edges(network.mesh)
    values = np.atleast_2d(network.values)
    nodal = values[:, vertices]
    surpluses = values[:, middles] - (nodal[:, one] + nodal[:, other]) / 2
    total, first, second = (
        square_interpolant(t / 2, network.levels + 1) for t in (h[one] + h[other], h[one], h[other])
    )
    return nodal @ h + surpluses @ (8 * (total - first - second))


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_active_neurons_give_products_of_hats(diagonal, frame, rng):
    for shape, levels in itertools.product(SHAPES, (1, 2, 5)):
        network = random_network(frame, shape, diagonal, rng, outputs=(2,), levels=levels)
        x = everywhere(network.mesh, rng)
        assert (np.abs(network(x) - by_the_book(network, x)) <= tolerance(network, x)).all()


@pytest.mark.parametrize("outputs", [(), (3,)])
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_explicit_layers_give_what_active_neurons_give(diagonal, outputs, rng):
    cases = itertools.product(FRAMES, SHAPES, (1, 2, 7), FLOATS)
    for frame, shape, levels, dtype in cases:
        network = random_network(
            frame, shape, diagonal, rng, outputs=outputs, dtype=dtype, levels=levels
        )
        x = everywhere(network.mesh, rng, 50).astype(dtype)
        active, every = network(x), network.explicit()(x)
        assert active.shape == every.shape == (*outputs, x.shape[1])
        assert active.dtype == every.dtype == dtype
        assert (np.abs(active - every) <= tolerance(network, x, dtype)).all()


@pytest.mark.parametrize("levels", [1, 3, 10])
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_depth_is_linear_in_levels_and_width_constant(diagonal, levels, rng):
    network = random_network("unit", (3, 5), diagonal, rng, outputs=(3,), levels=levels)
    explicit = network.explicit()
    lines, hats = (
        layer.dim_out
        for layer in hidden_layers(network.mesh, network.dtype, mesh_hats(network.mesh))
    )
    edges = network.values.shape[1] - hats
    deep = (2 * (hats + edges) + 2 * 3,) * (levels + 1)
    assert explicit.widths == (2, lines, hats, *deep, 3)
    assert explicit.hidden_layers == levels + 3


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_nodal_values_come_back_at_the_nodes(diagonal, rng):
    for frame, levels in itertools.product(FRAMES, (1, 4)):
        network = random_network(frame, (3, 5), diagonal, rng, outputs=(2,), levels=levels)
        x = network.mesh.refined(2).vertices()
        assert (np.abs(network(x) - network.values) <= tolerance(network, x)).all()


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_the_support_ends_one_cell_outside(diagonal, rng):
    network = random_network("rotated", (3, 5), diagonal, rng)
    t = np.linspace(-3, 9, 60)
    beyond = np.hstack([[0 * t - 1.01, t], [0 * t + 4.01, t], [t, 0 * t - 1.01], [t, 0 * t + 6.01]])
    x = network.mesh.origin[:, None] + network.mesh.axes @ beyond
    assert (network(x) == 0).all()
    assert (network.gradient(x) == 0).all()
    assert (network.explicit()(x) == 0).all()


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_gradient_is_the_slope_between_points_of_a_small_triangle(diagonal, rng):
    network = random_network("sheared", (3, 4), diagonal, rng, outputs=(2,), levels=3)
    inside = rng.random((2, 3000)) * [[5], [6]] - 1
    x = network.mesh.origin[:, None] + network.mesh.axes @ inside
    step = 1e-6 * network.mesh.axes
    slopes, same = network.gradient(x), np.ones(x.shape[1], bool)
    for k in range(2):
        ahead, behind = x + step[:, k : k + 1], x - step[:, k : k + 1]
        ends = network.gradient(ahead), network.gradient(behind)
        same &= ((np.abs(ends[0] - slopes) + np.abs(ends[1] - slopes)) < 1e-9).all(axis=(0, 1))
        gain = np.einsum("kdn,d->kn", slopes, 2 * step[:, k])
        error = np.abs(network(ahead) - network(behind) - gain)
        assert error[:, same].max() < 1e-12
    assert same.mean() > 0.99


def test_gradient_of_many_levels_is_that_of_the_quadratic(rng):
    grid = Grid((0.0, 0.0), np.eye(2) / 4, (4, 4), "left_right")
    x, y = grid.refined(2).vertices()
    network = P2Network(grid, 3 * x * x - x * y + 2 * y * y - x, levels=26)
    (x, y) = points = rng.random((2, 1000))
    exact = np.array([6 * x - y - 1, 4 * y - x])
    assert np.abs(network.gradient(points) - exact).max() < 1e-6
    assert np.abs(network(points) - (3 * x * x - x * y + 2 * y * y - x)).max() < 1e-14


def test_bumps_are_as_large_as_the_largest_sample(rng):
    """Some surpluses have their largest bump on an edge, some inside; equal ones at 4/3."""
    a, b, c = rng.standard_normal((3, 500))
    a[:50], b[:50], c[:50] = 1, 1 + 0.1 * b[:50], 1 + 0.1 * c[:50]
    i, j = np.indices((121, 121)).reshape(2, -1) / 120
    l1, l2 = np.array([i, j])[:, i + j <= 1]
    l3 = 1 - l1 - l2
    sampled = np.abs(4 * (np.outer(a, l2 * l3) + np.outer(b, l1 * l3) + np.outer(c, l1 * l2))).max(
        axis=1
    )
    size = bump_size(a, b, c)
    assert (sampled <= size * (1 + 1e-14)).all()
    assert (sampled >= 0.999 * size).all()
    assert np.count_nonzero(size > 1.01 * np.abs([a, b, c]).max(axis=0)) > 50
    assert bump_size(np.ones(1), np.ones(1), np.ones(1)) == pytest.approx(4 / 3)
    assert bump_size(np.zeros(1), np.zeros(1), np.zeros(1)) == 0


def worst_points(msh, levels, count=40):
    """In one small triangle of each cell, a fine lattice of points; and their cells."""
    cells = np.arange(msh.topology.index_map(2).size_local, dtype=np.int32)
    i, j = np.indices((count + 1, count + 1)).reshape(2, -1) / count
    small = np.array([i, j, 1 - i - j])[:, i + j <= 1] / 2**levels
    weights = small + [[1 - 0.5**levels], [0], [0]]
    corners = msh.geometry.x[compat.geometry_dofmap(msh)[cells], :2]
    x = np.einsum("ws,cwd->dcs", weights, corners)
    return x.reshape(2, cells.size * weights.shape[1]), np.repeat(cells, weights.shape[1])


@pytest.mark.parametrize("levels", [1, 2, 6])
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_error_is_at_most_its_bound_and_attains_it(comm, rng, diagonal, levels):
    for shape, space in ((1, 1), ("P", 2)), ((3, 5), ("P", 2)), ((4, 4), ("P", 2, (2,))):
        msh = mapped(rectangle(comm, diagonal, shape), MAPS["sheared"])
        u = random_function(fem.functionspace(msh, space), rng)
        network = network_from_function(u, levels=levels)
        roundoff = tolerance(network, np.zeros((2, 1))).max()
        found = []
        anywhere = points_in_cells(msh, 1000, np.random.default_rng(comm.rank))
        for x, cells in (anywhere, worst_points(msh, levels)):
            error = np.abs(network(x) - evaluated(u, x, cells)).max(initial=0)
            found += comm.allgather(float(error))
        assert 0.99 * network.error_bound < max(found) <= network.error_bound + roundoff


def test_error_falls_fourfold_with_each_level(comm, rng):
    V = fem.functionspace(rectangle(comm, "crossed"), ("P", 2))
    u = random_function(V, rng)
    bounds = [network_from_function(u, levels=levels).error_bound for levels in (1, 2, 3, 10)]
    assert bounds[0] == 4 * bounds[1] == 16 * bounds[2] == 4**9 * bounds[3] > 0


@pytest.mark.parametrize("layout", ["replicated", "blocks"])
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_back_bit_for_bit(comm, rng, diagonal, layout):
    for shape, space, options in (
        ((1, 1), ("P", 2), {}),
        ((3, 5), ("P", 2, (2,)), {"partitioner": on_first_rank}),
        ((4, 4), ("P", 2, (2, 2)), {"ghosts": "none", "dtype": np.float32}),
    ):
        u = random_function(
            fem.functionspace(rectangle(comm, diagonal, shape, **options), space), rng
        )
        network = network_from_function(u, layout=layout, levels=3)
        assert isinstance(network, P2Network)
        assert (network.dtype, network.levels) == (u.x.array.dtype, 3)
        back, certificate = function_from_network(network, u.function_space)
        assert back.x.array.tobytes() == u.x.array.tobytes()
        slack = 1e-2 if u.x.array.dtype == np.float32 else 1e-11
        assert not certificate.exact
        assert certificate.lower <= network.error_bound <= certificate.upper
        assert certificate.upper - certificate.lower < slack


@pytest.mark.parametrize("image", MAPS)
def test_affine_images_and_other_partitions(comm, image):
    meshes = [
        mapped(rectangle(comm, "left_right", (3, 5), **options), MAPS[image])
        for options in ({}, {"partitioner": on_first_rank})
    ]
    u, expected = (
        random_function(fem.functionspace(msh, ("P", 2)), np.random.default_rng(1))
        for msh in meshes
    )
    back, _ = function_from_network(
        network_from_function(u, layout="blocks"), expected.function_space
    )
    assert back.x.array.tobytes() == expected.x.array.tobytes()


def test_interpolate_takes_the_network(comm, rng):
    u = random_function(fem.functionspace(rectangle(comm, "crossed"), ("P", 2, (2,))), rng)
    again = fem.Function(u.function_space)
    again.interpolate(network_from_function(u))
    assert np.abs(again.x.array - u.x.array).max(initial=0) < 1e-12


def test_many_levels_are_exact(comm, rng):
    u = random_function(fem.functionspace(rectangle(comm, "crossed"), ("P", 2)), rng)
    _, certificate = function_from_network(network_from_function(u, levels=26), u.function_space)
    assert certificate.exact
    assert certificate.upper < 1e-11


def test_displaced_vertices_are_counted(comm, rng):
    V = fem.functionspace(rectangle(comm, "crossed", (4, 3)), ("P", 2))
    u = random_function(V, rng)
    network = network_from_function(u, levels=20)
    V.mesh.geometry.x[:, :2] += 2e-9 / 4 * np.cos(1e3 * V.mesh.geometry.x[:, [1, 0]])
    back, _ = function_from_network(network, V)
    assert back.x.array.tobytes() == u.x.array.tobytes()
    certificate, seen = certified(network, V, rng)
    assert 1e-10 < seen <= certificate.upper < 1e-5
    assert not certificate.exact


def pair(comm, diagonal, shape, *, dtype=np.float64, **options):
    """The network of one random function, spread in blocks, and of this rank alone."""
    networks = []
    for group, more in ((comm, options), (MPI.COMM_SELF, {})):
        V = fem.functionspace(
            rectangle(group, diagonal, shape, dtype=dtype, **more), ("P", 2, (2,))
        )
        u = random_function(V, np.random.default_rng(7))
        networks.append(network_from_function(u, layout="blocks", levels=5))
    return networks


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_blocks_give_the_serial_bits(comm, diagonal, dtype):
    for shape, options in ((1, 1), {}), ((3, 5), {"partitioner": on_first_rank}), ((6, 5), {}):
        spread, alone = pair(comm, diagonal, shape, dtype=dtype, **options)
        assert (spread.blocks is None) == (comm.size == 1)
        x = everywhere(spread.mesh, np.random.default_rng(comm.rank), 100 * comm.rank)
        x = x[:, comm.rank :].astype(dtype)
        assert spread(x).tobytes() == alone(x).tobytes()
        assert spread.gradient(x).tobytes() == alone.gradient(x).tobytes()
        assert spread.plan(x)().tobytes() == alone(x).tobytes()
        assert spread.gather().values.tobytes() == alone.values.tobytes()
        assert spread.error_bound == alone.error_bound
        assert spread.explicit().widths == alone.explicit().widths


@pytest.mark.parametrize("layout", ["replicated", "blocks"])
def test_updates_and_plans_follow_time_steps(comm, layout):
    V = fem.functionspace(rectangle(comm, "crossed", (6, 5)), ("P", 2))
    u = random_function(V, np.random.default_rng(1))
    network = network_from_function(u, layout=layout, levels=7)
    x = np.random.default_rng(comm.rank).random((2, 300 * comm.rank))
    plan, first = network.plan(x), network(x)
    W = fem.functionspace(rectangle(comm, "left", (5, 3)), ("P", 2))
    transfer = interpolation_plan(network, W)
    u.x.array[:] *= -3.7
    updated = network.update(u)
    assert updated.levels == 7
    assert plan().tobytes() == updated(x).tobytes()
    assert plan(network).tobytes() == first.tobytes()
    expected = fem.Function(W)
    expected.interpolate(updated)
    assert np.abs(transfer().x.array - expected.x.array).max(initial=0) < 1e-11


@pytest.mark.parametrize("outside", ["nan", "raise"])
def test_points_outside(comm, rng, outside):
    network = network_from_function(
        random_function(fem.functionspace(rectangle(comm), ("P", 2)), rng)
    )
    x = rng.random((2, 50))
    assert network(x, outside=outside).tobytes() == network(x).tobytes()
    x[0, 7] = 1.5
    if outside == "nan":
        assert np.flatnonzero(np.isnan(network(x, outside="nan"))).tolist() == [7]
    else:
        with pytest.raises(ValueError, match=r"1 of 50 points are outside .* at index 7: \(1\.5"):
            network(x, outside="raise")


SPACES = {"P1": ("P", 1, (2,)), "P2": ("P", 2, (2,))}

#: Target meshes: the network's own, a finer one, another, and one that reaches outside.
TARGETS = {
    "own": ("own", (4, 3), "unit"),
    "halved": ("own", (8, 6), "unit"),
    "another": ("left_right", (3, 5), "unit"),
    "reaching outside": ("right", (5, 4), "shifted"),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("element", SPACES)
@pytest.mark.parametrize("source", SPACES)
@pytest.mark.parametrize("diagonal", ["crossed", "right_left"])
def test_certificates_bound_every_difference(comm, rng, diagonal, source, element, target):
    """Of fast and explicit networks of either degree, into either degree, on any mesh."""
    u = random_function(fem.functionspace(rectangle(comm, diagonal, (4, 3)), SPACES[source]), rng)
    options = {"levels": 4} if source == "P2" else {}
    network = network_from_function(u, layout="blocks", **options)
    name, shape, box = TARGETS[target]
    msh = rectangle(comm, diagonal if name == "own" else name, shape, box)
    V = fem.functionspace(msh, SPACES[element])
    certificate, seen = certified(network, V, rng)
    assert certificate.lower <= 1.1 * seen + network.error_bound
    loose = (source, element, target) == ("P2", "P2", "halved")  # bumps are bounded apart
    assert loose or certificate.upper < 10 * seen + 1e-11
    assert certificate.exact == (
        source == "P1" and (target == "own" or (target, diagonal) in P1_NESTS)
    )
    if seen > 1e-3 and not loose:
        assert certificate.lower > 0.5 * seen
    explicit, _ = certified(network.explicit(), V, rng)
    assert explicit.upper >= certificate.lower


#: Where every cell of the target is in one of the source.
P1_NESTS = {("halved", "crossed")}


def test_nothing_is_proven_of_a_plain_callable(comm, rng):
    V = fem.functionspace(rectangle(comm), ("P", 2))
    certificate, seen = certified(lambda x: np.sin(9 * x[0]), V, rng)
    assert certificate.upper == np.inf
    assert 0.1 * seen < certificate.lower <= seen * (1 + 1e-12)
    square, _ = certified(lambda x: x[0] ** 2, V, rng)
    assert square.lower < 1e-14


@pytest.mark.parametrize(
    ("levels", "kind", "message"),
    [
        (0, ValueError, "levels must be from 1 to 26, not 0"),
        (27, ValueError, "from 1 to 26, not 27"),
        (-1, ValueError, "not -1"),
        (2.5, TypeError, "must be an integer, not 2.5"),
        (True, TypeError, "must be an integer, not True"),
        ("3", TypeError, "must be an integer, not '3'"),
        (np.nan, TypeError, "must be an integer, not nan"),
    ],
)
def test_impossible_levels_are_refused(comm, levels, kind, message):
    grid = Grid((0, 0), np.eye(2), (1, 1), "right")
    with pytest.raises(kind, match=message):
        P2Network(grid, np.ones(9), levels=levels)
    u = fem.Function(fem.functionspace(rectangle(comm), ("P", 2)))
    with pytest.raises(kind, match=message):
        network_from_function(u, levels=levels)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (np.ones(4), ValueError, r"shape \(9,\) or \(k, 9\), not \(4,\)"),
        (np.where(np.arange(9) < 2, np.nan, 1), ValueError, "2 of 9 nodal values are NaN"),
        (np.ones(9, int), TypeError, "float32 or float64, not int64"),
    ],
)
def test_impossible_values_are_refused(values, kind, message):
    with pytest.raises(kind, match=message):
        P2Network(Grid((0, 0), np.eye(2), (1, 1), "right"), values)


def test_functions_that_do_not_fit_are_refused(comm, rng):
    msh = rectangle(comm)
    linear = random_function(fem.functionspace(msh, ("P", 1)), rng)
    with pytest.raises(ValueError, match="levels are for P2 functions"):
        network_from_function(linear, levels=3)
    network = network_from_function(random_function(fem.functionspace(msh, ("P", 2)), rng))
    with pytest.raises(ValueError, match="the function is P1, but the network came from P2"):
        network.update(linear)
    with pytest.raises(UnsupportedFunctionError, match="supported are"):
        network.update(fem.Function(fem.functionspace(msh, ("P", 3))))
    with pytest.raises(ValueError, match="V needs 2 inputs and 2 outputs"):
        function_from_network(network, fem.functionspace(msh, ("P", 2, (2,))))
    u = fem.Function(fem.functionspace(msh, ("P", 2)))
    if comm.rank == comm.size - 1:
        u.x.array[0] = np.nan
    with pytest.raises(ValueError, match="1 of 81 nodal values are NaN or infinite"):
        network_from_function(u)


def test_ranks_agree_on_levels(comm):
    u = fem.Function(fem.functionspace(rectangle(comm), ("P", 2)))
    if comm.size == 1:
        assert network_from_function(u, levels=3).levels == 3
    else:
        with pytest.raises(TypeError, match="ranks pass different levels"):
            network_from_function(u, levels=3 + comm.rank)
    with pytest.raises(ValueError, match="from 1 to 26, not 99"):
        network_from_function(u, levels=99 if comm.rank == comm.size - 1 else 3)


def test_nan_on_one_rank_raises_on_all(comm):
    spread, _ = pair(comm, "right", (6, 5))
    x = np.full((2, 5), 0.3)
    if comm.rank == comm.size - 1:
        x[1, 3] = np.nan
    for method in (spread, spread.gradient, spread.plan):
        with pytest.raises(ValueError, match=r"1 of 5 points are NaN or infinite, .* index 3"):
            method(x)


def test_explicit_networks_have_a_largest_size(monkeypatch, rng):
    network = random_network("unit", (3, 5), "right", rng)
    neurons = network.explicit().num_neurons
    monkeypatch.setattr(p2_layers, "MAX_NEURONS", neurons)
    assert network.explicit().num_neurons == neurons
    monkeypatch.setattr(p2_layers, "MAX_NEURONS", neurons - 1)
    with pytest.raises(ValueError, match=f"3 x 5 cells at 4 levels would have {neurons} neurons"):
        network.explicit()


def test_the_largest_size_is_enough_for_64_by_64_cells():
    """Counted, not made: every diagonal, at any number of levels."""
    for diagonal in DIAGONALS:
        grid = Grid((0, 0), np.eye(2), (64, 64), diagonal)
        wide = 2 * grid.refined(2).num_vertices + 2
        lines, hats = hidden_layers(grid, np.dtype(float), mesh_hats(grid))
        assert lines.dim_out + hats.dim_out + 27 * wide <= p2_layers.MAX_NEURONS


def test_one_network_of_each_degree_are_one_p1_function(rng):
    """Values at midpoints that are means make P2 equal to P1, everywhere."""
    for diagonal in DIAGONALS:
        quadratic = random_network("rotated", (3, 5), diagonal, rng)
        linear = P1Network(quadratic.mesh, rng.standard_normal(quadratic.mesh.num_vertices))
        nodal = P2Network(quadratic.mesh, linear(quadratic.node_mesh.vertices()))
        x = everywhere(linear.mesh, rng)
        assert (np.abs(nodal(x) - linear(x)) <= tolerance(nodal, x)).all()
        assert nodal.error_bound < 1e-15
