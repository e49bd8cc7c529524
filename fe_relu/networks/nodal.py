# SPDX-License-Identifier: MIT
"""A mesh, values and a layout are a network: what P1 and P2 share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property, singledispatch
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from fe_relu.basics.points import real_points, require_finite
from fe_relu.meshes.mesh import Mesh
from fe_relu.networks.on_mesh import OnMesh
from fe_relu.networks.plan import Plan
from fe_relu.parallel.layouts import Alone, Layout, checked_root
from fe_relu.parallel.routing import Inquiry, Visit

if TYPE_CHECKING:
    from fe_relu.layers.network import ReLUNetwork

Outside = Literal["extend", "nan", "raise"]


@dataclass(frozen=True, eq=False)
class NodalNetwork(OnMesh):
    """A function with nodal values on a mesh, evaluated by its active neurons.

    Outside the mesh it goes on as the explicit network does: on a structured mesh down to zero on a
    ring of one cell, then exactly zero.

    Args:
        mesh: The mesh, such as a `Grid`.
        values: Nodal values in the vertex order of `node_mesh`, shape (n,) for a scalar network,
            (k, n) for one with k ≥ 1 outputs; float32 or float64. Of a mesh that is spread, those
            of this rank's part only, in its order.
        layout: Where values live: `Alone()`, `Replicated(comm)` or `Spread(comm, division)` of
            `fe_relu.parallel.layouts`.
        is_complex: Whether outputs are the real and the imaginary part of each component of a
            complex function, one pair after the other.

    Raises:
        ValueError: values have another shape or are not finite.
        TypeError: values are not float32 or float64.
    """

    mesh: Mesh
    values: npt.NDArray
    layout: Layout = Alone()  # noqa: RUF009 (frozen)
    _: KW_ONLY
    is_complex: bool = False

    #: Degree of the finite element: the nodes are the vertices of the mesh refined by it.
    degree: ClassVar[int]

    #: Whether cells are intervals, triangles or tetrahedra.
    simplicial: ClassVar[bool] = True

    #: No slope is larger than this times max |nodal value|, per step of a structured mesh.
    steepness: ClassVar[float]

    other_forms = ("explicit",)
    coefficients_in = "values"

    def __post_init__(self) -> None:
        if self.mesh.is_simplicial != self.simplicial:
            raise TypeError(
                f"a {type(self.mesh).__name__} carries no {type(self).__name__}; a function of "
                f"degree 1 on it is a {'P1' if self.mesh.is_simplicial else 'Q1'}Network"
            )
        count = self.part.refined(self.degree).num_vertices
        object.__setattr__(self, "values", checked_values(self.values, count, "nodal values"))
        if self.is_complex and (self.values.ndim != 2 or len(self.values) % 2):
            raise ValueError(
                f"values of shape {self.values.shape} are no pairs of real and imaginary parts"
            )

    @cached_property
    def part(self) -> Any:
        """The cells whose nodal values this rank holds."""
        return self.layout.part(self.mesh)

    @cached_property
    def node_mesh(self) -> Mesh:
        """The mesh whose vertices, in its order, are the nodes."""
        return self.mesh.refined(self.degree)

    @property
    def error_bound(self) -> float:
        """Sup over the mesh of |network − the finite-element function with these values|."""
        return 0.0

    @cached_property
    def size(self) -> float:
        """Max |nodal value|. Collective if the values are spread."""
        return self.layout.largest(float(np.abs(self.values).max(initial=0)))

    @cached_property
    def table(self) -> Any:
        """The nodal values of the part as evaluation reads them."""
        raise NotImplementedError

    def explicit(self) -> ReLUNetwork:
        """The same function as affine layers with a ReLU after all but the last."""
        raise NotImplementedError

    def __call__(self, x: npt.ArrayLike, *, outside: Outside = "extend") -> npt.NDArray:
        """Values at the columns of x. Collective over `comm`.

        Each rank passes its own points, any number, also none, anywhere, and gets their values in
        its order, the same bits on any number of ranks and in any layout.

        Args:
            x: Coordinates, shape (dim, n) or (3, n); further rows are ignored.
            outside: What holds outside the mesh: "extend" is what the explicit network does,
                "nan" gives NaN, "raise" raises. Points within `Grid.resolution` are inside.

        Returns:
            Shape (n,) if there is one output, else (k, n); of the wider dtype of the values and of
            this rank's points.

        Raises:
            ValueError: x has another shape, a NaN or infinite coordinate, or (outside="raise") a
                point outside; on every rank, naming the first such rank.
            TypeError: x does not hold real numbers.

        Examples:
            >>> import numpy as np, fe_relu
            >>> grid = fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right")
            >>> network = fe_relu.P1Network(grid, np.arange(9.0))
            >>> network([[0.5, 2.0], [0.0, 1.5]])
            array([0.5, 6.5])
        """
        values = answers(self, table_values, x, outside)
        return values[0] if self.dim_out == 1 else values

    def gradient(self, x: npt.ArrayLike, *, outside: Outside = "extend") -> npt.NDArray:
        """The gradient at the columns of x, constant on each cell. Collective, see `__call__`.

        On edges and vertices, where the network has a kink, it is the gradient of one cell that
        meets there: the one whose value evaluation takes, always the same for the same coordinates.
        Outside the mesh it is that of the ring of one cell, then zero.

        Args:
            x: Coordinates, as for `__call__`.
            outside: As for `__call__`.

        Returns:
            Shape (dim, n) if there is one output, else (k, dim, n), per unit of the coordinates.

        Raises:
            ValueError: As for `__call__`.
            TypeError: As for `__call__`.

        Examples:
            >>> import numpy as np, fe_relu
            >>> grid = fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right")
            >>> fe_relu.P1Network(grid, np.arange(9.0)).gradient([[0.5], [0.2]])
            array([[1.],
                   [3.]])
        """
        slopes = answers(self, table_gradient, x, outside)
        return slopes[0] if self.dim_out == 1 else slopes

    def plan(self, x: npt.ArrayLike, *, outside: Outside = "extend") -> Plan:
        """Evaluation at the same points again and again: routing and location done once.

        Collective. `plan(network)` gives the values of any network on this mesh, in this layout and
        of this dtype: every step of a time series, for example.

        Args:
            x: Coordinates, as for `__call__`.
            outside: As for `__call__`.

        Raises:
            ValueError: As for `__call__`.
            TypeError: As for `__call__`.

        Examples:
            >>> import numpy as np, fe_relu
            >>> grid = fe_relu.Grid((0, 0), np.eye(2), (1, 1), "right")
            >>> steps = [fe_relu.P1Network(grid, t * np.ones(4)) for t in (1.0, 2.0)]
            >>> plan = steps[0].plan([[0.5], [0.25]])
            >>> [float(plan(network)[0]) for network in steps]
            [1.0, 2.0]
        """
        visit, masked = asked(self, located, x, outside)
        return Plan(self.mesh, self.layout, self.dtype, visit, masked)

    def nodal_values(self, nodes: npt.NDArray[np.int64]) -> npt.NDArray:
        """Nodal values at any vertices of `node_mesh`, shape (k, n). Collective."""
        with self.layout.together() as terms:
            terms.all_alike(facts_of(self))
        return self.layout.refined(self.degree).fetch(np.atleast_2d(self.values), nodes)

    @overload
    def gather(self, root: None = None) -> Self: ...
    @overload
    def gather(self, root: int) -> Self | None: ...
    def gather(self, root: int | None = None) -> Self | None:
        """The whole network as one of this process alone. Collective.

        Args:
            root: The rank that wants it; None means every rank.

        Returns:
            A network with `comm` None; on other ranks than root, None.

        Raises:
            ValueError: There is no such rank.
            TypeError: root is no integer, or ranks pass different ones.
        """
        with self.layout.together() as terms:
            root = checked_root(root, self.layout)
            terms.alike("roots", root)
            terms.all_alike(facts_of(self))
        values = self.layout.refined(self.degree).gather(self.values, root)
        mesh, order = self.layout.gather_mesh(self.mesh, self.degree, root)
        if values is None:
            return None
        return replace(self, mesh=mesh, values=values[..., order], layout=Alone())

    def whole(self) -> Self:
        """The whole network as one of this process alone. Collective only if values are spread."""
        if self.layout == Alone():
            return self
        return self.gather() if self.layout.is_spread else replace(self, layout=Alone())


@singledispatch
def layout_of(network: Any) -> Layout:
    """Where a network's values live; layers, and any other callable, are of this process alone."""
    return Alone()


