# SPDX-License-Identifier: MIT
"""Surrogates: proven errors, budgets that hold, and explicit layers that agree everywhere."""

from fractions import Fraction

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from test_hats import exact_forward, exact_p1, rational_points

from cases import MAPS, mapped, random_function, rectangle
from fe_relu import (
    Grid,
    P1Network,
    function_from_network,
    hierarchical_from_function,
    network_from_function,
)
from fe_relu.hierarchy.transform import hierarchical_from_network
from fe_relu.hierarchy.nested import NESTING, coarsened, numbers_in_finer
from fe_relu.hierarchy.surrogate import NODAL_VERTICES, Surrogate

EPS = np.finfo(float).eps
SHAPES = [(4, 4), (12, 20), (8, 24), (3, 5)]


def layered(x):
    """Smooth but for a layer at the left and a ridge."""
    return np.exp(-20 * x[0]) + np.abs(x[0] - 2 * x[1]) + np.sin(3 * x[1])


def hierarchy_of_size(diagonal, shape, rng, *, axes=None, dtype=np.float64, outputs=()):
    levels = 0 if shape == (3, 5) else None
    axes = np.diag(1 / np.array(shape)) if axes is None else axes
    grid = Grid((0.25, -1), axes, shape, diagonal)
    values = rng.standard_normal((*outputs, grid.num_vertices)).astype(dtype)
    return hierarchical_from_network(P1Network(grid, values), levels=levels)


def surrogates(h):
    """Truncated and compressed, from nothing to everything."""
    size = h.compress(tol=1e300).error
    yield from (h.truncate(levels=level) for level in range(h.levels + 1))
    yield from (h.compress(tol=t, relative=True) for t in (1e-12, 0.1, 0.5, 2.0))
    yield from (h.compress(max_neurons=n) for n in (1, 10, 40, 100))
    yield h.compress(tol=0.4 * size)
    yield h.compress(tol=0.5, relative=True, norm="H1")


def points_everywhere(h, rng, count=400):
    """Inside, on lattice lines, up to two steps of the coarsest mesh outside, and far away."""
    reach = 2 * 2**h.levels
    size = np.array(h.mesh.shape)[:, None]
    around = rng.random((2, count)) * (size + 2 * reach) - reach
    on_lines = np.concatenate([np.rint(around[:1]), around[1:]]), np.rint(2 * around) / 2
    diagonal = around - np.rint(around.sum(axis=0)) / 2 + around.sum(axis=0) / 2
    lattice = np.concatenate([around, *on_lines, diagonal, 1e4 * around[:, :50]], axis=1)
    return h.mesh.origin[:, None] + h.mesh.axes @ lattice


