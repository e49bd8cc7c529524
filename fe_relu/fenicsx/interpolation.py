# SPDX-License-Identifier: MIT
"""Networks become dolfinx functions: copied where the mesh is their own, else interpolated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.analysis.certificate import Bounds, Certificate, copied_bounds, difference
from fe_relu.analysis.piecewise import Triangles
from fe_relu.basics.refusals import wrong_kind
from fe_relu.fenicsx import compat
from fe_relu.fenicsx.conversion import node_of_dof
from fe_relu.fenicsx.meshes import LocatedMesh, located_mesh, mark_of, require_unmoved
from fe_relu.fenicsx.refinement import exact_certificate
from fe_relu.fenicsx.spaces import (
    Network,
    UnsupportedFunctionError,
    cell_dofs,
    degree_of,
    dof_coordinates,
    function_type,
    num_dofs,
    num_outputs,
    real_parts,
    require_nodal,
    require_outputs,
    require_space,
    require_straight,
    space_of,
)
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.network import PoolingNetwork
from fe_relu.meshes.quadrilaterals.mesh import halved
from fe_relu.meshes.recognition.recognise import (
    MOST_TOLERANCE,
    TOLERANCE,
    checked_tolerance,
)
from fe_relu.networks.nodal import NodalNetwork, Outside, layout_of, mesh_of
from fe_relu.networks.plan import Plan
from fe_relu.networks.pooled import nodal_network
from fe_relu.parallel.agreement import gathered, same_ranks, together
from fe_relu.parallel.routing import Inquiry

if TYPE_CHECKING:
    from mpi4py import MPI

    from dolfinx import fem


def function_from_network(
    network: Network,
    V: fem.FunctionSpace,
    *,
    rtol: float | None = None,
    outside: Outside = "extend",
    exact: bool = False,
) -> tuple[fem.Function, Certificate]:
    """The function in V with the network's values at the nodes, and how far it is off.

    Collective. If the network is of V's own grid and degree, nodal values are copied, bit for bit,
    whatever the partition; otherwise the network is evaluated at the nodes. The same holds of the
    layers of a Q1 function, `Q1Network.explicit()`, and of a P2 function, `P2Network.pooling()`.

    Args:
        network: A `P1Network`, a `P2Network`, a `Surrogate`, a `ReLUNetwork` (the same on every
            rank), or any callable that maps points (dim, n) to values (n,) or (k, n). Of a plain
            callable nothing can be proven: `Certificate.upper` is infinite.
        V: A scalar or blocked P1 or P2 space on intervals, triangles or tetrahedra, or Q1 space on
            quadrilaterals, of which nothing is proven unless it is the network's own.
        rtol: As for `grid_from_mesh`, to tell whether V is on the network's own grid; by default
            what accepts the mesh that the network came from.
        outside: What holds at nodes outside the network's mesh, as when it is called: "extend",
            "nan" or "raise"; of which networks without a mesh know the first only.
        exact: Whether the certificate is to be the difference itself, from the linear regions of
            the network in each cell, also in L² and H¹: an `ExactCertificate`. For networks with
            explicit layers, on intervals and triangles.

    Returns:
        The function, of the floating-point type of the mesh, or complex if the network is, and
        bounds of
        sup |network − function| over the mesh and all components.

    Raises:
        UnsupportedFunctionError: V is of another element or on other cells.
        TypeError: V is no function space, the network cannot be called, or ranks pass different
            kinds of network.
        ValueError: rtol is not in [0, 0.1], the network has another number of outputs than V, or
            it gives NaN.

    Examples:
        >>> from mpi4py import MPI
        >>> from dolfinx import fem, mesh
        >>> import fe_relu
        >>> V = fem.functionspace(mesh.create_unit_square(MPI.COMM_WORLD, 4, 4), ("P", 1))
        >>> u = fem.Function(V)
        >>> u.interpolate(lambda x: x[0] * x[1])
        >>> back, certificate = fe_relu.function_from_network(fe_relu.network_from_function(u), V)
        >>> bool((back.x.array == u.x.array).all()), certificate.exact
        (True, True)
    """
    from dolfinx import fem

    comm = _ranks_of(network, V)
    with together(comm) as terms:
        require_space(V)
        if not callable(network):
            raise wrong_kind(network, "callable", "to_p1", "compress")
        if rtol is not None:
            checked_tolerance(rtol)
        require_nodal(V)
        require_straight(V.mesh)
        require_outputs(network, V)
        own = layout_of(network)
        if not same_ranks(own.comm, V.mesh.comm):
            raise ValueError(
                "the network and V are on different ranks; network.gather() is of each rank alone"
            )
        terms.alike("kinds of network", type(network).__name__)
        terms.alike("layouts", type(own).__name__)
        terms.alike("elements", V.ufl_element())
        terms.alike("tolerances", rtol)
        terms.alike("words for outside", _checked_outside(network, outside))
        terms.alike("words for exact", bool(exact))
    copied = _copied(network, V, rtol)
    nodal, bounds = _interpolated(network, V, outside) if copied is None else copied
    u = fem.Function(V, dtype=function_type(V, network))
    real_parts(u.x.array.reshape(-1, V.dofmap.index_map_bs))[:] = nodal.T
    if exact:
        return u, exact_certificate(network, u)
    return u, _joined(V.mesh.comm, bounds).certificate()


def _ranks_of(network: Any, V: Any) -> MPI.Comm | None:
    """The communicator to agree on: V's, or where V is no space the network's.

    Raises:
        TypeError: V is no space, and the network has no communicator to tell the others with.
    """
    try:
        return V.mesh.comm
    except AttributeError:
        comm = layout_of(network).comm
        if not comm:
            require_space(V)
        return comm


@singledispatch
def _copied(
    network: Any, V: fem.FunctionSpace, rtol: float | None
) -> tuple[npt.NDArray, Bounds] | None:
    """Nodal values at the local dofs and bounds, if V is on the network's own mesh. Collective."""
    return None


