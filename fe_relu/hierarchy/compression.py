# SPDX-License-Identifier: MIT
"""Which coefficients to keep: all up to a level, or the largest for an error or a budget.

One threshold decides for all coefficients, on all ranks, so that the result does not depend on how
they are spread.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.arguments import checked_integer
from fe_relu.hierarchy import surplus
from fe_relu.hierarchy.nested import checked_level, level_hats, numbers_in_finer
from fe_relu.hierarchy.seminorm import h1_seminorm, hat_seminorms
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.meshes.grid.hats import lines_in_use
from fe_relu.parallel.ranking import Ranking

if TYPE_CHECKING:
    from fe_relu.hierarchy.basis import HierarchicalNetwork

Norm = Literal["sup", "H1"]

#: Which coefficients, from their sizes and levels.
Choice = Callable[[npt.NDArray, npt.NDArray], npt.NDArray[np.bool_]]


class Part(NamedTuple):
    """Coefficients (k, n) with level and star of their vertices."""

    rows: npt.NDArray
    level: npt.NDArray[np.uint8]
    star: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Aim:
    """An error or a number of neurons; see `HierarchicalNetwork.compress`.

    Raises:
        ValueError: tol is not positive and finite, max_neurons is below 1, both or none are given,
            relative comes without tol, or norm is another word.
        TypeError: tol is no real number, or max_neurons no integer.
    """

    tol: float | None
    max_neurons: int | None
    relative: bool
    norm: Norm

    def __post_init__(self) -> None:
        if (self.tol is None) == (self.max_neurons is None):
            raise ValueError("compress needs either tol, an error, or max_neurons, a budget")
        if self.norm not in ("sup", "H1"):
            raise ValueError(f'norm must be "sup" or "H1", not {self.norm!r}')
        if self.tol is None:
            if self.relative:
                raise ValueError("relative is about tol; a budget has none")
            checked_integer("max_neurons", self.max_neurons, least=1)
            return
        if isinstance(self.tol, bool) or not isinstance(self.tol, numbers.Real):
            raise TypeError(f"tol must be a real number, not {self.tol!r}")
        if not 0 < self.tol <= float(np.finfo(float).max):
            raise ValueError(f"tol must be positive and finite, not {self.tol}")


def truncated(h: HierarchicalNetwork, levels: int) -> Surrogate:
    """The surrogate of all coefficients that are not zero, up to a level. Collective."""
    with h.layout.together() as terms:
        last = checked_level(levels, h.levels)
        terms.alike("levels", last)
    return _surrogate(h, lambda size, level: (level <= last) & (size > 0), _sizes(h, "sup"))


def compressed(
    h: HierarchicalNetwork, tol: float | None, max_neurons: int | None, relative: bool, norm: Norm
) -> Surrogate:
    """The surrogate of the largest coefficients. Collective; see `HierarchicalNetwork.compress`."""
    with h.layout.together() as terms:
        aim = Aim(tol, max_neurons, relative, norm)
        terms.alike("arguments", aim)
    sizes = _sizes(h, norm)
    ranking = Ranking.of(sizes[0][h.window.owned()], h.layout)
    number = (_enough if aim.max_neurons is None else _affordable)(h, aim, ranking, sizes)
    threshold = ranking.threshold(number)
    return _surrogate(h, lambda size, level: size >= threshold, sizes)


def _enough(h: HierarchicalNetwork, aim: Aim, ranking: Ranking, sizes: list[npt.NDArray]) -> int:
    """How many of the largest coefficients are needed for the error."""
    assert aim.tol is not None
    limit = aim.tol * (_error(h, aim.norm, sizes, np.inf) if aim.relative else 1.0)
    return ranking.first(
        lambda threshold: _error(h, aim.norm, sizes, threshold) <= limit, ranking.total
    )


def _affordable(
    h: HierarchicalNetwork, aim: Aim, ranking: Ranking, sizes: list[npt.NDArray]
) -> int:
    """How many of the largest coefficients the budget allows."""
    assert aim.max_neurons is not None
    budget = int(aim.max_neurons)
    stop = min(budget, ranking.total) + 1
    candidates = np.flatnonzero(sizes[0] >= max(ranking.threshold(stop - 1), np.nextafter(0, 1)))
    vertices = h.window.whole_numbers(candidates)

    def too_many(threshold: float) -> bool:
        kept = vertices[sizes[0][candidates] >= threshold]
        lines = lines_in_use(h.mesh, level_hats(h.mesh, h.levels, kept))
        used = np.count_nonzero(h.layout.summed(lines.astype(np.int32)))
        return used + ranking.number_from(threshold) > budget

    return ranking.first(too_many, stop) - 1


def _sizes(h: HierarchicalNetwork, norm: Norm) -> list[npt.NDArray[np.float64]]:
    """How large the coefficients of each part are, shape (n,) each."""
    sizes = [np.abs(part.rows).max(axis=0).astype(np.float64) for part in h.parts]
    if norm == "sup":
        return sizes
    weights = hat_seminorms(h.mesh)
    return [size * weights[part.star] for size, part in zip(sizes, h.parts, strict=True)]


def _nodal(h: HierarchicalNetwork, chosen: Choice, sizes: list[npt.NDArray]) -> npt.NDArray:
    """Nodal values (k, n) of the sum of some coefficients."""
    rows = [
        np.where(chosen(size, part.level), part.rows, part.rows.dtype.type(0))
        for size, part in zip(sizes, h.parts, strict=True)
    ]
    return h.nesting.join(rows[0], rows[1] if len(rows) > 1 else None)


def _error(h: HierarchicalNetwork, norm: Norm, sizes: list[npt.NDArray], threshold: float) -> float:
    """The error of dropping all coefficients below a threshold."""
    dropped = _nodal(h, lambda size, level: size < threshold, sizes)
    return h1_seminorm(h.window, dropped, h.layout) if norm == "H1" else _sup(h, dropped)


def _sup(h: HierarchicalNetwork, nodal: npt.NDArray) -> float:
    return h.layout.largest(float(np.abs(nodal).max(initial=0)))


def _surrogate(h: HierarchicalNetwork, chosen: Choice, sizes: list[npt.NDArray]) -> Surrogate:
    kept = [chosen(size, part.level) for size, part in zip(sizes, h.parts, strict=True)]
    dropped = _nodal(h, lambda size, level: ~chosen(size, level), sizes)
    number, most = _tally(h, kept[0])
    vertices, rows = _collected(h, kept)
    roundoff = 1 + 4 * (h.levels + 1) * float(np.finfo(h.dtype).eps)
    return Surrogate(
        h.mesh,
        h.levels,
        vertices,
        rows[0] if h.surpluses.ndim == 1 else rows,
        kept=tuple(int(n) for n in number),
        error=_sup(h, dropped),
        bound=float(most[0].sum()) * roundoff,
        h1_error=h1_seminorm(h.window, dropped, h.layout),
        ceiling=float(most[1].sum()) * roundoff,
        layout=h.layout,
    )


def _tally(
    h: HierarchicalNetwork, kept: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
    """By level: how many are kept; the largest dropped, the largest kept. Of all ranks."""
    number, most = np.zeros(h.levels + 1, np.int64), np.zeros((2, h.levels + 1))
    surplus.tally(h.parts[0].level, _sizes(h, "sup")[0], kept, h.window.owned(), number, most)
    largest = [[h.layout.largest(float(size)) for size in row] for row in most]
    return h.layout.summed(number), np.array(largest)


def _collected(
    h: HierarchicalNetwork, kept: list[npt.NDArray[np.bool_]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
    """Kept vertices, increasing, and their coefficients (k, n): of this window and shared."""
    window, *shared = h.parts
    inside = kept[0] & (window.level > h.nesting.outer) if shared else kept[0]
    places = np.flatnonzero(inside)
    vertices, rows = h.window.whole_numbers(places), window.rows[:, places]
    if shared:
        numbers = numbers_in_finer(h.mesh, h.nesting.unit)[kept[1]]
        vertices = np.concatenate([vertices, numbers])
        rows = np.concatenate([rows, shared[0].rows[:, kept[1]]], axis=1)
    order = np.argsort(vertices)
    return vertices[order], rows[:, order]
