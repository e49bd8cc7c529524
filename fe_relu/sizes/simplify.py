# SPDX-License-Identifier: MIT
"""Neurons that a network does not need: the same function with fewer.

Layer by layer, from the input on:

- a neuron that is always 0, that nothing reads, or whose value is constant is *dead*;
- neurons whose arguments are positive multiples of one another are *parallel*, R(c z) = c R(z);
- a neuron whose argument is never below 0 is *always active*, and affine. So is the difference of
  two that are opposite, R(−c z) = c R(z) − c z.

The affine parts of a layer, as each neuron of the next one reads them, are sums: as many *carriers*
R(sum + shift) − shift as there are readers take the place of any number. A layer of nothing but
affine neurons is no layer. What is always 0 or always above is read off intervals, with roundoff.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.basics.arguments import Box, checked_box
from fe_relu.basics.refusals import wrong_kind
from fe_relu.layers.affine import Affine
from fe_relu.layers.network import ReLUNetwork
from fe_relu.layers.products import without_idle

Floats = npt.NDArray[np.float64]

#: Arguments are multiples of one another if their terms agree to so many units of roundoff of the
#: largest, for inputs of the size that they have on the domain, or 1.
ROUNDOFF_UNITS = 16


@singledispatch
def simplify(network: Any, domain: Box | None = None) -> ReLUNetwork:
    """The same function with fewer neurons: none dead, none parallel, few that are always active.

    Unchanged to roundoff, everywhere or, if a domain is given, there; a smaller domain leaves fewer
    neurons. Useful before a network becomes a mixed-integer program, in which each neuron is a
    binary variable. See `fe_relu.sizes.simplify` for what is done; time in proportion to weights.

    Args:
        network: A `ReLUNetwork`; its layers stay of their dtype.
        domain: ((x0, x1), (y0, y1), …), or (x0, x1) if there is one input. Without it, only what
            holds on all of ℝⁿ is used.

    Raises:
        ValueError: The domain has another shape, is empty or is not finite.
        TypeError: The network is no `ReLUNetwork`, or the domain does not hold real numbers.

    Examples:
        >>> import fe_relu
        >>> twice = fe_relu.Affine([[1, 0], [3, 0], [0, 1], [1, 1]], [0, 0, 5, -9])
        >>> network = fe_relu.ReLUNetwork((twice, fe_relu.Affine([[1, 1, 1, 1]], [0])))
        >>> fe_relu.simplify(network).widths  # 1 R(x) + R(3 x) = 4 R(x)
        (2, 3, 1)
        >>> fe_relu.simplify(network, ((-1, 1), (-1, 1))).widths  # R(x + y − 9) is 0 there
        (2, 2, 1)
    """
    raise wrong_kind(network, "a ReLUNetwork", "explicit")


@simplify.register
def _(network: ReLUNetwork, domain: Box | None = None) -> ReLUNetwork:
    low: Floats = np.full(network.dim_in, -np.inf)
    high: Floats = np.full(network.dim_in, np.inf)
    if domain is not None:
        low, high = checked_box(domain, network.dim_in).T
    size = None
    while size != (size := (network.num_neurons, network.num_nonzeros)):
        network = without_idle(_pass(network, low, high))
    return network


def _pass(network: ReLUNetwork, low: Floats, high: Floats) -> ReLUNetwork:
    """Each layer once, from the input on."""
    done: list[Affine] = []
    layer = network.layers[0]
    size = np.where(np.isfinite(low), np.maximum(abs(low), abs(high)), 1.0)
    for reader in network.layers[1:]:
        layer, reader = _without_dead(layer, reader, low, high)
        layer, reader = _without_parallel(layer, reader, size)
        found = _with_carriers(layer, reader, low, high, size)
        if found.layer.dim_out == 0 or not found.bent.any():
            layer = found.reader @ found.layer
            continue
        done.append(found.layer)
        size = abs(found.layer.weight) @ size + abs(found.layer.bias)
        low, high = (np.maximum(0, end) for end in _ranges(found.layer, low, high))
        layer = found.reader
    return ReLUNetwork((*done, layer))


def _ranges(affine: Affine, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Bounds of each row for inputs between low and high, roundoff included.

    Sums of terms of one sign have that sign without roundoff as well.
    """
    weight, n = affine.weight.astype(float), affine.dim_out
    rows = np.repeat(np.arange(n), np.diff(weight.indptr))
    data, at = weight.data, weight.indices
    with np.errstate(invalid="ignore"):  # 0 · ∞, of weights that are stored and 0
        least = np.nan_to_num(np.where(data > 0, data * low[at], data * high[at]), neginf=-np.inf)
        most = np.nan_to_num(np.where(data > 0, data * high[at], data * low[at]), posinf=np.inf)

    def total(terms: Floats) -> Floats:
        return np.bincount(rows, terms, n) + affine.bias

    size = np.bincount(rows, np.maximum(abs(least), abs(most)), n) + abs(affine.bias)
    roundoff = (2 + np.diff(weight.indptr)) * float(np.finfo(affine.bias.dtype).eps) * size
    never_below = (np.bincount(rows, least < 0, n) == 0) & (affine.bias >= 0)
    never_above = (np.bincount(rows, most > 0, n) == 0) & (affine.bias <= 0)
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        down = np.where(
            never_below,
            total(least),
            np.nan_to_num(total(least) - roundoff, nan=-np.inf, neginf=-np.inf),
        )
        up = np.where(
            never_above,
            total(most),
            np.nan_to_num(total(most) + roundoff, nan=np.inf, posinf=np.inf),
        )
    return down, up