@_copied.register(NodalNetwork)
def _(
    network: NodalNetwork, V: fem.FunctionSpace, rtol: float | None
) -> tuple[npt.NDArray, Bounds] | None:
    located = _located_on(network, V, rtol)
    if located is None:
        return None
    if located.division:
        nodal, mesh = network.nodal_values(_numbers_at(network, V)), located.mesh
        dofs = np.unique(cell_dofs(V))  # others may be of cells that are far from this rank's
    else:
        nodal, mesh = network.nodal_values(node_of_dof(V, located)), network.mesh
        dofs = np.arange(num_dofs(V))
    triangles, nodes = _triangles(V, nodal), node_of_dof(V, located, dofs)
    shifts = mesh.shifts(triangles.points[:, dofs], nodes, network.degree)
    return nodal, copied_bounds(network, triangles, nodal, float(shifts.max(initial=0)))


def _numbers_at(network: NodalNetwork, V: fem.FunctionSpace) -> npt.NDArray[np.int64]:
    """The numbers of a spread mesh's nodes at the local dofs, whoever holds them. Collective."""
    x = dof_coordinates(V, np.float64)

    def nearest(x: npt.NDArray, dtype: np.dtype) -> Any:
        return network.part.nearest_nodes(x, network.degree)

    return network.layout.visit(Inquiry(lambda: x, nearest, network.dtype)).numbers()[0]


@_copied.register(Surrogate)
def _(
    network: Surrogate, V: fem.FunctionSpace, rtol: float | None
) -> tuple[npt.NDArray, Bounds] | None:
    return None if _located_on(network, V, rtol) is None else _copied(network.to_p1(), V, rtol)


@_copied.register(PoolingNetwork)
def _(
    network: PoolingNetwork, V: fem.FunctionSpace, rtol: float | None
) -> tuple[npt.NDArray, Bounds] | None:
    """From the Q1 or P2 function on V's mesh that has these layers, if there is one."""
    tolerance = TOLERANCE if rtol is None else rtol
    for structured in (True, False):
        mesh = located_mesh(V.mesh, tolerance, structured=structured).mesh
        with together(V.mesh.comm) as terms:
            nodal = nodal_network(network, mesh, degree_of(V), tolerance)
            terms.alike("networks", nodal is None)
        if nodal is not None:
            return _copied(nodal, V, tolerance)
        if not mesh.is_structured:
            break
    return None


