# SPDX-License-Identifier: MIT
"""The maximum of n numbers in ⌈log₂ n⌉ hidden layers, and of five in two.

Two numbers need one hidden layer, max(a, b) = R(a − b) + R(b) − R(−b), and pairs of maxima are
maxima of more. Hertrich, Basu, Di Summa and Skutella (2021, arXiv 2105.14835) conjectured that no
network has fewer layers. Bakaev et al. (2025) found one for five numbers, which has two and not
three. This is one of that kind, with a ∨ c for max(a, c):

    max(a, b, c, d, e) = ½ [ max(p + q, 2 e) + max(p, b ∨ e) + max(p, d ∨ e) + max(q, a ∨ e)
                             + max(q, c ∨ e) − max(p + q, a ∨ e + c ∨ e)
                             − max(p + q, b ∨ e + d ∨ e) ],       p = a ∨ c,   q = b ∨ d.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.basics.arguments import checked_integer
from fe_relu.layers.affine import Affine
from fe_relu.layers.network import ReLUNetwork, concatenate

#: Above this, a number would be a mistake rather than a wish: 3 n neurons are made.
MAX_NUMBERS = 1 << 22


def maximum_network(n: int, *, by: str = "pairs") -> ReLUNetwork:
    """Network for max(x_1, …, x_n) on all of ℝⁿ with ⌈log₂ n⌉ hidden layers.

    Numbers are compared in pairs, three neurons a pair, and one without a partner passes by in two:
    3 (n − 1) neurons if n is a power of two, f(n) = 3 ⌊n / 2⌋ + 2 (n mod 2) + f(⌈n / 2⌉) in
    general, f(1) = 0. With `by="fives"`, the least number of layers k for which 5^⌊k / 2⌋ (twice
    that if k is odd) is at least n: two for n = 5, where pairs need three and 19 neurons do, not 16
    (see `fe_relu.layers.maxima`).

    Args:
        n: At least 1; the network of one number has no hidden layers.
        by: `"pairs"` or `"fives"`.

    Raises:
        ValueError: n is out of range, or `by` another word.
        TypeError: n is not an integer.

    Examples:
        >>> import fe_relu
        >>> fe_relu.deep.maximum_network(3)([[1.0, -4.0], [7.0, -5.0], [2.0, -6.0]])
        array([ 7., -4.])
        >>> [fe_relu.deep.maximum_network(n).num_neurons for n in (2, 3, 4, 5, 8, 16)]
        [3, 8, 9, 16, 21, 45]
        >>> fe_relu.deep.maximum_network(5, by="fives").widths
        (5, 10, 9, 1)
    """
    n = checked_integer("n", n, least=1)
    if n > MAX_NUMBERS:
        raise ValueError(f"n must be at most {MAX_NUMBERS}, not {n}")
    if by not in ("pairs", "fives"):
        raise ValueError(f'by must be "pairs" or "fives", not {by!r}')
    network = ReLUNetwork((_identity(n),))
    while (left := network.dim_out) > 1:
        size = 5 if by == "fives" and left > 2 else 2
        network = _of_groups(left, size) @ network
    return network


def minimum_network(n: int, *, by: str = "pairs") -> ReLUNetwork:
    """Network for min(x_1, …, x_n) = −max(−x_1, …, −x_n); see `maximum_network`.

    Examples:
        >>> import fe_relu
        >>> fe_relu.deep.minimum_network(3)([[1.0, -4.0], [7.0, -5.0], [2.0, -6.0]])
        array([ 1., -6.])
    """
    highest = maximum_network(n, by=by)
    return -1 * (highest @ ReLUNetwork((_identity(highest.dim_in, -1.0),)))


def maximum_of(maps: Sequence[Affine], *, by: str = "pairs") -> ReLUNetwork:
    """Network for the largest of n affine maps, output by output, in ⌈log₂ n⌉ hidden layers.

    Args:
        maps: At least one, all of the same numbers of inputs and outputs.
        by: As for `maximum_network`.

    Raises:
        ValueError: There is no map, or their shapes differ.

    Examples:
        >>> import fe_relu
        >>> lines = [fe_relu.Affine([[slope]], [-(slope**2) / 4]) for slope in range(4)]
        >>> fe_relu.deep.maximum_of(lines)([[0.0, 0.5, 1.0, 1.5]])  # tangents of x²
        array([0.  , 0.25, 1.  , 2.25])
    """
    maps = tuple(maps)
    shapes = {affine.weight.shape for affine in maps}
    if len(shapes) != 1:
        raise ValueError(
            f"the maximum is of affine maps of one shape, not {sorted(shapes) or 'none'}"
        )
    highest = maximum_network(len(maps), by=by)
    outputs = []
    for k in range(maps[0].dim_out):
        rows = sparse.vstack([affine.weight[[k]] for affine in maps])
        bias = np.array([affine.bias[k] for affine in maps])
        outputs.append(highest @ ReLUNetwork((Affine(rows, bias),)))
    return concatenate(outputs)


def _of_groups(n: int, size: int) -> ReLUNetwork:
    """Network for the maxima of n numbers, so many at a time; the last group may be smaller."""
    whole, rest = divmod(n, size)
    groups = [_beside(_smallest(size), whole)] if whole else []
    if rest:
        groups.append(_padded(_smallest(rest), groups[0].hidden_layers if groups else 0))
    if len(groups) == 1:
        return groups[0]
    one, other = groups
    return ReLUNetwork(
        tuple(
            Affine(sparse.block_diag([a.weight, b.weight]), np.concatenate([a.bias, b.bias]))
            for a, b in zip(one.layers, other.layers, strict=True)
        )
    )


def _beside(network: ReLUNetwork, copies: int) -> ReLUNetwork:
    """So many copies of the network, each with inputs of its own."""
    eye = sparse.eye_array(copies)
    return ReLUNetwork(
        tuple(
            Affine(sparse.kron(eye, layer.weight), np.tile(layer.bias, copies))
            for layer in network.layers
        )
    )


def _padded(network: ReLUNetwork, hidden_layers: int) -> ReLUNetwork:
    """The same function of one output with more hidden layers."""
    carry = ReLUNetwork((_affine([[1], [-1]]), _affine([[1, -1]])))
    while network.hidden_layers < hidden_layers:
        network = carry @ network
    return network


def _smallest(n: int) -> ReLUNetwork:
    """Network for the maximum of up to five numbers with at most two hidden layers."""
    if n == 1:
        return ReLUNetwork((_identity(1),))
    if n == 2:
        return ReLUNetwork((_affine([[1, -1], [0, 1], [0, -1]]), _affine([[1, 1, -1]])))
    if n < 5:
        return _of_groups(-(-n // 2), 2) @ _of_groups(n, 2)
    return ReLUNetwork(_five())


def _five() -> tuple[Affine, Affine, Affine]:
    """The maximum of a, b, c, d, e in two hidden layers, with everything seen from e.

    There, a ∨ e is R(a), p is c + R(a − c), c is R(c) − R(−c), and so with b and d. In the formula
    above, max(f, g) = f + R(g − f); of all that is added to the ReLUs, (p + q) / 2 + e is left.
    """
    first = _affine(
        [
            [1, 0, -1, 0, 0],  # a − c
            [0, 1, 0, -1, 0],  # b − d
            [1, 0, 0, 0, -1],
            [0, 1, 0, 0, -1],
            [0, 0, 1, 0, -1],
            [0, 0, 0, 1, -1],
            [0, 0, -1, 0, 1],
            [0, 0, 0, -1, 1],
            [0, 0, 0, 0, 1],
            [0, 0, 0, 0, -1],
        ]
    )
    outputs = np.eye(10)
    a, b, c, d = outputs[2:6]  # what is above e of each number
    p, q = outputs[0] + c - outputs[6], outputs[1] + d - outputs[7]
    rest = (p + q) / 2 + outputs[8] - outputs[9]
    second = _affine(
        [rest, -rest, -(p + q) / 2, b - p, d - p, a - q, c - q, a + c - p - q, b + d - p - q]
    )
    return first, second, _affine([[1, -1, 1, 0.5, 0.5, 0.5, 0.5, -0.5, -0.5]])


def _affine(rows: npt.ArrayLike) -> Affine:
    weight = np.array(rows, np.float64)
    return Affine(weight, np.zeros(len(weight)))


def _identity(n: int, factor: float = 1.0) -> Affine:
    return Affine(factor * sparse.eye_array(n), np.zeros(n))
