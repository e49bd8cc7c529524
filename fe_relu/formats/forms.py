# SPDX-License-Identifier: MIT
"""Which forms a network can leave in: explicit layers ("relu"), or lookups ("active").

Layers are dense, so that their size is limited. An active form is a sum of pieces, each of which
looks up the few numbers that count at a point.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fe_relu.basics.refusals import wrong_kind
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.affine import Affine
from fe_relu.layers.network import LayeredNetwork, PoolingNetwork, ReLUNetwork, network_of
from fe_relu.layers.pooling import Pooling
from fe_relu.meshes.active import Piece
from fe_relu.meshes.grid.grid import Grid
from fe_relu.networks.nodal import NodalNetwork
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network
from fe_relu.networks.q1 import Q1Network

Form = Literal["relu", "active"]
FORMS = ("relu", "active")

DType = Literal["float32", "float64"]

#: What the layers of form="relu" may take, because readers want them dense: 128 x 128 cells of any
#: diagonal fit in float64.
DENSE_BYTES = 1 << 29


def check_form(network: Any, form: str, *, remedy: str = 'form="active"') -> None:
    """Raises if a network has no such form, as far as that is seen before anything is gathered.

    Raises:
        ValueError: The form is another, or its layers are too large.
        TypeError: This is no network of layers.
    """
    if form not in FORMS:
        raise ValueError(f'form must be "relu" or "active", not {form!r}')
    least = fewest_weights(network)
    if form == "relu":
        _refuse_large(least * network.dtype.itemsize, remedy)


@singledispatch
def fewest_weights(network: Any) -> int:
    """The dense layers of a network have at least so many; told without making them."""
    raise wrong_kind(network, "a network of layers", "to_p1", "compress")


@fewest_weights.register(LayeredNetwork)
@fewest_weights.register(NodalNetwork)
@fewest_weights.register(Surrogate)
def _(network: Any) -> int:
    return 0


@fewest_weights.register
def _(network: P1Network) -> int:
    """Hats times lines."""
    return fewest_lines(network.mesh) * network.mesh.num_vertices


@singledispatch
def fewest_lines(mesh: Any) -> int:
    """The first layer of a P1 function on a mesh has at least so many neurons."""
    return 0


@fewest_lines.register
def _(mesh: Grid) -> int:
    """Every diagonal has at least two for each row and each column of cells."""
    return 2 * sum(mesh.shape)


@singledispatch
def layers_of(network: Any) -> ReLUNetwork | PoolingNetwork:
    """The explicit layers of a network of this process alone."""
    return network.explicit()


@layers_of.register
def _(network: LayeredNetwork) -> Any:
    return network


def dense_layers(network: Any, *, remedy: str = 'form="active"') -> ReLUNetwork | PoolingNetwork:
    """The explicit layers, if they are not too large as dense arrays.

    Raises:
        ValueError: They are.
    """
    layers = layers_of(network)
    entries = sum(layer.dim_out * (layer.dim_in * layer.is_affine + 1) for layer in layers.layers)
    _refuse_large(entries * layers.dtype.itemsize, remedy)
    return layers


def _refuse_large(size: int, remedy: str) -> None:
    if size > DENSE_BYTES:
        raise ValueError(
            f'form="relu" has dense layers, here of {size / 2**20:,.0f} MiB, and at most '
            f"{DENSE_BYTES >> 20} MiB are written; {remedy} has no such limit, and a surrogate or "
            "a coarser mesh has fewer neurons"
        )


@singledispatch
def pieces(network: Any) -> tuple[Piece, ...]:
    """The pieces whose sum a network is, everywhere. Of this process alone.

    Raises:
        ValueError: The network does not know itself as such a sum.
    """
    raise ValueError(
        f'a {type(network).__name__} has no form="active", which needs the mesh that its neurons '
        'belong to; form="relu" writes its layers as they are'
    )


@pieces.register(P1Network)
@pieces.register(Q1Network)
def _(network: Any) -> tuple[Piece, ...]:
    return (network.mesh.piece(network.values),)


@pieces.register
def _(network: P2Network) -> tuple[Piece, ...]:
    return (network.mesh.quadratic_piece(network.values, network.levels),)


@pieces.register
def _(network: Surrogate) -> tuple[Piece, ...]:
    """A P1 function on the mesh of each level that has a kept vertex, as its hats go on outside."""
    scalar = network.coefficients.ndim == 1
    return tuple(
        window.grid.piece(values[0] if scalar else values) for window, values in network.functions()
    )


def checked_dtype(dtype: Any) -> DType | None:
    """The word for a dtype, or None.

    Raises:
        ValueError: It is another word.
    """
    if dtype not in (None, "float32", "float64"):
        raise ValueError(f'dtype must be "float32" or "float64", not {dtype!r}')
    return dtype


@singledispatch
def in_dtype(network: Any, dtype: DType | None) -> Any:
    """The network with its numbers rounded to a dtype; None leaves it as it is. Local.

    Raises:
        ValueError: Numbers are too large for it.
    """
    return network


@in_dtype.register
def _(network: NodalNetwork, dtype: DType | None) -> NodalNetwork:
    return network if dtype is None else replace(network, values=_rounded(network.values, dtype))


@in_dtype.register
def _(network: Surrogate, dtype: DType | None) -> Surrogate:
    if dtype is None:
        return network
    return replace(network, coefficients=_rounded(network.coefficients, dtype))


@in_dtype.register
def _(network: LayeredNetwork, dtype: DType | None) -> LayeredNetwork:
    if dtype is None:
        return network
    return network_of(tuple(in_dtype(layer, dtype) for layer in network.layers))


@in_dtype.register
def _(layer: Affine, dtype: DType) -> Affine:
    return Affine(layer.weight.astype(dtype), _rounded(layer.bias, dtype))


@in_dtype.register
def _(layer: Pooling, dtype: DType) -> Pooling:
    return layer


def _rounded(numbers: npt.NDArray, dtype: DType) -> npt.NDArray:
    with np.errstate(over="ignore"):
        rounded = numbers.astype(dtype)
    if not np.isfinite(rounded).all():
        raise ValueError(f"{np.abs(numbers).max():.3g} is more than {dtype} can hold")
    return rounded
