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
from fe_relu.meshes.simplices.nodes import pairs


def steepest(mesh: SimplexMesh, values: npt.NDArray, degree: int) -> float:
    """A bound of the slopes of the network with nodal values (k, n), its ring included.

    Of a P1 function it is attained. A product of two hats has slopes up to the sum of theirs.

    Infinite where the function ends with a jump, on tetrahedra that are no box.
    """
    return steepest_inside(mesh, values, degree) if mesh.has_ring else np.inf


def steepest_inside(mesh: SimplexMesh, values: npt.NDArray, degree: int) -> float:
    """The same, jumps at the end of the mesh apart."""
    vertices, cells, own = mesh.extended
    extended = np.zeros((len(values), vertices.shape[1]))
    extended[:, :own] = values[:, :own]
    steep = slopes(vertices, cells, extended)
    if degree == 2:
        steep = steep + _slopes_of_bumps(mesh, values)
    return float(steep.max(initial=0))


def _slopes_of_bumps(mesh: SimplexMesh, values: npt.NDArray) -> npt.NDArray:
    """A bound of the slopes of Σ 4 s Π(λᵢ, λⱼ) in each cell, shape (m,)."""
    vertices, cells, _ = mesh.extended
    surpluses = np.append(mesh.nodes.surpluses(values), np.zeros((len(values), 1)), axis=1)
    sizes = np.abs(surpluses).max(axis=0)[mesh.nodes.of_cells(cells)]
    edges = (vertices[:, cells[1:]] - vertices[:, cells[:1]]).transpose(2, 1, 0)
    rows = np.linalg.inv(edges)  # of each cell, its columns the slopes of λ₁, …
    rows = np.concatenate([-rows.sum(axis=2, keepdims=True), rows], axis=2)
    hats = np.linalg.norm(rows, axis=1).T
    joined = np.array(pairs(len(cells))).T
    return 4 * (sizes * hats[joined].sum(axis=0)).sum(axis=0)


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
