# SPDX-License-Identifier: MIT
"""Nodal values on quadrilaterals in any arrangement, and what points ask of them.

A point is located in a triangle, half a cell. In the cell with corners p it is at (a, b) where

    x = p₀₀ + a e + b f + a b g,    e = p₁₀ − p₀₀,  f = p₀₁ − p₀₀,  g = p₁₁ − p₁₀ − p₀₁ + p₀₀,

so that b is the root of (x − p₀₀ − b f) × (e + b g) = 0 at which its derivative, the determinant of
the map, is positive. The value is the sum of the corners' by the weights (1 − a)(1 − b), a (1 − b),
(1 − a) b, a b; on the ring it is that of the triangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled, inlined, prefetch, vectorised
from fe_relu.basics.threads import Rows, swept
from fe_relu.meshes.mesh import Answers
from fe_relu.meshes.simplices.location.locator import Locator
from fe_relu.meshes.simplices.location.records import corner_place, row_entry
from fe_relu.meshes.simplices.location.walk import BLOCK, find, list_lost, new_block
from fe_relu.meshes.simplices.table import Located, Table

Ints = npt.NDArray[np.int64]


class Cells(NamedTuple):
    """What evaluation reads of cells.

    Args:
        number: Of each triangle as it is kept, the cell that it is half of, −1 for the ring.
        turned: The corners of each cell such that it is positive, shape (4, m).
        corners: Rows of a table, those of `turned`, shape (m, 4).
        shapes: p₀₀, e, f, g of each cell, shape (m, 8).
    """

    number: npt.NDArray[np.int32]
    turned: Ints
    corners: npt.NDArray[np.uint32]
    shapes: npt.NDArray[np.float64]

    @staticmethod
    def of(locator: Locator, cells: Ints) -> Cells:
        """From the corners of cells, (4, m), whose halves are the locator's first 2 m triangles."""
        m = cells.shape[1]
        number = np.where(locator.numbers < 2 * m, locator.numbers // 2, -1)
        p = locator.own[:, cells]
        turned = _cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]) < 0
        cells = np.where(turned, cells[[0, 2, 1, 3]], cells)
        p = locator.own[:, cells]
        e, f = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
        shapes = np.concatenate([p[:, 0], e, f, (p[:, 3] - p[:, 1]) - f])
        place = np.empty(locator.order.size, np.uint32)
        place[locator.order] = np.arange(locator.order.size)
        return Cells(
            number.astype(np.int32),
            cells,
            np.ascontiguousarray(place[cells].T),
            np.ascontiguousarray(shapes.T),
        )


def _cross(a: npt.NDArray, b: npt.NDArray) -> npt.NDArray:
    return a[0] * b[1] - a[1] * b[0]


