# SPDX-License-Identifier: MIT
"""Recognising structured triangle meshes from their coordinates: dolfinx mesh → Grid.

The way of `locate_mesh`, every step with one verdict for all ranks:

1. One cell of the mesh suggests the lattice steps: two of its edges, or, as a quarter of a crossed
   cell, its base and twice its height. That makes six candidates.
2. The numbers of cells and vertices determine nx and ny; the extreme vertices along both diagonals
   of the lattice are the corners. The corners fix origin and axes to full precision.
3. Every vertex must lie on the lattice, every cell must be a half (a quarter) of a lattice cell,
   and the diagonals must follow a pattern of `fe_relu.grid.DIAGONALS`.
4. No vertex and no cell may be missing or there twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu.grid import DIAGONALS, Grid
from fe_relu.lattices import Candidate, candidate_lattices, cross, fitted_grid, reference_cell
from fe_relu.mesh_cells import (
    CELL_NUMBERS,
    MeshCells,
    NotStructuredError,
    each_once,
    lattice_slack,
    require_plane_triangles,
)
from fe_relu.parallel import together

if TYPE_CHECKING:
    from dolfinx import mesh

__all__ = ["LocatedMesh", "NotStructuredError", "grid_from_mesh", "locate_mesh"]


@dataclass(frozen=True)
class LocatedMesh:
    """A structured mesh: its grid, and the grid's vertex number of every local geometry node."""

    grid: Grid
    vertex_of_node: npt.NDArray[np.int64]


def grid_from_mesh(mesh: mesh.Mesh, *, rtol: float = 1e-8) -> Grid:
    """The structured grid whose vertices and cells are those of the mesh. Collective.

    Recognised from coordinates alone, so that renumbered, partitioned, re-read, rotated and sheared
    meshes are welcome. The axes are labelled so that the first points most nearly along +x and the
    second lies to its left; the result is the same on every rank and for every partition.

    Args:
        mesh: A `dolfinx.mesh.Mesh`.
        rtol: Vertices may lie this fraction of a lattice step off the lattice, besides roundoff.

    Raises:
        NotStructuredError: The mesh is another one; the message says how many cells do not fit.
        ValueError: rtol is not in [0, 0.1].
    """
    return locate_mesh(mesh, rtol=rtol).grid


def locate_mesh(mesh: mesh.Mesh, *, rtol: float = 1e-8) -> LocatedMesh:
    """`grid_from_mesh` together with the vertex number of every local geometry node."""
    with together(mesh.comm):
        if not 0 <= rtol <= 0.1:
            raise ValueError(f"rtol must be between 0 and 0.1, not {rtol}")
        require_plane_triangles(mesh)
        cells = MeshCells.of(mesh)
    reference = reference_cell(cells)
    for candidate in candidate_lattices(reference):
        grid = fitted_grid(cells, candidate)
        if grid is not None and (located := _located(cells, grid, rtol)) is not None:
            return located
    raise _explanation(cells, reference, rtol)


def _located(cells: MeshCells, grid: Grid, rtol: float) -> LocatedMesh | None:
    """Vertex numbers on the grid, its diagonal found, if every vertex and cell fits once."""
    nx, ny = grid.shape
    slack = lattice_slack(cells, grid.inverse, rtol)
    lattice = grid.to_lattice(cells.points)
    scale = 2 if grid.has_centres else 1
    rounded = np.rint(lattice * scale)
    off = (np.abs(lattice - rounded / scale) > slack).any(axis=0)
    limit = scale * np.array([[nx], [ny]])
    off |= ((rounded < 0) | (rounded > limit)).any(axis=0)
    if cells.sum(np.count_nonzero(off)) > 0 or slack > 0.25:
        return None
    i, j = rounded.astype(np.int64)
    diagonal, cell_ids, unfit = CELL_NUMBERS[grid.has_centres](cells, i, j, nx)
    if diagonal is None or cells.sum(unfit) > 0:
        return None
    vertices = vertex_numbers(grid, i, j)
    complete = each_once(cells.comm, vertices[: cells.num_owned_nodes], grid.num_vertices)
    if not complete or not each_once(cells.comm, cell_ids, grid.num_cells):
        return None
    return LocatedMesh(Grid(grid.origin, grid.axes, grid.shape, diagonal), vertices)


