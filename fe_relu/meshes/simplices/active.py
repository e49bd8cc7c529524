# SPDX-License-Identifier: MIT
"""The forward pass on meshes of simplices that only looks up, for every library of arrays.

A point's bucket lists the cells that it may be in. Each is asked for the point's least barycentric
coordinate; the cell where that is largest, the first of several, answers. The cost is the same at
every point: that of the longest list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.active import Arrays
from fe_relu.meshes.simplices.candidates import Candidates, candidates_of
from fe_relu.meshes.simplices.nodes import pairs

if TYPE_CHECKING:
    from fe_relu.meshes.simplices.mesh import SimplexMesh

#: Buckets reach this many units of roundoff of the largest coordinate farther than they are wide.
REACH_UNITS = 16


class Found(NamedTuple):
    """Points, the cells that they are in, the corners of these and the weights at them."""

    cell: Any
    corners: Sequence[Any]
    weights: Sequence[Any]
    x: Sequence[Any]


@dataclass(frozen=True, eq=False)
class SimplexPiece:
    """A P1 function; see `fe_relu.meshes.active.Piece`.

    Args:
        mesh: The mesh.
        values: Nodal values, shape (num_vertices,) or (k, num_vertices), float32 or float64.
    """

    mesh: SimplexMesh
    values: npt.NDArray
    coarsest: list[float] = field(init=False, repr=False)
    ends: list[tuple[float, float]] = field(init=False, repr=False)
    finer: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Not when it is called: who traces that, as torch does, sees numbers only.
        grid, dim = self.candidates.grids[0], self.mesh.dim
        sides = (grid[4:7] / grid[3])[:dim]
        low, high = grid[:dim] - sides.max(), grid[:dim] + sides + sides.max()
        object.__setattr__(self, "coarsest", grid.tolist())
        object.__setattr__(self, "ends", list(zip(low.tolist(), high.tolist(), strict=True)))
        object.__setattr__(self, "finer", self.candidates.depth - 1)

    @property
    def places(self) -> npt.NDArray[np.int64] | None:
        """For each entry of the table which nodal value it is, num_vertices for zero."""
        vertices, _, own = self.mesh.extended
        return np.minimum(np.arange(vertices.shape[1]), own)

    @property
    def table(self) -> npt.NDArray:
        """The values, and zeros for the ring, shape (k, entries)."""
        values = np.atleast_2d(self.values)
        padded = np.concatenate([values, np.zeros_like(values[:, :1])], axis=1)
        return padded[:, self.places]

    @cached_property
    def candidates(self) -> Candidates:
        vertices, cells, _ = self.mesh.extended
        size = np.abs(vertices).max()
        reach = REACH_UNITS * float(np.finfo(self.values.dtype).eps) * size
        return candidates_of(vertices, cells, reach)

    @cached_property
    def constants(self) -> Mapping[str, npt.NDArray]:
        """Coordinates x0, …; corners c0, … of cells, oriented; lists; buckets; finer grids."""
        vertices, cells, _ = self.mesh.extended
        lists = self.candidates
        found = _named("x", vertices)
        found |= _named("c", _oriented(vertices, cells).astype(np.int32))
        found["slack"] = self._slack(vertices, cells)
        found |= {"listed": lists.cells, "first": lists.firsts, "count": lists.counts}
        found["steps"] = np.arange(max(lists.longest, 1))
        if lists.depth > 1:
            found |= _named("grid", np.ascontiguousarray(lists.grids.T))
        return found

    def _slack(self, vertices: npt.NDArray, cells: npt.NDArray[np.int64]) -> npt.NDArray:
        """How far below 0 a barycentric coordinate of each cell may be by roundoff, and be in."""
        near = self.mesh.roundoff(self.values.dtype)
        edges = (vertices[:, cells[1:]] - vertices[:, cells[:1]]).transpose(2, 1, 0)
        rows = np.linalg.inv(edges)
        slopes = np.concatenate([rows, rows.sum(axis=2, keepdims=True)], axis=2)
        return np.minimum(near * np.sqrt((slopes**2).sum(axis=1)).max(axis=1), 1.0)

    def evaluated(
        self, arrays: Arrays, constants: Mapping[str, Any], table: Any, x: Sequence[Any], dtype: str
    ) -> Any:
        """Values at points of coordinates x, (n,) each, computed in dtype; shape (k, n)."""
        x = [self._brought_near(arrays, axis, row) for axis, row in enumerate(x)]
        cell, is_any = self._cell(arrays, constants, [arrays.fixed(row) for row in x])
        corners = [arrays.entries(constants[f"c{i}"], cell) for i in range(len(x) + 1)]
        sizes = _sizes(_differences(arrays, constants, corners, x))
        total = sum(sizes[1:], start=sizes[0])
        total = arrays.where(total > 0, total, 1)
        weights = [size / total for size in sizes]
        inside = is_any & (arrays.least(*weights) + arrays.entries(constants["slack"], cell) >= 0)
        values = self._mixed(arrays, constants, table, Found(cell, corners, weights, x))
        return arrays.where(inside, values, 0)

    def _mixed(self, arrays: Arrays, constants: Mapping[str, Any], table: Any, found: Found) -> Any:
        """The value at points that are found, shape (k, n)."""
        terms = [
            arrays.take(table, corner) * weight
            for corner, weight in zip(found.corners, found.weights, strict=True)
        ]
        return sum(terms[1:], start=terms[0])

    def _brought_near(self, arrays: Arrays, axis: int, x: Any) -> Any:
        """Coordinates, those far beyond the mesh less far, so that no product overflows."""
        low, high = self.ends[axis]
        return arrays.where(x > high, high, arrays.where(x >= low, x, x - x + low))

    def _cell(
        self, arrays: Arrays, constants: Mapping[str, Any], x: Sequence[Any]
    ) -> tuple[Any, Any]:
        """The cell of each point, or another one if it is in none; whether there are any near."""
        first, count = self._list(arrays, constants, x)
        last = arrays.where(count > 0, count, 1) - 1
        tried = arrays.upright(first) + arrays.at_most(constants["steps"], arrays.upright(last))
        cells = arrays.entries(constants["listed"], tried)
        corners = [arrays.entries(constants[f"c{i}"], cells) for i in range(len(x) + 1)]
        points = [arrays.upright(row) for row in x]
        sizes = _sizes(_differences(arrays, constants, corners, points))
        total = sum(sizes[1:], start=sizes[0])
        is_cell = total > 0
        least = arrays.least(*sizes) / arrays.where(is_cell, total, 1)
        best = arrays.first_largest(arrays.where(is_cell, least, -2))
        return arrays.entries(constants["listed"], first + arrays.at_most(best, last)), count > 0

    def _list(
        self, arrays: Arrays, constants: Mapping[str, Any], x: Sequence[Any]
    ) -> tuple[Any, Any]:
        """Where the list of each point's bucket begins, and its length."""
        dim, grid = len(x), self.coarsest
        bucket = _bucket(arrays, x, grid[:dim], grid[3], grid[4 : 4 + dim])
        for _ in range(self.finer):
            count = arrays.whole(arrays.entries(constants["count"], bucket))
            finer = arrays.where(count > 0, 0, -count)
            facts = [arrays.entries(constants[f"grid{k}"], finer) for k in range(8)]
            inner = _bucket(arrays, x, facts[:dim], facts[3], facts[4 : 4 + dim])
            bucket = arrays.where(finer > 0, arrays.whole(facts[7]) + inner, bucket)
        first, count = (arrays.entries(constants[name], bucket) for name in ("first", "count"))
        return arrays.whole(first), arrays.whole(count)


