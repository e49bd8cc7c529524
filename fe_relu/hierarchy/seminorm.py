# SPDX-License-Identifier: MIT
"""The H¹ seminorm of a P1 function on a grid: a sum over triangles, exact in any order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.meshes.grid.grid import Grid
from fe_relu.meshes.grid.locate import CUTS, Place
from fe_relu.meshes.grid.window import Window
from fe_relu.parallel.layouts import Alone, Layout

#: Slopes below 2 to this, subnormal or nearly, are not scaled up to 1.
MIN_EXPONENT = -1000


def h1_seminorm(window: Window, values: npt.NDArray, layout: Layout) -> float:
    """The square root of ∫ |gradient|², summed over components. Collective if values are spread.

    The integral over a triangle is that of a constant. Triangles are added up as integers, so that
    the result has the same bits however the grid is spread in windows.

    Args:
        window: The part of the grid that this rank has.
        values: Its nodal values (k, n).
        layout: Who has the others.
    """
    grid = window.grid
    metric = grid.inverse @ grid.inverse.T
    trace = float(np.trace(metric))
    g = (metric[0, 0] / trace, metric[0, 1] / trace, metric[1, 1] / trace)
    place, cut = Place.of(window), CUTS[grid.diagonal]
    components = values if values.shape[1] else values[:0]
    steepest = max((_steepest(component, place, cut, g) for component in components), default=0.0)
    exponent = max(math.frexp(layout.largest(steepest))[1], MIN_EXPONENT)
    units = 0
    for component in components:
        high, low = _energy(component, math.ldexp(1.0, -exponent), place, cut, g)
        units += (int(high) << 31) + int(low)
    digits = layout.summed([(units >> 40 * k) & ((1 << 40) - 1) for k in range(4)])
    units = sum(int(digit) << 40 * k for k, digit in enumerate(digits))
    area = abs(float(np.linalg.det(grid.axes))) / (4 if grid.has_centres else 2)
    # A product, as it may be infinite where `ldexp` raises.
    return math.sqrt(math.ldexp(units, -57) * trace * area) * 2.0 * math.ldexp(0.5, exponent)


def hat_seminorms(grid: Grid) -> npt.NDArray[np.float64]:
    """The seminorm of a hat away from the boundary, for each of the grid's stars, shape (3,).

    It does not depend on the spacing: gradients grow as areas fall.
    """
    small = Grid(grid.origin, grid.axes, (4, 4), grid.diagonal)
    values = np.zeros((3, small.num_vertices))
    even, odd, centre = 12, 7, 30
    values[0, even] = values[1, odd] = 1
    if grid.has_centres:
        values[2, centre] = 1
    return np.array([h1_seminorm(small.whole, row[None], Alone()) for row in values])


@compiled
def _steepest(values: Any, place: Any, cut: Any, g: Any) -> Any:
    """The largest √g00 |s| or √g11 |t| of all triangles, see `_energy`."""
    along_s, along_t = np.sqrt(g[0]), np.sqrt(g[2])
    most = 0.0
    slopes = np.empty((4, 2))
    for j in range(place.ny):
        for i in range(place.nx):
            for n in range(_find_slopes(values, i, j, place, cut, slopes)):
                most = max(most, along_s * abs(slopes[n, 0]), along_t * abs(slopes[n, 1]))
    return most


@compiled
def _energy(values: Any, scale: Any, place: Any, cut: Any, g: Any) -> Any:
    """Σ over triangles of g00 s² + 2 g01 s t + g11 t², as two integers: (high·2³¹ + low)·2⁻⁵⁷.

    Args:
        values: Nodal values of one component in window order.
        scale: Brings √g00 |s| and √g11 |t| to at most 1; s and t are slopes per lattice step.
        place: Where the window lies.
        cut: How its cells are cut.
        g: (g00, g01, g11).
    """
    high, low = np.int64(0), np.int64(0)
    slopes = np.empty((4, 2))
    for j in range(place.ny):
        for i in range(place.nx):
            for n in range(_find_slopes(values, i, j, place, cut, slopes)):
                s, t = scale * slopes[n, 0], scale * slopes[n, 1]
                scaled = (g[0] * s * s + 2.0 * g[1] * s * t + g[2] * t * t) * 2.0**26
                whole = np.floor(scaled)
                high += np.int64(whole)
                low += np.int64(np.rint((scaled - whole) * 2.0**31))
    return high, low


@compiled
def _find_slopes(values: Any, i: Any, j: Any, place: Any, cut: Any, slopes: Any) -> Any:
    """Writes (s, t) of the triangles of a cell of the window into slopes; returns their number."""
    width = place.nx + 1
    corner = j * width + i
    v00, v10 = np.float64(values[corner]), np.float64(values[corner + 1])
    v01, v11 = np.float64(values[corner + width]), np.float64(values[corner + width + 1])
    bottom, top, left, right = v10 - v00, v11 - v01, v01 - v00, v11 - v10
    if cut.crossed:
        centre = np.float64(values[width * (place.ny + 1) + j * place.nx + i])
        slopes[0, 0], slopes[0, 1] = bottom, (centre - v00) + (centre - v10)
        slopes[1, 0], slopes[1, 1] = top, (v01 - centre) + (v11 - centre)
        slopes[2, 0], slopes[2, 1] = (centre - v00) + (centre - v01), left
        slopes[3, 0], slopes[3, 1] = (v10 - centre) + (v11 - centre), right
        return 4
    if (cut.parity + (place.i0 + i + place.j0 + j) * cut.alternating) & 1:
        slopes[0, 0], slopes[0, 1] = bottom, left
        slopes[1, 0], slopes[1, 1] = top, right
    else:
        slopes[0, 0], slopes[0, 1] = bottom, right
        slopes[1, 0], slopes[1, 1] = top, left
    return 2
