# SPDX-License-Identifier: MIT
"""Surrogates: proven errors, budgets that hold, and explicit layers that agree everywhere."""

from fractions import Fraction

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from test_hats import exact_forward, exact_p1, rational_points
from test_hierarchy import EPS, network_of_size

from cases import MAPS, mapped, random_function, rectangle
from fe_relu import (
    Grid,
    P1Network,
    Surrogate,
    function_from_network,
    hierarchical_from_function,
    network_from_function,
)
from fe_relu.hierarchy import compression, hierarchical_from_network
from fe_relu.hierarchy.nested import NESTING, coarsened, numbers_in_finer

#: What the hierarchies of `hierarchy_of_size` are made of: shape and further options.
HIERARCHIES = {
    "4 x 4": ((4, 4), {"outputs": (2,)}),
    "12 x 20": ((12, 20), {"outputs": (2,)}),
    "3 x 5, never halved": ((3, 5), {"outputs": (2,)}),
    "single precision": ((8, 24), {"dtype": np.float32}),
    **{name: ((8, 12), {"axes": axes * [0.1, 0.3]}) for name, axes in MAPS.items()},
}


def layered(x):
    """Smooth but for a layer at the left and a ridge."""
    return np.exp(-20 * x[0]) + np.abs(x[0] - 2 * x[1]) + np.sin(3 * x[1])


def hierarchy_of_size(diagonal, shape, rng, *, axes=None, **options):
    levels = 0 if shape == (3, 5) else None
    network = network_of_size(diagonal, shape, rng, **options)
    axes = np.diag(1 / np.array(shape)) if axes is None else axes
    moved = P1Network(Grid((0.25, -1), axes, shape, diagonal), network.values)
    return hierarchical_from_network(moved, levels=levels)


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
    reach, size = 2 * 2**h.levels, np.array(h.mesh.shape)[:, None]
    around = rng.random((2, count)) * (size + 2 * reach) - reach
    on_lines = np.concatenate([np.rint(around[:1]), around[1:]]), np.rint(2 * around) / 2
    diagonal = around - np.rint(around.sum(axis=0)) / 2 + around.sum(axis=0) / 2
    lattice = np.concatenate([around, *on_lines, diagonal, 1e4 * around[:, :50]], axis=1)
    return h.mesh.origin[:, None] + h.mesh.axes @ lattice


def off_by(s, h, x):
    """Roundoff of evaluating both a surrogate and its explicit layers."""
    steps = np.abs(h.mesh.to_lattice(x)).max() + sum(h.mesh.shape)
    return 32 * np.finfo(h.dtype).eps * steps * (s.ceiling + 1)


@pytest.mark.parametrize("name", HIERARCHIES)
@pytest.mark.parametrize("diagonal", NESTING)
def test_explicit_layers_agree_everywhere(diagonal, name, rng):
    shape, options = HIERARCHIES[name]
    h = hierarchy_of_size(diagonal, shape, rng, **options)
    x = points_everywhere(h, rng).astype(h.dtype)
    outside = ~h.mesh.contains(x)
    assert 0.2 < outside.mean() < 0.98
    for s in surrogates(h):
        explicit, values = s.explicit(), s(x)
        assert explicit.hidden_layers == 2
        assert explicit.widths[2] == s.num_kept == s.vertices.size
        lines_of_hats = np.diff(explicit.layers[1].weight.indptr)
        assert lines_of_hats.max(initial=0) <= {"right": 3, "left": 3}.get(diagonal, 4)
        assert values.dtype == explicit.dtype == h.dtype
        assert np.abs(values - explicit(x)).max() <= off_by(s, h, x)
        assert np.abs(values).max() <= s.ceiling
        assert s.bound >= s.error
        assert np.isnan(np.atleast_2d(s(x, outside="nan"))[0]).tolist() == outside.tolist()
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


