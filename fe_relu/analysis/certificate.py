# SPDX-License-Identifier: MIT
"""How far a network is from a function: proven bounds of sup |network − function|."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from fe_relu.analysis.lipschitz import reach, slopes, steepest, steepest_inside
from fe_relu.analysis.patches import Patch
from fe_relu.analysis.piecewise import NODAL_FACTOR, Triangles, samples_of
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.network import ReLUNetwork
from fe_relu.meshes.grid.grid import Grid, on_grid
from fe_relu.meshes.grid.overlay import overlay_points
from fe_relu.meshes.simplices.mesh import SimplexMesh
from fe_relu.meshes.simplices.overlay import largest_differences
from fe_relu.networks.nodal import NodalNetwork
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network
from fe_relu.parallel.agreement import largest

if TYPE_CHECKING:
    from mpi4py import MPI

#: What is P1, or nearly, on a grid and its ring.
OnGrid = NodalNetwork | Surrogate

#: `Certificate.exact` means that upper is within this factor of the running bound of roundoff.
EXACT_FACTOR = 32

#: What needs a grid.
CERTIFIED = "a certificate"

#: Cells looked at together; few and near each other, so that most neurons are dead on all of them.
CELLS_AT_ONCE = 256


@dataclass(frozen=True)
class Certificate:
    """Bounds of sup |network − function| over the function's mesh and all components.

    Attributes:
        exact: The difference is 0 up to roundoff: in each cell and component, the upper bound is at
            most `EXACT_FACTOR` times the accumulated roundoff of evaluation there, and lower is 0.
        lower: Some point has a difference of at least this.
        upper: No point has a larger difference, roundoff of both evaluations included. Infinite
            where nothing can be proven. Between P1 functions it meets `lower`, up to roundoff;
            except where cells reach beyond tetrahedra that are no box, where the network ends with
            a jump: there it is a bound by nodal values.

    Examples:
        >>> from mpi4py import MPI
        >>> from dolfinx import fem, mesh
        >>> import fe_relu
        >>> V = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, 2, 2), ("P", 1))
        >>> _, certificate = fe_relu.function_from_network(lambda x: x[0] ** 2, V)
        >>> certificate  # nothing is proven of a plain callable, but a difference of 1/16 is seen
        Certificate(exact=False, lower=0.0625, upper=inf)
    """

    exact: bool
    lower: float
    upper: float


@dataclass(frozen=True)
class Bounds:
    """What is found on some cells: bounds of the difference, and whether it is roundoff only."""

    lower: float = 0.0
    upper: float = 0.0
    exact: bool = True

    @staticmethod
    def of(lower: npt.ArrayLike, upper: npt.ArrayLike, roundoff: npt.ArrayLike) -> Bounds:
        """From bounds, and the roundoff that they include, of each cell and component.

        Where numbers have overflowed to NaN nothing is proven.
        """
        lowest = float(np.fmax.reduce(np.ravel(lower), initial=0.0))
        largest = float(np.max(upper, initial=0.0))
        small = np.asarray(upper) <= EXACT_FACTOR * np.asarray(roundoff)
        exact = bool(lowest == 0 and small.all() and np.isfinite(largest))
        return Bounds(lowest, np.inf if np.isnan(largest) else largest, exact)

    def join(self, other: Bounds) -> Bounds:
        return Bounds(
            max(self.lower, other.lower),
            max(self.upper, other.upper),
            self.exact and other.exact,
        )

    def certificate(self) -> Certificate:
        return Certificate(self.exact, self.lower, self.upper)


@singledispatch
def difference(network: Callable, triangles: Triangles) -> Bounds:
    """Bounds of sup |network − function| over the triangles; for a plain callable, from samples."""
    return Bounds.of(_seen(network, triangles), np.inf, 0.0)


def _seen(network: Callable, triangles: Triangles) -> npt.NDArray:
    """|network − function| at some points of each cell.

    One call: the network may be collective, and ranks have different numbers of cells.
    """
    samples = samples_of(len(triangles.corners))
    every = np.arange(triangles.corners.shape[1])
    cell, sample = (a.ravel() for a in np.meshgrid(every, np.arange(len(samples))))
    x, values = triangles.at(cell, samples[sample].T)
    return np.abs(network(x) - values)


@difference.register
def _(network: P1Network, triangles: Triangles) -> Bounds:
    """The difference of two P1 functions is P1 on the overlay of both meshes.

    Its sup is attained at a vertex of the overlay, and all of those are looked at. Only in cells
    that reach beyond tetrahedra that are no box, where the network jumps to 0, it is a bound.
    """
    if network.mesh.is_structured:
        return _on_overlay(network, network, on_grid(network.mesh, CERTIFIED), 1, triangles)
    return _on_cells(network, triangles)


def _on_cells(network: P1Network | P2Network, triangles: Triangles) -> Bounds:
    """From the P1 parts on the overlay of two meshes of simplices, and what each adds to its own.

    A point of the overlay is found up to roundoff of coordinates, times the slopes of both.
    """
    roundoff, seen = _roundoff(network, triangles), _seen(network, triangles)
    whole = network.whole()
    mesh, values = cast(SimplexMesh, whole.mesh), np.atleast_2d(whole.values).astype(float)
    points, corners = triangles.points.astype(float), triangles.corners
    nodal = triangles.values.astype(float)
    most = largest_differences(mesh, values, points, corners, nodal)
    dtype = _coarsest(network.dtype, triangles.points.dtype, triangles.values.dtype)
    slope = steepest_inside(mesh, values, 1) + slopes(points, corners, nodal)
    allowed, bumps = roundoff + mesh.roundoff(dtype, points) * slope, triangles.bumps()
    if network.degree == 2:
        bumps = bumps + whole.part.largest_bump(values) + network.error_bound
    lower = float(np.fmax.reduce(np.ravel(seen - roundoff), initial=0))
    if network.degree == 1 and triangles.surpluses is None:
        lower = max(lower, float((most - allowed).max(initial=0)))
    return Bounds.of(lower, most + bumps + allowed, allowed)


def _by_slopes(network: P1Network | P2Network, triangles: Triangles) -> Bounds:
    """Some points are looked at, and slopes bound what lies between."""
    roundoff = _roundoff(network, triangles)
    seen = _seen(network, triangles)
    whole = network.whole()
    steep = steepest(cast(SimplexMesh, whole.mesh), np.atleast_2d(whole.values), network.degree)
    corners, values = triangles.corners, triangles.values.astype(float)
    between = (steep + slopes(triangles.points, corners, values)) * reach(triangles.points, corners)
    upper = seen.max(initial=0) + between.max(initial=0) + triangles.bumps().max(initial=0)
    return Bounds.of(seen - roundoff, upper + roundoff, roundoff)


@difference.register
def _(network: Surrogate, triangles: Triangles) -> Bounds:
    """Likewise; the ring is as wide as a step of the coarsest mesh."""
    return _on_overlay(network, network, network.mesh, 1 << network.levels, triangles)


@difference.register
def _(network: P2Network, triangles: Triangles) -> Bounds:
    """The network with one level is P1 on a finer lattice; the others add little to it."""
    if not network.mesh.is_structured:
        one, other = _by_slopes(network, triangles), _on_cells(network, triangles)
        return replace(one, upper=min(one.upper, other.upper), exact=one.exact or other.exact)
    one_level, grid = replace(network, levels=1), on_grid(network.mesh, CERTIFIED)
    # Red refinement of a crossed cell has lines through the quarters of its sides.
    factor = 4 if grid.has_centres else 2
    bounds = _on_overlay(network, one_level, grid.refined(factor), factor, triangles)
    return replace(bounds, upper=bounds.upper + network.error_bound + one_level.error_bound)


def _on_overlay(
    network: OnGrid, linear: OnGrid, grid: Grid, ring: int, triangles: Triangles
) -> Bounds:
    """Bounds of sup |linear − function| from above, and of sup |network − function| from below.

    Args:
        network: What is to be bounded from below.
        linear: What is to be bounded from above; P1 between the lines of the grid.
        grid: The grid with those lines.
        ring: Its steps to the end of the ring.
        triangles: The function.
    """
    seen, most = np.zeros(1), np.zeros(1)
    # The network may be collective, so that every rank has to call it equally often.
    for cells in _padded(_tiles(triangles, 64 * CELLS_AT_ONCE), network.comm):
        corners = triangles.points[:, triangles.corners[:, cells]]
        cell, weights = overlay_points(grid, corners, ring)
        x, values = triangles.linear_at(cells[cell], weights)
        found = linear(x)
        most = np.maximum(most, np.abs(found - values).max(initial=0))
        _, values = triangles.at(cells[cell], weights)
        found = found if network is linear else network(x)
        seen = np.fmax(seen, np.fmax.reduce(np.abs(found - values), axis=None, initial=0.0))
    most = most + triangles.bumps().max(initial=0)
    roundoff = _roundoff(network, triangles)
    return Bounds.of(seen - roundoff, most + roundoff, roundoff)


def copied_bounds(
    network: NodalNetwork, triangles: Triangles, nodal: npt.NDArray, shift: float
) -> Bounds:
    """The bounds where the function has the network's nodal values, (k, n).

    Points may lie a little off the grid's nodes, by a shift at most, in steps. Then the function at
    a point is that of the grid at one shifted likewise.
    """
    rounding = np.abs(triangles.values - nodal).max(initial=0)
    between = NODAL_FACTOR[network.degree] * rounding
    shifted = network.steepness * shift * network.size
    roundoff = _roundoff(network, triangles)
    apart = max(rounding, network.error_bound - between)
    upper = network.error_bound + between + shifted + roundoff
    return Bounds.of(apart - shifted - roundoff, upper, roundoff)


def _roundoff(network: OnGrid, triangles: Triangles) -> float:
    """Roundoff of evaluating both the network and the function on the triangles."""
    dtype = _coarsest(network.dtype, triangles.points.dtype, triangles.values.dtype)
    resolution = network.mesh.resolution(dtype, triangles.points)
    return network.steepness / 2 * resolution * network.size


def _coarsest(*dtypes: np.dtype) -> np.dtype:
    return min(dtypes, key=lambda dtype: dtype.itemsize)


@difference.register
def _(network: ReLUNetwork, triangles: Triangles) -> Bounds:
    """Layer by layer, the deviation from affine inside each cell; of triangles only.

    A neuron that keeps its sign on a cell adds none. One that changes sign bends by at most
    p·q/(p + q), where p and −q are its largest and its smallest value at the corners; it bends
    downward from the interpolant, because a ReLU is convex.
    """
    if len(triangles.points) != 2:
        return Bounds.of(_seen(network, triangles), np.inf, 0.0)
    bounds = Bounds()
    eps = float(np.finfo(_coarsest(network.dtype, triangles.points.dtype)).eps)
    for cells in _tiles(triangles):
        state = Patch.of(triangles, cells, eps)
        for layer in network.layers[:-1]:
            state = state.relu_of(layer)
        found = state.through(network.layers[-1]).against(triangles, cells)
        bounds = bounds.join(Bounds.of(*found))
    return bounds


def _padded(tiles: Iterator[npt.NDArray], comm: MPI.Comm | None) -> list[npt.NDArray]:
    """The tiles, and empty ones after them, up to the number of the rank that has most."""
    own = list(tiles)
    return own + [np.empty(0, np.int64)] * (int(largest(comm, len(own))) - len(own))


def _tiles(triangles: Triangles, size: int = CELLS_AT_ONCE) -> Iterator[npt.NDArray]:
    """The cells in patches of about this many that lie together."""
    m = triangles.corners.shape[1]
    if m == 0:
        return
    centroids = triangles.points[:, triangles.corners].mean(axis=1)
    low, high = centroids.min(axis=1, keepdims=True), centroids.max(axis=1, keepdims=True)
    per_side = int(np.ceil(np.sqrt(m / size)))
    place = (centroids - low) / np.where(high > low, high - low, 1) * per_side
    column, row = np.minimum(place.astype(int), per_side - 1)
    order = np.lexsort((column, row))
    yield from np.array_split(order, int(np.ceil(m / size)))
