# SPDX-License-Identifier: MIT
"""P2 networks on meshes of simplices: products of hats, by exact rationals and by their bounds."""

from fractions import Fraction

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import fem, mesh
from test_simplices import EPS, MESHES, mesh_of, points_for

import fe_relu
from cases import each
from fe_relu import P1Network, P2Network
from fe_relu.meshes.simplices.nodes import pairs

NAMES = ["intervals apart", "triangles", "holes", "L", "graded", "tetrahedra", "cubes"]


def network_on(name, rng, *, levels=3, outputs=(), dtype=np.float64):
    found = mesh_of(name)
    count = found.nodes.num_vertices
    return P2Network(found, rng.standard_normal((*outputs, count)).astype(dtype), levels=levels)


def product(x, y, levels):
    """The interpolant of x y on a square cut in 4^levels squares, halved as ╲: in rationals."""
    size = Fraction(1, 2**levels)
    i, j = x // size, y // size
    a, b = x / size - i, y / size - j
    lacks = a * b if a + b <= 1 else (1 - a) * (1 - b)
    return x * y - lacks * size**2


def by_the_book(network, cell, weights):
    """Σ uᵢ λᵢ + Σ 4 s Π(λᵢ, λⱼ) in a cell of the mesh, for one output."""
    nodes, corners = network.mesh.nodes, network.mesh.cells()[:, cell]
    u = [Fraction(float(network.values[v])) for v in corners]
    total = sum(a * w for a, w in zip(u, weights, strict=True))
    for i, j in pairs(len(corners)):
        (edge,) = nodes.edge_of(corners[[i]], corners[[j]])
        middle = Fraction(float(network.values[network.mesh.num_vertices + edge]))
        surplus = middle - (u[i] + u[j]) / 2
        total += 4 * surplus * product(weights[i], weights[j], network.levels)
    return total


@pytest.mark.parametrize("name", NAMES)
def test_values_are_sums_of_products_of_hats(rng, name):
    for (levels,) in each((1, 2, 5)):
        network = network_on(name, rng, levels=levels)
        vertices, cells = network.mesh.vertices(), network.mesh.cells()
        chosen = rng.integers(cells.shape[1], size=30)
        weights = rng.integers(0, 9, (len(cells), 30))  # on lines between small cells, too
        weights[0] += weights.sum(axis=0) == 0
        for cell, own in zip(chosen, weights.T, strict=True):
            exact = [Fraction(int(w), int(own.sum())) for w in own]
            x = (vertices[:, cells[:, cell]] * (own / own.sum())).sum(axis=1)
            expected = float(by_the_book(network, cell, exact))
            distance = 1 + np.abs(vertices).max() / network.mesh.step
            assert network(x[:, None])[0] == pytest.approx(
                expected, abs=512 * EPS * distance * network.size
            )


@pytest.mark.parametrize("name", NAMES)
def test_at_nodes_values_are_nodal(rng, name):
    network = network_on(name, rng, outputs=(2,))
    x = network.node_mesh.vertices()
    n = network.mesh.num_vertices
    assert (network(x[:, :n]) == network.values[:, :n]).all()
    distance = 1 + np.abs(x).max() / network.mesh.step
    assert np.abs(network(x) - network.values).max() <= 64 * EPS * distance * network.size


@pytest.mark.parametrize("name", NAMES)
def test_slopes_are_those_along_edges_of_small_cells(rng, name):
    """Between nearby points of a cell, away from the lines between small cells."""
    network = network_on(name, rng, levels=2)
    vertices, cells = network.mesh.vertices(), network.mesh.cells()
    corners = vertices[:, cells[:, rng.integers(cells.shape[1], size=400)]]
    weights = rng.dirichlet(np.ones(len(cells)), 400).T
    step = 1e-6 * (corners[:, 1:] - corners[:, :1])
    x = (corners * weights).sum(axis=1)
    slope = network.gradient(x)
    for k in range(step.shape[1]):
        rise = network(x + step[:, k]) - network(x)
        expected = (slope * step[:, k]).sum(axis=0)
        near = np.abs(rise - expected) <= 1e-3 * np.abs(expected) + 1e-9 * network.size
        assert near.mean() > 0.99


@pytest.mark.parametrize("kind", ["interval", "triangle", "tetrahedron"])
def test_error_bounds_hold_and_are_attained(rng, kind):
    """Near a point of small cells, those with the largest bump among them."""
    create = {
        "interval": lambda: mesh.create_interval(MPI.COMM_SELF, 5, [0.0, 2.0]),
        "triangle": lambda: mesh.create_rectangle(MPI.COMM_SELF, [[0, 0], [2, 1]], [3, 2]),
        "tetrahedron": lambda: mesh.create_unit_cube(MPI.COMM_SELF, 2, 1, 1),
    }
    msh = create[kind]()
    V = fem.functionspace(msh, ("P", 2))
    u = fem.Function(V)
    u.interpolate(lambda x: -((x[0] - x[1] / 2) ** 2) - 2 * x[1] ** 2 - x[2] ** 2)
    for (levels,) in each((1, 2, 3)):
        network = fe_relu.network_from_function(u, levels=levels, structured=False)
        cells, vertices = network.mesh.cells(), network.mesh.vertices()
        parts = rng.dirichlet(np.ones(len(cells)), 300)
        fine = np.indices((2 ** (levels + 1) + 1,) * (len(cells) - 1)).reshape(len(cells) - 1, -1)
        fine = fine[:, fine.sum(axis=0) <= 2 ** (levels + 1)] / 2 ** (levels + 1)
        weights = np.hstack([parts.T, np.vstack([1 - fine.sum(axis=0), fine])])
        x = np.einsum("dcm,cn->dmn", vertices[:, cells], weights).reshape(len(vertices), -1)
        exact = -((x[0] - (x[1] if len(x) > 1 else 0) / 2) ** 2)
        exact -= 2 * x[1] ** 2 if len(x) > 1 else 0
        exact -= x[2] ** 2 if len(x) > 2 else 0
        off = np.abs(network(x) - exact).max()
        assert off <= network.error_bound * (1 + 1e-12)
        if kind != "tetrahedron":
            assert off >= 0.98 * network.error_bound