@pytest.mark.parametrize("outputs", [(), (3,)])
@pytest.mark.parametrize("diagonal", NESTING)
def test_errors_are_those_dolfinx_finds(comm, diagonal, outputs, rng):
    msh = mapped(rectangle(comm, diagonal, (12, 8)), MAPS["sheared"])
    V = fem.functionspace(msh, ("P", 1, outputs))
    u = random_function(V, rng)
    h = hierarchical_from_function(u)
    size = np.abs(h.to_p1().values).max()
    for s in surrogates(h):
        v, certificate = function_from_network(s, V)
        assert certificate.exact
        off = u.x.array - v.x.array
        error = comm.allreduce(np.abs(off).max(initial=0), op=MPI.MAX)
        assert s.error == pytest.approx(error, rel=1e-13, abs=8 * EPS * size)
        v.x.array[:] = off
        energy = fem.form(ufl.inner(ufl.grad(v), ufl.grad(v)) * ufl.dx)
        seminorm = comm.allreduce(fem.assemble_scalar(energy)) ** 0.5
        assert s.h1_error == pytest.approx(seminorm, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("diagonal", NESTING)
def test_seminorms_see_no_constants_and_any_size(diagonal, rng):
    grid = Grid((0, 0), np.array([[1.0, 0.3], [0.0, 4.0]]), (12, 6), diagonal)
    values = rng.integers(-1000, 1000, (2, grid.num_vertices)) / 2.0**20

    def seminorm(values):
        network = P1Network(grid, values)
        return hierarchical_from_network(network, levels=0).compress(tol=1e300).h1_error

    found = seminorm(values)
    assert seminorm(values + 2.0**30) == found > 0
    for exponent in (-1030, -1020, -1000, 1000):
        assert seminorm(values * 2.0**exponent) == pytest.approx(found * 2.0**exponent, rel=1e-5)


@pytest.mark.parametrize("norm", ["sup", "H1"])
@pytest.mark.parametrize("diagonal", NESTING)
def test_tolerances_hold_and_the_next_coefficient_is_needed(diagonal, norm, rng):
    grid = Grid((0, 0), np.eye(2) / 32, (32, 32), diagonal)
    h = hierarchical_from_network(P1Network(grid, layered(grid.vertices())))
    whole = h.compress(tol=1e300)
    most = whole.h1_error if norm == "H1" else whole.error
    numbers = []
    for tol in (2.0, 0.3, 0.1, 0.03, 0.01, 1e-5):
        s, same = (
            h.compress(tol=tol, relative=True, norm=norm),
            h.compress(tol=tol * most, norm=norm),
        )
        assert (s.h1_error if norm == "H1" else s.error) <= tol * most
        assert same.vertices.tolist() == s.vertices.tolist()
        numbers.append(s.num_kept)
        if s.num_kept:  # one with the smallest kept coefficients dropped is off by more
            sizes = compression._sizes(h, norm)
            above = np.nextafter(sizes[0][s.vertices].min(), np.inf)
            assert compression._error(h, norm, sizes, above) > tol * most
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
        (sizes,) = compression._sizes(h, norm)
        dropped = np.setdiff1d(np.flatnonzero(sizes), s.vertices)
        if dropped.size == 0:
            assert used == whole <= budget
            continue
        following = dropped[sizes[dropped].argmax()]
        assert sizes[following] < sizes[s.vertices].min(initial=np.inf)
        assert used <= budget < used + 1 + 4  # a hat brings at most four lines


def test_equal_sizes_are_kept_together():
    grid = Grid((-1, -1), np.eye(2) / 8, (16, 16), "left")
    h = hierarchical_from_network(P1Network(grid, np.prod(grid.vertices(), axis=0)))
    kept = {h.compress(max_neurons=n).kept for n in range(1, 600)}
    # Surpluses of xy are ±1 at the four corners, then as many as cells of size 1, ½, ….
    assert kept == {(0,) * 5, (4, 1, 0, 0, 0), (4, 1, 4, 0, 0), (4, 1, 4, 16, 0), (4, 1, 4, 16, 64)}
    assert h.compress(tol=1e-15).kept == (4, 1, 4, 16, 64)


def test_nothing_kept_is_the_zero_network(comm, rng):
    V = fem.functionspace(rectangle(comm, "crossed", (8, 4)), ("P", 1))
    zero = hierarchical_from_function(fem.Function(V), layout="blocks")
    for s in (zero.compress(tol=0.1, relative=True), zero.compress(tol=1.0, norm="H1")):
        assert (s.num_kept, s.error, s.bound, s.h1_error) == (0, 0, 0, 0)
    s = hierarchical_from_function(random_function(V, rng), layout="blocks").compress(tol=1e9)
    x = rng.random((2, 50)) * 4 - 2
    assert s(x).tolist() == s.explicit()(x).tolist() == [0] * 50
    assert (s.num_kept, s.explicit().num_neurons, s.ceiling) == (0, 0, 0)
    assert s.bound >= s.error > 0


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
    sampled = np.abs(s(x) - network_from_function(v)(x)).max()
    assert certificate.lower / 2 < sampled <= certificate.upper


def test_certificates_see_the_kinks_of_coarse_hats_outside(comm):
    """Both hats end at x = −1, where the other mesh has no vertex and a narrow ring no line."""
    grid = Grid((0, 0), np.eye(2) / 8, (8, 8), "right")
    s = Surrogate(grid, 3, [0, 72], [1.0, 1.0], (2, 0, 0, 0), 0.0, 0.0, 0.0, 1.0)
    beside = mesh.create_rectangle(comm, [(-4, 0.1), (0, 0.9)], (1, 1))
    v, certificate = function_from_network(s, fem.functionspace(beside, ("P", 1)))
    assert [certificate.lower, certificate.upper] == pytest.approx([0.75] * 2, abs=1e-12)
    x = np.array([[-1.0, -0.9, -1.1], [0.5, 0.5, 0.5]])
    assert np.abs(s(x) - network_from_function(v)(x)) == pytest.approx([0.75, 0.675, 0.725])


#: What compress does not take, by its message.
REFUSED = {
    "either tol": [{}, {"tol": 1.0, "max_neurons": 5}],
    "positive and finite": [{"tol": tol} for tol in (0.0, -1, np.nan, np.inf, 10**400)],
    "real number": [{"tol": "small"}, {"tol": True}],
    "at least 1": [{"max_neurons": 0}, {"max_neurons": -3}],
    "integer": [{"max_neurons": 2.5}, {"max_neurons": True}],
    "relative is about tol": [{"max_neurons": 5, "relative": True}],
    'norm must be "sup" or "H1"': [{"tol": 1.0, "norm": "L2"}],
}


@pytest.mark.parametrize("message", REFUSED)
def test_bad_aims_are_refused_on_all_ranks(comm, message):
    V = fem.functionspace(rectangle(comm, "right", (8, 8)), ("P", 1))
    h = hierarchical_from_function(fem.Function(V), layout="blocks")
    error = TypeError if message in ("real number", "integer") else ValueError
    for aim in REFUSED[message]:
        with pytest.raises(error, match=message):
            h.compress(**(aim if comm.rank == comm.size - 1 else {"tol": 1.0}))


def test_a_surrogate_from_its_parts(rng):
    s = hierarchy_of_size("left", (4, 8), rng).compress(max_neurons=30)
    parts = {name: getattr(s, name) for name in Surrogate.__dataclass_fields__}
    assert (Surrogate(**parts)(s.mesh.corners) == s(s.mesh.corners)).all()
    for changed, message in (
        ({"vertices": s.vertices[::-1]}, "must be numbers of the mesh's vertices, increasing"),
        ({"vertices": s.vertices + 45}, "must be numbers of the mesh's vertices, increasing"),
        ({"vertices": s.vertices[1:]}, "must have shape"),
        ({"coefficients": s.coefficients * np.inf}, "coefficients are NaN or infinite"),
        ({"coefficients": s.coefficients * 1j}, "must be float32 or float64"),
        ({"levels": 3}, "were halved 2 times"),
        ({"kept": (1, 0, 0)}, "kept must say how many"),
        ({"error": -1.0}, "must be at least 0"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            Surrogate(**(parts | changed))


def test_bad_levels_are_refused_on_all_ranks(comm):
    V = fem.functionspace(rectangle(comm, "right", (8, 8)), ("P", 1))
    h = hierarchical_from_function(fem.Function(V), layout="blocks")
    for bad, error in ((4, ValueError), (-1, ValueError), (True, TypeError), (1.0, TypeError)):
        with pytest.raises(error, match="a level must be"):
            h.truncate(levels=bad if comm.rank == 0 else 1)
        with pytest.raises(error, match="a level must be"):
            h.coefficients(bad)
    if comm.size > 1:
        with pytest.raises(TypeError, match="ranks pass different arguments"):
            h.compress(tol=1.0 + comm.rank)
