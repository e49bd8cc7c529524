# SPDX-License-Identifier: MIT
"""Products of numbers in [−1, 1] one after another, with their errors carried along.

S(t) is the interpolant of t² on 2^(levels + 1) cells of [−1, 1]; it is above t² by at most
ε = 4^-(levels + 1). A product is a difference of two such squares,

    Π(f, g) = S((f + g) / 2) − S((f − g) / 2),      |Π(f, g) − f g| ≤ ε.

Products stay in [−1, 1] all the way: S is even and convex, S(0) = 0, and S(1 − t) − S(t) = 1 − 2 t
on [0, 1], so its slope between a ≥ 0 and b ≥ 0 is at most 1 if a + b ≤ 1. For a, b = |f ± g| / 2
that says |Π(f, g)| ≤ min(|f|, |g|).

If F and G bound f and g as they are and as they should be, and d and e are their errors, then
F G Π(f / F, g / G) is bounded by F G and off by at most F e + G d + F G ε.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fe_relu.layers.affine import Affine
from fe_relu.layers.bubbles import DeepNetwork, bubble_network
from fe_relu.layers.network import ReLUNetwork


@dataclass(frozen=True, eq=False)
class Quantity:
    """row · z + bias for numbers z in [−1, 1], off by at most `error` from what it stands for.

    Both are known to be at most `most` in magnitude, if that is less than what the row says.
    """

    row: npt.NDArray
    bias: float = 0.0
    error: float = 0.0
    most: float = np.inf

    @property
    def bound(self) -> float:
        return min(float(np.abs(self.row).sum() + abs(self.bias)), self.most)

    @property
    def is_constant(self) -> bool:
        return not self.row.any()

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(
            self.row + other.row,
            self.bias + other.bias,
            self.error + other.error,
            self.most + other.most,
        )

    def __mul__(self, factor: float) -> Quantity:
        size = abs(factor)
        most = self.most * size if size else 0.0
        return Quantity(self.row * factor, self.bias * factor, self.error * size, most)

    def within(self, most: float) -> Quantity:
        """The same, known to be at most that in magnitude, as it is and as it should be."""
        return replace(self, most=most)

    def unit(self) -> npt.NDArray:
        """The row and the bias, scaled so that the quantity is in [−1, 1]."""
        return np.append(self.row, self.bias) / self.bound


def constant(value: float) -> Quantity:
    return Quantity(np.zeros(1), value)


@dataclass(frozen=True, eq=False)
class Scheme:
    """A computation on its way: named quantities over the outputs of a network."""

    network: ReLUNetwork
    quantities: Mapping[str, Quantity]
    levels: int

    def __getitem__(self, name: str) -> Quantity:
        return self.quantities[name]

    def set(self, name: str, quantity: Quantity) -> Scheme:
        return replace(self, quantities={**self.quantities, name: quantity})

    def plus(self, name: str, quantity: Quantity) -> Scheme:
        return self.set(name, self[name] + quantity)

    def times(self, name: str, factor: str) -> Scheme:
        """The scheme with the quantity `name` multiplied by another; the rest passes by."""
        f, g = self[factor], self[name]
        if f.is_constant or g.is_constant:
            return self.set(name, g * f.bias if f.is_constant else f * g.bias)
        passing, constants = {}, {}
        for key, quantity in self.quantities.items():
            if quantity.is_constant:
                constants[key] = constant(quantity.bias)
            elif key != name:
                passing[key] = quantity

        rows = np.array(_arguments(f.unit(), g.unit()) + [q.unit() for q in passing.values()])
        arguments = Affine(rows[:, :-1], rows[:, -1])
        product = product_beside(len(passing), len(rows) - len(passing), self.levels)
        network = product @ ReLUNetwork((arguments,)) @ self.network

        outputs = np.eye(1 + len(passing))
        scale, epsilon = f.bound * g.bound, 4.0 ** -(self.levels + 1)
        error = f.bound * g.error + g.bound * f.error + scale * epsilon
        passed = {
            key: Quantity(outputs[i] * quantity.bound, error=quantity.error)
            for i, (key, quantity) in enumerate(passing.items(), start=1)
        }
        result = Quantity(outputs[0] * scale, error=error)
        return replace(self, network=network, quantities={**constants, **passed, name: result})

    def result(self, name: str) -> DeepNetwork:
        """The network for one quantity, without the neurons that only others needed."""
        quantity = self[name]
        row = np.broadcast_to(quantity.row, (1, self.network.dim_out))
        output = ReLUNetwork((Affine(row, np.array([quantity.bias])),))
        return DeepNetwork(without_idle(output @ self.network).layers, quantity.error)


def _arguments(f: npt.NDArray, g: npt.NDArray) -> list[npt.NDArray]:
    """Rows for (f ± g) / 2, moved from [−1, 1] to [0, 1]; only that of f if f and g are equal."""
    one = np.zeros_like(f)
    one[-1] = 1
    plus, minus = (2 * one + f + g) / 4, (2 * one + f - g) / 4
    return [plus] if np.array_equal(f, g) else [plus, minus]


@functools.lru_cache(maxsize=64)
def product_beside(passing: int, arguments: int, levels: int) -> ReLUNetwork:
    """Network for S(t_1) or S(t_1) − S(t_2), beside numbers in [−1, 1] that pass by.

    Its inputs are u_i = (t_i + 1) / 2, one or two, and the numbers: S(t) = 1 − 4 I[u (1 − u)].
    Width 2 for each argument, 1 for the product and for each number; levels + 1 hidden layers.
    """
    weights = np.zeros((1 + passing, arguments))
    weights[0] = [-1.0, 1.0][:arguments]
    linear = np.eye(1 + passing, arguments + passing, arguments - 1)
    linear[0] = 0
    floor = np.array([-0.25] + [-1.0] * passing)
    bubbles = bubble_network(weights, levels + 1, linear=linear, floor=floor)
    scale = np.array([4.0] + [1.0] * passing)
    shift = np.array([2.0 - arguments] + [0.0] * passing)
    return ReLUNetwork((Affine(np.diag(scale), shift),)) @ bubbles


def without_idle(network: ReLUNetwork) -> ReLUNetwork:
    """The same function without the neurons that nothing reads."""
    *layers, last = network.layers
    kept = [last]
    for layer in reversed(layers):
        reader = kept.pop()
        used = np.unique(reader.weight.indices[reader.weight.data != 0])
        kept.append(Affine(reader.weight[:, used], reader.bias))
        kept.append(Affine(layer.weight[used], layer.bias[used]))
    return ReLUNetwork(tuple(reversed(kept)))
