# SPDX-License-Identifier: MIT
"""dolfinx Function → network and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from fe_relu.blocks import Blocks
from fe_relu.certificate import Bounds, Certificate, copied_bounds, difference
from fe_relu.fields import GridNetwork
from fe_relu.grid import Grid
from fe_relu.meshes import LocatedMesh, NotStructuredError, locate_mesh
from fe_relu.nodal import GridValues
from fe_relu.p1 import P1Network
from fe_relu.p2 import P2Network, checked_levels
from fe_relu.parallel import require_alike, same_ranks, together
from fe_relu.redistribute import aligned_blocks
from fe_relu.remedies import wrong_kind
from fe_relu.spaces import (
    Network,
    at_dofs,
    require_lagrange,
    require_outputs,
    require_plane_triangles,
    require_real,
    space_of,
)
from fe_relu.surrogate import Surrogate
from fe_relu.triangles import Triangles

if TYPE_CHECKING:
    from dolfinx import fem, mesh

Layout = Literal["auto", "blocks", "replicated"]

#: Networks whose nodal values are copied into a space on their own grid.
ON_GRID = (GridNetwork, Surrogate)

#: layout="auto" gives every rank all nodal values up to this many numbers (32 MiB in float64).
REPLICATED_VALUES = 1 << 22


def network_from_function(
    u: fem.Function,
    *,
    rtol: float = 1e-8,
    layout: Layout = "auto",
    levels: int | None = None,
) -> P1Network | P2Network:
    """The ReLU network that equals a P1 function, or is near a P2 function. Collective.

    A P1 function is a network with two hidden layers. A P2 function becomes a deep one, near it up
    to `P2Network.error_bound`, which falls fourfold with every level. A scalar function gives a
    network with one output, a blocked one with k outputs over shared hidden layers. The network
    holds a copy of the nodal values, bit for bit.

    Args:
        u: Real scalar or blocked P1 or P2 function on a structured triangle mesh, see
            `grid_from_mesh`.
        rtol: As for `grid_from_mesh`.
        layout: Where the nodal values live. "replicated": all on every rank, so that no point
            travels. "blocks": each rank has a block of the grid, and points travel to their block
            and back. "auto": replicated up to `REPLICATED_VALUES` numbers, else blocks.
        levels: Of the deep network of a P2 function, see `P2Network`; 10 by default.

    Raises:
        UnsupportedFunctionError: u is of another element, a part of a mixed space, or complex.
        NotStructuredError: The mesh is not structured.
        ValueError: A nodal value is NaN or infinite, layout is another word, or levels is out of
            range or given for a P1 function.
        TypeError: u is no dolfinx Function, or levels no integer.
    """
    V = space_of(u)
    with together(V.mesh.comm):
        require_lagrange(V)
        require_real(u)
        if layout not in ("auto", "blocks", "replicated"):
            raise ValueError(f'layout must be "auto", "blocks" or "replicated", not {layout!r}')
        degree = V.ufl_element().degree
        if levels is not None and degree == 1:
            raise ValueError("levels are for P2 functions; a P1 function is a network exactly")
        levels = P2Network.levels if levels is None else levels
        checked_levels(levels)
    if degree == 2:
        require_alike(V.mesh.comm, levels, "levels")
    located = locate_mesh(V.mesh, rtol=rtol)
    source = GridValues(V, located, _blocks(V, located, layout))
    values = source.values(u)
    with together(V.mesh.comm):
        known = (located.grid, values, V.mesh.comm, source.blocks, source)
        return P1Network(*known) if degree == 1 else P2Network(*known, levels=levels)


def _blocks(V: fem.FunctionSpace, located: LocatedMesh, layout: Layout) -> Blocks | None:
    nodes = located.grid.refined(V.ufl_element().degree)
    numbers = nodes.num_vertices * V.dofmap.index_map_bs
    spread = layout == "blocks" or (layout == "auto" and numbers > REPLICATED_VALUES)
    if not spread or V.mesh.comm.size == 1:
        return None
    owned = located.vertex_of_node[: V.mesh.geometry.index_map().size_local]
    return aligned_blocks(V.mesh.comm, located.grid, owned)


def function_from_network(
    network: Network, V: fem.FunctionSpace, *, rtol: float = 1e-8
) -> tuple[fem.Function, Certificate]:
    """The function in V with the network's values at the nodes, and how far it is off.

    Collective. If the network is of V's own grid and degree, nodal values are copied, bit for bit,
    whatever the partition; otherwise the network is evaluated at the nodes.

    Args:
        network: A `P1Network`, a `P2Network`, a `Surrogate`, a `ReLUNetwork` (the same on every
            rank), or any callable that maps points (2, n) to values (n,) or (k, n). Of a plain
            callable nothing can be proven: `Certificate.upper` is infinite.
        V: A scalar or blocked P1 or P2 space on any triangle mesh in the plane.
        rtol: As for `grid_from_mesh`, to tell whether V is on the network's own grid.

    Returns:
        The function, of the floating-point type of the mesh, and bounds of
        sup |network − function| over the mesh and all components.

    Raises:
        UnsupportedFunctionError: V is not P1 or P2 on plane triangles.
        TypeError: V is no function space, the network cannot be called, or ranks pass different
            kinds of network.
        ValueError: rtol is not in [0, 0.1], the network has another number of outputs than V, or
            it gives NaN.
    """
    from dolfinx import fem

    is_space = isinstance(V, fem.FunctionSpace)
    comm: Any = V.mesh.comm if is_space else getattr(network, "comm", None)
    with together(comm):
        if not is_space:
            raise TypeError(f"expected a dolfinx.fem.FunctionSpace, not {type(V).__name__}")
        if not callable(network):
            raise wrong_kind(network, "callable", "to_p1", "compress")
        require_lagrange(V)
        require_plane_triangles(V.mesh)
        require_outputs(network, V)
        if isinstance(network, ON_GRID) and not same_ranks(network.comm, comm):
            raise ValueError(
                "the network and V are on different ranks; network.gather() is of each rank alone"
            )
    require_alike(comm, type(network).__name__, "kinds of network")
    nodes = _own_nodes(network, V, rtol) if isinstance(network, ON_GRID) else None
    if isinstance(network, ON_GRID) and nodes is not None:
        on_mesh = network.to_p1() if isinstance(network, Surrogate) else network
        nodal = on_mesh.nodal_values(nodes)
        own = copied_bounds(on_mesh, _triangles(V, nodal), nodes, nodal)
    else:
        nodal = _evaluated_at_dofs(network, V)
        triangles = _triangles(V, nodal)
        if isinstance(network, ON_GRID):
            own = difference(network, triangles)
        else:
            with together(comm):
                own = difference(network, triangles)
    u = fem.Function(V, dtype=V.mesh.geometry.x.dtype)
    u.x.array.reshape(-1, V.dofmap.index_map_bs)[:] = nodal.T
    return u, _joined(comm, own).certificate()


def _own_nodes(
    network: GridNetwork | Surrogate, V: fem.FunctionSpace, rtol: float
) -> npt.NDArray[np.int64] | None:
    """The network's node of each local dof, if V is of its own grid and degree."""
    located = _located_on(network.grid, V.mesh, rtol)
    if located is None or V.ufl_element().degree != network.degree:
        return None
    return GridValues(V, located, None).node_of_dof


def _located_on(grid: Grid, mesh: mesh.Mesh, rtol: float) -> LocatedMesh | None:
    """The mesh located on its own grid, if that is the given one."""
    try:
        located = locate_mesh(mesh, rtol=rtol)
    except NotStructuredError:
        return None
    same = located.grid.matches(grid, mesh.geometry.x.dtype, rtol=rtol)
    return located if same else None


def _evaluated_at_dofs(network: Network, V: fem.FunctionSpace) -> npt.NDArray:
    """The network's values at the local dofs, shape (k, n), in its own precision."""
    x = at_dofs(V, V.mesh.geometry.x[:, :2].T)
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


def _triangles(V: fem.FunctionSpace, nodal: npt.NDArray) -> Triangles:
    """The function in V with these values at the local dofs, on the owned cells."""
    points = at_dofs(V, V.mesh.geometry.x[:, :2].T)
    cells = V.dofmap.list[: V.mesh.topology.index_map(2).size_local].T
    return Triangles.of(points, cells, nodal.astype(V.mesh.geometry.x.dtype))


def _joined(comm: Any, own: Bounds) -> Bounds:
    first, *rest = comm.allgather(own)
    for bounds in rest:
        first = first.join(bounds)
    return first
