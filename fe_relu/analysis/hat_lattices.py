# SPDX-License-Identifier: MIT
"""Lattices on which neurons may be hats, and their stars and places there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fe_relu.analysis.neurons import Neurons, NotP1Error
from fe_relu.meshes.grid.hats import BACKSLASH, CENTRE, DIAMOND, SLASH, SQUARE, Star
from fe_relu.meshes.recognition.recognise import cross

#: What suggests a lattice may be off by this fraction of a step, before all vertices fix it.
ROUGH = 0.1

#: No grid has more cells along an axis.
MOST_STEPS = 1 << 40

#: Stars by number.
ALL_STARS = (SLASH, BACKSLASH, DIAMOND, SQUARE, CENTRE)


@dataclass(frozen=True)
class HatLattice:
    axes: npt.NDArray  # (2, 2), lattice steps as columns, to the precision of one neuron
    crossed: bool


def hat_lattices(neurons: Neurons) -> list[HatLattice]:
    """The lattices that one neuron allows: that of a vertex with eight neighbours, if there are."""
    slopes = neurons.slopes
    dets = cross(slopes[:, :1].T, slopes[:, 1:].T).T
    partner = 1 + np.abs(dets).argmax(axis=1)
    areas = np.abs(dets).max(axis=1)
    typical = np.argsort(areas)[areas.size // 4]
    halves = np.flatnonzero(np.abs(2 * areas - areas[typical]) < 0.1 * areas[typical])
    chosen = halves[0] if halves.size else typical
    p, q = slopes[chosen, 0], slopes[chosen, partner[chosen]]
    if not areas[chosen] > neurons.noise * max(p @ p, q @ q):
        raise NotP1Error(
            f"the lines that second-layer neuron {neurons.rows[chosen]} reads are parallel "
            "up to roundoff; those of a hat are not"
        )
    if slopes.shape[1] == 4:
        duals = [((p, q), True), ((p + q, p - q), False)]
    else:
        duals = [((p, q), False), ((q, p + q), False), ((p, p + q), False)]
    return [HatLattice(np.linalg.inv(np.array(dual)), crossed) for dual, crossed in duals]


def rough_places(
    neurons: Neurons, lattice: HatLattice, origin_known: bool = False
) -> tuple[npt.NDArray[np.int64], npt.NDArray, npt.NDArray[np.bool_]]:
    """Star and place of each neuron, and which have none.

    Places are lattice coordinates, integers or (centres) integers and a half; unless the origin is
    known, relative to the first neuron whose star is none of a centre.
    """
    stars, codes, bad = star_codes(neurons, lattice.axes)
    vertices = vertices_of(neurons, codes, stars)
    if not origin_known:
        at_corner = np.flatnonzero(~bad & (stars != ALL_STARS.index(CENTRE)))
        vertices = vertices - vertices[:, at_corner[:1]].sum(axis=1, keepdims=True)
    half = 0.5 * (stars == ALL_STARS.index(CENTRE))
    places = np.rint(vertices - half) + half
    bad |= ~((np.abs(vertices - places) <= ROUGH) & (np.abs(places) < MOST_STEPS)).all(axis=0)
    return stars, places, bad | (half > 0) & (not lattice.crossed)


def star_codes(
    neurons: Neurons, axes: npt.NDArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray, npt.NDArray[np.bool_]]:
    """The star of each neuron, as a number; its slopes in half lattice units; which have none."""
    exact = 2 * (neurons.slopes @ axes)
    codes = np.rint(exact)
    bad = ~((np.abs(exact - codes) <= ROUGH) & (np.abs(codes) <= 2)).all(axis=(1, 2))
    codes[bad] = 0
    marks = _marks(codes.astype(np.int64))
    stars = np.zeros(len(marks), np.int64)
    known = np.zeros(len(marks), bool)
    for number, star in enumerate(ALL_STARS):
        for sign in (1, -1):  # a hat is the same seen from the other side
            directions = np.array(star.directions)[None] * round(2 * star.weight) * sign
            same = marks == _marks(directions)[0]
            stars[same], known[same] = number, True
    return stars, codes, bad | ~known


def _marks(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """One number for each set of directions (n, t, 2): a bit for each direction in it."""
    return np.left_shift(1, 5 * (codes[..., 0] + 2) + codes[..., 1] + 2).sum(axis=1)


def vertices_of(neurons: Neurons, codes: npt.NDArray, stars: npt.NDArray) -> npt.NDArray:
    """Where the lines of each neuron meet, by least squares in lattice coordinates, (2, n)."""
    a, b, c, det = np.array([_normal_equations(star) for star in ALL_STARS])[stars].T
    s, t = -np.einsum("ntd,nt->dn", codes / 2, neurons.offsets)
    return np.array([c * s - b * t, a * t - b * s]) / det


def _normal_equations(star: Star) -> tuple[float, float, float, float]:
    """The matrix ((a, b), (b, c)) of `vertices_of` and its determinant, without roundoff."""
    lines = star.weight * np.array(star.directions)
    (a, b), (_, c) = lines.T @ lines
    return a, b, c, a * c - b * b
