# SPDX-License-Identifier: MIT
"""dolfinx Function → network and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from fe_relu import compat
from fe_relu.blocks import Blocks
from fe_relu.certificate import Bounds, Certificate, Triangles, copied_bounds, difference
from fe_relu.grid import Grid
from fe_relu.meshes import LocatedMesh, NotStructuredError, locate_mesh
from fe_relu.p1 import P1Network
from fe_relu.parallel import gather_columns, together
from fe_relu.redistribute import Redistribution, aligned_blocks
from fe_relu.routing import Plan

if TYPE_CHECKING:
    from dolfinx import fem, mesh

Network = Callable[[npt.NDArray], npt.NDArray]

Layout = Literal["auto", "blocks", "replicated"]

#: layout="auto" gives every rank all nodal values up to this many numbers (32 MiB in float64).
REPLICATED_VALUES = 1 << 22

SUPPORTED = (
    "supported are real P1 Lagrange functions, scalar (('P', 1)) or blocked (('P', 1, (k,)))"
)


class UnsupportedFunctionError(ValueError):
    """The function or function space is not real P1 Lagrange on plane triangles."""


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
    V = _space_of(u)
    with together(V.mesh.comm):
        _require_p1(V)
        _require_real(u)
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
        network: A `P1Network`, a `ReLUNetwork` (the same on every rank), or any callable that maps
            points (2, n) to values (n,) or (k, n). Of a callable that is neither nothing can be
            proven: `Certificate.upper` is infinite.
        V: A scalar or blocked P1 space on any triangle mesh in the plane.
        rtol: As for `grid_from_mesh`, to tell whether V is on the network's own grid.

    Returns:
        The function, of the floating-point type of the mesh, and bounds of
        sup |network − function| over the mesh and all components.

    Raises:
        UnsupportedFunctionError: V is not P1 on plane triangles.
        ValueError: rtol is not in [0, 0.1], the network has another number of outputs than V, or
            it gives NaN.
    """
    from dolfinx import fem

    comm = V.mesh.comm
    with together(comm):
        _require_p1(V)
        _require_plane_triangles(V.mesh)
        _require_outputs(network, V)
    dtype = V.mesh.geometry.x.dtype
    if isinstance(network, P1Network) and (located := _located_on(network.grid, V.mesh, rtol)):
        vertices = located.vertex_of_node
        nodal = network.values_at_vertices(vertices)
        triangles = _triangles(V.mesh, nodal.astype(dtype))
        own = copied_bounds(network, triangles, vertices, nodal)
    else:
        nodal = _evaluated_at_nodes(network, V)
        own = difference(network, _triangles(V.mesh, nodal.astype(dtype)))
    u = fem.Function(V, dtype=dtype)
    u.x.array.reshape(-1, V.dofmap.index_map_bs)[_dof_of_node(V)] = nodal.T
    return u, _joined(comm, own).certificate()


@dataclass(frozen=True, eq=False)
class InterpolationPlan:
    """Interpolation of a network into a space on any mesh, again and again: see its maker."""

    V: fem.FunctionSpace
    plan: Plan

    def __call__(self, u: fem.Function | None = None) -> fem.Function:
        """The interpolant of the newest network that `update` made from the planned one.

        Collective.

        Args:
            u: The function in V to overwrite; a new one by default.

        Raises:
            ValueError: u is of another space.
        """
        from dolfinx import fem

        with together(self.plan.network.comm):
            if u is not None and _space_of(u) != self.V:
                raise ValueError("the function is of another space than the plan")
        u = fem.Function(self.V, dtype=self.V.mesh.geometry.x.dtype) if u is None else u
        u.x.array[:] = np.atleast_2d(self.plan()).T.ravel()
        return u


def interpolation_plan(network: P1Network, V: fem.FunctionSpace) -> InterpolationPlan:
    """Interpolation of a network into V, with routing and location done once. Collective.

    The meshes need not match, nor be partitioned alike; around the network's mesh its values fade
    to zero. For a single transfer, `u.interpolate(network)` does the same.

    Args:
        network: The network; `plan()` follows its updates.
        V: A scalar or blocked space of Lagrange elements of any degree, also discontinuous, on a
            mesh in the plane, on the same ranks as the network.

    Returns:
        A plan: `plan()` gives a new function in V, `plan(u)` overwrites u.

    Raises:
        UnsupportedFunctionError: V's functions are not given by values at points.
        ValueError: The network has another number of outputs than V.
    """
    with together(V.mesh.comm):
        _require_outputs(network, V)
        if V.mesh.geometry.dim != 2 or V.ufl_element().family_name != "P" or V.component():
            raise UnsupportedFunctionError(
                f"{V.ufl_element()} is not supported; functions in V must be given by their values "
                "at points of the plane"
            )
    return InterpolationPlan(V, network.plan(V.tabulate_dof_coordinates().T))


