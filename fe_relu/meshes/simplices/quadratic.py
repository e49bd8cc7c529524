# SPDX-License-Identifier: MIT
"""The forward pass of P2 networks on simplices: the P1 part, and a product of two hats an edge.

With λ the barycentric coordinates of a point in its cell, s the surpluses of the cell's edges,

    u = Σ uᵢ λᵢ + Σ_edges 4 s Π(λᵢ, λⱼ),    Π(x, y) = x y − 4^−levels e(2^levels x, 2^levels y),

where Π is the interpolant of x y on triangles of size 2^−levels, halved as ╲, and what it lacks is
e = a b below the diagonal of a square, (1 − a) (1 − b) above it, a and b being fractional parts. On
triangles, u is the P1 interpolant of the P2 function on each cut in 4^levels equal parts.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled, inlined, prefetch
from fe_relu.meshes.mesh import Answers
from fe_relu.meshes.simplices.location.locator import Locator
from fe_relu.meshes.simplices.location.records import corner_place, num_cells, row_entry
from fe_relu.meshes.simplices.location.walk import BLOCK, find, list_lost, mixed, new_block
from fe_relu.meshes.simplices.nodes import Nodes
from fe_relu.meshes.simplices.table import Located, Table

#: Nodal values beyond max/32 of their dtype are read scaled by this, so that no sum overflows: of a
#: nodal value, three differences and six surpluses of up to twice their size.
SCALE = 1 / 32


class Edges(NamedTuple):
    """What evaluation reads of the edges of cells.

    Args:
        rows: The rows of a table for each cell as it is kept, one cell after the other.
        order: The edges in the order of their rows.
    """

    rows: npt.NDArray[np.uint32]
    order: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class QuadraticTable(Table):
    """Nodal values, then surpluses, of a P2 function; see `Table` for what is asked of it.

    Args:
        entries: A row for each vertex in the locator's order, zeros for those of the ring, a row of
            zeros, and a row for each edge of the mesh; shape (rows, k).
        nodes: Of the function.
        nodal: Its values there, shape (k, n).
        edges: What is read of the edges of cells.
        levels: Of the network.
    """

    _: KW_ONLY
    nodes: Nodes
    nodal: npt.NDArray
    edges: Edges
    levels: int

    @staticmethod
    def on(part: Any, values: npt.NDArray, levels: int, *, partial: bool = False) -> QuadraticTable:
        """From nodal values (k, n) on the nodes of a mesh or of a rank's share of one."""
        nodes, locator, edges = part.nodes, part.locator, part.cell_edges
        with np.errstate(over="ignore", invalid="ignore"):  # then scaled ones are read
            entries = _rows(locator, nodes, edges, values)
        return QuadraticTable(
            locator, entries, partial, nodes=nodes, nodal=values, edges=edges, levels=levels
        )

    @property
    def _loops(self) -> Any:
        return 2.0**self.levels, self.edges.rows

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Values at points (dim, n), shape (k, n)."""
        return self._run(partial(evaluate, *self._loops), x, dtype)

    def gradient(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Gradients at points (dim, n), those of one small cell around each, (k, dim, n)."""
        return self._run(partial(gradient, *self._loops), x, dtype, self.locator.dim)

    def _combine(self, points: Located, entries: npt.NDArray, out: npt.NDArray) -> None:
        combine(
            *self._loops, points.cells, points.corners, points.weights, entries, out,
            self.locator.axes,
        )  # fmt: skip

    def _read(self, dtype: np.dtype) -> tuple[npt.NDArray, float]:
        """As in `Table`; surpluses are differences, to be taken in the wider dtype."""
        if dtype != self.entries.dtype:
            return self._widened, 1
        return (self.entries, 1) if self._scaled is None else (self._scaled, SCALE)

    @cached_property
    def _scaled(self) -> npt.NDArray | None:
        """The rows of scaled values, if those of the function are so large that sums overflow."""
        dtype = self.entries.dtype
        if np.abs(self.nodal).max(initial=0) <= np.finfo(dtype).max * SCALE:
            return None
        return _rows(self.locator, self.nodes, self.edges, self.nodal * dtype.type(SCALE))

    @cached_property
    def _widened(self) -> npt.NDArray:
        return _rows(self.locator, self.nodes, self.edges, self.nodal.astype(np.float64))


def _rows(locator: Locator, nodes: Nodes, edges: Edges, values: npt.NDArray) -> npt.NDArray:
    vertices = Table.of(locator, values[:, : nodes.num_corners]).entries
    return np.concatenate([vertices, nodes.surpluses(values)[:, edges.order].T])


