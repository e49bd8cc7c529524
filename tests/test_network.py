# SPDX-License-Identifier: MIT
"""Networks as an algebra: every operation against arithmetic on values, point by point."""

import itertools
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest
from scipy import sparse

from fe_relu import Affine, Grid, P1Network, ReLUNetwork, concatenate
from fe_relu.layers import network as network_module


def random_network(rng, *widths, dtype=np.float64):
    return ReLUNetwork(
        [
            Affine(rng.standard_normal((m, n)).astype(dtype), rng.standard_normal(m).astype(dtype))
            for n, m in itertools.pairwise(widths)
        ]
    )


def dense(network, x):
    """The definition, with dense matrices; always shape (dim_out, n)."""
    *hidden, output = [(a.weight.toarray(), a.bias[:, None]) for a in network.layers]
    for weight, bias in hidden:
        x = np.maximum(0, weight @ x + bias)
    return output[0] @ x + output[1]


def affine(weight=((1.0, 2.0),), bias=(0.0,)):
    return ReLUNetwork((Affine(weight, bias),))


def close(values, reference):
    return values == pytest.approx(reference, rel=1e-12, abs=1e-11)


#: Widths of f and g; those of f + g where they have equally many outputs, with 2·dim_out neurons
#: for every layer that the shallower one lacks.
PAIRS = {
    "equal depth": ((2, 5, 1), (2, 7, 1), (2, 12, 1)),
    "f deeper": ((2, 4, 6, 3, 1), (2, 5, 1), (2, 9, 8, 5, 1)),
    "g deeper": ((2, 5, 3), (2, 4, 4, 3), (2, 9, 10, 3)),
    "f affine": ((2, 2), (2, 4, 3, 2), (2, 8, 7, 2)),
    "both affine": ((3, 2), (3, 2), (3, 2)),
    "one input": ((1, 3, 2), (1, 2, 2, 2, 2), (1, 5, 6, 6, 2)),
}