def _located_on(
    network: NodalNetwork | Surrogate, V: fem.FunctionSpace, rtol: float | None
) -> LocatedMesh | None:
    """V's mesh located, if it is the network's own and V of its degree."""
    if degree_of(V) != network.degree:
        return None
    own = network.mesh
    rtol = max(TOLERANCE, min(2 * own.slack, MOST_TOLERANCE)) if rtol is None else rtol
    if V.mesh.topology.dim != own.dim:
        return None
    located = located_mesh(
        V.mesh, rtol, structured=own.is_structured, spread=own.is_partial * network.degree
    )
    if located.mesh.is_structured != own.is_structured:
        return None
    same = located.mesh.matches(network.mesh, V.mesh.geometry.x.dtype, rtol=rtol)
    return located if same else None


def _checked_outside(network: Any, outside: Outside) -> Outside:
    if outside not in ("extend", "nan", "raise"):
        raise ValueError(f'outside must be "extend", "nan" or "raise", not {outside!r}')
    if outside != "extend" and mesh_of(network) is None:
        raise ValueError(f'outside="{outside}" is for networks with a mesh, which this one has not')
    return outside


def _interpolated(
    network: Any, V: fem.FunctionSpace, outside: Outside
) -> tuple[npt.NDArray, Bounds]:
    """The network's values at the local dofs, shape (k, n), in its own precision, and bounds."""
    x = dof_coordinates(V)
    options = {} if outside == "extend" else {"outside": outside}
    with together(V.mesh.comm):
        values = np.atleast_2d(_real_numbers(network(x, **options)))
        needed = (num_outputs(V, network), x.shape[1])
        if values.shape != needed:
            raise ValueError(
                f"the network returned values of shape {values.shape} for {x.shape[1]} points; "
                f"V needs {needed}"
            )
        if outside != "nan" and not np.isfinite(values).all():
            bad = np.count_nonzero(~np.isfinite(values))
            raise ValueError(f"the network returned NaN or infinity for {bad} nodal values")
    if not _is_simplicial(V):
        return values, Bounds(0.0, np.inf, False)
    return values, _bounds(network, V, values)


def _real_numbers(values: Any) -> npt.NDArray:
    """What a callable returned, if these are real numbers.

    Raises:
        TypeError: They are not, or masked.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiu" or isinstance(values, np.ma.MaskedArray):
        masked = "masked " if isinstance(values, np.ma.MaskedArray) else ""
        raise TypeError(
            f"the network returned {masked}values of type {array.dtype}, not real numbers; of "
            "complex ones, lambda x: network(x).real and .imag are two functions"
        )
    return array


def _is_simplicial(V: fem.FunctionSpace) -> bool:
    return V.mesh.topology.cell_type.name != "quadrilateral"


@singledispatch
def _bounds(network: Any, V: fem.FunctionSpace, values: npt.NDArray) -> Bounds:
    """Bounds of the difference on this rank's cells."""
    with together(V.mesh.comm):
        return difference(network, _triangles(V, values))


@_bounds.register(NodalNetwork)
@_bounds.register(Surrogate)
def _(network: Any, V: fem.FunctionSpace, values: npt.NDArray) -> Bounds:
    """Collective by itself: all ranks are asked for values on the way."""
    return difference(network, _triangles(V, values))


def _triangles(V: fem.FunctionSpace, nodal: npt.NDArray) -> Triangles:
    """The function in V with these values at the local dofs, on the owned cells.

    Of quadrilaterals, the P1 function on their halves that has its values at the vertices.
    """
    cells = cell_dofs(V).T
    if not _is_simplicial(V):
        cells = halved(cells)
    return Triangles.of(dof_coordinates(V), cells, nodal.astype(V.mesh.geometry.x.dtype))


def _joined(comm: Any, own: Bounds) -> Bounds:
    first, *rest = gathered(comm, own)
    for bounds in rest:
        first = first.join(bounds)
    return first


