# SPDX-License-Identifier: MIT
"""A network on the cells of a space: its regions in each, exact errors, exact projections.

The linear regions of a network on this rank's cells are a refinement of them, on each simplex of
which the network is affine and functions of the space are polynomials of degree 1 or 2. So the sup
of their difference is attained at places that can be computed, and quadrature is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.analysis.certificate import EXACT_FACTOR, Certificate
from fe_relu.analysis.quadratics import extremes_on_simplices
from fe_relu.basics.arguments import checked_integer
from fe_relu.fenicsx import compat
from fe_relu.fenicsx.spaces import (
    degree_of,
    function_type,
    node_ends,
    real_parts,
    require_nodal,
    require_outputs,
    require_space,
    require_straight,
)
from fe_relu.networks.nodal import is_complex, whole_of
from fe_relu.parallel.agreement import gathered, together
from fe_relu.regions.domains import simplices
from fe_relu.regions.regions import MOST_REGIONS, layers_of, linear_regions

if TYPE_CHECKING:
    from dolfinx import fem

#: What is the roundoff of a difference, in units of roundoff of the largest value.
ROUNDOFF_UNITS = 64


@dataclass(frozen=True)
class ExactCertificate(Certificate):
    """Sup |network − function| itself, up to roundoff, and the errors in L² and H¹.

    Attributes:
        exact: As in `Certificate`: the difference is 0 up to roundoff.
        lower: The largest difference, which is attained, less roundoff.
        upper: The same and roundoff: `upper − lower` is at most twice 64 units of roundoff of the
            largest value.
        l2_error: The L² norm of the difference, over the mesh and all components.
        h1_error: The square root of ∫ e² + |∇e|² of the difference e.
    """

    l2_error: float
    h1_error: float


@dataclass(frozen=True, eq=False)
class Refinement:
    """A network on the simplices on which it is affine, in the owned cells of a space.

    Attributes:
        V: The space.
        points: Corners of the simplices, shape (dim, dim + 1, m).
        values: The network's values at them, shape (k, dim + 1, m).
        slopes: Its gradients, shape (k, dim, m).
        cells: The cell of each, shape (m,).
    """

    V: fem.FunctionSpace
    points: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    slopes: npt.NDArray[np.float64]
    cells: npt.NDArray[np.int64]

    @staticmethod
    def of(network: Any, V: fem.FunctionSpace, max_regions: int) -> Refinement:
        """Of a network of this process alone. Local."""
        msh, dim = V.mesh, V.mesh.geometry.dim
        count = msh.topology.index_map(msh.topology.dim).size_local
        nodes = compat.geometry_dofmap(msh)[:count].T
        if count == 0:
            outputs, none = layers_of(network).dim_out, np.empty(0, np.int64)
            empty = np.empty((outputs, dim + 1, 0))
            return Refinement(V, np.empty((dim, dim + 1, 0)), empty, empty[:, :dim], none)
        x = msh.geometry.x[:, :dim].T.astype(np.float64)
        used, corners = np.unique(nodes, return_inverse=True)
        domain = simplices(x[:, used], corners.reshape(nodes.shape))
        regions = linear_regions(network, domain, max_regions=max_regions)
        cells, face = regions.simplices
        values = regions.values.reshape(-1, regions.num_vertices)
        slopes = regions.slopes.reshape(-1, dim, regions.num_regions)
        return Refinement(
            V, regions.vertices[:, cells], values[:, cells], slopes[:, :, face], regions.cells[face]
        )

    @cached_property
    def frames(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """First corners (dim, m) and inverse Jacobians (m, dim, dim) of the cells."""
        msh = self.V.mesh
        dim = msh.geometry.dim
        corners = msh.geometry.x[compat.geometry_dofmap(msh)[self.cells], :dim].astype(np.float64)
        sides = corners[:, 1:] - corners[:, :1]
        return corners[:, 0].T, np.linalg.inv(sides.transpose(0, 2, 1))

    @cached_property
    def volumes(self) -> npt.NDArray[np.float64]:
        """Of the simplices, (m,)."""
        sides = self.points[:, 1:] - self.points[:, :1]
        if len(sides) == 1:
            return np.abs(sides[0, 0])
        return np.abs(sides[0, 0] * sides[1, 1] - sides[0, 1] * sides[1, 0]) / 2

    def at(self, weights: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
        """At barycentric weights in simplices: values (k, m), weights in cells (dim + 1, m)."""
        first, inverse = self.frames
        steps = np.einsum("dcm,c->dm", self.points, weights) - first
        local = np.einsum("mij,jm->im", inverse, steps)
        cell_weights = np.vstack([1 - local.sum(axis=0), local])
        return np.einsum("kcm,c->km", self.values, weights), cell_weights

    def basis(self, at: npt.NDArray) -> npt.NDArray:
        """The element's functions at barycentric coordinates (dim + 1, m) of cells, (dofs, m)."""
        a, b = node_ends(self.V)
        if degree_of(self.V) == 1:
            return at[a]
        return np.where((a == b)[:, None], at[a] * (2 * at[a] - 1), 4 * at[a] * at[b])

    def basis_slopes(self, at: npt.NDArray) -> npt.NDArray:
        """Their gradients, shape (dofs, dim, m)."""
        a, b = node_ends(self.V)
        _, inverse = self.frames
        rest = inverse.transpose(1, 2, 0)
        grads = np.concatenate([-rest.sum(axis=0)[None], rest])  # of the barycentric coordinates
        if degree_of(self.V) == 1:
            return grads[a]
        corner = grads[a] * (4 * at[a] - 1)[:, None]
        middle = 4 * (at[a][:, None] * grads[b] + at[b][:, None] * grads[a])
        return np.where((a == b)[:, None, None], corner, middle)

    @cached_property
    def rule(self) -> list[tuple[npt.NDArray[np.float64], float]]:
        """Barycentric points (dim + 1,) and weights of sum 1, exact for degree 4."""
        import basix

        name = self.V.mesh.topology.cell_type.name
        points, weights = basix.make_quadrature(getattr(basix.CellType, name), 4)
        places = np.hstack([1 - points.sum(axis=1, keepdims=True), points])
        return list(zip(places, (weights / weights.sum()).tolist(), strict=True))


