# SPDX-License-Identifier: MIT
"""Deep networks for x², x y and polynomials, fourfold as near with every level; and for maxima."""

from __future__ import annotations

import numpy as np

from fe_relu.basics.arguments import checked_levels
from fe_relu.layers.affine import Affine
from fe_relu.layers.bubbles import MAX_LEVELS, DeepNetwork, bubble_network, squares
from fe_relu.layers.chebyshev import analytic_network, chebyshev_network
from fe_relu.layers.maxima import maximum_network, maximum_of, minimum_network
from fe_relu.layers.network import ReLUNetwork
from fe_relu.layers.polynomials import monomial_network, polynomial_network

__all__ = [
    "MAX_LEVELS",
    "DeepNetwork",
    "analytic_network",
    "bubble_network",
    "chebyshev_network",
    "maximum_network",
    "maximum_of",
    "minimum_network",
    "monomial_network",
    "polynomial_network",
    "product_network",
    "square_network",
    "squares",
]

#: The mesh lines that cut the cells are x + σ y = constant.
DIAGONALS = {"left": 1.0, "right": -1.0}


def square_network(levels: int) -> DeepNetwork:
    """Network for x² on [0, 1] whose error is 0 at best, 4^-(levels + 1) at worst.

    The interpolant I_L x² = x − Σ 4^-ℓ g_ℓ(x) on 2^L cells, one sawtooth g_ℓ for each of L levels
    (He, Li, Xu 2021, section 3); the worst is attained in the middle of every cell. L hidden layers
    of width 3. Outside [0, 1] it is 0 to the left and (3 x − 1) / 2 to the right; without levels it
    is x everywhere.

    Raises:
        ValueError: `levels` is not between 0 and `MAX_LEVELS`.
        TypeError: `levels` is not an integer.

    Examples:
        >>> import fe_relu
        >>> network = fe_relu.deep.square_network(3)  # 8 cells
        >>> network([[0.25, 0.5625]]) - [0.25**2, 0.5625**2]  # the end and the middle of one
        array([0.        , 0.00390625])
        >>> network.error_bound, network.widths
        (0.00390625, (1, 3, 3, 3, 1))
    """
    return DeepNetwork(squares(1, levels).layers, 4.0 ** -(levels + 1))


def product_network(levels: int, *, diagonal: str = "left") -> DeepNetwork:
    """Network for x y on [−1, 1]² that equals its P1 interpolant on the mesh of spacing 2^-levels.

    The error is 0 at best, 4^-(levels + 1) at worst, below x y for `left` and above it for `right`.
    With σ = 1 and −1, b(u) = u (1 − u) and t² = 4 − 16 b((t + 2) / 4), the square of x + σy says

        x y = σ (8 [b((x + 2) / 4) − b((x + σy + 2) / 4) + b((σy + 2) / 4)] − 2).

    Interpolated on 2^(levels + 2) cells of [0, 1], the bubbles are linear between the mesh's lines:
    x, y or x + σy = a multiple of 2^-levels. levels + 2 hidden layers of width 7. Nothing is
    claimed outside the square.

    Args:
        levels: From 0 to `MAX_LEVELS`.
        diagonal: `"left"` or `"right"`, as in `dolfinx.mesh.create_rectangle`.

    Raises:
        ValueError: `levels` is out of range, or the diagonal another.
        TypeError: `levels` is not an integer.

    Examples:
        >>> import fe_relu
        >>> network = fe_relu.deep.product_network(2)
        >>> network([[0.5, 0.625], [-0.75, 0.125]]) - [0.5 * -0.75, 0.625 * 0.125]
        array([ 0.      , -0.015625])
        >>> network.error_bound
        0.015625
    """
    levels = checked_levels(levels, 0, MAX_LEVELS)
    if diagonal not in DIAGONALS:
        raise ValueError(
            f'the diagonal is "left" or "right", not {diagonal!r}; '
            "on other meshes the lines of x y's three squares are not all mesh lines"
        )
    sign = DIAGONALS[diagonal]
    arguments = Affine(np.array([[1, 0], [1, sign], [0, sign]]) / 4, np.full(3, 0.5))
    bubbles = bubble_network([[1, -1, 1]], levels + 2, floor=0.0)
    output = Affine(np.array([[8 * sign]]), np.array([-2 * sign]))
    network = ReLUNetwork((output,)) @ bubbles @ ReLUNetwork((arguments,))
    return DeepNetwork(network.layers, 4.0 ** -(levels + 1))
