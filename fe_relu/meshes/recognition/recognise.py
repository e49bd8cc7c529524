# SPDX-License-Identifier: MIT
"""Recognising structured triangle meshes from their coordinates: cells → Grid.

The way of `located_grid`, every step with one verdict for all ranks:

1. One cell of the mesh suggests the lattice steps: two of its edges, or, as a quarter of a crossed
   cell, its base and twice its height. That makes six candidates.
2. The numbers of cells and vertices determine nx and ny; the extreme vertices along both diagonals
   of the lattice are the corners. The corners fix origin and axes to full precision.
3. Every vertex must lie on the lattice, every cell must be a half (a quarter) of a lattice cell,
   and the diagonals must follow a pattern of `fe_relu.meshes.grid.grid.DIAGONALS`.
4. No vertex and no cell may be missing or there twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.grid.grid import ROUNDOFF_UNITS, Grid
from fe_relu.parallel.agreement import each_once, gathered, largest, summed

if TYPE_CHECKING:
    from mpi4py import MPI

#: Vertices may lie this fraction of a lattice step off the lattice, by default: meshes come out of
#: text and float32 files, and out of coordinates counted from far away, nearer than that.
TOLERANCE, MOST_TOLERANCE = 1e-4, 0.1

#: Steps between corners may differ by this fraction from those that a single cell suggests.
ROUGH = 0.25


def checked_tolerance(rtol: float) -> float:
    """A tolerance in steps of a lattice.

    Raises:
        ValueError: It is not in [0, `MOST_TOLERANCE`].
    """
    if not 0 <= rtol <= MOST_TOLERANCE:
        raise ValueError(f"rtol must be between 0 and {MOST_TOLERANCE}, not {rtol}")
    return float(rtol)


class NotStructuredError(ValueError):
    """The mesh is not one of `create_rectangle`'s triangle meshes, nor an affine image of one."""


@dataclass(frozen=True)
class MeshCells:
    """What recognition reads of a mesh: owned cells, all local nodes, global counts."""

    comm: MPI.Comm | None
    points: npt.NDArray[np.float64]  # (dim, local nodes)
    corners: npt.NDArray[np.integer]  # (dim + 1, owned cells), nodes
    num_owned_nodes: int
    num_cells: int
    num_vertices: int
    noise: float  # roundoff of coordinates, in the units of the mesh

    @staticmethod
    def of(points: npt.NDArray[np.float64], corners: npt.NDArray[np.int64]) -> MeshCells:
        """A whole mesh, of this process alone."""
        noise = ROUNDOFF_UNITS * float(np.finfo(np.float64).eps)
        num_vertices, num_cells = points.shape[1], corners.shape[1]
        return MeshCells(None, points, corners, num_vertices, num_cells, num_vertices, noise)

    def sum(self, number: int) -> int:
        return int(summed(self.comm, int(number)))

    def max(self, number: float) -> float:
        return largest(self.comm, float(number))


def lattice_slack(cells: MeshCells, inverse: npt.NDArray, rtol: float) -> float:
    """How far off the lattice, in steps, a vertex may lie: rtol and the roundoff of coordinates."""
    size = [cells.max(np.abs(row).max(initial=0)) for row in cells.points]
    return rtol + cells.noise * (1 + float((np.abs(inverse) @ size).max()))


def located_grid(cells: MeshCells, rtol: float) -> tuple[Grid, npt.NDArray[np.int64]] | None:
    """The grid, and its vertex at every local node of the mesh; None if it is not one. Collective.

    Raises:
        NotStructuredError: The mesh has no cells.
    """
    for candidate in candidate_lattices(reference_cell(cells)):
        grid = fitted_grid(cells, candidate)
        if grid is not None and (found := _located(cells, grid, rtol)) is not None:
            return found
    return None


def _located(
    cells: MeshCells, grid: Grid, rtol: float
) -> tuple[Grid, npt.NDArray[np.int64]] | None:
    """Vertex numbers on the grid, its diagonal found, if every vertex and cell fits once."""
    nx, ny = grid.shape
    slack = lattice_slack(cells, grid.inverse, rtol)
    lattice = grid.to_lattice(cells.points)
    scale = 2 if grid.has_centres else 1
    rounded = np.rint(lattice * scale)
    apart = np.abs(lattice - rounded / scale)
    off = (apart > slack).any(axis=0)
    limit = scale * np.array([[nx], [ny]])
    off |= ((rounded < 0) | (rounded > limit)).any(axis=0)
    if cells.sum(np.count_nonzero(off)) > 0 or slack > 0.25:
        return None
    i, j = rounded.astype(np.int64)
    diagonal, cell_ids, unfit = CELL_NUMBERS[grid.has_centres](cells, i, j, nx)
    if diagonal is None or cells.sum(unfit) > 0:
        return None
    vertices = grid.vertices_at(i, j)
    complete = each_once(cells.comm, vertices[: cells.num_owned_nodes], grid.num_vertices)
    if not complete or not each_once(cells.comm, cell_ids, grid.num_cells):
        return None
    return replace(grid, diagonal=diagonal, slack=cells.max(apart.max(initial=0))), vertices