@layout_of.register
def _(network: NodalNetwork) -> Layout:
    return network.layout


@singledispatch
def is_complex(network: Any) -> bool:
    """Whether outputs are real and imaginary parts, see `NodalNetwork`."""
    return False


@is_complex.register
def _(network: NodalNetwork) -> bool:
    return network.is_complex


def output_names(network: Any) -> list[str]:
    """U; u0, u1, … of several components; each real and imaginary of a complex function."""
    parts = [" real", " imaginary"] if is_complex(network) else [""]
    count = network.dim_out // len(parts)
    components = ["u"] if count == 1 else [f"u{k}" for k in range(count)]
    return [f"{name}{part}" for name in components for part in parts]


@singledispatch
def mesh_of(network: Any) -> Mesh | None:
    """The mesh that a network is on, if it is on one."""
    return None


@mesh_of.register
def _(network: NodalNetwork) -> Mesh:
    return network.mesh


@singledispatch
def whole_of(network: Any, root: int | None = None) -> Any:
    """The whole network, of this process alone; on other ranks than root, if given, None.

    Collective if the network has a communicator and root is given, or if its values are spread.
    """
    return network


@whole_of.register
def _(network: NodalNetwork, root: int | None = None) -> NodalNetwork | None:
    if network.layout == Alone():
        return network
    return network.whole() if root is None else network.gather(root)


