# SPDX-License-Identifier: MIT
"""Of the ring around a mesh, the cells that a rank's part meets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu.basics.ordering import distinct, inverse, order_of
from fe_relu.meshes.simplices.ring import boundary, ring_around
from fe_relu.meshes.stars.box import Box
from fe_relu.parallel.agreement import gather_columns, together

if TYPE_CHECKING:
    from mpi4py import MPI

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def ring_of_box(
    found: tuple[Box, Ints] | None, vertices: Floats, cells: Ints, own: npt.NDArray[np.bool_]
) -> tuple[Floats, Ints, npt.NDArray[np.bool_]]:
    """As `ring_here`, of a mesh of tetrahedra: only boxes have a ring.

    A cell of the ring is of the rank that has the first of the mesh's cells around its first
    vertex; all ranks with cells there know all of those.
    """
    if found is None or cells.size == 0:
        return np.empty((3, 0)), np.empty((4, 0), np.int64), np.empty(0, np.bool_)
    box, count = found[0], vertices.shape[1]
    ghosts, around = box.ring()
    of_box = around < box.num_vertices
    places = _places(box.numbers(box.places(vertices)), np.where(of_box, around, -1))
    used = np.append(np.zeros(count, np.bool_), False)
    used[cells[:, own]] = True
    held = used[places].any(axis=0)
    around, of_box, places = around[:, held], of_box[:, held], places[:, held]
    needed, ghost = np.unique(around[~of_box] - box.num_vertices, return_inverse=True)
    places[~of_box] = count + ghost
    anchors = np.argmin(around, axis=0)
    anchor = places[anchors, np.arange(anchors.size)]
    first = np.full(count + 1, -1)  # the first cell around each vertex
    corners = cells.ravel(order="F")
    first[corners[::-1]] = np.repeat(np.arange(cells.shape[1]), 4)[::-1]
    return ghosts[:, needed], places, own[first[anchor]] & used[anchor]


def ring_here(
    comm: MPI.Comm, vertices: Floats, number: Ints, cells: Ints, own: npt.NDArray[np.bool_]
) -> tuple[Floats, Ints, npt.NDArray[np.bool_]]:
    """In 1-D and 2-D the ring around the whole mesh, made from its boundary; see `Share`.

    Every rank makes all of it. The boundary is small: some √N facets of N triangles.

    Returns:
        Its vertices; its cells that share a vertex with one of this rank's own, as numbers of this
        rank's vertices and then the ring's; and which are its own: those beside facets of its own.
    """
    dim, count = len(vertices), number.size
    facets = boundary(vertices, cells, own)
    sent = np.vstack([number[facets], vertices[:, facets].reshape(2 * dim, -1).view(np.int64)])
    every = gather_columns(comm, sent)
    lengths = gather_columns(comm, np.array([[facets.shape[1]]]))[0]
    known, at, around = numbered(
        every[:2], np.ascontiguousarray(every[2:]).view(np.float64).reshape(dim, 2, -1)
    )
    along = np.lexsort((around.max(axis=0), around.min(axis=0)) if dim == 2 else around[:1])
    around, owner = around[:, along], np.repeat(np.arange(comm.size), lengths)[along]
    with together(comm):
        ring = ring_around(at, around)

    places = _places(number, known)
    used = np.append(np.zeros(count, np.bool_), False)
    used[cells[:, own]] = True
    held = used[places][around[:, ring.facets]].any(axis=0)
    ghosts = count + np.arange(ring.ghosts.shape[1])
    corners = np.concatenate([places, ghosts])[ring.cells[:, held]]
    return ring.ghosts, corners, owner[ring.facets[held]] == comm.rank


def _places(number: Ints, wanted: Ints) -> Ints:
    """Where numbers are among some that are all different; −1 if they are not."""
    if number.size == 0:
        return np.full(wanted.shape, -1)
    order = order_of(number)
    found = order[np.searchsorted(number, wanted, sorter=order).clip(max=number.size - 1)]
    return np.where(number[found] == wanted, found, -1)


def numbered(numbers: Ints, at: Floats) -> tuple[Ints, Floats, Ints]:
    """The vertices among columns of coordinates, in order of those; and the place of each column.

    Args:
        numbers: Of vertices, some again and again, any shape.
        at: Coordinates of each, shape (dim, *shape of numbers).
    """
    known, first, which = distinct(numbers)
    at = at.reshape(len(at), -1)[:, first]
    order = order_of(*at)
    return known[order], at[:, order], inverse(order)[which]
