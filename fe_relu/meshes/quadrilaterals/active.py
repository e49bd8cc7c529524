# SPDX-License-Identifier: MIT
"""The forward pass on quadrilaterals that only looks up, for every library of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.active import Arrays
from fe_relu.meshes.grid.active import GridPiece
from fe_relu.meshes.simplices.active import Found, SimplexPiece, cross

if TYPE_CHECKING:
    from fe_relu.meshes.quadrilaterals.mesh import QuadrilateralMesh


@dataclass(frozen=True, eq=False)
class LatticePiece(GridPiece):
    """A Q1 function on a `QuadrilateralGrid`; see `fe_relu.meshes.active.Piece`."""

    def evaluated(
        self, arrays: Arrays, constants: Mapping[str, Any], table: Any, x: Sequence[Any], dtype: str
    ) -> Any:
        """Values at points of coordinates x, (n,) both, computed in dtype; shape (k, n)."""
        i, j, a, b = self.locator.placed(arrays, x, dtype)
        width = self.mesh.shape[0] + 3
        corner = j * width + i
        corners = (corner, corner + 1, corner + width, corner + (width + 1))
        return bilinear([arrays.take(table, entry) for entry in corners], a, b)


def bilinear(u: Sequence[Any], a: Any, b: Any) -> Any:
    """The value at (a, b) from those at the corners 00, 10, 01, 11."""
    low, high = u[0] + a * (u[1] - u[0]), u[2] + a * (u[3] - u[2])
    return low + b * (high - low)


@dataclass(frozen=True, eq=False)
class QuadrilateralPiece(SimplexPiece):
    """A Q1 function on a `QuadrilateralMesh`: triangles say which cell a point is in."""

    mesh: QuadrilateralMesh  # type: ignore[assignment]

    @cached_property
    def constants(self) -> Mapping[str, npt.NDArray]:
        """Those of the triangles; for each the corners q0, … of its cell, and if it is of one."""
        found = dict(super().constants)
        cells = self.mesh.shapes.turned
        count = found["c0"].size
        number = np.arange(count) // 2
        at = np.minimum(number, cells.shape[1] - 1)
        found |= {f"q{k}": cells[k, at].astype(np.int32) for k in range(4)}
        found["in_cell"] = (number < cells.shape[1]).astype(np.int32)
        return found

    def _mixed(self, arrays: Arrays, constants: Mapping[str, Any], table: Any, found: Found) -> Any:
        linear = super()._mixed(arrays, constants, table, found)
        around = [arrays.entries(constants[f"q{k}"], found.cell) for k in range(4)]
        p = [
            [arrays.entries(constants[f"x{axis}"], corner) for axis in (0, 1)] for corner in around
        ]
        curved = arrays.whole(arrays.entries(constants["in_cell"], found.cell)) > 0
        a, b = _placed(arrays, p, found.x, curved)
        values = bilinear([arrays.take(table, corner) for corner in around], a, b)
        at_vertex = arrays.least(*(1 - weight for weight in found.weights)) <= 0
        values = values + arrays.where(at_vertex, arrays.fixed(linear - values), 0)
        return arrays.where(curved, values, linear)


def _placed(
    arrays: Arrays, p: Sequence[Sequence[Any]], x: Sequence[Any], wanted: Any
) -> tuple[Any, Any]:
    """Where points x are in cells of corners p, see `quadrilaterals.table`; if not wanted, any."""
    q = [row - start for row, start in zip(x, p[0], strict=True)]
    e, f = ([end - start for end, start in zip(p[k], p[0], strict=True)] for k in (1, 2))
    g = [(p[3][axis] - p[1][axis]) - f[axis] for axis in (0, 1)]
    c0, c1, c2 = cross(q, e), cross(q, g) + cross(e, f), cross(g, f)
    square = c1 * c1 - c2 * c0 * 4
    root = arrays.root(arrays.where(wanted & (square > 0), square, 1))
    ahead = wanted & (c1 >= 0)
    near = c0 * -2 / arrays.where(ahead, c1 + root, 1)
    far = (root - c1) / arrays.where(wanted & (c1 < 0), c2 * 2, 1)
    b = arrays.where(ahead, near, far)
    d = [e[axis] + b * g[axis] for axis in (0, 1)]
    size = d[0] * d[0] + d[1] * d[1]
    along = (q[0] - b * f[0]) * d[0] + (q[1] - b * f[1]) * d[1]
    return along / arrays.where(wanted & (size > 0), size, 1), b