def table_values(table: Any, x: npt.NDArray, dtype: npt.DTypeLike) -> Any:
    return table.values(x, dtype)


def table_gradient(table: Any, x: npt.NDArray, dtype: npt.DTypeLike) -> Any:
    return table.gradient(x, dtype)


def located(table: Any, x: npt.NDArray, dtype: npt.DTypeLike) -> Any:
    return table.locate(x, dtype)


def answers(
    network: Any, ask: Callable[..., Any], x: npt.ArrayLike, outside: Outside
) -> npt.NDArray:
    """What the points ask of a network's tables, shape (k, …, n). Collective over its `comm`."""
    visit, masked = asked(network, ask, x, outside)
    found = visit.numbers()
    for mask in masked:
        found[..., mask] = np.nan
    return found


def asked(
    network: Any, ask: Callable[..., Any], x: npt.ArrayLike, outside: Outside
) -> tuple[Visit, list[npt.NDArray[np.bool_]]]:
    """Points brought to the tables that answer them, and the mask of those to be NaN, if any."""
    masked = _spread_mask(network, x, outside) if network.mesh.is_partial else []

    def points() -> npt.NDArray:
        coordinates = real_points(x, network.dim_in)
        if not network.mesh.is_partial:
            masked.extend(outside_mask(network.mesh, coordinates, outside))
        return coordinates

    facts = {"calls": ask.__name__} | facts_of(network)
    inquiry = Inquiry(points, lambda x, dtype: ask(network.table, x, dtype), network.dtype, facts)
    return network.layout.visit(inquiry), masked


def _spread_mask(network: Any, x: npt.ArrayLike, outside: Outside) -> list[npt.NDArray[np.bool_]]:
    """`outside_mask`, of a mesh of which each rank has a share. Collective."""
    with network.layout.together() as terms:
        terms.alike("words for outside", _checked_outside(outside))
    if outside == "extend":
        return []

    def points() -> npt.NDArray:
        coordinates = real_points(x, network.dim_in)
        require_finite(coordinates)
        return coordinates

    def inside(x: npt.NDArray, dtype: np.dtype) -> Any:
        return network.part.inside(x, network.mesh.extent.roundoff(np.result_type(x, np.float32)))

    facts = {"calls": "inside"} | facts_of(network)
    masked = ~network.layout.visit(Inquiry(points, inside, network.dtype, facts)).numbers()[0]
    with network.layout.together():
        _require_inside(masked, points(), outside)
    return [masked]


def facts_of(network: Any) -> dict[str, object]:
    """What ranks that hold a network together must have in common, by its name in the plural."""
    return {
        "kinds of network": type(network).__name__,
        "layouts": type(network.layout).__name__,
        "numbers of outputs": network.dim_out,
        "words for complex": is_complex(network),
        "types of values": network.dtype,
    }


def checked_values(given: npt.ArrayLike, count: int, what: str) -> npt.NDArray:
    """A read-only copy of numbers (n,) or (k, n), n the count.

    Raises:
        ValueError: They have another shape or are not finite.
        TypeError: They are not float32 or float64, or masked.
    """
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(f"{what} are a masked array; filled(…) makes one of numbers only")
    values = np.array(given)
    if values.dtype not in (np.float32, np.float64):
        raise TypeError(f"{what} must be float32 or float64, not {values.dtype}")
    if values.ndim not in (1, 2) or values.shape[-1] != count or values.shape == (0, count):
        raise ValueError(f"{what} must have shape ({count},) or (k, {count}), not {values.shape}")
    if not np.isfinite(values).all():
        bad = np.count_nonzero(~np.isfinite(values))
        raise ValueError(f"{bad} of {values.size} {what} are NaN or infinite")
    values.flags.writeable = False
    return values


def outside_mask(mesh: Mesh, x: npt.NDArray, outside: Outside) -> list[npt.NDArray[np.bool_]]:
    """The mask of points to be NaN, if any are to be.

    Raises:
        ValueError: A point is outside, and outside is "raise"; or outside is another word.
    """
    if _checked_outside(outside) == "extend":
        return []
    require_finite(x)
    masked = ~mesh.contains(x)
    _require_inside(masked, x, outside)
    return [masked]


def _checked_outside(outside: Outside) -> Outside:
    if outside not in ("extend", "nan", "raise"):
        raise ValueError(f'outside must be "extend", "nan" or "raise", not {outside!r}')
    return outside


def _require_inside(masked: npt.NDArray[np.bool_], x: npt.NDArray, outside: Outside) -> None:
    if outside == "raise" and masked.any():
        first = int(np.flatnonzero(masked)[0])
        point = ", ".join(str(number) for number in x[:, first])
        raise ValueError(
            f"{np.count_nonzero(masked)} of {masked.size} points are outside the mesh, the first "
            f'at index {first}: ({point}); outside="extend" or "nan" allows them'
        )