def test_the_bound_on_a_tetrahedron_is_attained_for_surpluses_of_one_sign(rng):
    found = mesh_of("one tetrahedron")
    values = np.append(np.zeros(4), rng.uniform(0.5, 1, 6))
    network = P2Network(found, values, levels=2)
    edges = found.nodes.of_cells(found.cells())[:, 0]
    weights = np.array([3, 3, 1, 1]) / 8  # in units of a small cell, all fractions are one half
    x = found.vertices()[:, found.cells()[:, 0]] @ weights
    bumps = [weights[i] * weights[j] for i, j in pairs(4)]
    quadratic = 4 * values[4:][edges] @ bumps
    assert quadratic - network(x[:, None])[0] == pytest.approx(network.error_bound, rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_bounds_enclose_the_values_over_the_mesh_and_over_a_box(rng, name):
    network = network_on(name, rng, outputs=(2,), levels=4)
    x = network.mesh.vertices()
    low, high = x.min(axis=1), x.max(axis=1)
    box = np.sort(rng.uniform(low - 0.1, high + 0.1, (2, len(x))), axis=0).T
    for region in (None, box):
        found = fe_relu.bounds(network, region)
        points = points_for(network.mesh, rng, 2000)
        if region is None:
            points = points[:, network.mesh.contains(points)]
        else:
            points = rng.uniform(box[:, :1], box[:, 1:], (len(x), 5000))
        values = network(points)
        assert (found.lower[:, None] <= values).all()
        assert (values <= found.upper[:, None]).all()
    over_mesh = fe_relu.bounds(network)
    if len(x) < 3:
        wide = network.error_bound + 1e-9 * network.size
        many = points_for(network.mesh, rng, 20000)
        many = many[:, network.mesh.contains(many)]
        assert (network(many).max(axis=1) >= over_mesh.upper - wide - 0.3 * network.size).all()


def test_values_near_the_largest_number_do_not_overflow(rng):
    for name, dtype in each(("triangles", "tetrahedra"), (np.float32, np.float64)):
        network = network_on(name, rng, dtype=dtype)
        most = np.finfo(dtype).max
        values = network.values / network.size
        large = P2Network(network.mesh, (values * (0.9 * most)).astype(dtype), levels=3)
        x = points_for(network.mesh, rng).astype(dtype)
        with np.errstate(over="ignore"):
            small = P2Network(network.mesh, values, levels=3)(x) * dtype(0.9 * most)
        found = large(x)
        fits = np.abs(small) < most
        assert np.isfinite(found).all()
        assert found[fits] == pytest.approx(small[fits], rel=1e-3, abs=1e-3 * most)


def test_middles_that_are_means_make_p2_equal_to_p1(rng):
    for (name,) in each(NAMES):
        found = mesh_of(name)
        linear = P1Network(found, rng.standard_normal(found.num_vertices))
        ends = linear.values[found.nodes.edges]
        quadratic = P2Network(found, np.append(linear.values, ends.mean(axis=0)))
        x = points_for(found, rng)
        assert np.abs(quadratic(x) - linear(x)).max() <= 16 * EPS * linear.size


def test_files_have_them(tmp_path, rng):
    for (name,) in each(NAMES):
        network = network_on(name, rng, outputs=(2,), levels=5)
        fe_relu.save(network, tmp_path / "u.safetensors")
        back = fe_relu.load(tmp_path / "u.safetensors")
        x = points_for(network.mesh, rng)
        assert back.levels == 5
        assert (back(x) == network(x)).all()


def test_layers_are_as_deep_as_levels(rng):
    for (levels,) in each((1, 4)):
        network = network_on("holes", rng, levels=levels, outputs=(2,))
        explicit = network.explicit()
        first, second, _ = network.mesh.hidden_layers(np.dtype(float))
        deep = (2 * (network.values.shape[1] + 2),) * (levels + 1)
        assert explicit.widths == (2, first.dim_out, second.dim_out, *deep, 2)
    with pytest.raises(ValueError, match="no small explicit network"):
        network_on("tetrahedra", rng).explicit()


def test_transfer_to_another_mesh_is_bounded(comm, rng):
    one = mesh.create_rectangle(comm, [[0, 0], [1, 1]], [7, 6])
    other = mesh.create_rectangle(comm, [[0, 0], [1, 1]], [5, 9])
    for msh in (one, other):
        msh.geometry.x[:, 0] += 0.05 * np.sin(5 * msh.geometry.x[:, 1])
    u = fem.Function(fem.functionspace(one, ("P", 2)))
    u.interpolate(lambda x: np.sin(3 * x[0]) * x[1])
    network = fe_relu.network_from_function(u, levels=4)
    V = fem.functionspace(other, ("P", 2))
    back, certificate = fe_relu.function_from_network(network, V)
    assert not certificate.exact
    assert certificate.lower <= certificate.upper < np.inf
    x = back.function_space.tabulate_dof_coordinates().T
    assert np.abs(network(x) - back.x.array).max() <= 1e-12


def test_names_are_those_of_meshes():
    assert set(NAMES) <= MESHES.keys()
