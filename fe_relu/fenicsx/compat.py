# SPDX-License-Identifier: MIT
"""What differs between dolfinx 0.9, 0.10 and 0.11, and nowhere else."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from dolfinx import fem, mesh


def geometry_dofmap(mesh: mesh.Mesh) -> npt.NDArray:
    """Geometry nodes of each local cell, ghosts last, shape (num_cells, nodes per cell)."""
    geometry = mesh.geometry
    return geometry.dofmaps[0] if hasattr(geometry, "dofmaps") else geometry.dofmap


def geometry_degree(mesh: mesh.Mesh) -> int:
    """Polynomial degree of the map from the reference cell."""
    geometry = mesh.geometry
    return (geometry.cmaps[0] if hasattr(geometry, "cmaps") else geometry.cmap).degree


def linear_problem(a: Any, L: Any, bcs: list[Any], *, prefix: str, options: dict[str, Any]) -> Any:
    """`dolfinx.fem.petsc.LinearProblem`; the prefix is used where it can be given."""
    from dolfinx.fem.petsc import LinearProblem

    named = "petsc_options_prefix" in inspect.signature(LinearProblem).parameters
    extra = {"petsc_options_prefix": prefix} if named else {}
    return LinearProblem(a, L, bcs=bcs, petsc_options=options, **extra)


def solved(a: Any, V: fem.FunctionSpace, load: npt.NDArray) -> fem.Function:
    """The function in V of a symmetric positive form and a right-hand side, summed over ranks.

    Args:
        a: The compiled form.
        V: The space.
        load: Of each local dof, ghosts included, flat.
    """
    from petsc4py import PETSc

    from dolfinx import fem
    from dolfinx.fem import petsc

    matrix = petsc.assemble_matrix(a)
    matrix.assemble()
    b, u = fem.Function(V), fem.Function(V)
    b.x.array[:] = load
    b.x.petsc_vec.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
    solver = PETSc.KSP().create(V.mesh.comm)
    solver.setOperators(matrix)
    solver.setType("cg")
    solver.getPC().setType("jacobi")
    solver.setTolerances(rtol=1e-14, atol=0.0, max_it=10_000)
    solver.solve(b.x.petsc_vec, u.x.petsc_vec)
    u.x.scatter_forward()
    for thing in (solver, matrix):
        thing.destroy()
    return u


def point_owners(mesh: mesh.Mesh, points: npt.NDArray, padding: float) -> tuple[Any, Any]:
    """`determine_point_ownership`: the points this rank answers, (m, 3), and the cell of each."""
    from dolfinx import cpp, geometry

    if hasattr(geometry, "determine_point_ownership"):
        found = geometry.determine_point_ownership(mesh, points, padding)
    else:
        found = cpp.geometry.determine_point_ownership(mesh._cpp_object, points, padding)
    owned, cells = found.dest_points, found.dest_cells
    return (owned(), cells()) if callable(owned) else (owned, cells)


def basix_element(V: fem.FunctionSpace) -> Any | None:
    """The scalar element that V has once or several times, as basix knows it, if it does."""
    element = V.ufl_element()
    scalar = element.sub_elements[0] if element.block_size > 1 else element
    return getattr(scalar, "basix_element", None)
