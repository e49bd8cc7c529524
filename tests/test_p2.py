# SPDX-License-Identifier: MIT
"""P2 functions as deep networks: products of hats by the book, errors that are attained, sizes."""

import numpy as np
import pytest
from dolfinx import fem

from cases import (
    DIAGONALS,
    FRAMES,
    MAPS,
    bound,
    certified,
    each,
    evaluated,
    everywhere,
    mapped,
    points_in_cells,
    random_function,
    rectangle,
)
from fe_relu import Grid, P1Network, P2Network, function_from_network, network_from_function
from fe_relu.fenicsx import compat
from fe_relu.layers import quadratic
from fe_relu.meshes.grid.hats import hidden_layers, mesh_hats
from fe_relu.meshes.grid.midpoints import bump_size, numbered_edges

SHAPES = [(1, 1), (3, 5), (4, 4)]


def random_network(frame, shape, diagonal, rng, *, outputs=(), levels=4):
    grid = Grid(*FRAMES[frame], shape, diagonal)
    values = rng.standard_normal((*outputs, grid.refined(2).num_vertices))
    return P2Network(grid, values, levels=levels)


def tolerance(network, x):
    """What roundoff may do to P1 values, times the slopes of quadratic functions over theirs."""
    return 16 * bound(network.mesh, x, network.values)


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


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_active_neurons_give_products_of_hats(diagonal, rng):
    for frame, shape, levels in each(FRAMES, SHAPES, (1, 2, 5)):
        network = random_network(frame, shape, diagonal, rng, outputs=(2,), levels=levels)
        x = everywhere(network.mesh, rng)
        assert (np.abs(network(x) - by_the_book(network, x)) <= tolerance(network, x)).all()


def test_depth_is_linear_in_levels_and_width_constant(rng):
    for diagonal, levels in each(DIAGONALS, (1, 3, 10)):
        network = random_network("unit", (3, 5), diagonal, rng, outputs=(3,), levels=levels)
        explicit = network.explicit()
        hidden = hidden_layers(network.mesh, network.dtype, mesh_hats(network.mesh))
        lines, hats = (layer.dim_out for layer in hidden)
        edges = network.values.shape[1] - hats
        deep = (2 * (hats + edges) + 2 * 3,) * (levels + 1)
        assert explicit.widths == (2, lines, hats, *deep, 3)
        assert explicit.hidden_layers == levels + 3


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


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_error_is_at_most_its_bound_and_attains_it(comm, rng, diagonal):
    for (shape, outputs), levels in each((((1, 1), ()), ((3, 5), ()), ((4, 4), (2,))), (1, 2, 6)):
        msh = mapped(rectangle(comm, diagonal, shape), MAPS["sheared"])
        u = random_function(fem.functionspace(msh, ("P", 2, outputs)), rng)
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


SPACES = {"P1": ("P", 1, (2,)), "P2": ("P", 2, (2,))}

#: Target meshes: the network's own, a finer one, another, and one that reaches outside.
TARGETS = {
    "own": ("own", (4, 3), "unit"),
    "halved": ("own", (8, 6), "unit"),
    "another": ("left_right", (3, 5), "unit"),
    "reaching outside": ("right", (5, 4), "shifted"),
}


#: Where every cell of the target is in one of the source.
P1_NESTS = {("halved", "crossed")}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("diagonal", ["crossed", "right_left"])
def test_certificates_bound_every_difference(comm, rng, diagonal, target):
    """Of fast and explicit networks of either degree, into either degree, on any mesh."""
    name, shape, box = TARGETS[target]
    msh = rectangle(comm, diagonal if name == "own" else name, shape, box)
    source_mesh = rectangle(comm, diagonal, (4, 3))
    for source, element in each(SPACES, SPACES):
        u = random_function(fem.functionspace(source_mesh, SPACES[source]), rng)
        options = {"levels": 4} if source == "P2" else {}
        network = network_from_function(u, layout="blocks", **options)
        V = fem.functionspace(msh, SPACES[element])
        certificate, seen = certified(network, V, rng)
        assert certificate.lower <= 1.1 * seen + network.error_bound
        loose = (source, element, target) == ("P2", "P2", "halved")  # bumps are bounded apart
        assert loose or certificate.upper < 10 * seen + 1e-11
        nested = target == "own" or (target, diagonal) in P1_NESTS
        assert certificate.exact == (source == "P1" and nested)
        if seen > 1e-3 and not loose:
            assert certificate.lower > 0.5 * seen
        explicit, _ = certified(network.explicit(), V, rng)
        assert explicit.upper >= certificate.lower


