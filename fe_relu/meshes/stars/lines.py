# SPDX-License-Identifier: MIT
"""Lines that several neurons share: those through the same two vertices, or equal to roundoff."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.stars.neurons import Neurons

#: Lines have their normals on one side of this direction, along which no mesh is likely to lie.
UP = (0.35915, 0.93328)


class Lines(NamedTuple):
    """Lines, and which of them each line of a neuron is.

    Attributes:
        normals: Of length 1, shape (2, l).
        points: A point on each, shape (2, l).
        number: The line that each line of a neuron is, (m,).
        flipped: Whether that has its normal on the other side, (m,).
        lengths: Of the neuron's line, between its ends, (m,).
    """

    normals: npt.NDArray
    points: npt.NDArray
    number: npt.NDArray
    flipped: npt.NDArray
    lengths: npt.NDArray


def lines_of(vertices: npt.NDArray, neurons: Neurons) -> Lines:
    """The lines of neurons, each line once."""
    low, high = neurons.names.T
    keys = low * vertices.shape[1] + high
    keys[low < 0] = -1 - np.arange(np.count_nonzero(low < 0))
    _, chosen, number = np.unique(keys, return_index=True, return_inverse=True)
    place = vertices[:, neurons.owners[neurons.rows]]
    along = (neurons.ends[:, 2:] - neurons.ends[:, :2]).T
    lengths = np.hypot(*along)
    across = np.array([-along[1], along[0]]) / lengths
    ends = np.array([place + neurons.ends[:, :2].T, place + neurons.ends[:, 2:].T])[..., chosen]
    normals, points, merged = _merged(across[:, chosen], ends)
    number = merged[number]
    flipped = (across * normals[:, number]).sum(axis=0) < 0
    return Lines(normals, points, number, flipped, lengths)


def _merged(
    normals: npt.NDArray, ends: npt.NDArray
) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """Each line once, of those whose ends (end, axis, line) all lie on it up to roundoff.

    Returns normals, points, and which of these lines each line is.
    """
    tolerance = 2 * np.finfo(np.float64).eps * np.abs(ends).max()
    group = _alike(normals, ends, tolerance)
    _, one = np.unique(group, return_index=True)
    everyone = np.tile(group, 2)
    points = np.concatenate([*ends], axis=1)
    position = (points * np.array([normals[1], -normals[0]])[:, one[everyone]]).sum(axis=0)
    order = np.lexsort([position, everyone])
    counts = np.bincount(everyone)
    last = np.cumsum(counts) - 1
    start, stop = points[:, order[last - counts + 1]], points[:, order[last]]
    along = stop - start
    joint = np.array([-along[1], along[0]]) / np.hypot(*along)
    off = np.abs((joint[:, everyone] * (points - start[:, everyone])).sum(axis=0))
    alone = np.zeros(len(counts), bool)
    alone[everyone[off > tolerance]] = True
    alone |= counts == 2
    joined = np.where(alone[group], -1 - np.arange(len(group)), group)
    _, chosen, number = np.unique(joined, return_index=True, return_inverse=True)
    of, single = group[chosen], joined[chosen] < 0
    return (
        np.where(single, normals[:, chosen], joint[:, of]),
        np.where(single, ends[0][:, chosen], start[:, of]),
        number,
    )


def _alike(normals: npt.NDArray, ends: npt.NDArray, tolerance: float) -> npt.NDArray:
    """Numbers from 0 for lines, the same for those that may be one: near in angle and in offset.

    Each end is off by the tolerance at most, which tilts short lines more than long ones.
    """
    tilt = 4 * tolerance / np.hypot(*(ends[1] - ends[0]))
    upward = np.where(UP @ normals < 0, -normals, normals)
    angle = np.arctan2(upward[1], upward[0])
    order = np.argsort(angle)
    bundle = _numbered(order, _far(angle, tilt, order))
    centre = ends.mean(axis=(0, 2))[:, None]
    offset = (upward * (ends[0] - centre)).sum(axis=0)
    shift = tilt * np.abs(ends[0] - centre).max() + tolerance
    order = np.lexsort([offset, bundle])
    return _numbered(order, _far(offset, shift, order) | (np.diff(bundle[order]) != 0))


def _far(numbers: npt.NDArray, slack: npt.NDArray, order: npt.NDArray) -> npt.NDArray:
    """Which neighbours in that order are farther apart than both their slacks."""
    return np.diff(numbers[order]) > slack[order[1:]] + slack[order[:-1]]


def _numbered(order: npt.NDArray, breaks: npt.NDArray) -> npt.NDArray:
    """Numbers of the groups between breaks, in place of the things that were put in order."""
    number = np.empty(len(order), np.int64)
    number[order] = np.append(0, np.cumsum(breaks))
    return number
