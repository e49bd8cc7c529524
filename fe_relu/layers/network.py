# SPDX-License-Identifier: MIT
"""Feed-forward ReLU networks as tuples of affine maps, and their algebra."""

from __future__ import annotations

import functools
import itertools
import numbers
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.basics.points import checked_points

#: Activations held at once while a batch is evaluated (entries of one layer).
CHUNK_ENTRIES = 1 << 22


def relu(z: npt.NDArray) -> npt.NDArray:
    """max(0, z), entry by entry."""
    return np.maximum(z, 0)


@dataclass(frozen=True, eq=False)
class Affine:
    """The affine map x ↦ weight @ x + bias.

    Args:
        weight: Sparse or dense, shape (dim_out, dim_in), real; kept as a read-only `csr_array`.
        bias: Shape (dim_out,), real; kept read-only.

    Raises:
        ValueError: The shapes do not fit, or an entry is NaN or infinite.
        TypeError: The entries are not real numbers.

    Examples:
        >>> import numpy as np, fe_relu
        >>> fe_relu.Affine([[1, 2], [0, 1]], [0.5, 0])(np.array([[1.0], [2.0]]))
        array([[5.5],
               [2. ]])
    """

    weight: sparse.csr_array
    bias: npt.NDArray

    def __post_init__(self) -> None:
        given = self.weight if sparse.issparse(self.weight) else np.asarray(self.weight)
        bias = np.array(self.bias)
        if given.ndim != 2 or bias.shape != (given.shape[0],):
            raise ValueError(
                f"an affine map needs a weight of shape (m, n) and a bias of shape (m,), "
                f"not {given.shape} and {bias.shape}"
            )
        dtype = np.result_type(given.dtype, bias.dtype, np.float32)
        if dtype.kind != "f":
            raise TypeError(f"an affine map needs real numbers, not {dtype}")
        weight = sparse.csr_array(given, dtype=dtype, copy=True)
        weight.sum_duplicates()
        bias = bias.astype(dtype)
        if not (np.isfinite(weight.data).all() and np.isfinite(bias).all()):
            raise ValueError("an affine map needs finite numbers; there are NaN or infinite ones")
        for array in (weight.data, weight.indices, weight.indptr, bias):
            array.flags.writeable = False
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)

    @property
    def dim_in(self) -> int:
        return self.weight.shape[1]

    @property
    def dim_out(self) -> int:
        return self.weight.shape[0]

    def __call__(self, x: npt.NDArray) -> npt.NDArray:
        """Values at the columns of x, shape (dim_out, n)."""
        return self.weight @ x + self.bias[:, None]

    def __matmul__(self, inner: Affine) -> Affine:
        """The one affine map x ↦ self(inner(x))."""
        return Affine(self.weight @ inner.weight, self.weight @ inner.bias + self.bias)


