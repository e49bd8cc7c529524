# SPDX-License-Identifier: MIT
"""Integrals, norms, extremes and contours of networks against closed forms and dolfinx."""

import numpy as np
import pytest
from test_regions import HEXAGON, SQUARE, one_layer, random_network

import fe_relu
from fe_relu import (
    Affine,
    Grid,
    P1Network,
    ReLUNetwork,
    argmax,
    argmin,
    contours,
    integral,
    linear_regions,
    norm,
)
from fe_relu.meshes.simplices.mesh import SimplexMesh


def dolfinx_numbers(network, domain):
    """∫ f, ∫ f², ∫ |∇f|² of each output, assembled by dolfinx on the network's own mesh."""
    from mpi4py import MPI

    import ufl
    from dolfinx import fem

    _, u = fe_relu.mesh_from_network(network, MPI.COMM_SELF, domain)
    parts = [u] if not u.ufl_shape else [u[i] for i in range(u.ufl_shape[0])]
    forms = [
        [form * ufl.dx for form in (f, f * f, ufl.inner(ufl.grad(f), ufl.grad(f)))] for f in parts
    ]
    return np.array([[fem.assemble_scalar(fem.form(form)) for form in row] for row in forms]).T


@pytest.mark.parametrize("widths", [(2, 9, 6, 1), (2, 7, 5, 3), (1, 8, 6, 1), (1, 5, 2)])
def test_integrals_and_norms_are_those_of_dolfinx(widths):
    network = random_network(widths, 2)
    domain = HEXAGON if widths[0] == 2 else (-1, 2)
    plain, squares, slopes = dolfinx_numbers(network, domain)
    np.testing.assert_allclose(integral(network, domain), plain.squeeze(), rtol=1e-12, atol=1e-13)
    product = integral(network, domain, times=network)
    np.testing.assert_allclose(product, squares.squeeze(), rtol=1e-12)
    assert abs(norm(network, "L2", domain) - np.sqrt(squares.sum())) < 1e-12
    assert abs(norm(network, "H1-seminorm", domain) - np.sqrt(slopes.sum())) < 1e-11
    assert abs(norm(network, "H1", domain) - np.sqrt((squares + slopes).sum())) < 1e-11
    regions = linear_regions(network, domain)
    assert norm(regions, "L2") == norm(network, "L2", domain)
    assert norm(network, "Linf", domain) == abs(regions.values).max()


@pytest.mark.parametrize("dim", [1, 2])
def test_the_l1_norm_is_the_integral_of_the_absolute_value(dim):
    """|f| is a network too: two more neurons after the last."""
    domain = SQUARE if dim == 2 else (-1, 1)
    for seed in range(4):
        network = random_network((dim, 7, 5, 1), seed)
        middle = integral(network, domain) / 2**dim
        *hidden, output = network.layers
        output = Affine(output.weight, output.bias - middle)
        shifted = ReLUNetwork((*hidden, output))
        folded = ReLUNetwork((*hidden, Affine([[1], [-1]], [0, 0]) @ output, Affine([[1, 1]], [0])))
        assert abs(norm(shifted, "L1", domain) - integral(folded, domain)) < 1e-13
    plane = ReLUNetwork((Affine([[1.0] * dim], [0]),))
    assert abs(norm(plane, "L1", domain) - (8 / 3 if dim == 2 else 1)) < 1e-14
    assert abs(norm(-3 * plane, "L1", domain) - (8 if dim == 2 else 3)) < 1e-14


def test_products_are_on_the_common_refinement():
    """(f + g)² = f² + 2 f g + g², and closed forms."""
    f, g = random_network((2, 6, 4, 2), 0), random_network((2, 9, 2), 1)
    both = [integral(h, SQUARE, times=h) for h in (f + g, f, g)]
    cross = integral(f, SQUARE, times=g)
    np.testing.assert_allclose(both[0] - both[1] - both[2], 2 * cross, rtol=1e-11, atol=1e-13)
    x = ReLUNetwork((Affine([[1.0, 0]], [0]), Affine([[1.0]], [0])))  # relu(x)
    y = ReLUNetwork((Affine([[0, 1.0]], [0]), Affine([[1.0]], [0])))
    assert abs(integral(x, SQUARE, times=y) - 1 / 4) < 1e-15
    with pytest.raises(ValueError, match="2 and 1"):
        integral(f, SQUARE, times=x)