@dataclass(frozen=True, eq=False)
class InterpolationPlan:
    """Interpolation of networks into a space on any mesh, again and again: see its maker."""

    V: fem.FunctionSpace
    plan: Plan
    mark: int

    def __call__(self, network: NodalNetwork, u: fem.Function | None = None) -> fem.Function:
        """The interpolant of a network. Collective.

        Args:
            network: On the mesh and in the layout of the one that the plan was made for.
            u: The function in V to overwrite; a new one by default.

        Raises:
            ValueError: The network is on another mesh, in another layout or of another dtype; u is
                of another space; or V's mesh has moved since the plan was made.
        """
        from dolfinx import fem

        with together(self.V.mesh.comm):
            if u is not None and space_of(u) != self.V:
                raise ValueError("the function is of another space than the plan")
            if u is not None and np.iscomplexobj(u.x.array) != network.is_complex:
                raise ValueError(
                    "one of the network and the function is complex, the other is not; "
                    f"fem.Function(V, dtype=np.{np.dtype(function_type(self.V, network))}) is alike"
                )
            require_unmoved(self.V.mesh, self.mark)
        values = self.plan(network)
        u = fem.Function(self.V, dtype=function_type(self.V, network)) if u is None else u
        real_parts(u.x.array.reshape(-1, self.V.dofmap.index_map_bs))[:] = np.atleast_2d(values).T
        return u


def interpolation_plan(
    network: NodalNetwork, V: fem.FunctionSpace, *, outside: Outside = "extend"
) -> InterpolationPlan:
    """Interpolation into V of networks on one mesh, located and routed once. Collective.

    The meshes need not match, nor be partitioned alike; around the network's mesh its values fade
    to zero. For a single transfer, `u.interpolate(network)` does the same.

    Args:
        network: A P1 or P2 network.
        V: A scalar or blocked space of Lagrange elements of any degree, also discontinuous, on a
            mesh in the plane, on the same ranks as the network.
        outside: What holds at nodes outside the network's mesh: "extend", "nan" or "raise".

    Returns:
        A plan: `plan(network)` gives a new function in V, `plan(network, u)` overwrites u; for any
        network on the same mesh and in the same layout.

    Raises:
        UnsupportedFunctionError: V's functions are not given by values at points.
        ValueError: The network has another number of outputs than V.
        TypeError: The network is of another kind.

    Examples:
        >>> from mpi4py import MPI
        >>> from dolfinx import fem, mesh
        >>> import fe_relu
        >>> V = fem.functionspace(mesh.create_unit_square(MPI.COMM_WORLD, 4, 4), ("P", 1))
        >>> W = fem.functionspace(mesh.create_unit_square(MPI.COMM_WORLD, 3, 5), ("P", 2))
        >>> conversion, u = fe_relu.Conversion(V), fem.Function(V)
        >>> transfer = fe_relu.interpolation_plan(conversion(u), W)
        >>> u.x.array[:] = 3.0
        >>> w = transfer(conversion(u))
        >>> bool(abs(w.x.array - 3.0).max() < 1e-14)
        True
    """
    with together(_ranks_of(network, V)) as terms:
        require_space(V)
        if not isinstance(network, NodalNetwork):
            taken = "a P1Network or P2Network (u.interpolate takes any callable)"
            raise wrong_kind(network, taken, "to_p1")
        if not same_ranks(network.comm, V.mesh.comm):
            raise ValueError("the network and V are on different ranks")
        require_outputs(network, V)
        element = compat.basix_element(V)
        if (
            V.mesh.geometry.dim != network.dim_in
            or V.ufl_element().family_name != "P"
            or element is None
            or not element.interpolation_is_identity
            or V.component()
        ):
            raise UnsupportedFunctionError(
                f"{V.ufl_element()} is not supported; functions in V must be given by their values "
                f"at points in {network.dim_in}-D"
            )
        terms.alike("elements", V.ufl_element())
    plan = network.plan(V.tabulate_dof_coordinates().T, outside=outside)
    return InterpolationPlan(V, plan, mark_of(V.mesh))