def _without_dead(
    layer: Affine, reader: Affine, low: Floats, high: Floats
) -> tuple[Affine, Affine]:
    """Without neurons that are constant or that nothing reads."""
    constant = np.diff(_clean(layer.weight).indptr) == 0
    value = np.where(constant, np.maximum(0, layer.bias), 0).astype(layer.bias.dtype)
    never = _ranges(layer, low, high)[1] <= 0
    read = np.bincount(_clean(reader.weight).indices, minlength=layer.dim_out) > 0
    kept = ~constant & ~never & read
    reader = Affine(reader.weight[:, kept], reader.bias + reader.weight @ value)
    return Affine(layer.weight[kept], layer.bias[kept]), reader


def _without_parallel(layer: Affine, reader: Affine, size: Floats) -> tuple[Affine, Affine]:
    """With one of each set of parallel neurons."""
    for shift in (0.0, 0.5):
        chosen, place, factor = _multiples(layer, size, shift)
        merge = sparse.csr_array(
            (factor.astype(layer.bias.dtype), (np.arange(layer.dim_out), place)),
            shape=(layer.dim_out, len(chosen)),
        )
        layer = Affine(layer.weight[chosen], layer.bias[chosen])
        reader = Affine(reader.weight @ merge, reader.bias)
    return layer, reader


