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


def affine_pieces(
    layers: Sequence[Layer], steps: Sequence[Step], faces: int
) -> npt.NDArray[np.float64]:
    """Slope and constant on each face, shape (faces, k, dim + 1).

    Args:
        layers: Weight and bias of each layer.
        steps: What each hidden layer did to the faces.
        faces: How many there are.
    """
    weight, bias = layers[0]
    once = np.hstack([weight, bias[:, None]]).T.copy()
    pieces = np.repeat(once[None], 1 if steps else faces, axis=0)
    first = True
    for step, (weight, bias) in zip(steps, layers[1:], strict=True):
        parents = np.zeros_like(step.parents) if first else step.parents
        pieces, first = _through(pieces, parents, step.active, weight, bias), False
    return pieces.transpose(0, 2, 1)


def _through(
    pieces: npt.NDArray[np.float64],
    parents: npt.NDArray[np.int64],
    active: npt.NDArray[np.uint64],
    weight: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The next layer's affine functions (faces, dim + 1, m) from those of this one's neurons."""
    faces, parts, width = len(parents), pieces.shape[1], len(bias)
    passed = np.empty((faces, parts, width))
    buffer = np.empty((min(CHUNK, faces), parts, pieces.shape[2]))
    for start in range(0, faces, CHUNK):
        some = slice(start, start + CHUNK)
        held = buffer[: len(parents[some])]
        _masked(pieces, parents[some], active[some], held)
        np.matmul(held, weight.T, out=passed[some])
    passed[:, -1] += bias
    return passed


@compiled
def _masked(pieces: Any, parents: Any, active: Any, held: Any) -> None:
    """The affine functions of neurons that are active on a face; 0 for the others."""
    one = np.uint64(1)
    for f in range(parents.size):
        for d in range(held.shape[1]):
            source, target = pieces[parents[f], d], held[f, d]
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
