# SPDX-License-Identifier: MIT
"""Networks for sums of Chebyshev polynomials, and so for analytic functions, with proven errors.

    T_2k = 2 T_k² − 1,      T_2k+1 = 2 T_k T_k+1 − x.

Products one after the other, as in `fe_relu.layers.products`: as |T_k| ≤ 1 on [−1, 1], nothing
grows, and errors of T_k are about k² times that of one product. The coefficients of a function
fall geometrically if it is analytic, and nothing cancels, so that bound and error stay together
where they part ways in powers of x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev

from fe_relu.basics.arguments import checked_levels
from fe_relu.layers.bubbles import MAX_LEVELS, DeepNetwork
from fe_relu.layers.polynomials import middle_and_radius, real_array, variables
from fe_relu.layers.products import constant

#: Functions that need a higher degree are nearly singular for this purpose.
MAX_DEGREE = 256


def chebyshev_network(
    coefficients: npt.ArrayLike, levels: int, *, domain: Sequence[float]
) -> DeepNetwork:
    """Network for Σ c_k T_k on [a, b], Chebyshev polynomials of (2 x − a − b) / (b − a).

    One product of `levels` + 1 hidden layers for each polynomial that is needed, at most degree − 1
    in all; a function of degree 1 is exact and has no hidden layers. About a quarter of the degree
    of them are carried at a time. `error_bound` is near Σ |c_k| k² 4^-(levels + 1) at most. Nothing
    is claimed beyond the domain.

    Args:
        coefficients: Shape (n,), real, as in `numpy.polynomial.chebyshev`.
        levels: From 0 to `MAX_LEVELS`.
        domain: (a, b).

    Raises:
        ValueError: A shape does not fit, a number is NaN or infinite, a ≥ b, or `levels` is out of
            range.
        TypeError: Something is not real, or `levels` is not an integer.

    Examples:
        >>> import fe_relu
        >>> f = fe_relu.deep.chebyshev_network([0, 0, 0, 1], 10, domain=(-1, 1))  # 4 x³ − 3 x
        >>> bool(abs(f([[0.3]])[0] - (4 * 0.3**3 - 3 * 0.3)) <= f.error_bound < 3e-6)
        True
    """
    levels = checked_levels(levels, 0, MAX_LEVELS)
    given = real_array("coefficients", coefficients)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(f"coefficients must have shape (n,), n ≥ 1, not {given.shape}")
    (middle,), (radius,) = middle_and_radius(domain, 1)
    to_unit = np.array([[1 / radius]]), np.array([-middle / radius])
    if not np.isfinite([*to_unit[0][0], *to_unit[1]]).all():
        raise ValueError(f"the domain {domain!r} scaled to [-1, 1] overflows float64")
    scheme = variables(*to_unit, levels, squared=False)
    total = constant(float(given[0]))
    if given.size > 1:
        total = total + scheme["x"] * float(given[1])
    scheme = scheme.set("T1", scheme["x"]).set("x", constant(0.0)).set("total", total)
    needed = _needed(given)
    for k in needed:
        name, one, other = f"T{k}", f"T{k // 2}", f"T{(k + 1) // 2}"
        scheme = scheme.set(name, scheme[one]).times(name, other)
        known = scheme[name] * 2.0 + (scheme["T1"] * -1.0 if k % 2 else constant(-1.0))
        scheme = scheme.set(name, known.within(1 + known.error))
        scheme = scheme.plus("total", scheme[name] * float(given[k]))
        for old in range(2, k + 1):
            if not any(2 * old - 1 <= later <= 2 * old + 1 and later > k for later in needed):
                scheme = scheme.set(f"T{old}", constant(0.0))
    return scheme.result("total")


def analytic_network(
    function: Callable[[npt.NDArray], npt.NDArray],
    tol: float,
    *,
    domain: Sequence[float],
    ellipse: tuple[float, float],
) -> DeepNetwork:
    """Network within tol of an analytic function on [a, b], of some log² (1 / tol) hidden layers.

    With ρ > 1 and M such that |f| ≤ M on the ellipse with foci a and b whose half-axes add up to
    ρ (b − a) / 2, its interpolant at n + 1 Chebyshev points is off by at most 4 M ρ^-n / (ρ − 1)
    (Trefethen, Approximation Theory and Approximation Practice, theorem 8.2). The least n for which
    that is tol / 2 is taken; coefficients are left out, the least first, as long as they add up to
    tol / 16, and levels of `chebyshev_network` see to the rest.

    Args:
        function: Taken at points of [a, b], shape (m,).
        tol: Above 0.
        domain: (a, b).
        ellipse: (ρ, M). They are believed: nothing can be said of f from its values.

    Raises:
        ValueError: A number is out of range, or the degree or the levels would be too many.
        TypeError: Something is not real.

    Examples:
        >>> import numpy as np, fe_relu
        >>> f = fe_relu.deep.analytic_network(np.exp, 1e-5, domain=(-1, 1), ellipse=(4, 9))
        >>> x = np.linspace(-1, 1, 1001)
        >>> bool(np.abs(f([x]) - np.exp(x)).max() <= f.error_bound <= 1e-5)
        True
    """
    (middle,), (radius,) = middle_and_radius(domain, 1)
    rho, most, tol = (float(t) for t in real_array("ellipse and tol", [*ellipse, tol]))
    if not (rho > 1 and most >= 0 and tol > 0):
        raise ValueError(f"needed are ρ > 1, M ≥ 0 and tol > 0, not {ellipse!r} and {tol!r}")
    wanted = 8 * most / ((rho - 1) * tol)
    degree = max(1, math.ceil(math.log(wanted) / math.log(rho))) if wanted > 1 else 1
    if degree > MAX_DEGREE:
        raise ValueError(f"tol = {tol:g} needs degree {degree}, above {MAX_DEGREE}")
    left_out = 4 * most * rho**-degree / (rho - 1)
    interpolate: Any = chebyshev.chebinterpolate
    found = real_array("values", interpolate(lambda t: function(middle + radius * t), degree))
    small = np.argsort(np.abs(found))
    small = small[np.cumsum(np.abs(found[small])) <= tol / 16]
    left_out += float(np.abs(found[small]).sum())
    found[small] = 0
    size = float(np.abs(found) @ np.arange(degree + 1.0) ** 2)
    levels = max(0, math.ceil(math.log(max(1.0, size / (tol - left_out)), 4)) - 2)
    while True:
        if levels > MAX_LEVELS:
            raise ValueError(f"tol = {tol:g} is below what {MAX_LEVELS} levels reach")
        network = chebyshev_network(found, levels, domain=domain)
        if network.error_bound + left_out <= tol:
            return DeepNetwork(network.layers, network.error_bound + left_out)
        levels += 1


def _needed(coefficients: npt.NDArray) -> list[int]:
    """The polynomials of degree 2 and above that are in the sum, and those that make them."""
    needed = {int(k) for k in np.flatnonzero(coefficients)}
    for k in range(len(coefficients) - 1, 1, -1):
        if k in needed:
            needed |= {k // 2, (k + 1) // 2}
    return sorted(needed - {0, 1})