@dataclass(frozen=True, eq=False)
class ReLUNetwork:
    """Affine maps with a ReLU between each and the next: L layers, L − 1 of them hidden.

    Networks form an algebra: `f @ g` composes, `f + g`, `f - g` and `c * f` act on values,
    `concatenate` stacks outputs. Every result is again a `ReLUNetwork`, exact up to roundoff.

    Args:
        layers: The affine maps, input first.

    Raises:
        ValueError: There is no layer, or the output of one does not fit the next.

    Examples:
        >>> import fe_relu
        >>> size = fe_relu.ReLUNetwork(  # |x| = relu(x) + relu(−x)
        ...     (fe_relu.Affine([[1], [-1]], [0, 0]), fe_relu.Affine([[1, 1]], [0]))
        ... )
        >>> (size @ (2 * size))([[-3.0, 0.5]])
        array([6., 1.])
    """

    layers: tuple[Affine, ...]

    #: Makes `numpy_scalar * network` reach `__rmul__` instead of NumPy's own product.
    __array_ufunc__ = None

    def __post_init__(self) -> None:
        layers = tuple(self.layers)
        if not layers:
            raise ValueError("a network needs at least one affine layer")
        for k, (inner, outer) in enumerate(itertools.pairwise(layers)):
            if inner.dim_out != outer.dim_in:
                raise ValueError(
                    f"layer {k} has {inner.dim_out} outputs but layer {k + 1} "
                    f"takes {outer.dim_in} inputs"
                )
        object.__setattr__(self, "layers", layers)

    @property
    def dim_in(self) -> int:
        return self.layers[0].dim_in

    @property
    def dim_out(self) -> int:
        return self.layers[-1].dim_out

    @property
    def dtype(self) -> np.dtype:
        return np.result_type(*(layer.bias.dtype for layer in self.layers))

    @property
    def hidden_layers(self) -> int:
        """Number of ReLU layers; the affine output is not counted."""
        return len(self.layers) - 1

    @property
    def widths(self) -> tuple[int, ...]:
        """(dim_in, first hidden, second hidden, …, dim_out)."""
        return (self.dim_in, *(layer.dim_out for layer in self.layers))

    @property
    def num_neurons(self) -> int:
        """Number of ReLUs."""
        return sum(self.widths[1:-1])

    @property
    def num_nonzeros(self) -> int:
        """Number of non-zero weights; biases are not counted."""
        return sum(int(np.count_nonzero(layer.weight.data)) for layer in self.layers)

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

    def _forward(self, h: npt.NDArray) -> npt.NDArray:
        *hidden, output = self.layers
        for layer in hidden:
            h = relu(layer(h))
        return output(h)

    def _chunks(self, num_points: int) -> Iterator[slice]:
        step = max(1, CHUNK_ENTRIES // max(self.widths))
        return (slice(start, start + step) for start in range(0, num_points, step))

    def __matmul__(self, inner: ReLUNetwork) -> ReLUNetwork:
        """The composition x ↦ self(inner(x)); the two affine maps that meet become one."""
        if not isinstance(inner, ReLUNetwork):
            return NotImplemented
        if self.dim_in != inner.dim_out:
            raise ValueError(f"cannot feed {inner.dim_out} outputs into {self.dim_in} inputs")
        joint = self.layers[0] @ inner.layers[-1]
        return ReLUNetwork((*inner.layers[:-1], joint, *self.layers[1:]))

    def __add__(self, other: ReLUNetwork) -> ReLUNetwork:
        if not isinstance(other, ReLUNetwork):
            return NotImplemented
        if self.dim_out != other.dim_out:
            raise ValueError(f"cannot add {self.dim_out} outputs and {other.dim_out} outputs")
        eye = sparse.eye_array(self.dim_out, dtype=np.float32)
        total = Affine(sparse.hstack([eye, eye]), np.zeros(self.dim_out, np.float32))
        return ReLUNetwork((total,)) @ concatenate([self, other])

    def __mul__(self, factor: float) -> ReLUNetwork:
        if not isinstance(factor, numbers.Real):
            return NotImplemented
        *hidden, output = self.layers
        scaled = Affine(output.weight * float(factor), output.bias * float(factor))
        return ReLUNetwork((*hidden, scaled))

    __rmul__ = __mul__

    def __neg__(self) -> ReLUNetwork:
        return -1 * self

    def __sub__(self, other: ReLUNetwork) -> ReLUNetwork:
        return self + -other if isinstance(other, ReLUNetwork) else NotImplemented


def concatenate(networks: Iterable[ReLUNetwork]) -> ReLUNetwork:
    """One network whose outputs are those of all `networks`, stacked; they share the input.

    Shallower networks are padded with y = relu(y) − relu(−y), which is exact.

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
    depth = max(network.hidden_layers for network in networks)
    padded = [_padded(network, depth) for network in networks]
    first, *rest = zip(*(network.layers for network in padded), strict=True)
    stacked = [Affine(sparse.vstack([a.weight for a in first]), _stacked_bias(first))]
    for layer in rest:
        stacked.append(Affine(sparse.block_diag([a.weight for a in layer]), _stacked_bias(layer)))
    return ReLUNetwork(tuple(stacked))


def _stacked_bias(layer: Sequence[Affine]) -> npt.NDArray:
    return np.concatenate([affine.bias for affine in layer])


def _padded(network: ReLUNetwork, hidden_layers: int) -> ReLUNetwork:
    """The same function with more hidden layers."""
    missing = hidden_layers - network.hidden_layers
    eye = sparse.eye_array(network.dim_out, dtype=np.float32)
    split = Affine(sparse.vstack([eye, -eye]), np.zeros(2 * network.dim_out, np.float32))
    merge = Affine(sparse.hstack([eye, -eye]), np.zeros(network.dim_out, np.float32))
    identity = ReLUNetwork((split, merge))
    return functools.reduce(operator.matmul, [identity] * missing + [network])
