# SPDX-License-Identifier: MIT
"""Vertices of the overlay of a structured grid with other triangles.

A function that is P1 on a grid, minus one that is P1 on other triangles, is P1 on the overlay of
both. Restricted to a triangle, it attains its largest and its smallest value at a corner, at a
vertex of the grid, or where an edge crosses a line of the grid. Lines of all four directions are
taken whole, whatever the diagonal: points too many do no harm.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.grid.grid import Grid

#: Line directions (a, b): the lines a·s + b·t = integer.
_LINES = ((1, 0), (0, 1), (1, 1), (1, -1))


def overlay_points(
    grid: Grid, corners: npt.NDArray, ring: int = 1
) -> tuple[npt.NDArray, npt.NDArray]:
    """Where the overlay of a grid, its ring included, with triangles has vertices.

    Args:
        grid: The structured grid.
        corners: Coordinates of the triangles' corners, shape (2, 3, m).
        ring: How many steps wide the ring is.

    Returns:
        The triangle of each vertex, shape (n,), and its barycentric coordinates, shape (3, n).
    """
    lattice = grid.to_lattice(corners.reshape(2, -1)).reshape(corners.shape)
    m = lattice.shape[2]
    found = [(np.tile(np.arange(m), 3), np.repeat(np.eye(3), m, axis=1))]
    for edge in ((0, 1), (1, 2), (2, 0)):
        for direction in _LINES:
            found.append(_crossings(grid, lattice, edge, direction, ring))
    for offset in (0.0, 0.5) if grid.has_centres else (0.0,):
        found.append(_lattice_points(grid, lattice, offset, ring))
    cells, weights = zip(*found, strict=True)
    return np.concatenate(cells), np.concatenate(weights, axis=1)


def segment_points(grid: Grid, ends: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    """Ends of segments, and where they cross lines of a grid, its ring included.

    Args:
        grid: The structured grid.
        ends: Coordinates of the segments' ends, shape (2, 2, m).

    Returns:
        The segment of each point, shape (n,), and the weights of the ends, shape (2, n).
    """
    lattice = grid.to_lattice(ends.reshape(2, -1)).reshape(ends.shape)
    m = lattice.shape[2]
    found = [(np.tile(np.arange(m), 2), np.repeat(np.eye(2), m, axis=1))]
    found += [_crossings(grid, lattice, (0, 1), direction, 1) for direction in _LINES]
    segments, weights = zip(*found, strict=True)
    return np.concatenate(segments), np.concatenate(weights, axis=1)


def _crossings(
    grid: Grid, lattice: npt.NDArray, edge: tuple[int, int], direction: tuple[int, int], ring: int
) -> tuple[npt.NDArray, npt.NDArray]:
    """Where an edge of each triangle, or a segment, crosses the lines of one direction."""
    nx, ny = grid.shape
    a, b = direction
    ends = a * lattice[0] + b * lattice[1]
    start, end = ends[edge[0]], ends[edge[1]]
    reach = [a * s + b * t for s in (-ring, nx + ring) for t in (-ring, ny + ring)]
    first = np.maximum(np.ceil(np.minimum(start, end)), min(reach))
    last = np.minimum(np.floor(np.maximum(start, end)), max(reach))
    cell, line = _ranges(first, last)
    run = end[cell] - start[cell]
    along = np.divide(line - start[cell], run, out=np.zeros_like(run), where=run != 0)
    weights = np.zeros((lattice.shape[1], cell.size))
    weights[edge[0]], weights[edge[1]] = 1 - along, along
    return cell, weights


def _lattice_points(
    grid: Grid, lattice: npt.NDArray, offset: float, ring: int
) -> tuple[npt.NDArray, npt.NDArray]:
    """The points (i, j) + offset of the lattice in each triangle."""
    low, high = lattice.min(axis=1) - offset, lattice.max(axis=1) - offset
    first = np.maximum(np.ceil(low), -ring)
    last = np.minimum(np.floor(high), np.array(grid.shape)[:, None] + ring)
    cell, i = _ranges(first[0], last[0])
    column, j = _ranges(first[1][cell], last[1][cell])
    cell, point = cell[column], np.array([i[column], j]) + offset
    origin = lattice[:, 0, cell]
    (ax, ay), (bx, by) = lattice[:, 1, cell] - origin, lattice[:, 2, cell] - origin
    px, py = point - origin
    area = ax * by - ay * bx
    with np.errstate(divide="ignore", invalid="ignore"):  # a triangle without area holds no point
        beta, gamma = (px * by - py * bx) / area, (ax * py - ay * px) / area
    weights = np.array([1 - beta - gamma, beta, gamma])
    inside = (weights >= 0).all(axis=0)
    return cell[inside], weights[:, inside]


def _ranges(first: npt.NDArray, last: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    """All (k, n) with first[k] ≤ n ≤ last[k], n an integer."""
    lengths = np.maximum(last - first + 1, 0).astype(np.int64)
    which = np.repeat(np.arange(lengths.size), lengths)
    position = np.arange(which.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return which, first[which] + position
