# SPDX-License-Identifier: MIT
"""What compiled loops know of a mesh, and of points under way."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.simplices.location.boxes import Boxes
from fe_relu.meshes.simplices.location.buckets import Buckets
from fe_relu.meshes.simplices.location.records import Records
from fe_relu.meshes.simplices.location.touched import Touched


class Place(NamedTuple):
    """Where vertices are.

    Args:
        order: Of each vertex as records count, which it is of the mesh's and the ring's together.
        own: Coordinates of the mesh's vertices, shape (dim, n).
        ring: Those of the ring's, likewise.
        low: The lower corner of the box around all, three numbers.
        high: The upper corner.
        near: Points outside are taken for points of cells up to this distance; 0 where other parts
            of a mesh may have them.
    """

    order: npt.NDArray[np.int32]
    own: npt.NDArray[np.float64]
    ring: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    near: float


class Whereabouts(NamedTuple):
    """All that settles where a point is."""

    records: Records
    place: Place
    boxes: Boxes
    touched: Touched


class Search(NamedTuple):
    """What loops know of a mesh.

    Args:
        buckets: Where walks to a point start.
        where: What settles where it is.
        mine: Of each cell as it is kept whether points in it are answered here; empty if all are.
    """

    buckets: Buckets
    where: Whereabouts
    mine: npt.NDArray[np.bool_]


class Block(NamedTuple):
    """Points under way: their cells, −1 for none; the weights of corners 1, 2, 3; and memory."""

    cell: npt.NDArray[np.int64]
    w1: npt.NDArray[np.float64]
    w2: npt.NDArray[np.float64]
    w3: npt.NDArray[np.float64]
    active: npt.NDArray[np.int64]
    doubtful: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
