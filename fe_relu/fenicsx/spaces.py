# SPDX-License-Identifier: MIT
"""Which functions and function spaces can be converted, and where their dofs are.

An element is known by what its dofs do, not by its name: they must be point values at the vertices
of the cells (degree 1), or at vertices and midpoints of edges (degree 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.refusals import not_installed
from fe_relu.fenicsx import compat
from fe_relu.meshes.simplices.nodes import pairs
from fe_relu.networks.nodal import is_complex

if TYPE_CHECKING:
    from dolfinx import fem, mesh

Network = Callable[[npt.NDArray], npt.NDArray]

#: What to type where a function is of another element.
INTERPOLATE = (
    "w = fem.Function(fem.functionspace(mesh, ('P', 1))); w.interpolate(u) makes one that is "
    "(('P', 1, (k,)) for k components)"
)

#: What networks that know their numbers of inputs and outputs call them.
DIMS = ("dim_in", "dim_out")

#: Vertices of the reference cells, in basix's order.
REFERENCE = {
    "interval": np.array([[0.0], [1.0]]),
    "triangle": np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
    "quadrilateral": np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
    "tetrahedron": np.vstack([np.zeros(3), np.eye(3)]),
}


class UnsupportedFunctionError(ValueError):
    """The function or function space is of a kind that is no network; the message says what is."""


def _fem() -> Any:
    try:
        from dolfinx import fem
    except ModuleNotFoundError as missing:
        raise not_installed("dolfinx", "a function on a mesh") from missing
    return fem


def space_of(u: fem.Function) -> fem.FunctionSpace:
    if not isinstance(u, _fem().Function):
        raise TypeError(f"expected a dolfinx.fem.Function, not {type(u).__name__}")
    return u.function_space


def require_space(V: Any) -> None:
    if not isinstance(V, _fem().FunctionSpace):
        raise TypeError(f"expected a dolfinx.fem.FunctionSpace, not {type(V).__name__}")


def require_nodal(V: fem.FunctionSpace) -> None:
    """Raises unless V's dofs are values at vertices, and midpoints, of simplices.

    Raises:
        UnsupportedFunctionError: They are not; the message says what to type instead.
    """
    cell = V.mesh.topology.cell_type.name
    if V.component():
        raise UnsupportedFunctionError(
            "a component of a larger space is not supported; u.sub(i).collapse() is a function of "
            "its own"
        )
    if V.ufl_element().family_name == "mixed element":
        raise UnsupportedFunctionError(
            "a mixed space is not supported; u.sub(i).collapse() is a function of each part"
        )
    if cell not in REFERENCE:
        raise UnsupportedFunctionError(
            f"functions on {cell}s are not supported, whatever their element; "
            "cell_type=mesh.CellType.triangle, or tetrahedron, makes a mesh on which they are"
        )
    if _node_ends(V) is None:
        raise UnsupportedFunctionError(
            f"{V.ufl_element()} is not supported: its dofs are not values at vertices, nor at "
            f"vertices and midpoints of edges; {INTERPOLATE}"
        )
    if V.dofmap.index_map_bs != V.value_size:
        raise UnsupportedFunctionError(
            f"symmetric tensors are not supported; {INTERPOLATE.replace('(k,)', '(d, d)')}"
        )


def require_real(u: fem.Function) -> None:
    if u.x.array.dtype not in (np.float32, np.float64):
        raise UnsupportedFunctionError(
            f"{u.x.array.dtype} values are not supported; "
            "w = fem.Function(u.function_space, dtype=u.x.array.real.dtype); "
            "w.x.array[:] = u.x.array.real is the real part, .imag the imaginary one"
        )


def require_straight(mesh: mesh.Mesh) -> None:
    """Raises unless cells are straight, and fill the space that they are in.

    Raises:
        UnsupportedFunctionError: They do not; the message says what to type instead.
    """
    kind, tdim, gdim = mesh.topology.cell_type.name, mesh.topology.dim, mesh.geometry.dim
    if tdim < gdim:
        raise UnsupportedFunctionError(
            f"a mesh of {kind}s in {gdim}-D is not supported; if it is flat, gdim={tdim} where it "
            f"is made or read, as in gmshio.model_to_mesh(…, gdim={tdim}), makes one that is"
        )
    if compat.geometry_degree(mesh) != 1:
        raise UnsupportedFunctionError(
            f"a geometry of degree {compat.geometry_degree(mesh)}, whose cells may be curved, is "
            "not supported; gmsh.model.mesh.setOrder(1) makes straight ones"
        )


def real_parts(rows: npt.NDArray) -> npt.NDArray:
    """Numbers (n, k) as they are, or complex ones as (n, 2 k), real before imaginary parts."""
    return rows.view(rows.real.dtype) if np.iscomplexobj(rows) else rows


def function_type(V: fem.FunctionSpace, network: Any) -> npt.DTypeLike:
    """Of the numbers of the function in V that a network becomes."""
    real = V.mesh.geometry.x.dtype
    return np.result_type(real, np.complex64) if is_complex(network) else real


def num_outputs(V: fem.FunctionSpace, network: Any) -> int:
    """How many a network needs to become a function in V."""
    return V.dofmap.index_map_bs * (1 + is_complex(network))


def require_outputs(network: Network, V: fem.FunctionSpace) -> None:
    needed = V.mesh.geometry.dim, num_outputs(V, network)
    dims = tuple(getattr(network, name, n) for name, n in zip(DIMS, needed, strict=True))
    if dims != needed:
        raise ValueError(
            f"the network maps {dims[0]} inputs to {dims[1]} outputs, but V needs {needed[0]} "
            f"inputs and {needed[1]} outputs"
        )


def degree_of(V: fem.FunctionSpace) -> int:
    """1 if V's dofs are values at vertices, 2 if at midpoints of edges too."""
    ends = _node_ends(V)
    assert ends is not None
    return 1 if (ends[0] == ends[1]).all() else 2


