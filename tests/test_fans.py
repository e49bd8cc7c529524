# SPDX-License-Identifier: MIT
"""Which functions on a fan one or two layers can be: in rationals, and by HiGHS."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from fe_relu import Affine, ReLUNetwork
from fe_relu.cpwl import Fan, braid_fan, conforming_space, represent
from fe_relu.cpwl.rationals import dot, normal_to, reduced, whole
from fe_relu.deep import maximum_network


def highest_of(*chosen):
    """max over chosen numbers, of which number 0 is 0 and number k is x_k."""

    def function(x):
        return np.vstack([0 * x[:1], x])[list(chosen)].max(axis=0)

    return function


def agrees(network, function, dim, rng):
    x = rng.standard_normal((dim, 500)) * 10.0 ** rng.integers(-2, 3, 500)
    return network(x) == pytest.approx(function(x), rel=1e-11, abs=1e-12)


def test_elimination_in_rational_numbers(rng):
    for height, width in [(2, 2), (3, 5), (6, 4), (7, 7)]:
        columns = [[int(e) for e in rng.integers(-3, 4, height)] for _ in range(width)]
        columns[-1] = [2 * a - b for a, b in zip(columns[0], columns[-2], strict=True)]
        found = reduced(columns, height)
        assert len(found.pivots) == np.linalg.matrix_rank(np.array(columns, float))
        assert len(found.pivots) + len(found.functionals) == height
        for functional in found.functionals:
            assert not any(dot(functional, column) for column in columns)
        for j, solver in enumerate(found.solvers):
            assert [dot(solver, columns[p]) for p in found.pivots] == [
                int(i == j) for i in range(len(found.pivots))
            ]
    assert normal_to([[1, 1, 0], [0, 1, 1]]) in [(1, -1, 1), (-1, 1, -1)]
    assert normal_to([[1, 1, 0], [2, 2, 0]]) == (0, 0, 0)
    assert whole([Fraction(2, 3), Fraction(-4, 9)]) == (3, -2)


def test_braid_fans_have_a_ray_for_each_set_of_numbers():
    """The rays are the sums of unit vectors over sets of numbers 0 … n, of which number 0 is −Σ."""
    for n in [1, 2, 3, 4]:
        fan = braid_fan(n)
        units = np.vstack([-np.ones(n, int), np.eye(n, dtype=int)])
        sets = [s for k in range(1, n + 1) for s in itertools.combinations(range(n + 1), k)]
        assert {tuple(ray) for ray in fan.rays.T} == {
            tuple(units[list(s)].sum(axis=0)) for s in sets
        }
        assert len(fan.normals) == n * (n + 1) // 2
        place = {tuple(units[list(s)].sum(axis=0)): set(s) for s in sets}
        nested = {
            frozenset((a, b))
            for a, b in itertools.combinations(range(len(sets)), 2)
            for s, t in [(place[tuple(fan.rays[:, a])], place[tuple(fan.rays[:, b])])]
            if s < t or t < s
        }
        assert {frozenset(pair) for pair in fan.pairs.T} == nested


def test_one_layer_is_decided_by_linear_algebra(rng):
    fan = braid_fan(2)
    assert conforming_space(fan, 1).dimension == 5
    for function in [
        lambda x: np.abs(x[0] - x[1]) + 3 * x[0],
        lambda x: np.maximum(0, x[1]) - 2 * np.abs(x[0]),
        highest_of(0, 2),
        lambda x: 0 * x[0],
    ]:
        verdict = represent(fan, function, hidden_layers=1)
        assert verdict
        assert verdict.certificate is None
        assert verdict.network.hidden_layers == 1
        assert agrees(verdict.network, function, 2, rng)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_maximum_of_more_than_two_numbers_needs_two_layers(n):
    """The certificate is 0 on every neuron that has its kink on the fan, and not on the maximum."""
    fan, highest = braid_fan(n), highest_of(*range(n + 1))
    verdict = represent(fan, highest, hidden_layers=1)
    assert not verdict
    assert verdict.network is None
    for normal in fan.normals:
        for sign in (1, -1):
            neuron = [max(0, sign * int(h)) for h in np.array(normal) @ fan.rays]
            assert dot(verdict.certificate, neuron) == 0
    assert dot(verdict.certificate, [int(v) for v in highest(fan.rays)]) != 0


@pytest.mark.parametrize("n", [2, 3])
def test_up_to_four_numbers_two_layers_can_be_everything_on_the_fan(n, rng):
    fan = braid_fan(n)
    space = conforming_space(fan, 2)
    assert space.dimension == fan.rays.shape[1]
    assert space.functionals == ()
    for chosen in [range(n + 1), (0, 1, n), (1, 2)]:
        function = highest_of(*chosen)
        verdict = represent(fan, function, hidden_layers=2)
        assert verdict.network.hidden_layers == 2
        assert agrees(verdict.network, function, n, rng)
    values = rng.integers(-5, 6, fan.rays.shape[1])
    network = represent(fan, values, hidden_layers=2).network
    assert network(fan.rays) == pytest.approx(values, abs=1e-12)


def test_five_numbers_are_beyond_two_conforming_layers(rng):
    """29 of 30 dimensions: all but what alternating signs see, as Hertrich et al. find."""
    fan = braid_fan(4)
    space = conforming_space(fan, 2)
    print(
        f"{fan.rays.shape[1]} rays; dimension {conforming_space(fan, 1).dimension} with one layer, "
        f"{space.dimension} with two"
    )
    assert (conforming_space(fan, 1).dimension, space.dimension) == (14, 29)
    five = highest_of(0, 1, 2, 3, 4)
    verdict = represent(fan, five, hidden_layers=2)
    assert not verdict
    units = np.vstack([-np.ones(4, int), np.eye(4, dtype=int)])
    members = {
        tuple(units[list(s)].sum(axis=0)): len(s)
        for k in range(1, 5)
        for s in itertools.combinations(range(5), k)
    }
    parity = [(-1) ** members[tuple(ray)] for ray in fan.rays.T]
    assert verdict.certificate in [tuple(parity), tuple(-p for p in parity)]
    for k in range(1, 5):  # maxima of at most four are on the other side
        for chosen in itertools.combinations(range(5), k):
            function = highest_of(*chosen)
            assert dot(verdict.certificate, [int(v) for v in function(fan.rays)]) == 0
    assert agrees(
        represent(fan, highest_of(0, 1, 3, 4), hidden_layers=2).network,
        highest_of(0, 1, 3, 4),
        4,
        rng,
    )


def test_neurons_of_the_space_conform(rng):
    fan = braid_fan(4)
    a, b = fan.pairs
    for neuron in conforming_space(fan, 2).neurons:
        first = conforming_space(fan, 1).columns
        values = [dot(neuron, row) for row in zip(*first, strict=True)]
        signs = np.array([(v > 0) - (v < 0) for v in values])
        assert (signs[a] * signs[b] >= 0).all()
        assert (signs > 0).any()


def test_the_two_layers_of_five_numbers_do_not_conform(rng):
    """What the certificate rules out is there: with kinks that are not on the fan."""
    start = Affine(np.vstack([np.zeros((1, 4)), np.eye(4)]), np.zeros(5))
    network = maximum_network(5, by="fives") @ ReLUNetwork((start,))
    fan = braid_fan(4)
    assert network.hidden_layers == 2
    assert not represent(fan, network, hidden_layers=2)
    first, second, _ = network.layers
    inner = second(np.maximum(0, first(fan.rays.astype(float))))
    a, b = fan.pairs
    assert ((inner[:, a] * inner[:, b]) < -1e-9).any(axis=1).any()


def test_other_fans(rng):
    """Not simplicial: four planes in general position; and lines in the plane."""
    fan = Fan([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
    space = conforming_space(fan, 1)
    assert space.dimension == 3 + 4
    for layers in (1, 2):
        function = lambda x: np.abs(x.sum(axis=0)) - np.abs(x[2]) + x[1]  # noqa: E731
        assert agrees(represent(fan, function, hidden_layers=layers).network, function, 3, rng)
    lines = Fan([(1, 0), (0, 1), (1, -1), (1, 1), (1, 2)])
    assert lines.rays.shape == (2, 10)
    assert conforming_space(lines, 1).dimension == 2 + 5
    assert conforming_space(lines, 2).dimension == 10
    with pytest.raises(ValueError, match="not linear on the cones"):
        represent(fan, lambda x: x.max(axis=0), hidden_layers=1)


def test_what_is_refused():
    for bad, why in [
        ([(1, 0), (2, 0)], "one hyperplane"),
        ([(1, 0), (0, 0)], "one is 0"),
        ([(1, 0, 0), (0, 1, 0)], "have a line in common"),
        (np.arange(3), "have shape"),
    ]:
        with pytest.raises(ValueError, match=why):
            Fan(bad)
    with pytest.raises(TypeError, match="must be integers"):
        Fan([(1.0, 0.0), (0.0, 1.0)])
    with pytest.raises(ValueError, match="too many for a fan"):
        braid_fan(12)
    for bad in [0, 3]:
        with pytest.raises(ValueError, match="1 or 2 hidden layers"):
            conforming_space(braid_fan(2), bad)
    with pytest.raises(ValueError, match="6 rays has no 5 values"):
        represent(braid_fan(2), np.zeros(5), hidden_layers=1)
