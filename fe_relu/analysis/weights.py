# SPDX-License-Identifier: MIT
"""Recognising P1 functions from raw weights: ReLUNetwork → P1Network.

The way of `p1_from_relu`:

1. Every second-layer neuron is brought to the form 1 − Σ relu(slope · x + offset). Positive factors
   drop out, because relu(c t) = c relu(t) for c > 0.
2. One neuron suggests the lattice: its slopes are small integer combinations of the dual basis.
   A star of three lines is that of three lattices, one of four lines that of two: crossed cells,
   or halved ones with steps to the cell centres.
3. In a lattice, slopes become the integers of `fe_relu.meshes.grid.hats.STARS`, and the lines of a
   neuron meet in its vertex. Of the lattices that fit, the one whose parallelogram around all
   vertices has fewest is the mesh; all vertices together fix origin and axes.
4. On that grid, every slope and offset must be what the diagonal's pattern says.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fe_relu.analysis.hat_lattices import (
    ALL_STARS,
    HatLattice,
    hat_lattices,
    rough_places,
    star_codes,
    vertices_of,
)
from fe_relu.analysis.neurons import Neurons, NotP1Error
from fe_relu.layers.network import ReLUNetwork
from fe_relu.meshes.grid.grid import DIAGONALS, Grid, on_grid
from fe_relu.meshes.grid.hats import STARS
from fe_relu.meshes.recognition.recognise import checked_tolerance, oriented_grid
from fe_relu.networks.p1 import P1Network

__all__ = ["NotP1Error", "p1_from_relu"]

#: More vertices than this for each neuron are not made up: almost all of them would be zeros.
VERTICES_PER_NEURON = 1000

#: Vertices at which the result is compared with the network in the end, and as many points between.
CHECKED_POINTS = 256


def p1_from_relu(network: ReLUNetwork, *, rtol: float = 1e-8) -> P1Network:
    """The P1 network that a ReLU network with two hidden layers is, from its weights alone.

    Neurons may come in any order, scaled by positive factors, doubled, split or dead. A vertex
    without a neuron has nodal value 0; the grid is the smallest whose vertices are those of all
    neurons, its axes labelled as by `grid_from_mesh`.

    Args:
        network: Two inputs, two hidden layers, any number of outputs; float32 or float64.
        rtol: Vertices may lie this fraction of a lattice step off the lattice, and slopes be off by
            this fraction, besides the roundoff of the weights.

    Returns:
        A network of this process alone. Nodal values are bit for bit the output weights where the
        second layer's biases are still 1 (a −0 comes back as 0), else off by a roundoff for each
        factor; origin and axes are those of the mesh up to `Grid.resolution`.

    Raises:
        NotP1Error: It is another network; the message says why.
        ValueError: rtol is not in [0, 0.1].
        TypeError: network is no `ReLUNetwork`.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2) / 4, (2, 2), "crossed")
        >>> layers = fe_relu.P1Network(grid, np.arange(1.0, 14.0)).explicit()
        >>> found = fe_relu.p1_from_relu(layers)
        >>> found.mesh.shape, found.mesh.diagonal, found.values[:3].tolist()
        ((2, 2), 'crossed', [1.0, 2.0, 3.0])
    """
    if not isinstance(network, ReLUNetwork):
        raise TypeError(f"expected a fe_relu.ReLUNetwork, not {type(network).__name__}")
    checked_tolerance(rtol)
    _require_two_hidden_layers(network)
    with np.errstate(all="ignore"):  # what is out of range is no lattice, and refused as such
        return _recognised(network, rtol)


def _recognised(network: ReLUNetwork, rtol: float) -> P1Network:
    neurons = Neurons.of(network)
    grid, stars, places = _fitted_grid(neurons)
    slack = _slack(neurons, grid, rtol)
    _require_hats(neurons, grid, stars, places, slack)
    values = np.zeros((network.dim_out, grid.num_vertices))
    np.add.at(values.T, _vertex_numbers(grid, places), neurons.values.T)
    values = values.astype(neurons.dtype)
    if not np.isfinite(values).all():
        raise NotP1Error("the hats fit a grid, but nodal values are out of range")
    found = P1Network(grid, values if len(values) > 1 else values[0])
    _require_same_values(found, network, slack)
    return found


def _require_two_hidden_layers(network: ReLUNetwork) -> None:
    if (network.dim_in, network.hidden_layers) != (2, 2):
        raise NotP1Error(
            f"the network has {network.dim_in} inputs and {network.hidden_layers} hidden layers; "
            "a P1 function on a plane mesh has 2 and 2"
        )
    if network.layers[2].bias.any():
        raise NotP1Error(
            f"the output biases are {network.layers[2].bias.tolist()}, so that the network is not "
            "0 far away; those of a P1 network are 0"
        )


def _fitted_grid(neurons: Neurons) -> tuple[Grid, npt.NDArray[np.int64], npt.NDArray]:
    """The smallest grid that holds all neurons' vertices, with their stars and places."""
    fits: list[tuple[int, int, HatLattice]] = []
    misfits = []
    for lattice in hat_lattices(neurons):
        stars, places, bad = rough_places(neurons, lattice)
        if bad.any():
            misfits.append((np.count_nonzero(bad), lattice, bad))
        else:
            fits.append((_grid_around(places, lattice).num_vertices, len(fits), lattice))
    if not fits:
        _, lattice, bad = min(misfits, key=lambda found: found[0])
        raise _no_hats(neurons, bad, lattice.axes)
    count, _, lattice = min(fits)
    if count > VERTICES_PER_NEURON * len(neurons.rows):
        raise NotP1Error(
            f"{len(neurons.rows)} hats are scattered over a grid of {count} vertices; "
            f"at most {VERTICES_PER_NEURON} vertices for each hat are taken for a mesh"
        )
    grid = _refined_grid(neurons, lattice)
    # Seen from the grid: what roundoff is left in its axes would count many times from afar.
    near = replace(neurons, offsets=neurons.offsets + neurons.slopes @ grid.origin)
    stars, places, bad = rough_places(near, HatLattice(grid.axes, grid.has_centres), True)
    if bad.any():
        raise _no_hats(neurons, bad, grid.axes)
    return _with_diagonal(neurons, grid, stars, places), stars, places


