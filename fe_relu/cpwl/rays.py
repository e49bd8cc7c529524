# SPDX-License-Identifier: MIT
"""Where a continuous piecewise linear function of the plane bends, as maxima of three from a point.

Across an edge from a to b, with J the quarter turn to the left, the gradient changes by W J (b − a)
from right to left; W > 0 where the function is convex. So the function is known, up to an affine
one, by the weights W of its edges. Each edge is a ray from its tail less the same ray from its
head, and at every vertex the rays that are left there are *balanced*, Σ W r = 0, since gradients
around a vertex come back to the first. Three rays with Σ α r = 0, all α > 0, are how

    max(0, α₁ J r₁ · x, −α₃ J r₃ · x)                   bends (rays counter-clockwise),

and every balanced set of rays is made of such triples: choose three rays p of a *frame* whose
cones cover the plane; add to each other ray r the two of them that −r lies between; what is left
on the frame is balanced, and so a multiple of the one triple (p₁, p₂, p₃).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled

#: Rays that a frame is chosen among; of more, some at equal steps.
CANDIDATES = 12

#: The square of the sine of the least angle between rays of a frame of a vertex's own. Where they
#: have none so good, the frame is `FIXED`.
LEAST_SINE = 0.01

#: Three rays with Σ p = 0 at angles near 120 degrees, in whole numbers.
FIXED = np.array([[3, -2, -1], [1, 2, -3]])

#: What a term may need: as many as there are rays, and one for the frame.
EXTRA = 1


def weights(
    vertices: npt.NDArray, cells: npt.NDArray[np.int64], values: npt.NDArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
    """Edges (2, e), each once, and their weights, of a P1 function that is 0 beyond the cells.

    Args:
        vertices: Shape (2, n).
        cells: Shape (3, m), in any orientation.
        values: Nodal values, shape (n,), 0 at the boundary; floats, or exact numbers (dtype
            object).
    """
    corners = vertices[:, cells]
    sides = corners[:, [1, 2]] - corners[:, [0]]
    turned = sides[0, 0] * sides[1, 1] < sides[0, 1] * sides[1, 0]
    cells = np.where(turned, cells[[0, 2, 1]], cells)
    corners, nodal = vertices[:, cells], values[cells]
    sides = corners[:, [1, 2]] - corners[:, [0]]
    steps = nodal[[1, 2]] - nodal[0]
    area = sides[0, 0] * sides[1, 1] - sides[0, 1] * sides[1, 0]
    slope_x = (steps[0] * sides[1, 1] - steps[1] * sides[1, 0]) / area
    slope_y = (steps[1] * sides[0, 0] - steps[0] * sides[0, 1]) / area

    tails, heads = cells.ravel(), np.roll(cells, -1, axis=0).ravel()
    along = vertices[:, heads] - vertices[:, tails]
    turning = np.tile(slope_y, 3) * along[0] - np.tile(slope_x, 3) * along[1]
    parts = turning / (along * along).sum(axis=0)
    keys = np.minimum(tails, heads) * vertices.shape[1] + np.maximum(tails, heads)
    keys, edge = np.unique(keys, return_inverse=True)
    found, size = np.zeros((2, len(keys)), values.dtype)
    np.add.at(found, edge, parts)
    np.add.at(size, edge, abs(parts))
    noise = 4 * np.finfo(np.float64).eps if values.dtype == np.float64 else 0
    bent = abs(found) > noise * size
    return np.array(np.divmod(keys[bent], vertices.shape[1])), found[bent]


def rays(
    vertices: npt.NDArray, edges: npt.NDArray[np.int64], weights: npt.NDArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
    """Each edge as a ray from its tail and, with the opposite weight, one from its head.

    Which end is the tail is settled by the edge's number as if by lot: if all edges went one way,
    rays of a vertex would lie on one side, and no three of them would be a frame.

    Returns:
        Where each vertex's rays begin, shape (n + 1,), and the rays: x, y, weight, shape (3, r).
    """
    count = edges.shape[1]
    lot = (np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(63)
    tails, heads = np.where(lot == 0, edges, edges[::-1])
    along = vertices[:, heads] - vertices[:, tails]
    places = np.concatenate([tails, heads])
    order = np.argsort(places, kind="stable")
    found = np.vstack([np.hstack([along, along]), np.concatenate([weights, -weights])])
    starts = np.searchsorted(places[order], np.arange(vertices.shape[1] + 1))
    return starts, np.ascontiguousarray(found[:, order])


@compiled
def triples(starts: Any, rays: Any, fixed: Any, terms: Any, apexes: Any) -> Any:
    """Terms sign · max(0, g · x, h · x) whose bends are the balanced rays at each vertex.

    Args:
        starts: As `rays` gives them; of lines, whose rays are overwritten.
        rays: Likewise.
        fixed: `FIXED`, in the type of the rays.
        terms: Written: sign, g and h, shape (5, t).
        apexes: Written: the vertex of each term, shape (t,).

    Returns:
        The number of terms.
    """
    made = 0
    for v in range(len(starts) - 1):
        begin, end = starts[v], starts[v + 1]

        # Rays in one direction are one; opposite ones that bend alike are a line.
        i = begin
        while i < end:
            j = i + 1
            while j < end:
                cross = rays[0, i] * rays[1, j] - rays[1, i] * rays[0, j]
                dot = rays[0, i] * rays[0, j] + rays[1, i] * rays[1, j]
                if cross != 0 or (dot < 0 and rays[2, i] * rays[2, j] <= 0):
                    j += 1
                    continue
                ratio = dot / (rays[0, i] * rays[0, i] + rays[1, i] * rays[1, i])
                if dot < 0:  # the line of ray j
                    sign = 1 if rays[2, j] > 0 else -1
                    terms[0, made] = sign
                    terms[1, made] = -sign * rays[2, j] * rays[1, j]
                    terms[2, made] = sign * rays[2, j] * rays[0, j]
                    terms[3, made] = terms[4, made] = 0 * ratio
                    apexes[made] = v
                    made += 1
                rays[2, i] += ratio * rays[2, j]
                end -= 1
                for row in range(3):
                    rays[row, j] = rays[row, end]
                j = i + 1  # what was passed over may be alike now
            if rays[2, i] == 0:
                end -= 1
                for row in range(3):
                    rays[row, i] = rays[row, end]
            else:
                i += 1
        if begin == end:
            continue

        # The frame: of the vertex's own rays those at the widest angles.
        best, one, two, three = LEAST_SINE, -1, -1, -1
        step = max(1, (end - begin) // CANDIDATES)
        for i in range(begin, end, step):
            for j in range(begin, end, step):
                cross = float(rays[0, i] * rays[1, j] - rays[1, i] * rays[0, j])
                lengths = float(rays[0, i] * rays[0, i] + rays[1, i] * rays[1, i])
                lengths *= float(rays[0, j] * rays[0, j] + rays[1, j] * rays[1, j])
                first = cross * cross / lengths
                if cross <= 0 or first <= best:
                    continue
                for k in range(begin, end, step):
                    second = float(rays[0, j] * rays[1, k] - rays[1, j] * rays[0, k])
                    third = float(rays[0, k] * rays[1, i] - rays[1, k] * rays[0, i])
                    if second <= 0 or third <= 0:
                        continue
                    size_i = float(rays[0, i] * rays[0, i] + rays[1, i] * rays[1, i])
                    size_j = float(rays[0, j] * rays[0, j] + rays[1, j] * rays[1, j])
                    size_k = float(rays[0, k] * rays[0, k] + rays[1, k] * rays[1, k])
                    second = second * second / (size_j * size_k)
                    third = third * third / (size_k * size_i)
                    if min(first, second, third) > best:
                        best, one, two, three = min(first, second, third), i, j, k
        if one >= 0:
            ax, ay, a = rays[0, one], rays[1, one], rays[2, one]
            bx, by, b = rays[0, two], rays[1, two], rays[2, two]
            cx, cy, c = rays[0, three], rays[1, three], rays[2, three]
        else:
            zero = 0 * rays[2, begin]
            ax, ay, a = fixed[0, 0], fixed[1, 0], zero
            bx, by, b = fixed[0, 1], fixed[1, 1], zero
            cx, cy, c = fixed[0, 2], fixed[1, 2], zero
        ab, bc, ca = ax * by - ay * bx, bx * cy - by * cx, cx * ay - cy * ax

        # Each other ray with the two of the frame that its opposite lies between.
        for i in range(begin, end):
            if i in (one, two, three):
                continue
            x, y, weight = rays[0, i], rays[1, i], rays[2, i]
            on_a, on_b, on_c = ax * y - ay * x, bx * y - by * x, cx * y - cy * x  # cross(p, r)
            if on_a <= 0 and on_b >= 0:  # −r is between a and b
                p, q, qx, qy = on_b / ab, -on_a / ab, bx, by
                a -= weight * p
                b -= weight * q
            elif on_b <= 0 and on_c >= 0:
                p, q, qx, qy = on_c / bc, -on_b / bc, cx, cy
                b -= weight * p
                c -= weight * q
            else:
                p, q, qx, qy = on_a / ca, -on_c / ca, ax, ay
                c -= weight * p
                a -= weight * q
            sign = 1 if weight > 0 else -1
            size = sign * weight
            # Counter-clockwise: r, then p, then q, with −r = p · … + q · ….
            terms[0, made] = sign
            terms[1, made], terms[2, made] = -size * y, size * x
            terms[3, made], terms[4, made] = size * q * qy, -size * q * qx
            apexes[made] = v
            made += 1

        # What is left on the frame is (bc, ca, ab) times a number.
        left = (a + b + c) / (ab + bc + ca)
        if left != 0:
            sign = 1 if left > 0 else -1
            size = sign * left
            terms[0, made] = sign
            terms[1, made], terms[2, made] = -size * bc * ay, size * bc * ax
            terms[3, made], terms[4, made] = size * ab * cy, -size * ab * cx
            apexes[made] = v
            made += 1
    return made
