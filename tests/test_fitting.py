# SPDX-License-Identifier: MIT
"""Interpolation matrices, output weights from data, and cell tags as networks."""

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import pytest
import scipy
import ufl
from dolfinx import fem, mesh
from test_simplices import mesh_of

import fe_relu
from cases import each, random_function
from fe_relu import P1Network, Q1Network, ReLUNetwork, fit_output, interpolation_matrix
from fe_relu.fenicsx import compat
from fe_relu.fitting.inertia import rank_and_condition
from fe_relu.layers.affine import Affine
from fe_relu.meshes.quadrilaterals.lattice import QuadrilateralGrid

EPS = np.finfo(float).eps


def grid(diagonal="crossed", shape=(5, 4)):
    return fe_relu.Grid((0.2, -1), [[0.4, 0.1], [-0.1, 0.5]], shape, diagonal)


def networks(rng):
    yield P1Network(grid("left_right"), rng.standard_normal(30))
    yield P1Network(grid(), rng.standard_normal(50))
    for name in ("interval", "holes", "tetrahedra"):
        yield P1Network(mesh_of(name), rng.standard_normal(mesh_of(name).num_vertices))
    lattice = QuadrilateralGrid((0, 0), [[0.5, 0.1], [0, 0.4]], (3, 4))
    yield Q1Network(lattice, rng.standard_normal(lattice.num_vertices))


def points_around(network, rng, count=500):
    x = network.mesh.vertices()
    low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    return low + (high - low) * rng.uniform(-0.2, 1.2, (len(x), count))


def test_rows_are_hats_and_the_matrix_at_vertices_is_the_identity(rng):
    for network in networks(rng):
        corners, vertices = len(network.mesh.cells()), network.mesh.vertices()
        x = points_around(network, rng)
        matrix = interpolation_matrix(network, x)
        assert matrix.shape == (x.shape[1], network.mesh.num_vertices)
        assert np.diff(matrix.indptr).max() <= corners
        assert np.abs(matrix @ network.values - network(x)).max() <= 64 * EPS * network.size
        inside = network.mesh.contains(x)
        assert matrix.sum(axis=1)[inside] == pytest.approx(1, abs=64 * EPS)
        at_vertices = interpolation_matrix(network, vertices)
        assert (at_vertices.toarray() == np.eye(vertices.shape[1])).all()


def test_other_layers_are_those_of_the_explicit_network(rng):
    network = P1Network(grid("right"), rng.standard_normal(30))
    explicit, x = network.explicit(), points_around(network, rng)
    h = x
    for layer, affine in enumerate(explicit.layers[:-1]):
        h = np.maximum(affine(h), 0)
        for number in (layer, layer - 2):
            for given in (network, explicit):
                found = interpolation_matrix(given, x, number).toarray()
                assert found == pytest.approx(h.T, abs=1e-13)
    for layer in (2, -3, 7):
        with pytest.raises(ValueError, match=f"no hidden layer {layer}; there are 2"):
            interpolation_matrix(network, x, layer)
    with pytest.raises(TypeError, match="layer must be an integer"):
        interpolation_matrix(network, x, 1.0)


def test_facts_are_those_of_singular_values(rng):
    network = P1Network(grid("right"), np.zeros(30))
    x = points_around(network, rng, 40)
    matrix = interpolation_matrix(network, x)
    facts = fe_relu.matrix_facts(matrix)
    assert facts.rank == np.linalg.matrix_rank(matrix.toarray())
    assert facts.nonzeros == matrix.nnz
    many = fe_relu.matrix_facts(interpolation_matrix(network, points_around(network, rng, 6000)))
    assert many.rank == 30
    assert many.condition > 1


