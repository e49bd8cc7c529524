# SPDX-License-Identifier: MIT
"""Depth for quadratics: x² and x y against rationals, interpolation and dolfinx."""

import pickle
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from dolfinx import fem, mesh
from scipy import sparse

from cases import evaluated, points_in_cells
from fe_relu import ReLUNetwork, concatenate, network_from_function
from fe_relu.deep import (
    MAX_LEVELS,
    DeepNetwork,
    bubble_network,
    monomial_network,
    polynomial_network,
    product_network,
    square_network,
    squares,
)

EPS = np.finfo(np.float64).eps


def exactly(network, *x):
    """The value at one rational point, without roundoff: floats are rationals."""
    values = [Fraction(t) for t in x]
    for k, layer in enumerate(network.layers):
        values = [max(v, Fraction(0)) for v in values] if k else values
        weight = layer.weight.toarray()
        values = [
            sum((Fraction(row[j]) * values[j] for j in np.flatnonzero(row)), Fraction(b))
            for row, b in zip(weight, layer.bias, strict=True)
        ]
    return values[0] if len(values) == 1 else values


def interpolant_of_square(levels, x):
    """I_L x² from its definition."""
    k = int(x * 2**levels)
    a, b = Fraction(k, 2**levels), Fraction(k + 1, 2**levels)
    return a**2 + (x - a) * (a + b)


def midpoints(levels, rng):
    """Of all cells, or of as many as one has time for."""
    cells = np.arange(2**levels) if levels <= 12 else rng.integers(0, 2**levels, 4096)
    return (2 * cells + 1) / 2.0 ** (levels + 1)


@pytest.mark.parametrize("levels", range(MAX_LEVELS + 1))
def test_square_is_off_by_4_to_the_minus_levels_plus_1_at_most_and_in_the_middle_of_cells(
    levels, rng
):
    network = square_network(levels)
    x = midpoints(levels, rng)
    errors = {Fraction(v) - Fraction(t) ** 2 for v, t in zip(network([x]), x, strict=True)}
    assert errors == {Fraction(1, 4 ** (levels + 1))} == {Fraction(network.error_bound)}
    x = np.append(rng.random(20000), [0, 1])
    error = network([x]) - x**2
    assert error.max() <= network.error_bound + max(2, levels) * EPS
    assert error.min() >= -levels * EPS


def test_square_is_the_interpolant(rng):
    for levels in [0, 1, 2, 5, 12, 20, 26]:
        for x in [Fraction(int(n), 3**20) for n in rng.integers(0, 3**20, 10)]:
            assert exactly(square_network(levels), x) == interpolant_of_square(levels, x)


def test_square_outside():
    x = np.array([-1e6, -1.0, -1e-9, 1 + 1e-9, 2.0, 1e6])
    expected = np.where(x < 0, 0, (3 * x - 1) / 2)
    for levels in [1, 2, 7]:
        assert square_network(levels)([x]) == pytest.approx(expected, rel=4 * EPS)
    assert (square_network(0)([x]) == x).all()


def test_widths_and_depths():
    for levels in [0, 1, 2, 9, 26]:
        assert square_network(levels).widths == (1, *[3] * levels, 1)
        assert squares(5, levels).widths == (5, *[15] * levels, 5)
        for diagonal in ["left", "right"]:
            network = product_network(levels, diagonal=diagonal)
            assert network.widths == (2, *[7] * (levels + 2), 1)


@pytest.mark.parametrize("diagonal", ["left", "right"])
@pytest.mark.parametrize("levels", range(6))
def test_product_is_the_interpolant_of_dolfinx(comm, rng, levels, diagonal):
    corners, cells = [[-1.0, -1.0], [1.0, 1.0]], (2 * 2**levels,) * 2
    msh = mesh.create_rectangle(comm, corners, cells, diagonal=mesh.DiagonalType[diagonal])
    u = fem.Function(fem.functionspace(msh, ("P", 1)))
    u.interpolate(lambda x: x[0] * x[1])
    u.x.scatter_forward()
    network = product_network(levels, diagonal=diagonal)

    points, where = points_in_cells(msh, 500, rng)
    assert network(points) == pytest.approx(evaluated(u, points, where)[0], rel=0, abs=1e-14)
    points = rng.uniform(-1, 1, (2, 500))
    two_layers = network_from_function(u)(points)
    assert network(points) == pytest.approx(two_layers, rel=0, abs=1e-14)


@pytest.mark.parametrize(("diagonal", "sign"), [("left", 1), ("right", -1)])
def test_product_is_off_to_one_side_and_right_at_the_vertices(diagonal, sign, rng):
    for levels in [0, 1, 3, 8, 15, 20]:
        network = product_network(levels, diagonal=diagonal)
        assert network.error_bound == 4.0 ** -(levels + 1)
        i, j = rng.integers(-(2**levels), 2**levels, (2, 500))
        middles = (2 * np.array([i, j]) + 1) / 2.0 ** (levels + 1)
        x = np.hstack([rng.uniform(-1, 1, (2, 5000)), middles])
        error = sign * (x[0] * x[1] - network(x))
        assert (error[5000:] == network.error_bound).all()
        assert error.min() >= -20 * EPS
        assert error.max() <= network.error_bound + 20 * EPS
        for n, m in rng.integers(-(3**12), 3**12, (3, 2)):
            x, y = Fraction(int(n), 3**12), Fraction(int(m), 3**12)
            assert 0 <= sign * (x * y - exactly(network, x, y)) <= Fraction(network.error_bound)
        x = rng.integers(-(2**levels), 2**levels, (2, 3000), endpoint=True) / 2.0**levels
        assert (network(x) == x[0] * x[1]).all()  # to the last bit


