# SPDX-License-Identifier: MIT
"""Feed-forward networks as tuples of layers, and their algebra."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.basics.points import checked_points
from fe_relu.layers.affine import Affine
from fe_relu.layers.beside import Layer, beside

#: Activations held at once while a batch is evaluated (entries of one layer).
CHUNK_ENTRIES = 1 << 22


def relu(z: npt.NDArray) -> npt.NDArray:
    """max(0, z), entry by entry."""
    return np.maximum(z, 0)


@dataclass(frozen=True, eq=False)
class LayeredNetwork:
    """Affine maps, with a ReLU or a pooling between each and the next.

    Args:
        layers: The affine maps and poolings, input first. Affine maps in a row have a ReLU between
            them; where there is a pooling, there is none.

    Raises:
        ValueError: There is no layer, the output of one does not fit the next, or a pooling does
            not lie between two affine maps.
    """

    layers: tuple[Layer, ...]

    #: Makes `numpy_scalar * network` reach `__rmul__` instead of NumPy's own product.
    __array_ufunc__ = None

    def __post_init__(self) -> None:
        layers = tuple(self.layers)
        if not layers:
            raise ValueError("a network needs at least one affine layer")
        affine = [True, *(layer.is_affine for layer in layers), True]
        if not (affine[1] and affine[-2]) or (False, False) in itertools.pairwise(affine):
            raise ValueError("a pooling must lie between two affine maps")
        for k, (inner, outer) in enumerate(itertools.pairwise(layers)):
            if inner.dim_out != outer.dim_in:
                raise ValueError(
                    f"layer {k} has {inner.dim_out} outputs but layer {k + 1} "
                    f"takes {outer.dim_in} inputs"
                )
        object.__setattr__(self, "layers", layers)

    @property
    def first(self) -> Affine:
        """The first layer, which is affine."""
        return _affine(self.layers[0])

    @property
    def last(self) -> Affine:
        """The last layer, which is affine: the output."""
        return _affine(self.layers[-1])

    @property
    def dim_in(self) -> int:
        return self.layers[0].dim_in

    @property
    def dim_out(self) -> int:
        return self.layers[-1].dim_out

    @property
    def dtype(self) -> np.dtype:
        affine = (layer for layer in self.layers if isinstance(layer, Affine))
        return np.result_type(*(layer.bias.dtype for layer in affine))

    @property
    def widths(self) -> tuple[int, ...]:
        """(dim_in, outputs of the first layer, of the second, …, dim_out)."""
        return (self.dim_in, *(layer.dim_out for layer in self.layers))

    @property
    def rectified(self) -> tuple[bool, ...]:
        """Whether a ReLU follows, layer by layer."""
        pairs = itertools.pairwise(self.layers)
        return (*(inner.is_affine and outer.is_affine for inner, outer in pairs), False)

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """Number of ReLUs, layer by layer of those that have some."""
        layers = zip(self.layers, self.rectified, strict=True)
        return tuple(layer.dim_out for layer, rectified in layers if rectified)

    @property
    def hidden_layers(self) -> int:
        """Number of ReLU layers and poolings; the affine output is not counted."""
        return sum(self.rectified) + sum(not layer.is_affine for layer in self.layers)

    @property
    def num_neurons(self) -> int:
        """Number of ReLUs."""
        return sum(self.hidden_widths)

    @property
    def num_nonzeros(self) -> int:
        """Number of non-zero weights; biases are not counted."""
        return sum(layer.num_nonzeros for layer in self.layers)

    def __call__(self, x: npt.ArrayLike) -> npt.NDArray:
        """Values of the network at the columns of x.

        Args:
            x: Shape (dim_in, n); (3, n) is taken too when dim_in < 3, as
                `dolfinx.fem.Function.interpolate` passes it; further rows are constant then.

        Returns:
            Shape (n,) if dim_out is 1, else (dim_out, n).

        Raises:
            ValueError: x has another shape, a further row that varies, or a coordinate that is NaN
                or infinite.
            TypeError: x does not hold real numbers, or is masked.
        """
        x = checked_points(x, self.dim_in)
        dtype = np.result_type(self.dtype, x.dtype)
        values = np.empty((self.dim_out, x.shape[1]), dtype)
        for columns in self._chunks(x.shape[1]):
            values[:, columns] = self._forward(x[:, columns].astype(dtype))
        return values[0] if self.dim_out == 1 else values

    def activations(self, h: npt.NDArray) -> Iterator[npt.NDArray]:
        """What comes out of each ReLU and each pooling, one after the other, at the columns of h.

        Args:
            h: Points, shape (dim_in, n).
        """
        for layer, rectified in zip(self.layers, self.rectified, strict=True):
            h = relu(layer(h)) if rectified else layer(h)
            if rectified or not layer.is_affine:
                yield h

    def _forward(self, h: npt.NDArray) -> npt.NDArray:
        hidden = h
        for after in self.activations(h):
            hidden = after
        return self.last(hidden)

    def _chunks(self, num_points: int) -> Iterator[slice]:
        step = max(1, CHUNK_ENTRIES // max(self.widths))
        return (slice(start, start + step) for start in range(0, num_points, step))

    def __matmul__(self, inner: LayeredNetwork) -> Any:
        """The composition x ↦ self(inner(x)); the two affine maps that meet become one."""
        if not isinstance(inner, LayeredNetwork):
            return NotImplemented
        if self.dim_in != inner.dim_out:
            raise ValueError(f"cannot feed {inner.dim_out} outputs into {self.dim_in} inputs")
        joint = self.first @ inner.last
        return network_of((*inner.layers[:-1], joint, *self.layers[1:]))

    def __add__(self, other: LayeredNetwork) -> Any:
        if not isinstance(other, LayeredNetwork):
            return NotImplemented
        if self.dim_out != other.dim_out:
            raise ValueError(f"cannot add {self.dim_out} outputs and {other.dim_out} outputs")
        eye = sparse.eye_array(self.dim_out, dtype=np.float32)
        total = Affine(sparse.hstack([eye, eye]), np.zeros(self.dim_out, np.float32))
        return ReLUNetwork((total,)) @ concatenate([self, other])

    def __mul__(self, factor: float) -> Any:
        if not isinstance(factor, numbers.Real):
            return NotImplemented
        scaled = Affine(self.last.weight * float(factor), self.last.bias * float(factor))
        return network_of((*self.layers[:-1], scaled))

    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return -1 * self

    def __sub__(self, other: LayeredNetwork) -> Any:
        return self + -other if isinstance(other, LayeredNetwork) else NotImplemented


@dataclass(frozen=True, eq=False)
class ReLUNetwork(LayeredNetwork):
    """Affine maps with a ReLU between each and the next: L layers, L − 1 of them hidden.

    Networks form an algebra: `f @ g` composes, `f + g`, `f - g` and `c * f` act on values,
    `concatenate` stacks outputs. Every result is again a `ReLUNetwork`, exact up to roundoff.

    Args:
        layers: The affine maps, input first.

    Raises:
        ValueError: There is no layer, or the output of one does not fit the next.
        TypeError: There is a pooling.

    Examples:
        >>> import fe_relu
        >>> size = fe_relu.ReLUNetwork(  # |x| = relu(x) + relu(−x)
        ...     (fe_relu.Affine([[1], [-1]], [0, 0]), fe_relu.Affine([[1, 1]], [0]))
        ... )
        >>> (size @ (2 * size))([[-3.0, 0.5]])
        array([6., 1.])
    """

    layers: tuple[Affine, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(layer.is_affine for layer in self.layers):
            raise TypeError("a ReLUNetwork has affine layers only; a PoolingNetwork has poolings")


@dataclass(frozen=True, eq=False)
class PoolingNetwork(LayeredNetwork):
    """A ReLU network some of whose layers are poolings: products, or maxima, of two numbers.

    Affine maps in a row have a ReLU between them; where a `Pooling` lies between, there is none.
    The algebra is that of `ReLUNetwork`, and takes those too. The Q1 function on a grid is such a
    network, `Q1Network.explicit()`, and so is a P2 function, `P2Network.pooling()`: both are sums
    of products of two hats (Kratsios, Zamanlooy 2022, arXiv 2204.11231).

    Args:
        layers: The affine maps and poolings, input first.

    Raises:
        ValueError: There is no layer, the output of one does not fit the next, or a pooling does
            not lie between two affine maps.

    Examples:
        >>> import numpy as np, fe_relu
        >>> both = fe_relu.Affine(np.eye(2), np.zeros(2))
        >>> total = fe_relu.Affine([[1]], [0])
        >>> product = fe_relu.PoolingNetwork((both, fe_relu.Pooling([[0], [1]], 2), total))
        >>> (product + 2 * product)([[3.0], [-0.5]])
        array([-4.5])
    """

    @property
    def num_products(self) -> int:
        """Number of pairs that are multiplied, or of which the larger is taken."""
        return sum(layer.dim_out for layer in self.layers if not layer.is_affine)


def network_of(layers: tuple[Layer, ...]) -> ReLUNetwork | PoolingNetwork:
    """The network with these layers."""
    if all(isinstance(layer, Affine) for layer in layers):
        return ReLUNetwork(layers)  # type: ignore[arg-type]
    return PoolingNetwork(layers)


def _affine(layer: Layer) -> Affine:
    """The first or the last layer of a network, which are affine."""
    assert isinstance(layer, Affine)
    return layer


def concatenate(networks: Iterable[LayeredNetwork]) -> Any:
    """One network whose outputs are those of all `networks`, stacked; they share the input.

    Where networks have no layer of a kind that others have, numbers pass by, which is exact: y =
    relu(y) − relu(−y), y · 1, or max(y, y).

    Returns:
        A `ReLUNetwork`, or a `PoolingNetwork` if one of the networks is.

    Raises:
        ValueError: There is no network, or they take different numbers of inputs.

    Examples:
        >>> import fe_relu
        >>> line = fe_relu.ReLUNetwork((fe_relu.Affine([[2]], [1]),))
        >>> fe_relu.concatenate([line, -line])([[1.0]])
        array([[ 3.],
               [-3.]])
    """
    networks = tuple(networks)
    if not networks:
        raise ValueError("concatenate needs at least one network")
    if len({network.dim_in for network in networks}) > 1:
        raise ValueError(
            f"networks to concatenate take {[network.dim_in for network in networks]} inputs; "
            "they must take the same"
        )
    return network_of(beside([network.layers for network in networks]))
