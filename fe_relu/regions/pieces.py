# SPDX-License-Identifier: MIT
"""The affine function that a network is on each face, from its weights alone.

Slopes taken from values at vertices lose their digits where faces are slivers; these are products
of the weights of active neurons, and do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.regions.layerwise import Layer, Step

#: Faces that are passed through a layer together.
CHUNK = 512


def slopes_of_faces(
    layers: Sequence[Layer], steps: Sequence[Step], faces: int
) -> npt.NDArray[np.float64]:
    """The gradient on each face, shape (faces, k, dim).

    Args:
        layers: Weight and bias of each layer.
        steps: What each hidden layer did to the faces.
        faces: How many there are.
    """
    slopes = np.repeat(layers[0][0].T[None], 1 if steps else faces, axis=0)
    first = True
    for step, (weight, _) in zip(steps, layers[1:], strict=True):
        parents = np.zeros_like(step.parents) if first else step.parents
        slopes, first = _through(slopes, parents, step.active, weight), False
    return slopes.transpose(0, 2, 1)


def _through(
    slopes: npt.NDArray[np.float64],
    parents: npt.NDArray[np.int64],
    active: npt.NDArray[np.uint64],
    weight: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The next layer's slopes (faces, dim, m) from those of this one's neurons."""
    faces, (_, dim, width) = len(parents), slopes.shape
    passed = np.empty((faces * dim, len(weight)))
    buffer = np.empty((min(CHUNK, faces), dim, width))
    slopes = np.ascontiguousarray(slopes)
    for start in range(0, faces, CHUNK):
        some = slice(start, start + CHUNK)
        held = buffer[: len(parents[some])]
        _masked(slopes, parents[some], active[some], held)
        rows = passed[dim * start : dim * (start + CHUNK)]
        np.matmul(held.reshape(len(rows), width), weight.T, out=rows)
    return passed.reshape(faces, dim, len(weight))


@compiled
def _masked(slopes: Any, parents: Any, active: Any, held: Any) -> None:
    """The slopes of neurons that are active on a face; 0 for the others."""
    one = np.uint64(1)
    for f in range(parents.size):
        for d in range(held.shape[1]):
            source, target = slopes[parents[f], d], held[f, d]
            for w in range(active.shape[1]):
                mask, first = active[f, w], 64 * w
                for j in range(first, min(first + 64, target.size)):
                    on = (mask >> np.uint64(j - first)) & one
                    target[j] = source[j] if on else 0.0


def activity(rows: npt.NDArray[np.float64], tol: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """Masks as a `Step` has them, of neurons whose number in (faces, n) is above a tolerance."""
    count, width = rows.shape
    bits = np.zeros((count, 64 * -(-width // 64)), np.uint8)
    bits[:, :width] = rows > tol
    return np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.uint64)
