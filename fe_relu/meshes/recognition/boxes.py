# SPDX-License-Identifier: MIT
"""Recognising boxes of Kuhn's tetrahedra from coordinates: cells → Box.

The steps of the lattice are the three edges of a path through the corners of any cell, one of
twelve. With the right one all vertices are on the lattice, and the corners of the box fix origin
and axes to full precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.grid.grid import ROUNDOFF_UNITS
from fe_relu.meshes.recognition.recognise import MeshCells
from fe_relu.meshes.stars.box import FARTHEST, Box
from fe_relu.parallel.agreement import each_once, gathered

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def located_box(cells: MeshCells) -> tuple[Box, Ints] | None:
    """The box, and the lattice place (3, n) of every local node; None if it is none. Collective.

    Vertices are on the lattice up to roundoff: that of float32 if all coordinates are such numbers.
    """
    if cells.num_cells == 0 or cells.num_cells % 6:
        return None
    own = cells.points[:, cells.corners[:, 0]] if cells.corners.shape[1] else None
    cell = next(found for found in gathered(cells.comm, own) if found is not None)
    for axes in _candidate_axes(cell):
        found = _fitted(cells, Box(cell[:, 0], axes, (0, 0, 0)))
        if found is not None:
            return found
    return None


def _candidate_axes(cell: Floats) -> Iterator[Floats]:
    """Steps along the paths through the corners (3, 4) of a cell; back is the same as forth."""
    for path in permutations(range(4)):
        if path[0] < path[-1]:
            axes = np.diff(cell[:, path], axis=1)
            if np.linalg.matrix_rank(axes) == 3:
                yield axes


def _fitted(cells: MeshCells, rough: Box) -> tuple[Box, Ints] | None:
    """The box with these steps, if every vertex and cell is one of it and none is missing."""
    places = rough.places(cells.points)
    low = np.array([-cells.max(-row.min(initial=FARTHEST)) for row in places]).astype(np.int64)
    high = np.array([cells.max(row.max(initial=-FARTHEST)) for row in places]).astype(np.int64)
    shape = high - low
    if 6 * np.prod(shape, dtype=float) != cells.num_cells:
        return None
    if np.prod(shape + 1.0) != cells.num_vertices:
        return None
    corners = _corners(cells, places - low[:, None], shape)
    return None if corners is None else _verified(cells, _canonical(corners, shape))


def _corners(cells: MeshCells, places: Ints, shape: Ints) -> dict[tuple, Floats] | None:
    """Coordinates of the corners (a, b, c) of the box, a, b, c in {0, 1}."""
    own = {}
    for corner in product((0, 1), repeat=3):
        here = np.flatnonzero((places == (shape * corner)[:, None]).all(axis=0))
        if here.size:
            own[corner] = tuple(float(x) for x in cells.points[:, here[0]])
    every = {corner: at for found in gathered(cells.comm, own) for corner, at in found.items()}
    return None if len(every) < 8 else {corner: np.array(at) for corner, at in every.items()}


def _canonical(corners: dict[tuple, Floats], shape: Ints) -> Box:
    """The box from its corners, axes labelled and directed by coordinates alone.

    A box seen from the other end of its diagonal is the same.
    """
    here, there = (0, 0, 0), (1, 1, 1)
    if tuple(corners[there]) < tuple(corners[here]):
        here, there = there, here
    origin, found = corners[here], []
    for axis in range(3):
        end = tuple(there[axis] if a == axis else here[a] for a in range(3))
        found.append((tuple((corners[end] - origin) / shape[axis]), int(shape[axis])))
    steps, sizes = zip(*sorted(found, reverse=True), strict=True)
    return Box(origin, np.array(steps).T, sizes)


def _verified(cells: MeshCells, box: Box) -> tuple[Box, Ints] | None:
    places = box.places(cells.points)
    off = cells.max(np.abs(cells.points - box.at(places)).max(initial=0))
    size = cells.max(np.abs(cells.points).max(initial=0))
    with np.errstate(over="ignore"):
        is_single = not cells.sum((cells.points.astype(np.float32) != cells.points).any())
    dtype = np.float32 if is_single else np.float64
    misplaced = ~box.holds(places).all() or off > ROUNDOFF_UNITS * np.finfo(dtype).eps * size
    ids, unfit = _cell_numbers(places[:, cells.corners], box)
    if cells.sum(bool(misplaced or unfit)):
        return None
    numbers = box.numbers(places)[: cells.num_owned_nodes]
    complete = each_once(cells.comm, numbers, cells.num_vertices)
    if not complete or not each_once(cells.comm, ids, cells.num_cells):
        return None
    return Box(box.origin, box.axes, box.shape, off), places


def _cell_numbers(corners: Ints, box: Box) -> tuple[Ints, bool]:
    """Numbers of cells with corners (3, 4, m) in the lattice; whether some are no cells of it."""
    order = np.argsort(corners.sum(axis=0), axis=0, kind="stable")
    corners = np.take_along_axis(corners, order[None], axis=1)
    steps = np.diff(corners, axis=1)  # (axis, step, cell)
    unfit = (np.sort(steps, axis=0) != np.array([0, 0, 1])[:, None, None]).any()
    unfit |= (steps.sum(axis=1) != 1).any()
    first, second = steps[:, 0].argmax(axis=0), steps[:, 1].argmax(axis=0)
    (nx, ny, _), (i, j, k) = box.shape, corners[:, 0]
    turn = 2 * first + ((second - first) % 3 == 2)
    return 6 * (i + nx * (j + ny * k)) + turn, bool(unfit)
