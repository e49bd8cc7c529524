# SPDX-License-Identifier: MIT
"""Each rank keeps the cells that dolfinx gave it, and learns which cells of others they meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu.basics.ordering import distinct, order_of, sorted_columns
from fe_relu.fenicsx import compat
from fe_relu.fenicsx.sharing.rings import numbered, ring_here, ring_of_box
from fe_relu.fenicsx.spaces import numbers_of_edges
from fe_relu.meshes.recognition.boxes import located_box
from fe_relu.meshes.recognition.recognise import MeshCells
from fe_relu.meshes.simplices.checks import checked_arrays, require_mesh
from fe_relu.meshes.simplices.location.neighbours import neighbours
from fe_relu.meshes.simplices.nodes import Nodes, pairs
from fe_relu.meshes.simplices.sharing.directory import Directory, Frame, entries
from fe_relu.meshes.simplices.sharing.partition import Holders, Partition
from fe_relu.meshes.simplices.sharing.share import Numbering, Share
from fe_relu.meshes.simplices.sharing.spread import Extent, SpreadMesh, mark_of
from fe_relu.parallel.agreement import gather_columns, largest, together
from fe_relu.parallel.exchange import Parcels, exchange_on

if TYPE_CHECKING:
    from mpi4py import MPI

    from dolfinx import mesh

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def partition_of(mesh: mesh.Mesh, degree: int = 1) -> Partition:
    """The mesh as its ranks have it, numbered as its geometry nodes are. Collective.

    Args:
        mesh: Of straight intervals, triangles or tetrahedra.
        degree: Of functions on it: 1, or 2 for nodes in the middle of its edges too.

    Raises:
        ValueError: Cells overlap, have no volume, or are slit apart, as far as one rank sees or, in
            1-D and 2-D, the boundary shows.
    """
    comm, dim = mesh.comm, mesh.topology.dim
    nodes = mesh.geometry.index_map()
    number = nodes.local_to_global(np.arange(nodes.size_local + nodes.num_ghosts, dtype=np.int32))
    cells = compat.geometry_dofmap(mesh).T
    owned = cells[:, : mesh.topology.index_map(dim).size_local]
    points = mesh.geometry.x[:, :dim].T.astype(np.float64) + 0.0
    starts = np.append(0, np.cumsum(gather_columns(comm, np.array([[nodes.size_local]]))[0]))

    edges = numbers_of_edges(mesh) if degree == 2 else np.empty((0, cells.shape[1]), np.int64)
    kept = [number[: nodes.size_local]]
    for ends, numbers in zip(pairs(dim + 1), edges, strict=False):
        first, end = mesh.topology.index_map(1).local_range
        kept.append(number[cells[list(ends)][:, (first <= numbers) & (numbers < end)]].ravel())

    vertices, number, cells, own_cells, joints = _with_neighbours(
        comm, starts, points, number, owned, edges[:, : owned.shape[1]], np.concatenate(kept)
    )
    size = largest(comm, float(np.abs(vertices).max(initial=0)))
    with together(comm):
        if cells.size:
            require_mesh(*checked_arrays(vertices, cells))
    if dim == 3:
        total = _total(comm, owned.shape[1])
        here = MeshCells(comm, points, owned, nodes.size_local, total, int(starts[-1]), 0.0)
        ring, held, held_is_own = ring_of_box(located_box(here), vertices, cells, own_cells)
    else:
        ring, held, held_is_own = ring_here(comm, vertices, number, cells, own_cells)
    holders = [Holders(starts, *_users(comm, starts, number))]
    node_numbering = None
    if degree == 2:
        nodes = Nodes.of(vertices, cells)
        num_own_edges = mesh.topology.index_map(1).size_local
        named, node_starts = _numbers_of_nodes(comm, nodes, number, starts, num_own_edges, joints)
        holders.append(Holders(node_starts, *_users(comm, node_starts, named)))
        node_numbering = Numbering.of(named, node_starts, comm.rank)
    share = Share(
        vertices,
        Numbering.of(number, starts, comm.rank),
        np.hstack([cells, held]),
        np.concatenate([own_cells, held_is_own]),
        ring,
        Extent(0, 0, size, 1.0, 0).roundoff(),
        node_numbering,
    )
    extent = _extent(comm, share, int(starts[-1]), size)
    directory = _directory(comm, share, extent)
    _require_joined(comm, share, directory)
    spread = SpreadMesh(share, extent, int(holders[-1].starts[-1]) if degree == 2 else 0)
    return Partition(spread, comm.rank, directory, tuple(holders))


def _extent(comm: MPI.Comm, share: Share, num_vertices: int, size: float) -> Extent:
    """What all know of the whole mesh, of so many vertices and coordinates of this size."""
    with together(comm):
        step = share.locator.least_height if share.cells.size else np.inf
    mark = mark_of(share.vertices, share.own_cells)
    return Extent(
        num_vertices,
        _total(comm, share.own_cells.shape[1]),
        size,
        -largest(comm, -step),
        sum(_total(comm, mark >> k & 0xFFFF) << k for k in range(0, 64, 16)) % (1 << 64),
    )


def _numbers_of_nodes(
    comm: MPI.Comm, nodes: Nodes, vertices: Ints, starts: Ints, num_own_edges: int, joints: Ints
) -> tuple[Ints, Ints]:
    """The numbers of nodes in the whole mesh: of each rank its vertices, then its edges.

    Args:
        comm: The ranks.
        nodes: Those here.
        vertices: The numbers of the vertices among them.
        starts: Rank r owns the vertices starts[r] … starts[r + 1] − 1.
        num_own_edges: How many edges this rank owns.
        joints: Both ends of edges, as vertices here, and the edge's number among edges.

    Returns:
        The numbers, and where those of each rank start.
    """
    edge_starts = np.append(0, np.cumsum(gather_columns(comm, np.array([[num_own_edges]]))[0]))
    edges = np.empty(nodes.edges.shape[1], np.int64)
    edges[nodes.edge_of(*joints[:2])] = joints[2]
    owner = np.searchsorted(edge_starts, edges, side="right") - 1
    before = edge_starts[np.searchsorted(starts, vertices, side="right") - 1]
    numbers = np.concatenate([vertices + before, edges + starts[owner + 1]])
    return numbers, starts + edge_starts


def _total(comm: MPI.Comm, own: int) -> int:
    return int(gather_columns(comm, np.array([[own]])).sum())


def _users(comm: MPI.Comm, starts: Ints, vertices: Ints) -> tuple[Ints, Ints]:
    """Of the vertices that this rank owns, and each rank that names one: all pairs, sorted."""
    owners = np.searchsorted(starts, vertices, side="right") - 1
    parcels = Parcels.of(owners, comm.size)
    sources, sent = exchange_on(comm).send(parcels.ranks, parcels.pack(vertices[None]))
    named = [part.view(np.int64) for part in sent]
    used = np.concatenate([*named, np.empty(0, np.int64)])
    ranks = np.repeat(np.array(sources, np.int64), [part.size for part in named])
    order = order_of(used, ranks)
    return used[order], ranks[order]


def _meeting(comm: MPI.Comm, starts: Ints, vertices: Ints) -> tuple[Ints, Ints]:
    """Of the vertices named here, and each other rank that names one: all pairs."""
    used, ranks = _users(comm, starts, vertices)
    pairs = [np.empty((3, 0), np.int64)]
    for apart in range(1, comm.size):
        same = used[apart:] == used[:-apart]
        if not same.any():
            break
        a, b, v = ranks[:-apart][same], ranks[apart:][same], used[apart:][same]
        pairs += [np.array([a, v, b]), np.array([b, v, a])]
    to, *told = np.hstack(pairs)
    parcels = Parcels.of(to, comm.size)
    _, sent = exchange_on(comm).send(parcels.ranks, parcels.pack(np.array(told)))
    met = np.hstack([np.empty((2, 0), np.int64), *(_rows(part, 2) for part in sent)])
    return met[0], met[1]


def _rows(sent: npt.NDArray[np.uint8], count: int) -> Ints:
    return sent.view(np.int64).reshape(count, -1)


def _with_neighbours(
    comm: MPI.Comm,
    starts: Ints,
    points: Floats,
    number: Ints,
    owned: Ints,
    edges: Ints,
    kept: Ints,
) -> tuple[Floats, Ints, Ints, npt.NDArray[np.bool_], Ints]:
    """The cells of this rank and those of others that share a vertex with them, as in a `Share`.

    Those around further vertices too, which a rank may own without having a cell there: on a part
    of a mesh, for one.

    Args:
        comm: The ranks.
        starts: Rank r owns the vertices starts[r] … starts[r + 1] − 1.
        points: Coordinates of local nodes, shape (dim, n).
        number: Their numbers among those of all ranks.
        owned: The nodes of this rank's cells, shape (dim + 1, m).
        edges: The numbers of the cells' edges, one row each, or no rows.
        kept: The numbers of the further vertices.

    Returns:
        Coordinates and numbers of the vertices, the cells, which of them are this rank's own, and
        of each of the cells' edges both ends and the number; of each row of edges one.
    """
    dim, corners = len(points), number[owned]
    met, ranks = _meeting(comm, starts, distinct(np.append(corners, kept))[0])
    at = points[:, owned].reshape(dim * (dim + 1), -1).view(np.int64)
    described = np.vstack([corners, edges, at])
    addressed, packed = np.unique(ranks), []
    for rank in addressed:
        meets = np.isin(corners, met[ranks == rank]).any(axis=0)
        packed.append(np.ascontiguousarray(described[:, meets]))
    _, sent = exchange_on(comm).send([int(rank) for rank in addressed], packed)
    every = np.hstack([described, *(_rows(part, len(described)) for part in sent)])

    corners, edges, places = np.split(every, [dim + 1, dim + 1 + len(edges)])
    everywhere = np.ascontiguousarray(places).view(np.float64).reshape(dim, dim + 1, -1)
    known, coordinates, local = numbered(corners, everywhere)
    both = list(zip(pairs(dim + 1), edges, strict=False))
    joints = [np.stack([local[i], local[j], numbers]) for (i, j), numbers in both]
    cells = sorted_columns(local)
    along = order_of(*cells)
    own = along < owned.shape[1]
    return (
        coordinates,
        known,
        cells[:, along],
        own,
        np.hstack([np.empty((3, 0), np.int64), *joints]),
    )


def _require_joined(comm: MPI.Comm, share: Share, directory: Directory) -> None:
    """Raises if a vertex is in the place of another that only another rank has. Collective.

    Such vertices are on facets that have no cell beyond them.

    Raises:
        ValueError: On every rank.
    """
    cells, own = share.cells[:, share.of_mesh], share.mine[share.of_mesh]
    cell, i = np.nonzero((neighbours(cells, share.num_vertices)[0] < 0) & own[:, None])
    is_rim = np.zeros(share.num_vertices, np.bool_)
    for j in range(len(cells)):
        is_rim[cells[j, cell[i != j]]] = True
    rim = np.flatnonzero(is_rim)
    x = share.vertices[:, rim]
    positions, ranks = directory.candidates(x, np.arange(rim.size), 0.0, comm.rank)
    parcels = Parcels.of(ranks, comm.size, positions)
    told = np.vstack([x.view(np.int64), share.numbers()[rim]])
    _, sent = exchange_on(comm).send(parcels.ranks, parcels.pack(told))
    heard = np.hstack([np.empty((len(told), 0), np.int64), *(_rows(p, len(told)) for p in sent)])
    every = np.hstack([heard, np.vstack([share.vertices.view(np.int64), share.numbers()])])
    every = every[:, order_of(*every)]
    same = (every[:-1, 1:] == every[:-1, :-1]).all(axis=0) & (every[-1, 1:] != every[-1, :-1])
    with together(comm):
        if same.any():
            at = np.ascontiguousarray(every[:-1, 1:][:, same][:, 0]).view(np.float64)
            raise ValueError(
                f"{np.count_nonzero(same)} vertices are in the place of another, the first at "
                f"{', '.join(f'{c:.6g}' for c in at)}; where the mesh is slit, a function has two "
                "values, and a network one: merge the vertices, or open the slit"
            )


def _directory(comm: MPI.Comm, share: Share, extent: Extent) -> Directory:
    """Of the cells of all ranks. Collective."""
    vertices, own = np.hstack([share.vertices, share.ring]), share.cells[:, share.mine]
    used = vertices[:, own].reshape(len(vertices), -1)
    low, high = used.min(axis=1, initial=np.inf), used.max(axis=1, initial=-np.inf)
    frame = Frame.of(
        gather_columns(comm, low[:, None]).min(axis=1),
        gather_columns(comm, high[:, None]).max(axis=1),
        comm.size,
    )
    buckets, boxes = entries(frame, vertices, own, extent.roundoff(np.float32))
    lengths = gather_columns(comm, np.array([[buckets.size]]))[0]
    ranks = np.repeat(np.arange(comm.size), lengths)
    boxes = gather_columns(comm, boxes.reshape(2 * len(vertices), -1))
    return Directory.of(
        frame, gather_columns(comm, buckets[None])[0], ranks, boxes.reshape(2, len(vertices), -1)
    )
