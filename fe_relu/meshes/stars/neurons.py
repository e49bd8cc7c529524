# SPDX-License-Identifier: MIT
"""The neurons that make the hat function of each vertex: what they weigh, line by line.

A *neuron* is R(1 − Σ aR(s) + bR(−s)) over a few lines, s the area of the parallelogram between the
line's two ends and a point: a is the weight above the line (left of it), b the one below it. It
is most often a diamond (two lines). A star that is its own mirror image in the vertex is one neuron
with a line for each two spokes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled, inlined
from fe_relu.meshes.stars.decomposition import (
    Star,
    area,
    best_spokes,
    decomposed,
    square,
    straightened,
)

#: Points that are to be one, or on a line, may differ by that part of the least height of a star.
FLATTEST = 1e-3


class Neurons(NamedTuple):
    """Neurons, each with some lines, as parallel arrays.

    Attributes:
        owners: The vertex of each neuron.
        factors: What part of the vertex' hat each neuron is.
        rows: The neuron of each line.
        names: Two vertices on each line, the lower one first, or −1 if there are no two; (m, 2).
        ends: Two points on each line counted from the neuron's vertex, (m, 4).
        weights: Above and below each line, (m, 2).
    """

    owners: npt.NDArray
    factors: npt.NDArray
    rows: npt.NDArray
    names: npt.NDArray
    ends: npt.NDArray
    weights: npt.NDArray


@inlined
def put_line(
    star: Any, a: Any, b: Any, above: Any, below: Any, neurons: Any, row: Any, u: Any
) -> None:
    """Writes line u, from a to b, of a neuron."""
    p, names = star.p, star.names
    if 0 <= names[b] < names[a]:
        a, b, above, below = b, a, below, above
    named = names[a] >= 0 and names[b] >= 0
    neurons.rows[u] = row
    neurons.names[u, 0], neurons.names[u, 1] = (names[a], names[b]) if named else (-1, -1)
    neurons.ends[u, 0], neurons.ends[u, 1] = p[a, 0], p[a, 1]
    neurons.ends[u, 2], neurons.ends[u, 3] = p[b, 0], p[b, 1]
    neurons.weights[u, 0], neurons.weights[u, 1] = above, below


@compiled
def put_diamond(star: Any, part: Any, neurons: Any, row: Any, u: Any) -> Any:
    """Writes a diamond with its two lines; returns the number of the next line."""
    for line in range(2):
        a, b = part[2 * line], part[2 * line + 1]
        left = area(star.p, a, b, part[4 + 2 * line])
        right = area(star.p, a, b, part[5 + 2 * line])
        above, below = max(left, right), -min(left, right)
        put_line(star, a, b, 1 / above, 1 / below, neurons, row, u + line)
    return u + 2


@compiled
def is_mirrored(star: Any) -> Any:
    """Whether the star is its own mirror image in the vertex, with at least three lines in it."""
    half = star.k // 2
    if star.k % 2 == 1 or half < 3:
        return False
    for m in range(half):
        x, y = star.p[m, 0] + star.p[m + half, 0], star.p[m, 1] + star.p[m + half, 1]
        if x * x + y * y > (2 * star.tolerance) ** 2:
            return False
    return True


@compiled
def bend(star: Any, m: Any) -> Any:
    """How much the gradient jumps at spoke m, as a multiple of the spoke turned by 90 degrees."""
    p, k = star.p, star.k
    before, after = (m - 1) % k, (m + 1) % k
    return area(p, before, m, after) / (area(p, k, before, m) * area(p, k, m, after))


@compiled
def put_mirrored(star: Any, neurons: Any, row: Any, u: Any) -> Any:
    """Writes the neuron of a star that is its own mirror image; the number of the next line.

    It is R(1 − Σ ½ bend · |s|). Three lines through a point have x s₀ − s₁ + y s₂ = 0, and a
    multiple of that is added which leaves weights zero: each line is used from one side only where
    the star is an affine image of the regular hexagon.
    """
    p, k, half = star.p, star.k, star.k // 2
    x = y = shift = 0 * bend(star, 0)
    if half == 3:
        x, y = area(p, k, 1, 2) / area(p, k, 0, 2), area(p, k, 0, 1) / area(p, k, 0, 2)
        shift = max(shift, min(bend(star, 0) / x, bend(star, 1), bend(star, 2) / y) / 2)
    for m in range(half):
        change = shift * (x if m == 0 else y if m == 2 else -1)
        above, below = bend(star, m) / 2 + change, bend(star, m) / 2 - change
        least = (4 * star.tolerance * bend(star, m)) ** 2
        above = above if above**2 * square(p, k, m) > least else 0 * above
        below = below if below**2 * square(p, k, m) > least else 0 * below
        put_line(star, k, m, above, below, neurons, row, u + m)
    return u + half


@compiled
def put_star(star: Any, neurons: Any, row: Any, u: Any) -> Any:
    """Writes the neurons of one vertex; returns the numbers of the next neuron and line.

    They are what they were if there is no way.
    """
    if is_mirrored(star):
        neurons.factors[row] = 1
        return row + 1, put_mirrored(star, neurons, row, u)
    i, j = best_spokes(star)
    if i < 0:
        return row, u
    count, _ = decomposed(star, i, j)
    for t in range(count):
        neurons.factors[row + t] = star.factors[t]
        u = put_diamond(star, star.parts[t], neurons, row + t, u)
    return row + count, u


@compiled
def tolerance_at(p: Any, k: Any, tolerance: Any) -> Any:
    """The tolerance, or less where a star is not much larger itself."""
    height = np.inf
    for m in range(k):
        n = (m + 1) % k
        height = min(height, area(p, k, m, n) / np.sqrt(square(p, m, n)))
    return min(tolerance, FLATTEST * max(height, 0.0))


@compiled
def link(starts: Any, nexts: Any, names: Any) -> Any:
    """The neighbours counter-clockwise, from those before and after each other in triangles.

    Writes them into names; says whether they are one closed chain.
    """
    k = len(starts)
    names[0] = starts[0]
    at = 0
    for m in range(1, k + 1):
        found = nexts[at]
        if m == k:
            return found == names[0]
        names[m] = found
        at = 0
        while at < k and starts[at] != found:
            at += 1
        if at == k or found == names[0]:
            return False
    return False


@compiled
def put_stars(
    vertices: Any, offsets: Any, starts: Any, nexts: Any, tolerance: Any, neurons: Any
) -> Any:
    """Writes the neurons of all vertices; how many, with how many lines, and −1.

    Or, in place of −1, a vertex for which there is no way.
    """
    most = 1
    for v in range(len(offsets) - 1):
        most = max(most, offsets[v + 1] - offsets[v])
    p, names = np.zeros((5 * most + 8, 2)), np.full(5 * most + 8, -1)
    parts, factors = np.zeros((2 * most + 4, 8), np.int64), np.zeros(2 * most + 4)
    chain = np.zeros(most + 4, np.int64)
    row = u = 0
    for v in range(len(offsets) - 1):
        first, last = offsets[v], offsets[v + 1]
        k = last - first
        if k == 0:
            continue
        if not link(starts[first:last], nexts[first:last], names):
            return row, u, v
        for m in range(k):
            p[m, 0] = vertices[0, names[m]] - vertices[0, v]
            p[m, 1] = vertices[1, names[m]] - vertices[1, v]
        p[k, 0] = p[k, 1] = 0
        names[k] = v
        names[k + 1 :] = -1
        star = Star(p, names, k, tolerance_at(p, k, tolerance), chain, parts, factors)
        next_row, u = put_star(straightened(star), neurons, row, u)
        if next_row == row:
            return row, u, v
        neurons.owners[row:next_row] = v
        row = next_row
    return row, u, -1


def neurons_of_hats(
    vertices: npt.NDArray, cells: npt.NDArray, num_own: int, tolerance: float
) -> Neurons:
    """The neurons of the first num_own vertices, inside a triangulation of the plane.

    Args:
        vertices: Coordinates, shape (2, n).
        cells: Counter-clockwise, shape (3, m).
        num_own: These vertices have triangles all around.
        tolerance: Points no farther than that from a line, or from a mirror image, are on it.

    Raises:
        ValueError: The triangles at a vertex do not go around it once, or are flat.
    """
    corners = np.concatenate([cells[0], cells[1], cells[2]])
    order = np.argsort(corners, kind="stable")
    counts = np.bincount(corners, minlength=vertices.shape[1])[:num_own]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    order = order[: offsets[-1]]
    starts = np.concatenate([cells[1], cells[2], cells[0]])[order]
    nexts = np.concatenate([cells[2], cells[0], cells[1]])[order]
    most = offsets[-1]
    neurons = Neurons(
        np.empty(2 * most, np.int64),
        np.empty(2 * most),
        np.empty(4 * most, np.int64),
        np.empty((4 * most, 2), np.int64),
        np.empty((4 * most, 4)),
        np.empty((4 * most, 2)),
    )
    rows, lines, failed = put_stars(vertices, offsets, starts, nexts, tolerance, neurons)
    if failed >= 0:
        x, y = vertices[:, failed]
        raise ValueError(
            f"the triangles at vertex {failed}, at {x:.6g}, {y:.6g}, do not go around it once, "
            "or are flat"
        )
    lengths = (rows, rows, lines, lines, lines, lines)
    return Neurons(*(array[:length] for array, length in zip(neurons, lengths, strict=True)))
