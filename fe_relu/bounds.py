# SPDX-License-Identifier: MIT
"""Exact bounds of a P1 network: of its outputs and of every neuron, over the mesh or a box.

Over a convex region, the pre-activation of a

- mesh line is affine: it is largest and smallest at corners of the region;
- hat is 1 − g(x − vertex) with g convex, positively homogeneous and ≥ 0, hence concave: it is
  smallest at a corner, and largest at the vertex, or, if that lies outside, on an edge, at an end
  or where a line through the vertex, on which g bends, crosses the edge.

The output is P1 on the grid with its ring, and bounded at the vertices of the overlay of grid and
region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu.grid import ROUNDOFF_UNITS, Grid
from fe_relu.hats import Star, mesh_lines, star_vertices
from fe_relu.intervals import Box, NetworkBounds, Pair, checked_box
from fe_relu.overlay import segment_points
from fe_relu.parallel import gather_columns, require_alike, together

if TYPE_CHECKING:
    from fe_relu.p1 import P1Network

#: Hats looked at together.
CHUNK_VERTICES = 1 << 14

#: The corners of a box, one after the other: which side along each axis.
_AROUND = np.array([[0, 1, 1, 0], [0, 0, 1, 1]])


def p1_bounds(network: P1Network, box: Box | None) -> NetworkBounds:
    """The bounds over the grid's parallelogram, or over a box. Collective over the network's comm.

    Raises:
        ValueError: The box is empty, flat or not finite.
        TypeError: The box does not hold real numbers, or is not the same on all ranks.
    """
    with together(network.comm):
        sides = None if box is None else checked_box(box, 2)
    if network.comm is not None:
        require_alike(network.comm, None if sides is None else tuple(sides.ravel()), "boxes")
    corners = _corners(network.grid, sides)
    layers = (_line_bounds(network.grid, corners), _hat_bounds(network.grid, corners))
    return NetworkBounds(*_output_bounds(network, sides), layers, exact=True)


def _corners(grid: Grid, sides: npt.NDArray | None) -> npt.NDArray[np.float64]:
    """The corners of the region, one after the other, in lattice coordinates, shape (2, 4)."""
    if sides is None:
        return _AROUND * np.array(grid.shape, float)[:, None]
    return grid.to_lattice(np.take_along_axis(sides, _AROUND, axis=1))


def _line_bounds(grid: Grid, corners: npt.NDArray) -> Pair:
    directions, offsets = mesh_lines(grid)
    values = directions @ corners - offsets[:, None]
    return values.min(axis=1), values.max(axis=1)


def _hat_bounds(grid: Grid, corners: npt.NDArray) -> Pair:
    positions = grid.lattice_positions()
    lower, upper = np.empty(grid.num_vertices), np.empty(grid.num_vertices)
    for star, every in star_vertices(grid):
        for first in range(0, len(every), CHUNK_VERTICES):
            vertices = every[first : first + CHUNK_VERTICES]
            # Seen from the vertices: shape (2, 4, n).
            seen = corners[:, :, None] - positions[:, None, vertices]
            lower[vertices] = 1 - _gauge(star, seen).max(axis=0)
            upper[vertices] = np.where(_around_origin(seen), 1, 1 - _least_gauge(star, seen))
    return lower, upper


def _gauge(star: Star, seen: npt.NDArray) -> npt.NDArray:
    """What a hat loses from its vertex to the points seen, shape (2, …)."""
    terms = (np.maximum(a * seen[0] + b * seen[1], 0) for a, b in star.directions)
    return star.weight * sum(terms, np.zeros(seen.shape[1:]))


def _least_gauge(star: Star, seen: npt.NDArray) -> npt.NDArray:
    """The least gauge on the edges of regions with these corners (2, 4, n), shape (n,)."""
    start, run = seen, np.roll(seen, -1, axis=1) - seen
    least = _gauge(star, seen).min(axis=0)
    for a, b in star.directions:
        height, slope = a * start[0] + b * start[1], a * run[0] + b * run[1]
        along = np.divide(-height, slope, out=np.zeros_like(height), where=slope != 0)
        bend = start + np.clip(along, 0, 1) * run
        least = np.minimum(least, _gauge(star, bend).min(axis=0))
    return least


def _around_origin(seen: npt.NDArray) -> npt.NDArray[np.bool_]:
    """Whether the origin lies in parallelograms with these corners (2, 4, n), edges included."""
    ahead = np.roll(seen, -1, axis=1)
    side = seen[0] * ahead[1] - seen[1] * ahead[0]
    return (side >= 0).all(axis=0) | (side <= 0).all(axis=0)


def _output_bounds(network: P1Network, sides: npt.NDArray | None) -> Pair:
    values = np.atleast_2d(network.values)
    if sides is not None:
        inside = _vertices_within(network, sides)
        values = np.append(values[:, inside], _values_on_edges(network, sides), axis=1)
    lower = values.min(axis=1, initial=np.inf, keepdims=True).astype(float)
    upper = values.max(axis=1, initial=-np.inf, keepdims=True).astype(float)
    if network.comm is not None:
        lower, upper = (gather_columns(network.comm, found) for found in (lower, upper))
    return lower.min(axis=1), upper.max(axis=1)


def _vertices_within(network: P1Network, sides: npt.NDArray) -> npt.NDArray[np.bool_]:
    """Which vertices of this rank's window lie in the box, up to roundoff."""
    grid = network.grid
    positions = grid.lattice_positions(network.window.vertices(grid))
    x = grid.origin[:, None] + grid.axes @ positions
    slack = ROUNDOFF_UNITS * np.finfo(float).eps * np.abs(grid.corners).max(axis=1)
    low, high = sides[:, :1] - slack[:, None], sides[:, 1:] + slack[:, None]
    return ((x >= low) & (x <= high)).all(axis=0)


def _values_on_edges(network: P1Network, sides: npt.NDArray) -> npt.NDArray:
    """Values at corners of the box and where mesh lines cross its edges; of each rank its share."""
    start = np.take_along_axis(sides, _AROUND, axis=1)
    ends = np.stack([start, np.roll(start, -1, axis=1)], axis=1)
    edge, weights = segment_points(network.grid, ends)
    x = np.einsum("den,en->dn", ends[:, :, edge], weights)
    comm = network.comm
    share = slice(None) if comm is None else slice(comm.rank, None, comm.size)
    return np.atleast_2d(network(x[:, share]))
