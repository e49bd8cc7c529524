# SPDX-License-Identifier: MIT
"""Cell tags, of subdomains or materials, as networks with one output a class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu.fenicsx import compat
from fe_relu.fenicsx.meshes import located_simplices
from fe_relu.fenicsx.spaces import UnsupportedFunctionError, require_straight
from fe_relu.meshes.simplices.mesh import SimplexMesh
from fe_relu.networks.p1 import P1Network
from fe_relu.parallel.agreement import gather_columns, together
from fe_relu.parallel.layouts import Alone, Replicated

if TYPE_CHECKING:
    from dolfinx import mesh


#: What can be split at its middle into cells alike.
CELLS = ("interval", "triangle", "tetrahedron")


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network with one output a class: the class of a point is that of the largest.

    Args:
        network: Its outputs are from 0 to 1, and add up to 1 on the mesh.
        classes: The tag of each output, increasing.
    """

    network: P1Network
    classes: npt.NDArray[np.int64]

    def __call__(self, x: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """The tags at points (dim, n), shape (n,); collective, as the network is.

        Raises:
            ValueError: A point is outside the mesh, or as for the network.
        """
        outputs = self.network(x, outside="raise").reshape(len(self.classes), -1)
        return self.classes[outputs.argmax(axis=0)]


def classifier_from_meshtags(tags: mesh.MeshTags, mesh: mesh.Mesh) -> Classifier:
    """The tags of cells as a P1 network: inside a cell, the largest output is that of its tag.

    Each cell gets a vertex in its middle, where the output of its tag is 1; at its corners the
    tags around share 1 evenly. So outputs are 0 or 1 but in cells with a corner on an interface,
    where one goes over into the other: a transition of one cell, the sharpest that a continuous
    function on the mesh has. On the interface itself, outputs are equal. Collective.

    Args:
        tags: A `dolfinx.mesh.MeshTags` of cells that tags each of them.
        mesh: The mesh that they are of, straight intervals, triangles or tetrahedra: tags know its
            topology only.

    Raises:
        ValueError: Tags are of facets or other entities, or some cells have none.
        UnsupportedFunctionError: Cells are of another kind.

    Examples:
        >>> from mpi4py import MPI
        >>> import numpy as np
        >>> from dolfinx import mesh
        >>> import fe_relu
        >>> msh = mesh.create_unit_square(MPI.COMM_SELF, 4, 4)
        >>> left = mesh.compute_midpoints(msh, 2, np.arange(32, dtype=np.int32))[:, 0] < 0.5
        >>> materials = mesh.meshtags(msh, 2, np.arange(32), np.where(left, 7, 9).astype(np.int32))
        >>> fe_relu.classifier_from_meshtags(materials, msh)([[0.49, 0.51], [0.2, 0.2]])
        array([7, 9])
    """
    dim = mesh.topology.dim
    with together(mesh.comm):
        require_straight(mesh)
        if mesh.topology.cell_type.name not in CELLS:
            raise UnsupportedFunctionError(
                f"{mesh.topology.cell_type.name}s have no classifier; on {', '.join(CELLS)}s there "
                "is one"
            )
        owned = _tags_of_cells(tags, mesh)
    located = located_simplices(mesh)
    whole: SimplexMesh = located.mesh
    corners = located.vertex_of_node[compat.geometry_dofmap(mesh)[: owned.size]]
    told = gather_columns(mesh.comm, np.vstack([np.sort(corners.T, axis=0), owned]))
    told = told[:, np.lexsort(told[dim::-1])]  # in the order of the mesh's own cells
    with together(mesh.comm):
        network, classes = _shared(whole, told[-1])
        layout = Alone() if mesh.comm.size == 1 else Replicated(mesh.comm)
        return Classifier(replace(network, layout=layout), classes)


def _tags_of_cells(tags: mesh.MeshTags, mesh: mesh.Mesh) -> npt.NDArray[np.int64]:
    """The tag of each owned cell."""
    dim = mesh.topology.dim
    if tags.dim != dim:
        raise ValueError(f"tags are of entities of dimension {tags.dim}, not of cells, {dim}")
    count = mesh.topology.index_map(dim).size_local
    found = np.full(count, np.iinfo(np.int64).min)
    own = tags.indices < count
    found[tags.indices[own]] = tags.values[own]
    missing = found == np.iinfo(np.int64).min
    if missing.any():
        raise ValueError(
            f"{np.count_nonzero(missing)} of {count} cells on a rank have no tag; mesh.meshtags(…) "
            "with one for each, such as 0 for the rest, has"
        )
    return found


def _shared(whole: SimplexMesh, tags: npt.NDArray) -> tuple[P1Network, npt.NDArray[np.int64]]:
    """The network on the mesh with a vertex in each cell, of this process alone."""
    vertices, cells = whole.vertices(), whole.cells()
    classes, number = np.unique(tags, return_inverse=True)
    n, m = vertices.shape[1], cells.shape[1]
    around = np.zeros((classes.size, n))
    around[number, cells] = 1
    middles = np.zeros((classes.size, m))
    middles[number, np.arange(m)] = 1
    values = np.concatenate([around / around.sum(axis=0), middles], axis=1)
    points = np.concatenate([vertices, vertices[:, cells].mean(axis=1)], axis=1)
    parts = np.repeat(cells[:, None], len(cells), axis=1)  # (corner, part, cell)
    parts[np.arange(len(cells)), np.arange(len(cells))] = n + np.arange(m)
    split = SimplexMesh(points, parts.reshape(len(cells), -1))
    return P1Network(split, values), classes
