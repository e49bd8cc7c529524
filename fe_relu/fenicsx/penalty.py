# SPDX-License-Identifier: MIT
"""UFL forms on the mesh of a network, by the numbers that its vertices have there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from fe_relu.fenicsx.conversion import node_of_dof
from fe_relu.fenicsx.meshes import located_mesh
from fe_relu.fenicsx.spaces import degree_of, require_nodal
from fe_relu.meshes.recognition.recognise import TOLERANCE
from fe_relu.parallel.agreement import gather_columns, together

if TYPE_CHECKING:
    import ufl


def penalty_rows(form: ufl.Form, mesh: Any) -> sparse.csr_array:
    """What this rank's cells add to the matrix of a bilinear form, by vertices of a mesh.

    Collective over the ranks of the form's mesh.

    Args:
        form: Of a trial and a test function in a scalar P1 or Q1 space.
        mesh: Of a network.

    Raises:
        ValueError: The form has other arguments, or is on another mesh.
    """
    from dolfinx import fem

    spaces = [argument.ufl_function_space() for argument in form.arguments()]
    if len(spaces) != 2 or spaces[0] != spaces[1]:
        raise ValueError("a penalty is a form of a trial and a test function in one space")
    V: Any = fem.FunctionSpace(spaces[0].mesh, spaces[0].ufl_element(), spaces[0]._cpp_object)
    with together(V.mesh.comm):
        require_nodal(V)
        if V.value_shape or degree_of(V) != 1:
            raise ValueError("a penalty is a form in a scalar space of degree 1")
    located = located_mesh(
        V.mesh, TOLERANCE, structured=mesh.is_structured, spread=int(mesh.is_partial)
    )
    with together(V.mesh.comm):
        if not located.mesh.matches(mesh, V.mesh.geometry.x.dtype, rtol=TOLERANCE):
            raise ValueError("the penalty is a form on another mesh than the network's")
        own = fem.assemble_matrix(fem.form(form))  # of this rank's cells; others add to the same
    dofs = V.dofmap.index_map
    vertices = gather_columns(V.mesh.comm, node_of_dof(V, located)[None, : dofs.size_local])[0]
    rows = own.to_scipy(ghosted=True).tocoo()
    places = (
        vertices[own.index_map(axis).local_to_global(part.astype(np.int32))]
        for axis, part in enumerate((rows.row, rows.col))
    )
    size = (mesh.num_vertices, mesh.num_vertices)
    return sparse.csr_array((rows.data.astype(np.float64), tuple(places)), shape=size)
