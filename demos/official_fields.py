# SPDX-License-Identifier: MIT
"""Which solutions of DOLFINx's demos and of the FEniCSx tutorial become networks, and of what kind.

    python3 demos/official_fields.py

Listed are the fields that are solved for, as of August 2026, by mesh and element; not those derived
from them, such as stresses. One small function of each kind is converted here, so that the table
says what this version does with it. The TNT elements of one demo are left out.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from mpi4py import MPI

import basix.ufl
import numpy as np
from dolfinx import fem, io, mesh

from fe_relu import UnsupportedFunctionError, network_from_function

COMM = MPI.COMM_SELF


class Field(NamedTuple):
    """A solution, or several of one kind.

    Args:
        mesh: By its name in `MESHES`.
        element: As for `functionspace`.
        names: The demos, and which of their solutions it is where there are several.
        mixed: It is a part of a mixed space, after `collapse()`.
        is_complex: Its values are.
    """

    mesh: str
    element: tuple
    names: tuple[str, ...]
    mixed: bool = False
    is_complex: bool = False


def plate() -> mesh.Mesh:
    path = Path(__file__).parent / "plate.xdmf"
    with io.XDMFFile(COMM, path, "r", encoding=io.XDMFFile.Encoding.ASCII) as file:
        return file.read_mesh(name="plate")


def tetrahedra() -> mesh.Mesh:
    """No box, as gmsh's are none."""
    msh = mesh.create_unit_cube(COMM, 3, 3, 3)
    msh.geometry.x[:, 0] **= 2
    return msh


def curved() -> mesh.Mesh:
    """One quadrilateral with bent sides."""
    x = np.array(
        [[0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.1], [0, 0.5], [1, 0.5], [0.5, 1], [0.5, 0.5]]
    )
    element = basix.ufl.element("Lagrange", "quadrilateral", 2, shape=(2,))
    return mesh.create_mesh(COMM, np.arange(9).reshape(1, -1), x=x, e=element)


def facets() -> mesh.Mesh:
    msh = mesh.create_unit_cube(COMM, 2, 2, 2)
    msh.topology.create_entities(2)
    count = msh.topology.index_map(2).size_local
    return mesh.create_submesh(msh, 2, np.arange(count, dtype=np.int32))[0]


MESHES: dict[str, Callable[[], mesh.Mesh]] = {
    "create_rectangle, triangles": lambda: mesh.create_unit_square(COMM, 4, 3),
    "gmsh, triangles": plate,
    "create_interval": lambda: mesh.create_unit_interval(COMM, 7),
    "create_box, tetrahedra": lambda: mesh.create_unit_cube(COMM, 3, 2, 2),
    "gmsh, tetrahedra": tetrahedra,
    "create_rectangle, quadrilaterals": lambda: mesh.create_unit_square(
        COMM, 4, 3, mesh.CellType.quadrilateral
    ),
    "gmsh, curved quadrilaterals": curved,
    "create_box, hexahedra": lambda: mesh.create_unit_cube(COMM, 2, 2, 2, mesh.CellType.hexahedron),
    "facets of tetrahedra": facets,
}

PLANE, GMSH, BOX = "create_rectangle, triangles", "gmsh, triangles", "create_box, tetrahedra"
QUADS, HEXES = "create_rectangle, quadrilaterals", "create_box, hexahedra"

