# SPDX-License-Identifier: MIT
"""dolfinx functions become networks: a space is located once, then each function is a copy away."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.arguments import checked_levels
from fe_relu.basics.compiled import compiled
from fe_relu.fenicsx import compat
from fe_relu.fenicsx.meshes import LocatedMesh, located_mesh, mark_of, require_unmoved
from fe_relu.fenicsx.spaces import (
    degree_of,
    ends_of_dofs,
    real_parts,
    require_nodal,
    require_real,
    require_space,
    space_of,
)
from fe_relu.hierarchy.basis import HierarchicalNetwork
from fe_relu.hierarchy.transform import hierarchical_from_network
from fe_relu.meshes.kinds import divided, divisions
from fe_relu.meshes.recognition.recognise import TOLERANCE
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import MAX_LEVELS, P2Network
from fe_relu.networks.q1 import LINEAR, Q1Network
from fe_relu.parallel.agreement import gather_columns, gathered, together
from fe_relu.parallel.layouts import checked_layout, is_spread, spread_on
from fe_relu.parallel.redistribute import Redistribution, aligned

if TYPE_CHECKING:
    from dolfinx import fem


@dataclass(frozen=True, eq=False)
class Conversion:
    """A function space located once; `conversion(u)` is then the network of each u in it.

    For time series: mesh, layout and routes are found when the conversion is made, collectively,
    and a network costs the copy of its values.

    Args:
        V: A scalar or blocked P1 or P2 space on straight intervals, triangles or tetrahedra.
        layout: Where the nodal values live. "replicated": all on every rank, so that no point
            travels. "blocks": each rank has a block of the grid, or of any other mesh the
            cells that dolfinx gave it, and points travel to the ranks that have them. "auto":
            replicated up to `REPLICATED_VALUES` numbers, else blocks.
        levels: Of the deep network of a P2 function, see `P2Network`; 10 by default.
        rtol: As for `grid_from_mesh`.
        structured: Whether a structured mesh becomes a `Grid`, which is smaller and faster; False
            makes a `SimplexMesh` of any.

    Attributes:
        mesh: The mesh of the networks.
        layout: Their layout, no longer a word.

    Raises:
        UnsupportedFunctionError: V is of another element, on other cells, or a part of a mixed
            space.
        ValueError: Cells overlap, have no volume, or are slit apart; layout is another word, or one
            that the mesh cannot have; or levels is out of range or given for P1.
        TypeError: V is no function space, levels no integer, or ranks pass different options.

    Examples:
        >>> from mpi4py import MPI
        >>> from dolfinx import fem, mesh
        >>> import fe_relu
        >>> V = fem.functionspace(mesh.create_unit_square(MPI.COMM_WORLD, 4, 4), ("P", 1))
        >>> conversion, u = fe_relu.Conversion(V), fem.Function(V)
        >>> for t in (1.0, 2.0):
        ...     u.x.array[:] = t  # or one more time step
        ...     print(conversion(u)([[0.3], [0.6]]))
        [1.]
        [2.]
    """

    V: fem.FunctionSpace
    _: KW_ONLY
    layout: Any = "auto"
    levels: int | None = None
    rtol: float = TOLERANCE
    structured: bool = True
    located: LocatedMesh = field(init=False, repr=False)
    mark: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        V = self.V
        require_space(V)
        with together(V.mesh.comm) as terms:
            require_nodal(V)
            terms.alike("layouts", checked_layout(self.layout))
            terms.alike("elements", V.ufl_element())
            terms.alike("levels", self._checked_levels())
            terms.alike("tolerances", self.rtol)
            terms.alike("words for structured", bool(self.structured))
        numbers = V.dofmap.index_map.size_global * V.dofmap.index_map_bs
        located = located_mesh(
            V.mesh,
            self.rtol,
            structured=self.structured,
            spread=self._degree * is_spread(V.mesh.comm, self.layout, numbers),
        )
        object.__setattr__(self, "located", located)
        word = self.layout
        if not located.mesh.is_simplicial:
            with together(V.mesh.comm):
                word = divided(located.mesh, word)
        layout = spread_on(V.mesh.comm, word, numbers, self._division)
        object.__setattr__(self, "layout", layout)
        object.__setattr__(self, "mark", mark_of(V.mesh))

    def _checked_levels(self) -> int | None:
        if self._degree == 2:
            levels = P2Network.levels if self.levels is None else self.levels
            return checked_levels(levels, 1, MAX_LEVELS)
        if self.levels is not None:
            raise ValueError("levels are for P2 functions; a P1 function is a network exactly")
        return None

    def _division(self, comm: Any) -> Any:
        if self.located.division:
            return self.located.division
        mesh, place = self.V.mesh, self.located.vertex_of_node
        owned = place[: mesh.geometry.index_map().size_local]
        blocks = aligned(comm, divisions(self.mesh, comm.size), owned)
        own_cells = compat.geometry_dofmap(mesh)[: mesh.topology.index_map(2).size_local]
        return blocks.widened(gathered(comm, blocks.extent(place[own_cells.ravel()])))

    @property
    def mesh(self) -> Any:
        return self.located.mesh

    @cached_property
    def _degree(self) -> int:
        return degree_of(self.V)

    def __call__(self, u: fem.Function) -> P1Network | Q1Network | P2Network:
        """The network that equals u if it is P1, or is near u if it is P2. Collective.

        It holds a copy of the nodal values, bit for bit. Only owned values are read; ghosts need no
        update.

        Args:
            u: A function in V.

        Raises:
            ValueError: u is of another space, a nodal value is NaN or infinite, or the mesh has
                moved since it was located; on every rank.
            TypeError: u is no dolfinx Function.
        """
        with together(self.V.mesh.comm) as terms:
            if space_of(u) != self.V:
                raise ValueError(
                    "the function is of another space than the conversion; "
                    "Conversion(u.function_space) makes one for it"
                )
            require_unmoved(self.V.mesh, self.mark)
            terms.alike("types of values", u.x.array.dtype)
        values = self._moved(u)
        with together(self.V.mesh.comm):
            is_complex = np.iscomplexobj(u.x.array)
            if self._degree == 1:
                return LINEAR[self.mesh.is_simplicial](
                    self.mesh, values, self.layout, is_complex=is_complex
                )
            levels = self._checked_levels()
            assert levels is not None
            return P2Network(self.mesh, values, self.layout, levels=levels, is_complex=is_complex)

    def _moved(self, u: fem.Function) -> Any:
        """Nodal values of this rank's part, as an array (n,) or (k, n) is made of them."""
        bs = self.V.dofmap.index_map_bs
        own = u.x.array[: bs * self.V.dofmap.index_map.size_local]
        owned = real_parts(own.reshape(-1, bs)).T
        lead = self.V.value_shape or ((2,) if np.iscomplexobj(own) else ())
        if self.layout.is_spread:
            values = self._redistribution.values(owned)
            return values if lead else values[0]
        return Placed(gather_columns(self.V.mesh.comm, owned), self._order, lead)

    @cached_property
    def _redistribution(self) -> Redistribution:
        division = self.layout.refined(self._degree).division
        return Redistribution.of(self.V.mesh.comm, division, self._owned_nodes)

    @cached_property
    def _order(self) -> npt.NDArray[np.int32]:
        """For each node of the mesh, its position among the owned dofs of all ranks."""
        nodes = gather_columns(self.V.mesh.comm, self._owned_nodes[None])[0]
        order = np.empty(nodes.size, np.int32 if nodes.size < 1 << 31 else np.int64)
        order[nodes] = np.arange(nodes.size)
        return order

    @property
    def _owned_nodes(self) -> npt.NDArray[np.int64]:
        return node_of_dof(self.V, self.located, slice(self.V.dofmap.index_map.size_local))