def edges_of(locator: Locator, nodes: Nodes) -> Edges:
    """The edges of cells; where one of the ring has an edge that the mesh has not, the zeros."""
    records, order = locator.search.where.records, locator.order
    places = np.empty((locator.dim + 1, num_cells(records, locator.dim)), np.int64)
    _list_corners(records, places, locator.axes)
    edges = nodes.of_cells(order[places]).T.ravel()
    _, first = np.unique(edges, return_index=True)
    along = edges[np.sort(first)]
    along = along[along >= 0]
    row = np.empty(along.size + 1, np.uint32)
    row[along] = np.arange(order.size + 1, order.size + 1 + along.size)
    row[-1] = order.size
    return Edges(row[edges], along)


@compiled
def _list_corners(records: Any, places: Any, axes: Any) -> None:
    for k in range(places.shape[1]):
        for i in range(len(axes) + 1):
            places[i, k] = records.corners[corner_place(k, i, len(axes))]


@inlined
def _product(x: Any, y: Any, scale: Any, four: Any, shrunk: Any) -> Any:
    """4 Π(x, y)."""
    one = four / four
    a, b = x * scale, y * scale
    a, b = a - np.floor(a), b - np.floor(b)
    lacks = a * b if a + b <= one else (one - a) * (one - b)
    return four * (x * y - shrunk * lacks)


@inlined
def _value(
    entries: Any, edges: Any, k: Any, a: Any, b: Any, c: Any, d: Any,
    w1: Any, w2: Any, w3: Any, scale: Any, output: Any, real: Any, dim: Any,
) -> Any:  # fmt: skip
    """The value in cell k with corners a, b, c, d at weights w."""
    one = scale / scale
    four, shrunk = (one + one) * (one + one), one / (scale * scale)
    u0, u1 = real(entries[a, output]), real(entries[b, output])
    u2, u3 = real(entries[c, output]), real(entries[d, output])
    value = mixed(u0, u1, u2, u3, w1, w2, w3, dim)
    w0 = one - w1
    w0 = w0 - w2 if dim >= 2 else w0
    w0 = w0 - w3 if dim >= 3 else w0
    first = np.uint64(k) * np.uint64(1 if dim == 1 else (3 if dim == 2 else 6))
    value += real(entries[np.uint64(edges[first]), output]) * _product(w0, w1, scale, four, shrunk)
    if dim >= 2:
        e, f = np.uint64(edges[first + np.uint64(1)]), np.uint64(edges[first + np.uint64(2)])
        value += real(entries[e, output]) * _product(w0, w2, scale, four, shrunk)
        value += real(entries[f, output]) * _product(w1, w2, scale, four, shrunk)
    if dim >= 3:
        e, f = np.uint64(edges[first + np.uint64(3)]), np.uint64(edges[first + np.uint64(4)])
        g = np.uint64(edges[first + np.uint64(5)])
        value += real(entries[e, output]) * _product(w0, w3, scale, four, shrunk)
        value += real(entries[f, output]) * _product(w1, w3, scale, four, shrunk)
        value += real(entries[g, output]) * _product(w2, w3, scale, four, shrunk)
    return value


@inlined
def _corners(corners: Any, cell: Any, dim: Any) -> Any:
    a = np.uint64(corners[corner_place(cell, 0, dim)])
    b = np.uint64(corners[corner_place(cell, 1, dim)])
    c = np.uint64(corners[corner_place(cell, 2, dim)]) if dim >= 2 else a
    d = np.uint64(corners[corner_place(cell, 3, dim)]) if dim >= 3 else a
    return a, b, c, d


@compiled
def evaluate(
    scale: Any, edges: Any, x: Any, y: Any, z: Any, search: Any, entries: Any, out: Any, away: Any,
    axes: Any,
) -> Any:  # fmt: skip
    """Writes values at points into out, shape (k, n), 0 where there is no cell.

    Args:
        scale: 2^levels.
        edges: See `QuadraticTable`; likewise entries.
        x: As for `walk.evaluate`, like the others.
        y: See x.
        z: See x.
        search: See x.
        entries: See edges.
        out: See x.
        away: See x.
        axes: See x.

    Returns:
        How many points are not finite, and how many positions are written.
    """
    bad, listed, dim = 0, 0, len(axes)
    block, corners = new_block(search), search.where.records.corners
    real = out.dtype.type
    parts, zero = real(scale), real(0)
    outputs, num_edges = entries.shape[1], 1 if dim == 1 else (3 if dim == 2 else 6)
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        bad += find(x[start:stop], y[start:stop], z[start:stop], search, block, axes)
        for k in range(stop - start):
            cell = max(block.cell[k], 0)
            prefetch(edges, num_edges * cell)
            for i in range(dim + 1):
                prefetch(entries, outputs * np.int64(corners[corner_place(cell, i, dim)]))
        for k in range(stop - start):
            first = num_edges * max(block.cell[k], 0)
            for i in range(num_edges):
                prefetch(entries, outputs * np.int64(edges[np.uint64(first + i)]))
        for k in range(stop - start):
            cell = max(block.cell[k], 0)
            a, b, c, d = _corners(corners, cell, dim)
            w1 = real(block.w1[k])
            w2 = real(block.w2[k]) if dim >= 2 else zero
            w3 = real(block.w3[k]) if dim >= 3 else zero
            for output in range(len(out)):
                value = _value(
                    entries, edges, cell, a, b, c, d, w1, w2, w3, parts, output, real, dim
                )
                out[output, start + k] = value if block.cell[k] >= 0 else zero
        listed = list_lost(block.cell[: stop - start], search.mine, start, away, listed)
    return bad, listed


