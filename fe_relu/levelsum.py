# SPDX-License-Identifier: MIT
"""The sum of a few hats of many levels, at a cost that grows with the levels and not with the hats.

At a point, at most three hats of the mesh of each level are active: those of the corners of its
triangle there. The hats to be summed are found by the number of their vertex, in a hash table with
open addressing. Outside the mesh, the lattice of each level goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu import threads
from fe_relu.compiled import compiled
from fe_relu.grid import Grid
from fe_relu.kernels import CUTS, lattice_frame, lattice_point, not_finite, unpacked
from fe_relu.nesting import levels_and_stars
from fe_relu.points import require_finite

#: 2⁶⁴ over the golden ratio: multiplication with it spreads numbers over the table.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class LevelSum:
    """Σ coefficient · hat over vertices of a grid, each hat that of the level where it is new.

    Args:
        grid: The finest grid.
        levels: How often it is halved.
        occupied: Which levels have a hat in the sum, shape (levels + 1,).
        keys: Hash table of vertices, −1 where empty; its size is a power of two.
        rows: The coefficients of the vertices in the table, shape (len(keys), k).
    """

    grid: Grid
    levels: int
    occupied: npt.NDArray[np.bool_]
    keys: npt.NDArray[np.int64]
    rows: npt.NDArray

    @staticmethod
    def of(
        grid: Grid, levels: int, vertices: npt.NDArray[np.int64], coefficients: npt.NDArray
    ) -> LevelSum:
        """From different vertices (n,) and their coefficients (k, n)."""
        occupied = np.zeros(levels + 1, np.bool_)
        occupied[levels_and_stars(grid, levels, vertices)[0]] = True
        keys = np.full(1 << int(2 * vertices.size).bit_length(), -1)
        rows = np.zeros((keys.size, len(coefficients)), coefficients.dtype)
        _fill(keys, rows, vertices, np.ascontiguousarray(coefficients.T))
        return LevelSum(grid, levels, occupied, keys, rows)

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
        """Values at points (2, n), computed in dtype, shape (k, n)."""
        out = np.zeros((self.rows.shape[1], x.shape[1]), dtype)
        frame, cut = lattice_frame(self.grid, dtype), CUTS[self.grid.diagonal]
        tables = (self.occupied, self.keys, self.rows)

        def run(part: slice) -> int:
            return _add(x[0, part], x[1, part], frame, self.grid.shape, cut, *tables, out[:, part])

        if threads.total(run, threads.parts(x.shape[1])):
            require_finite(x)
        return out


def outside(grid: Grid, x: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray[np.int64]:
    """Positions of the points (2, n) that are not in the closed domain, computed in dtype."""
    frame = lattice_frame(grid, dtype)
    mask = np.empty(x.shape[1], np.bool_)
    shares = threads.parts(x.shape[1])
    if threads.total(
        lambda part: _mark_outside(x[0, part], x[1, part], frame, grid.shape, mask[part]), shares
    ):
        return np.flatnonzero(mask)
    return np.empty(0, np.int64)


def on_boundary(grid: Grid, vertices: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which vertices are on the boundary of the domain: only their hats reach beyond it."""
    i, j, centre = grid.places(vertices)
    nx, ny = grid.shape
    return ~centre & ((i == 0) | (j == 0) | (i == nx) | (j == ny))


@compiled
def _mark_outside(x: Any, y: Any, frame: Any, shape: Any, out: Any) -> Any:
    real = frame.dtype.type
    numbers = unpacked(frame)
    first, end_i, end_j = real(1), real(shape[0] + 1), real(shape[1] + 1)
    count = 0
    for k in range(out.size):
        s, t = lattice_point(real(x[k]), real(y[k]), numbers)
        beyond = (s < first) | (s > end_i) | (t < first) | (t > end_j)
        out[k] = beyond
        count += beyond
    return count


@compiled
def _slot(keys: Any, vertex: Any) -> Any:
    """Where a vertex is in the table, or the empty place where it would be."""
    last = keys.size - 1
    slot = np.int64((np.uint64(vertex) * _SPREAD) >> np.uint64(32)) & last
    while keys[slot] >= 0 and keys[slot] != vertex:
        slot = (slot + 1) & last
    return slot


