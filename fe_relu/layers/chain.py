# SPDX-License-Identifier: MIT
"""Networks read step by step, as others write them: affine maps, also in a row, and ReLUs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.layers.network import Affine, ReLUNetwork

#: So many weights, and a few times those that are given, may be made while one network is read: a
#: small file must not fill the memory.
MAX_ENTRIES = 1 << 22


class Room:
    """What may be made yet while one network is read, all of its layers and branches together.

    Args:
        given: How many numbers are given, in a file for example.
    """

    def __init__(self, given: int = 0) -> None:
        self.left = MAX_ENTRIES + 4 * given

    def take(self, entries: int) -> None:
        """Raises ValueError if there is no room for so many weights and biases."""
        if entries > self.left:
            raise ValueError(
                f"would make {entries} weights more, beyond the {self.left} that so little may make"
            )
        self.left -= entries


@dataclass(frozen=True, eq=False)
class Chain:
    """What was made of the input so far: hidden layers, and an affine map that no ReLU follows yet.

    The map is the identity where it is None.

    Args:
        dim_in: Components of the input, where known.
        layers: The affine maps that a ReLU has followed.
        last: The one that none has followed yet.
        room: For what is made; shared by all chains of one network.
    """

    dim_in: int | None
    layers: tuple[Affine, ...] = ()
    last: Affine | None = None
    room: Room = field(default_factory=Room)

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
        self.room.take(2 * self.dim_out)
        dtype = self.layers[-1].bias.dtype if self.layers else np.float32
        return Affine(sparse.eye_array(self.dim_out, dtype=dtype), np.zeros(self.dim_out, dtype))

    def then(self, affine: Affine) -> Chain:
        """Followed by one more affine map."""
        if self.dim_out not in (None, affine.dim_in):
            raise ValueError(f"takes {affine.dim_in} inputs, but {self.dim_out} come in")
        if self.last is None:
            self.room.take(affine.weight.nnz + affine.dim_out)
            return replace(self, last=affine)
        self.room.take(affine.dim_out * (self.last.dim_in + 1))
        return replace(self, last=affine @ self.last)

    def shifted(self, bias: npt.NDArray) -> Chain:
        """With a constant added."""
        affine = self.affine
        self.room.take(affine.weight.nnz + affine.dim_out)
        return replace(self, last=Affine(affine.weight, affine.bias + bias))

    def joined(self, other: Chain) -> Chain:
        """The sum of both, as one network beside the other."""
        one, two = self.network(), other.network()
        between = (abs(one.hidden_layers - two.hidden_layers) + 2) * one.dim_out
        weights = sum(layer.weight.nnz for network in (one, two) for layer in network.layers)
        self.room.take(2 * weights + one.num_neurons + two.num_neurons + 4 * between)
        *layers, last = (one + two).layers
        return replace(self, dim_in=one.dim_in, layers=tuple(layers), last=last)

    def rectified(self) -> Chain:
        return replace(self, layers=(*self.layers, self.affine), last=None)

    def network(self) -> ReLUNetwork:
        return ReLUNetwork((*self.layers, self.affine))