def off_by(s, h, x):
    """Roundoff of evaluating both a surrogate and its explicit layers."""
    steps = np.abs(h.mesh.to_lattice(x)).max() + sum(h.mesh.shape)
    return 32 * np.finfo(h.dtype).eps * steps * (s.ceiling + 1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("diagonal", NESTING)
def test_explicit_layers_agree_everywhere_however_evaluated(diagonal, shape, rng):
    h = hierarchy_of_size(diagonal, shape, rng, outputs=(2,))
    x = points_everywhere(h, rng)
    outside = ~h.mesh.contains(x)
    assert 0.2 < outside.mean() < 0.98
    for s in surrogates(h):
        explicit = s.explicit()
        assert explicit.hidden_layers == 2
        assert explicit.widths[2] == s.num_kept == s.vertices.size
        expected = explicit(x)
        for last in (None, *range(h.levels + 1)):
            assert np.abs(s(x, nodal_levels=last) - expected).max() <= off_by(s, h, x)
    assert np.abs(h.truncate(levels=0)(x[:, outside])).max() > 0.1


@pytest.mark.parametrize("diagonal", NESTING)
def test_explicit_layers_are_sums_over_levels_in_exact_arithmetic(diagonal, rng):
    grid = Grid((0, 0), np.eye(2), (8, 4), diagonal)
    h = hierarchical_from_network(P1Network(grid, rng.integers(-9, 9, grid.num_vertices) / 1.0))
    s = h.compress(max_neurons=70)
    assert all(s.kept)
    explicit, points = s.explicit(), rational_points((8, 4), rng)
    total = [Fraction(0)] * len(points)
    for level in range(h.levels + 1):
        spacing = 2 ** (h.levels - level)
        mesh, numbers = coarsened(grid, spacing), numbers_in_finer(grid, spacing)
        kept = np.isin(numbers, np.intersect1d(s.vertices, h.vertices(level)))
        values = np.where(kept, h.surpluses[numbers], 0).tolist()
        here = [exact_p1(mesh, values, (x / spacing, y / spacing)) for x, y in points]
        total = [a + b for a, b in zip(total, here, strict=True)]
    assert [exact_forward(explicit, point) for point in points] == [[value] for value in total]
    assert sum(value != 0 for value in total) > 10


@pytest.mark.parametrize("image", MAPS)
@pytest.mark.parametrize("diagonal", NESTING)
def test_affine_images(diagonal, image, rng):
    h = hierarchy_of_size(diagonal, (8, 12), rng, axes=MAPS[image] * [0.1, 0.3])
    x = points_everywhere(h, rng)
    for s in surrogates(h):
        assert np.abs(s(x) - s.explicit()(x)).max() <= off_by(s, h, x)


@pytest.mark.parametrize("diagonal", NESTING)
def test_single_precision(diagonal, rng):
    h = hierarchy_of_size(diagonal, (12, 20), rng, dtype=np.float32)
    x = points_everywhere(h, rng)[:, :1600].astype(np.float32)
    for s in surrogates(h):
        assert s(x).dtype == s.explicit().dtype == np.float32
        assert np.abs(s(x) - s.explicit()(x)).max() <= off_by(s, h, x)
        assert s.bound >= s.error


def test_second_layer_rows_are_no_longer_than_those_of_one_mesh(rng):
    for diagonal, nonzeros in (("right", 3), ("left", 3), ("crossed", 4), ("left_right", 4)):
        h = hierarchy_of_size(diagonal, (16, 8), rng)
        first, second, _ = h.compress(max_neurons=120).explicit().layers
        assert set(np.diff(second.weight.indptr)) == {nonzeros}
        assert set(second.weight.indices) == set(range(first.dim_out))


@pytest.mark.parametrize("outputs", [(), (3,)])
@pytest.mark.parametrize("diagonal", NESTING)
def test_errors_are_those_dolfinx_finds(comm, diagonal, outputs, rng):
    V = fem.functionspace(
        mapped(rectangle(comm, diagonal, (12, 8)), MAPS["sheared"]), ("P", 1, outputs)
    )
    u = random_function(V, rng)
    h = hierarchical_from_function(u)
    size = np.abs(h.to_p1().values).max()
    for s in surrogates(h):
        v, certificate = function_from_network(s, V)
        assert certificate.exact
        off = u.x.array - v.x.array
        error = comm.allreduce(np.abs(off).max(initial=0), op=MPI.MAX)
        assert s.error == pytest.approx(error, rel=1e-13, abs=8 * EPS * size)
        assert s.bound >= s.error
        v.x.array[:] = off
        energy = fem.form(ufl.inner(ufl.grad(v), ufl.grad(v)) * ufl.dx)
        seminorm = comm.allreduce(fem.assemble_scalar(energy)) ** 0.5
        assert s.h1_error == pytest.approx(seminorm, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("diagonal", NESTING)
def test_the_seminorm_does_not_see_constants(diagonal, rng):
    grid = Grid((0, 0), np.array([[1.0, 0.3], [0.0, 4.0]]), (12, 6), diagonal)
    values = rng.integers(-1000, 1000, (2, grid.num_vertices)) / 2.0**20
    network, moved = P1Network(grid, values), P1Network(grid, values + 2.0**30)
    without, with_constant = (
        hierarchical_from_network(function, levels=0).compress(tol=1e300).h1_error
        for function in (network, moved)
    )
    assert without == with_constant > 0


@pytest.mark.parametrize("exponent", [-1040, -1030, -1000, 1000])
def test_very_small_and_very_large_values_have_a_seminorm(exponent, rng):
    grid = Grid((0, 0), np.eye(2), (8, 8), "right")
    values = rng.integers(-(2**20), 2**20, grid.num_vertices).astype(float)
    errors = [
        hierarchical_from_network(P1Network(grid, v)).truncate(levels=1).h1_error
        for v in (values, values * 2.0 ** (exponent - 20))
    ]
    assert errors[1] == pytest.approx(errors[0] * 2.0 ** (exponent - 20), rel=1e-5)


def test_error_is_attained_and_never_exceeded(rng):
    for diagonal in NESTING:
        h = hierarchy_of_size(diagonal, (8, 8), rng)
        network = h.to_p1()
        x = np.concatenate([points_everywhere(h, rng, 4000), h.mesh.vertices()], axis=1)
        x = x[:, h.mesh.contains(x)]
        for s in surrogates(h):
            sampled = np.abs(s(x) - network(x)).max()
            assert sampled == pytest.approx(s.error, rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("norm", ["sup", "H1"])
@pytest.mark.parametrize("diagonal", NESTING)
def test_tolerances_hold_and_the_next_coefficient_is_needed(diagonal, norm, rng):
    grid = Grid((0, 0), np.eye(2) / 32, (32, 32), diagonal)
    h = hierarchical_from_network(P1Network(grid, layered(grid.vertices())))
    whole = h.compress(tol=1e300)
    most = whole.h1_error if norm == "H1" else whole.error
    numbers = []
    for tol in (2.0, 0.3, 0.1, 0.03, 0.01, 1e-5):
        s = h.compress(tol=tol, relative=True, norm=norm)
        error = s.h1_error if norm == "H1" else s.error
        assert error <= tol * most
        same = h.compress(tol=tol * most, norm=norm)
        assert same.vertices.tolist() == s.vertices.tolist()
        numbers.append(s.num_kept)
        if s.num_kept:  # one with the smallest kept coefficients dropped is off by more
            sizes = h._sizes(norm)
            smallest = sizes[0][s.vertices].min()
            assert h._error(norm, sizes, np.nextafter(smallest, np.inf)) > tol * most
    assert numbers == sorted(numbers)
    assert numbers[0] == 0 < numbers[1] < numbers[-1] < grid.num_vertices


@pytest.mark.parametrize("norm", ["sup", "H1"])
@pytest.mark.parametrize("diagonal", NESTING)
def test_budgets_hold_and_are_used(diagonal, norm, rng):
    h = hierarchy_of_size(diagonal, (16, 24), rng)
    whole = h.truncate(levels=h.levels).explicit().num_neurons
    for budget in (1, 3, 4, 5, 6, 20, 99, 300, whole - 1, whole, 10 * whole):
        s = h.compress(max_neurons=budget, norm=norm)
        used = s.explicit().num_neurons
        assert used <= budget
        sizes = h._sizes(norm)[0]
        dropped = np.setdiff1d(np.flatnonzero(sizes), s.vertices)
        if dropped.size == 0:
            assert budget >= whole
            continue
        following = dropped[sizes[dropped].argmax()]
        assert sizes[following] < sizes[s.vertices].min(initial=np.inf)
        assert budget < used + 1 + 4  # a hat brings at most four lines


def test_layers_need_few_neurons():
    """Reaction and diffusion: no mesh but the finest is as good, and it has far more vertices."""
    grid = Grid((0, 0), np.eye(2) / 256, (256, 256), "right")
    layers = 1 - np.exp(-100 * grid.vertices()) - np.exp(-100 * (1 - grid.vertices()))
    h = hierarchical_from_network(P1Network(grid, np.prod(layers, axis=0)))
    s = h.compress(tol=1e-2, relative=True)
    assert h.truncate(levels=h.levels - 1).error > 1e-2
    assert s.explicit().num_neurons < grid.num_vertices / 10


def test_nothing_kept_is_the_zero_network(rng):
    s = hierarchy_of_size("crossed", (4, 4), rng, outputs=(2,)).compress(tol=1e9)
    x = rng.random((2, 50)) * 4 - 2
    assert s.num_kept == 0
    assert s.bound >= s.error > 0
    assert s(x).tolist() == s.explicit()(x).tolist() == np.zeros((2, 50)).tolist()
    assert (s.explicit().num_neurons, s.ceiling) == (0, 0)


def test_equal_sizes_are_kept_together():
    grid = Grid((-1, -1), np.eye(2) / 8, (16, 16), "left")
    h = hierarchical_from_network(P1Network(grid, np.prod(grid.vertices(), axis=0)))
    kept = {h.compress(max_neurons=n).kept for n in range(1, 600)}
    # Surpluses of xy are ±1 at the four corners, then as many as cells of size 1, ½, ….
    assert kept == {(0,) * 5, (4, 1, 0, 0, 0), (4, 1, 4, 0, 0), (4, 1, 4, 16, 0), (4, 1, 4, 16, 64)}
    assert h.compress(tol=1e-15).kept == (4, 1, 4, 16, 64)


def test_a_zero_function(comm):
    V = fem.functionspace(rectangle(comm, "left", (8, 8)), ("P", 1))
    h = hierarchical_from_function(fem.Function(V), layout="blocks")
    for s in (
        h.compress(tol=0.1, relative=True),
        h.compress(tol=1.0, norm="H1"),
        h.truncate(levels=3),
    ):
        assert (s.num_kept, s.error, s.bound, s.h1_error) == (0, 0, 0, 0)


@pytest.mark.parametrize("layout", ["blocks", "replicated"])
@pytest.mark.parametrize("diagonal", NESTING)
def test_certificates_on_other_meshes_reach_beyond_the_mesh(comm, diagonal, layout, rng):
    V = fem.functionspace(rectangle(comm, diagonal, (8, 8)), ("P", 1))
    h = hierarchical_from_function(random_function(V, rng), layout=layout)
    s = h.compress(tol=0.5)
    wide = fem.functionspace(rectangle(comm, "left", (5, 3), "shifted"), ("P", 1))
    v, certificate = function_from_network(s, wide)
    assert s(wide.tabulate_dof_coordinates().T) == pytest.approx(v.x.array, abs=1e-13)
    explicit = function_from_network(s.explicit(), wide)[1]
    assert certificate.lower <= explicit.upper
    assert 0 < explicit.lower <= certificate.upper < np.inf
    x = np.random.default_rng(0).random((2, 2000)) * [[3], [1]] + [[-2], [1]]
    function = P1Network(Grid((-2, 1), [[0.6, 0], [0, 1 / 3]], (5, 3), "left"), gathered(v))
    sampled = np.abs(s(x) - function(x)).max()
    assert certificate.lower / 2 < sampled <= certificate.upper


def test_certificates_see_the_kinks_of_coarse_hats_outside(comm):
    """Both hats end at x = −1, where the other mesh has no vertex and a narrow ring no line."""
    grid = Grid((0, 0), np.eye(2) / 8, (8, 8), "right")
    s = Surrogate(grid, 3, [0, 72], [1.0, 1.0], (2, 0, 0, 0), 0.0, 0.0, 0.0, 1.0)
    beside = mesh.create_rectangle(comm, [(-4, 0.1), (0, 0.9)], (1, 1))
    v, certificate = function_from_network(s, fem.functionspace(beside, ("P", 1)))
    assert certificate.lower == pytest.approx(0.75, abs=1e-12)
    assert certificate.upper == pytest.approx(0.75, abs=1e-12)
    function = P1Network(Grid((-4, 0.1), [[4, 0], [0, 0.8]], (1, 1), "right"), gathered(v))
    x = np.array([[-1.0, -0.9, -1.1], [0.5, 0.5, 0.5]])
    assert np.abs(s(x) - function(x)) == pytest.approx([0.75, 0.675, 0.725])


def gathered(v):
    """Nodal values of a function on all ranks, in the order of `create_rectangle`."""
    return network_from_function(v, layout="replicated").gather().values


def test_outside_modes(rng):
    h = hierarchy_of_size("right", (8, 8), rng)
    s = h.compress(max_neurons=50)
    x = h.mesh.corners * 1.0 + [[0.0, 1.0, 0.0, 0.0], [0.0] * 4]
    assert np.isnan(s(x, outside="nan")).tolist() == [False, True, False, False]
    with pytest.raises(ValueError, match="1 of 4 points are outside"):
        s(x, outside="raise")


def test_too_many_vertices_for_nodal_values_are_evaluated_by_levels(monkeypatch, rng):
    assert NODAL_VERTICES == 2**27
    monkeypatch.setattr("fe_relu.surrogate.NODAL_VERTICES", 100)
    h = hierarchy_of_size("crossed", (16, 8), rng)
    s = h.compress(max_neurons=150)
    x = points_everywhere(h, rng)
    assert np.abs(s(x) - s.explicit()(x)).max() <= off_by(s, h, x)
    assert list(s.table.nodal) == [2]  # 8 x 4 cells have 77 vertices, 16 x 8 have 281


#: (what compress gets, error, message)
REFUSED = [
    ({}, ValueError, "either tol"),
    ({"tol": 1.0, "max_neurons": 5}, ValueError, "either tol"),
    ({"tol": 0.0}, ValueError, "positive and finite"),
    ({"tol": -1}, ValueError, "positive and finite"),
    ({"tol": np.nan}, ValueError, "positive and finite"),
    ({"tol": np.inf}, ValueError, "positive and finite"),
    ({"tol": 10**400}, ValueError, "positive and finite"),
    ({"tol": "small"}, TypeError, "real number"),
    ({"tol": True}, TypeError, "real number"),
    ({"max_neurons": 0}, ValueError, "at least 1"),
    ({"max_neurons": -3}, ValueError, "at least 1"),
    ({"max_neurons": 2.5}, TypeError, "integer"),
    ({"max_neurons": True}, TypeError, "integer"),
    ({"max_neurons": 5, "relative": True}, ValueError, "relative"),
    ({"tol": 1.0, "norm": "L2"}, ValueError, "norm"),
]


@pytest.mark.parametrize(("aim", "error", "message"), REFUSED)
def test_bad_aims_are_refused_on_all_ranks(comm, aim, error, message):
    V = fem.functionspace(rectangle(comm, "right", (8, 8)), ("P", 1))
    h = hierarchical_from_function(fem.Function(V), layout="blocks")
    with pytest.raises(error, match=message):
        h.compress(**aim)
    with pytest.raises(error, match=message):
        h.compress(**(aim if comm.rank == comm.size - 1 else {"tol": 1.0}))


def test_a_surrogate_from_its_parts(rng):
    s = hierarchy_of_size("left", (4, 8), rng).compress(max_neurons=30)
    parts = {name: getattr(s, name) for name in Surrogate.__dataclass_fields__}
    assert (Surrogate(**parts)(s.mesh.corners) == s(s.mesh.corners)).all()
    for changed, error in (
        ({"vertices": s.vertices[::-1]}, ValueError),
        ({"vertices": s.vertices + 45}, ValueError),
        ({"vertices": s.vertices[1:]}, ValueError),
        ({"coefficients": s.coefficients * np.inf}, ValueError),
        ({"coefficients": s.coefficients * 1j}, TypeError),
        ({"levels": 3}, ValueError),
    ):
        with pytest.raises(error):
            Surrogate(**(parts | changed))


def test_bad_levels_and_points_are_refused_on_all_ranks(comm):
    V = fem.functionspace(rectangle(comm, "right", (8, 8)), ("P", 1))
    h = hierarchical_from_function(fem.Function(V), layout="blocks")
    s = h.truncate(levels=1)
    first = comm.rank == 0
    for bad, error in ((4, ValueError), (-1, ValueError), (True, TypeError), (1.0, TypeError)):
        with pytest.raises(error, match="a level must be"):
            h.truncate(levels=bad if first else 1)
        with pytest.raises(error, match="a level must be"):
            s(np.zeros((2, 3)), nodal_levels=bad if first else 1)
        with pytest.raises(error, match="a level must be"):
            h.coefficients(bad)
    with pytest.raises(ValueError, match="NaN or infinite"):
        s(np.full((2, 3), np.nan if first else 0.0))
    if comm.size > 1:
        with pytest.raises(TypeError, match="different arguments"):
            h.compress(tol=1.0 + comm.rank)
