# SPDX-License-Identifier: MIT
"""Exact bounds of a P1 network: of its outputs and of every neuron, over the mesh or a box.

Over a convex region, the pre-activation of a

- mesh line is affine: it is largest and smallest at corners of the region;
- hat is 1 − g(x − vertex) with g convex, positively homogeneous and ≥ 0, hence concave: it is
  smallest at a corner, and largest at the vertex, or, if that lies outside, on an edge, at an end
  or where a line through the vertex, on which g bends, crosses the edge.

The output is P1 on the grid with its ring, and bounded at the vertices of the overlay of grid and
region. A surrogate is P1 on a grid whose ring is as wide as its coarsest cells. A P2 network lies
between the extremes of its P2 function, triangle by triangle.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.analysis.clipped import quadratics_over_box, values_over_box
from fe_relu.analysis.intervals import NetworkBounds, Pair, interval_bounds
from fe_relu.analysis.quadratics import extremes
from fe_relu.basics.arguments import Box, checked_box
from fe_relu.basics.refusals import wrong_kind
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.network import LayeredNetwork
from fe_relu.meshes.grid.grid import ROUNDOFF_UNITS, Grid, on_grid
from fe_relu.meshes.grid.hats import Star, mesh_lines, star_vertices
from fe_relu.meshes.grid.midpoints import EDGES
from fe_relu.meshes.grid.overlay import segment_points
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network
from fe_relu.networks.q1 import Q1Network
from fe_relu.parallel.agreement import largest, together

#: Hats looked at together.
CHUNK_VERTICES = 1 << 14

#: The corners of a box, one after the other: which side along each axis.
_AROUND = np.array([[0, 1, 1, 0], [0, 0, 1, 1]])


@singledispatch
def bounds(network: Any, box: Box | None = None) -> NetworkBounds:
    """The least and largest value of each output, and of each neuron before its ReLU.

    Of a `P1Network` exact: attained in the region, up to `Grid.resolution` and one rounding; nodal
    values with their bits; on a mesh that is no grid outputs only, and over a box in 3-D they only
    enclose the values. Of a `Surrogate` exact too, but outputs only. Of a `P2Network` outputs only:
    those of the P2 function, which the network reaches up to its `error_bound`, over all triangles
    that meet the region. Of a `Q1Network` outputs only: exact over the mesh, over a box enclosing.
    Of a `ReLUNetwork` or `PoolingNetwork` by interval arithmetic: they enclose the values, and are
    often wide; a network that `p1_from_relu` recognises has exact ones. Neurons are in the order of
    `explicit()`.
    Collective over the network's `comm`, if it has one.

    Args:
        network: A `P1Network`, `P2Network`, `Q1Network`, `Surrogate`, `ReLUNetwork` or
            `PoolingNetwork`.
        box: ((x0, x1), …), one pair for each input, anywhere; by default the network's mesh. A
            network of layers has no default.

    Raises:
        ValueError: The box is missing, empty, flat or not finite; on every rank.
        TypeError: The network is of another kind, the box does not hold real numbers, or ranks pass
            different ones.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right")
        >>> found = fe_relu.bounds(fe_relu.P1Network(grid, np.arange(9.0)), ((0, 1), (0, 0.5)))
        >>> found.lower, found.upper, found.exact
        (array([0.]), array([2.5]), True)
    """
    taken = "a P1Network, P2Network, Surrogate or ReLUNetwork"
    raise wrong_kind(network, taken, "to_p1", "explicit")


@bounds.register
def _(network: LayeredNetwork, box: Box | None = None) -> NetworkBounds:
    if box is None:
        kind = type(network).__name__
        raise ValueError(f"bounds of a {kind} need a box, ((x0, x1), …); it has no domain")
    return interval_bounds(network, checked_box(box, network.dim_in))


@bounds.register
def _(network: P1Network, box: Box | None = None) -> NetworkBounds:
    sides = _agreed_sides(network, box)
    if not network.mesh.is_structured:
        return _on_simplices(network.whole(), sides)
    grid = on_grid(network.mesh, "bounds")
    corners = _corners(grid, sides)
    layers = (_line_bounds(grid, corners), _hat_bounds(grid, corners))
    return NetworkBounds(*_output_bounds(network, sides), layers, True, *_region(network, sides))


def _on_simplices(network: P1Network, sides: npt.NDArray | None) -> NetworkBounds:
    """Of outputs only, of a network of this process alone."""
    values, exact = np.atleast_2d(network.values), True
    if sides is not None:
        values, exact = values_over_box(network, sides)
    outputs = values.min(axis=1).astype(float), values.max(axis=1).astype(float)
    return NetworkBounds(*outputs, (), exact, *_region(network, sides))


@bounds.register
def _(network: Surrogate, box: Box | None = None) -> NetworkBounds:
    sides = _agreed_sides(network, box)
    on_mesh = network.to_p1()
    if sides is not None:
        whole = network.whole()
        mesh = _extended(network.mesh, 1 << network.levels)
        on_mesh = P1Network(mesh, whole(mesh.vertices()))
    return NetworkBounds(*_output_bounds(on_mesh, sides), (), True, *_region(network, sides))


@bounds.register
def _(network: P2Network, box: Box | None = None) -> NetworkBounds:
    sides, whole = _agreed_sides(network, box), network.whole()
    lower, upper = _quadratic_extremes(whole, sides)
    off = whole.steepness * whole.mesh.resolution(whole.dtype) * whole.size
    outputs = (lower - off, upper + off)
    return NetworkBounds(*outputs, (), False, *_region(whole, sides))


def _quadratic_extremes(whole: P2Network, sides: npt.NDArray | None) -> Pair:
    """Of the P2 function on the cells that meet the region."""
    if not whole.mesh.is_structured:
        return quadratics_over_box(whole, sides)
    mesh = on_grid(whole.mesh, "bounds")
    nodal, cells = np.atleast_2d(whole.values), mesh.cells()
    if sides is not None:
        mesh = _extended(mesh, 1)
        nodal = np.atleast_2d(whole(mesh.refined(2).vertices()))
        cells = _meeting(mesh.vertices(), mesh.cells(), sides)
    corners = nodal[:, mesh.midpoints(cells, cells)].astype(float)
    middles = [nodal[:, mesh.midpoints(cells[a], cells[b])].astype(float) for a, b in EDGES]
    lower, upper = extremes(corners, np.stack(middles, axis=1))
    return lower.min(axis=1), upper.max(axis=1)


@bounds.register
def _(network: Q1Network, box: Box | None = None) -> NetworkBounds:
    """In a cell, values are between those at its corners."""
    sides, whole = _agreed_sides(network, box), network.whole()
    values = np.atleast_2d(whole.values)
    if sides is not None:
        mesh: Any = whole.mesh
        vertices, cells = mesh.with_ring()
        values = np.atleast_2d(whole(vertices))[:, _meeting(vertices, cells, sides).ravel()]
    outputs = (values.min(axis=1).astype(float), values.max(axis=1).astype(float))
    return NetworkBounds(*outputs, (), sides is None, *_region(network, sides))


def _meeting(
    vertices: npt.NDArray, cells: npt.NDArray[np.int64], sides: npt.NDArray
) -> npt.NDArray[np.int64]:
    """The cells whose boxes meet a box; the last, on the ring, if there are none."""
    x = vertices[:, cells]
    meets = ((x.min(axis=1) <= sides[:, 1:]) & (x.max(axis=1) >= sides[:, :1])).all(axis=0)
    meets[-1] |= not meets.any()
    return cells[:, meets]


def bounds_around(network: Any) -> NetworkBounds:
    """Bounds over the smallest box around the mesh that a network is on."""
    over_mesh = bounds(network)
    box, outline = np.array(over_mesh.box), np.array(over_mesh.outline)
    is_box = ((outline == box[:, :1]) | (outline == box[:, 1:])).all()
    if is_box and network.mesh.is_structured:
        return replace(over_mesh, outline=None)
    return bounds(network, [(low, high) for low, high in box])


def _region(network: Any, sides: npt.NDArray | None) -> tuple[npt.NDArray, npt.NDArray | None]:
    """Box and outline of the region that is a box with these sides, or the mesh."""
    if sides is not None:
        return sides, None
    outline = network.mesh.outline
    return np.array([outline.min(axis=1), outline.max(axis=1)]).T, outline


def _agreed_sides(network: Any, box: Box | None) -> npt.NDArray[np.float64] | None:
    """The sides of the box that all ranks pass, if they pass one. Collective."""
    with together(network.comm) as terms:
        sides = None if box is None else checked_box(box, network.dim_in)
        terms.alike("boxes", None if sides is None else sides.tolist())
    return sides


def _extended(grid: Grid, steps: int) -> Grid:
    """The grid with at least so many more cells on every side, an even number of them."""
    more = steps + steps % 2
    (nx, ny), origin = grid.shape, grid.origin - grid.axes @ (more, more)
    return Grid(origin, grid.axes, (nx + 2 * more, ny + 2 * more), grid.diagonal)


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
    lower = values.min(axis=1, initial=np.inf).astype(float)
    upper = values.max(axis=1, initial=-np.inf).astype(float)
    return (
        np.array([-largest(network.comm, -float(low)) for low in lower]),
        np.array([largest(network.comm, float(high)) for high in upper]),
    )


def _vertices_within(network: P1Network, sides: npt.NDArray) -> npt.NDArray[np.bool_]:
    """Which vertices of this rank's part lie in the box, up to roundoff."""
    grid = on_grid(network.mesh, "bounds")
    x = grid.origin[:, None] + grid.axes @ grid.lattice_positions(network.part.numbers())
    slack = ROUNDOFF_UNITS * np.finfo(float).eps * np.abs(grid.corners).max(axis=1)
    low, high = sides[:, :1] - slack[:, None], sides[:, 1:] + slack[:, None]
    return ((x >= low) & (x <= high)).all(axis=0)


def _values_on_edges(network: P1Network, sides: npt.NDArray) -> npt.NDArray:
    """Values at corners of the box and where mesh lines cross its edges."""
    start = np.take_along_axis(sides, _AROUND, axis=1)
    ends = np.stack([start, np.roll(start, -1, axis=1)], axis=1)
    edge, weights = segment_points(on_grid(network.mesh, "bounds"), ends)
    x = np.einsum("den,en->dn", ends[:, :, edge], weights)
    return np.atleast_2d(network(x))
