# SPDX-License-Identifier: MIT
"""Which functions and function spaces can be converted, and where their dofs are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu import compat

if TYPE_CHECKING:
    from dolfinx import fem, mesh

Network = Callable[[npt.NDArray], npt.NDArray]

SUPPORTED = (
    "supported are real P1 Lagrange functions, scalar (('P', 1)) or blocked (('P', 1, (k,)))"
)


class UnsupportedFunctionError(ValueError):
    """The function or function space is not real P1 Lagrange on plane triangles."""


def space_of(u: fem.Function) -> fem.FunctionSpace:
    from dolfinx import fem

    if not isinstance(u, fem.Function):
        raise TypeError(f"expected a dolfinx.fem.Function, not {type(u).__name__}")
    return u.function_space


def require_p1(V: fem.FunctionSpace) -> None:
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


def dof_of_node(V: fem.FunctionSpace) -> npt.NDArray[np.int32]:
    """The (blocked) dof at each local geometry node, for P1 on straight cells."""
    dofs = np.empty(len(V.mesh.geometry.x), np.int32)
    dofs[compat.geometry_dofmap(V.mesh).ravel()] = V.dofmap.list.ravel()
    return dofs