def exact_certificate(
    network: Any, u: fem.Function, max_regions: int = MOST_REGIONS
) -> ExactCertificate:
    """Sup |network − u| and the errors in L² and H¹, for one or two inputs. Collective.

    Args:
        network: As for `linear_regions`.
        u: In P1 or P2.
        max_regions: As for `linear_regions`, on each rank.

    Raises:
        ValueError: As for `linear_regions`, on every rank.
        TypeError: Likewise.
    """
    V = u.function_space
    comm = V.mesh.comm
    network = whole_of(network)
    with together(comm):
        refinement = Refinement.of(network, V, max_regions)
        own = _errors(refinement, u)
    every = np.array(gathered(comm, own))
    sup, size = every[:, 0].max(), every[:, 1].max()
    roundoff = ROUNDOFF_UNITS * np.finfo(u.x.array.dtype).eps * size
    square, slopes = every[:, 2].sum(), every[:, 3].sum()
    return ExactCertificate(
        bool(sup <= EXACT_FACTOR * roundoff),
        float(max(sup - roundoff, 0.0)),
        float(sup + roundoff),
        float(np.sqrt(square)),
        float(np.sqrt(square + slopes)),
    )


def _errors(found: Refinement, u: fem.Function) -> list[float]:
    """Sup |e|, the largest value, ∫ e² and ∫ |∇e|² on this rank."""
    V = found.V
    numbers = real_parts(u.x.array.reshape(-1, V.dofmap.index_map_bs)).T.astype(np.float64)
    nodal = numbers[:, V.dofmap.list[found.cells].T]  # (k, dofs, m)

    def error(weights: npt.NDArray) -> npt.NDArray:
        value, at = found.at(weights)
        return value - np.einsum("kim,im->km", nodal, found.basis(at))

    eye = np.eye(found.points.shape[1])
    corners = np.stack([error(weights) for weights in eye], axis=1)
    if degree_of(V) == 1:
        sup = np.abs(corners).max(initial=0)
    else:
        pairs = [(a, b) for a in range(len(eye)) for b in range(a + 1, len(eye))]
        surpluses = np.stack(
            [error((eye[a] + eye[b]) / 2) - (corners[:, a] + corners[:, b]) / 2 for a, b in pairs],
            axis=1,
        )
        low, high = extremes_on_simplices(corners, surpluses)
        sup = max(np.abs(low).max(initial=0), np.abs(high).max(initial=0))
    square = slopes = 0.0
    for weights, share in found.rule:
        value, at = found.at(weights)
        e = value - np.einsum("kim,im->km", nodal, found.basis(at))
        g = found.slopes - np.einsum("kim,idm->kdm", nodal, found.basis_slopes(at))
        square += share * float(((e * e).sum(axis=0) * found.volumes).sum())
        slopes += share * float(((g * g).sum(axis=(0, 1)) * found.volumes).sum())
    size = max(np.abs(found.values).max(initial=0), np.abs(numbers).max(initial=0))
    return [float(sup), float(size), square, slopes]


