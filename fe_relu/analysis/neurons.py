# SPDX-License-Identifier: MIT
"""Second-layer neurons of any network, read as 1 − Σ relu(slope · x + offset) times a factor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.layers.network import ReLUNetwork
from fe_relu.meshes.grid.grid import ROUNDOFF_UNITS


class NotP1Error(ValueError):
    """The network is no P1 function on a structured mesh, written as its mesh lines and hats."""


@dataclass(frozen=True)
class Neurons:
    """n neurons factor · relu(1 − Σ relu(slopes · x + offsets)), t terms in each sum.

    Whatever positive factors the layers were scaled by is in `values`, the output weights of what
    is left.
    """

    slopes: npt.NDArray[np.float64]  # (n, t, 2)
    offsets: npt.NDArray[np.float64]  # (n, t)
    values: npt.NDArray[np.float64]  # (k, n)
    rows: npt.NDArray[np.int64]  # (n,), where they are in the second layer
    dtype: np.dtype  # of the weights, float32 or float64

    @property
    def noise(self) -> float:
        """Relative roundoff that the weights are trusted to."""
        return ROUNDOFF_UNITS * float(np.finfo(self.dtype).eps)

    @staticmethod
    def of(network: ReLUNetwork) -> Neurons:
        """Reads a network with two hidden layers; neurons that are always 0 are left out.

        Raises:
            NotP1Error: A neuron that matters has another form.
        """
        dtype = np.dtype(np.float32 if network.dtype == np.float32 else np.float64)
        first, second, output = network.layers
        normals, offsets = first.weight.toarray().astype(float), first.bias.astype(float)
        weight, bias = second.weight.astype(float), second.bias.astype(float)
        constant = ~normals.any(axis=1)
        bias = bias + weight @ np.where(constant, np.maximum(offsets, 0), 0)
        read = np.flatnonzero(~constant & (abs(weight).sum(axis=0) > 0))
        lines, factors = _distinct(normals[read], offsets[read], dtype)
        shape = (len(read), len(read))
        merge = sparse.csr_array((factors, (np.arange(len(read)), lines)), shape=shape)
        weight = sparse.csr_array(weight[:, read] @ merge)
        weight.eliminate_zeros()
        rows = _hat_like(weight, bias, output.weight)
        weight, bias = weight[rows], bias[rows]
        terms = _number_of_terms(weight, rows)
        lines = weight.indices.reshape(-1, terms)
        factor = -weight.data.reshape(-1, terms) / bias[:, None]
        slopes = factor[:, :, None] * normals[read][lines]
        values = output.weight[:, rows].toarray().astype(float) * bias
        _require_range(slopes, rows)
        return Neurons(slopes, factor * offsets[read][lines], values, rows, dtype)


def _require_range(slopes: npt.NDArray, rows: npt.NDArray[np.int64]) -> None:
    """Slopes whose products are numbers, and not 0."""
    steep = np.abs(slopes).max(axis=2)
    bad = np.flatnonzero(~((steep > 1e-100) & (steep < 1e100)).all(axis=1))
    if bad.size:
        raise NotP1Error(
            f"{bad.size} of {len(rows)} second-layer neurons bend from 1 with slopes out of range, "
            f"the first is neuron {rows[bad[0]]}: {steep[bad[0]].tolist()}"
        )


def _distinct(
    normals: npt.NDArray, offsets: npt.NDArray, dtype: np.dtype
) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
    """For each relu(normal · x + offset) one that is it but for a positive factor; that factor."""
    noise = ROUNDOFF_UNITS * float(np.finfo(dtype).eps)
    lengths = np.hypot(*normals.T)
    angles, places = np.arctan2(normals[:, 1], normals[:, 0]), offsets / lengths
    angles = np.where(angles > np.pi - noise, angles - 2 * np.pi, angles)
    directions = _clusters(angles, np.zeros_like(angles), noise)
    distinct = _clusters(places, directions, noise * np.abs(places).max(initial=0))
    _, first, group = np.unique(distinct, return_index=True, return_inverse=True)
    chosen = first[group.ravel()]
    return chosen, lengths / lengths[chosen]


def _clusters(numbers: npt.NDArray, groups: npt.NDArray, gap: float) -> npt.NDArray[np.int64]:
    """A label for each number; the same for those of one group with no wider gaps between."""
    order = np.lexsort((numbers, groups))
    apart = (np.diff(numbers[order]) > gap) | (np.diff(groups[order]) != 0)
    labels = np.empty(len(numbers), np.int64)
    labels[order] = np.cumsum(np.concatenate([[0], apart]))[: len(numbers)]
    return labels


def _hat_like(
    weight: sparse.csr_array, bias: npt.NDArray, output: sparse.csr_array
) -> npt.NDArray[np.int64]:
    """The neurons with positive bias and negative weights; others must be dead or not be read."""
    positive = (weight > 0).sum(axis=1)
    read = abs(output).sum(axis=0) > 0
    good = (bias > 0) & (positive == 0) & (np.diff(weight.indptr) > 0)
    dead = (bias <= 0) & (positive == 0)
    bad = np.flatnonzero(~good & ~dead & read)
    if bad.size:
        row = bad[0]
        raise NotP1Error(
            f"{bad.size} of {len(bias)} second-layer neurons are not 1 − Σ relu(…) up to a "
            f"positive factor, the first is neuron {row}: its bias is {bias[row]:g} and "
            f"{positive[row]} of its {np.diff(weight.indptr)[row]} weights are positive"
        )
    if not good.any():
        raise NotP1Error("0 second-layer neurons are hats; the network shows no mesh")
    return np.flatnonzero(good)


def _number_of_terms(weight: sparse.csr_array, rows: npt.NDArray[np.int64]) -> int:
    """The number of terms, if it is the same in all neurons and one that hats have."""
    counts = np.diff(weight.indptr)
    usual = int(np.bincount(counts).argmax())
    usual = usual if usual in (3, 4) else 3
    bad = np.flatnonzero(counts != usual)
    if bad.size:
        raise NotP1Error(
            f"{bad.size} of {len(rows)} second-layer neurons are no hats, the first is neuron "
            f"{rows[bad[0]]}: it reads {counts[bad[0]]} lines; hats read 3 (right, left), or all "
            "of them 4 (other diagonals)"
        )
    return usual
