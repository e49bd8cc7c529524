# SPDX-License-Identifier: MIT
"""Subdivisions of the plane into convex faces, as loops of half-edges."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled


class HalfEdges(NamedTuple):
    """Faces as `regions.cutting` reads and writes them; arrays may have room at their end."""

    points: npt.NDArray[np.float64]
    num_points: int
    origins: npt.NDArray[np.int32]
    nexts: npt.NDArray[np.int32]
    twins: npt.NDArray[np.int32]
    num_edges: int
    starts: npt.NDArray[np.int32]
    num_faces: int

    def vertices(self) -> npt.NDArray[np.float64]:
        """Coordinates, shape (n, 2)."""
        return self.points[: 2 * self.num_points].reshape(-1, 2)


def of_loops(
    vertices: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    corners: npt.NDArray[np.int64],
) -> HalfEdges:
    """Faces whose corners, counter-clockwise, are `corners[offsets[f] : offsets[f + 1]]`.

    Args:
        vertices: Shape (n, 2).
        offsets: Shape (faces + 1,).
        corners: Shape (half-edges,).
    """
    edges = len(corners)
    nexts = np.arange(1, edges + 1)
    nexts[offsets[1:] - 1] = offsets[:-1]
    ends = corners[nexts]
    keys = np.minimum(corners, ends) * len(vertices) + np.maximum(corners, ends)
    order = np.argsort(keys, kind="stable")
    pairs = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    twins = np.full(edges, -1)
    twins[order[pairs]], twins[order[pairs + 1]] = order[pairs + 1], order[pairs]
    return HalfEdges(
        vertices.astype(np.float64).ravel(),
        len(vertices),
        corners.astype(np.int32),
        nexts.astype(np.int32),
        twins.astype(np.int32),
        edges,
        offsets[:-1].astype(np.int32),
        len(offsets) - 1,
    )


def loops(found: HalfEdges) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Offsets and corners of the faces, as for `of_loops`."""
    offsets = np.zeros(found.num_faces + 1, np.int64)
    corners = np.empty(found.num_edges, np.int64)
    _walk(found.origins, found.nexts, found.starts, offsets, corners)
    return offsets, corners


@compiled
def _walk(origins: Any, nexts: Any, starts: Any, offsets: Any, corners: Any) -> None:
    place = 0
    for f in range(offsets.size - 1):
        h = starts[f]
        while True:
            corners[place] = origins[h]
            place += 1
            h = nexts[h]
            if h == starts[f]:
                break
        offsets[f + 1] = place
