# SPDX-License-Identifier: MIT
"""The ring of vertices of value zero around a mesh: a P1 function is one on all of ℝ or ℝ².

At each vertex of the boundary, what is outside is a *gap* between two edges:

       ·     ·           one ring vertex or more in it, at equal angles, with a triangle between
      ╱│╲   ╱│╲          two of the same gap;
     · ┼─┼─┼─┼ ·
       │ mesh│           beside each edge, a quadrilateral between the ring vertices nearest to it
                         on both sides, cut in two

Beyond the ring the function is zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.basics.ordering import order_of, sorted_columns
from fe_relu.meshes.simplices.location.neighbours import neighbours

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: No angle between neighbours at a boundary vertex, outside the mesh, is wider.
WIDEST = 0.6 * np.pi

#: How far ring vertices are from their own, as a part of the room there is. Two such parts leave
#: some of it free.
REACH = 0.4


class Ring(NamedTuple):
    """What is around a mesh.

    Attributes:
        ghosts: Coordinates of its vertices, shape (dim, g).
        cells: Shape (dim + 1, r); ghost k is n + k, other numbers are those of n vertices.
        facets: Which facet of the boundary each cell is beside, shape (r,).
    """

    ghosts: Floats
    cells: Ints
    facets: Ints


def extended(vertices: npt.NDArray, cells: npt.NDArray) -> tuple[Floats, Ints, int]:
    """The mesh and a ring of cells around it, which overlap nothing and have all of it inside.

    The vertices and cells of the mesh come first, as they are. Cells of the ring have at least one
    vertex of the mesh, and are counter-clockwise. Holes, several components, and parts that touch
    in a vertex have rings as well.

    Args:
        vertices: Coordinates, shape (dim, n), dim 1 or 2.
        cells: Vertices of each cell, shape (dim + 1, m), in any orientation.

    Returns:
        Vertices, cells, and n, the number of vertices that are the mesh's own.

    Raises:
        ValueError: Two boundary vertices are in one place, or cells overlap at the boundary.
    """
    vertices = np.asarray(vertices, np.float64)
    cells = np.asarray(cells, np.int64)
    ring = ring_around(vertices, boundary(vertices, cells))
    return np.hstack([vertices, ring.ghosts]), np.hstack([cells, ring.cells]), vertices.shape[1]


def ring_around(vertices: Floats, facets: Ints) -> Ring:
    """The ring around a mesh with this `boundary`, of which other vertices need not be there."""
    return (_ends if len(vertices) == 1 else _ring)(vertices, facets)


def _ends(vertices: Floats, facets: Ints) -> Ring:
    """A vertex beyond each end: as far as the one within, or less where another part is near."""
    x = vertices[0]
    order = np.argsort(x[facets[0]], kind="stable")
    ends, inner = facets[:, order]
    is_left = x[ends] < x[inner]
    if is_left[1::2].any() or not is_left[::2].all():
        raise ValueError("intervals overlap")
    room = np.repeat(np.concatenate([[np.inf], np.diff(x[ends])[1::2], [np.inf]]), 2)[1:-1]
    reach = np.minimum(np.abs(x[inner] - x[ends]), REACH * room)
    _check_room(vertices, ends, reach)
    ghosts = vertices.shape[1] + np.arange(len(ends))
    pairs = np.where(is_left, [ghosts, ends], [ends, ghosts])
    return Ring((x[ends] + np.where(is_left, -reach, reach))[None], pairs, order)


def _ring(vertices: Floats, edges: Ints) -> Ring:
    """Ring vertices at equal angles in each gap of the boundary, and the cells between them."""
    after, start, width = _gaps(vertices, edges)
    place = edges[1]
    reach = _room(vertices, edges)
    _check_room(vertices, place, reach[place])
    counts = np.maximum(1, np.ceil(width / WIDEST).astype(np.int64) - 1)
    gap = np.repeat(np.arange(len(place)), counts)
    first = np.cumsum(counts) - counts
    step = np.arange(len(gap)) - first[gap] + 1
    angle = start[gap] + width[gap] * step / (counts[gap] + 1)
    ghosts = vertices[:, place[gap]] + REACH * reach[place[gap]] * [np.cos(angle), np.sin(angle)]

    number = vertices.shape[1] + np.arange(len(gap))
    inner = np.flatnonzero(step < counts[gap])
    fans = np.array([place[gap[inner]], number[inner], number[inner] + 1])
    last = np.empty_like(first)
    last[after] = number[first] + counts - 1
    quadrilaterals = np.array([edges[0], last, number[first], edges[1]])
    everywhere = np.hstack([vertices, ghosts])
    cells = np.hstack([fans, _halves(everywhere, quadrilaterals)])
    every = np.arange(edges.shape[1])
    return Ring(ghosts, cells, np.concatenate([gap[inner], every, every]))


def boundary(vertices: Floats, cells: Ints, mine: Any = True) -> Ints:
    """The facets of one cell only, shape (2, e), in 1-D and 2-D; of some cells, if not of all.

    Edges of triangles, from start to end with the mesh on the left, in increasing order of (lower,
    higher vertex). Ends of intervals, each followed by the interval's other end, in order.
    """
    corners = sorted_columns(cells)
    is_open = neighbours(corners, vertices.shape[1])[0] < 0
    cell, i = np.nonzero(is_open & np.reshape(mine, (-1, 1)))
    if len(vertices) == 1:
        facets = np.array([corners[1 - i, cell], corners[i, cell]])
        return facets[:, order_of(facets[0])]
    edges = np.array([corners[np.where(i == 0, 1, 0), cell], corners[np.where(i == 2, 1, 2), cell]])
    order = order_of(*edges)
    edges, opposite = edges[:, order], corners[i, cell][order]
    (ax, bx, cx), (ay, by, cy) = vertices[:, [*edges, opposite]]
    clockwise = (bx - ax) * (cy - ay) < (by - ay) * (cx - ax)
    return np.where(clockwise, edges[::-1], edges)


def _gaps(vertices: Floats, edges: Ints) -> tuple[Ints, Floats, Floats]:
    """For each edge, what is outside at its end: the next edge, the angle there, and how wide.

    Counter-clockwise around a vertex, the ends and the starts of edges take turns, and what is
    between an end and the next start is outside.
    """
    along = vertices[:, edges[1]] - vertices[:, edges[0]]
    count = edges.shape[1]
    place = np.concatenate([edges[1], edges[0]])
    angle = np.arctan2(*np.hstack([-along, along])[::-1])
    order = np.lexsort([angle, place])
    is_last = np.append(np.diff(place[order]) != 0, True)
    group = np.cumsum(is_last) - is_last
    firsts = np.append(0, np.flatnonzero(is_last)[:-1] + 1)
    following = np.empty(2 * count, np.int64)
    following[order] = np.where(is_last, order[firsts[group]], np.roll(order, -1))
    after = following[:count] - count
    if (after < 0).any():
        v = edges[1, after.argmin()]
        raise ValueError(f"triangles overlap at vertex {v}, {_where(vertices, v)}")
    width = (angle[count:][after] - angle[:count]) % (2 * np.pi)
    return after, angle[:count], width


def _room(vertices: Floats, edges: Ints) -> Floats:
    """For each boundary vertex, the least length of its edges and distance to others.

    Both its own distance to edges that are not its, and that of its edges to edges that they share
    no vertex with.
    """
    room = np.full(vertices.shape[1], np.inf)
    lengths = np.hypot(*(vertices[:, edges[1]] - vertices[:, edges[0]]))
    np.minimum.at(room, edges, np.array([lengths, lengths]))
    ends, reach = vertices[:, edges], room[edges].max(axis=0)
    low, high = ends.min(axis=1) - reach, ends.max(axis=1) + reach
    axis = np.argmax(np.ptp(ends, axis=(1, 2)))
    order = np.argsort(low[axis])
    boxes = np.array([low[axis], high[axis], low[1 - axis], high[1 - axis]])[:, order]
    _lower(room, vertices, edges[:, order], boxes)
    return room


@compiled
def _lower(room: Any, vertices: Any, edges: Any, boxes: Any) -> None:
    """Lowers room to the distances of edges whose boxes meet; boxes start one after the other."""
    for e in range(edges.shape[1]):
        for f in range(e + 1, edges.shape[1]):
            if boxes[0, f] > boxes[1, e]:
                break
            if boxes[2, f] <= boxes[3, e] and boxes[2, e] <= boxes[3, f]:
                _lower_two(room, vertices, edges[:, e], edges[:, f])


@compiled
def _lower_two(room: Any, vertices: Any, e: Any, f: Any) -> None:
    """Lowers room to the distances of two edges, or where they meet, of their other ends."""
    least, meet = np.inf, False
    for one, other in ((e, f), (f, e)):
        for v in one:
            if v == other[0] or v == other[1]:
                meet = True
            else:
                distance = _distance(vertices, v, other[0], other[1])
                room[v] = min(room[v], distance)
                least = min(least, distance)
    if not meet:
        for v in (e[0], e[1], f[0], f[1]):
            room[v] = min(room[v], least)


@compiled
def _distance(vertices: Any, v: Any, a: Any, b: Any) -> Any:
    """Of vertex v from the edge a b."""
    x, y = vertices[0, v] - vertices[0, a], vertices[1, v] - vertices[1, a]
    dx, dy = vertices[0, b] - vertices[0, a], vertices[1, b] - vertices[1, a]
    part = min(max((x * dx + y * dy) / (dx * dx + dy * dy), 0.0), 1.0)
    return np.hypot(x - part * dx, y - part * dy)


def _check_room(vertices: Floats, places: Ints, room: Floats) -> None:
    """Raises if there is none at some of the boundary vertices."""
    tight = room <= 16 * np.finfo(np.float64).eps * np.abs(vertices).max()
    if tight.any():
        v = places[tight.argmax()]
        raise ValueError(
            f"{tight.sum()} boundary vertices lie on other parts of the boundary (a slit, or parts "
            f"that were not joined), the first of them {v}, {_where(vertices, v)}; "
            "make one vertex of those in one place"
        )


def _where(vertices: Floats, v: int) -> str:
    return "at " + ", ".join(f"{c:.6g}" for c in vertices[:, v])


def _halves(vertices: Floats, quadrilaterals: Ints) -> Ints:
    """Each quadrilateral, counter-clockwise, cut by the diagonal that leaves the wider halves."""
    a, b, c, d = quadrilaterals
    cuts = [np.array([[a, b, c], [c, d, a]]), np.array([[b, c, d], [d, a, b]])]
    widths = [np.minimum(*(_width(vertices[:, half]) for half in cut)) for cut in cuts]
    halves = np.where(widths[0] >= widths[1], *cuts)
    return np.hstack([*halves])


def _width(corners: Floats) -> Floats:
    """The least height of triangles, corners of shape (2, 3, n); negative if clockwise."""
    sides = np.roll(corners, -1, axis=1) - corners
    area = sides[0, 0] * sides[1, 1] - sides[1, 0] * sides[0, 1]
    return area / np.hypot(*sides).max(axis=0)
