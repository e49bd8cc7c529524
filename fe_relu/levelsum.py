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
from fe_relu.kernels import BLOCK, CUTS, lattice_frame, lattice_point, not_finite, unpacked
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
        table: Hash table whose size is a power of two, shape (size, 1 + k): a vertex and its
            coefficients side by side, so that they share a cache line; −1 and zeros where empty.
    """

    grid: Grid
    levels: int
    occupied: npt.NDArray[np.bool_]
    table: npt.NDArray[np.float64]

    @staticmethod
    def of(
        grid: Grid, levels: int, vertices: npt.NDArray[np.int64], coefficients: npt.NDArray
    ) -> LevelSum:
        """From different vertices (n,) and their coefficients (k, n)."""
        occupied = np.zeros(levels + 1, np.bool_)
        occupied[levels_and_stars(grid, levels, vertices)[0]] = True
        table = np.zeros((1 << int(4 * vertices.size).bit_length(), 1 + len(coefficients)))
        table[:, 0] = -1
        _fill(table, vertices, np.ascontiguousarray(coefficients.T))
        return LevelSum(grid, levels, occupied, table)

    def values(self, x: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
        """Values at points (2, n), computed in dtype, shape (k, n)."""
        out = np.zeros((self.table.shape[1] - 1, x.shape[1]), dtype)
        frame, cut = lattice_frame(self.grid, dtype), CUTS[self.grid.diagonal]

        def run(part: slice) -> int:
            shape, occupied, here = self.grid.shape, self.occupied, out[:, part]
            return _add(x[0, part], x[1, part], frame, shape, cut, occupied, self.table, here)

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
def _slot(table: Any, vertex: Any) -> Any:
    """Where a vertex is in the table, or the empty place where it would be."""
    last = len(table) - 1
    slot = np.int64((np.uint64(vertex) * _SPREAD) >> np.uint64(32)) & last
    while table[slot, 0] != vertex and table[slot, 0] >= 0:
        slot = (slot + 1) & last
    return slot


@compiled
def _fill(table: Any, vertices: Any, coefficients: Any) -> None:
    for n in range(vertices.size):
        slot = _slot(table, vertices[n])
        table[slot, 0] = vertices[n]
        table[slot, 1:] = coefficients[n]


@compiled
def _add(
    x: Any, y: Any, frame: Any, shape: Any, cut: Any, occupied: Any, table: Any, out: Any
) -> Any:
    """Adds the hats at the points to out, shape (k, n); counts NaN or infinite coordinates."""
    real = frame.dtype.type
    numbers = unpacked(frame)
    levels = occupied.size - 1
    s, t = np.empty(BLOCK), np.empty(BLOCK)
    first, middle, last = (
        np.empty(BLOCK, np.int64),
        np.empty(BLOCK, np.int64),
        np.empty(BLOCK, np.int64),
    )
    high, low, middle_weight = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    bad = 0
    for start in range(0, x.size, BLOCK):
        count = min(BLOCK, x.size - start)
        for k in range(count):
            bad += not_finite(x[start + k], y[start + k])
            from_ring = lattice_point(real(x[start + k]), real(y[start + k]), numbers)
            s[k], t[k] = from_ring[0] - 1.0, from_ring[1] - 1.0
        here = out[:, start : start + count]
        for level in range(levels + 1):
            if not occupied[level]:
                continue
            d = 1 << (levels - level)
            points = s[:count], t[:count]
            if cut.crossed:
                _locate_crossed(*points, shape, d, level == 0, first, middle, last, high, low)
            else:
                _locate_halved(*points, shape, d, level == 0, cut, first, middle, last, high, low)
            for k in range(count):
                high[k], middle_weight[k] = 1.0 - high[k], high[k] - low[k]
            _add_hats(first, high, table, here)
            _add_hats(middle, middle_weight, table, here)
            _add_hats(last, low, table, here)
    return bad


@compiled
def _add_hats(vertices: Any, weights: Any, table: Any, out: Any) -> None:
    """Adds weight · coefficient; the places of absent vertices are empty and hold zeros."""
    for k in range(out.shape[1]):
        slot = _slot(table, vertices[k])
        for component in range(len(out)):
            out[component, k] += weights[k] * table[slot, 1 + component]


@compiled
def _cell(s: Any, d: Any, cells: Any) -> Any:
    """Cell of size d and place in it. Far outside, or for NaN, a cell beyond all hats."""
    s = s * (1.0 / d)
    s = s if s > -2.0 else -2.0
    s = min(s, cells + 2.0)
    p = np.floor(s)
    return np.int64(p), s - p


@compiled
def _corner(i: Any, j: Any, is_new: Any, d: Any, shape: Any) -> Any:
    """Number of a lattice point, or −1 if no hat of this level is there."""
    nx, ny = shape
    i, j = i * d, j * d
    there = (i >= 0) & (i <= nx) & (j >= 0) & (j <= ny) & is_new
    return j * (nx + 1) + i if there else -1


@compiled
def _locate_halved(
    s: Any, t: Any, shape: Any, d: Any, everything: Any, cut: Any,
    first: Any, middle: Any, last: Any, high: Any, low: Any,
) -> None:  # fmt: skip
    """The triangles of one level that points are in, located as in `fe_relu.kernels`."""
    nx, ny = shape
    for k in range(s.size):
        p, a = _cell(s[k], d, nx // d)
        q, b = _cell(t[k], d, ny // d)
        mirrored = (cut.parity ^ ((p + q) & cut.alternating)) & 1
        a = 1.0 - a if mirrored else a
        left, right = p + mirrored, p + 1 - mirrored
        i, j = (right, q) if a > b else (left, q + 1)
        first[k] = _corner(left, q, everything or (left | q) & 1, d, shape)
        middle[k] = _corner(i, j, everything or (i | j) & 1, d, shape)
        last[k] = _corner(right, q + 1, everything or (right | (q + 1)) & 1, d, shape)
        high[k], low[k] = max(a, b), min(a, b)


@compiled
def _locate_crossed(
    s: Any, t: Any, shape: Any, d: Any, everything: Any,
    first: Any, middle: Any, last: Any, high: Any, low: Any,
) -> None:  # fmt: skip
    nx, ny = shape
    for k in range(s.size):
        p, a = _cell(s[k], d, nx // d)
        q, b = _cell(t[k], d, ny // d)
        a, b = a - 0.5, b - 0.5
        upright = abs(a) > abs(b)
        across, along = (a, b) if upright else (b, a)
        far = 1 if across > 0 else 0
        inside = (p >= 0) & (p < nx // d) & (q >= 0) & (q < ny // d)
        if d == 1:
            centre = (nx + 1) * (ny + 1) + q * nx + p
        else:
            centre = (q * d + d // 2) * (nx + 1) + p * d + d // 2
        first[k] = centre if inside else -1
        i, j = (p + far, q) if upright else (p, q + far)
        middle[k] = _corner(i, j, everything or (i + j) & 1, d, shape)
        i, j = (i, j + 1) if upright else (i + 1, j)
        last[k] = _corner(i, j, everything or (i + j) & 1, d, shape)
        high[k], low[k] = 2.0 * abs(across), abs(across) + along