@pytest.mark.parametrize("diagonal", ["right", "crossed"])
def test_p1_networks_are_integrated_on_their_mesh(diagonal):
    grid = Grid((1, 0), np.eye(2) / 4, (3, 2), diagonal)
    rng = np.random.default_rng(0)
    for mesh in (grid, SimplexMesh(grid.vertices(), grid.cells()[::-1])):
        network = P1Network(mesh, rng.standard_normal((2, mesh.num_vertices)))
        box = ((1, 1.75), (0, 0.5))
        np.testing.assert_allclose(integral(network), integral(network, box), atol=1e-14)
        for kind in ("L1", "L2", "Linf", "H1"):
            assert abs(norm(network, kind) - norm(network, kind, box)) < 1e-12
        other = random_network((2, 5, 2), 3)
        np.testing.assert_allclose(
            integral(network, times=other), integral(network, box, times=other), atol=1e-14
        )
    line = P1Network(SimplexMesh([[3.0, 0, 1]], [[0, 1], [2, 2]]), np.array([1.0, 0, 2]))
    assert integral(line) == 4.0
    assert norm(line, "H1-seminorm") == np.sqrt(4 + 0.5)


def test_extremes_are_attained_and_global():
    network = random_network((2, 12, 9, 2), 5)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2, 5000))
    for find, sign in ((argmax, 1), (argmin, -1)):
        points, values = find(network, SQUARE)
        assert (sign * network(x) <= sign * values[:, None] + 1e-14).all()
        np.testing.assert_allclose(np.diag(network(points)), values, atol=1e-14)
    point, value = argmax(random_network((1, 9, 1), 0), (0, 1))
    assert point.shape == (1,)
    assert isinstance(value, float)


@pytest.mark.parametrize("seed", range(4))
def test_contours_have_the_value_and_separate(seed):
    network = random_network((2, 10, 6, 1), seed)
    value = float(np.median(linear_regions(network, SQUARE).values))
    lines = contours(network, value, SQUARE)
    assert lines
    for line in lines:
        assert abs(network(line) - value).max() < 1e-13
        middles = (line[:, 1:] + line[:, :-1]) / 2
        assert abs(network(middles) - value).max() < 1e-13
        closed = (line[:, 0] == line[:, -1]).all()
        on_boundary = (abs(line[:, [0, -1]]) == 1).any(axis=0).all()
        assert closed or on_boundary
    # Each change of sign along a straight line is a crossing.
    t = np.linspace(-1, 1, 20001)
    for y in (0.123, -0.456):
        changes = np.count_nonzero(np.diff(network(np.stack([t, 0 * t + y])) > value))
        crossings = sum(np.count_nonzero(np.diff(line[1] > y)) for line in lines)
        assert crossings == changes


def test_contours_of_special_places():
    size = one_layer(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), np.zeros(4))
    assert contours(size, 1e9, SQUARE) == []
    roof = ReLUNetwork((Affine([[1.0, 0]], [0]), Affine([[1.0]], [0])))  # relu(x): 0 on half
    (edge,) = contours(roof, 0.0, SQUARE)
    np.testing.assert_array_equal(np.sort(edge, axis=1), [[0, 0], [-1, 1]])
    saddle = ReLUNetwork(
        (Affine([[1.0, 0], [-1, 0], [0, 1], [0, -1]], [0] * 4), Affine([[1.0, 1, -1, -1]], [0]))
    )
    arms = contours(saddle, 0.0, SQUARE)  # |x| = |y|: four arms from the crossing
    assert sorted(line.shape for line in arms) == [(2, 2)] * 4
    with pytest.raises(ValueError, match="one output"):
        contours(random_network((2, 3, 2), 0), 0.0, SQUARE)
    with pytest.raises(ValueError, match="finite"):
        contours(roof, np.nan, SQUARE)


def test_what_is_missing_or_unknown_is_named():
    network = random_network((2, 3, 1), 0)
    with pytest.raises(ValueError, match="domain is needed"):
        integral(network)
    with pytest.raises(ValueError, match="L1, L2"):
        norm(network, "L3", SQUARE)
    with pytest.raises(TypeError, match="not a ReLUNetwork"):
        norm(np.sin, "L2", SQUARE)
    with pytest.raises(ValueError, match="one domain already"):
        integral(linear_regions(network, SQUARE), SQUARE)
