# SPDX-License-Identifier: MIT
"""P1 and P2 functions on any triangles as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.grid.midpoints import EDGES, QUARTERS, bump_size

#: Sup of a function of degree 1 or 2 on a triangle over its largest nodal value, at most.
NODAL_FACTOR = {1: 1.0, 2: 5 / 3}


def samples_of(corners: int) -> npt.NDArray:
    """Points looked at in each simplex, barycentric: corners, middles of edges, the centroid."""
    eye = np.eye(corners)
    middles = [(eye[a] + eye[b]) / 2 for a in range(corners) for b in range(a + 1, corners)]
    return np.vstack([eye, *middles, np.full(corners, 1 / corners)])


@dataclass(frozen=True)
class Triangles:
    """A P1 function on simplices, or a P2 function on triangles, as plain arrays.

    Args:
        points: Coordinates of the nodes, shape (dim, n).
        corners: Nodes at the corners of each cell, shape (dim + 1, m).
        values: Nodal values, shape (k, n).
        surpluses: Of the edges opposite to the corners, shape (k, 3, m); None for a P1 function.
    """

    points: npt.NDArray
    corners: npt.NDArray
    values: npt.NDArray
    surpluses: npt.NDArray | None = None

    @staticmethod
    def of(points: npt.NDArray, nodes: npt.NDArray, values: npt.NDArray) -> Triangles:
        """From the nodes of each cell, shape (dim + 1, m) for P1, (6, m) for P2 on triangles.

        The cells of a P2 function are the quarters, where it is nearer to its P1 part.
        """
        if len(nodes) == len(points) + 1:
            return Triangles(points, nodes, values)
        at = values.astype(float)[:, nodes]
        surpluses = [at[:, 3 + k] - (at[:, a] + at[:, b]) / 2 for k, (a, b) in enumerate(EDGES)]
        corners = np.concatenate([nodes[list(quarter)] for quarter in QUARTERS], axis=1)
        return Triangles(points, corners, values, np.tile(np.stack(surpluses, axis=1) / 4, 4))

    def at(self, cells: npt.NDArray, weights: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
        """Coordinates (2, n) and function values (k, n) at barycentric weights (3, n) of cells."""
        points, values = self.linear_at(cells, weights)
        if self.surpluses is not None:
            products = np.array([weights[a] * weights[b] for a, b in EDGES])
            values = values + 4 * np.einsum("cin,in->cn", self.surpluses[:, :, cells], products)
        return points, values

    def linear_at(
        self, cells: npt.NDArray, weights: npt.NDArray
    ) -> tuple[npt.NDArray, npt.NDArray]:
        """The same of the function's P1 part."""
        corners = self.corners[:, cells]
        return (
            np.einsum("cin,in->cn", self.points[:, corners], weights),
            np.einsum("cin,in->cn", self.values[:, corners], weights),
        )

    def bumps(self, cells: npt.NDArray | slice = slice(None)) -> npt.NDArray:
        """Sup |function − its P1 part| of each component and cell; 0 for a P1 function."""
        if self.surpluses is None:
            return np.zeros((1, 1))
        return bump_size(*self.surpluses[:, :, cells].swapaxes(0, 1))
