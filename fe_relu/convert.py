# SPDX-License-Identifier: MIT
"""dolfinx Function → network and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from fe_relu import compat
from fe_relu.blocks import Blocks
from fe_relu.certificate import Bounds, Certificate, Triangles, copied_bounds, difference
from fe_relu.grid import Grid
from fe_relu.meshes import LocatedMesh, NotStructuredError, locate_mesh
from fe_relu.nodal import GridValues
from fe_relu.p1 import P1Network
from fe_relu.parallel import require_alike, same_ranks, together
from fe_relu.redistribute import aligned_blocks
from fe_relu.spaces import (
    Network,
    dof_of_node,
    require_outputs,
    require_p1,
    require_plane_triangles,
    require_real,
    space_of,
)
from fe_relu.surrogate import Surrogate

if TYPE_CHECKING:
    from dolfinx import fem, mesh

Layout = Literal["auto", "blocks", "replicated"]

#: Networks that are P1 on a grid, called by all ranks together.
_ON_GRID = (P1Network, Surrogate)

#: layout="auto" gives every rank all nodal values up to this many numbers (32 MiB in float64).
REPLICATED_VALUES = 1 << 22


def network_from_function(
    u: fem.Function, *, rtol: float = 1e-8, layout: Layout = "auto"
) -> P1Network:
    """The two-hidden-layer ReLU network that equals the P1 function u. Collective.

    A scalar function gives a network with one output, a blocked one with k outputs over one shared
    pair of hidden layers. The network holds a copy of the nodal values, bit for bit.

    Args:
        u: Real scalar or blocked P1 function on a structured triangle mesh, see `grid_from_mesh`.
        rtol: As for `grid_from_mesh`.
        layout: Where the nodal values live. "replicated": all on every rank, so that no point
            travels. "blocks": each rank has a block of the grid, and points travel to their block
            and back. "auto": replicated up to `REPLICATED_VALUES` numbers, else blocks.

    Raises:
        UnsupportedFunctionError: u is of another element, a part of a mixed space, or complex.
        NotStructuredError: The mesh is not structured.
        ValueError: A nodal value is NaN or infinite, or layout is another word.
        TypeError: u is no dolfinx Function.
    """
    V = space_of(u)
    with together(V.mesh.comm):
        require_p1(V)
        require_real(u)
        if layout not in ("auto", "blocks", "replicated"):
            raise ValueError(f'layout must be "auto", "blocks" or "replicated", not {layout!r}')
    located = locate_mesh(V.mesh, rtol=rtol)
    source = GridValues(V, located, _blocks(V, located, layout))
    values = source.values(u)
    with together(V.mesh.comm):
        return P1Network(located.grid, values, V.mesh.comm, source.blocks, source)


def _blocks(V: fem.FunctionSpace, located: LocatedMesh, layout: Layout) -> Blocks | None:
    numbers = located.grid.num_vertices * V.dofmap.index_map_bs
    spread = layout == "blocks" or (layout == "auto" and numbers > REPLICATED_VALUES)
    if not spread or V.mesh.comm.size == 1:
        return None
    owned = located.vertex_of_node[: V.mesh.geometry.index_map().size_local]
    return aligned_blocks(V.mesh.comm, located.grid, owned)


def function_from_network(
    network: Network, V: fem.FunctionSpace, *, rtol: float = 1e-8
) -> tuple[fem.Function, Certificate]:
    """The P1 function in V with the network's values at the vertices, and how far it is off.

    Collective. If the network is of V's own grid, nodal values are copied, bit for bit, whatever
    the partition; otherwise the network is evaluated at the vertices.

    Args:
        network: A `P1Network`, a `Surrogate`, a `ReLUNetwork` (the same on every rank), or any
            callable that maps points (2, n) to values (n,) or (k, n). Of a callable that is none of
            these nothing can be proven: `Certificate.upper` is infinite.
        V: A scalar or blocked P1 space on any triangle mesh in the plane.
        rtol: As for `grid_from_mesh`, to tell whether V is on the network's own grid.

    Returns:
        The function, of the floating-point type of the mesh, and bounds of
        sup |network − function| over the mesh and all components.

    Raises:
        UnsupportedFunctionError: V is not P1 on plane triangles.
        TypeError: V is no function space, or ranks pass different kinds of network.
        ValueError: rtol is not in [0, 0.1], the network has another number of outputs than V, or
            it gives NaN.
    """
    from dolfinx import fem

    is_space = isinstance(V, fem.FunctionSpace)
    comm: Any = V.mesh.comm if is_space else getattr(network, "comm", None)
    with together(comm):
        if not is_space:
            raise TypeError(f"expected a dolfinx.fem.FunctionSpace, not {type(V).__name__}")
        require_p1(V)
        require_plane_triangles(V.mesh)
        require_outputs(network, V)
        if isinstance(network, _ON_GRID) and not same_ranks(network.comm, comm):
            raise ValueError(
                "the network and V are on different ranks; network.gather() is of each rank alone"
            )
    require_alike(comm, type(network).__name__, "kinds of network")
    dtype = V.mesh.geometry.x.dtype
    located = _located_on(network.grid, V.mesh, rtol) if isinstance(network, _ON_GRID) else None
    if isinstance(network, _ON_GRID) and located is not None:
        vertices = located.vertex_of_node
        on_mesh = network.to_p1() if isinstance(network, Surrogate) else network
        nodal = on_mesh.values_at_vertices(vertices)
        triangles = _triangles(V.mesh, nodal.astype(dtype))
        own = copied_bounds(on_mesh, triangles, vertices, nodal)
    else:
        nodal = _evaluated_at_nodes(network, V)
        triangles = _triangles(V.mesh, nodal.astype(dtype))
        if isinstance(network, _ON_GRID):
            own = difference(network, triangles)
        else:
            with together(comm):
                own = difference(network, triangles)
    u = fem.Function(V, dtype=dtype)
    u.x.array.reshape(-1, V.dofmap.index_map_bs)[dof_of_node(V)] = nodal.T
    return u, _joined(comm, own).certificate()


def _located_on(grid: Grid, mesh: mesh.Mesh, rtol: float) -> LocatedMesh | None:
    """The mesh located on its own grid, if that is the given one."""
    try:
        located = locate_mesh(mesh, rtol=rtol)
    except NotStructuredError:
        return None
    same = located.grid.matches(grid, mesh.geometry.x.dtype, rtol=rtol)
    return located if same else None


def _evaluated_at_nodes(network: Network, V: fem.FunctionSpace) -> npt.NDArray:
    """The network's values at the local geometry nodes, shape (k, n), in its own precision."""
    x = V.mesh.geometry.x[:, :2].T
    with together(V.mesh.comm):
        values = np.atleast_2d(network(x))
        if values.shape != (V.dofmap.index_map_bs, x.shape[1]):
            raise ValueError(
                f"the network returned values of shape {values.shape} for {x.shape[1]} points; "
                f"V needs {(V.dofmap.index_map_bs, x.shape[1])}"
            )
        if not np.isfinite(values).all():
            bad = np.count_nonzero(~np.isfinite(values))
            raise ValueError(f"the network returned NaN or infinity for {bad} nodal values")
    return values


def _triangles(mesh: mesh.Mesh, nodal: npt.NDArray) -> Triangles:
    corners = compat.geometry_dofmap(mesh)[: mesh.topology.index_map(2).size_local].T
    return Triangles(mesh.geometry.x[:, :2].T, corners, nodal)


def _joined(comm: Any, own: Bounds) -> Bounds:
    first, *rest = comm.allgather(own)
    for bounds in rest:
        first = first.join(bounds)
    return first
