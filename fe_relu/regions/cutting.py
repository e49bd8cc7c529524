# SPDX-License-Identifier: MIT
"""A subdivision of the plane cut, face by face, where affine functions on its faces change sign.

Faces are loops of half-edges, counter-clockwise: `origins[h]` is where half-edge h starts,
`nexts[h]` follows it around its face, `twins[h]` runs back on the other side, or is −1 at the
boundary. Numbers z (one a function, continuous, affine on each face) are known at the vertices.

- A face is cut by the functions that are positive at one vertex of it and negative at another; bit
  masks of signs at vertices tell all of them at once.
- An edge is split once, for the faces on both of its sides, so that there are no T-junctions.
- A new vertex between a and b takes (1 − t) z(a) + t z(b) of all functions. So signs on an edge
  change once, as on a line.
- |z| ≤ tol is 0, and a cut that comes within `near` of a vertex goes through it.

Numbers of a new vertex are kept until the faces around it are cut, then passed through the next
layer: memory is that of the numbers at old vertices and of the faces that come out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fe_relu.basics.compiled import compiled

#: Rows that are passed through the next layer together.
BATCH = 128

#: Arrays begin with room for so many times what there is; pages that are not used cost nothing.
ROOM = 4

_ONE, _ZERO = np.uint64(1), np.uint64(0)
_SHIFT = np.uint64(58)
_SEQUENCE = np.uint64(0x03F79D71B4CB0A89)
_TABLE = np.empty(64, np.int64)
for _bit in range(64):
    _TABLE[((1 << _bit) * 0x03F79D71B4CB0A89 % (1 << 64)) >> 58] = _bit


@compiled
def _lowest(word: Any) -> Any:
    """The number of the lowest bit of a word that is not 0 (de Bruijn)."""
    return _TABLE[((word & (~word + _ONE)) * _SEQUENCE) >> _SHIFT]


@compiled
def _longer(array: Any, least: Any) -> Any:
    """The array with more room at its end."""
    longer = np.empty(max(2 * least, 2 * array.size + 64), array.dtype)
    longer[: array.size] = array
    return longer


@compiled
def _mixed(a: Any, b: Any, s: Any, t: Any, into: Any) -> None:
    """Writes s a + t b."""
    for j in range(into.size):
        into[j] = s * a[j] + t * b[j]


@compiled
def _activated(z: Any, into: Any) -> None:
    """Writes max(z, 0)."""
    for j in range(into.size):
        into[j] = z[j] if z[j] > 0 else 0.0


@compiled
def _signs(z: Any, tol: Any, above: Any, below: Any) -> None:
    """Bit masks of what is positive and what negative; what is neither becomes 0."""
    for w in range(above.size):
        positive, negative = _ZERO, _ZERO
        first = w * 64
        count = min(64, z.size - first)
        numbers, least = z[first : first + count], tol[first : first + count]
        for j in range(count):
            number, limit = numbers[j], least[j]
            positive |= np.uint64(number > limit) << np.uint64(j)
            negative |= np.uint64(number < -limit) << np.uint64(j)
            numbers[j] = number if abs(number) > limit else 0.0
        above[w], below[w] = positive, negative


@compiled
def _crossing(start: Any, origins: Any, nexts: Any, signs: Any, z: Any, n: Any, rows: Any, k: Any,
              plus: Any, minus: Any, words: Any, mask: Any) -> Any:  # fmt: skip
    """The half-edges on which function k falls below 0 and comes back, going around a face.

    Of several places where it is negative, which roundoff makes, that of the least value; in the
    others it is made 0. Returned as well: the half-edge before the first.
    """
    begin = start
    while signs[origins[begin] * 2 * words + plus] & mask == _ZERO:
        begin = nexts[begin]
    h, previous, runs = begin, begin, 0
    enter = leave = before = first = first_before = -1
    deepest = lowest = 0.0
    inside = False
    while True:
        v = origins[nexts[h]]
        below = signs[v * 2 * words + minus] & mask != _ZERO
        if below and not inside:
            first, first_before, inside, lowest = h, previous, True, 0.0
            runs += 1
        if below:
            lowest = min(lowest, z[rows[v] * n + k])
        elif inside:
            inside = False
            if lowest < deepest:
                deepest, enter, before, leave = lowest, first, first_before, h
        previous, h = h, nexts[h]
        if h == begin:
            break
    if runs > 1:
        keep = False
        while True:
            keep = (keep or h == enter) and h != leave
            v = origins[nexts[h]]
            if not keep and signs[v * 2 * words + minus] & mask != _ZERO:
                signs[v * 2 * words + minus] &= ~mask
                z[rows[v] * n + k] = 0.0
            h = nexts[h]
            if h == begin:
                break
    return enter, before, leave


@compiled
def _flat(first: Any, last: Any, origins: Any, nexts: Any, points: Any, near: Any) -> Any:
    """Whether what a chord from `last`'s to `first`'s origin would cut off has no area.

    It is what follows half-edge `first` up to `last`.
    """
    o = origins[first]
    ox, oy = points[2 * o], points[2 * o + 1]
    chord = abs(points[2 * origins[last]] - ox) + abs(points[2 * origins[last] + 1] - oy)
    area, h = 0.0, nexts[first]
    while h != last:
        a, b = origins[h], origins[nexts[h]]
        area += (points[2 * a] - ox) * (points[2 * b + 1] - oy)
        area -= (points[2 * a + 1] - oy) * (points[2 * b] - ox)
        h = nexts[h]
    return area <= near * chord


@compiled
def _quieten(first: Any, last: Any, origins: Any, nexts: Any, signs: Any, z: Any, n: Any, rows: Any,
             k: Any, sign: Any, words: Any, mask: Any) -> None:  # fmt: skip
    """Makes function k 0 at vertices after half-edge `first` up to `last`."""
    h = nexts[first]
    while h != last:
        v = origins[h]
        signs[v * 2 * words + sign] &= ~mask
        z[rows[v] * n + k] = 0.0
        h = nexts[h]


@compiled
def cut(
    points: Any,
    num_points: Any,
    origins: Any,
    nexts: Any,
    twins: Any,
    num_edges: Any,
    starts: Any,
    num_faces: Any,
    order: Any,
    z: Any,
    tol: Any,
    near: Any,
    weight: Any,
    bias: Any,
    most: Any,
) -> Any:
    """The subdivision cut by n functions, and the next layer's m functions at its vertices.

    Arrays may have room at their end; what is in it has no meaning, and they are overwritten.

    Args:
        points: x, y, x, y, … of vertices.
        num_points: How many there are.
        origins: Of half-edges, int32, like `nexts` and `twins`.
        nexts: See above.
        twins: See above.
        num_edges: How many half-edges there are.
        starts: A half-edge of each face, int32.
        num_faces: How many there are.
        order: All faces, neighbours near each other; or empty, for their own order.
        z: The functions at vertices, n numbers a vertex.
        tol: What is 0 of each function, (n,).
        near: The distance within which a cut goes through a vertex.
        weight: Of the next layer, transposed, (n, m); m may be 0.
        bias: Of the next layer, (m,).
        most: So many faces are too many: then the work ends, with more.

    Returns:
        The first eight arguments anew; the old face that each face is a part of; masks of the
        functions that are positive on it, ⌈n / 64⌉ words a face; the next layer's functions, m
        numbers a vertex.
    """
    n, m, old = tol.size, bias.size, num_points
    words = (n + 63) // 64
    signs = np.empty(ROOM * num_points * 2 * words, np.uint64)
    for v in range(num_points):
        base = v * 2 * words
        above, below = signs[base : base + words], signs[base + words : base + 2 * words]
        _signs(z[v * n : v * n + n], tol, above, below)
    rows = np.arange(num_points).astype(np.int32)  # where z of a vertex is
    waits = np.zeros(num_points, np.int8)  # faces of the old subdivision that will want it
    num_rows = num_points
    free, num_free = np.empty(64, np.int64), 0
    ready, num_ready = np.empty(BATCH, np.int64), 0
    buffer = np.empty((BATCH, n))
    passed = np.empty(ROOM * num_points * m)
    outer = np.ones(num_edges, np.uint8)  # half-edges that are parts of old edges
    parents = np.arange(num_faces).astype(np.int32)
    active = np.zeros(num_faces * words, np.uint64)
    here, there = np.empty(64, np.int64), np.empty(64, np.int64)
    made = np.empty(64, np.int64)
    either, neither = np.empty(words, np.uint64), np.empty(words, np.uint64)

    for place in range(num_faces if order.size == 0 else order.size):
        first = place if order.size == 0 else order[place]
        here[0], num_here, num_made = first, 1, 0
        h = starts[first]
        while True:
            if origins[h] >= old:
                if num_made == made.size:
                    made = _longer(made, 0)
                made[num_made] = origins[h]
                num_made += 1
            h = nexts[h]
            if h == starts[first]:
                break

        while num_here > 0:
            num_there = 0
            for i in range(num_here):
                f = here[i]
                start = starts[f]
                # Which functions are positive somewhere, and which negative.
                either[:], neither[:] = _ZERO, _ZERO
                h = start
                while True:
                    base = origins[h] * 2 * words
                    for w in range(words):
                        either[w] |= signs[base + w]
                        neither[w] |= signs[base + words + w]
                    h = nexts[h]
                    if h == start:
                        break
                word = 0
                while word < words and either[word] & neither[word] == _ZERO:
                    word += 1
                if word == words:
                    for w in range(words):
                        active[f * words + w] = either[w]
                    continue
                bit = _lowest(either[word] & neither[word])
                k, mask = word * 64 + bit, _ONE << np.uint64(bit)
                plus, minus = word, words + word

                enter, before, leave = _crossing(
                    start, origins, nexts, signs, z, n, rows, k, plus, minus, words, mask
                )

                # Both ends: a vertex that is there, or a new one.
                if num_edges + 8 > origins.size:
                    origins = _longer(origins, 64)
                    nexts = _longer(nexts, 64)
                    twins = _longer(twins, 64)
                if num_edges + 8 > outer.size:
                    outer = _longer(outer, 64)
                snapped, fresh = False, False
                for end in range(2):
                    h = enter if end == 0 else leave
                    a, b = origins[h], origins[nexts[h]]
                    v = a if end == 0 else b
                    if signs[v * 2 * words + plus] & mask == _ZERO:
                        continue  # it is 0 there
                    za, zb = z[rows[a] * n + k], z[rows[b] * n + k]
                    t = za / (za - zb)
                    ax, ay = points[2 * a], points[2 * a + 1]
                    bx, by = points[2 * b], points[2 * b + 1]
                    length = abs(bx - ax) + abs(by - ay)
                    if t * length <= near or (1 - t) * length <= near:
                        v = a if t < 0.5 else b
                        signs[v * 2 * words + plus] &= ~mask
                        signs[v * 2 * words + minus] &= ~mask
                        z[rows[v] * n + k] = 0.0
                        snapped = True
                        break
                    # The new vertex.
                    p, fresh = num_points, True
                    num_points += 1
                    if 2 * num_points > points.size:
                        points = _longer(points, 64)
                    if num_points > rows.size:
                        rows, waits = _longer(rows, 0), _longer(waits, 0)
                    if num_points * 2 * words > signs.size:
                        signs = _longer(signs, num_points * 2 * words)
                    points[2 * p] = (1 - t) * ax + t * bx
                    points[2 * p + 1] = (1 - t) * ay + t * by
                    if num_free > 0:
                        num_free -= 1
                        rows[p] = free[num_free]
                    else:
                        rows[p] = num_rows
                        num_rows += 1
                        if num_rows * n > z.size:
                            z = _longer(z, num_rows * n)
                    ra, rb, rp = rows[a] * n, rows[b] * n, rows[p] * n
                    s = 1 - t
                    _mixed(z[ra : ra + n], z[rb : rb + n], s, t, z[rp : rp + n])
                    z[rp + k] = 0.0
                    for w in range(words):
                        pa, na = signs[a * 2 * words + w], signs[(a * 2 + 1) * words + w]
                        pb, nb = signs[b * 2 * words + w], signs[(b * 2 + 1) * words + w]
                        differ = (pa & nb) | (na & pb)
                        over, under = (pa | pb) & ~differ, (na | nb) & ~differ
                        while differ != _ZERO:
                            bit = _lowest(differ)
                            one = _ONE << np.uint64(bit)
                            differ &= ~one
                            j = w * 64 + bit
                            if abs(z[rp + j]) <= tol[j]:
                                z[rp + j] = 0.0
                            elif z[rp + j] > 0:
                                over |= one
                            else:
                                under |= one
                        signs[p * 2 * words + w] = over
                        signs[(p * 2 + 1) * words + w] = under
                    if num_made == made.size:
                        made = _longer(made, 0)
                    made[num_made] = p
                    num_made += 1
                    # The edge, on both sides.
                    back, h2 = twins[h], num_edges
                    num_edges += 1
                    origins[h2], nexts[h2], outer[h2] = p, nexts[h], outer[h]
                    nexts[h] = h2
                    twins[h2] = back
                    waits[p] = 1
                    if back >= 0:
                        back2 = num_edges
                        num_edges += 1
                        origins[back2], nexts[back2], outer[back2] = p, nexts[back], outer[back]
                        nexts[back] = back2
                        twins[h], twins[back2] = back2, h
                        twins[back] = h2
                        waits[p] = 1 + outer[h]
                    if end == 0:
                        before, enter = h, h2
                last = nexts[leave]
                if not snapped and not fresh:
                    if _flat(enter, last, origins, nexts, points, near):
                        _quieten(
                            enter, last, origins, nexts, signs, z, n, rows, k, minus, words, mask
                        )
                        snapped = True
                    elif _flat(last, enter, origins, nexts, points, near):
                        _quieten(
                            last, enter, origins, nexts, signs, z, n, rows, k, plus, words, mask
                        )
                        snapped = True
                if snapped:
                    if num_there == there.size:
                        there = _longer(there, 0)
                    there[num_there] = f
                    num_there += 1
                    continue

                # The chord, from where `enter` starts to where `last` does.
                minus_side, plus_side = num_edges, num_edges + 1
                num_edges += 2
                origins[minus_side], origins[plus_side] = origins[last], origins[enter]
                nexts[leave], nexts[minus_side] = minus_side, enter
                nexts[before], nexts[plus_side] = plus_side, last
                twins[minus_side], twins[plus_side] = plus_side, minus_side
                outer[minus_side] = outer[plus_side] = 0
                starts[f] = minus_side
                g = num_faces
                num_faces += 1
                if num_faces > most:
                    break
                if num_faces > starts.size:
                    starts = _longer(starts, 0)
                if num_faces > parents.size:
                    parents = _longer(parents, 0)
                if num_faces * words > active.size:
                    active = _longer(active, num_faces * words)
                starts[g], parents[g] = plus_side, first
                if num_there + 2 > there.size:
                    there = _longer(there, 64)
                there[num_there], there[num_there + 1] = f, g
                num_there += 2
            here, there = there, here
            num_here = num_there
            if num_faces > most:
                break
        if num_faces > most:
            break

        # Numbers of vertices that no face will want go through the next layer.
        for i in range(num_made):
            v = made[i]
            waits[v] -= 1
            if waits[v] > 0:
                continue
            if num_free == free.size:
                free = _longer(free, 0)
            free[num_free] = rows[v]
            num_free += 1
            if m == 0:
                continue
            base = rows[v] * n
            _activated(z[base : base + n], buffer[num_ready])
            ready[num_ready] = v
            num_ready += 1
            if num_ready == BATCH:
                if num_points * m > passed.size:
                    passed = _longer(passed, num_points * m)
                product = np.dot(buffer, weight)
                for r in range(BATCH):
                    for j in range(m):
                        passed[ready[r] * m + j] = product[r, j] + bias[j]
                num_ready = 0

    if m > 0 and num_faces <= most:
        if num_points * m > passed.size:
            passed = _longer(passed, num_points * m)
        v = 0
        while v < old or num_ready > 0:
            while v < old and num_ready < BATCH:
                _activated(z[v * n : v * n + n], buffer[num_ready])
                ready[num_ready] = v
                num_ready += 1
                v += 1
            product = np.dot(buffer, weight)
            for r in range(num_ready):
                for j in range(m):
                    passed[ready[r] * m + j] = product[r, j] + bias[j]
            num_ready = 0
    return (
        points, num_points, origins, nexts, twins, num_edges, starts, num_faces, parents, active,
        passed,
    )  # fmt: skip
