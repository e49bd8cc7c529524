# SPDX-License-Identifier: MIT
"""Supports of networks as unions of cells, their boundary, and how far two are apart.

A continuous piecewise linear function that is not 0 somewhere on a simplex is 0 on a part of it
that has no interior, so its support is the union of the simplices with a vertex where it is not 0.

Let d(x) be the distance of x to a support, a union of simplices K. Over a simplex with corners v,

    max over v of d(v)  ≤  sup of d  ≤  min over K of max over v of d(v, K),

as d(x, K) is convex in x. Simplices for which both differ by more than a tolerance are halved,
until none is left that could change the largest lower bound by more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from fe_relu.basics.points import real_points, require_finite
from fe_relu.meshes.quadrilaterals.mesh import halved
from fe_relu.meshes.simplices.checks import LARGEST, checked_arrays
from fe_relu.networks.p2 import P2Network
from fe_relu.networks.q1 import Q1Network
from fe_relu.regions.domains import cells_of
from fe_relu.regions.functionals import pieces_of
from fe_relu.regions.regions import volumes
from fe_relu.regions.triangles import triangulated

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Pairs of a point and a simplex looked at together.
AT_ONCE = 1 << 20

#: No more simplices are halved at a time than this; then bounds are as wide as they are.
MOST_HALVED = 1 << 15


@dataclass(frozen=True, eq=False)
class Support:
    """A union of intervals, or of triangles: the closure of where a function is not 0.

    Simplices have whole facets or vertices in common, or nothing. Those without length or area
    count for nothing. The arrays are copied, and kept read-only.

    Args:
        vertices: Coordinates, shape (dim, n), dim 1 or 2.
        cells: Vertices of each simplex, shape (dim + 1, m), m ≥ 0; kept increasing in 1-D, and
            counter-clockwise in 2-D.

    Raises:
        ValueError: An array has another shape, a coordinate is not finite, or there is no such
            vertex.
        TypeError: vertices are not real numbers, or cells not integers.

    Examples:
        >>> import fe_relu
        >>> triangle = fe_relu.Support([[0, 1, 0], [0, 0, 2]], [[0], [1], [2]])
        >>> triangle.measure, float(triangle.distance([[3.0], [0.0]])[0])
        (1.0, 2.0)
    """

    vertices: Floats
    cells: Ints

    def __post_init__(self) -> None:
        vertices, cells = np.asarray(self.vertices), np.asarray(self.cells)
        if cells.shape[1:] != (0,) or vertices.shape not in ((1, 0), (2, 0)):
            vertices, cells = checked_arrays(vertices, cells)
        if len(vertices) > 2 or len(cells) != len(vertices) + 1:
            raise ValueError(
                f"supports are in 1-D and 2-D; vertices of shape {vertices.shape} and cells of "
                f"shape {cells.shape} are not"
            )
        cells = _oriented(vertices, cells.astype(np.int64))
        for name, array in (("vertices", vertices.astype(np.float64)), ("cells", cells)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @staticmethod
    def of_polygon(corners: npt.ArrayLike) -> Support:
        """A convex polygon, corners (2, n); or in 1-D an interval, ends (1, 2).

        Raises:
            ValueError: It has another shape, has no area, or is not convex.
            TypeError: Corners are not real numbers.
        """
        points = np.asarray(corners)
        if points.shape != (1, 2) and (points.ndim != 2 or len(points) != 2 or points.size < 6):
            raise ValueError(
                "a polygon needs corners of shape (2, n), n at least 3, and an interval (1, 2), "
                f"not {points.shape}"
            )
        cells = cells_of(points, len(points))
        return _of_faces(cells.vertices.T, cells.offsets, cells.corners)

    @property
    def dim(self) -> int:
        return len(self.vertices)

    @property
    def is_empty(self) -> bool:
        """Whether the function is 0 everywhere."""
        return len(self.convex_parts) == 0

    @property
    def measure(self) -> float:
        """Its length or area."""
        return float(np.abs(volumes(self.vertices, self.cells)).sum())

    @cached_property
    def convex_parts(self) -> Floats:
        """Corners of the triangles, or of intervals that do not touch; shape (m, dim + 1, dim)."""
        parts = self.vertices.T[self.cells[:, volumes(self.vertices, self.cells) > 0].T]
        return _joined(parts[:, :, 0])[:, :, None] if self.dim == 1 else parts

    @cached_property
    def rim(self) -> Floats:
        """Ends of the pieces of the boundary, shape (m, dim, dim)."""
        if self.dim == 1:
            return self.convex_parts.reshape(-1, 1, 1)
        return self.vertices.T[_single_edges(self.cells).T]

    def distance(self, x: npt.ArrayLike) -> Floats:
        """The distance of the columns of x, (dim, n), to the support; infinite if it is empty."""
        points = real_points(x, self.dim).astype(np.float64)
        require_finite(points)
        if (largest := np.abs(points).max(initial=0)) > LARGEST:
            raise ValueError(f"coordinates up to {largest:g} are beyond {LARGEST:g}; rescale them")
        return _nearest(points.T, self.convex_parts)[0]

    def boundary(self) -> list[Floats]:
        """Closed polygons with the support on their left, (2, k) each; in 1-D intervals, (1, 2).

        Outer ones run counter-clockwise, and those of holes clockwise. None passes a vertex twice:
        parts, and holes, that touch in a vertex only have a polygon each. Polygons start at their
        least vertex, by its first coordinate, then its second, and are in the order of these.
        """
        if self.dim == 1:
            return list(self.convex_parts.transpose(0, 2, 1))
        loops = [self.vertices[:, loop] for loop in _loops(self.vertices, self.cells)]
        return [loop for loop in loops if _area(loop) != 0]


def support(network: Any, domain: Any = None, *, tolerance: float = 0.0) -> Support:
    """The closure of where a network is not 0, exactly: a union of its linear regions.

    Of a network on a mesh without a domain, of the cells of its mesh with a node where it is not 0;
    of a `P2Network` that is the support of the P2 function. Collective if values are spread.

    Args:
        network: On a mesh in 1-D or 2-D, or one of which there are `linear_regions`.
        domain: As for `linear_regions`; needed if the network has no mesh.
        tolerance: Values up to this in magnitude count as 0.

    Raises:
        ValueError: A domain is needed, or the network has three inputs; as for `linear_regions`.
        TypeError: The network is of another kind.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (4, 4), "right")
        >>> hat = fe_relu.P1Network(grid, np.eye(25)[12])
        >>> found = fe_relu.support(hat)
        >>> found.measure, [loop.shape for loop in found.boundary()]
        (3.0, [(2, 6)])
    """
    if isinstance(network, Support):
        raise TypeError("a Support is one already; pass it as it is")
    if getattr(network, "dim_in", 1) > 2:
        raise ValueError("supports are found in 1-D and 2-D; the network has three inputs or more")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, not {tolerance}")
    vertices, offsets, corners, sizes = _faces(network, domain)
    chosen = np.maximum.reduceat(sizes, offsets[:-1]) > tolerance if sizes.size else sizes > 0
    kept = np.repeat(chosen, np.diff(offsets))
    counts = np.concatenate([[0], np.cumsum(np.diff(offsets)[chosen])])
    return _of_faces(vertices, counts, corners[kept])


class Faces(NamedTuple):
    """Convex cells, and how large a function is at each of their corners.

    Attributes:
        vertices: Shape (dim, n).
        offsets: As in `LinearRegions`.
        corners: As in `LinearRegions`.
        sizes: The largest magnitude of a component at each corner, or of the whole cell.
    """

    vertices: Floats
    offsets: Ints
    corners: Ints
    sizes: Floats


@singledispatch
def _faces(network: Any, domain: Any) -> Faces:
    pieces = pieces_of(network, domain)
    sizes = np.abs(pieces.values).max(axis=0)[pieces.corners]
    return Faces(pieces.vertices, pieces.offsets, pieces.corners, sizes)


@_faces.register
def _(network: Q1Network, domain: Any) -> Faces:
    if domain is not None:
        raise ValueError("the support of a Q1Network is known on its own mesh; leave domain out")
    whole: Any = network.whole()
    cells, size = whole.mesh.cells(), np.abs(np.atleast_2d(whole.values)).max(axis=0)
    sizes = np.repeat(size[cells].max(axis=0), 2)
    return _of_cells(whole.mesh.vertices(), halved(cells), sizes)


@_faces.register
def _(network: P2Network, domain: Any) -> Faces:
    if domain is not None:
        raise ValueError("the support of a P2Network is known on its own mesh; leave domain out")
    whole = network.whole()
    cells, size = whole.mesh.cells(), np.abs(np.atleast_2d(whole.values)).max(axis=0)
    pairs = ((cells[a], cells[b]) for b in range(len(cells)) for a in range(b + 1))
    nodes = [whole.mesh.midpoints(*pair) for pair in pairs]
    return _of_cells(whole.mesh.vertices(), cells, size[np.array(nodes)].max(axis=0))


def _of_cells(vertices: Floats, cells: Ints, sizes: Floats) -> Faces:
    """Of simplices (dim + 1, m), with one number for each."""
    upright = _oriented(vertices, cells)
    offsets = np.arange(cells.shape[1] + 1) * len(cells)
    return Faces(vertices, offsets, upright.T.ravel(), np.repeat(sizes, len(cells)))


def _oriented(vertices: Floats, cells: Ints) -> Ints:
    """The same simplices, none with a negative volume."""
    turned = cells.copy()
    turned[:2] = np.where(volumes(vertices, cells) < 0, cells[1::-1], cells[:2])
    return turned


def _of_faces(vertices: Floats, offsets: Ints, corners: Ints) -> Support:
    cells: Ints
    if len(vertices) == 1:
        cells = corners.reshape(-1, 2).T
    elif corners.size:
        cells, _ = triangulated(vertices.T.copy(), offsets, corners)
    else:
        cells = np.empty((3, 0), np.int64)
    used, numbers = np.unique(cells, return_inverse=True)
    return Support(vertices[:, used], numbers.reshape(cells.shape))


# Boundaries


def _joined(intervals: Floats) -> Floats:
    """Intervals (m, 2), those that touch as one."""
    found: list[list[float]] = []
    ends: Any = intervals.tolist()
    for start, end in sorted(ends):
        if found and start <= found[-1][1]:
            found[-1][1] = max(end, found[-1][1])
        else:
            found.append([start, end])
    return np.array(found).reshape(-1, 2)


def _single_edges(cells: Ints) -> Ints:
    """Edges of one triangle only, (2, m), with the triangle on the left."""
    ends = np.concatenate([cells[[0, 1]], cells[[1, 2]], cells[[2, 0]]], axis=1)
    undirected = np.sort(ends, axis=0)
    _, first, counts = np.unique(undirected, axis=1, return_index=True, return_counts=True)
    return ends[:, first[counts == 1]]


def _area(loop: Floats) -> float:
    x, y = loop - loop[:, :1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _loops(vertices: Floats, cells: Ints) -> list[list[int]]:
    """Edges of one triangle only, as closed chains that pass no vertex twice."""
    ahead: dict[int, list[int]] = {}
    edges: Any = _single_edges(cells).T.tolist()
    for a, b in edges:
        ahead.setdefault(a, []).append(b)
    left = {(a, b): _leftmost(vertices, a, b, ahead[b]) for a, b in edges}
    loops = []
    while left:
        (a, b), walk = min(left), []
        while (a, b) in left:
            walk.append(a)
            a, b = b, left.pop((a, b))
        loops += _simple(walk)
    places: Any = [vertices[:, loop].T.tolist() for loop in loops]
    firsts = [min(range(len(at)), key=at.__getitem__) for at in places]
    turned = [loop[first:] + loop[:first] for loop, first in zip(loops, firsts, strict=True)]
    return sorted(turned, key=lambda loop: vertices[:, loop[:2]].T.tolist())


def _simple(walk: list[int]) -> list[list[int]]:
    """A closed walk as closed chains that pass no vertex twice; it touches itself, at most."""
    loops: list[list[int]] = []
    path: list[int] = []
    place: dict[int, int] = {}
    for vertex in walk:
        if vertex in place:
            loops.append(path[place[vertex] :])
            for other in loops[-1]:
                del place[other]
            del path[len(path) - len(loops[-1]) :]
        place[vertex] = len(path)
        path.append(vertex)
    return [*loops, path]


def _leftmost(vertices: Floats, before: int, here: int, ways: list[int]) -> int:
    """Of the ways on, the one that turns most to the left: around the same part."""
    if len(ways) == 1:
        return ways[0]
    back, *on = (complex(*(vertices[:, k] - vertices[:, here])) for k in (before, *ways))
    # Clockwise from where the chain comes from, the first edge bounds the same part.
    angles = np.angle([way / back for way in on]) % (2 * np.pi)
    return ways[int(np.argmax(angles))]


# Distances


def _to_simplices(points: Floats, simplices: Floats) -> Floats:
    """Of points (…, dim) to simplices (…, corners, dim): points, segments or triangles."""
    count = simplices.shape[-2]
    least: npt.NDArray = np.full((), np.inf)
    inside: npt.NDArray = np.ones((), bool)
    for k in range(count if count > 2 else 1):
        a, b = simplices[..., k, :], simplices[..., (k + 1) % count, :]
        side, away = b - a, points - a
        length = (side * side).sum(axis=-1)
        along = np.clip((away * side).sum(axis=-1) / np.where(length > 0, length, 1), 0, 1)
        least = np.minimum(least, _length(away - along[..., None] * side))
        if count == 3:
            inside = inside & (side[..., 0] * away[..., 1] - side[..., 1] * away[..., 0] >= 0)
    return np.where(inside, 0, least) if count == 3 else least


def _length(x: Floats) -> Floats:
    """Of vectors (…, dim), however long they are."""
    return np.hypot.reduce(np.abs(x), axis=-1)


def _nearest(points: Floats, simplices: Floats) -> tuple[Floats, Ints]:
    """The distance of points (n, dim) to the nearest of simplices, and which that is."""
    distance, which = np.full(len(points), np.inf), np.zeros(len(points), np.int64)
    if len(simplices) == 0 or len(points) == 0:
        return distance, which
    middles = simplices.mean(axis=1)
    radius = _length(simplices - middles[:, None]).max()
    corners, tree = cKDTree(simplices.reshape(-1, points.shape[1])), cKDTree(middles)
    # The nearest is not farther than the nearest corner, and its middle by a radius at most.
    reach = corners.query(points)[0] * (1 + 1e-12) + radius
    counts = tree.query_ball_point(points, reach, return_length=True)
    ends = np.cumsum(counts)
    for first, last in _stretches(ends):
        near = tree.query_ball_point(points[first:last], reach[first:last])
        rows, columns = np.repeat(np.arange(first, last), counts[first:last]), np.concatenate(near)
        found = _to_simplices(points[rows], simplices[columns.astype(np.int64)])
        starts = ends[first:last] - counts[first:last]
        least = np.lexsort((found, rows))[starts - starts[0]]
        distance[first:last], which[first:last] = found[least], columns[least]
    return distance, which


def _stretches(ends: Ints) -> Iterator[tuple[int, int]]:
    """Stretches of points with about `AT_ONCE` pairs each, of which those up to a point end so."""
    first = 0
    while first < len(ends):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + AT_ONCE, side="right")))
        yield first, last
        first = last


@dataclass(frozen=True)
class SupportError:
    """The Hausdorff distance of two supports, enclosed.

    Attributes:
        lower: At most the distance; attained at a vertex of a cell or of its halves.
        upper: At least the distance.
        beyond: (lower, upper) of how far the network's support reaches beyond the other.
        missing: The same of the other's beyond the network's.
    """

    beyond: tuple[float, float]
    missing: tuple[float, float]

    @property
    def lower(self) -> float:
        return max(self.beyond[0], self.missing[0])

    @property
    def upper(self) -> float:
        return max(self.beyond[1], self.missing[1])


def hausdorff(one: Support, other: Support, rtol: float) -> SupportError:
    """The Hausdorff distance of two supports, enclosed; see `fe_relu.support_error`.

    Args:
        one: The network's.
        other: Of the same dimension.
        rtol: How far apart bounds may be, as part of the size of both.

    Raises:
        ValueError: They are of different dimensions.
    """
    if one.dim != other.dim:
        raise ValueError(f"supports are in {one.dim}-D and {other.dim}-D; they must be alike")
    points = np.concatenate([each.convex_parts.reshape(-1, one.dim) for each in (one, other)])
    size = float(np.ptp(points, axis=0).max()) if points.size else 0.0
    return SupportError(_reach(one, other, rtol * size), _reach(other, one, rtol * size))


def _reach(one: Support, other: Support, tolerance: float) -> tuple[float, float]:
    """Bounds of how far one support reaches beyond another."""
    if one.is_empty or other.is_empty:
        far = 0.0 if one.is_empty else np.inf
        return far, far
    targets, left = other.convex_parts, one.convex_parts
    lower, settled = 0.0, 0.0
    while True:
        distance, which = _nearest(left.reshape(-1, one.dim), targets)
        lower = max(lower, float(distance.max()))
        upper = _upper(left, which.reshape(len(left), -1), other)
        undecided = upper > lower + tolerance
        settled = max(settled, float(upper[~undecided].max(initial=0)))
        if not undecided.any() or undecided.sum() > MOST_HALVED:
            return lower, max(settled, lower, float(upper[undecided].max(initial=0)))
        left = _halves(left[undecided])


def _upper(simplices: Floats, near: Ints, other: Support) -> Floats:
    """Bounds of how far simplices reach beyond a support.

    The least, over the convex parts K that are nearest to a corner or to the middle, of the largest
    d(corner, K); 0 where a ball around the middle, and so the simplex, is inside.
    """
    targets, middle = other.convex_parts, simplices.mean(axis=1)
    distance, around = _nearest(middle, targets)
    found = np.full(len(simplices), np.inf)
    for candidates in (around, *near.T):
        parts = targets[candidates][:, None]
        found = np.minimum(found, _to_simplices(simplices, parts).max(axis=1))
    radius = np.linalg.norm(simplices - middle[:, None], axis=2).max(axis=1)
    inner = (distance == 0) & (_nearest(middle, other.rim)[0] >= radius)
    return np.where(inner, 0, found)


def _halves(simplices: Floats) -> Floats:
    """Each simplex cut at the middle of its longest edge."""
    count, corners, _ = simplices.shape
    edges = [(a, b) for b in range(corners) for a in range(b)]
    lengths = [((simplices[:, a] - simplices[:, b]) ** 2).sum(axis=1) for a, b in edges]
    longest = np.argmax(lengths, axis=0)
    ends, rows = np.array(edges)[longest], np.arange(count)
    middle = simplices[rows[:, None], ends].mean(axis=1)
    halves = np.stack([simplices, simplices])
    halves[0, rows, ends[:, 0]] = middle
    halves[1, rows, ends[:, 1]] = middle
    return halves.reshape(-1, *simplices.shape[1:])