def vertex_numbers(grid: Grid, i: npt.NDArray, j: npt.NDArray) -> npt.NDArray[np.int64]:
    """The vertices at lattice places (i, j), counted in half steps if the grid has centres."""
    nx, ny = grid.shape
    if not grid.has_centres:
        return j * (nx + 1) + i
    centre = (nx + 1) * (ny + 1) + (j // 2) * nx + i // 2
    return np.where(i % 2 == 1, centre, (j // 2) * (nx + 1) + i // 2)


def _explanation(cells: MeshCells, reference: npt.NDArray, rtol: float) -> NotStructuredError:
    """Why no candidate fits: how many cells have another shape, or else what is wrong."""
    total = cells.num_cells
    needs = "structured conversion needs create_rectangle's cells, all of one size, without holes"
    candidates = candidate_lattices(reference)
    if not candidates:
        return NotStructuredError(f"at least one of {total} cells has no area; {needs}")
    found = [(_misfits(cells, c, rtol), k) for k, c in enumerate(candidates)]
    fewest = min(misfits for misfits, _ in found)
    equal = [k for misfits, k in found if misfits == fewest]
    # Where all cells fit several lattices, the one that they fill best.
    best = equal[0] if fewest else min(equal, key=lambda k: abs(_missing(cells, candidates[k])))
    candidate = candidates[best]
    steps = " x ".join(f"{h:g}" for h in np.linalg.norm(candidate.axes, axis=0))
    part = "quarters" if candidate.crossed else "halves"
    if fewest > 0:
        return NotStructuredError(
            f"{fewest} of {total} cells are not {part} of a {steps} parallelogram (the mesh is "
            f"graded, unstructured or disturbed by more than {rtol:g} of a step); {needs}"
        )
    nx, ny = _box(cells, candidate)
    missing = _missing(cells, candidate)
    if missing != 0:
        return NotStructuredError(
            f"{total} cells are {part} of a {steps} parallelogram, but the {nx} x {ny} grid around "
            f"them has {total + missing}: {abs(missing)} are missing or doubled (holes, or an "
            f"outline that is no parallelogram); {needs}"
        )
    return NotStructuredError(
        f"{total} cells are {part} of a {steps} parallelogram, but their diagonals follow none of "
        f"the patterns {', '.join(DIAGONALS)}, or vertices are doubled (slits); {needs}"
    )


def _misfits(cells: MeshCells, candidate: Candidate, rtol: float) -> int:
    """Number of cells that no shift brings onto a half (quarter) of a lattice cell."""
    inverse = np.linalg.inv(candidate.axes)
    slack = max(lattice_slack(cells, inverse, rtol), 1e-6)
    a, b, c = (inverse @ cells.points[:, nodes] for nodes in cells.corners)
    edges = 2 * np.array([b - a, c - b, a - c])  # in half steps, shape (3, 2, owned cells)
    near = np.rint(edges)
    fits = ((np.abs(edges - near) <= 4 * slack) & (np.abs(near) <= 2)).all(axis=(0, 1))
    parity = near % 2
    whole = (parity == 0).all(axis=(0, 1))
    same = (parity[:, 0] == parity[:, 1]).all(axis=0)
    area = np.abs(cross(near[0], near[1]))
    fits &= (same & (area == 2)) if candidate.crossed else (whole & (area == 4))
    return cells.sum(np.count_nonzero(~fits))


def _missing(cells: MeshCells, candidate: Candidate) -> int:
    """By how many cells the grid around all nodes is larger than the mesh."""
    nx, ny = _box(cells, candidate)
    return (4 if candidate.crossed else 2) * nx * ny - cells.num_cells


def _box(cells: MeshCells, candidate: Candidate) -> tuple[int, int]:
    """The size in steps of the box around all nodes."""
    lattice = np.linalg.inv(candidate.axes) @ cells.points
    high = [cells.max(row.max(initial=-np.inf)) for row in lattice]
    low = [-cells.max(-row.min(initial=np.inf)) for row in lattice]
    return round(high[0] - low[0]), round(high[1] - low[1])
