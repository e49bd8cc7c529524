# SPDX-License-Identifier: MIT
"""Which cells share a facet, and the order in which cells and vertices are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.basics.ordering import order_of


@compiled
def neighbours(cells: Any, num_vertices: Any) -> Any:
    """For each facet, 4·(the cell beyond it) + (its place there), or −1 if there is none.

    Facet i of a cell is the one opposite its corner i.

    Args:
        cells: Corners in increasing order, shape (dim + 1, m).
        num_vertices: More than any of them.

    Returns:
        Shape (m, dim + 1); and 4·cell + facet of the first facet of a third cell, or −1.
    """
    corners, count = cells.shape
    beyond = np.full((count, corners), -1, np.int64)
    # Facets with one cell so far, chained by their lowest vertex.
    first = np.full(num_vertices, -1, np.int64)
    following = np.empty(count * corners, np.int64)
    for k in range(count):
        for i in range(corners):
            lowest = cells[1 if i == 0 else 0, k]
            place = first[lowest]
            while place >= 0 and not _same(cells, k, i, place // corners, place % corners):
                place = following[place]
            if place < 0:
                following[k * corners + i] = first[lowest]
                first[lowest] = k * corners + i
                continue
            other, j = place // corners, place % corners
            if beyond[other, j] >= 0:
                return beyond, 4 * k + i
            beyond[other, j], beyond[k, i] = 4 * k + i, 4 * other + j
    return beyond, -1


@compiled
def _same(cells: Any, k: Any, i: Any, other: Any, j: Any) -> Any:
    """Whether facet i of a cell is facet j of another."""
    for place in range(len(cells) - 1):
        if cells[place + (place >= i), k] != cells[place + (place >= j), other]:
            return False
    return True


def along_curve(points: npt.NDArray) -> npt.NDArray[np.int64]:
    """The order of points (dim, n) along a Morton curve, on which near points mostly are near."""
    dim, count = points.shape
    if count == 0:
        return np.empty(0, np.int64)
    low = points.min(axis=1)
    size = (points.max(axis=1) - low).max()
    bits = {1: 52, 2: 31, 3: 21}[dim]
    scale = (2.0**bits - 1) / size if size > 0 else 0.0
    codes = np.empty(count, np.uint64)
    _codes(points, low, scale, codes)
    return order_of(codes)


@compiled
def _codes(points: Any, low: Any, scale: Any, codes: Any) -> None:
    dim = len(points)
    for k in range(codes.size):
        code = np.uint64(0)
        for axis in range(dim):
            place = np.uint64((points[axis, k] - low[axis]) * scale)
            if dim == 2:
                place = _spread_2(place)
            elif dim == 3:
                place = _spread_3(place)
            code |= place << np.uint64(axis)
        codes[k] = code


@compiled
def _spread_2(v: Any) -> Any:
    """A zero bit after each bit."""
    v = (v | (v << np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    v = (v | (v << np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    v = (v | (v << np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    v = (v | (v << np.uint64(2))) & np.uint64(0x3333333333333333)
    return (v | (v << np.uint64(1))) & np.uint64(0x5555555555555555)


@compiled
def _spread_3(v: Any) -> Any:
    """Two zero bits after each bit."""
    v = (v | (v << np.uint64(32))) & np.uint64(0x001F00000000FFFF)
    v = (v | (v << np.uint64(16))) & np.uint64(0x001F0000FF0000FF)
    v = (v | (v << np.uint64(8))) & np.uint64(0x100F00F00F00F00F)
    v = (v | (v << np.uint64(4))) & np.uint64(0x10C30C30C30C30C3)
    return (v | (v << np.uint64(2))) & np.uint64(0x1249249249249249)


@compiled
def centres(vertices: Any, cells: Any) -> Any:
    """The middles of cells, shape (dim, m)."""
    corners, count = cells.shape
    dim = len(vertices)
    middle = np.empty((dim, count))
    for axis in range(dim):
        for k in range(count):
            total = 0.0
            for i in range(corners):
                total += vertices[axis, cells[i, k]]
            middle[axis, k] = total / corners
    return middle
