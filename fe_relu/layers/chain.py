# SPDX-License-Identifier: MIT
"""Networks read step by step, as others write them: affine maps, also in a row, ReLUs, poolings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.layers.affine import Affine
from fe_relu.layers.beside import Layer
from fe_relu.layers.network import PoolingNetwork, ReLUNetwork, network_of
from fe_relu.layers.pooling import Pooling

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
    """What was made of the input so far: layers, and an affine map that nothing follows yet.

    The map is the identity where it is None.

    Args:
        dim_in: Components of the input, where known.
        layers: The affine maps that a ReLU or a pooling has followed, and the poolings.
        last: The map that none has followed yet.
        room: For what is made; shared by all chains of one network.
    """

    dim_in: int | None
    layers: tuple[Layer, ...] = ()
    last: Affine | None = None
    room: Room = field(default_factory=Room)

    @property
    def dim_out(self) -> int | None:
        """Components of the value, where known."""
        last = self.last or (self.layers[-1] if self.layers else None)
        return self.dim_in if last is None else last.dim_out

    @property
    def affine(self) -> Affine:
        """The map that nothing has followed yet."""
        if self.last is not None:
            return self.last
        if self.dim_out is None:
            raise ValueError("comes before any weights, which would say how long the input is")
        self.room.take(2 * self.dim_out)
        affine = [layer for layer in self.layers if isinstance(layer, Affine)]
        dtype = affine[-1].bias.dtype if affine else np.float32
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
        weights = one.num_nonzeros + two.num_nonzeros
        self.room.take(2 * weights + sum(one.widths) + sum(two.widths) + 4 * between)
        *layers, last = (one + two).layers
        return replace(self, dim_in=one.dim_in, layers=tuple(layers), last=last)

    def rectified(self) -> Chain:
        return replace(self, layers=(*self.layers, self.affine), last=None)

    def pooled(self, pooling: Pooling) -> Chain:
        """Followed by products or maxima."""
        affine = self.affine
        if affine.dim_out != pooling.dim_in:
            raise ValueError(f"takes {pooling.dim_in} inputs, but {affine.dim_out} come in")
        self.room.take(2 * pooling.dim_out)
        return replace(self, layers=(*self.layers, affine, pooling), last=None)

    def network(self) -> ReLUNetwork | PoolingNetwork:
        return network_of((*self.layers, self.affine))
