# SPDX-License-Identifier: MIT
"""The H¹ seminorm of a P1 function on a grid: a sum over triangles, exact in any order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.blocks import Window
from fe_relu.compiled import compiled
from fe_relu.grid import Grid
from fe_relu.kernels import CUTS, Place
from fe_relu.parallel import largest

if TYPE_CHECKING:
    from mpi4py import MPI


def h1_seminorm(
    grid: Grid, window: Window, values: npt.NDArray, comm: MPI.Comm | None = None
) -> float:
    """The square root of ∫ |gradient|², summed over components. Collective if comm is given.

    The integral over a triangle is that of a constant. Triangles are added up as integers, so that
    the result has the same bits however the grid is spread in windows.

    Args:
        grid: The whole grid.
        window: The part of it that this rank has.
        values: Its nodal values (k, n).
        comm: Whose windows are to be summed; None if this one is all.
    """
    most = float(np.abs(values).max(initial=0))
    most = most if comm is None else largest(comm, most)
    if most == 0:
        return 0.0
    exponent = math.frexp(most)[1]
    metric = grid.inverse @ grid.inverse.T
    trace = float(np.trace(metric))
    g = (metric[0, 0] / trace, metric[0, 1] / trace, metric[1, 1] / trace)
    units = 0
    for component in values if values.shape[1] else []:
        place, cut = Place.of(window), CUTS[grid.diagonal]
        high, low = _energy(component, math.ldexp(1.0, -exponent), place, cut, g)
        units += (int(high) << 31) + int(low)
    units = units if comm is None else comm.allreduce(units)
    area = abs(float(np.linalg.det(grid.axes))) / (4 if grid.has_centres else 2)
    return math.ldexp(math.sqrt(math.ldexp(units, -57) * trace * area), exponent)


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
    window = Window((0, 0), small.shape)
    return np.array([h1_seminorm(small, window, row[None]) for row in values])


@compiled
def _energy(values: Any, scale: Any, place: Any, cut: Any, g: Any) -> Any:
    """Σ over triangles of g00 s² + 2 g01 s t + g11 t², as two integers: (high·2³¹ + low)·2⁻⁵⁷.

    Args:
        values: Nodal values of one component in window order.
        scale: Brings them to absolute values of at most 1.
        place: Where the window lies.
        cut: How its cells are cut.
        g: (g00, g01, g11), g00 + g11 ≤ 1; s and t are slopes of scaled values per lattice step.
    """
    nx, ny = place.nx, place.ny
    width = nx + 1
    high, low = np.int64(0), np.int64(0)
    slopes = np.empty((4, 2))
    for j in range(ny):
        for i in range(nx):
            corner = j * width + i
            v00, v10 = scale * values[corner], scale * values[corner + 1]
            v01, v11 = scale * values[corner + width], scale * values[corner + width + 1]
            bottom, top, left, right = v10 - v00, v11 - v01, v01 - v00, v11 - v10
            count = 2
            if cut.crossed:
                twice = 2.0 * scale * values[width * (ny + 1) + j * nx + i]
                count = 4
                slopes[0, 0], slopes[0, 1] = bottom, twice - v00 - v10
                slopes[1, 0], slopes[1, 1] = top, v01 + v11 - twice
                slopes[2, 0], slopes[2, 1] = twice - v00 - v01, left
                slopes[3, 0], slopes[3, 1] = v10 + v11 - twice, right
            elif (cut.parity + (place.i0 + i + place.j0 + j) * cut.alternating) & 1:
                slopes[0, 0], slopes[0, 1] = bottom, left
                slopes[1, 0], slopes[1, 1] = top, right
            else:
                slopes[0, 0], slopes[0, 1] = bottom, right
                slopes[1, 0], slopes[1, 1] = top, left
            for n in range(count):
                s, t = slopes[n, 0], slopes[n, 1]
                scaled = (g[0] * s * s + 2.0 * g[1] * s * t + g[2] * t * t) * 2.0**26
                whole = np.floor(scaled)
                high += np.int64(whole)
                low += np.int64(np.rint((scaled - whole) * 2.0**31))
    return high, low
