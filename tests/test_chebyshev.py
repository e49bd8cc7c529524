# SPDX-License-Identifier: MIT
"""Chebyshev sums and analytic functions as networks are within their bounds."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.polynomial import chebyshev

from fe_relu.deep import DeepNetwork, analytic_network, chebyshev_network
from test_maxima import exactly

EPS = np.finfo(np.float64).eps

#: Analytic functions on [−1, 1]; half-axes of an ellipse around add up to ρ, where |f| ≤ M.
FUNCTIONS = {
    "exp": (np.exp, 4.0, np.exp((4 + 1 / 4) / 2)),
    "cos": (lambda x: np.cos(5 * x), 3.0, np.cosh(5 * (3 - 1 / 3) / 2)),
    "pole": (lambda x: 1 / (3 - x), 4.0, 1 / (3 - (4 + 1 / 4) / 2)),
    "Runge": (lambda x: 1 / (1 + 9 * x**2), 1.3, 1 / (1 - 9 * ((1.3 - 1 / 1.3) / 2) ** 2)),
}


def chebyshev_at(k, t):
    """T_k by its three-term recurrence."""
    before, now = Fraction(1), t
    for _ in range(k):
        before, now = now, 2 * t * now - before
    return before


@pytest.mark.parametrize("levels", [0, 1, 4, 9])
@pytest.mark.parametrize("k", [0, 1, 2, 3, 4, 5, 7, 8, 11, 16])
def test_chebyshev_polynomials_are_within_their_bound_in_rational_numbers(k, levels, rng):
    network = chebyshev_network(np.eye(k + 1)[k], levels, domain=(-1, 1))
    for n in [-1, 1, 0, *rng.integers(-(2**20), 2**20, 12)]:
        t = Fraction(int(n), 2**20) if abs(n) > 1 else Fraction(int(n))
        assert abs(exactly(network, [t]) - chebyshev_at(k, t)) <= Fraction(network.error_bound)
    assert network.error_bound <= (k**2 + (2 * k) ** 4 * 4.0**-levels) * 4.0 ** -(levels + 1)
    if k < 2:
        assert network.hidden_layers == 0
        assert network.error_bound == 0


@pytest.mark.parametrize("domain", [(-1, 1), (0, 3), (100, 100.5)])
def test_sums_on_intervals(domain, rng):
    for degree in [0, 1, 2, 5, 12, 25]:
        coefficients = rng.standard_normal(degree + 1) * 0.7 ** np.arange(degree + 1)
        network = chebyshev_network(coefficients, 9, domain=domain)
        x = np.append(rng.uniform(*domain, 2000), domain)
        t = (2 * x - sum(domain)) / (domain[1] - domain[0])
        error = np.abs(network([x]) - chebyshev.chebval(t, coefficients)).max()
        noise = 64 * EPS * (1 + degree**2) * (1 + max(np.abs(domain)) / np.ptp(domain))
        assert error <= network.error_bound + noise
        assert network.hidden_layers <= max(0, degree - 1) * 10
        assert max(network.widths) <= 7 + degree / 4 + 4


def test_error_falls_fourfold_with_each_level(rng):
    coefficients = 0.5 ** np.arange(10)
    x = rng.uniform(-1, 1, (1, 20_000))
    exact = chebyshev.chebval(x[0], coefficients)
    errors, bounds = [], []
    for levels in range(4, 10):
        network = chebyshev_network(coefficients, levels, domain=(-1, 1))
        errors.append(np.abs(network(x) - exact).max())
        bounds.append(network.error_bound)
    assert (np.array(errors) <= bounds).all()
    assert errors[-1] < 4.0**-4.5 * errors[0]
    assert np.array(bounds[:-1]) / bounds[1:] == pytest.approx(4, rel=0.1)
    assert bounds[-1] < 8 * errors[-1]  # nothing cancels


@pytest.mark.parametrize("name", FUNCTIONS)
def test_analytic_functions_to_a_tolerance(name, rng):
    function, rho, most = FUNCTIONS[name]
    x = np.append(rng.uniform(-1, 1, 5000), [-1, 0, 1])
    depths = []
    for tol in 10.0 ** -np.arange(1, 8):
        network = analytic_network(function, tol, domain=(-1, 1), ellipse=(rho, most))
        assert isinstance(network, DeepNetwork)
        assert np.abs(network([x]) - function(x)).max() <= network.error_bound <= tol
        depths.append(network.hidden_layers)
    print(name, depths)
    growth = np.array(depths) / (np.arange(1, 8) + 1.0) ** 2  # log² (1 / tol)
    assert growth[-1] <= 2 * growth[2:].min()


def test_analytic_functions_elsewhere(rng):
    network = analytic_network(np.log, 1e-6, domain=(1, 3), ellipse=(3, 3.2))
    x = rng.uniform(1, 3, 2000)
    assert np.abs(network([x]) - np.log(x)).max() <= network.error_bound <= 1e-6
    flat = analytic_network(lambda x: 0 * x + 2, 1e-3, domain=(0, 1), ellipse=(100, 2))
    assert flat.hidden_layers == 0
    even = analytic_network(lambda x: np.cos(3 * x), 1e-6, domain=(-1, 1), ellipse=(4, 140))
    odd = analytic_network(lambda x: np.cos(3 * x + 1), 1e-6, domain=(-1, 1), ellipse=(4, 140))
    assert even.hidden_layers < 0.8 * odd.hidden_layers  # half of the coefficients are left out


def test_what_is_refused():
    for bad in [[], [[1, 2]], [np.nan]]:
        with pytest.raises(ValueError, match="coefficients must"):
            chebyshev_network(bad, 3, domain=(0, 1))
    with pytest.raises(ValueError, match="a < b"):
        chebyshev_network([1, 2], 3, domain=(1, 1))
    with pytest.raises(ValueError, match="between 0 and 26"):
        chebyshev_network([1, 2], 27, domain=(0, 1))
    for tol, ellipse, why in [
        (0, (2, 1), "needed are"),
        (1e-3, (1, 1), "needed are"),
        (1e-3, (1.001, 1), "needs degree"),
        (1e-30, (1e9, 1), "below what 26 levels reach"),
    ]:
        with pytest.raises(ValueError, match=why):
            analytic_network(np.exp, tol, domain=(0, 1), ellipse=ellipse)
    with pytest.raises(TypeError, match="real"):
        analytic_network(np.exp, "1", domain=(0, 1), ellipse=(2, 1))