def project(network: Any, V: fem.FunctionSpace, *, max_regions: int = MOST_REGIONS) -> fem.Function:
    """The function in V nearest to a network in L², with an exact right-hand side. Collective.

    The mass matrix is dolfinx's; ∫ network · φ is summed over the linear regions of the network in
    each cell, on which it is a polynomial. Solved by conjugate gradients, to roundoff.

    Args:
        network: As for `linear_regions`, the same on every rank.
        V: A scalar or blocked P1 or P2 space on intervals or triangles.
        max_regions: As for `linear_regions`, on each rank.

    Raises:
        UnsupportedFunctionError: V is of another element or on other cells.
        ValueError: As for `linear_regions`; or the network has another number of outputs than V.
        TypeError: As for `linear_regions`, or V is no function space.
        ImportError: petsc4py is not installed.

    Examples:
        >>> from mpi4py import MPI
        >>> from dolfinx import fem, mesh
        >>> import numpy as np, fe_relu
        >>> V = fem.functionspace(mesh.create_unit_square(MPI.COMM_WORLD, 4, 4), ("P", 1))
        >>> line = fe_relu.ReLUNetwork((fe_relu.Affine([[1, 2]], [3]),))
        >>> u = fe_relu.project(line, V)
        >>> bool(abs(u.x.array - line(V.tabulate_dof_coordinates().T)).max() < 1e-10)
        True
    """
    import ufl
    from dolfinx import fem

    require_space(V)
    network = whole_of(network)
    with together(V.mesh.comm) as terms:
        require_nodal(V)
        require_straight(V.mesh)
        require_outputs(network, V)
        most = checked_integer("max_regions", max_regions, 1)
        terms.alike("elements", V.ufl_element())
        terms.alike("kinds of network", type(network).__name__)
        found = Refinement.of(network, V, most)
        parts = (slice(None, None, 2), slice(1, None, 2)) if is_complex(network) else (slice(None),)
        loads = [_load(replace(found, values=found.values[part])) for part in parts]
    v, w = ufl.TestFunction(V), ufl.TrialFunction(V)
    mass = fem.form(ufl.inner(w, v) * ufl.dx)
    solutions = [compat.solved(mass, V, load) for load in loads]
    if len(solutions) == 1:
        return solutions[0]
    u = fem.Function(V, dtype=function_type(V, network))
    u.x.array.real, u.x.array.imag = (solution.x.array for solution in solutions)
    return u


def _load(found: Refinement) -> npt.NDArray[np.float64]:
    """∫ network · φ over this rank's cells, for each local dof and component, flat."""
    V = found.V
    blocks = V.dofmap.index_map_bs
    rows = V.dofmap.list[found.cells].T
    total = np.zeros((V.dofmap.index_map.size_local + V.dofmap.index_map.num_ghosts, blocks))
    for weights, share in found.rule:
        value, at = found.at(weights)
        part = found.basis(at) * (share * found.volumes)
        for k in range(blocks):
            np.add.at(total[:, k], rows, part * value[k])
    return total.ravel()
