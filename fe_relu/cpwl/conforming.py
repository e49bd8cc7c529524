# SPDX-License-Identifier: MIT
"""Which functions on a fan few hidden layers can represent, and functionals that say which not.

*One layer.* If Σ c R(a · x) is linear on each cone of a fan, then terms whose hyperplane is not one
of the fan's cancel but for a linear function: the kinks of different hyperplanes do not. So the
functions of one layer on the fan are exactly the span of R(±a · x) over its hyperplanes, whatever
weights a network has. Whether a function is among them is linear algebra in rational numbers.

*Two layers*, all of whose neurons conform (H-conforming networks; Hertrich, Basu, Di Summa and
Skutella 2021, arXiv 2105.14835, section 3): the second layer is R(g), with g of one layer, and g
must have one sign on each cone. Their span grows by what a functional that is 0 on it finds: the
largest φ(R(g)) over all such g is a mixed-integer program, with two binaries a ray. If it is 0 for
all φ of a basis, then the span is whole, and φ says of other functions that they need more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse

from fe_relu.cpwl.fans import Fan
from fe_relu.cpwl.rationals import Reduced, Vector, dot, reduced, whole
from fe_relu.layers.affine import Affine
from fe_relu.layers.network import ReLUNetwork

#: Optimal values up to this are 0 within the tolerances of HiGHS, and from `SOMETHING` on are not;
#: entries of functionals and values on rays are at most 1.
NOTHING, SOMETHING = 1e-5, 1e-3

#: Denominators of optimal points that are taken for the rational numbers that they are.
LARGEST_DENOMINATOR = 720


@dataclass(frozen=True, eq=False)
class Space:
    """All functions of so many conforming hidden layers on a fan.

    Attributes:
        fan: The fan.
        neurons: Of the second layer, each as a combination of R(a · x), R(−a · x) over the normals
            a in turn; none if there is one layer.
        columns: Values on the rays: of the first layer's neurons, then of the second's.
        found: What elimination finds of the columns.
    """

    fan: Fan
    neurons: tuple[Vector, ...]
    columns: tuple[Vector, ...]
    found: Reduced

    @property
    def dimension(self) -> int:
        return len(self.found.pivots)

    @property
    def functionals(self) -> tuple[tuple[int, ...], ...]:
        """A basis of the functionals on the values at rays that are 0 on all of the space."""
        return tuple(whole(functional) for functional in self.found.functionals)


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether a function is in a space; exactly one of the two is not None.

    Attributes:
        network: The function, if it is.
        certificate: Otherwise whole numbers w, one for each ray of the fan: Σ w f(ray) is 0 for all
            functions of the space, and not for this one.
    """

    network: ReLUNetwork | None
    certificate: tuple[int, ...] | None

    def __bool__(self) -> bool:
        return self.network is not None


def represent(
    fan: Fan,
    function: Callable[[npt.NDArray], npt.NDArray] | npt.ArrayLike,
    *,
    hidden_layers: int,
) -> Verdict:
    """A conforming function as a network of one or two hidden layers, or a proof that it is none.

    With one layer the proof holds for all networks, with two for those whose neurons conform to the
    fan as well. The first is exact; the second relies on HiGHS for the optimum of mixed-integer
    programs, which it finds in floats. See `fe_relu.cpwl.conforming`.

    Args:
        fan: The fan; for max(0, x_1, …, x_n) it is `braid_fan(n)`.
        function: Taken at points of shape (dim, n), or its values on the rays, shape (n,).
        hidden_layers: 1 or 2.

    Raises:
        ValueError: The function does not conform, or there are to be other than 1 or 2 layers.
        RuntimeError: HiGHS finds no optimum.

    Examples:
        >>> import numpy as np, fe_relu
        >>> fan = fe_relu.cpwl.braid_fan(2)
        >>> highest = lambda x: np.maximum(0, x.max(axis=0))  # max(0, x, y)
        >>> fe_relu.cpwl.represent(fan, highest, hidden_layers=1).certificate
        (-1, 1, 1, -1, -1, 1)
        >>> fe_relu.cpwl.represent(fan, highest, hidden_layers=2).network.hidden_layers
        2
    """
    space = conforming_space(fan, hidden_layers)
    values = fan.values(function)
    for functional in space.functionals:
        if dot(functional, values):
            return Verdict(None, functional)
    return Verdict(_network(space, values), None)


@lru_cache(maxsize=8)
def conforming_space(fan: Fan, hidden_layers: int) -> Space:
    """All functions of one or two conforming hidden layers on a fan, with a basis.

    Raises:
        ValueError: There are to be other than 1 or 2 layers.
        RuntimeError: HiGHS finds no optimum.

    Examples:
        >>> import fe_relu
        >>> fan = fe_relu.cpwl.braid_fan(3)
        >>> [fe_relu.cpwl.conforming_space(fan, layers).dimension for layers in (1, 2)]
        [9, 14]
    """
    if hidden_layers not in (1, 2):
        raise ValueError(f"spaces of 1 or 2 hidden layers are known, not of {hidden_layers}")
    heights = np.array(fan.normals) @ fan.rays
    first = [tuple(Fraction(max(0, s * int(h))) for h in row) for row in heights for s in (1, -1)]
    space = _space(fan, (), tuple(first))
    while hidden_layers == 2:
        more = next(
            (g for w in space.functionals for g in [_neuron(space, w)] if g is not None), None
        )
        if more is None:
            break
        column = tuple(max(Fraction(0), value) for value in _combined(first, more))
        space = _space(fan, (*space.neurons, more), (*space.columns, column))
    return space