def interpolated_bubble(levels, t):
    nodes = np.linspace(0, 1, 2**levels + 1)
    return np.interp(t, nodes, nodes * (1 - nodes))


@pytest.mark.parametrize("levels", [0, 1, 2, 3, 6])
def test_bubbles_with_weights_beside_other_inputs(levels, rng):
    x = rng.random((5, 300))
    weights, linear = rng.standard_normal((4, 3)), rng.standard_normal((4, 5))
    for given in [weights, sparse.csr_array(weights), sparse.coo_array(weights)]:
        network = bubble_network(given, levels, linear=linear)
        expected = linear @ x + weights @ interpolated_bubble(levels, x[:3])
        assert network(x) == pytest.approx(expected, abs=1e-13)
        assert network.widths == (5, *[10] * levels, 4)
    alone = bubble_network(weights, levels)(x[:3])
    assert alone == pytest.approx(weights @ interpolated_bubble(levels, x[:3]), abs=1e-13)
    single = [square_network(levels)(row[None]) for row in x]
    assert (squares(5, levels)(x) == single).all()


@pytest.mark.parametrize(("diagonal", "sign"), [("left", 1), ("right", -1)])
def test_surpluses_of_the_product(diagonal, sign):
    finest, kept = 6, 4
    nodes = np.arange(-(2**finest), 2**finest + 1) / 2**finest
    x = np.stack(np.meshgrid(nodes, nodes, indexing="ij"))
    values = product_network(kept, diagonal=diagonal)(x.reshape(2, -1)).reshape(x.shape[1:])
    for level in range(1, finest + 1):
        step = 2 ** (finest - level)
        v = values[:: 2 * step, :: 2 * step]
        along_x = values[step :: 2 * step, :: 2 * step] - (v[:-1] + v[1:]) / 2
        along_y = values[:: 2 * step, step :: 2 * step] - (v[:, :-1] + v[:, 1:]) / 2
        ends = {"left": v[:-1, 1:] + v[1:, :-1], "right": v[:-1, :-1] + v[1:, 1:]}[diagonal]
        across = values[step :: 2 * step, step :: 2 * step] - ends / 2
        assert not along_x.any()
        assert not along_y.any()
        assert set(across.ravel()) == {sign * 4.0**-level if level <= kept else 0.0}


def test_deep_networks_are_networks(rng):
    f, g = square_network(3), product_network(2)
    assert isinstance(f, ReLUNetwork)
    assert isinstance(f, DeepNetwork)
    x = rng.uniform(-1, 1, (2, 100))
    for result, expected in [
        (2 * g, 2 * g(x)),
        (g - g, 0 * x[0]),
        (f @ g, f([g(x)])),
        (concatenate([g, -g]), [g(x), -g(x)]),
    ]:
        assert type(result) is ReLUNetwork
        assert result(x) == pytest.approx(np.array(expected), abs=1e-14)
    copy = pickle.loads(pickle.dumps(g))
    assert (copy(x) == g(x)).all()
    assert copy.error_bound == g.error_bound
    with pytest.raises(FrozenInstanceError):
        f.error_bound = 0.0
    for bad in [-1e-9, np.nan, np.inf]:
        with pytest.raises(ValueError, match="finite and at least 0"):
            DeepNetwork(f.layers, bad)


MAKERS = {
    "square": square_network,
    "product": product_network,
    "squares": lambda levels: squares(2, levels),
    "monomial": lambda levels: monomial_network(3, levels),
    "polynomial": lambda levels: polynomial_network([1, 2, 3], levels, domain=(0, 1)),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_levels_are_a_small_number(make):
    assert make(np.int8(2)).hidden_layers == make(2).hidden_layers
    for bad in [-1, 27, 10**9]:
        with pytest.raises(ValueError, match="between 0 and 26, not "):
            make(bad)
    for bad in [True, np.True_, 2.0, np.float64(2), "2", None, [2], np.array([2, 3])]:
        with pytest.raises(TypeError, match="levels must be an integer, not "):
            make(bad)


def test_what_else_is_refused():
    for bad in ["crossed", "left_right", "right_left", "Left", None, 0]:
        with pytest.raises(ValueError, match='"left" or "right", not '):
            product_network(2, diagonal=bad)
    for bad in [0, -3]:
        with pytest.raises(ValueError, match="inputs must be at least 1, not"):
            squares(bad, 2)
    for linear in [np.ones((1, 2)), np.ones((2, 3))]:
        with pytest.raises(ValueError, match=r"3 bubbles and 1 outputs do not fit .*"):
            bubble_network([[1, 2, 3]], 2, linear=linear)
