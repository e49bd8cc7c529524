# SPDX-License-Identifier: MIT
"""Networks for monomials and polynomials in one and two variables, with proven errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fe_relu.basics.arguments import checked_integer, checked_levels
from fe_relu.layers.affine import Affine
from fe_relu.layers.bubbles import MAX_LEVELS, DeepNetwork, bubble_network
from fe_relu.layers.network import ReLUNetwork
from fe_relu.layers.products import Quantity, Scheme, constant

#: Products have that many levels more than the squares of the variables. The error of x² falls
#: exactly fourfold with every level. That of a product of curved factors does so on average only,
#: because their kinks do not meet; 4^-4 of it is hardly seen.
FINER = 4


def monomial_network(power: int, levels: int) -> DeepNetwork:
    """Network for x^power on [−1, 1] whose error is about (power / 2) 4^-(levels + 1) at worst.

    x² on 2^(levels + 1) cells, then squares and products along the binary digits of the power, four
    levels finer. Any way to multiply `power` factors in [−1, 1] adds up power − 1 errors; here a of
    them are 4^-(levels + 1), with a the largest power of two up to power / 2, and the others are
    256 times smaller: `error_bound` = (a + (power − 1 − a) / 256) 4^-(levels + 1).

    Width at most 6. levels + 1 hidden layers for x², levels + 5 for each further factor, of which
    there are less than 2 log₂ power; x itself is exact and has none. Nothing is claimed beyond
    [−1, 1].

    Raises:
        ValueError: `power` is below 1, or `levels` is not between 0 and `MAX_LEVELS`.
        TypeError: One of them is not an integer.

    Examples:
        >>> import fe_relu
        >>> cube = fe_relu.deep.monomial_network(3, 10)
        >>> bool(abs(cube([[0.3]])[0] - 0.3**3) <= cube.error_bound < 3e-7)
        True
    """
    levels = checked_levels(levels, 0, MAX_LEVELS)
    power = checked_integer("power", power)
    if power < 1:
        raise ValueError(f"power must be at least 1, not {power}; x^0 is constant")
    scheme = variables(np.eye(1), np.zeros(1), levels, squared=power > 1)
    scheme = scheme.set("result", scheme["x" if power == 1 else "xx"])
    for position, digit in enumerate(f"{power:b}"[1:]):
        if position > 0:
            scheme = scheme.times("result", "result")
        if digit == "1":
            scheme = scheme.times("result", "x")
    return scheme.result("result")


def polynomial_network(
    coefficients: npt.ArrayLike,
    levels: int,
    *,
    domain: Sequence[float] | Sequence[Sequence[float]],
) -> DeepNetwork:
    """Network for Σ c_i xⁱ on [a, b], or Σ c_ij xⁱ yʲ on [a, b] × [c, d], with its error bound.

    Scaled to [−1, 1], then Horner's scheme in x², Σ_k (c_2k + c_2k+1 x) x^2k, with x² on
    2^(levels + 1) cells and products four levels finer; the same in y, with rows of the table of
    coefficients for coefficients, or the other way round, whichever makes fewer neurons. Errors
    add up as stated in `fe_relu.layers.products`, to `error_bound`: a number that depends on the
    scaled polynomial only, times 4^-(levels + 1). The bound is far above the error where large
    coefficients cancel.

    Width at most 7 in one variable, 10 in two. levels + 1 hidden layers for the squares x² and y²
    together, levels + 5 for each product, of which there are fewer than half the coefficients;
    without squares, as in a + b x y, it is levels + 1. An affine polynomial has no hidden layers
    and is exact. Nothing is claimed beyond the domain.

    Args:
        coefficients: Shape (n,) or (n, m), real, for ascending powers as in `numpy.polynomial`.
        levels: From 0 to `MAX_LEVELS`.
        domain: (a, b), or ((a, b), (c, d)) for two variables. If it is small and far from 0, then
            roundoff is that of evaluating the polynomial as given.

    Raises:
        ValueError: A shape does not fit, a number is NaN or infinite, a ≥ b, or `levels` is out of
            range.
        TypeError: Something is not real, or `levels` is not an integer.

    Examples:
        >>> import fe_relu
        >>> f = fe_relu.deep.polynomial_network([1, 0, -2], 4, domain=(0, 4))  # 1 − 2 x²
        >>> f([[0.0, 2.0]]), f.error_bound
        (array([ 1., -7.]), 0.0078125)
        >>> xy = fe_relu.deep.polynomial_network([[0, 0], [0, 1]], 9, domain=((-1, 1), (0, 2)))
        >>> bool(abs(xy([[0.5], [1.5]])[0] - 0.75) <= xy.error_bound < 2e-6)
        True
    """
    levels = checked_levels(levels, 0, MAX_LEVELS)
    given = real_array("coefficients", coefficients)
    if given.ndim not in {1, 2} or given.size == 0:
        raise ValueError(
            "coefficients must have shape (n,) for one variable or (n, m) for two, and not be "
            f"empty; these have shape {given.shape}"
        )
    middle, radius = middle_and_radius(domain, given.ndim)
    scaled = given.reshape(len(given), -1)
    with np.errstate(all="ignore"):
        for m, r in zip(middle, radius, strict=True):
            scaled = (_powers(m, r, len(scaled)).T @ scaled).T
        weight, bias = np.diag(1 / radius), -middle / radius
        if not np.isfinite([np.abs(scaled).sum(), weight.sum(), bias.sum()]).all():
            raise ValueError(f"the polynomial scaled from {domain!r} to [-1, 1] overflows float64")
    squared = bool(scaled[2:].any() or scaled[:, 2:].any())
    scheme = variables(weight, bias, levels, squared=squared)
    if given.ndim == 1:
        return _nested(scheme, scaled, inner="x")
    candidates = (
        _nested(scheme, scaled, inner="y", outer="x"),
        _nested(scheme, scaled.T, inner="x", outer="y"),
    )
    return min(candidates, key=lambda network: (network.num_neurons, network.error_bound))


def variables(weight: npt.NDArray, bias: npt.NDArray, levels: int, *, squared: bool) -> Scheme:
    """The scaled variables x and y and their squares xx and yy, 0 where none is needed or there."""
    dim = len(bias)
    names = ["x", "y"][:dim]
    network, epsilon = ReLUNetwork((Affine(weight, bias),)), 4.0 ** -(levels + 1)
    quantities = dict.fromkeys(("x", "y", "xx", "yy"), constant(0.0))
    if squared:
        network = _squares_beside(dim, levels) @ network
        levels += FINER
    outputs = np.eye(network.dim_out)
    for i, name in enumerate(names):
        quantities[name] = Quantity(outputs[i])
        if squared:
            quantities[2 * name] = Quantity(outputs[dim + i], error=epsilon)
    return Scheme(network, quantities, levels)


def _squares_beside(dim: int, levels: int) -> ReLUNetwork:
    """Network for the numbers t in [−1, 1] and S(t): with u = (t + 1) / 2, t² = 1 − 4 u (1 − u)."""
    eye, zero = np.eye(dim), np.zeros((dim, dim))
    to_unit = Affine(eye / 2, np.full(dim, 0.5))
    bubbles = bubble_network(
        np.vstack([zero, eye]), levels + 1, linear=np.vstack([eye, zero]), floor=0.0
    )
    back = Affine(np.diag(np.repeat([2.0, -4.0], dim)), np.repeat([-1.0, 1.0], dim))
    return ReLUNetwork((back,)) @ bubbles @ ReLUNetwork((to_unit,))


def _nested(
    scheme: Scheme, coefficients: npt.NDArray, *, inner: str, outer: str = "y"
) -> DeepNetwork:
    """Σ_jk c_jk outer^j inner^k, two powers at a time from the highest down."""
    scheme = scheme.set("total", constant(0.0))
    for even, odd in _pairs(coefficients):
        scheme = scheme.times("total", 2 * outer)
        scheme = _row(scheme, even, inner)
        scheme = scheme.plus("total", scheme["row"])
        scheme = _row(scheme, odd, inner).times("row", outer)
        scheme = scheme.plus("total", scheme["row"]).set("row", constant(0.0))
    return scheme.result("total")


def _row(scheme: Scheme, coefficients: npt.NDArray, inner: str) -> Scheme:
    """The scheme with Σ_k c_k inner^k as the quantity `row`."""
    scheme = scheme.set("row", constant(0.0))
    for even, odd in _pairs(coefficients):
        scheme = scheme.times("row", 2 * inner)
        scheme = scheme.plus("row", scheme[inner] * float(odd) + constant(float(even)))
    return scheme


def _pairs(coefficients: npt.NDArray) -> list[tuple[npt.NDArray, npt.NDArray]]:
    """Coefficients of t^2k and t^(2k + 1), the highest k first."""
    padded = np.concatenate([coefficients, 0 * coefficients[: len(coefficients) % 2]])
    return list(zip(padded[::2], padded[1::2], strict=True))[::-1]


def _powers(middle: float, radius: float, count: int) -> npt.NDArray:
    """The coefficients of (middle + radius t)^j in row j."""
    rows = np.zeros((count, count))
    rows[0, 0] = 1
    for j in range(1, count):
        rows[j] = middle * rows[j - 1]
        rows[j, 1:] += radius * rows[j - 1, :-1]
    return rows


def middle_and_radius(domain: object, dim: int) -> tuple[npt.NDArray, npt.NDArray]:
    """Of the interval in each variable, checked."""
    box = real_array("domain", domain)
    wanted, shape = (("(a, b)", (2,)), ("((a, b), (c, d))", (2, 2)))[dim - 1]
    if box.shape != shape:
        raise ValueError(f"the domain for {dim} variable(s) must be {wanted}, not {domain!r}")
    low, high = box.reshape(dim, 2).T
    if not (low < high).all():
        raise ValueError(f"an interval (a, b) needs a < b, not {domain!r}")
    return low / 2 + high / 2, high / 2 - low / 2


def real_array(name: str, values: object) -> npt.NDArray:
    """Finite real numbers as float64."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, not {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite; there are NaN or infinite ones")
    return array.astype(np.float64)
