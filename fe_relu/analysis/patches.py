# SPDX-License-Identifier: MIT
"""How far the neurons of a network are from affine inside cells, tracked layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.analysis.piecewise import Triangles, samples_of
from fe_relu.layers.affine import Affine
from fe_relu.layers.network import relu
from fe_relu.meshes.grid.midpoints import EDGES

SAMPLES = samples_of(3)


@dataclass(frozen=True)
class Patch:
    """One layer's values over a patch of m cells, s samples each (corners first).

    In cell c, the value of neuron i at any point is its interpolant from the corners plus a
    deviation in [low[i, c], high[i, c]]; computed values are off by at most `slack`.
    """

    values: npt.NDArray  # (width, s, m)
    slack: npt.NDArray  # (width, s, m)
    low: npt.NDArray  # (width, m), ≤ 0
    high: npt.NDArray  # (width, m), ≥ 0
    alive: npt.NDArray | slice  # neurons of the layer that these are; the others are 0 here
    eps: float  # of the coarsest number format that the network may be evaluated in

    @staticmethod
    def of(triangles: Triangles, cells: npt.NDArray, eps: float) -> Patch:
        """The coordinates themselves: affine, so without deviation."""
        corners = triangles.points[:, triangles.corners[:, cells]].astype(float)
        values = np.einsum("sv,dvm->dsm", SAMPLES, corners)
        none = np.zeros((2, cells.size))
        return Patch(values, np.zeros_like(values), none, none, slice(None), eps)

    def through(self, layer: Affine, rows: npt.NDArray | slice = slice(None)) -> Patch:
        """The affine images that the chosen rows of a layer give."""
        weight, bias = layer.weight[rows][:, self.alive].astype(float), layer.bias[rows]
        size, positive, negative = abs(weight), weight.maximum(0), weight.minimum(0)

        def image(matrix: sparse.csr_array, values: npt.NDArray) -> npt.NDArray:
            columns = matrix @ values.reshape(len(values), math.prod(values.shape[1:]))
            return columns.reshape(len(columns), *values.shape[1:])

        units = (2 + np.diff(weight.indptr)) * self.eps
        magnitude = image(size, np.abs(self.values)) + np.abs(bias)[:, None, None]
        return Patch(
            image(weight, self.values) + bias[:, None, None],
            image(size, self.slack) + units[:, None, None] * magnitude,
            image(positive, self.low) + image(negative, self.high),
            image(positive, self.high) + image(negative, self.low),
            rows,
            self.eps,
        )

    def relu_of(self, layer: Affine) -> Patch:
        """The activations of a hidden layer; neurons that are 0 on the whole patch are left out."""
        z = self.through(layer, np.flatnonzero(self._upper(layer) > 0))
        above = (z.values + z.slack)[:, :3].max(axis=1)
        below = (z.values - z.slack)[:, :3].min(axis=1)
        p, q = relu(above), relu(-below)
        bend = np.divide(p * q, p + q, out=np.zeros_like(p), where=(p > 0) & (q > 0))
        keeps = below + z.low >= 0
        dead = above + z.high <= 0
        return replace(
            z,
            values=relu(z.values),
            slack=np.where(z.values + z.slack > 0, z.slack, 0),
            low=np.where(dead, 0, np.where(keeps, z.low, z.low - bend)),
            high=np.where(dead, 0, z.high),
        )

    def _upper(self, layer: Affine) -> npt.NDArray:
        """No neuron of the layer has a larger pre-activation on the patch."""
        largest = (self.values + self.slack)[:, :3].max(axis=(1, 2)) + self.high.max(axis=1)
        smallest = (self.values - self.slack)[:, :3].min(axis=(1, 2)) + self.low.min(axis=1)
        weight = layer.weight[:, self.alive].astype(float)
        upper = weight.maximum(0) @ largest + weight.minimum(0) @ smallest + layer.bias
        size = abs(weight) @ np.maximum(np.abs(largest), np.abs(smallest)) + np.abs(layer.bias)
        return upper + (2 + np.diff(weight.indptr)) * self.eps * size

    def against(
        self, triangles: Triangles, cells: npt.NDArray
    ) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
        """The difference from the function on these cells: lower and upper bounds, and roundoff."""
        nodal = triangles.values[:, triangles.corners[:, cells]].astype(float)
        function = np.einsum("sv,kvm->ksm", SAMPLES, nodal)
        if triangles.surpluses is not None:
            products = np.array([SAMPLES[:, a] * SAMPLES[:, b] for a, b in EDGES])
            surpluses = triangles.surpluses[:, :, cells]
            function += 4 * np.einsum("vs,kvm->ksm", products, surpluses)
        eps = np.finfo(triangles.values.dtype).eps
        units = 4 * eps * (1 + _reach_over_height(triangles.points[:, triangles.corners[:, cells]]))
        roundoff = 2 * self.slack + (units * np.abs(nodal).max(axis=1))[:, None]
        apart = np.abs(self.values - function)
        at_corners = (apart + roundoff)[:, :3].max(axis=1)
        deviation = np.maximum(-self.low, self.high)
        upper = deviation + at_corners + triangles.bumps(cells)
        return apart - roundoff, upper, roundoff.max(axis=1)


def _reach_over_height(corners: npt.NDArray) -> npt.NDArray:
    """Distance from the coordinate origin over smallest height, for triangles (2, 3, m).

    So much does a function amplify the roundoff of coordinates.
    """
    edges = corners - np.roll(corners, 1, axis=1)
    area = np.abs(edges[0, 0] * edges[1, 1] - edges[1, 0] * edges[0, 1])
    height = area / np.linalg.norm(edges, axis=0).max(axis=0)
    reach = np.abs(corners).max(axis=(0, 1))
    return np.divide(reach, height, out=np.zeros_like(reach), where=height > 0)