@dataclass(frozen=True, eq=False)
class QuadrilateralTable(Table):
    """Nodal values of a Q1 function; see `simplices.table.Table`.

    Args:
        cells: The quadrilaterals.
    """

    cells: Cells | None = None

    @staticmethod
    def on(locator: Locator, cells: Cells, values: npt.NDArray) -> QuadrilateralTable:
        """From nodal values (k, n)."""
        return QuadrilateralTable(locator, Table.of(locator, values).entries, False, cells)

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Values at points (2, n), shape (k, n)."""
        return self._run(partial(evaluate, self.cells), x, dtype)

    def gradient(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Answers:
        """Gradients at points (2, n), those in their cells, shape (k, 2, n)."""
        return self._run(partial(gradient, self.cells), x, dtype, 2)

    def locate(self, x: npt.NDArray, dtype: npt.DTypeLike) -> Located:
        """Four corners and weights of points (2, n)."""
        dtype, n = np.result_type(dtype, self.entries), x.shape[1]
        corners, weights = np.empty((4, n), np.uint32), np.empty((4, n), dtype)
        search = self.locator.search_for(x.dtype)

        def ask(rows: Rows, columns: slice, away: npt.NDArray) -> tuple[int, int]:
            return locate(self.cells, *rows, search, corners[:, columns], weights[:, columns], away)

        away = swept(x, ask, rows=3, listing=self.partial)
        return Located(np.empty(0, np.int32), corners, weights, away)

    def hats(self, points: Located) -> tuple[npt.NDArray, npt.NDArray]:
        """As of a `Table`, of four hats."""
        return points.corners, points.weights

    def _combine(self, points: Located, entries: npt.NDArray, out: npt.NDArray) -> None:
        combine(points.corners, points.weights, entries, out)


@inlined
def _placed(x: Any, y: Any, shape: Any) -> Any:
    """The a and b of a point in a cell."""
    qx, qy = x - shape[0], y - shape[1]
    ex, ey, fx, fy, gx, gy = shape[2], shape[3], shape[4], shape[5], shape[6], shape[7]
    c0 = qx * ey - qy * ex
    c1 = (qx * gy - qy * gx) + (ex * fy - ey * fx)
    c2 = gx * fy - gy * fx
    root = np.sqrt(max(c1 * c1 - 4 * c2 * c0, 0.0))
    b = -2 * c0 / (c1 + root) if c1 >= 0 else (root - c1) / (2 * c2)
    dx, dy = ex + b * gx, ey + b * gy
    a = ((qx - b * fx) * dx + (qy - b * fy) * dy) / (dx * dx + dy * dy)
    return a, b


@inlined
def _weighed(cells: Any, records: Any, block: Any, k: Any, x: Any, y: Any, nothing: Any) -> Any:
    """Rows of four corners and their weights at point k of a block."""
    cell = block.cell[k]
    w1, w2 = block.w1[k], block.w2[k]
    w0 = 1 - w1 - w2
    at = max(cell, 0)
    c0 = np.uint32(records.corners[corner_place(at, 0, 2)])
    c1 = np.uint32(records.corners[corner_place(at, 1, 2)])
    c2 = np.uint32(records.corners[corner_place(at, 2, 2)])
    number = np.int64(cells.number[at])
    if cell < 0:
        return (nothing, nothing, nothing, nothing), (0.0, 0.0, 0.0, 0.0)
    if number < 0 or w0 == 1 or w1 == 1 or w2 == 1:
        return (c0, c1, c2, nothing), (w0, w1, w2, 0.0)
    a, b = _placed(x, y, cells.shapes[number])
    corners = cells.corners[number]
    return (corners[0], corners[1], corners[2], corners[3]), (
        (1 - a) * (1 - b),
        a * (1 - b),
        (1 - a) * b,
        a * b,
    )


@compiled
def locate(
    cells: Any, x: Any, y: Any, z: Any, search: Any, corners: Any, weights: Any, away: Any
) -> Any:
    """Writes corners and weights (4, n) of points; see `walk.evaluate`."""
    bad = listed = 0
    block, records = new_block(search), search.where.records
    nothing, real = np.uint32(search.where.place.order.size), weights.dtype.type
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        bad += find(x[start:stop], y[start:stop], z[start:stop], search, block, (0, 0))
        for k in range(stop - start):
            prefetch(cells.number, max(block.cell[k], 0))
        for k in range(stop - start):
            number = np.int64(max(cells.number[max(block.cell[k], 0)], 0))
            prefetch(cells.shapes, 8 * number)
            prefetch(cells.corners, 4 * number)
        for k in range(stop - start):
            n = start + k
            rows, parts = _weighed(cells, records, block, k, x[n], y[n], nothing)
            for i in range(4):
                corners[i, n], weights[i, n] = rows[i], real(parts[i])
        listed = list_lost(block.cell[: stop - start], search.mine, start, away, listed)
    return bad, listed


@compiled
def combine(corners: Any, weights: Any, entries: Any, out: Any) -> None:
    """Writes values at located points into out, shape (k, n)."""
    vectorised()
    real = out.dtype.type
    for output in range(len(out)):
        for k in range(out.shape[1]):
            total = real(entries[np.uint64(corners[0, k]), output]) * real(weights[0, k])
            for i in range(1, 4):
                total += real(entries[np.uint64(corners[i, k]), output]) * real(weights[i, k])
            out[output, k] = total


@compiled
def evaluate(
    cells: Any, x: Any, y: Any, z: Any, search: Any, entries: Any, out: Any, away: Any, axes: Any
) -> Any:
    """Writes values at points into out, shape (k, n); see `walk.evaluate`."""
    bad = listed = 0
    corners, weights = np.empty((4, BLOCK), np.uint32), np.empty((4, BLOCK), out.dtype)
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        size = stop - start
        more, lost = locate(
            cells, x[start:stop], y[start:stop], z[start:stop], search, corners, weights,
            away[listed:],
        )  # fmt: skip
        away[listed : listed + lost] += start
        combine(corners[:, :size], weights[:, :size], entries, out[:, start:stop])
        bad, listed = bad + more, listed + lost
    return bad, listed


@compiled
def gradient(
    cells: Any, x: Any, y: Any, z: Any, search: Any, entries: Any, out: Any, away: Any, axes: Any
) -> Any:
    """Writes gradients at points into out, shape (k, 2, n), 0 beyond the ring."""
    bad = listed = 0
    block, records = new_block(search), search.where.records
    real = out.dtype.type
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        bad += find(x[start:stop], y[start:stop], z[start:stop], search, block, axes)
        for k in range(stop - start):
            cell, n = block.cell[k], start + k
            out[:, :, n] = 0
            if cell < 0:
                continue
            number = np.int64(cells.number[cell])
            if number < 0:
                for i in range(2):
                    first = records.corners[corner_place(cell, 0, 2)]
                    corner = records.corners[corner_place(cell, i + 1, 2)]
                    for output in range(len(out)):
                        rise = real(entries[corner, output]) - real(entries[first, output])
                        for axis in range(2):
                            slope = real(row_entry(records.words, cell, i, axis, 2))
                            out[output, axis, n] += slope * rise
                continue
            shape, corners = cells.shapes[number], cells.corners[number]
            a, b = _placed(x[n], y[n], shape)
            jx, jy = shape[2] + b * shape[6], shape[3] + b * shape[7]
            kx, ky = shape[4] + a * shape[6], shape[5] + a * shape[7]
            size = jx * ky - jy * kx
            for output in range(len(out)):
                u00, u10 = real(entries[corners[0], output]), real(entries[corners[1], output])
                u01, u11 = real(entries[corners[2], output]), real(entries[corners[3], output])
                along = (u10 - u00) + real(b) * ((u11 - u01) - (u10 - u00))
                up = (u01 - u00) + real(a) * ((u11 - u10) - (u01 - u00))
                out[output, 0, n] = real(ky / size) * along - real(jy / size) * up
                out[output, 1, n] = real(jx / size) * up - real(kx / size) * along
        listed = list_lost(block.cell[: stop - start], search.mine, start, away, listed)
    return bad, listed