def _space(fan: Fan, neurons: tuple[Vector, ...], columns: tuple[Vector, ...]) -> Space:
    return Space(fan, neurons, columns, reduced(columns, fan.rays.shape[1]))


def _combined(columns: list[Vector], factors: Vector) -> list[Fraction]:
    return [dot(factors, row) for row in zip(*columns, strict=True)]


def _neuron(space: Space, functional: tuple[int, ...]) -> Vector | None:
    """Factors of a conforming g of one layer with functional(R(g)) ≠ 0, if there is one."""
    first = list(space.columns[: 2 * len(space.fan.normals)])
    base = reduced(first, len(functional))
    for sign in (1, -1):
        values = _optimum(space.fan, first, base, sign * np.array(functional, float))
        if values is None:
            continue
        rational = [Fraction(v).limit_denominator(LARGEST_DENOMINATOR) for v in values]
        factors = [Fraction(0)] * len(first)
        for pivot, solver in zip(base.pivots, base.solvers, strict=True):
            factors[pivot] = dot(solver, rational)
        exact = _combined(first, tuple(factors))
        awake = [max(Fraction(0), value) for value in exact]
        signs = np.array([(v > 0) - (v < 0) for v in exact])
        a, b = space.fan.pairs
        if (signs[a] * signs[b] < 0).any() or not dot(functional, awake):
            raise RuntimeError("an optimal point of HiGHS is not the rational one it was taken for")
        return tuple(factors)
    return None


def _optimum(
    fan: Fan, first: list[Vector], base: Reduced, functional: npt.NDArray
) -> npt.NDArray | None:
    """Values on rays of the conforming g, |g| ≤ 1 there, with the largest functional(R(g)).

    Variables are factors of the basis, R(g) and R(−g) on the rays, and whether they may be above 0;
    of rays of a common cone, not one may be above and the other below.

    Returns:
        Shape (n,), or None if the largest is 0.
    """
    n, k = len(functional), len(base.pivots)
    basis = np.array([first[pivot] for pivot in base.pivots], float).T
    eye, zero, none = sparse.eye_array(n), sparse.csr_array((n, n)), sparse.csr_array((n, k))
    a, b = np.hstack([fan.pairs, fan.pairs[::-1], np.tile(np.arange(n), (2, 1))])
    rows = np.arange(len(a))
    above, below = (sparse.csr_array((np.ones(len(a)), (rows, i)), (len(a), n)) for i in (a, b))
    less = sparse.csr_array((len(a), k + 2 * n))
    constraints = [
        optimize.LinearConstraint(sparse.hstack([basis, -eye, eye, zero, zero]), 0, 0),
        optimize.LinearConstraint(sparse.hstack([none, eye, zero, -eye, zero]), -np.inf, 0),
        optimize.LinearConstraint(sparse.hstack([none, zero, eye, zero, -eye]), -np.inf, 0),
        optimize.LinearConstraint(sparse.hstack([less, above, below]), -np.inf, 1),
    ]
    scaled = functional / np.abs(functional).max()
    found = optimize.milp(
        np.concatenate([np.zeros(k), -scaled, np.zeros(3 * n)]),
        integrality=np.repeat([0, 1], [k + 2 * n, 2 * n]),
        bounds=optimize.Bounds(
            np.repeat([-np.inf, 0], [k, 4 * n]), np.repeat([np.inf, 1], [k, 4 * n])
        ),
        constraints=constraints,
    )
    if found.x is None or found.status != 0 or NOTHING < -found.fun < SOMETHING:
        raise RuntimeError(f"HiGHS finds no optimum: {found.message}")
    return None if -found.fun <= NOTHING else found.x[k : k + n] - found.x[k + n : k + 2 * n]


def _network(space: Space, values: Vector) -> ReLUNetwork:
    """The function of the space with these values on the rays."""
    normals = np.repeat(np.array(space.fan.normals, float), 2, axis=0)
    normals[1::2] *= -1
    factors = [Fraction(0)] * len(space.columns)
    for pivot, solver in zip(space.found.pivots, space.found.solvers, strict=True):
        factors[pivot] = dot(solver, values)
    width = len(normals)
    direct, outer = np.array(factors[:width], float), factors[width:]
    first = Affine(normals, np.zeros(width))
    if not space.neurons:
        return ReLUNetwork((first, Affine(direct[None], np.zeros(1))))
    used = [(f, g) for f, g in zip(outer, space.neurons, strict=True) if f]
    second = np.array([direct, -direct, *([float(e) for e in g] for _, g in used)])
    output = np.array([[1.0, -1.0, *(float(f) for f, _ in used)]])
    return ReLUNetwork((first, Affine(second, np.zeros(len(second))), Affine(output, np.zeros(1))))
