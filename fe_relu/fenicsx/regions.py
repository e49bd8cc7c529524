# SPDX-License-Identifier: MIT
"""A ReLU network as a function of its own: a mesh of its linear regions, and P1 on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.refusals import needed
from fe_relu.fenicsx import compat
from fe_relu.networks.nodal import layout_of, whole_of
from fe_relu.parallel.agreement import rank_of, together, told
from fe_relu.regions.regions import MOST_REGIONS, LinearRegions, layers_of, linear_regions

if TYPE_CHECKING:
    from mpi4py import MPI

    from dolfinx import fem, mesh

#: Cells in so many dimensions, as dolfinx calls them.
CELLS = {1: "interval", 2: "triangle"}


def mesh_from_network(
    network: Any,
    comm: MPI.Comm,
    domain: Any,
    *,
    minimal: bool = False,
    max_regions: int = MOST_REGIONS,
) -> tuple[mesh.Mesh, fem.Function]:
    """The mesh on which a ReLU network is P1, and the P1 function on it that equals the network.

    Collective over comm. Rank 0 finds the linear regions, of its own network and domain, and cuts
    them into triangles; dolfinx spreads the mesh over the ranks. Values at vertices are sent to all
    ranks.

    Args:
        network: As for `linear_regions`.
        comm: The ranks that share the mesh.
        domain: As for `linear_regions`.
        minimal: As for `linear_regions`; the mesh then has fewer cells.
        max_regions: As for `linear_regions`.

    Returns:
        A dolfinx mesh of triangles, or intervals, in double precision; and a function in P1 on it,
        blocked if the network has several outputs.

    Raises:
        ValueError: As for `linear_regions`, on every rank.
        TypeError: Likewise.

    Examples:
        >>> from mpi4py import MPI
        >>> import numpy as np, fe_relu
        >>> ramp = fe_relu.ReLUNetwork(  # relu(x + y)
        ...     (fe_relu.Affine([[1, 1]], [0]), fe_relu.Affine([[1]], [0]))
        ... )
        >>> mesh, u = fe_relu.mesh_from_network(ramp, MPI.COMM_WORLD, ((-1, 1), (-1, 1)))
        >>> mesh.topology.index_map(2).size_global, float(u.x.array.max())
        (2, 2.0)
    """
    if layout_of(network).is_spread:
        network = whole_of(network)
    regions: LinearRegions | None = None
    with together(comm) as terms:
        terms.alike("kinds of network", type(network).__name__)
        layers_of(network)
        if rank_of(comm) == 0:
            regions = linear_regions(network, domain, minimal=minimal, max_regions=max_regions)
            cells = regions.mesh().cells()
    values = told(comm, None if regions is None else np.atleast_2d(regions.values))
    dim = told(comm, 0 if regions is None else regions.dim)
    if regions is None:
        points, corners = np.empty((0, dim)), np.empty((0, dim + 1), np.int64)
    else:
        points, corners = regions.vertices.T.copy(), cells.T.copy()
    return _function_on(comm, points, corners, values)


def _function_on(
    comm: MPI.Comm,
    points: npt.NDArray[np.float64],
    corners: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
) -> tuple[mesh.Mesh, fem.Function]:
    """The mesh of what each rank has, and the function with values (k, n) at all its points."""
    import basix.ufl
    from dolfinx import fem
    from dolfinx.mesh import create_mesh

    dim = points.shape[1]
    element = basix.ufl.element("Lagrange", CELLS[dim], 1, shape=(dim,), dtype=np.float64)
    found = create_mesh(comm, corners, x=points, e=element)
    shape = () if len(values) == 1 else (len(values),)
    V = fem.functionspace(found, ("P", 1, shape) if shape else ("P", 1))
    u = fem.Function(V)
    given = np.asarray(found.geometry.input_global_indices)
    u.x.array.reshape(-1, len(values))[V.dofmap.list] = values.T[
        given[compat.geometry_dofmap(found)]
    ]
    return found, u


def write_regions(network: Any, domain: Any, path: str, *, names: Sequence[str]) -> None:
    """Writes the mesh on which a network is P1, and its values, as XDMF with an .h5 file beside it.

    By this process alone, in double precision.

    Args:
        network: As for `linear_regions`.
        domain: As for `linear_regions`.
        path: The file, with suffix .xdmf.
        names: Of the outputs; one function for each.

    Raises:
        ValueError: As for `linear_regions`.
        TypeError: Likewise.
        ImportError: dolfinx is not installed.
    """
    with needed("dolfinx", "writing XDMF"):
        from dolfinx import fem
        from dolfinx.io import XDMFFile
    from mpi4py import MPI

    found, u = mesh_from_network(network, MPI.COMM_SELF, domain)
    V = fem.functionspace(found, ("P", 1))
    with XDMFFile(found.comm, path, "w") as file:
        file.write_mesh(found)
        for k, name in enumerate(names):
            part = fem.Function(V, name=name)
            part.x.array[:] = u.x.array[k :: len(names)]
            file.write_function(part)