def _node_ends(V: fem.FunctionSpace) -> npt.NDArray[np.int64] | None:
    """The two vertices of the cell between which each dof of the element is a value, (2, dofs).

    Both are the same for a dof at a vertex. None if a dof is anything else.
    """
    element = compat.basix_element(V)
    corners = REFERENCE[V.mesh.topology.cell_type.name]
    if element is None or element.discontinuous or not element.interpolation_is_identity:
        return None
    a, b = np.triu_indices(len(corners))
    apart = np.abs(element.points[:, None] - (corners[a] + corners[b]) / 2).max(axis=2)
    nearest = apart.argmin(axis=1)
    whole = {len(corners), len(a)}
    if apart.min(axis=1).max() > 1e-12 or len(set(nearest.tolist())) not in whole:
        return None
    ends = np.array([a[nearest], b[nearest]])
    at_corners = np.unique(ends[0][ends[0] == ends[1]])
    return ends if len(at_corners) == len(corners) and len(nearest) in whole else None


def node_ends(V: fem.FunctionSpace) -> npt.NDArray[np.int64]:
    """The two corners of a cell between which each of its dofs is a value, shape (2, dofs)."""
    ends = _node_ends(V)
    assert ends is not None
    return ends


def ends_of_dofs(V: fem.FunctionSpace) -> npt.NDArray[np.int32]:
    """Two geometry nodes for each local (blocked) dof, in the middle of which it lies, (2, d).

    For a dof at a vertex both are that.
    """
    cells, dofs = compat.geometry_dofmap(V.mesh), V.dofmap.list
    node_ends = _node_ends(V)
    assert node_ends is not None
    ends = np.empty((2, num_dofs(V)), np.int32)
    for k, pair in enumerate(node_ends.T):
        ends[:, dofs[:, k]] = cells[:, pair].T
    return ends


def numbers_of_edges(mesh: mesh.Mesh) -> npt.NDArray[np.int64]:
    """Of each local cell, ghosts last, the numbers of its edges among those of all, (edges, m).

    Edges join the corners that `pairs` says, as the cell has them.
    """
    import basix

    dim, topology = mesh.topology.dim, mesh.topology
    topology.create_entities(1)
    if dim == 1:
        cells = topology.index_map(1)
        edges = np.arange(cells.size_local + cells.num_ghosts, dtype=np.int32)[None]
    else:
        topology.create_connectivity(dim, 1)
        known = {
            tuple(sorted(ends)): k for k, ends in enumerate(basix.topology(mesh.basix_cell())[1])
        }
        edges = topology.connectivity(dim, 1).array.reshape(-1, len(known)).T
        edges = edges[[known[pair] for pair in pairs(dim + 1)]]
    numbers = topology.index_map(1).local_to_global(np.ascontiguousarray(edges).ravel())
    return numbers.reshape(edges.shape)


def dof_coordinates(V: fem.FunctionSpace, dtype: npt.DTypeLike = None) -> npt.NDArray:
    """Of each local (blocked) dof, shape (gdim, d), in the type of the mesh, or another."""
    x = V.mesh.geometry.x[:, : V.mesh.geometry.dim].T
    x = x.astype(x.dtype if dtype is None else dtype, copy=False)
    a, b = ends_of_dofs(V)
    return x[:, a] if degree_of(V) == 1 else (x[:, a] + x[:, b]) / 2


def cell_dofs(V: fem.FunctionSpace) -> npt.NDArray:
    """The (blocked) dofs of each of this rank's own cells, shape (cells, dofs of a cell)."""
    return V.dofmap.list[: V.mesh.topology.index_map(V.mesh.topology.dim).size_local]


def num_dofs(V: fem.FunctionSpace) -> int:
    """Number of local (blocked) dofs, ghosts included."""
    index_map = V.dofmap.index_map
    return index_map.size_local + index_map.num_ghosts
