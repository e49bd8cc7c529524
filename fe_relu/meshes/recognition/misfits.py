# SPDX-License-Identifier: MIT
"""Why a mesh is not structured, told by what comes nearest."""

from __future__ import annotations

import numpy as np

from fe_relu.meshes.grid.grid import DIAGONALS
from fe_relu.meshes.recognition.recognise import (
    MOST_TOLERANCE,
    Candidate,
    MeshCells,
    NotStructuredError,
    candidate_lattices,
    cross,
    lattice_slack,
    located_grid,
    reference_cell,
)


def why_not(cells: MeshCells, rtol: float) -> NotStructuredError:
    """Why no candidate fits: how many cells have another shape, or else what is wrong."""
    total = cells.num_cells
    needs = "structured conversion needs create_rectangle's cells, all of one size, without holes"
    candidates = candidate_lattices(reference_cell(cells))
    if not candidates:
        return NotStructuredError(f"at least one of {total} cells has no area; {needs}")
    if (accepted := located_grid(cells, MOST_TOLERANCE)) is not None:
        return NotStructuredError(
            f"vertices lie up to {accepted[0].slack:.2g} of a step off the lattice, and rtol is "
            f"{rtol:g}; rtol={2 * accepted[0].slack:.1g} accepts them as if they did not"
        )
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