def test_eigenvalues_are_counted_as_singular_values_say(rng):
    network = P1Network(grid(), np.zeros(50))
    for count in (20, 60, 3000):  # too few, some vertices unseen, enough
        matrix = interpolation_matrix(network, points_around(network, rng, count))
        values = np.linalg.svd(matrix.toarray(), compute_uv=False)
        kept = values[values > 1e-7 * values[0]]
        rank, condition = rank_and_condition(scipy.sparse.csc_array(matrix.T @ matrix))
        assert rank == kept.size
        assert condition == pytest.approx(kept[0] / kept[-1], rel=0.02)
    nothing = scipy.sparse.csc_array((5, 5))
    assert rank_and_condition(nothing) == (0, np.inf)
    many = fe_relu.Grid((0, 0), np.eye(2), (70, 70), "right")
    network = P1Network(many, np.zeros(71 * 71))
    facts = fe_relu.matrix_facts(interpolation_matrix(network, many.vertices()[:, 3:]))
    assert (facts.rank, facts.densest_row) == (71 * 71 - 3, 1)
    assert facts.condition == pytest.approx(1, rel=0.02)


def test_data_of_a_network_give_it_back(rng):
    for network in networks(rng):
        cells = network.mesh.vertices()[:, network.mesh.cells()]
        weights = rng.dirichlet(np.ones(len(cells[0])), 20).T
        x = np.einsum("dcm,cn->dmn", cells, weights).reshape(len(cells), -1)
        y = np.array([network(x), 1 - 2 * network(x)])
        zero = type(network)(network.mesh, np.zeros(network.mesh.num_vertices))
        scalar, both = fit_output(zero, x, y[0]), fit_output(zero, x, y)
        assert type(scalar) is type(network)
        assert scalar.values == pytest.approx(network.values, abs=1e-7)
        assert both.values[0] == pytest.approx(network.values, abs=1e-7)
        assert both.dim_out == 2


def test_without_enough_data_the_norm_is_least(rng):
    network = P1Network(grid("right"), np.zeros(30))
    x, y = points_around(network, rng, 12), rng.standard_normal(12)
    matrix = interpolation_matrix(network, x).toarray()
    least = np.linalg.lstsq(matrix, y)[0]
    assert fit_output(network, x, y).values == pytest.approx(least, abs=1e-8)


def test_regularised_weights_solve_the_normal_equations(rng):
    network = P1Network(grid("right"), np.zeros(30))
    x, y = points_around(network, rng, 50), rng.standard_normal((3, 50))
    matrix = interpolation_matrix(network, x).toarray()
    expected = np.linalg.solve(matrix.T @ matrix + 0.1 * np.eye(30), matrix.T @ y.T).T
    assert fit_output(network, x, y, regularisation=0.1).values == pytest.approx(expected)


def test_layers_are_kept_and_their_bias_is_taken_off(rng):
    hidden = Affine(rng.standard_normal((7, 2)), rng.standard_normal(7))
    given = ReLUNetwork((hidden, Affine(np.zeros((2, 7)), [1.0, -2.0])))
    true = ReLUNetwork((hidden, Affine(rng.standard_normal((2, 7)), [1.0, -2.0])))
    x = rng.standard_normal((2, 400))
    found = fit_output(given, x, true(x))
    assert found.layers[0] is hidden
    assert np.abs(found(x) - true(x)).max() <= 1e-6
    with pytest.raises(ValueError, match="2 outputs, the data 1"):
        fit_output(given, x, true(x)[0])
    with pytest.raises(TypeError, match="a penalty is a form on the mesh"):
        fit_output(given, x, true(x), penalty=object())


def msh_of(comm, kind):
    msh = mesh.create_unit_square(comm, 9, 7)
    if kind == "bent":
        msh.geometry.x[:, 0] += 0.05 * np.sin(4 * msh.geometry.x[:, 1])
    return msh


