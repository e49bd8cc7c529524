# SPDX-License-Identifier: MIT
"""dolfinx meshes as meshes of this package: the one place that says which become what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.basics.ordering import inverse, order_of, sorted_columns
from fe_relu.fenicsx import compat
from fe_relu.fenicsx.sharing.partition import partition_of
from fe_relu.fenicsx.spaces import require_straight
from fe_relu.meshes.grid.grid import ROUNDOFF_UNITS, Grid
from fe_relu.meshes.quadrilaterals.lattice import QuadrilateralGrid, halved_alike
from fe_relu.meshes.quadrilaterals.mesh import QuadrilateralMesh
from fe_relu.meshes.recognition.misfits import why_not
from fe_relu.meshes.recognition.recognise import (
    TOLERANCE,
    MeshCells,
    NotStructuredError,
    checked_tolerance,
    located_grid,
)
from fe_relu.meshes.simplices.mesh import SimplexMesh
from fe_relu.parallel.agreement import gather_columns, together

if TYPE_CHECKING:
    from dolfinx import mesh


@dataclass(frozen=True, eq=False)
class LocatedMesh:
    """The mesh that a dolfinx mesh is, and its vertex at every local geometry node."""

    mesh: Any
    vertex_of_node: npt.NDArray[np.int64]
    division: Any = None  # of a mesh that no rank holds whole


def grid_from_mesh(mesh: mesh.Mesh, *, rtol: float = TOLERANCE) -> Grid:
    """The structured grid whose vertices and cells are those of the mesh. Collective.

    Recognised from coordinates alone, so that renumbered, partitioned, re-read, rotated and sheared
    meshes are welcome. The axes are labelled so that the first points most nearly along +x and the
    second lies to its left; the result is the same on every rank and for every partition.

    Args:
        mesh: A `dolfinx.mesh.Mesh`.
        rtol: Vertices may lie this fraction of a step off the lattice, besides roundoff; the grid
            has them on it, and says in `slack` how far they are off.

    Raises:
        NotStructuredError: The mesh is another one; the message says how many cells do not fit.
        ValueError: rtol is not in [0, 0.1].

    Examples:
        >>> from mpi4py import MPI
        >>> from dolfinx.mesh import create_unit_square
        >>> import fe_relu
        >>> fe_relu.grid_from_mesh(create_unit_square(MPI.COMM_WORLD, 4, 2)).shape
        (4, 2)
    """
    with together(mesh.comm):
        checked_tolerance(rtol)
        require_straight(mesh)
        require_triangles(mesh)
        cells = cells_of(mesh)
    found = located_grid(cells, rtol)
    if found is None:
        raise why_not(cells, rtol)
    return found[0]


def located_mesh(
    mesh: mesh.Mesh, rtol: float, *, structured: bool = True, spread: int = 0
) -> LocatedMesh:
    """The mesh that a dolfinx mesh is, and where its nodes are. Collective.

    Args:
        mesh: Of straight intervals, triangles or tetrahedra.
        rtol: As for `grid_from_mesh`.
        structured: Whether a structured mesh is to be known as one, which is smaller and faster.
        spread: The degree of functions on one that is not, if ranks are to hold shares of it
            instead of the whole, else 0.

    Raises:
        UnsupportedFunctionError: Cells are of another kind.
        ValueError: rtol is out of range, or cells overlap, have no volume, or are slit apart.
    """
    kind = mesh.topology.cell_type.name
    with together(mesh.comm):
        checked_tolerance(rtol)
        require_straight(mesh)
        plane = structured and kind in ("triangle", "quadrilateral")
        cells = cells_of(mesh) if plane else None
    found = None if cells is None else located_grid(cells, rtol)
    if kind == "quadrilateral":
        return _located_quadrilaterals(mesh, found)
    if found is not None:
        return LocatedMesh(*found)
    return located_shares(mesh, spread) if spread else located_simplices(mesh)


def _located_quadrilaterals(
    mesh: mesh.Mesh, found: tuple[Grid, npt.NDArray[np.int64]] | None
) -> LocatedMesh:
    """The same for quadrilaterals, of which a lattice may have been found. Collective."""
    if found is not None:
        return LocatedMesh(QuadrilateralGrid.of_grid(found[0]), found[1])
    points, cells, place = _gathered(mesh)
    turns = np.array([[0, 1, 2, 3], [1, 0, 3, 2], [2, 0, 3, 1], [3, 1, 2, 0]])
    first = turns[cells.argmin(axis=0)].T
    cells = np.take_along_axis(cells, first, axis=0)
    cells[1:3] = np.sort(cells[1:3], axis=0)
    with together(mesh.comm):
        return LocatedMesh(QuadrilateralMesh(points, cells[:, order_of(*cells)]), place)


def located_shares(mesh: mesh.Mesh, degree: int) -> LocatedMesh:
    """The same as simplices that stay on the ranks that have them. Collective."""
    nodes, partition = mesh.geometry.index_map(), partition_of(mesh, degree)
    every = np.arange(nodes.size_local + nodes.num_ghosts, dtype=np.int32)
    return LocatedMesh(partition.mesh, nodes.local_to_global(every), partition)


def located_simplices(mesh: mesh.Mesh) -> LocatedMesh:
    """The same as simplices, in an order that no partition and no file changes. Collective.

    Vertices are ordered by their coordinates, and cells by their vertices.
    """
    points, cells, place = _gathered(mesh)
    cells = sorted_columns(cells)
    cells = cells[:, order_of(*cells)]
    with together(mesh.comm):
        return LocatedMesh(SimplexMesh(points, cells), place)


def _gathered(
    mesh: mesh.Mesh,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All vertices ordered by coordinates, cells, and the vertex at each local node. Collective."""
    dim, cell_map, node_map = mesh.topology.dim, mesh.topology.index_map, mesh.geometry.index_map()
    owned = mesh.geometry.x[: node_map.size_local, :dim].astype(np.float64)
    points = gather_columns(mesh.comm, owned.T)
    number = node_map.local_to_global(
        np.arange(node_map.size_local + node_map.num_ghosts, dtype=np.int32)
    )
    corners = compat.geometry_dofmap(mesh)[: cell_map(dim).size_local]
    cells = gather_columns(mesh.comm, number[corners].T)
    order = order_of(*points)
    place = inverse(order)
    return points[:, order], place[cells], place[number]