@compiled
def combine(
    scale: Any, edges: Any, cells: Any, corners: Any, weights: Any, entries: Any, out: Any,
    axes: Any,
) -> None:  # fmt: skip
    """Writes values at located points into out, shape (k, n)."""
    dim, real = len(axes), out.dtype.type
    parts, zero = real(scale), real(0)
    for k in range(out.shape[1]):
        cell = max(cells[k], 0)
        a, b = np.uint64(corners[0, k]), np.uint64(corners[1, k])
        c = np.uint64(corners[2, k]) if dim >= 2 else a
        d = np.uint64(corners[3, k]) if dim >= 3 else a
        w1 = real(weights[0, k])
        w2 = real(weights[1, k]) if dim >= 2 else zero
        w3 = real(weights[2, k]) if dim >= 3 else zero
        for output in range(len(out)):
            value = _value(entries, edges, cell, a, b, c, d, w1, w2, w3, parts, output, real, dim)
            out[output, k] = value if cells[k] >= 0 else zero


@inlined
def _small_cell(w1: Any, w2: Any, w3: Any, scale: Any, whole: Any, part: Any, dim: Any) -> None:
    """Writes integer and fractional parts of 2^levels λ, of one of the small cells at a point.

    Fractions add up to 1, 2 or 3, and no integer is below 0.
    """
    one = scale / scale
    zero = one - one
    weights = (w1, w2, w3)
    sum_whole, sum_part = zero, zero
    for i in range(dim):
        t = weights[i] * scale
        whole[i + 1] = min(max(np.floor(t), zero), scale - one)
        part[i + 1] = t - whole[i + 1]
        sum_whole += whole[i + 1]
        sum_part += part[i + 1]
    total = min(max(np.ceil(sum_part), one), max(scale - sum_whole, one))
    whole[0], part[0] = scale - sum_whole - total, total - sum_part
    if whole[0] < zero:
        for i in range(1, dim + 1):
            if whole[i] > zero:
                whole[i] -= one
                part[i] += one
                whole[0] += one
                part[0] -= one
                break


@compiled
def gradient(
    scale: Any, edges: Any, x: Any, y: Any, z: Any, search: Any, entries: Any, out: Any, away: Any,
    axes: Any,
) -> Any:  # fmt: skip
    """Writes gradients at points into out, shape (k, dim, n); see `evaluate`.

    ∂Π/∂x is 2^−levels times the integer part of 2^levels y, plus one above the diagonal.
    """
    bad, listed, dim = 0, 0, len(axes)
    block, records = new_block(search), search.where.records
    real = out.dtype.type
    parts = real(scale)
    one, four = parts / parts, real(4)
    whole, part, slope = np.zeros(4, out.dtype), np.zeros(4, out.dtype), np.zeros(4, out.dtype)
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        bad += find(x[start:stop], y[start:stop], z[start:stop], search, block, axes)
        for k in range(stop - start):
            cell = block.cell[k]
            out[:, :, start + k] = 0
            if cell < 0:
                continue
            _small_cell(
                real(block.w1[k]), real(block.w2[k]), real(block.w3[k]), parts, whole, part, dim
            )
            for output in range(len(out)):
                for i in range(dim + 1):
                    corner = records.corners[corner_place(cell, i, dim)]
                    slope[i] = real(entries[corner, output])
                place = np.int64(cell) * (1 if dim == 1 else (3 if dim == 2 else 6))
                for j in range(dim + 1):
                    for i in range(j):
                        surplus = four * real(entries[edges[place], output])
                        above = one if part[i] + part[j] > one else one - one
                        slope[i] += surplus * ((whole[j] + above) / parts)
                        slope[j] += surplus * ((whole[i] + above) / parts)
                        place += 1
                for i in range(dim):
                    rise = slope[i + 1] - slope[0]
                    for axis in range(dim):
                        row = real(row_entry(records.words, cell, i, axis, dim))
                        out[output, axis, start + k] += row * rise
        listed = list_lost(block.cell[: stop - start], search.mine, start, away, listed)
    return bad, listed
