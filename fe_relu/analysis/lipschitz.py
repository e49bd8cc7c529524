# SPDX-License-Identifier: MIT
"""How far two P1 functions on meshes of simplices are apart, from values at vertices and slopes.

In a simplex of diameter D no point is farther than r = D √(d / (2 (d + 1))) from the nearest
corner (Jung 1901). So two functions that differ by at most e at the corners, with slopes L and M,
differ by at most e + (L + M) r.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.simplices.mesh import SimplexMesh


def steepest(mesh: SimplexMesh, values: npt.NDArray) -> float:
    """The largest slope of the P1 function with nodal values (k, n), its ring included.

    Infinite for tetrahedra, where the function ends with a jump.
    """
    if mesh.dim == 3:
        return np.inf
    vertices, cells, own = mesh.extended
    extended = np.zeros((len(values), vertices.shape[1]))
    extended[:, :own] = values
    return float(slopes(vertices, cells, extended).max(initial=0))


def slopes(vertices: npt.NDArray, cells: npt.NDArray, values: npt.NDArray) -> npt.NDArray:
    """The slope in each cell of the P1 function with values (k, n): the largest of k, (m,)."""
    edges = vertices[:, cells[1:]] - vertices[:, cells[:1]]  # (dim, dim, m): axis, edge, cell
    rises = values[:, cells[1:]] - values[:, cells[:1]]  # (k, dim, m)
    gradients = np.linalg.solve(edges.transpose(2, 1, 0), rises.transpose(2, 1, 0))
    return np.linalg.norm(gradients, axis=1).max(axis=1, initial=0)


def reach(vertices: npt.NDArray, cells: npt.NDArray) -> npt.NDArray:
    """How far a point of each cell is from its nearest corner at most, shape (m,)."""
    dim, corners = len(vertices), vertices[:, cells]
    apart = corners[:, :, None] - corners[:, None]
    diameter = np.linalg.norm(apart, axis=0).max(axis=(0, 1), initial=0)
    return diameter * np.sqrt(dim / (2 * (dim + 1)))
