# SPDX-License-Identifier: MIT
"""Networks read step by step, as others write them: affine maps, also in a row, and ReLUs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.layers.network import Affine, ReLUNetwork

#: No layer and no sum of networks that reading makes has more entries: a small file must not fill
#: the memory.
MAX_ENTRIES = 1 << 24


@dataclass(frozen=True, eq=False)
class Chain:
    """What was made of the input so far: hidden layers, and an affine map that no ReLU follows yet.

    The map is the identity where it is None.

    Args:
        dim_in: Components of the input, where known.
        layers: The affine maps that a ReLU has followed.
        last: The one that none has followed yet.
    """

    dim_in: int | None
    layers: tuple[Affine, ...] = ()
    last: Affine | None = None

    @property
    def dim_out(self) -> int | None:
        """Components of the value, where known."""
        last = self.last or (self.layers[-1] if self.layers else None)
        return self.dim_in if last is None else last.dim_out

    @property
    def affine(self) -> Affine:
        """The map that no ReLU has followed yet."""
        if self.last is not None:
            return self.last
        if self.dim_out is None:
            raise ValueError("comes before any weights, which would say how long the input is")
        require_room(self.dim_out)
        dtype = self.layers[-1].bias.dtype if self.layers else np.float32
        return Affine(sparse.eye_array(self.dim_out, dtype=dtype), np.zeros(self.dim_out, dtype))

    def then(self, affine: Affine) -> Chain:
        """Followed by one more affine map."""
        if self.dim_out not in (None, affine.dim_in):
            raise ValueError(f"takes {affine.dim_in} inputs, but {self.dim_out} come in")
        if self.last is None:
            return replace(self, last=affine)
        require_room(affine.dim_out * self.last.dim_in)
        return replace(self, last=affine @ self.last)

    def shifted(self, bias: npt.NDArray) -> Chain:
        """With a constant added."""
        affine = self.affine
        return replace(self, last=Affine(affine.weight, affine.bias + bias))

    def rectified(self) -> Chain:
        return replace(self, layers=(*self.layers, self.affine), last=None)

    def network(self) -> ReLUNetwork:
        return ReLUNetwork((*self.layers, self.affine))


def require_room(entries: int) -> None:
    """Raises if something of so many entries is more than reading may make."""
    if entries > MAX_ENTRIES:
        raise ValueError(f"would make {entries} weights, more than {MAX_ENTRIES}")
