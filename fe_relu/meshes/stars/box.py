# SPDX-License-Identifier: MIT
"""Boxes of Kuhn's tetrahedra, `create_box`'s: a lattice, the ring around it, and its hats.

The hats of a box reach one step beyond it, as far as the tetrahedra of the same lattice that have
one of its vertices as a corner. Those tetrahedra are the ring: outside them functions are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.layers.affine import Affine
from fe_relu.meshes.stars import kuhn

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: No lattice place is farther from the origin.
FARTHEST = 1 << 40

#: From the lowest corner of a cube to the corners of its tetrahedra, shape (6, 3, 4).
STEPS = np.array(
    [
        np.cumsum([np.zeros(3, np.int64), *(np.eye(3, dtype=np.int64)[list(order)])], axis=0).T
        for order in permutations(range(3))
    ]
)


@dataclass(frozen=True, eq=False)
class Box:
    """An affine image of so many cubes, each cut into six along its diagonal.

    Vertex (i, j, k) of the lattice has number i + (nx + 1)(j + (ny + 1) k), which need not be its
    number in the mesh.

    Args:
        origin: The vertex (0, 0, 0), shape (3,).
        axes: Lattice steps as columns, shape (3, 3).
        shape: Numbers of cubes (nx, ny, nz).
        off: Vertices of the mesh are at most so far from the lattice, along each axis of space.
    """

    origin: Floats
    axes: Floats
    shape: tuple[int, int, int]
    off: float = 0.0

    @property
    def num_vertices(self) -> int:
        nx, ny, nz = self.shape
        return (nx + 1) * (ny + 1) * (nz + 1)

    def places(self, x: npt.NDArray) -> Ints:
        """The lattice points nearest to points (3, n), shape (3, n)."""
        lattice = np.linalg.inv(self.axes) @ (x - self.origin[:, None])
        return np.rint(lattice).clip(-FARTHEST, FARTHEST).astype(np.int64)

    def at(self, places: Ints) -> Floats:
        """Coordinates of lattice points (3, n), the same bits whichever others there are."""
        i, j, k = places
        steps = self.axes[:, :1] * i + self.axes[:, 1:2] * j + self.axes[:, 2:] * k
        return self.origin[:, None] + steps

    def numbers(self, places: Ints) -> Ints:
        """The numbers of vertices at lattice points (3, n)."""
        nx, ny, _ = self.shape
        i, j, k = places
        return i + (nx + 1) * (j + (ny + 1) * k)

    def holds(self, places: Ints) -> npt.NDArray[np.bool_]:
        """Which lattice points (3, …) are vertices of the box."""
        most = np.array(self.shape).reshape(3, *(places.ndim - 1) * [1])
        return np.logical_and.reduce((places >= 0) & (places <= most))

    def ring(self) -> tuple[Floats, Ints]:
        """Coordinates of the ring's vertices (3, g), and its cells (4, r).

        In cells, ring vertex g has the number num_vertices + g, others are numbers of vertices.
        """
        cubes = self._shell()
        corners = (cubes[None, :, None] + STEPS[..., None]).transpose(1, 2, 0, 3).reshape(3, 4, -1)
        corners = corners[:, :, self.holds(corners).any(axis=0)]
        own, (nx, ny, _) = self.holds(corners), self.shape
        padded = (corners[0] + 1) + (nx + 3) * ((corners[1] + 1) + (ny + 3) * (corners[2] + 1))
        ghosts, ghost = np.unique(padded[~own], return_inverse=True)
        cells = np.empty(own.shape, np.int64)
        cells[own] = self.numbers(corners[:, own])
        cells[~own] = self.num_vertices + ghost
        rest, i = np.divmod(ghosts, nx + 3)
        k, j = np.divmod(rest, ny + 3)
        return self.at(np.array([i, j, k]) - 1), cells

    def _shell(self) -> Ints:
        """The lowest corners of the cubes around the box, shape (3, c), each once."""
        found = []
        for axis in range(3):
            spans = [np.arange(n) for n in self.shape[:axis]]
            wide = [np.arange(-1, n + 1) for n in self.shape[axis + 1 :]]
            ends = np.array([-1, self.shape[axis]])
            found.append(np.array(np.meshgrid(*spans, ends, *wide, indexing="ij")).reshape(3, -1))
        return np.hstack(found)

    def hidden_layers(
        self, dtype: np.dtype, numbers: Ints
    ) -> tuple[Affine, Affine, sparse.csr_array]:
        """`kuhn.hidden_layers`, the hats in the order of vertices with these numbers."""
        first, second, hats = kuhn.hidden_layers(self.shape, self.origin, self.axes, dtype)
        return first, second, hats[numbers]
