# SPDX-License-Identifier: MIT
"""Q1 functions on quadrilaterals, of a lattice and in any arrangement."""

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import fem, mesh

import fe_relu
from cases import each, random_function
from fe_relu import P1Network, Q1Network
from fe_relu.meshes.quadrilaterals.lattice import QuadrilateralGrid
from fe_relu.meshes.quadrilaterals.mesh import QuadrilateralMesh

EPS = np.finfo(float).eps

#: The eight orders of a square's corners that leave its sides where they are.
TURNS = ([0, 1, 2, 3], [1, 3, 0, 2], [3, 2, 1, 0], [2, 0, 3, 1])
TURNS = [*TURNS, *([t[0], t[2], t[1], t[3]] for t in TURNS)]


def created(comm, shape=(4, 3), matrix=None):
    msh = mesh.create_rectangle(comm, [[0, 0], [2, 1]], shape, mesh.CellType.quadrilateral)
    if matrix is not None:
        msh.geometry.x[:, :2] = msh.geometry.x[:, :2] @ np.array(matrix).T
    return msh


def bent(shape, rng, size=0.3):
    """A lattice whose inner vertices are moved."""
    grid = QuadrilateralGrid((0, 0), np.diag(1 / np.array(shape, float)), shape)
    x = grid.vertices().copy()
    inner = ((x > 0) & (x < 1)).all(axis=0)
    x[:, inner] += size * rng.uniform(-1, 1, (2, inner.sum())) / np.array(shape)[:, None]
    return QuadrilateralMesh(x, grid.cells())


MATRICES = {
    "as it is": [[1, 0], [0, 1]],
    "rotated": [[0.6, -0.8], [0.8, 0.6]],
    "turned by 45": [[1, -1], [1, 1]],
    "sheared": [[1, 0.7], [0.2, 1]],
    "mirrored": [[-1, 0.1], [0, 2]],
}


@pytest.mark.parametrize("name", MATRICES)
def test_parallelograms_are_recognised(comm, name):
    for (shape,) in each(((4, 3), (1, 1), (1, 5), (3, 3))):
        V = fem.functionspace(created(comm, shape, MATRICES[name]), ("Q", 1))
        conversion = fe_relu.Conversion(V)
        assert type(conversion.mesh) is QuadrilateralGrid
        assert sorted(conversion.mesh.shape) == sorted(shape)
        assert type(fe_relu.Conversion(V, structured=False).mesh) is QuadrilateralMesh


def test_products_of_coordinates_are_exact(comm, rng):
    """On parallelograms along the axes, wherever the lattice is found."""
    V = fem.functionspace(created(comm), ("Q", 1))
    u = fem.Function(V)
    u.interpolate(lambda x: 3 * x[0] * x[1] - x[0] + 2)
    x, y = points = rng.random((2, 1000)) * [[2], [1]]
    for structured in (True, False):
        network = fe_relu.network_from_function(u, structured=structured)
        assert type(network) is Q1Network
        assert np.abs(network(points) - (3 * x * y - x + 2)).max() < 64 * EPS
        exact = np.array([3 * y - 1, 3 * x])
        assert np.abs(network.gradient(points) - exact).max() < 1e-12


def test_orders_of_corners_do_not_matter(rng):
    whole = bent((4, 5), rng)
    turns = np.array(TURNS)[rng.integers(8, size=whole.num_cells)].T
    cells = np.take_along_axis(whole.cells(), turns, axis=0)
    values, x = rng.standard_normal(whole.num_vertices), rng.uniform(-0.2, 1.2, (2, 2000))
    one, other = (Q1Network(m, values) for m in (whole, QuadrilateralMesh(whole.vertices(), cells)))
    assert np.abs(one(x) - other(x)).max() <= 256 * EPS * one.size


@pytest.mark.parametrize("size", [0.0, 1e-9, 0.3, 0.45])
def test_points_are_where_the_bilinear_map_says(rng, size):
    """On parallelograms, nearly parallelograms, and cells far from them."""
    found = bent((6, 5), rng, size)
    network = Q1Network(found, rng.standard_normal((2, found.num_vertices)))
    corners, u = found.vertices()[:, found.cells()], network.values[:, found.cells()]
    for _ in range(50):
        a, b = rng.random((2, found.num_cells))
        weights = np.array([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b])
        x, expected = (corners * weights).sum(axis=1), (u * weights).sum(axis=1)
        assert np.abs(network(x) - expected).max() <= 1e4 * EPS * network.size
        plan = network.plan(x)
        assert (plan(network) == network(x)).all()


