# SPDX-License-Identifier: MIT
"""P1 and P2 functions on any simplices as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.grid.midpoints import EDGES, QUARTERS
from fe_relu.meshes.simplices.nodes import bump_sizes

#: The corners that edges of cells join, by their number of corners, in the order of P2 elements'
#: nodes after the corners.
ELEMENT_EDGES = {2: ((0, 1),), 3: EDGES, 4: ((2, 3), (1, 3), (1, 2), (0, 3), (0, 2), (0, 1))}

#: The nodes at the corners of the equal parts that cells are cut in; tetrahedra have none.
PARTS = {2: ((0, 2), (2, 1)), 3: QUARTERS}

#: Sup of a function of degree 1 or 2 on a cell over its largest nodal value, at most.
NODAL_FACTOR = {1: 1.0, 2: 2.0}


def samples_of(corners: int) -> npt.NDArray:
    """Points looked at in each simplex, barycentric: corners, middles of edges, the centroid."""
    eye = np.eye(corners)
    middles = [(eye[a] + eye[b]) / 2 for a in range(corners) for b in range(a + 1, corners)]
    return np.vstack([eye, *middles, np.full(corners, 1 / corners)])


@dataclass(frozen=True)
class Triangles:
    """A P1 or P2 function on simplices as plain arrays.

    Args:
        points: Coordinates of the nodes, shape (dim, n).
        corners: Nodes at the corners of each cell, shape (dim + 1, m).
        values: Nodal values, shape (k, n).
        surpluses: Of the edges as `ELEMENT_EDGES` lists them, shape (k, edges of a cell, m); None
            for a P1 function.
    """

    points: npt.NDArray
    corners: npt.NDArray
    values: npt.NDArray
    surpluses: npt.NDArray | None = None

    @staticmethod
    def of(points: npt.NDArray, nodes: npt.NDArray, values: npt.NDArray) -> Triangles:
        """From the nodes of each cell, corners first, then for P2 the middles of edges.

        The cells of a P2 function are halves or quarters, where it is nearer to its P1 part.
        """
        corners = len(points) + 1
        if len(nodes) == corners:
            return Triangles(points, nodes, values)
        at = values.astype(float)[:, nodes]
        found = [
            at[:, corners + k] - (at[:, a] + at[:, b]) / 2
            for k, (a, b) in enumerate(ELEMENT_EDGES[corners])
        ]
        surpluses = np.stack(found, axis=1)
        if corners not in PARTS:
            return Triangles(points, nodes[:corners], values, surpluses)
        parts = PARTS[corners]
        cells = np.concatenate([nodes[list(part)] for part in parts], axis=1)
        return Triangles(points, cells, values, np.tile(surpluses / 4, len(parts)))

    def at(self, cells: npt.NDArray, weights: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
        """Coordinates (dim, n) and values (k, n) at barycentric weights (dim + 1, n) of cells."""
        points, values = self.linear_at(cells, weights)
        if self.surpluses is not None:
            products = np.array([weights[a] * weights[b] for a, b in ELEMENT_EDGES[len(weights)]])
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
        """Sup |function − its P1 part| of each component and cell, (k, m); 0 for a P1 function.

        On tetrahedra a bound.
        """
        if self.surpluses is None:
            return np.zeros((1, 1))
        return bump_sizes(self.surpluses[:, :, cells])
