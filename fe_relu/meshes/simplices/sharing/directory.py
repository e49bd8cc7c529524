# SPDX-License-Identifier: MIT
"""Which ranks may hold a point: coarse buckets, with boxes around the cells that reach into them.

A directory is bounded in size, whatever the mesh: a few buckets for each rank, and for each rank in
a bucket the box around those of its cells that touch the bucket. So where cells are small, boxes
are, and few ranks are asked that do not have the point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.basics.ordering import order_of

#: Buckets for each rank, and at least.
BUCKETS_PER_RANK, LEAST_BUCKETS = 64, 4096


class Frame(NamedTuple):
    """Equal buckets in a box; points beyond it belong to the nearest.

    Args:
        low: Lower corner, shape (dim,).
        scale: Buckets per unit of length, shape (dim,).
        shape: Buckets along each axis.
    """

    low: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    shape: npt.NDArray[np.int64]

    @staticmethod
    def of(low: npt.NDArray, high: npt.NDArray, ranks: int) -> Frame:
        """Buckets about as long as wide, as many as there may be for so many ranks."""
        most, dim = max(LEAST_BUCKETS, BUCKETS_PER_RANK * ranks), low.size
        size = np.maximum(high - low, np.finfo(float).tiny)
        shape = np.ones(dim, np.int64)
        for left in range(dim, 0, -1):  # an axis too short for its share leaves it to the others
            share = (most / shape.prod()) ** (1 / left)
            axis = np.argsort(size)[dim - left]
            ratio = size[axis] / np.exp(np.log(size[np.argsort(size)[dim - left :]]).mean())
            shape[axis] = max(1, int(share * ratio))
        return Frame(low, shape / size, shape)


@dataclass(frozen=True, eq=False)
class Directory:
    """The ranks whose cells may hold a point.

    Args:
        frame: The buckets.
        starts: Entries of bucket b are starts[b] … starts[b + 1] − 1.
        ranks: The rank of each entry, increasing in a bucket.
        boxes: The box of each entry, lower and upper corner, shape (entries, 2, dim).
    """

    frame: Frame
    starts: npt.NDArray[np.int64]
    ranks: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.float64]

    @staticmethod
    def of(
        frame: Frame, buckets: npt.NDArray[np.int64], ranks: npt.NDArray, boxes: npt.NDArray
    ) -> Directory:
        """From the entries of all ranks, `entries` of each, rank by rank."""
        order = order_of(buckets)
        starts = np.searchsorted(buckets[order], np.arange(frame.shape.prod() + 1))
        return Directory(
            frame, starts, ranks[order].astype(np.int32), boxes.transpose(2, 0, 1)[order]
        )

    def candidates(
        self, x: npt.NDArray, positions: npt.NDArray[np.int64], near: float, but: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Who may have cells within a distance of the points x[:, positions], one rank excepted.

        Returns:
            All pairs of a position and a rank.
        """
        rows = [np.ascontiguousarray(row[positions], np.float64) for row in x]
        where = self.frame, self.starts, self.ranks, self.boxes
        points = rows[0], rows[min(1, len(rows) - 1)], rows[-1]
        room, count = -1, positions.size  # mostly there is one other rank a point
        while room < count:
            room = count
            found, by = np.empty(room, np.int64), np.empty(room, np.int32)
            count = _pair(*points, positions, *where, near, but, found, by)
        return found[:count], by[:count]

    @property
    def num_bytes(self) -> int:
        """The memory that it takes on each rank."""
        return self.starts.nbytes + self.ranks.nbytes + self.boxes.nbytes


def entries(
    frame: Frame, vertices: npt.NDArray, cells: npt.NDArray, pad: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The buckets that cells padded by a distance touch, and the box around those in each."""
    dim, count = len(vertices), int(frame.shape.prod())
    boxes = np.empty((2, dim, count))
    boxes[0], boxes[1] = np.inf, -np.inf
    _touch(frame, vertices, cells, pad, boxes.reshape(2, dim, count))
    touched = np.flatnonzero(boxes[0, 0] <= boxes[1, 0])
    return touched, boxes[:, :, touched]


@compiled
def _bucket(frame: Any, axis: Any, at: Any) -> Any:
    """Along an axis, the number of the bucket that a coordinate is in, or the nearest."""
    place = (at - frame.low[axis]) * frame.scale[axis]
    return np.int64(min(max(place, 0.0), frame.shape[axis] - 1.0))


@compiled
def _touch(frame: Any, vertices: Any, cells: Any, pad: Any, boxes: Any) -> None:
    """Lets the boxes of buckets grow around the cells that touch them."""
    dim = len(vertices)
    low, high = np.zeros(3), np.zeros(3)
    first, last = np.zeros(3, np.int64), np.zeros(3, np.int64)
    shape = np.ones(3, np.int64)
    shape[:dim] = frame.shape
    for k in range(cells.shape[1]):
        for axis in range(dim):
            low[axis] = high[axis] = vertices[axis, cells[0, k]]
            for i in range(1, dim + 1):
                at = vertices[axis, cells[i, k]]
                low[axis], high[axis] = min(low[axis], at), max(high[axis], at)
            first[axis] = _bucket(frame, axis, low[axis] - pad)
            last[axis] = _bucket(frame, axis, high[axis] + pad)
        for c in range(first[2], last[2] + 1):
            for b in range(first[1], last[1] + 1):
                for a in range(first[0], last[0] + 1):
                    bucket = (c * shape[1] + b) * shape[0] + a
                    for axis in range(dim):
                        lower, upper = boxes[0, axis, bucket], boxes[1, axis, bucket]
                        boxes[0, axis, bucket] = min(lower, low[axis])
                        boxes[1, axis, bucket] = max(upper, high[axis])


@compiled
def _in_bucket(frame: Any, x: Any, y: Any, z: Any) -> Any:
    dim = frame.shape.size
    bucket = _bucket(frame, 0, x)
    if dim >= 2:
        bucket += frame.shape[0] * _bucket(frame, 1, y)
    if dim >= 3:
        bucket += frame.shape[0] * frame.shape[1] * _bucket(frame, 2, z)
    return bucket


@compiled
def _may_hold(x: Any, y: Any, z: Any, boxes: Any, entry: Any, near: Any) -> Any:
    low, high = boxes[entry]
    may = (low[0] - near <= x) & (x <= high[0] + near)
    if low.size >= 2:
        may &= (low[1] - near <= y) & (y <= high[1] + near)
    if low.size >= 3:
        may &= (low[2] - near <= z) & (z <= high[2] + near)
    return may


@compiled
def _pair(
    x: Any, y: Any, z: Any, positions: Any, frame: Any, starts: Any, ranks: Any, boxes: Any,
    near: Any, but: Any, found: Any, by: Any,
) -> Any:  # fmt: skip
    """Writes as many pairs of a position and a rank as there is room for; how many there are."""
    count = 0
    for k in range(x.size):
        bucket = _in_bucket(frame, x[k], y[k], z[k])
        for entry in range(starts[bucket], starts[bucket + 1]):
            if ranks[entry] != but and _may_hold(x[k], y[k], z[k], boxes, entry, near):
                if count < found.size:
                    found[count], by[count] = positions[k], ranks[entry]
                count += 1
    return count