def reference_cell(cells: MeshCells) -> npt.NDArray:
    """The cell of median area on the first rank that has cells, coordinates as columns (2, 3)."""
    own = None
    if cells.corners.shape[1] > 0:
        a, b, c = (cells.points[:, nodes] for nodes in cells.corners)
        areas = np.abs(cross(b - a, c - a))
        middle = np.argpartition(areas, areas.size // 2)[areas.size // 2]
        own = cells.points[:, cells.corners[:, middle]]
    found = [cell for cell in gathered(cells.comm, own) if cell is not None]
    if not found:
        raise NotStructuredError("0 cells: the mesh is empty")
    return found[0]


@dataclass(frozen=True)
class Candidate:
    axes: npt.NDArray  # (2, 2), lattice steps as columns, to the precision of one cell
    crossed: bool


def candidate_lattices(cell: npt.NDArray) -> list[Candidate]:
    """The lattices that have this triangle as a half or a quarter cell, the likeliest first."""

    def longest_first(k: int) -> float:
        return -float(np.linalg.norm(cell[:, k - 1] - cell[:, k - 2]))

    found = []
    for k in sorted(range(3), key=longest_first):
        apex, left, right = cell[:, k], cell[:, k - 2], cell[:, k - 1]
        halved = np.column_stack([left - apex, right - apex])
        quartered = np.column_stack([right - left, 2 * apex - left - right])
        found += [Candidate(halved, False), Candidate(quartered, True)]
    return [c for c in found if abs(np.linalg.det(c.axes)) > 0]


def _shapes(cells: MeshCells, crossed: bool) -> Iterator[tuple[int, int]]:
    """The (nx, ny) that have these numbers of cells and vertices: the roots of a quadratic."""
    quads, rest = divmod(cells.num_cells, 4 if crossed else 2)
    total = cells.num_vertices - quads * (2 if crossed else 1) - 1  # nx + ny
    discriminant = total * total - 4 * quads
    if rest or discriminant < 0:
        return
    root = round(discriminant**0.5)
    for nx in {(total - root) // 2, (total + root) // 2}:
        ny = total - nx
        if nx >= 1 and ny >= 1 and nx * ny == quads:
            yield nx, ny


def fitted_grid(cells: MeshCells, candidate: Candidate) -> Grid | None:
    """Origin and axes from the corners, if they are where nx by ny steps of the candidate lead."""
    corners = _extreme_points(cells, candidate.axes)
    origin, right, up, far = corners
    rated = []
    for nx, ny in _shapes(cells, candidate.crossed):
        axes = np.column_stack([(right - origin) / nx, (up - origin) / ny])
        closes = np.linalg.solve(candidate.axes, np.column_stack([axes, far - right - up + origin]))
        rated.append((float(np.abs(closes - np.eye(2, 3)).max()), (nx, ny)))
    off, shape = min(rated, default=(np.inf, (0, 0)))
    return oriented_grid(corners, shape, candidate.crossed) if off < ROUGH else None


def _extreme_points(cells: MeshCells, axes: npt.NDArray) -> list[npt.NDArray]:
    """The nodes farthest along −(1, 1), (1, −1), (−1, 1), (1, 1) of the lattice: 00, 10, 01, 11."""
    directions = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]]) @ np.linalg.inv(axes)
    own = []
    if cells.points.shape[1] > 0:
        anchor = cells.points[:, :1]
        heights = directions @ (cells.points - anchor)
        best = heights.argmax(axis=1)
        own = [
            (float(d @ cells.points[:, node]), (cells.points[0, node], cells.points[1, node]))
            for d, node in zip(directions, best, strict=True)
        ]
    per_rank = [found for found in gathered(cells.comm, own) if found]
    return [np.array(max(found)[1]) for found in zip(*per_rank, strict=True)]


def oriented_grid(
    corners: Sequence[npt.NDArray], shape: tuple[int, int], crossed: bool
) -> Grid | None:
    """The grid with its axes labelled by direction, not by the cell that suggested them."""
    c00, c10, c01, c11 = corners
    lattice = np.array([[c00, c01], [c10, c11]])  # lattice[a, b]: corner a along x, b along y
    slopes = [np.abs(d) / np.linalg.norm(d) for d in (c10 - c00, c01 - c00)]
    tied = abs(slopes[0][0] - slopes[1][0]) < 1e-6
    first = c10 - c00
    if slopes[1][0] > slopes[0][0] + 1e-6 or (tied and first[0] * first[1] < 0):
        lattice, shape = lattice.transpose(1, 0, 2), (shape[1], shape[0])
    first = lattice[1, 0] - lattice[0, 0]
    if first[0] < -1e-6 * np.linalg.norm(first) or (
        abs(first[0]) <= 1e-6 * np.linalg.norm(first) and first[1] < 0
    ):
        lattice = lattice[::-1]
    if cross(lattice[1, 0] - lattice[0, 0], lattice[0, 1] - lattice[0, 0]) < 0:
        lattice = lattice[:, ::-1]
    origin = lattice[0, 0]
    axes = np.column_stack(
        [(lattice[1, 0] - origin) / shape[0], (lattice[0, 1] - origin) / shape[1]]
    )
    try:
        return Grid(origin, axes, shape, "crossed" if crossed else "right")
    except ValueError:  # too flat or too large to be told from a line
        return None


def cross(a: npt.NDArray, b: npt.NDArray) -> npt.NDArray:
    return a[0] * b[1] - a[1] * b[0]


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