@dataclass(frozen=True)
class GridValues:
    """The nodal values of functions in V, put into the vertex order of V's grid."""

    V: fem.FunctionSpace
    located: LocatedMesh
    blocks: Blocks | None

    def values(self, u: fem.Function) -> npt.NDArray:
        """Nodal values of this rank's window, the whole grid without blocks. Collective.

        Shape (n,) or (k, n), in the vertex order of the window.

        Raises:
            UnsupportedFunctionError: u is not real P1.
            ValueError: u is on another mesh than V, or has another value shape.
        """
        with together(self.V.mesh.comm):
            here = _space_of(u)
            same_space = here == self.V
            if not same_space:
                _require_p1(here)
                if here.mesh is not self.V.mesh:
                    raise ValueError("the function is on another mesh than the network came from")
            if here.value_shape != self.V.value_shape:
                raise ValueError(
                    f"the function has value shape {here.value_shape}, but the network came from "
                    f"{self.V.value_shape}"
                )
            _require_real(u)
        source = self if same_space else GridValues(here, self.located, self.blocks)
        return source._moved(u)

    def _moved(self, u: fem.Function) -> npt.NDArray:
        bs, comm = self.V.dofmap.index_map_bs, self.V.mesh.comm
        owned = u.x.array[: bs * self.V.dofmap.index_map.size_local].reshape(-1, bs).T
        if self._redistribution is not None:
            values = self._redistribution.values(owned)
        else:
            columns = gather_columns(comm, owned) if comm.size > 1 else owned
            values = np.take(columns, self._order, axis=1)
        return values if self.V.value_shape else values[0]

    @property
    def _vertex_of_dof(self) -> npt.NDArray[np.int64]:
        """The grid's vertex of each dof that this rank owns."""
        vertices = np.empty(self.V.dofmap.index_map.size_local, np.int64)
        dofs = _dof_of_node(self.V)
        owned = dofs < vertices.size
        vertices[dofs[owned]] = self.located.vertex_of_node[owned]
        return vertices

    @cached_property
    def _redistribution(self) -> Redistribution | None:
        grid, comm = self.located.grid, self.V.mesh.comm
        if self.blocks is None:
            return None
        return Redistribution.of(comm, grid, self.blocks, self._vertex_of_dof)

    @cached_property
    def _order(self) -> npt.NDArray[np.int64]:
        """For each vertex of the grid, its position among the owned dofs of all ranks."""
        vertices = gather_columns(self.V.mesh.comm, self._vertex_of_dof[None])[0]
        order = np.empty_like(vertices)
        order[vertices] = np.arange(vertices.size)
        return order


def _space_of(u: fem.Function) -> fem.FunctionSpace:
    from dolfinx import fem

    if not isinstance(u, fem.Function):
        raise TypeError(f"expected a dolfinx.fem.Function, not {type(u).__name__}")
    return u.function_space


def _require_p1(V: fem.FunctionSpace) -> None:
    element = V.ufl_element()
    is_p1 = (
        element.family_name == "P"
        and element.degree == 1
        and not element.discontinuous
        and V.mesh.topology.cell_type.name in ("interval", "triangle", "tetrahedron")
    )
    if not is_p1:
        raise UnsupportedFunctionError(f"{element} is not supported; {SUPPORTED}")
    if V.component():
        raise UnsupportedFunctionError(
            "a component of a larger space is not supported; collapse() the function first"
        )
    if V.dofmap.index_map_bs != V.value_size:
        raise UnsupportedFunctionError(f"symmetric tensors are not supported; {SUPPORTED}")


def _require_real(u: fem.Function) -> None:
    if u.x.array.dtype not in (np.float32, np.float64):
        raise UnsupportedFunctionError(f"{u.x.array.dtype} values are not supported; {SUPPORTED}")


def _require_plane_triangles(mesh: mesh.Mesh) -> None:
    if mesh.topology.cell_type.name != "triangle" or mesh.geometry.dim != 2:
        raise UnsupportedFunctionError(
            f"a mesh of {mesh.topology.cell_type.name}s in {mesh.geometry.dim}-D is not supported; "
            "V must be on triangles in the plane"
        )
    if compat.geometry_degree(mesh) != 1:
        raise UnsupportedFunctionError("curved cells are not supported; the mesh must be straight")


def _require_outputs(network: Network, V: fem.FunctionSpace) -> None:
    dims = getattr(network, "dim_in", 2), getattr(network, "dim_out", V.dofmap.index_map_bs)
    if dims != (2, V.dofmap.index_map_bs):
        raise ValueError(
            f"the network maps {dims[0]} inputs to {dims[1]} outputs, but V needs 2 inputs "
            f"and {V.dofmap.index_map_bs} outputs"
        )


def _dof_of_node(V: fem.FunctionSpace) -> npt.NDArray[np.int32]:
    """The (blocked) dof at each local geometry node, for P1 on straight cells."""
    dofs = np.empty(len(V.mesh.geometry.x), np.int32)
    dofs[compat.geometry_dofmap(V.mesh).ravel()] = V.dofmap.list.ravel()
    return dofs


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
