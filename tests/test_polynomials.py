# SPDX-License-Identifier: MIT
"""Deep networks for polynomials: errors below the proven ones, fourfold less at each level."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.polynomial import polynomial
from test_deep import EPS, exactly

from fe_relu.deep import DeepNetwork, monomial_network, polynomial_network

#: Coefficients and domain.
ONE_VARIABLE = {
    "quadratic": ([1, -2, 3], (-2, 5)),
    "pure square": ([0, 0, -4], (-1, 1)),
    "cubic": ([0.5, 1, 0, -2], (0, 1)),
    "exp": ([1, -1, 1 / 2, -1 / 6, 1 / 24], (0, 2)),
    "gaps": ([0, 0, 0, 1, 0, 0, 1], (-1, 1.5)),
    "trailing zeros": ([1, 1, 1, 1, 0, 0], (-1, 1)),
    "far": ([1, 1, 1, 0.25], (100, 101)),
    "integers": (np.arange(1, 6), [-1, 1]),
}
TWO_VARIABLES = {
    "product": ([[0, 0], [0, 1]], ((-1, 1), (-1, 1))),
    "bilinear": ([[1, 2], [3, -4]], ((0, 1), (-1, 2))),
    "quadratic": ([[1, 2, 3], [1, 1, 0], [2, 0, 0]], ((0, 1), (-1, 2))),
    "cubic": ([[1, 2, 3, 4], [1, 1, 1, 0], [2, 1, 0, 0], [-1, 0, 0, 0]], ((0, 1), (-1, 1))),
    "Q2": (np.sin(np.arange(9)).reshape(3, 3), ((-1, 1), (0, 2))),
    "only y": ([[1, 1, 1, 1]], ((0, 1), (0, 1))),
    "only x": ([[1], [1], [1], [1]], ((0, 1), (0, 1))),
}
CASES = {
    **{f"{name}, 1-D": case for name, case in ONE_VARIABLE.items()},
    **{f"{name}, 2-D": case for name, case in TWO_VARIABLES.items()},
}
AFFINE = {
    "zero": ([0.0], (0, 1)),
    "constant": ([3], (0, 1)),
    "line": ([3, -1, 0, 0], (0, 2)),
    "zero in 2-D": (np.zeros((3, 3)), ((0, 1), (0, 1))),
    "plane": ([[3, 1, 0], [-1, 0, 0]], ((0, 1), (1, 5))),
}


def grid(domain, rng, log2_cells):
    """The middles of all cells of the squares, for less than `log2_cells` levels, and others."""
    low, high = np.reshape(domain, (-1, 2)).T
    axis = np.linspace(0, 1, 2**log2_cells + 1)
    dim = len(low)
    t = np.stack(np.meshgrid(*[axis] * dim)).reshape(dim, -1)
    t = np.hstack([t, rng.random((dim, 2000))])
    return low[:, None] + (high - low)[:, None] * t


def values(coefficients, x):
    evaluate = polynomial.polyval if len(x) == 1 else polynomial.polyval2d
    return evaluate(*x, np.asarray(coefficients, float))


def roundoff(coefficients, domain):
    """100 eps Σ |c| |x|^i |y|^j."""
    largest = np.abs(np.reshape(domain, (-1, 2))).max(axis=1, keepdims=True)
    return 100 * EPS * float(values(np.abs(coefficients), np.maximum(largest, 1))[0])


def first_level_of_the_rule(coefficients):
    """From here on the error falls 3.9 times at each level, or more.

    In the middle of the last cell, half a cell of size h = 2^-level from the end of the domain,
    x^(degree − 2) is 1 − (degree − 2) h / 2, so the largest error is that much below where it goes.
    """
    degree = sum(np.nonzero(np.atleast_2d(coefficients))).max()
    return next(level for level in range(20) if (degree - 2) / 2**level <= 0.1)


@pytest.mark.parametrize("name", CASES)
def test_error_is_below_the_bound_and_falls_fourfold(name, rng):
    coefficients, domain = CASES[name]
    dim = np.ndim(coefficients)
    x = grid(domain, rng, {1: 12, 2: 8}[dim])
    allowed = roundoff(coefficients, domain)
    errors, bounds = [], []
    for level in range({1: 11, 2: 7}[dim]):
        network = polynomial_network(coefficients, level, domain=domain)
        errors.append(np.abs(network(x) - values(coefficients, x)).max())
        bounds.append(network.error_bound)
        assert errors[-1] <= bounds[-1] + allowed
    assert bounds == pytest.approx(bounds[0] * 4.0 ** -np.arange(len(bounds)), rel=1e-12)
    errors = np.array(errors[first_level_of_the_rule(coefficients) :])
    assert len(errors) >= 2
    assert (errors[:-1] / errors[1:] >= 3.9).all()
    assert errors[-1] >= bounds[-1] / 6


@pytest.mark.parametrize("name", AFFINE)
def test_affine_polynomials_are_exact(name, rng):
    coefficients, domain = AFFINE[name]
    network = polynomial_network(coefficients, 3, domain=domain)
    x = grid(domain, rng, 3)
    assert network(x) == pytest.approx(values(coefficients, x), abs=20 * EPS)
    assert network.error_bound == network.hidden_layers == 0


def test_bound_of_a_quadratic_is_its_error(rng):
    """c x² on an interval of length 2 r is off by |c| r² 4^-(levels + 1)."""
    for c, domain, r in [(3, (-2, 5), 3.5), (-0.5, (0, 1), 0.5)]:
        network, x = polynomial_network([1, 2, c], 4, domain=domain), grid(domain, rng, 6)
        measured = np.abs(network(x) - values([1, 2, c], x)).max()
        assert [network.error_bound, measured] == pytest.approx([abs(c) * r**2 * 4.0**-5] * 2)


@pytest.mark.parametrize("name", CASES)
def test_width_is_that_of_the_polynomial_and_depth_linear(name):
    coefficients, domain = CASES[name]
    made = [polynomial_network(coefficients, level, domain=domain) for level in range(1, 6)]
    assert len({max(network.widths) for network in made}) == 1
    assert max(made[0].widths) <= {1: 7, 2: 10}[np.ndim(coefficients)]
    assert len(set(np.diff([network.hidden_layers for network in made]))) == 1
    assert isinstance(made[0], DeepNetwork)


def test_depth_counts_squares_and_products():
    names = {
        5: ("quadratic, 1-D", "product, 2-D", "bilinear, 2-D"),
        5 + 9: ("cubic, 1-D", "exp, 1-D", "quadratic, 2-D", "only x, 2-D", "only y, 2-D"),
        5 + 2 * 9: ("gaps, 1-D",),
    }
    for depth, (coefficients, domain) in ((k, CASES[n]) for k in names for n in names[k]):
        assert polynomial_network(coefficients, 4, domain=domain).hidden_layers == depth


def test_no_neuron_is_idle():
    for coefficients, domain in CASES.values():
        network = polynomial_network(coefficients, 2, domain=domain)
        for layer in network.layers[1:]:
            assert (abs(layer.weight).sum(axis=0) > 0).all()


def test_one_of_two_variables_is_as_good_as_one(rng):
    c = rng.standard_normal(6)
    alone = polynomial_network(c, 3, domain=(0, 1))
    x = rng.random((2, 500))
    for network, t in [
        (polynomial_network(c[:, None], 3, domain=((0, 1), (5, 6))), x + [[0], [5]]),
        (polynomial_network(c[None], 3, domain=((5, 6), (0, 1))), x[::-1] + [[5], [0]]),
    ]:
        assert network(t) == pytest.approx(alone(x[:1]), abs=1e-13)
        assert network.error_bound == pytest.approx(alone.error_bound)
        assert network.num_neurons == alone.num_neurons


@pytest.mark.parametrize("power", range(1, 14))
def test_monomials(power, rng):
    x = grid((-1, 1), rng, 12)
    largest_square = 2 ** (power.bit_length() - 2) if power > 1 else 0
    for levels in [0, 3, 8, 10]:
        network = monomial_network(power, levels)
        expected = (largest_square + (power - 1 - largest_square) / 256) * 4.0 ** -(levels + 1)
        assert network.error_bound == pytest.approx(expected, rel=1e-12)
        assert network.error_bound <= 3 * (power - 1) * 4.0**-levels
        error = np.abs(network(x) - x[0] ** power).max()
        assert error <= network.error_bound + 20 * power * EPS
        if levels == 10:
            assert error >= 0.98 * expected
        factors = power.bit_length() + power.bit_count() - 2
        depth = (levels + 1) + (levels + 5) * (factors - 1) if power > 1 else 0
        assert network.hidden_layers == depth
        assert max(network.widths) <= (3 if power.bit_count() == 1 else 6)
    for levels in [12, 26]:  # where roundoff hides the error
        network = monomial_network(power, levels)
        for x in [Fraction(int(n), 3**12) for n in rng.integers(-(3**12), 3**12, 3)]:
            assert abs(exactly(network, x) - x**power) <= Fraction(network.error_bound)


UNIT, NAN, INF = (0, 1), np.nan, np.inf

#: (coefficients, domain) of what is no polynomial network, by the error and what it says.
REFUSED = {
    (ValueError, "coefficients must be finite"): [([1, NAN], UNIT), ([[1, INF]], (UNIT, UNIT))],
    (ValueError, "not be empty"): [([], UNIT), ([[], []], (UNIT, UNIT))],
    (ValueError, "for one variable or"): [(1.0, UNIT), (np.ones((2, 2, 2)), UNIT)],
    (TypeError, "coefficients must be real numbers"): [([c], UNIT) for c in (1j, "1", True)],
    (ValueError, "a < b"): [([1, 1], (1, 1)), ([1, 1], (1, 0)), ([[1, 1]], (UNIT, (1, 0)))],
    (ValueError, "domain must be finite"): [([1, 1], (0, INF)), ([1, 1], (NAN, 1))],
    (ValueError, r"2 variable\(s\) must be \(\(a, b\), "): [([[1, 1]], UNIT)],
    (ValueError, r"must be \(a, b\)"): [([1, 1], (UNIT, UNIT)), ([1, 1], (0, 1, 2))],
    (ValueError, "overflows float64"): [([0, 1e308], (0, 1e9)), ([0, 1], (0, 5e-324))],
    (TypeError, "domain must be real numbers"): [([1, 1], None)],
}


@pytest.mark.parametrize(("error", "message"), REFUSED)
def test_what_is_refused(error, message):
    for coefficients, domain in REFUSED[error, message]:
        with pytest.raises(error, match=message):
            polynomial_network(coefficients, 2, domain=domain)


def test_powers_are_positive_integers():
    for power, error in ((0, ValueError), (-2, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="power must be"):
            monomial_network(power, 2)
