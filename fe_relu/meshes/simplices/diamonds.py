# SPDX-License-Identifier: MIT
"""Every P1 function on every mesh of triangles is a network with two hidden layers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.layers.affine import Affine
from fe_relu.meshes.simplices.ring import extended
from fe_relu.meshes.stars.lines import Lines, lines_of
from fe_relu.meshes.stars.neurons import neurons_of_hats


def hidden_layers(
    vertices: npt.NDArray, cells: npt.NDArray, dtype: npt.DTypeLike = np.float64
) -> tuple[Affine, Affine, sparse.csr_array]:
    """Two layers that know the mesh alone, and the hats as sums of what comes out of them.

    Args:
        vertices: Coordinates, shape (dim, n), dim 1 or 2.
        cells: Vertices of each cell, shape (dim + 1, m).
        dtype: Of the layers.

    Returns:
        first, second, coefficients of shape (n, second.dim_out): the hats are
        coefficients @ relu(second(relu(first(x)))), and the P1 function with nodal values (k, n)
        has the output layer values @ coefficients.
    """
    dtype = np.dtype(dtype)
    everywhere, all_cells, n = extended(vertices, cells)
    if len(everywhere) == 1:
        return _interval_layers(everywhere, all_cells, n, dtype)
    return _triangle_layers(everywhere, all_cells, n, dtype)


def _interval_layers(
    vertices: npt.NDArray, cells: npt.NDArray, n: int, dtype: np.dtype
) -> tuple[Affine, Affine, sparse.csr_array]:
    """The hat of xᵢ is R(1 − R(x − xᵢ)/hᵢ − R(xᵢ − x)/hᵢ₋₁), one neuron on two of its own."""
    x = vertices[0]
    left, right = np.where(x[cells[0]] < x[cells[1]], cells, cells[::-1])
    slopes = np.empty((len(x), 2))
    slopes[left, 0] = slopes[right, 1] = 1 / (x[right] - x[left])
    signs = np.tile([1, -1], n).astype(dtype)
    first = Affine(signs[:, None], -signs * np.repeat(x[:n], 2).astype(dtype))
    indices, offsets = np.arange(2 * n), np.arange(0, 2 * n + 1, 2)
    weight = sparse.csr_array((-slopes[:n].ravel().astype(dtype), indices, offsets), (n, 2 * n))
    return first, Affine(weight, np.ones(n, dtype)), sparse.eye_array(n, dtype=dtype, format="csr")


def _triangle_layers(
    vertices: npt.NDArray, cells: npt.NDArray, n: int, dtype: np.dtype
) -> tuple[Affine, Affine, sparse.csr_array]:
    """Diamonds on the lines of the mesh, and some more."""
    (ax, bx, cx), (ay, by, cy) = vertices[:, cells]
    clockwise = (bx - ax) * (cy - ay) < (by - ay) * (cx - ax)
    cells = np.where(clockwise, cells[::-1], cells)
    tolerance = 2 * float(np.finfo(dtype).eps) * np.abs(vertices).max()
    neurons = neurons_of_hats(vertices, cells, n, tolerance)
    lines = lines_of(vertices, neurons)
    used = neurons.weights != 0
    sides = 2 * lines.number[:, None] + np.where(lines.flipped[:, None], [1, 0], [0, 1])
    columns, position = np.unique(sides[used], return_inverse=True)
    weights = (neurons.weights * lines.lengths[:, None])[used]
    rows = np.broadcast_to(neurons.rows[:, None], used.shape)[used]
    count = len(neurons.owners)
    second = sparse.csr_array((-weights.astype(dtype), (rows, position)), (count, len(columns)))
    hats = sparse.csr_array(
        (neurons.factors.astype(dtype), (neurons.owners, np.arange(count))), (n, count)
    )
    return _first_layer(lines, columns, dtype), Affine(second, np.ones(count, dtype)), hats


def _first_layer(lines: Lines, sides: npt.NDArray, dtype: np.dtype) -> Affine:
    """R(s) for even sides, R(−s) for odd ones, s the distance from a line.

    Normals are rounded first, so that a line goes through its points, however far from the origin.
    """
    sign = np.where(sides % 2 == 0, 1, -1).astype(dtype)
    normals = lines.normals[:, sides // 2].astype(dtype)
    offset = -(normals.astype(np.float64) * lines.points[:, sides // 2]).sum(axis=0)
    return Affine((sign * normals).T, sign * offset.astype(dtype))