@dataclass(frozen=True, eq=False)
class Placed:
    """The columns numbers[:, order] as whoever makes an array of them gets them: written once.

    Args:
        numbers: Shape (k, n).
        order: Shape (m,).
        lead: The array has shape (k, m), or (m,) if this is ().
    """

    numbers: npt.NDArray
    order: npt.NDArray[np.int32]
    lead: tuple[int, ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray:
        placed = np.empty((len(self.numbers), self.order.size), dtype or self.numbers.dtype)
        _place(self.numbers.T.reshape(-1), self.order, placed)
        return placed if self.lead else placed[0]


@compiled
def _place(columns: Any, order: Any, placed: Any) -> None:
    """Columns, the numbers of each together, in their order."""
    rows = len(placed)
    for row in range(rows):
        for k in range(order.size):
            placed[row, k] = columns[rows * order[k] + row]


def node_of_dof(
    V: fem.FunctionSpace, located: LocatedMesh, dofs: Any = slice(None)
) -> npt.NDArray[np.int64]:
    """The node of each local (blocked) dof, or of some, as a vertex of the refined mesh."""
    a, b = located.vertex_of_node[ends_of_dofs(V)[:, dofs]]
    return a if degree_of(V) == 1 else located.mesh.midpoints(a, b)


def network_from_function(u: fem.Function, **options: Any) -> P1Network | Q1Network | P2Network:
    """The ReLU network that equals a P1 function, or is near a P2 function. Collective.

    A P1 function is a network with two hidden layers. A P2 function becomes a deep one, near it up
    to `P2Network.error_bound`, which falls fourfold with every level. A scalar function gives a
    network with one output, a blocked one with k outputs over shared hidden layers. The network
    holds a copy of the nodal values, bit for bit.

    This is `Conversion(u.function_space, **options)(u)`: for a time series, keep the conversion.

    Args:
        u: Scalar or blocked P1 or P2 function on straight intervals, triangles or tetrahedra, real
            or complex: then each component gives two outputs, the real and the imaginary part.
        options: layout, levels, rtol and structured, as for `Conversion`.

    Raises:
        UnsupportedFunctionError: u is of another element, on other cells, or a part of a mixed
            space.
        ValueError: A nodal value is NaN or infinite, or as for `Conversion`.
        TypeError: u is no dolfinx Function, or as for `Conversion`.

    Examples:
        >>> from mpi4py import MPI
        >>> from dolfinx import fem, mesh
        >>> import fe_relu
        >>> V = fem.functionspace(mesh.create_unit_square(MPI.COMM_WORLD, 4, 4), ("P", 1))
        >>> u = fem.Function(V)
        >>> u.interpolate(lambda x: x[0] + 2 * x[1])
        >>> fe_relu.network_from_function(u)([[0.5, 1.0], [0.25, 0.0]])
        array([1., 1.])
    """
    return Conversion(space_of(u), **options)(u)


def hierarchical_from_function(
    u: fem.Function, *, levels: int | None = None, **options: Any
) -> HierarchicalNetwork:
    """The P1 function u in the hierarchical basis of nested meshes. Collective.

    Args:
        u: As for `network_from_function`.
        levels: How often the coarsest mesh is halved to get u's. None: as often as possible.
        options: layout and rtol, as for `network_from_function`.

    Raises:
        ValueError: As for `network_from_function`, or the mesh is not one halved so often.
        TypeError: As for `network_from_function`, u is P2, or levels is no integer.

    Examples:
        >>> from mpi4py import MPI
        >>> from dolfinx import fem, mesh
        >>> import fe_relu
        >>> V = fem.functionspace(mesh.create_unit_square(MPI.COMM_WORLD, 8, 8), ("P", 1))
        >>> h = fe_relu.hierarchical_from_function(fem.Function(V))
        >>> h.levels, h.compress(tol=1e-3).num_kept
        (3, 0)
    """
    with together(space_of(u).mesh.comm):
        require_real(u)
    network: Any = network_from_function(u, **options)
    return hierarchical_from_network(network, levels=levels)