@dataclass(frozen=True, eq=False)
class QuadraticPiece(SimplexPiece):
    """A P2 network: the P1 part and a product of two hats an edge; see `simplices.quadratic`."""

    levels: int = field(kw_only=True)
    places = None

    @property
    def table(self) -> npt.NDArray:
        """Values at the vertices, zeros for the ring, surpluses of the edges, and a zero."""
        values = np.atleast_2d(self.values)
        vertices, _, own = self.mesh.extended
        zeros = np.zeros((len(values), vertices.shape[1] - own), values.dtype)
        surpluses = self.mesh.nodes.surpluses(values)
        return np.concatenate(
            [values[:, :own], zeros, surpluses, np.zeros_like(values[:, :1])], axis=1
        )

    @cached_property
    def constants(self) -> Mapping[str, npt.NDArray]:
        """Those of the P1 part, and entries e0, … of the edges of cells."""
        found = dict(super().constants)
        vertices = self.mesh.extended[0].shape[1]
        nodes = self.mesh.nodes
        corners = np.stack([found[f"c{i}"] for i in range(self.mesh.dim + 1)]).astype(np.int64)
        edges = nodes.of_cells(corners)
        entries = vertices + np.where(edges >= 0, edges, nodes.edges.shape[1])
        return found | _named("e", entries.astype(np.int32))

    def _mixed(self, arrays: Arrays, constants: Mapping[str, Any], table: Any, found: Found) -> Any:
        value = super()._mixed(arrays, constants, table, found)
        cell, weights = found.cell, found.weights
        scale, shrunk = 2.0**self.levels, 4.0**-self.levels
        parts = _fractions(arrays, weights, scale)
        for number, (i, j) in enumerate(pairs(len(weights))):
            a, b = parts[i], parts[j]
            lacks = arrays.where(a + b > 1, (1 - a) * (1 - b), a * b)
            product = (weights[i] * weights[j] - lacks * shrunk) * 4
            surplus = arrays.take(table, arrays.entries(constants[f"e{number}"], cell))
            value = value + surplus * product
        return value


