# SPDX-License-Identifier: MIT
"""Networks side by side: one whose outputs are those of several, whatever layers these have.

Each round does what comes next in some networks: a ReLU if any waits for one, else the pooling that
the first waits for. In the others numbers pass by unchanged: through ReLUs as y = R(y) − R(−y),
through products as y · 1, through maxima as max(y, y).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.layers.affine import Affine
from fe_relu.layers.pooling import Pooling

Layer = Affine | Pooling


@dataclass(frozen=True, eq=False)
class Progress:
    """A network on its way: the affine map that waits, and the layers after it."""

    affine: Affine
    ahead: tuple[Layer, ...]

    @property
    def waits_for(self) -> str | None:
        """The kind of what comes next."""
        return _kind(self.ahead[0]) if self.ahead else None


def beside(networks: Sequence[tuple[Layer, ...]]) -> tuple[Layer, ...]:
    """The layers of one network, from those of several with the same inputs."""
    progress = [_starting(*layers) for layers in networks]
    found: list[Layer] = []
    while waiting := [each.waits_for for each in progress if each.waits_for]:
        kind = "relu" if "relu" in waiting else waiting[0]
        fed, pairs = [], []
        for k, each in enumerate(progress):
            if each.waits_for == kind:
                affine, chosen, progress[k] = _advanced(each)
            else:
                affine, chosen, after = _PASSING[kind](each.affine)
                progress[k] = replace(each, affine=after)
            fed.append(affine)
            pairs.append(chosen)
        found.append(_stacked(fed, shared=not found))
        if kind != "relu":
            found.append(_pooled(fed, pairs, kind))
    return (*found, _stacked([each.affine for each in progress], shared=not found))


def _kind(layer: Layer) -> str:
    """Of a pooling its own; where an affine map follows another, there is a ReLU between."""
    return layer.kind if isinstance(layer, Pooling) else "relu"


Step = tuple[Affine, npt.NDArray, Affine]

_NONE = np.empty((2, 0), np.int64)


def _starting(first: Layer, *ahead: Layer) -> Progress:
    assert isinstance(first, Affine)  # networks see to that, and that one follows a pooling
    return Progress(first, ahead)


def _advanced(each: Progress) -> tuple[Affine, npt.NDArray, Progress]:
    """What goes into the ReLU or pooling that comes next, its pairs, and what comes after."""
    first, *rest = each.ahead
    if isinstance(first, Affine):
        return each.affine, _NONE, _starting(first, *rest)
    return each.affine, first.pairs, _starting(*rest)


def _past_relu(affine: Affine) -> Step:
    eye = sparse.eye_array(affine.dim_out, dtype=np.float32)
    zeros = np.zeros(2 * affine.dim_out, np.float32)
    split = Affine(sparse.vstack([eye, -eye]), zeros)
    return split @ affine, _NONE, Affine(sparse.hstack([eye, -eye]), zeros[: affine.dim_out])


def _past_product(affine: Affine) -> Step:
    own = np.arange(affine.dim_out)
    row = sparse.csr_array((1, affine.dim_in), dtype=affine.bias.dtype)
    one = np.ones(1, affine.bias.dtype)
    fed = Affine(sparse.vstack([affine.weight, row]), np.concatenate([affine.bias, one]))
    return fed, np.array([own, np.full_like(own, own.size)]), _identity(affine.dim_out)


def _past_maximum(affine: Affine) -> Step:
    own = np.arange(affine.dim_out)
    return affine, np.array([own, own]), _identity(affine.dim_out)


#: How numbers pass by what others wait for.
_PASSING: dict[str, Callable[[Affine], Step]] = {
    "relu": _past_relu,
    "product": _past_product,
    "maximum": _past_maximum,
}


def _identity(dim: int) -> Affine:
    return Affine(sparse.eye_array(dim, dtype=np.float32), np.zeros(dim, np.float32))


def _stacked(maps: Sequence[Affine], *, shared: bool) -> Affine:
    """Of one input that all share, or of one for each."""
    weights = [affine.weight for affine in maps]
    weight = sparse.vstack(weights) if shared else sparse.block_diag(weights)
    return Affine(weight, np.concatenate([affine.bias for affine in maps]))


def _pooled(fed: Sequence[Affine], pairs: Sequence[npt.NDArray], kind: str) -> Pooling:
    starts = np.cumsum([0, *(affine.dim_out for affine in fed)])
    moved = [chosen + start for chosen, start in zip(pairs, starts[:-1], strict=True)]
    return Pooling(np.concatenate(moved, axis=1), int(starts[-1]), kind)  # type: ignore[arg-type]
