# SPDX-License-Identifier: MIT
"""The extreme values of P1 and P2 functions on meshes of simplices over a box."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from fe_relu.analysis.quadratics import extremes_on_simplices
from fe_relu.meshes.simplices.mesh import SimplexMesh
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network


def values_over_box(network: P1Network, sides: npt.NDArray) -> tuple[npt.NDArray, bool]:
    """Values among which are the least and the largest over a box, and whether all are attained.

    In 1-D and 2-D they are attained at vertices in the box, where edges cross its sides, and at its
    corners. In 3-D, where the function jumps to 0 at the end of the mesh, those of all cells whose
    boxes meet the box are taken, and 0.

    Args:
        network: On a `SimplexMesh`, of this process alone.
        sides: Lower and upper end along each axis, shape (dim, 2).

    Returns:
        Shape (k, n).
    """
    mesh: SimplexMesh = network.mesh  # type: ignore[assignment]
    vertices, cells, own = mesh.extended
    values = np.zeros((network.dim_out, vertices.shape[1]))
    values[:, :own] = network.values
    if mesh.dim == 3:
        corners = vertices[:, cells]
        meets = (corners.min(axis=1) <= sides[:, 1:]) & (corners.max(axis=1) >= sides[:, :1])
        touched = values[:, cells[:, meets.all(axis=0)].ravel()]
        return np.append(touched, np.zeros((len(values), 1)), axis=1), False
    inside = ((sides[:, :1] <= vertices) & (vertices <= sides[:, 1:])).all(axis=0)
    at_corners = np.atleast_2d(network(np.array(list(itertools.product(*sides))).T))
    return np.hstack([values[:, inside], at_corners, _crossings(vertices, cells, values, sides)]), (
        True
    )


def _crossings(
    vertices: npt.NDArray, cells: npt.NDArray, values: npt.NDArray, sides: npt.NDArray
) -> npt.NDArray:
    """Values where edges of cells cross the sides of a box."""
    ends = [np.stack([cells[i], cells[j]]) for j in range(len(cells)) for i in range(j)]
    a, b = np.unique(np.sort(np.hstack(ends), axis=0), axis=1)
    found = [values[:, :0]]
    for axis, side in itertools.product(range(len(vertices)), (0, 1)):
        at = sides[axis, side]
        start, end = vertices[axis, a], vertices[axis, b]
        crosses = np.flatnonzero(((start < at) & (at < end)) | ((end < at) & (at < start)))
        part = (at - start[crosses]) / (end[crosses] - start[crosses])
        one, other = a[crosses], b[crosses]
        x = (1 - part) * vertices[:, one] + part * vertices[:, other]
        x[axis] = at
        meets = ((sides[:, :1] <= x) & (x <= sides[:, 1:])).all(axis=0)
        found.append(((1 - part) * values[:, one] + part * values[:, other])[:, meets])
    return np.hstack(found)


def quadratics_over_box(
    network: P2Network, sides: npt.NDArray | None
) -> tuple[npt.NDArray, npt.NDArray]:
    """Least and largest values (k,) of the P2 function on the cells whose boxes meet a box.

    Over the mesh if there is no box; else 0 is one of them, as the box may reach beyond the mesh.
    """
    mesh: SimplexMesh = network.mesh  # type: ignore[assignment]
    values = np.atleast_2d(network.values).astype(float)
    vertices, cells, own = mesh.extended
    if sides is None:
        cells = mesh.cells()
    else:
        x = vertices[:, cells]
        meets = (x.min(axis=1) <= sides[:, 1:]) & (x.max(axis=1) >= sides[:, :1])
        cells = cells[:, meets.all(axis=0)]
    nodal = np.zeros((len(values), vertices.shape[1]))
    nodal[:, :own] = values[:, :own]
    surpluses = np.append(mesh.nodes.surpluses(values), np.zeros((len(values), 1)), axis=1)
    lower, upper = extremes_on_simplices(nodal[:, cells], surpluses[:, mesh.nodes.of_cells(cells)])
    if sides is not None:
        lower, upper = (np.append(found, np.zeros((len(values), 1)), 1) for found in (lower, upper))
    return lower.min(axis=1), upper.max(axis=1)
