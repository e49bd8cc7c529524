# SPDX-License-Identifier: MIT
"""Faces cut layer by layer, and the network's values at the vertices that come out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.regions.cutting import cut
from fe_relu.regions.halfedges import HalfEdges

#: The one tolerance. A pre-activation w · a + b is 0 where it is at most this many units of
#: roundoff of Σ |w| max |a| + |b|; and a cut goes through a vertex that it passes at a distance of
#: at most as many units of roundoff of the largest coordinate.
TOLERANCE_UNITS = 64

#: Neurons of the first layer that cut together: their numbers need no more memory than that.
NEURONS_AT_ONCE = 64

#: Vertices that are passed through a layer together.
CHUNK = 512

#: The part of the machine's memory that numbers of one layer may take.
MEMORY_SHARE = 0.5

Layer = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


class Step(NamedTuple):
    """What one hidden layer did.

    Attributes:
        parents: For each face after it, the face before it.
        active: Masks of its neurons that are active on each face, shape (faces, words).
    """

    parents: npt.NDArray[np.int64]
    active: npt.NDArray[np.uint64]


def cut_by_layers(
    faces: HalfEdges, layers: Sequence[Layer], most: int
) -> tuple[HalfEdges, npt.NDArray[np.float64], list[Step]]:
    """The faces on which a network is affine, its values at their vertices (n, k), and the steps.

    Args:
        faces: A subdivision of the domain.
        layers: Weight and bias of each layer, the affine output included.
        most: The most faces that there may be.

    Raises:
        ValueError: There are more, numbers overflow, or one layer's would not fit into memory.
    """
    eps = float(TOLERANCE_UNITS * np.finfo(np.float64).eps)
    near = float(eps * np.abs(faces.vertices()).max())
    if len(layers) == 1:
        weight, bias = layers[0]
        return faces, _finite(faces.vertices() @ weight.T + bias), []
    faces, first = _first_layer(faces, layers[0], eps, near, most)
    steps = [first]
    numbers, top = _through_first(faces, layers[0], layers[1])
    for k in range(1, len(layers) - 1):
        (weight, bias), (following, shift) = layers[k], layers[k + 1]
        _require_room(faces.num_points, len(shift), k + 1)
        # There are about as many vertices as faces, and arrays that grow are there twice.
        fit = min(most, max(faces.num_faces, int(_fitting(len(shift)) / 2)))
        tol = eps * (np.abs(weight) @ top + np.abs(bias))
        order, width = _strips(faces), len(bias)
        rows = numbers[: faces.num_points * width].reshape(-1, width)
        top = np.maximum(rows.max(axis=0, initial=0), 0)  # on a face the largest is at a vertex
        *found, parents, active, numbers = cut(
            *faces, order, numbers, tol, near, np.ascontiguousarray(following.T), shift, fit
        )
        faces = HalfEdges(*found)
        _require_few(faces.num_faces, most, k)
        if faces.num_faces > fit:
            raise _too_wide(faces.num_points, len(shift), k + 1)
        steps.append(_step(faces.num_faces, parents, active, width))
        _finite(numbers[: faces.num_points * len(shift)])
    outputs = len(layers[-1][1])
    return faces, numbers[: faces.num_points * outputs].reshape(-1, outputs), steps


def _first_layer(
    faces: HalfEdges, layer: Layer, eps: float, near: float, most: int
) -> tuple[HalfEdges, Step]:
    """Cut by some neurons at a time: their numbers are known at any point."""
    weight, bias = layer
    parents: npt.NDArray[np.int64] = np.arange(faces.num_faces)
    masks: list[npt.NDArray[np.uint64]] = []
    none = np.empty(0, np.int64)
    for start in range(0, len(bias), NEURONS_AT_ONCE):
        some = slice(start, start + NEURONS_AT_ONCE)
        numbers = _finite(faces.vertices() @ weight[some].T + bias[some])
        size = np.abs(faces.vertices()).max(axis=0)
        tol = eps * (np.abs(weight[some]) @ size + np.abs(bias[some]))
        nothing = np.empty((tol.size, 0))
        *found, parent, active, _ = cut(
            *faces, none, numbers.ravel(), tol, near, nothing, np.empty(0), most
        )
        faces = HalfEdges(*found)
        _require_few(faces.num_faces, most, 0)
        parent, active = _step(faces.num_faces, parent, active, tol.size)
        masks = [*(mask[parent] for mask in masks), active]
        parents = parents[parent]
    return faces, Step(parents, np.hstack([*masks, np.empty((faces.num_faces, 0), np.uint64)]))


def _step(count: int, parents: npt.NDArray, active: npt.NDArray, neurons: int) -> Step:
    words = (neurons + 63) // 64
    return Step(parents[:count].copy(), active[: count * words].reshape(count, words).copy())


def _through_first(
    faces: HalfEdges, layer: Layer, following: Layer
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The second layer's numbers at vertices, with room, and the largest activations before it."""
    (weight, bias), (outer, shift) = layer, following
    points, width = faces.vertices(), len(shift)
    _require_room(len(points), width, 1)
    numbers = np.empty((len(points) + len(points) // 8 + 64) * width)
    rows = numbers[: len(points) * width].reshape(-1, width)
    top = np.zeros(len(bias))
    for start in range(0, len(points), CHUNK):
        some = slice(start, start + CHUNK)
        activations = np.maximum(points[some] @ weight.T + bias, 0)
        np.maximum(top, activations.max(axis=0, initial=0), out=top)
        np.matmul(activations, outer.T, out=rows[some])
        rows[some] += shift
    _finite(rows)
    return numbers, top


def _strips(faces: HalfEdges) -> npt.NDArray[np.int64]:
    """Faces in strips from left to right, so that neighbours come soon after each other."""
    starts = faces.origins[faces.starts[: faces.num_faces]]
    x, y = faces.vertices()[starts].T
    extent = np.ptp(y) or 1.0
    strip = np.floor((y - y.min()) / extent * np.sqrt(faces.num_faces) / 4)
    return np.lexsort((x, strip))


def _finite(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if numbers.size and not (np.isfinite(numbers.max()) and np.isfinite(numbers.min())):
        raise ValueError(
            "the network overflows on the domain: its numbers are beyond 1e308; rescale its weights"
        )
    return numbers


def _require_few(count: int, most: int, layer: int) -> None:
    if count > most:
        raise ValueError(
            f"there are more than {most} regions, after layer {layer + 1}; a smaller domain has "
            "fewer, and max_regions=… allows more (about 1 kB each)"
        )


def _require_room(vertices: int, width: int, layer: int) -> None:
    """Raises if the numbers of a layer at all vertices would fill the memory."""
    if vertices > _fitting(width):
        raise _too_wide(vertices, width, layer)


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _fitting(width: int) -> float:
    """At so many vertices the numbers of a layer fit into memory."""
    return MEMORY_SHARE * _memory() / (8 * max(width, 1))


def _too_wide(vertices: int, width: int, layer: int) -> ValueError:
    return ValueError(
        f"layer {layer + 1} has {width} outputs, at {vertices} vertices of the regions so far "
        f"{8 * vertices * width / 2**30:.1f} GiB of numbers, and the machine has "
        f"{_memory() / 2**30:.1f} GiB; a smaller domain has fewer regions"
    )
