# SPDX-License-Identifier: MIT
"""A mesh as plain arrays, and its cells numbered as parts of lattice cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu.parallel.agreement import largest, summed

if TYPE_CHECKING:
    from mpi4py import MPI


class NotStructuredError(ValueError):
    """The mesh is not one of `create_rectangle`'s triangle meshes, nor an affine image of one."""


@dataclass(frozen=True)
class MeshCells:
    """What recognition reads of a mesh: owned cells, all local nodes, global counts."""

    comm: MPI.Comm
    points: npt.NDArray[np.float64]  # (2, local nodes)
    corners: npt.NDArray[np.int32]  # (3, owned cells), nodes
    num_owned_nodes: int
    num_cells: int
    num_vertices: int
    noise: float  # roundoff of coordinates, in the units of the mesh

    def sum(self, number: int) -> int:
        return int(summed(self.comm, int(number)))

    def max(self, number: float) -> float:
        return largest(self.comm, float(number))


def lattice_slack(cells: MeshCells, inverse: npt.NDArray, rtol: float) -> float:
    """How far off the lattice, in steps, a vertex may lie: rtol and the roundoff of coordinates."""
    size = [cells.max(np.abs(row).max(initial=0)) for row in cells.points]
    return rtol + cells.noise * (1 + float((np.abs(inverse) @ size).max()))


def _halved_cells(
    cells: MeshCells, i: npt.NDArray, j: npt.NDArray, nx: int
) -> tuple[str | None, npt.NDArray, int]:
    """The diagonal of cells with three corners of a lattice cell each; cell numbers; misfits."""
    ci, cj = [i[nodes] for nodes in cells.corners], [j[nodes] for nodes in cells.corners]
    i0, j0 = np.minimum.reduce(ci), np.minimum.reduce(cj)
    # The missing corner of the unit square, as the corners of a square sum to (2, 2).
    mi, mj = 2 + 3 * i0 - sum(ci), 2 + 3 * j0 - sum(cj)
    span = np.maximum(np.maximum.reduce(ci) - i0, np.maximum.reduce(cj) - j0)
    fits = (span == 1) & (mi >= 0) & (mi <= 1) & (mj >= 0) & (mj <= 1)
    cut = 2 * (mi == mj) + (i0 + j0) % 2
    # Number of cells cut ╱ with i + j even, ╱ odd, ╲ even, ╲ odd.
    counts = [cells.sum(np.count_nonzero(cut[fits] == k)) for k in range(4)]
    present = "".join("1" if count else "0" for count in counts)
    return _DIAGONAL_OF_CUTS.get(present), 2 * (j0 * nx + i0) + mi, np.count_nonzero(~fits)


#: The pattern for which of the cuts (╱ even, ╱ odd, ╲ even, ╲ odd) occur.
_DIAGONAL_OF_CUTS = {
    "1000": "right",
    "1100": "right",
    "0010": "left",
    "0011": "left",
    "1001": "left_right",
    "0110": "right_left",
}


def _quartered_cells(
    cells: MeshCells, i: npt.NDArray, j: npt.NDArray, nx: int
) -> tuple[str | None, npt.NDArray, int]:
    """The same for quarters of crossed cells, i and j in half steps."""
    ci = np.array([i[nodes] for nodes in cells.corners])
    cj = np.array([j[nodes] for nodes in cells.corners])
    odd = (ci % 2 == 1) & (cj % 2 == 1)
    apex = odd.argmax(axis=0)
    ai, aj = (np.take_along_axis(c, apex[None], axis=0)[0] for c in (ci, cj))
    near = np.maximum(np.abs(ci - ai), np.abs(cj - aj)).max(axis=0, initial=0) == 1
    # From the centre to the middle of the side: (±1, 0) or (0, ±1).
    di, dj = (ci.sum(axis=0) - 3 * ai) // 2, (cj.sum(axis=0) - 3 * aj) // 2
    ends = np.abs(ci - ai) + np.abs(cj - aj)
    fits = near & (odd.sum(axis=0) == 1) & (np.abs(di) + np.abs(dj) == 1)
    fits &= np.sort(ends, axis=0)[1:].min(axis=0, initial=2) == 2
    side = np.where(di != 0, (di + 1) // 2, 2 + (dj + 1) // 2)
    return "crossed", 4 * ((aj // 2) * nx + ai // 2) + side, np.count_nonzero(~fits)


CELL_NUMBERS = {False: _halved_cells, True: _quartered_cells}