OPERATIONS = {
    "f + g": (lambda f, g: f + g, lambda f, g: f + g),
    "f - g": (lambda f, g: f - g, lambda f, g: f - g),
    "f - f": (lambda f, g: f - f, lambda f, g: 0 * f),
    "3 * f": (lambda f, g: 3 * f, lambda f, g: 3 * f),
    "f * -0.5": (lambda f, g: f * -0.5, lambda f, g: -0.5 * f),
    "float64 * f": (lambda f, g: np.float64(1.5) * f, lambda f, g: 1.5 * f),
    "float32 * f": (lambda f, g: np.float32(1.5) * f, lambda f, g: 1.5 * f),
    "int64 * f": (lambda f, g: np.int64(-2) * f, lambda f, g: -2 * f),
    "fraction * f": (lambda f, g: Fraction(1, 4) * f, lambda f, g: 0.25 * f),
    "-f": (lambda f, g: -f, lambda f, g: -f),
    "2 f - g / 4": (lambda f, g: 2 * f - 0.25 * g, lambda f, g: 2 * f - 0.25 * g),
    "concatenate": (lambda f, g: concatenate([f, g, f]), lambda f, g: np.vstack([f, g, f])),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_act_on_values(operation, rng):
    on_networks, on_values = OPERATIONS[operation]
    for *pair, _ in PAIRS.values():
        f, g = (random_network(rng, *widths) for widths in pair)
        x = 3 * rng.standard_normal((f.dim_in, 200))
        result, reference = on_networks(f, g), on_values(dense(f, x), dense(g, x))
        assert result.dim_out == len(reference)
        reference = reference[0] if len(reference) == 1 else reference
        assert result(x).shape == reference.shape
        assert close(result(x), reference)


@pytest.mark.parametrize("pair", PAIRS)
def test_sums_and_concatenations_share_depth(pair, rng):
    f, g = (random_network(rng, *widths) for widths in PAIRS[pair][:2])
    *hidden, dim_out = PAIRS[pair][2]
    assert (f + g).widths == (f - g).widths == (*hidden, dim_out)
    assert concatenate([f, g]).widths == (*hidden, 2 * dim_out)
    assert concatenate((f,)).widths == f.widths == (-f).widths == (2 * f).widths


def test_concatenate_takes_different_numbers_of_outputs(rng):
    parts = [random_network(rng, *widths) for widths in ((2, 3), (2, 4, 1), (2, 3, 3, 2))]
    x = rng.standard_normal((2, 50))
    assert concatenate(parts).widths == (2, 6 + 4 + 3, 6 + 2 + 3, 6)
    assert close(concatenate(parts)(x), np.vstack([dense(part, x) for part in parts]))


@pytest.mark.parametrize(
    ("outer", "inner", "merged"),
    [
        ((3, 4, 2), (2, 5, 3), (2, 5, 4, 2)),
        ((1, 6, 4, 1), (2, 3, 1), (2, 3, 6, 4, 1)),
        ((3, 1), (2, 5, 3), (2, 5, 1)),
        ((3, 4, 2), (2, 3), (2, 4, 2)),
        ((3, 2), (2, 3), (2, 2)),
    ],
)
def test_composition_merges_the_affine_maps_that_meet(outer, inner, merged, rng):
    f, g = random_network(rng, *outer), random_network(rng, *inner)
    x = rng.standard_normal((2, 200))
    reference = dense(f, dense(g, x))
    assert (f @ g).widths == merged
    assert (f @ g).hidden_layers == f.hidden_layers + g.hidden_layers
    assert close((f @ g)(x), reference[0] if f.dim_out == 1 else reference)


def test_counts():
    weight = sparse.csr_array(([1.0, -1.0, 0.0], ([0, 0, 1], [0, 0, 1])), shape=(3, 2))
    cancelled = Affine(weight, np.zeros(3))  # 1 − 1 and a stored 0
    network = ReLUNetwork([Affine([[1, 0], [2, 3], [0, 0]], [1, 1, 1]), Affine(np.eye(3), [0] * 3)])
    assert (network.dim_in, network.dim_out, network.hidden_layers) == (2, 3, 1)
    assert (network.widths, network.num_neurons, network.num_nonzeros) == ((2, 3, 3), 3, 6)
    assert ReLUNetwork([cancelled]).num_nonzeros == 0
    assert affine().num_neurons == affine().hidden_layers == 0
    assert network.layers[1].dim_in == network.layers[0].dim_out == 3


def test_points_may_have_three_rows_when_fewer_matter(rng):
    for dim in (1, 2):
        network, x = random_network(rng, dim, 4, 2), rng.standard_normal((3, 20))
        x[dim:] = np.nan
        assert (network(x) == network(x[:dim].copy())).all()


@pytest.mark.parametrize("widths", [(2, 4, 1), (2, 4, 3), (2, 1), (5, 4, 2)])
def test_no_points_give_no_values(widths, rng):
    values = random_network(rng, *widths)(np.empty((widths[0], 0)))
    assert values.shape == ((0,) if widths[-1] == 1 else (widths[-1], 0))
    assert values.dtype == np.float64


@pytest.mark.parametrize(("entries", "lengths"), [(70, [10] * 10 + [1]), (1, [1] * 101)])
def test_chunks_give_the_values_of_one_call(entries, lengths, monkeypatch, rng):
    network, x = random_network(rng, 2, 7, 3, 2), rng.standard_normal((2, 101))
    whole, seen = network(x), []
    forward = ReLUNetwork._forward
    monkeypatch.setattr(network_module, "CHUNK_ENTRIES", entries)
    monkeypatch.setattr(
        ReLUNetwork, "_forward", lambda self, h: seen.append(h.shape[1]) or forward(self, h)
    )
    assert close(network(x), whole)
    assert seen == lengths


@pytest.mark.parametrize("points", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("layers", [np.float32, np.float64])
def test_values_have_the_wider_dtype(layers, points, rng):
    network = random_network(rng, 2, 5, 1, dtype=layers)
    x = (8 * rng.standard_normal((2, 30))).astype(points)
    wider = np.result_type(layers, np.float64 if points == np.int64 else points)
    assert network.dtype == layers
    assert network(x).dtype == wider
    exact = dense(network, x.astype(np.float64))[0]
    assert network(x) == pytest.approx(exact, rel=0, abs=1e3 * np.finfo(wider).eps)


def test_float32_stays_under_the_algebra(rng):
    f, g = (random_network(rng, *w, dtype=np.float32) for w in ((2, 5, 2), (2, 4, 3, 2)))
    for result in (f + g, f - g, 1.7 * f, np.float64(3) * f, -f, concatenate([f, g]), f @ g):
        assert {a.weight.dtype for a in result.layers} == {np.dtype(np.float32)}
        assert result.dtype == np.float32


def test_networks_do_not_change(rng):
    weight, bias = rng.standard_normal((3, 2)), rng.standard_normal(3)
    layers = [Affine(weight, bias)]
    network, x = ReLUNetwork(layers), rng.standard_normal((2, 10))
    before = network(x)
    weight[:], bias[:] = 0, 0
    layers.append(layers[0])
    assert (network(x) == before).all()
    for owner, name in ((network, "layers"), (network.layers[0], "weight"), (layers[0], "bias")):
        with pytest.raises(FrozenInstanceError):
            setattr(owner, name, None)
    kept = network.layers[0]
    for array in (kept.weight.data, kept.weight.indices, kept.weight.indptr, kept.bias):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia", "lil"])
def test_the_callers_sparse_matrix_is_copied_and_left_alone(form, rng):
    weight = sparse.csr_array(rng.standard_normal((3, 3))).asformat(form)
    layer = Affine(weight, np.zeros(3))
    before = layer.weight.toarray()
    weight.data[:] = [[7.0] * 3] * 3 if form == "lil" else 7.0  # ours, so still writable
    assert (layer.weight.toarray() == before).all()


f2, f3 = affine(), affine([[1.0, 2.0, 3.0]])
wide = affine(np.eye(2), (0.0, 0.0))
ERRORS = {
    "no layers": (lambda: ReLUNetwork(()), ValueError, "at least one"),
    "layers apart": (
        lambda: ReLUNetwork([wide.layers[0], f3.layers[0]]),
        ValueError,
        "layer 0 has 2 outputs but layer 1 takes 3",
    ),
    "vector weight": (lambda: Affine([1.0, 2.0], [0.0]), ValueError, r"\(2,\) and \(1,\)"),
    "long bias": (lambda: Affine([[1.0, 2.0]], [0.0, 1.0]), ValueError, r"\(1, 2\) and \(2,\)"),
    "matrix bias": (lambda: Affine([[1.0, 2.0]], [[0.0]]), ValueError, r"\(1, 2\) and \(1, 1\)"),
    "NaN weight": (lambda: Affine([[1.0, np.nan]], [0.0]), ValueError, "finite"),
    "infinite bias": (lambda: Affine([[1.0, 2.0]], [np.inf]), ValueError, "finite"),
    "complex weight": (lambda: Affine([[1j]], [0.0]), TypeError, "real numbers, not complex"),
    "complex bias": (lambda: Affine([[1.0]], [1j]), TypeError, "real numbers, not complex"),
    "string weight": (lambda: Affine([["a"]], [0.0]), TypeError, "real numbers, not <U"),
    "object weight": (lambda: Affine([[None]], [0.0]), TypeError, "real numbers, not object"),
    "wrong @": (lambda: f2 @ f3, ValueError, "feed 1 outputs into 2 inputs"),
    "number @": (lambda: f2 @ 2, TypeError, "unsupported operand"),
    "P1 @": (
        lambda: f2 @ P1Network(Grid((0, 0), np.eye(2), (1, 1), "right"), np.ones((2, 4))),
        TypeError,
        "unsupported operand",
    ),
    "wrong +": (lambda: f2 + wide, ValueError, "add 1 outputs and 2 outputs"),
    "wrong -": (lambda: f2 - wide, ValueError, "add 1 outputs and 2 outputs"),
    "other inputs +": (lambda: f2 + f3, ValueError, r"\[2, 3\] inputs"),
    "number +": (lambda: f2 + 1, TypeError, "unsupported operand"),
    "number -": (lambda: f2 - 1, TypeError, "unsupported operand"),
    "other inputs": (lambda: concatenate([f2, wide, f3]), ValueError, r"\[2, 2, 3\] inputs"),
    "concatenate nothing": (lambda: concatenate([]), ValueError, "at least one network"),
    "complex factor": (lambda: 1j * f2, TypeError, "unsupported operand"),
    "array factor": (lambda: np.array([1.0, 2.0]) * f2, TypeError, "unsupported operand"),
    "network factor": (lambda: f2 * f2, TypeError, "unsupported operand"),
    "NaN factor": (lambda: np.nan * f2, ValueError, "finite"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_impossible_networks_are_refused(case):
    build, kind, message = ERRORS[case]
    with pytest.raises(kind, match=message):
        build()


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        ([[0, np.nan, np.inf], [0, 0, 0]], ValueError, "2 of 3 points .* the first at index 1"),
        ([[0, 0, 0], [0, 0, -np.inf]], ValueError, "1 of 3 points .* the first at index 2"),
        (np.zeros((5, 2)), ValueError, r"shape \(2, n\) or \(3, n\).*\(5, 2\).*points\.T"),
        (np.zeros((1, 5)), ValueError, r"not \(1, 5\)"),
        (np.zeros((4, 5)), ValueError, r"not \(4, 5\)"),
        (np.zeros(2), ValueError, r"not \(2,\)"),
        (np.zeros((2, 3, 1)), ValueError, r"not \(2, 3, 1\)"),
        ([["a", "b"], ["c", "d"]], TypeError, "real numbers .*, not <U1"),
        (np.zeros((2, 3), complex), TypeError, "real numbers .*, not complex128"),
        (np.zeros((2, 3), bool), TypeError, "real numbers .*, not bool"),
        ([[None], [None]], TypeError, "real numbers .*, not object"),
    ],
)
def test_impossible_points_are_refused(x, kind, message):
    with pytest.raises(kind, match=message):
        affine()(x)


def test_dim_in_above_three_takes_no_other_rows(rng):
    with pytest.raises(ValueError, match=r"not \(3, 7\)"):
        random_network(rng, 4, 3, 1)(np.zeros((3, 7)))