def test_nothing_is_proven_of_a_plain_callable(comm, rng):
    V = fem.functionspace(rectangle(comm), ("P", 2))
    certificate, seen = certified(lambda x: np.sin(9 * x[0]), V, rng)
    assert certificate.upper == np.inf
    assert 0.1 * seen < certificate.lower <= seen * (1 + 1e-12)
    square, _ = certified(lambda x: x[0] ** 2, V, rng)
    assert square.lower < 1e-14


#: What levels cannot be, and what is said of them.
IMPOSSIBLE = (
    (0, ValueError, "levels must be between 1 and 26, not 0"),
    (27, ValueError, "between 1 and 26, not 27"),
    (-1, ValueError, "not -1"),
    (2.5, TypeError, "must be an integer, not 2.5"),
    (True, TypeError, "must be an integer, not True"),
    ("3", TypeError, "must be an integer, not '3'"),
    (np.nan, TypeError, "must be an integer, not nan"),
)


def test_impossible_levels_are_refused(comm):
    grid = Grid((0, 0), np.eye(2), (1, 1), "right")
    msh = rectangle(comm)
    linear, u = (fem.Function(fem.functionspace(msh, ("P", degree))) for degree in (1, 2))
    for ((levels, kind, message),) in each(IMPOSSIBLE):
        with pytest.raises(kind, match=message):
            P2Network(grid, np.ones(9), levels=levels)
        with pytest.raises(kind, match=message):
            network_from_function(u, levels=levels if comm.rank == comm.size - 1 else 3)
    assert P2Network(grid, np.ones(9), levels=np.int64(3)).levels == 3
    with pytest.raises(ValueError, match="levels are for P2 functions"):
        network_from_function(linear, levels=3)


def test_explicit_networks_have_a_largest_size(monkeypatch, rng):
    network = random_network("unit", (3, 5), "right", rng)
    neurons = sum(network.explicit().widths[3:-1])
    monkeypatch.setattr(quadratic, "MAX_NEURONS", neurons)
    assert sum(network.explicit().widths[3:-1]) == neurons
    monkeypatch.setattr(quadratic, "MAX_NEURONS", neurons - 1)
    with pytest.raises(ValueError, match=f"77 nodes at 4 levels would have {neurons} neurons"):
        network.explicit()


def test_the_largest_size_is_enough_for_64_by_64_cells():
    """Counted, not made: every diagonal, at any number of levels."""
    for (diagonal,) in each(DIAGONALS):
        grid = Grid((0, 0), np.eye(2), (64, 64), diagonal)
        wide = 2 * grid.refined(2).num_vertices + 2
        lines, hats = hidden_layers(grid, np.dtype(float), mesh_hats(grid))
        assert lines.dim_out + hats.dim_out + 27 * wide <= quadratic.MAX_NEURONS


def test_one_network_of_each_degree_are_one_p1_function(rng):
    """Values at midpoints that are means make P2 equal to P1, everywhere."""
    for (diagonal,) in each(DIAGONALS):
        quadratic = random_network("rotated", (3, 5), diagonal, rng)
        linear = P1Network(quadratic.mesh, rng.standard_normal(quadratic.mesh.num_vertices))
        nodal = P2Network(quadratic.mesh, linear(quadratic.node_mesh.vertices()))
        x = everywhere(linear.mesh, rng)
        assert (np.abs(nodal(x) - linear(x)) <= tolerance(nodal, x)).all()
        assert nodal.error_bound < 1e-15
