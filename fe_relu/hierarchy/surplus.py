# SPDX-License-Identifier: MIT
"""The hierarchical transform in place: compiled loops over plain arrays.

Meshes of spacing 2^levels, …, 2, 1 lattice steps nest. A vertex that is new at spacing d is the
midpoint m of an edge (a, b) of the mesh of spacing 2d, and its *surplus* u(m) − ½(u(a) + u(b)) is
kept where its nodal value was. Vertices of the coarsest mesh keep their nodal values. With
d = 2^k, k the smaller power of two in i and j, the edge of a corner (i, j) of the lattice runs

    along i or j    if only that one is an odd multiple of d
    diagonally      if both are, as the cell of size 2d around (i, j) is cut.

With `crossed` cells, the latter is the centre of that cell, one spacing earlier: a midpoint of a
corner and the centre of a cell of size 4d. So are the centres of the finest cells.
"""

from __future__ import annotations

from typing import Any

from fe_relu.basics.compiled import compiled

#: The finest levels are not settled: roundoff of two levels is little, their cost is most.
UNSETTLED = 2


@compiled
def settle(values: Any, place: Any, cut: Any, levels: Any, finest: Any) -> None:
    """Rounds nodal values to ones that `split` and `join` give back bit for bit.

    u(m) becomes (u(m) − mean) + mean, rounded, the coarsest mesh first: then the inverse repeats
    the same sums, and roundoff does not add up over levels. Of the levels, the last `finest` are
    left as they are. Other arguments are those of `split`.
    """
    for k in range(levels - 1, finest - 1, -1):
        _add_to_midpoints(values, place, cut, k, -0.5, 0.5)


@compiled
def split(values: Any, place: Any, cut: Any, levels: Any) -> None:
    """Nodal values of a window to surpluses, in place, the finest mesh first.

    Args:
        values: Of one component, shape (n,), contiguous, in window order.
        place: Where the window lies; its ends are multiples of 2^levels.
        cut: One of `fe_relu.kernels.CUTS`, of a diagonal that nests.
        levels: How often to halve.
    """
    for k in range(levels):
        _add_to_midpoints(values, place, cut, k, -0.5, 0.0)


@compiled
def join(values: Any, place: Any, cut: Any, levels: Any) -> None:
    """The inverse of `split`, the coarsest mesh first."""
    for k in range(levels - 1, -1, -1):
        _add_to_midpoints(values, place, cut, k, 0.5, 0.0)


@compiled
def _add_to_midpoints(values: Any, place: Any, cut: Any, k: Any, factor: Any, again: Any) -> None:
    """Adds factor·(u(a) + u(b)), then again·(…), to the vertices that are new at spacing 2^k."""
    factors = values.dtype.type(factor), values.dtype.type(again)
    width, height = place.nx + 1, place.ny + 1
    d = 1 << k
    corners = values[: width * height].reshape((height, width))
    for j in range(0, height, 2 * d):
        if j > 0:
            below, row, above = corners[j - 2 * d], corners[j - d], corners[j]
            for i in range(0, width, 2 * d):
                row[i] = _plus(row[i], below[i], above[i], factors)
            if not cut.crossed:
                across = ((place.j0 + j) >> (k + 1)) - 1
                _add_to_middles(below, row, above, place.i0, across, cut, k, factors)
        row = corners[j]
        for i in range(d, width, 2 * d):
            row[i] = _plus(row[i], row[i - d], row[i + d], factors)
    if cut.crossed:
        _add_to_centres(values, corners, place, k, factors)


@compiled
def _plus(value: Any, a: Any, b: Any, factors: Any) -> Any:
    return (value + factors[0] * (a + b)) + factors[1] * (a + b)


@compiled
def _add_to_middles(
    below: Any, row: Any, above: Any, i0: Any, across: Any, cut: Any, k: Any, factors: Any
) -> None:
    """One row of middles of cells of size 2d, in row `across` of such cells."""
    d = 1 << k
    if not cut.alternating:
        shift = d if cut.parity == 0 else -d
        for i in range(d, row.size, 2 * d):
            row[i] = _plus(row[i], below[i - shift], above[i + shift], factors)
        return
    first = (i0 >> (k + 1)) + across + cut.parity
    for odd in range(2):
        shift = -d if odd else d
        for i in range(d + 2 * d * ((first + odd) & 1), row.size, 4 * d):
            row[i] = _plus(row[i], below[i - shift], above[i + shift], factors)


@compiled
def _add_to_centres(values: Any, corners: Any, place: Any, k: Any, factors: Any) -> None:
    """Centres of `crossed` cells of size d; cell (p, q) is a quarter of one of size 2d.

    A diagonal of it from the corner to the centre of that one is ╱ if p + q is even, else ╲.
    """
    d = 1 << k
    if k == 0:
        centres = values[corners.size :].reshape((place.ny, place.nx))
    for q in range(place.ny >> k):
        below, above = corners[q * d], corners[(q + 1) * d]
        row = centres[q] if k == 0 else corners[q * d + d // 2]
        step, first = (1, 0) if k == 0 else (d, d // 2)
        for odd in range(2):
            start = (q + odd) & 1
            left, right = (d, 0) if odd else (0, d)
            for p in range(start, place.nx >> k, 2):
                row[first + p * step] = _plus(
                    row[first + p * step], below[p * d + left], above[p * d + right], factors
                )


@compiled
def classify(vertices: Any, shape: Any, crossed: Any, levels: Any, level: Any, star: Any) -> None:
    """Writes the level at which each vertex is new, and which of the grid's stars its hat has.

    Args:
        vertices: Numbers of the grid, shape (n,).
        shape: (nx, ny) of the grid.
        crossed: Whether it has centres.
        levels: How often it is halved.
        level: Shape (n,), integers to write.
        star: Likewise: 0 or 1 for the parity of the vertex among those of its spacing, 2 for a
            centre.
    """
    nx, ny = shape
    corners = (nx + 1) * (ny + 1)
    for n in range(vertices.size):
        v = vertices[n]
        if v >= corners:
            level[n], star[n] = levels, 2
            continue
        i, j = v % (nx + 1), v // (nx + 1)
        a, b = 0, 0
        while a < levels and ((i >> a) & 1) == 0:
            a += 1
        while b < levels and ((j >> b) & 1) == 0:
            b += 1
        least = min(a, b)
        level[n], star[n] = levels - least, ((i >> least) + (j >> least)) & 1
        if crossed and a == b and least < levels:
            level[n], star[n] = levels - least - 1, 2


@compiled
def tally(level: Any, sizes: Any, kept: Any, owned: Any, number: Any, most: Any) -> None:
    """Adds up level by level what is kept and what is dropped.

    Args:
        level: Level of each vertex, shape (n,).
        sizes: Size of its coefficient, likewise.
        kept: Whether it is kept, likewise.
        owned: Whether it counts, likewise.
        number: Owned vertices kept at each level; added to, shape (levels + 1,).
        most: The largest size that is dropped, and that is kept; raised, shape (2, levels + 1).
    """
    for n in range(sizes.size):
        which = 1 if kept[n] else 0
        number[level[n]] += which & owned[n]
        most[which, level[n]] = max(most[which, level[n]], sizes[n])
