# SPDX-License-Identifier: MIT
"""How far a network is from a P1 function: proven bounds of sup |network − function|."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.network import Affine, ReLUNetwork, relu
from fe_relu.overlay import overlay_points
from fe_relu.p1 import P1Network
from fe_relu.parallel import largest
from fe_relu.surrogate import Surrogate

if TYPE_CHECKING:
    from mpi4py import MPI

#: `Certificate.exact` means that upper is within this factor of the running bound of roundoff.
EXACT_FACTOR = 32

#: Cells looked at together; few and near each other, so that most neurons are dead on all of them.
CELLS_AT_ONCE = 256

#: Points looked at in each cell, barycentric: the corners, the middles of the edges, the centroid.
SAMPLES = np.array(
    [[6, 0, 0], [0, 6, 0], [0, 0, 6], [3, 3, 0], [0, 3, 3], [3, 0, 3], [2, 2, 2]]
) / 6  # fmt: skip


@dataclass(frozen=True)
class Certificate:
    """Bounds of sup |network − function| over the function's mesh and all components.

    Attributes:
        exact: The difference is 0 up to roundoff: in each cell and component, the upper bound is at
            most `EXACT_FACTOR` times the accumulated roundoff of evaluation there, and lower is 0.
        lower: Some point has a difference of at least this.
        upper: No point has a larger difference, roundoff of both evaluations included. Infinite
            where nothing can be proven.
    """

    exact: bool
    lower: float
    upper: float


@dataclass(frozen=True)
class Triangles:
    """A P1 function as plain arrays: what certificates are about.

    Args:
        points: Coordinates of the nodes, shape (2, n).
        corners: Nodes of each cell, shape (3, m).
        values: Nodal values, shape (k, n).
    """

    points: npt.NDArray
    corners: npt.NDArray
    values: npt.NDArray

    def at(self, cells: npt.NDArray, weights: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
        """Coordinates (2, n) and function values (k, n) at barycentric weights (3, n) of cells."""
        corners = self.corners[:, cells]
        return (
            np.einsum("cin,in->cn", self.points[:, corners], weights),
            np.einsum("cin,in->cn", self.values[:, corners], weights),
        )


@dataclass(frozen=True)
class Bounds:
    """What is found on some cells: bounds of the difference, and whether it is roundoff only."""

    lower: float = 0.0
    upper: float = 0.0
    exact: bool = True

    @staticmethod
    def of(lower: npt.ArrayLike, upper: npt.ArrayLike, roundoff: npt.ArrayLike) -> Bounds:
        """From bounds, and the roundoff that they include, of each cell and component."""
        lowest = max(0.0, float(np.max(lower, initial=0)))
        small = np.asarray(upper) <= EXACT_FACTOR * np.asarray(roundoff)
        return Bounds(lowest, float(np.max(upper, initial=0)), lowest == 0 and bool(small.all()))

    def join(self, other: Bounds) -> Bounds:
        return Bounds(
            max(self.lower, other.lower),
            max(self.upper, other.upper),
            self.exact and other.exact,
        )

    def certificate(self) -> Certificate:
        return Certificate(self.exact, self.lower, self.upper)


@singledispatch
def difference(network: Callable, triangles: Triangles) -> Bounds:
    """Bounds of sup |network − function| over the triangles; for a plain callable, from samples."""
    every = np.arange(triangles.corners.shape[1])
    cell, sample = (a.ravel() for a in np.meshgrid(every, np.arange(len(SAMPLES))))
    x, values = triangles.at(cell, SAMPLES[sample].T)
    # One call: the network may be collective, and ranks have different numbers of cells.
    return Bounds(float(np.abs(network(x) - values).max(initial=0)), np.inf, False)


@difference.register
def _(network: P1Network, triangles: Triangles) -> Bounds:
    return _overlaid(network, triangles, 1, network.size)


@difference.register
def _(network: Surrogate, triangles: Triangles) -> Bounds:
    return _overlaid(network, triangles, 1 << network.levels, network.ceiling)


def _overlaid(
    network: P1Network | Surrogate, triangles: Triangles, ring: int, size: float
) -> Bounds:
    """Both functions are P1, so the difference is P1 on the overlay of both meshes.

    Its sup is attained at a vertex of the overlay, and all of those are looked at.
    """
    most = 0.0
    # The network may be collective, so that every rank has to call it equally often.
    for cells in _padded(_tiles(triangles, 64 * CELLS_AT_ONCE), network.comm):
        corners = triangles.points[:, triangles.corners[:, cells]]
        cell, weights = overlay_points(network.grid, corners, ring)
        x, values = triangles.at(cells[cell], weights)
        most = max(most, float(np.abs(network(x) - values).max(initial=0)))
    roundoff = _p1_roundoff(network, triangles, size)
    return Bounds.of(most - roundoff, most + roundoff, roundoff)


def copied_bounds(
    network: P1Network, triangles: Triangles, vertices: npt.NDArray[np.int64], nodal: npt.NDArray
) -> Bounds:
    """The bounds where the function has the network's nodal values, (k, n), those of `vertices`.

    Nodes may lie a little off the grid's vertices. Then the function at a point is the network at
    one shifted likewise, and the network's slope is at most 4 max|u| per lattice step.
    """
    rounding = np.abs(triangles.values - nodal).max(initial=0)
    places = network.grid.lattice_positions(vertices)
    shifts = np.abs(network.grid.to_lattice(triangles.points) - places).sum(axis=0)
    shifted = 4 * shifts.max(initial=0) * network.size
    roundoff = _p1_roundoff(network, triangles, network.size)
    return Bounds.of(rounding - shifted - roundoff, rounding + shifted + roundoff, roundoff)


def _p1_roundoff(network: P1Network | Surrogate, triangles: Triangles, size: float) -> float:
    """Roundoff of evaluating both the network and the function on the triangles."""
    dtype = _coarsest(network.dtype, triangles.points.dtype, triangles.values.dtype)
    resolution = network.grid.resolution(dtype, triangles.points)
    return 2 * resolution * size


def _coarsest(*dtypes: np.dtype) -> np.dtype:
    return min(dtypes, key=lambda dtype: dtype.itemsize)


@difference.register
def _(network: ReLUNetwork, triangles: Triangles) -> Bounds:
    """Layer by layer, the deviation from affine inside each cell.

    A neuron that keeps its sign on a cell adds none. One that changes sign bends by at most
    p·q/(p + q), where p and −q are its largest and its smallest value at the corners; it bends
    downward from the interpolant, because a ReLU is convex.
    """
    bounds = Bounds()
    eps = float(np.finfo(_coarsest(network.dtype, triangles.points.dtype)).eps)
    for cells in _tiles(triangles):
        state = _Patch.of(triangles, cells, eps)
        for layer in network.layers[:-1]:
            state = state.relu_of(layer)
        bounds = bounds.join(state.through(network.layers[-1]).against(triangles, cells))
    return bounds


@dataclass(frozen=True)
class _Patch:
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
    def of(triangles: Triangles, cells: npt.NDArray, eps: float) -> _Patch:
        """The coordinates themselves: affine, so without deviation."""
        corners = triangles.points[:, triangles.corners[:, cells]].astype(float)
        values = np.einsum("sv,dvm->dsm", SAMPLES, corners)
        none = np.zeros((2, cells.size))
        return _Patch(values, np.zeros_like(values), none, none, slice(None), eps)

    def through(self, layer: Affine, rows: npt.NDArray | slice = slice(None)) -> _Patch:
        """The affine images that the chosen rows of a layer give."""
        weight, bias = layer.weight[rows][:, self.alive].astype(float), layer.bias[rows]
        size, positive, negative = abs(weight), weight.maximum(0), weight.minimum(0)

        def image(matrix: sparse.csr_array, values: npt.NDArray) -> npt.NDArray:
            columns = matrix @ values.reshape(len(values), math.prod(values.shape[1:]))
            return columns.reshape(len(columns), *values.shape[1:])

        units = (2 + np.diff(weight.indptr)) * self.eps
        magnitude = image(size, np.abs(self.values)) + np.abs(bias)[:, None, None]
        return _Patch(
            image(weight, self.values) + bias[:, None, None],
            image(size, self.slack) + units[:, None, None] * magnitude,
            image(positive, self.low) + image(negative, self.high),
            image(positive, self.high) + image(negative, self.low),
            rows,
            self.eps,
        )

    def relu_of(self, layer: Affine) -> _Patch:
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

    def against(self, triangles: Triangles, cells: npt.NDArray) -> Bounds:
        """The bounds of the difference from the function on these cells."""
        nodal = triangles.values[:, triangles.corners[:, cells]].astype(float)
        function = np.einsum("sv,kvm->ksm", SAMPLES, nodal)
        eps = np.finfo(triangles.values.dtype).eps
        units = 4 * eps * (1 + _reach_over_height(triangles.points[:, triangles.corners[:, cells]]))
        roundoff = 2 * self.slack + (units * np.abs(nodal).max(axis=1))[:, None]
        apart = np.abs(self.values - function)
        at_corners = (apart + roundoff)[:, :3].max(axis=1)
        deviation = np.maximum(-self.low, self.high)
        return Bounds.of(apart - roundoff, deviation + at_corners, roundoff.max(axis=1))


def _reach_over_height(corners: npt.NDArray) -> npt.NDArray:
    """Distance from the coordinate origin over smallest height, for triangles (2, 3, m).

    So much does a function amplify the roundoff of coordinates.
    """
    edges = corners - np.roll(corners, 1, axis=1)
    area = np.abs(edges[0, 0] * edges[1, 1] - edges[1, 0] * edges[0, 1])
    height = area / np.linalg.norm(edges, axis=0).max(axis=0)
    reach = np.abs(corners).max(axis=(0, 1))
    return np.divide(reach, height, out=np.zeros_like(reach), where=height > 0)


def _padded(tiles: Iterator[npt.NDArray], comm: MPI.Comm | None) -> list[npt.NDArray]:
    """The tiles, and empty ones after them, up to the number of the rank that has most."""
    own = list(tiles)
    most = len(own) if comm is None else int(largest(comm, len(own)))
    return own + [np.empty(0, np.int64)] * (most - len(own))


def _tiles(triangles: Triangles, size: int = CELLS_AT_ONCE) -> Iterator[npt.NDArray]:
    """The cells in patches of about this many that lie together."""
    m = triangles.corners.shape[1]
    if m == 0:
        return
    centroids = triangles.points[:, triangles.corners].mean(axis=1)
    low, high = centroids.min(axis=1, keepdims=True), centroids.max(axis=1, keepdims=True)
    per_side = int(np.ceil(np.sqrt(m / size)))
    place = (centroids - low) / np.where(high > low, high - low, 1) * per_side
    column, row = np.minimum(place.astype(int), per_side - 1)
    order = np.lexsort((column, row))
    yield from np.array_split(order, int(np.ceil(m / size)))
