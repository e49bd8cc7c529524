# SPDX-License-Identifier: MIT
"""Depth composes what the hierarchical basis adds: networks for bubbles t (1 − t), any number.

The sawtooth g(t) = 2 R(t) − 4 R(t − ½) doubles its teeth with each composition, g_ℓ = g ∘ g_{ℓ−1},
and 4^-ℓ g_ℓ is all that the interpolant gains when the mesh of [0, 1] is halved for the ℓ-th time:

    I_L [t (1 − t)] = Σ_{ℓ=1..L} 4^-ℓ g_ℓ(t),      I_L t² = t − I_L [t (1 − t)].

Every quadratic polynomial is affine functions and bubbles (He, Li, Xu 2021, arXiv 2105.04156).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.basics.arguments import checked_integer, checked_levels
from fe_relu.layers.affine import Affine
from fe_relu.layers.network import ReLUNetwork

#: The error 4^-(levels + 1) is then 2^-54, below the roundoff of values near 1.
MAX_LEVELS = 26


@dataclass(frozen=True, eq=False)
class DeepNetwork(ReLUNetwork):
    """A network within `error_bound` of the function that it stands for, everywhere on its domain.

    The bound is proven in exact arithmetic. Evaluation adds roundoff: a few eps of the largest
    value on the way, which is what remains to be seen when `error_bound` is smaller.

    The algebra of networks gives plain `ReLUNetwork`s, about which nothing is claimed.

    Args:
        layers: The affine maps, input first.
        error_bound: Upper bound of sup |network − function|.

    Raises:
        ValueError: `error_bound` is negative, NaN or infinite, or the layers do not fit.

    Examples:
        >>> import fe_relu
        >>> line = fe_relu.Affine([[1.0]], [-0.125])  # x − 1/8, for x² on [0, 1]
        >>> fe_relu.deep.DeepNetwork((line,), 0.125).error_bound
        0.125
    """

    error_bound: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.error_bound < np.inf:
            raise ValueError(f"an error bound is finite and at least 0, not {self.error_bound}")


def bubble_network(
    weights: npt.ArrayLike | sparse.sparray,
    levels: int,
    *,
    linear: npt.ArrayLike | sparse.sparray | None = None,
    floor: npt.ArrayLike | None = None,
) -> ReLUNetwork:
    """Network for linear @ x + weights @ I_L [t (1 − t)], t the first m of the n inputs x.

    For t in [0, 1]ᵐ the bubbles are interpolants on 2^L cells, below t (1 − t) by 0 at best and
    4^-(L + 1) at worst. L hidden layers, all of width 2 m + k: two neurons for the teeth of each
    bubble, one for each output so far. Without levels only the linear part is left.

    Args:
        weights: Shape (k, m), sparse or dense.
        levels: L, from 0 to `MAX_LEVELS` + 5: products need some more than squares.
        linear: Shape (k, n), n ≥ m; zero if not given. The n − m further inputs only pass.
        floor: Shape (k,) or one number: a lower bound of what the outputs are with 0, 1, …, L − 1
            levels, since between layers they are carried as R(output − floor). If not given, one
            that holds for all inputs in [0, 1].

    Raises:
        ValueError: `levels` is out of range, or the shapes do not fit.
        TypeError: `levels` is not an integer.

    Examples:
        >>> import fe_relu
        >>> tent = fe_relu.deep.bubble_network([[4]], 1)  # 4 t (1 − t) on two cells
        >>> tent([[0.0, 0.25, 0.5, 1.0]])
        array([0. , 0.5, 1. , 0. ])
        >>> fe_relu.deep.bubble_network([[-1]], 3, linear=[[1]])([[0.75]])  # t − t (1 − t)
        array([0.5625])
    """
    levels = checked_levels(levels, 0, MAX_LEVELS + 5)
    weights = sparse.csr_array(weights, dtype=np.float64)
    k, m = weights.shape
    linear = sparse.csr_array((k, m) if linear is None else linear, dtype=np.float64)
    if linear.shape[0] != k or linear.shape[1] < m:
        raise ValueError(f"{m} bubbles and {k} outputs do not fit a linear part of {linear.shape}")
    if floor is None:
        floor = linear.minimum(0).sum(axis=1) + weights.minimum(0).sum(axis=1) / 4
    floor = np.array(np.broadcast_to(floor, k), dtype=np.float64)
    if levels == 0:
        return ReLUNetwork((Affine(linear, np.zeros(k)),))

    kinks = np.tile([0.0, -0.5], m)
    inputs = sparse.kron(sparse.eye_array(m, linear.shape[1]), [[1.0], [1.0]])
    teeth = sparse.kron(sparse.eye_array(m), [[2.0, -4.0], [2.0, -4.0]])
    teeth = sparse.hstack([teeth, sparse.csr_array((2 * m, k))])
    layers = [Affine(sparse.vstack([inputs, linear]), np.concatenate([kinks, -floor]))]
    for level in range(1, levels):
        weight = sparse.vstack([teeth, _outputs(weights, level)])
        layers.append(Affine(weight, np.concatenate([kinks, np.zeros(k)])))
    return ReLUNetwork((*layers, Affine(_outputs(weights, levels), floor)))


def _outputs(weights: sparse.csr_array, level: int) -> sparse.sparray:
    """The outputs after one more level, from the teeth and the outputs before."""
    increments = sparse.kron(weights * 4.0**-level, [[2.0, -4.0]])
    return sparse.hstack([increments, sparse.eye_array(weights.shape[0])])


def squares(inputs: int, levels: int) -> ReLUNetwork:
    """Network for t_1², …, t_m² on [0, 1]ᵐ side by side: the interpolants on 2^levels cells.

    Each is above its square by 0 at best, 4^-(levels + 1) at worst. `levels` hidden layers, all of
    width 3 m. Outside [0, 1] an output is 0 to the left and (3 t − 1) / 2 to the right; without
    levels it is t.

    Raises:
        ValueError: `inputs` is below 1, or `levels` is out of range.
        TypeError: One of them is not an integer.

    Examples:
        >>> import fe_relu
        >>> fe_relu.deep.squares(2, 1)([[0.5, 0.25], [1.0, 0.75]])
        array([[0.25 , 0.125],
               [1.   , 0.625]])
    """
    levels = checked_levels(levels, 0, MAX_LEVELS)
    eye = sparse.eye_array(checked_integer("inputs", inputs, least=1))
    return bubble_network(-eye, levels, linear=eye, floor=0.0)