def _multiples(
    layer: Affine, size: Floats, shift: float, sign: float = 1.0
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Rows of which others are multiples: their numbers, for each row its one's place, and factor.

    Rows are alike if their terms, of inputs of this size, over the largest are, rounded; numbers
    that are near each other are rounded apart with one shift at most of two that differ by a half.
    With the sign −1, only multiples by a negative number are found.
    """
    weight = _clean(layer.weight.astype(float) @ sparse.diags_array(size))
    bias = layer.bias.astype(float)
    info = np.finfo(layer.bias.dtype)
    scale = abs(weight).max(axis=1).toarray().ravel() if weight.shape[0] else np.zeros(0)
    scaled = _rounded(weight.data / np.repeat(scale, np.diff(weight.indptr)), info.nmant - 8, shift)
    offset = _rounded(bias / scale, info.nmant - 8, shift)
    known: dict[tuple[bytes, bytes, float], int] = {}
    chosen: list[int] = []
    place = np.empty(layer.dim_out, np.int64)
    factor: Floats = np.ones(layer.dim_out)
    tolerance = ROUNDOFF_UNITS * float(info.eps)
    for row in range(layer.dim_out):
        entries = slice(weight.indptr[row], weight.indptr[row + 1])
        at = weight.indices[entries].tobytes()
        wanted = (at, (sign * scaled[entries] + 0.0).tobytes(), float(sign * offset[row] + 0.0))
        other = known.get(wanted, -1)
        if other >= 0:
            first = slice(weight.indptr[chosen[other]], weight.indptr[chosen[other] + 1])
            ratio = sign * scale[row] / scale[chosen[other]]
            ones = np.append(weight.data[entries], bias[row])
            others = ratio * np.append(weight.data[first], bias[chosen[other]])
            sizes = np.append(np.full(len(ones) - 1, scale[row]), max(scale[row], abs(bias[row])))
            if (abs(ones - others) <= tolerance * sizes).all():
                place[row], factor[row] = other, ratio
                continue
        own = (at, (scaled[entries] + 0.0).tobytes(), float(offset[row] + 0.0))
        known.setdefault(own, len(chosen))
        place[row] = len(chosen)
        chosen.append(row)
    return np.array(chosen, np.int64), place, factor


class _Carried(NamedTuple):
    """A layer, what reads it, and which of its neurons are not carriers or always active."""

    layer: Affine
    reader: Affine
    bent: npt.NDArray[np.bool_]


def _with_carriers(
    layer: Affine, reader: Affine, low: Floats, high: Floats, size: Floats
) -> _Carried:
    """With carriers for affine parts, or as it is, whichever has fewer neurons."""
    bent = _ranges(layer, low, high)[0] < 0
    best = _Carried(layer, reader, bent)
    if not bent.any():
        return best
    for shift in (None, 0.0, 0.5):
        found = _carried(layer, reader, bent, low, high, size, shift)
        if found is not None and found.layer.dim_out < best.layer.dim_out:
            best = found
    return best


def _carried(
    layer: Affine,
    reader: Affine,
    bent: npt.NDArray[np.bool_],
    low: Floats,
    high: Floats,
    size: Floats,
    shift: float | None,
) -> _Carried | None:
    """With carriers for what is always active and, unless shift is None, for opposite neurons.

    None if a carrier has no lower bound.
    """
    affine, weight = ~bent, reader.weight
    if shift is not None:
        rows = np.flatnonzero(bent)
        some = Affine(layer.weight[rows], layer.bias[rows])
        chosen, place, factor = _multiples(some, size, shift, -1.0)
        opposite = np.flatnonzero(factor < 0)
        affine = affine.copy()
        affine[rows[opposite]] = True
        to = rows[chosen[place[opposite]]]
        moved = sparse.csr_array(
            (-factor[opposite].astype(layer.bias.dtype), (rows[opposite], to)),
            shape=(layer.dim_out, layer.dim_out),
        )
        eye = sparse.eye_array(layer.dim_out, dtype=layer.bias.dtype)
        weight = sparse.csr_array(weight @ (eye + moved))
    kept = np.flatnonzero(~affine)
    read = np.bincount(_clean(weight).indices, minlength=layer.dim_out)[kept] > 0
    kept = kept[read]
    sums = Affine(reader.weight[:, affine], np.zeros(reader.dim_out, reader.bias.dtype)) @ Affine(
        layer.weight[affine], layer.bias[affine]
    )
    needed = np.flatnonzero(np.diff(_clean(sums.weight).indptr))
    constant = np.where(np.diff(_clean(sums.weight).indptr) == 0, sums.bias, 0)
    carriers = Affine(sums.weight[needed], sums.bias[needed])
    least = _ranges(carriers, low, high)[0]
    if not np.isfinite(least).all():
        return None
    least = (least - abs(least) * 4 * np.finfo(layer.bias.dtype).eps).astype(layer.bias.dtype)
    back = np.array(constant, layer.bias.dtype)
    back[needed] += least
    place = sparse.csr_array(
        (np.ones(len(needed), layer.bias.dtype), (needed, np.arange(len(needed)))),
        shape=(reader.dim_out, len(needed)),
    )
    return _Carried(
        Affine(
            sparse.vstack([layer.weight[kept], carriers.weight]),
            np.concatenate([layer.bias[kept], carriers.bias - least]),
        ),
        Affine(sparse.hstack([weight[:, kept], place]), reader.bias + back),
        np.repeat([True, False], [len(kept), len(needed)]),
    )


def _clean(weight: sparse.csr_array) -> sparse.csr_array:
    """Without entries that are stored and 0."""
    weight = weight.copy()
    weight.eliminate_zeros()
    weight.sort_indices()
    return weight


def _rounded(numbers: Floats, bits: int, shift: float) -> Floats:
    """To so many bits after the point; numbers above 1, to so many after the first."""
    powers = np.maximum(0, np.frexp(np.asarray(numbers, float))[1])
    return np.sign(numbers) * np.floor(np.ldexp(abs(numbers), bits - powers) + shift) * 2.0**powers