@compiled
def _fill(keys: Any, rows: Any, vertices: Any, coefficients: Any) -> None:
    for n in range(vertices.size):
        slot = _slot(keys, vertices[n])
        keys[slot] = vertices[n]
        rows[slot] = coefficients[n]


@compiled
def _add(
    x: Any, y: Any, frame: Any, shape: Any, cut: Any, occupied: Any, keys: Any, rows: Any, out: Any
) -> Any:
    """Adds the hats at the points to out, shape (k, n); counts NaN or infinite coordinates."""
    real = frame.dtype.type
    numbers = unpacked(frame)
    levels = occupied.size - 1
    bad = 0
    for k in range(x.size):
        bad += not_finite(x[k], y[k])
        s, t = lattice_point(real(x[k]), real(y[k]), numbers)
        s, t = float(s) - 1.0, float(t) - 1.0
        for level in range(levels + 1):
            if not occupied[level]:
                continue
            d = 1 << (levels - level)
            a, b = s / d, t / d
            nx, ny = shape[0] // d, shape[1] // d
            # False for NaN too, so that what follows are small numbers.
            if not ((a > -1) & (b > -1) & (a < nx + 1) & (b < ny + 1)):
                continue
            p, q = np.int64(np.floor(a)), np.int64(np.floor(b))
            a, b = a - p, b - q
            place = (p, q, d, level == 0)
            if cut.crossed:
                _add_crossed(a, b, place, shape, keys, rows, out[:, k])
            else:
                _add_halved(a, b, place, shape, cut, keys, rows, out[:, k])
    return bad


@compiled
def _add_halved(
    a: Any, b: Any, place: Any, shape: Any, cut: Any, keys: Any, rows: Any, out: Any
) -> None:
    """The three hats of a triangle, located as in `fe_relu.kernels`."""
    p, q, d, everything = place
    mirrored = (cut.parity ^ ((p + q) & cut.alternating)) & 1
    if mirrored:
        a = 1.0 - a
    high, low = max(a, b), min(a, b)
    left, right = p + mirrored, p + 1 - mirrored
    middle, up = (right, q) if a > b else (left, q + 1)
    for i, j, weight in ((left, q, 1 - high), (middle, up, high - low), (right, q + 1, low)):
        if everything or (i | j) & 1:
            _add_corner(i * d, j * d, weight, shape, keys, rows, out)


@compiled
def _add_crossed(a: Any, b: Any, place: Any, shape: Any, keys: Any, rows: Any, out: Any) -> None:
    """The hats of the centre of a cell and of the two ends of one of its sides."""
    p, q, d, everything = place
    a, b = a - 0.5, b - 0.5
    upright = abs(a) > abs(b)
    across, along = (a, b) if upright else (b, a)
    far = 1 if across > 0 else 0
    high, low = 2 * abs(across), abs(across) + along
    nx, ny = shape
    if 0 <= p < nx // d and 0 <= q < ny // d:
        if d == 1:
            _add_hat((nx + 1) * (ny + 1) + q * nx + p, 1 - high, keys, rows, out)
        else:
            _add_corner(p * d + d // 2, q * d + d // 2, 1 - high, shape, keys, rows, out)
    for end in range(2):
        i, j = (p + far, q + end) if upright else (p + end, q + far)
        if everything or (i + j) & 1:
            _add_corner(i * d, j * d, low if end else high - low, shape, keys, rows, out)


@compiled
def _add_corner(i: Any, j: Any, weight: Any, shape: Any, keys: Any, rows: Any, out: Any) -> None:
    nx, ny = shape
    if 0 <= i <= nx and 0 <= j <= ny:
        _add_hat(j * (nx + 1) + i, weight, keys, rows, out)


@compiled
def _add_hat(vertex: Any, weight: Any, keys: Any, rows: Any, out: Any) -> None:
    slot = _slot(keys, vertex)
    if keys[slot] >= 0:
        for component in range(out.size):
            out[component] += weight * rows[slot, component]