def _grid_around(places: npt.NDArray, lattice: HatLattice) -> Grid:
    """The smallest grid with these places, the one at its origin being (0, 0) of the lattice."""
    low = np.floor(places.min(axis=1))
    nx, ny = np.maximum(np.ceil(places.max(axis=1)) - low, 1).astype(np.int64)
    return Grid(low, np.eye(2), (nx, ny), "crossed" if lattice.crossed else "right")


def _refined_grid(neurons: Neurons, lattice: HatLattice) -> Grid:
    """The grid that all vertices together suggest, its axes in their usual order."""
    stars, places, _ = rough_places(neurons, lattice)
    _, codes, _ = star_codes(neurons, lattice.axes)
    around = _grid_around(places, lattice)
    vertices = vertices_of(neurons, codes, stars)
    middle = places.mean(axis=1, keepdims=True)
    start = vertices[:, :1] - places[:, :1]
    # What is left over for a shift and for changed axes; the least where vertices leave it open.
    design = np.vstack([np.ones(places.shape[1]), places - middle]).T
    rest, *_ = np.linalg.lstsq(design, (vertices - places - start).T, rcond=None)
    ends = around.corners
    corners = lattice.axes @ (start + rest[:1].T + ends + rest[1:].T @ (ends - middle))
    grid = oriented_grid(list(corners.T), around.shape, lattice.crossed)
    if grid is None:
        raise NotP1Error("the lattice of the hats is too flat or too large to be told from a line")
    return grid