def _fractions(arrays: Arrays, weights: Sequence[Any], scale: float) -> list[Any]:
    """Fractional parts of scaled barycentric coordinates, in one of the small cells at a point.

    They add up to 1, 2 or 3, and no integer part is below 0.
    """
    scaled = [weight * scale for weight in weights[1:]]
    wholes = [
        arrays.real(arrays.at_most(arrays.whole(arrays.where(t > 0, t, 0)), int(scale) - 1))
        for t in scaled
    ]
    parts = [t - whole for t, whole in zip(scaled, wholes, strict=True)]
    together = sum(parts[1:], start=parts[0])
    total = arrays.where(together > 1, arrays.where(together > 2, together * 0 + 3, 2), 1)
    room = scale - sum(wholes[1:], start=wholes[0])
    total = arrays.least(total, arrays.where(room > 1, room, 1))
    first = total - together
    short = arrays.where(room >= 1, room * 0, 1)
    for k, whole in enumerate(wholes):
        shift = arrays.where(whole > 0, short, 0)
        parts[k], first, short = parts[k] + shift, first - shift, short - shift
    return [first, *parts]


def _named(name: str, rows: npt.NDArray) -> dict[str, npt.NDArray]:
    """Rows by a name and their number."""
    return {f"{name}{k}": rows[k] for k in range(len(rows))}


def _bucket(
    arrays: Arrays, x: Sequence[Any], low: Sequence[Any], density: Any, counts: Sequence[Any]
) -> Any:
    """The bucket of a grid that a point is in, or one of its first ones for points beyond."""
    bucket: Any = None
    for row, start, count in reversed(list(zip(x, low, counts, strict=True))):
        t = (row - start) * density
        place = arrays.whole(arrays.at_most(arrays.where(t >= 0, t, 0), count))
        number = int(count) if isinstance(count, float) else arrays.whole(count)
        place = arrays.at_most(place, number - 1)
        bucket = place if bucket is None else bucket * number + place
    return bucket


def _oriented(vertices: npt.NDArray, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The cells, with the first two corners exchanged where their volume would be negative."""
    edges = (vertices[:, cells[1:]] - vertices[:, cells[:1]]).transpose(2, 0, 1)
    oriented = cells.copy()
    turned = np.linalg.det(edges) < 0
    oriented[:2, turned] = cells[1::-1, turned]
    return oriented


def _differences(
    arrays: Arrays, constants: Mapping[str, Any], corners: Sequence[Any], x: Sequence[Any]
) -> list[list[Any]]:
    """From the points to each corner, by coordinate."""
    return [
        [arrays.entries(constants[f"x{axis}"], corner) - row for axis, row in enumerate(x)]
        for corner in corners
    ]


def _sizes(p: Sequence[Sequence[Any]]) -> list[Any]:
    """Signed sizes of the parts that points cut cells into, opposite to each corner."""
    if len(p) == 2:
        return [p[1][0], -p[0][0]]
    if len(p) == 3:
        return [cross(p[1], p[2]), cross(p[2], p[0]), cross(p[0], p[1])]
    near, far = _normal(p[0], p[1]), _normal(p[2], p[3])
    return [_dot(p[1], far), -_dot(p[0], far), _dot(p[3], near), -_dot(p[2], near)]


def cross(a: Sequence[Any], b: Sequence[Any]) -> Any:
    return a[0] * b[1] - a[1] * b[0]


def _dot(a: Sequence[Any], b: Sequence[Any]) -> Any:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _normal(a: Sequence[Any], b: Sequence[Any]) -> list[Any]:
    return [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