@pytest.mark.parametrize("kind", ["grid", "bent"])
@pytest.mark.parametrize("layout", ["replicated", "blocks"])
def test_on_many_ranks_all_is_as_on_one(comm, kind, layout):
    """The matrix, least squares, and those with a smoothness term: data of any rank, anywhere."""
    V = fem.functionspace(msh_of(comm, kind), ("P", 1))
    u = random_function(V, np.random.default_rng(5))
    network = fe_relu.network_from_function(u, layout=layout)
    alone = network.gather()
    shares = [
        np.random.default_rng([3, rank]).random((2, 300 + 200 * rank)) for rank in range(comm.size)
    ]
    x, every = shares[comm.rank], np.hstack(shares)
    y = [np.sin(3 * part[0]) * part[1] for part in (x, every)]
    matrix = interpolation_matrix(network, x)
    assert isinstance(matrix, PETSc.Mat)
    assert matrix.getSize() == (every.shape[1], alone.mesh.num_vertices)
    own = scipy.sparse.csr_array(
        matrix.getValuesCSR()[::-1], shape=(x.shape[1], matrix.getSize()[1])
    )
    if layout == "replicated":  # else vertices have other numbers
        assert abs(own - interpolation_matrix(alone, x)).max() <= 8 * EPS
    du, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    smooth = 1e-3 * ufl.inner(ufl.grad(du), ufl.grad(v)) * ufl.dx
    W = fem.functionspace(msh_of(MPI.COMM_SELF, kind), ("P", 1))
    dw, w = ufl.TrialFunction(W), ufl.TestFunction(W)
    smooth_alone = 1e-3 * ufl.inner(ufl.grad(dw), ufl.grad(w)) * ufl.dx
    for options, options_alone in (
        ({}, {}),
        ({"regularisation": 0.3},) * 2,
        ({"penalty": smooth}, {"penalty": smooth_alone}),
    ):
        found = fit_output(network, x, y[0], **options)
        serial = fe_relu.network_from_function(random_function(W, np.random.default_rng(5)))
        expected = fit_output(serial.gather(), every, y[1], **options_alone)
        assert found.layout == network.layout
        grid_points = np.random.default_rng(9).random((2, 200))
        assert found(grid_points) == pytest.approx(expected(grid_points), abs=1e-6)


def test_a_smoothness_term_fills_gaps_with_the_smoothest(comm):
    """Far from data, the energy is least: checked against a direct solve by dolfinx's matrix."""
    msh = mesh.create_unit_square(MPI.COMM_SELF, 8, 8)
    V = fem.functionspace(msh, ("P", 1))
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    network = fe_relu.network_from_function(fem.Function(V)).gather()
    x = np.random.default_rng(1).random((2, 40)) * 0.3
    fitted = fit_output(
        network, x, x[0], penalty=1e-6 * ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx
    )
    back, _ = fe_relu.function_from_network(fitted, V)
    K = fem.assemble_matrix(fem.form(ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx)).to_scipy()
    residual = K @ back.x.array
    far = (V.tabulate_dof_coordinates()[:, :2] > 0.45).any(axis=1)
    assert np.abs(residual[far]).max() <= 1e-6
    other = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, 5, 5), ("P", 1))
    a, b = ufl.TrialFunction(other), ufl.TestFunction(other)
    with pytest.raises(ValueError, match="on another mesh"):
        fit_output(network, x, x[0], penalty=ufl.inner(a, b) * ufl.dx)