FIELDS = [
    Field(
        PLANE,
        ("P", 1),
        ("poisson", "types: real", "nitsche", "diffusion", "heat", "nonlinear poisson")
        + ("multiple dirichlet", "neumann dirichlet", "robin", "subdomains", "inpainting")
        + ("newton in 2-D", "solvers", "convergence: 1", "navier-stokes 1: p", "stokes: p")
        + ("matrix-free blocks: p",),
    ),
    Field(PLANE, ("P", 1), ("cahn-hilliard: c", "cahn-hilliard: mu"), mixed=True),
    Field(PLANE, ("P", 1), ("helmholtz", "types: complex", "complex mode"), is_complex=True),
    Field(PLANE, ("P", 1, (2,)), ("types: elasticity", "component-wise conditions")),
    Field(PLANE, ("P", 1, (2,)), ("types: complex elasticity",), is_complex=True),
    Field(PLANE, ("P", 2), ("poisson matrix-free", "convergence: 2")),
    Field(PLANE, ("P", 2, (2,)), ("stokes: u", "navier-stokes 1: u", "matrix-free blocks: u")),
    Field(PLANE, ("P", 3), ("biharmonic", "convergence: 3")),
    Field(PLANE, ("P", 4), ("convergence: 4",)),
    Field(PLANE, ("DG", 0), ("mixed poisson: u", "tutorial's mixed poisson: u")),
    Field(PLANE, ("DG", 1), ("divergence-free navier-stokes: p",)),
    Field(PLANE, ("RT", 1), ("mixed poisson: sigma", "divergence-free navier-stokes: u")),
    Field(PLANE, ("BDM", 1), ("tutorial's mixed poisson: sigma",)),
    Field(GMSH, ("P", 1), ("membrane", "electromagnetics", "subdomains by gmsh")),
    Field(GMSH, ("P", 2, (2,)), ("static condensation: u",)),
    Field(GMSH, ("P", 3), ("adaptive refinement", "axis: azimuthal part"), is_complex=True),
    Field(GMSH, ("DG", 1, (2, 2)), ("static condensation: sigma",)),
    Field(GMSH, ("N1curl", 1), ("pml", "scattering", "axis"), is_complex=True),
    Field("create_interval", ("P", 1), ("newton",)),
    Field(BOX, ("P", 1), ("pyamg: poisson",)),
    Field(BOX, ("P", 1, (3,)), ("elasticity", "pyamg: elasticity")),
    Field(BOX, ("DG", 1), ("hdg: u",)),
    Field("facets of tetrahedra", ("DG", 1), ("hdg: trace",)),
    Field("gmsh, tetrahedra", ("P", 1), ("tutorial's helmholtz",), is_complex=True),
    Field(QUADS, ("Q", 1), ("fundamentals", "singular poisson", "tnt: Q1")),
    Field(QUADS, ("Q", 1), ("waveguide: axial part",), mixed=True),
    Field(QUADS, ("Q", 2), ("tnt: Q2 and higher",)),
    Field(QUADS, ("RTCE", 1), ("waveguide: transverse part",)),
    Field("gmsh, curved quadrilaterals", ("Q", 2, (2,)), ("navier-stokes 2: u",)),
    Field("gmsh, curved quadrilaterals", ("Q", 1), ("navier-stokes 2: p",)),
    Field(HEXES, ("Q", 1, (3,)), ("linear elasticity",)),
    Field(HEXES, ("Q", 2, (3,)), ("hyperelasticity",)),
]


@cache
def mesh_of(name: str) -> mesh.Mesh:
    return MESHES[name]()


def space_of(field: Field) -> Any:
    msh = mesh_of(field.mesh)
    if not field.mixed:
        return fem.functionspace(msh, field.element)
    one = basix.ufl.element(*field.element[:1], msh.basix_cell(), *field.element[1:])
    return fem.functionspace(msh, basix.ufl.mixed_element([one, one])).sub(0).collapse()[0]


def becomes(field: Field) -> str:
    """What a function of this kind is turned into, or that it is refused."""
    dtype = np.complex128 if field.is_complex else np.float64
    try:
        network = network_from_function(fem.Function(space_of(field), dtype=dtype))
    except UnsupportedFunctionError:
        return "refused"
    return f"{type(network).__name__} on a {type(network.mesh).__name__}"


def described(field: Field) -> str:
    family, degree, *shape = field.element
    words = [f"{family}{degree}"]
    words += ["vector" if len(shape[0]) == 1 else "tensor"] if shape else []
    words += ["of a mixed space"] if field.mixed else []
    words += ["complex"] if field.is_complex else []
    return ", ".join(words)


def main() -> None:
    every, turned = 0, 0
    print(f"{'mesh':34}{'element':26}{'fields':>6}  becomes")
    for field in FIELDS:
        found = becomes(field)
        every += len(field.names)
        turned += len(field.names) * (found != "refused")
        print(f"{field.mesh:34}{described(field):26}{len(field.names):6}  {found}")
    print(f"{turned} of {every} fields become networks")


if __name__ == "__main__":
    main()
