# SPDX-License-Identifier: MIT
"""Hat functions on boxes of Kuhn's tetrahedra, `create_box`'s, in two hidden layers or in three.

Each cube of the lattice is cut into the six tetrahedra that have its diagonal from the lowest to
the highest corner as an edge. With ξ, η, ζ the lattice coordinates from a vertex, its hat is
R(1 − max(0, ξ, η, ζ) + min(0, ξ, η, ζ)) on all of ℝ³. One neuron on lines of the mesh cannot be
that, as the kink on ξ = η ends where ζ makes it the middle of the three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.layers.affine import Affine


class Neuron(NamedTuple):
    """R(bias + Σ weight · R(direction · (ξ, η, ζ) + shift)).

    Args:
        bias: A number.
        terms: (weight, direction, shift) each.
    """

    bias: int
    terms: Sequence[tuple[int, tuple[int, int, int], int]]


X, Y, Z = (1, 0, 0), (0, 1, 0), (0, 0, 1)
XY, YZ, ZX = (1, -1, 0), (0, 1, -1), (-1, 0, 1)
CROSS = (-1, -1, 1)


def _minus(direction: tuple[int, int, int]) -> tuple[int, int, int]:
    x, y, z = direction
    return -x, -y, -z


def _one_minus(*directions: tuple[int, int, int]) -> Neuron:
    return Neuron(1, [(-1, direction, 0) for direction in directions])


_ROOF = [(-1, d, 0) for d in (Z, _minus(Z), XY, _minus(XY))]

#: The hat is a sum of five neurons, each with its factor.
FACTORS = (0.5, 0.5, 0.5, -0.5, 0.5)
FIVE = (
    _one_minus(_minus(X), XY, YZ, Z),
    _one_minus(_minus(Y), YZ, ZX, X),
    _one_minus(_minus(Z), ZX, XY, Y),
    Neuron(1, [*_ROOF, (-1, CROSS, -1), (-1, _minus(CROSS), -1)]),
    Neuron(1, [*_ROOF, (-1, CROSS, 1), (2, CROSS, 0), (-2, CROSS, -1), (-1, _minus(CROSS), -1)]),
)

#: The hat is R(1 − |η − ζ| − the sum of these two), whose own arguments are of first-layer neurons.
TWO = (
    Neuron(0, [(1, X, 0), (-1, Z, 0), (1, _minus(Z), 0), (-1, YZ, 0)]),
    Neuron(0, [(1, Z, 0), (-1, _minus(Z), 0), (-1, _minus(YZ), 0), (1, _minus(X), 0)]),
)


def hidden_layers(
    shape: tuple[int, int, int],
    origin: npt.ArrayLike,
    axes: npt.ArrayLike,
    dtype: npt.DTypeLike = np.float64,
) -> tuple[Affine, Affine, sparse.csr_array]:
    """Two layers that know the mesh alone, and the hats as sums of five neurons each.

    Args:
        shape: Numbers of cubes (nx, ny, nz).
        origin: The vertex (0, 0, 0), shape (3,).
        axes: Lattice steps as columns, shape (3, 3).
        dtype: Of the layers.

    Returns:
        first, second, coefficients as in `fe_relu.meshes.simplices.diamonds.hidden_layers`, vertex
        (i, j, k) with number i + (nx + 1)(j + (ny + 1) k). The first has O(nx + ny + nz) neurons.
    """
    places = _places(shape)
    planes, second = _stamped(places, FIVE, np.dtype(dtype))
    n, rows = places.shape[1], second.dim_out
    sums = (np.tile(FACTORS, n), np.arange(rows), np.arange(0, rows + 1, len(FIVE)))
    hats = sparse.csr_array(sums, shape=(n, rows)).astype(dtype)
    return _first_layer(planes, origin, axes, np.dtype(dtype)), second, hats


def three_hidden_layers(
    shape: tuple[int, int, int],
    origin: npt.ArrayLike,
    axes: npt.ArrayLike,
    dtype: npt.DTypeLike = np.float64,
) -> tuple[Affine, Affine, Affine]:
    """Three layers, the activations of the last of which are the hats, one neuron each.

    The arguments are those of `hidden_layers`.
    """
    places = _places(shape)
    n = places.shape[1]
    dtype = np.dtype(dtype)
    passing = [Neuron(0, [(1, YZ, 0)]), Neuron(0, [(1, _minus(YZ), 0)])]
    planes, second = _stamped(places, [*TWO, *passing], dtype)
    weight, kept = _without_copies(second.weight)
    entries = (-np.ones(4 * n, dtype), kept, np.arange(0, 4 * n + 1, 4))
    last = sparse.csr_array(entries, shape=(n, weight.shape[0]))
    return (
        _first_layer(planes, origin, axes, dtype),
        Affine(weight, np.zeros(weight.shape[0], dtype)),
        Affine(last, np.ones(n, dtype)),
    )


def _places(shape: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    """Lattice coordinates of the vertices, (3, n)."""
    k, j, i = np.indices([count + 1 for count in reversed(shape)]).reshape(3, -1)
    return np.array([i, j, k])


def _stamped(
    places: npt.NDArray[np.int64], neurons: Sequence[Neuron], dtype: np.dtype
) -> tuple[npt.NDArray[np.int64], Affine]:
    """The neurons at each vertex, one vertex after the other, and the planes that they use.

    A plane is (a, b, c, d) for the neuron R(a i + b j + c k + d) in lattice coordinates.
    """
    terms = [(row, *term) for row, neuron in enumerate(neurons) for term in neuron.terms]
    first, weights, directions, shifts = (np.array(column) for column in zip(*terms, strict=True))
    n = places.shape[1]
    distinct, direction = np.unique(directions, axis=0, return_inverse=True)
    offset = shifts[:, None] - directions @ places
    least, many = offset.min(), np.ptp(offset) + 1
    keys, column = np.unique(direction[:, None] * many + offset - least, return_inverse=True)
    used = np.column_stack([distinct[keys // many], keys % many + least])
    rows = first[:, None] + len(neurons) * np.arange(n)
    entries = np.repeat(weights, n).astype(dtype)
    shape = (len(neurons) * n, len(used))
    weight = sparse.csr_array((entries, (rows.ravel(), column.ravel())), shape)
    return used, Affine(weight, np.tile([neuron.bias for neuron in neurons], n).astype(dtype))


def _first_layer(
    planes: npt.NDArray[np.int64], origin: npt.ArrayLike, axes: npt.ArrayLike, dtype: np.dtype
) -> Affine:
    """Planes of the lattice in coordinates of space; what is rounded goes through the origin."""
    normals = (planes[:, :3] @ np.linalg.inv(np.asarray(axes, np.float64))).astype(dtype)
    offset = planes[:, 3] - normals.astype(np.float64) @ np.asarray(origin, np.float64)
    return Affine(normals, offset.astype(dtype))


def _without_copies(weight: sparse.csr_array) -> tuple[sparse.csr_array, npt.NDArray[np.int64]]:
    """The rows without those of one entry that are there before, and which row each one is."""
    counts = np.diff(weight.indptr)
    key = np.where(counts == 1, -1 - weight.indices[weight.indptr[:-1]], np.arange(len(counts)))
    _, chosen, number = np.unique(key, return_index=True, return_inverse=True)
    return weight[chosen], number