def require_triangles(mesh: mesh.Mesh) -> None:
    kind, tdim = mesh.topology.cell_type.name, mesh.topology.dim
    if kind != "triangle":
        total = mesh.topology.index_map(tdim).size_global
        raise NotStructuredError(
            f"{total} of {total} cells are not plane triangles: they are {kind}s in {tdim}-D; "
            "structured conversion needs create_rectangle's triangles"
        )


def cells_of(mesh: mesh.Mesh) -> MeshCells:
    """The owned cells and all local nodes of a mesh of triangles, or of halved quadrilaterals."""
    cell_map, node_map = mesh.topology.index_map(2), mesh.geometry.index_map()
    x = mesh.geometry.x
    points = np.ascontiguousarray(x[:, :2].T, dtype=float)
    corners = np.ascontiguousarray(compat.geometry_dofmap(mesh)[: cell_map.size_local].T)
    halves = len(corners) - 2
    return MeshCells(
        mesh.comm,
        points,
        corners if halves == 1 else halved_alike(points, corners),
        node_map.size_local,
        halves * cell_map.size_global,
        node_map.size_global,
        ROUNDOFF_UNITS * float(np.finfo(x.dtype).eps),
    )


def mark_of(mesh: mesh.Mesh) -> int:
    """A number that changes when a node of this rank moves, but for a chance of 2⁻⁶⁴. Local."""
    x = np.ascontiguousarray(mesh.geometry.x).reshape(-1)
    return int(_mark(x.view(np.dtype(f"u{x.itemsize}"))))


def require_unmoved(mesh: mesh.Mesh, mark: int) -> None:
    """Raises unless `mark_of(mesh)` is what it was.

    Raises:
        ValueError: It is not.
    """
    if mark_of(mesh) != mark:
        raise ValueError(
            "the mesh has moved since it was located: mesh.geometry.x has changed; make a new "
            "Conversion(V), or a new interpolation_plan(network, V)"
        )


@compiled
def _mark(words: Any) -> Any:
    """FNV-1a of words in eight lanes, so that it runs at the speed of memory."""
    prime = np.uint64(0x100000001B3)
    a = b = c = d = e = f = g = h = np.uint64(0xCBF29CE484222325)
    whole = words.size // 8 * 8
    for k in range(0, whole, 8):
        a = (a ^ words[k]) * prime
        b = (b ^ words[k + 1]) * prime
        c = (c ^ words[k + 2]) * prime
        d = (d ^ words[k + 3]) * prime
        e = (e ^ words[k + 4]) * prime
        f = (f ^ words[k + 5]) * prime
        g = (g ^ words[k + 6]) * prime
        h = (h ^ words[k + 7]) * prime
    for k in range(whole, words.size):
        a = (a ^ words[k]) * prime
    for lane in (b, c, d, e, f, g, h):
        a = (a ^ lane) * prime
    return a