BAD = {
    "shape": (lambda n: np.zeros(n + 1), {}, ValueError, "one number a point"),
    "dimensions": (lambda n: np.zeros((1, 1, n)), {}, ValueError, "one number a point"),
    "NaN": (lambda n: np.full(n, np.nan), {}, ValueError, "leave out their points"),
    "text": (lambda n: np.array(["a"] * n), {}, TypeError, "real numbers"),
    "masked": (lambda n: np.ma.masked_all(n), {}, TypeError, "leave out"),
    "negative": (np.zeros, {"regularisation": -1.0}, ValueError, "at least 0"),
    "no number": (np.zeros, {"regularisation": np.nan}, ValueError, "at least 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_are_refused_on_all_ranks(comm, name):
    make, options, error, words = BAD[name]
    V = fem.functionspace(msh_of(comm, "grid"), ("P", 1))
    network = fe_relu.network_from_function(fem.Function(V))
    x = np.random.default_rng(2).random((2, 20))
    with pytest.raises(error, match=words):
        fit_output(network, x, make(20) if comm.rank == comm.size - 1 else np.zeros(20), **options)


CREATED = {
    "interval": lambda comm: mesh.create_interval(comm, 9, [0.0, 1.0]),
    "triangle": lambda comm: mesh.create_unit_square(comm, 7, 6),
    "tetrahedron": lambda comm: mesh.create_unit_cube(comm, 3, 4, 3),
}


@pytest.mark.parametrize("kind", CREATED)
def test_the_largest_output_tells_the_tag_in_each_cell(comm, kind):
    """Of tags at random, so that every cell may lie between others."""
    msh = CREATED[kind](comm)
    dim = msh.topology.dim
    cells = msh.topology.index_map(dim).size_local + msh.topology.index_map(dim).num_ghosts
    middles = mesh.compute_midpoints(msh, dim, np.arange(cells, dtype=np.int32))[:, :dim].T
    chosen = np.array([4, 17, -3])[
        np.floor(1e4 * np.abs(np.sin(99 * middles).sum(axis=0))).astype(int) % 3
    ]
    tags = mesh.meshtags(msh, dim, np.arange(cells, dtype=np.int32), chosen.astype(np.int32))
    classifier = fe_relu.classifier_from_meshtags(tags, msh)
    present = sorted(set().union(*comm.allgather(chosen.tolist())))
    assert classifier.classes.tolist() == present
    corners = msh.geometry.x[compat.geometry_dofmap(msh)][:, :, :dim]
    weights = np.random.default_rng(comm.rank).dirichlet(np.full(dim + 1, 2.0), 15)
    x = np.einsum("wc,mcd->dmw", weights, corners).reshape(dim, -1)
    assert (classifier(x) == np.repeat(chosen, 15)).all()
    outputs = classifier.network(x)
    assert outputs.sum(axis=0) == pytest.approx(1, abs=1e-12)
    with pytest.raises(ValueError, match="outside the mesh"):
        classifier(np.full((dim, 1), 7.0))


def test_tags_that_leave_cells_out_or_are_of_facets_are_refused(comm):
    msh = mesh.create_unit_square(comm, 4, 4)
    some = np.arange(msh.topology.index_map(2).size_local - (comm.rank == 0), dtype=np.int32)
    tags = mesh.meshtags(msh, 2, some, np.ones(some.size, np.int32))
    with pytest.raises(ValueError, match=r"1 of .* cells on a rank have no tag"):
        fe_relu.classifier_from_meshtags(tags, msh)
    msh.topology.create_entities(1)
    facets = mesh.meshtags(msh, 1, np.arange(3, dtype=np.int32), np.ones(3, np.int32))
    with pytest.raises(ValueError, match="of entities of dimension 1, not of cells, 2"):
        fe_relu.classifier_from_meshtags(facets, msh)


def test_a_classifier_leaves_as_a_file(tmp_path):
    from runtime import run_file

    msh = mesh.create_unit_square(MPI.COMM_SELF, 4, 4)
    middles = mesh.compute_midpoints(msh, 2, np.arange(32, dtype=np.int32))
    tags = mesh.meshtags(msh, 2, np.arange(32), (1 + (middles[:, 0] > 0.5)).astype(np.int32))
    classifier = fe_relu.classifier_from_meshtags(tags, msh)
    x = np.random.default_rng(4).random((2, 200))
    for (form,) in each(("relu", "active")):
        fe_relu.to_onnx(classifier.network, tmp_path / "tags.onnx", form=form)
        assert (1 + run_file(tmp_path / "tags.onnx", x).argmax(axis=0) == 1 + (x[0] > 0.5)).all()