def _with_diagonal(
    neurons: Neurons, grid: Grid, stars: npt.NDArray[np.int64], places: npt.NDArray
) -> Grid:
    """The grid with the diagonals whose pattern of stars is that of the neurons."""
    wrong = {}
    for diagonal in DIAGONALS:
        even, odd, centre = STARS[diagonal]
        if (centre is not None) != grid.has_centres:
            continue
        parity = np.floor(places).sum(axis=0) % 2
        numbers = [ALL_STARS.index(star) for star in (even, odd, centre or even)]
        expected = np.where(places[0] % 1 > 0, numbers[2], np.where(parity, numbers[1], numbers[0]))
        wrong[diagonal] = stars != expected
        if not wrong[diagonal].any():
            return replace(grid, diagonal=diagonal)
    diagonal = min(wrong, key=lambda name: np.count_nonzero(wrong[name]))
    bad = np.flatnonzero(wrong[diagonal])
    raise NotP1Error(
        f"the hats follow none of the patterns {', '.join(DIAGONALS)}: in {diagonal}, "
        f"{bad.size} of {stars.size} would be others, the first is neuron {neurons.rows[bad[0]]}"
    )


def _slack(neurons: Neurons, grid: Grid, rtol: float) -> float:
    """How far off, in lattice units, slopes and vertices may be."""
    skew = float((np.abs(grid.inverse) @ np.abs(grid.axes)).max())
    roundoff = neurons.noise * max(grid.shape) + grid.resolution(neurons.dtype)
    return rtol + 2 * skew * roundoff


def _require_hats(
    neurons: Neurons, grid: Grid, stars: npt.NDArray, places: npt.NDArray, slack: float
) -> None:
    """Every slope and every offset is that of the neuron's star at its place."""
    slopes = neurons.slopes @ grid.axes
    whole = np.rint(2 * slopes) / 2
    offsets = neurons.offsets + neurons.slopes @ grid.origin
    off = np.abs(slopes - whole).max(axis=(1, 2))
    off = np.maximum(off, np.abs(offsets + np.einsum("ntd,dn->nt", whole, places)).max(axis=1))
    bad = ~(off <= slack)
    if bad.any():
        raise _no_hats(neurons, bad, grid.axes, f" by {off.max():.1e} of a step")


def _vertex_numbers(grid: Grid, places: npt.NDArray) -> npt.NDArray[np.int64]:
    nx, ny = grid.shape
    i, j = np.floor(places).astype(np.int64)
    centre = (nx + 1) * (ny + 1) + j * nx + i
    return np.where(places[0] % 1 > 0, centre, j * (nx + 1) + i)


def _require_same_values(found: P1Network, network: ReLUNetwork, slack: float) -> None:
    """Both agree at some vertices and at points between, up to the slack."""
    grid = on_grid(found.mesh, "recognition")
    lattice = grid.lattice_positions()
    chosen = np.linspace(0, lattice.shape[1] - 1, CHECKED_POINTS).astype(np.int64)
    shifts = np.array([[1 / 2, 1 / 4, 1 / 3], [1 / 8, 1 / 2, 2 / 3]])
    within = lattice[:, chosen] + shifts[:, np.arange(CHECKED_POINTS) % 3]
    points = np.hstack([lattice[:, chosen], within])
    x = grid.origin[:, None] + grid.axes @ points
    apart = float(np.abs(found(x) - network(x)).max())
    size = float(np.abs(found.values).max())
    if not apart <= 64 * slack * size:
        raise NotP1Error(
            f"the hats fit a grid, but the network is {apart:.1e} off their sum, beyond the "
            f"roundoff of {64 * slack * size:.1e}"
        )


def _no_hats(
    neurons: Neurons, bad: npt.NDArray[np.bool_], axes: npt.NDArray, off: str = ""
) -> NotP1Error:
    steps = " x ".join(f"{h:g}" for h in np.linalg.norm(axes, axis=0))
    return NotP1Error(
        f"{np.count_nonzero(bad)} of {bad.size} second-layer neurons are no hats of the lattice "
        f"with steps {steps} that the others suggest{off}, the first is neuron "
        f"{neurons.rows[np.flatnonzero(bad)[0]]}"
    )
