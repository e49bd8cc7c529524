# SPDX-License-Identifier: MIT
"""Which functions and function spaces can be converted, and where their dofs are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.fenicsx import compat
from fe_relu.meshes.grid.midpoints import EDGES

if TYPE_CHECKING:
    from dolfinx import fem, mesh

Network = Callable[[npt.NDArray], npt.NDArray]

SUPPORTED = (
    "supported are real P1 and P2 Lagrange functions, scalar (('P', 1), ('P', 2)) or blocked "
    "(('P', 1, (k,)), ('P', 2, (k,)))"
)


class UnsupportedFunctionError(ValueError):
    """The function or function space is not real P1 or P2 Lagrange on triangles."""


def space_of(u: fem.Function) -> fem.FunctionSpace:
    from dolfinx import fem

    if not isinstance(u, fem.Function):
        raise TypeError(f"expected a dolfinx.fem.Function, not {type(u).__name__}")
    return u.function_space


def require_space(V: Any) -> None:
    from dolfinx import fem

    if not isinstance(V, fem.FunctionSpace):
        raise TypeError(f"expected a dolfinx.fem.FunctionSpace, not {type(V).__name__}")


def require_lagrange(V: fem.FunctionSpace) -> None:
    """Raises unless V is P1 or P2, scalar or blocked, on simplices."""
    element = V.ufl_element()
    supported = (
        element.family_name == "P"
        and element.degree in (1, 2)
        and not element.discontinuous
        and V.mesh.topology.cell_type.name in ("interval", "triangle", "tetrahedron")
    )
    if not supported:
        raise UnsupportedFunctionError(f"{element} is not supported; {SUPPORTED}")
    if V.component():
        raise UnsupportedFunctionError(
            "a component of a larger space is not supported; collapse() the function first"
        )
    if V.dofmap.index_map_bs != V.value_size:
        raise UnsupportedFunctionError(f"symmetric tensors are not supported; {SUPPORTED}")


def require_real(u: fem.Function) -> None:
    if u.x.array.dtype not in (np.float32, np.float64):
        raise UnsupportedFunctionError(f"{u.x.array.dtype} values are not supported; {SUPPORTED}")


def require_plane_triangles(mesh: mesh.Mesh) -> None:
    if mesh.topology.cell_type.name != "triangle" or mesh.geometry.dim != 2:
        raise UnsupportedFunctionError(
            f"a mesh of {mesh.topology.cell_type.name}s in {mesh.geometry.dim}-D is not supported; "
            "V must be on triangles in the plane"
        )
    if compat.geometry_degree(mesh) != 1:
        raise UnsupportedFunctionError("curved cells are not supported; the mesh must be straight")


def require_outputs(network: Network, V: fem.FunctionSpace) -> None:
    dims = getattr(network, "dim_in", 2), getattr(network, "dim_out", V.dofmap.index_map_bs)
    if dims != (2, V.dofmap.index_map_bs):
        raise ValueError(
            f"the network maps {dims[0]} inputs to {dims[1]} outputs, but V needs 2 inputs "
            f"and {V.dofmap.index_map_bs} outputs"
        )


def ends_of_dofs(V: fem.FunctionSpace) -> npt.NDArray[np.int32]:
    """Two geometry nodes for each local (blocked) dof, in the middle of which it lies, (2, d).

    For a dof at a vertex both are that; for P1 and P2 on straight cells.
    """
    cells, dofs = compat.geometry_dofmap(V.mesh), V.dofmap.list
    ends = np.empty((2, num_dofs(V)), np.int32)
    for k in range(3):
        ends[:, dofs[:, k]] = cells[:, k]
    if V.ufl_element().degree == 2:
        for k, (a, b) in enumerate(EDGES):
            ends[0, dofs[:, 3 + k]], ends[1, dofs[:, 3 + k]] = cells[:, a], cells[:, b]
    return ends


def dof_coordinates(V: fem.FunctionSpace) -> npt.NDArray:
    """Of each local (blocked) dof, shape (2, d), in the type of the mesh."""
    x = V.mesh.geometry.x[:, :2].T
    a, b = ends_of_dofs(V)
    return x[:, a] if V.ufl_element().degree == 1 else (x[:, a] + x[:, b]) / 2


def num_dofs(V: fem.FunctionSpace) -> int:
    """Number of local (blocked) dofs, ghosts included."""
    index_map = V.dofmap.index_map
    return index_map.size_local + index_map.num_ghosts
