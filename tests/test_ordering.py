# SPDX-License-Identifier: MIT
"""Orders digit by digit, against NumPy's by comparison."""

import numpy as np
import pytest

from fe_relu.basics.ordering import distinct, order_of

KEYS = {
    "floats": lambda rng: rng.standard_normal(3001) * 10.0 ** rng.integers(-300, 300, 3001),
    "float32": lambda rng: rng.standard_normal(777).astype(np.float32),
    "zeros": lambda rng: rng.choice([-0.0, 0.0, 1.0, -1.0, -np.inf, np.inf, 5e-324], 500),
    "integers": lambda rng: rng.integers(-(1 << 63), (1 << 63) - 1, 999),
    "int32": lambda rng: rng.integers(-9, 9, 2000, dtype=np.int32),
    "words": lambda rng: rng.integers(0, (1 << 64) - 1, 1000, dtype=np.uint64),
    "one": lambda rng: np.array([7]),
    "none": lambda rng: np.empty(0),
    "alike": lambda rng: np.full(100, 3.5),
}


@pytest.mark.parametrize("kind", KEYS)
def test_order_is_stable_and_that_of_numpy(kind):
    key = KEYS[kind](np.random.default_rng(1))
    assert (order_of(key) == np.argsort(key, kind="stable")).all()


def test_keys_are_taken_one_after_the_other():
    keys = np.random.default_rng(2).integers(-3, 3, (3, 4001)).astype(float)
    assert (order_of(*keys) == np.lexsort(keys[::-1])).all()


@pytest.mark.parametrize("shape", [(0,), (1,), (1000,), (3, 500)])
def test_distinct_numbers_are_those_of_numpy(shape):
    numbers = np.random.default_rng(3).integers(-50, 400, shape)
    wanted = np.unique(numbers, return_index=True, return_inverse=True)
    for found, right in zip(distinct(numbers), wanted, strict=True):
        assert found.shape == right.shape
        assert (found == right).all()