def test_flat_cells_lose_little(rng):
    """A trapezoid whose sides nearly meet, and one that is nearly a triangle."""
    for (thin,) in each((1e-3, 1e-6)):
        shapes = (
            [[0, 1, 0, 1], [0, 0, thin, 2 * thin]],
            [[0, 1, 0.5 - thin, 0.5 + thin], [0, 0, 1, 1]],
        )
        for vertices in shapes:
            network = Q1Network(QuadrilateralMesh(vertices, [[0], [1], [2], [3]]), np.arange(4.0))
            a, b = rng.random((2, 500))
            weights = np.array([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b])
            x = np.array(vertices) @ weights
            assert np.abs(network(x) - np.arange(4.0) @ weights).max() <= 64 * EPS / thin


def test_bounds_are_those_of_corners(rng):
    for found in (bent((4, 3), rng), QuadrilateralGrid((0, 0), np.diag([0.2, 0.3]), (5, 3))):
        network = Q1Network(found, rng.standard_normal((2, found.num_vertices)))
        over_mesh = fe_relu.bounds(network)
        assert over_mesh.exact
        assert (over_mesh.lower == network.values.min(axis=1)).all()
        for _ in range(5):
            box = np.sort(rng.uniform(-0.3, 1.3, (2, 2)), axis=0).T
            found_over = fe_relu.bounds(network, box)
            values = network(rng.uniform(box[:, :1], box[:, 1:], (2, 5000)))
            assert (found_over.lower[:, None] <= values).all()
            assert (values <= found_over.upper[:, None]).all()
        far = fe_relu.bounds(network, ((50, 60), (50, 60)))
        assert (far.lower <= 0).all()
        assert (far.upper >= 0).all()


def test_files_and_certificates(comm, tmp_path, rng):
    path = comm.bcast(str(tmp_path / "u.safetensors"))
    for structured, layout in each((True, False), ("replicated", "auto")):
        msh = created(comm)
        if not structured:
            msh.geometry.x[:, 0] += 0.05 * np.sin(4 * msh.geometry.x[:, 1])
        u = random_function(fem.functionspace(msh, ("Q", 1)), np.random.default_rng(3))
        network = fe_relu.network_from_function(u, layout=layout)
        fe_relu.save(network, path)
        x = rng.random((2, 50))
        assert (fe_relu.load(path)(x) == network(x)).all()
        back, certificate = fe_relu.function_from_network(network, u.function_space)
        assert certificate.exact
        assert (back.x.array == u.x.array).all()
        if structured:
            assert np.abs(network.explicit()(x) - network(x)).max() <= 1e-14
        else:
            with pytest.raises(ValueError, match="no ReLU network"):
                network.explicit()
        other = fem.functionspace(created(comm, (5, 5)), ("Q", 1))
        moved, certificate = fe_relu.function_from_network(network, other)
        assert certificate.upper == np.inf
        nodes = other.tabulate_dof_coordinates()[:, :2].T
        assert np.abs(moved.x.array - network(nodes)).max() <= 1e-14


def test_degrees_and_cells_that_do_not_fit_are_refused(rng):
    grid = QuadrilateralGrid((0, 0), np.eye(2), (2, 2))
    with pytest.raises(TypeError, match=r"a QuadrilateralGrid carries no P1Network; .* Q1Network"):
        P1Network(grid, np.zeros(9))
    with pytest.raises(TypeError, match=r"a Grid carries no Q1Network; .* P1Network"):
        Q1Network(fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right"), np.zeros(9))
    with pytest.raises(TypeError, match="hierarchical basis needs a structured mesh"):
        fe_relu.HierarchicalNetwork(grid, np.zeros(9), 1)
    square = np.array([[0, 1, 0, 1], [0, 0, 1, 1.0]])
    with pytest.raises(ValueError, match=r"1 of 1 cells are not convex, .* in the order 00, 10"):
        QuadrilateralMesh(square, [[0], [1], [3], [2]])
    with pytest.raises(ValueError, match="not convex"):
        QuadrilateralMesh([[0, 1, 0, 0.2], [0, 0, 1, 0.2]], [[0], [1], [2], [3]])
    with pytest.raises(ValueError, match=r"must have shape \(4, m\)"):
        QuadrilateralMesh(square, [[0], [1], [3]])
    assert QuadrilateralGrid((0, 0), np.eye(2), (2, 2)) != fe_relu.Grid(
        (0, 0), np.eye(2), (2, 2), "right"
    )
    bent_mesh = bent((2, 2), rng)
    V = fem.functionspace(created(MPI.COMM_WORLD), ("Q", 2))
    with pytest.raises(fe_relu.UnsupportedFunctionError, match="interpolate"):
        fe_relu.Conversion(V)
    assert bent_mesh == QuadrilateralMesh(bent_mesh.vertices(), bent_mesh.cells())


def test_bent_cells_are_not_spread_and_say_so(comm):
    msh = created(comm)
    msh.geometry.x[:, 0] += 0.05 * np.sin(4 * msh.geometry.x[:, 1])
    with pytest.raises(ValueError, match='layout="replicated" gives each rank the whole'):
        fe_relu.Conversion(fem.functionspace(msh, ("Q", 1)), layout="blocks")
