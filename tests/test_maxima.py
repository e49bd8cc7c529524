# SPDX-License-Identifier: MIT
"""Maxima of numbers and of affine maps: exact values, counts, and five numbers in two layers."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from fe_relu import Affine
from fe_relu.deep import maximum_network, maximum_of, minimum_network

SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 16, 17, 25, 26, 31, 64, 125, 1000, 1024]


def exactly(network, x):
    """Values at one rational point, without roundoff: floats are rationals."""
    values = [Fraction(t) for t in x]
    for k, layer in enumerate(network.layers):
        values = [max(v, Fraction(0)) for v in values] if k else values
        weight = layer.weight
        values = [
            sum(
                (
                    Fraction(float(weight.data[e])) * values[weight.indices[e]]
                    for e in range(weight.indptr[i], weight.indptr[i + 1])
                ),
                Fraction(float(layer.bias[i])),
            )
            for i in range(layer.dim_out)
        ]
    return values[0] if len(values) == 1 else values


def layers_by_fives(n):
    k = 0
    while 5 ** (k // 2) * (1 + k % 2) < n:
        k += 1
    return k


def neurons_by_pairs(n):
    return 0 if n == 1 else 3 * (n // 2) + 2 * (n % 2) + neurons_by_pairs(-(-n // 2))


@pytest.mark.parametrize("by", ["pairs", "fives"])
@pytest.mark.parametrize("n", SIZES)
def test_maximum_and_minimum_are_exact_with_the_stated_layers_and_neurons(n, by, rng):
    highest, lowest = maximum_network(n, by=by), minimum_network(n, by=by)
    for network in (highest, lowest):
        assert (network.dim_in, network.dim_out) == (n, 1)
        expected = (n - 1).bit_length() if by == "pairs" else layers_by_fives(n)
        assert network.hidden_layers == expected
    if by == "pairs":
        assert highest.num_neurons == neurons_by_pairs(n)
        assert highest.num_neurons == 3 * (n - 1) or n & (n - 1)
        print(f"n = {n}: {highest.hidden_layers} layers, {highest.num_neurons} neurons")
    few = max(1, 200 // n)
    for x in [*rng.integers(-50, 50, (few, n)), *rng.integers(0, 2, (few, n)), np.full(n, -7)]:
        numbers = [Fraction(int(t), 3) for t in x]
        assert exactly(highest, numbers) == max(numbers)
        assert exactly(lowest, numbers) == min(numbers)
    x = rng.standard_normal((n, 500)) * 10.0 ** rng.integers(-3, 4, (n, 500))
    size = np.abs(x).max(axis=0)
    assert (np.abs(highest(x) - x.max(axis=0)) <= 32 * 2.0**-52 * size).all()
    assert (np.abs(lowest(x) - x.min(axis=0)) <= 32 * 2.0**-52 * size).all()


def test_neurons_of_the_list():
    counts = {n: maximum_network(n).num_neurons for n in (2, 3, 4, 5, 8, 16, 1024)}
    assert counts == {2: 3, 3: 8, 4: 9, 5: 16, 8: 21, 16: 45, 1024: 3069}


def test_five_numbers_in_two_layers_proven_on_all_cones():
    """Both sides are linear on each cone, and equal on the rays that the cones are made of.

    In an order of the numbers all maxima of two are known, and the first layer is linear. Modulo
    what all five have in common, which goes through e, R(e) − R(−e) = e, to the carrier of two
    neurons, the order is a cone of four gaps ≥ 0; the other second-layer neurons cut it by seven
    planes. The rays of the pieces are where three of the planes and facets meet.
    """
    network = maximum_network(5, by="fives")
    assert network.widths == (5, 10, 9, 1)
    first, second, _ = (layer.weight.toarray() for layer in network.layers)
    carrier, cuts = second[:2], np.rint(2 * second[2:]).astype(int)
    assert (carrier[0] == -carrier[1]).all()
    assert (cuts == 2 * second[2:]).all()
    assert not cuts[:, 8:].any()  # e itself
    differences, seen = first[:8].astype(int), 0
    assert not differences.sum(axis=1).any()
    for order in itertools.permutations(range(5)):
        steps = np.zeros((5, 4), int)  # numbers from gaps; the first in order is the largest
        for place, number in enumerate(order):
            steps[number, place:] = 1
        awake = differences @ steps.sum(axis=1) > 0
        planes = np.vstack(
            [np.eye(4, dtype=int), cuts[:, :8] @ (awake[:, None] * differences) @ steps]
        )
        for three in itertools.combinations(np.unique(planes, axis=0), 3):
            minors = [np.delete(np.array(three), k, axis=1) for k in range(4)]
            ray = np.array([(-1) ** k * round(np.linalg.det(m)) for k, m in enumerate(minors)])
            for gaps in (ray, -ray):
                if gaps.any() and (gaps >= 0).all():
                    assert exactly(network, steps @ gaps) == max(steps @ gaps)
                    seen += 1
    assert exactly(network, [7] * 5) == 7
    assert exactly(network, [-7] * 5) == -7
    assert seen > 120 * 4


def test_five_numbers_as_the_formula_says(rng):
    network = maximum_network(5, by="fives")
    for x in rng.integers(-9, 10, (300, 5)):
        a, b, c, d, e = (Fraction(int(t)) for t in x)
        p, q = max(a, c), max(b, d)
        terms = [
            max(p + q, 2 * e),
            max(p, b, e),
            max(p, d, e),
            max(q, a, e),
            max(q, c, e),
            -max(p + q, max(a, e) + max(c, e)),
            -max(p + q, max(b, e) + max(d, e)),
        ]
        assert exactly(network, x) == sum(terms) / 2 == max(a, b, c, d, e)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("by", ["pairs", "fives"])
def test_maximum_of_maps_is_output_by_output(rng, by, dtype):
    for n, dim, k in [(1, 2, 3), (2, 1, 1), (5, 3, 2), (7, 2, 1), (12, 4, 3)]:
        maps = [
            Affine(rng.standard_normal((k, dim)).astype(dtype), rng.random(k).astype(dtype))
            for _ in range(n)
        ]
        network = maximum_of(maps, by=by)
        x = rng.standard_normal((dim, 200))
        expected = np.max([affine(x) for affine in maps], axis=0)
        assert np.atleast_2d(network(x)) == pytest.approx(expected, abs=1e-13)
        assert network.hidden_layers == maximum_network(n, by=by).hidden_layers
    slopes = [Affine([[float(s)]], [-(s**2) / 4.0]) for s in range(-4, 5)]
    tangents = maximum_of(slopes)
    assert [exactly(tangents, [Fraction(s, 2)]) for s in range(-4, 5)] == [
        Fraction(s, 2) ** 2 for s in range(-4, 5)
    ]


def test_what_is_refused():
    for make in (maximum_network, minimum_network):
        for bad in [0, -1, 1 << 40]:
            with pytest.raises(ValueError, match="n must be at "):
                make(bad)
        for bad in [2.0, True, "2", None]:
            with pytest.raises(TypeError, match="n must be an integer"):
                make(bad)
        with pytest.raises(ValueError, match='"pairs" or "fives"'):
            make(3, by="threes")
    with pytest.raises(ValueError, match="of one shape, not none"):
        maximum_of([])
    with pytest.raises(ValueError, match="of one shape"):
        maximum_of([Affine([[1]], [0]), Affine([[1, 2]], [0])])
