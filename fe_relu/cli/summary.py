# SPDX-License-Identifier: MIT
"""What a network is, in a few lines of text; its neurons are counted without making layers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.analysis.neurons import NotP1Error
from fe_relu.analysis.weights import p1_from_relu
from fe_relu.cli.networks import Named
from fe_relu.cli.text import plain
from fe_relu.formats.kinds import layer_arrays
from fe_relu.hierarchy.basis import HierarchicalNetwork
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.bubbles import DeepNetwork
from fe_relu.layers.network import PoolingNetwork, ReLUNetwork
from fe_relu.meshes.grid.grid import Grid
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network
from fe_relu.networks.q1 import Q1Network
from fe_relu.regions.regions import linear_regions
from fe_relu.sizes.report import SizeReport, size_report

Row = tuple[str, str]

#: Where linear regions are counted, unless another box is given; and how many at most.
UNIT_BOX = [[0.0, 1.0], [0.0, 1.0]]
MOST_REGIONS = 1_000_000


class Described(NamedTuple):
    """What kind a network is, facts of that kind, and what is known of its size and values.

    Attributes:
        kind: In words.
        facts: As names and texts.
        nbytes: Of the arrays that it is made from.
        nodal: Nodal values, between which all values lie.
        bounds: What is known of the values otherwise.
    """

    kind: str
    facts: list[Row]
    nbytes: int | None = None
    nodal: npt.NDArray | None = None
    bounds: list[Row] = []


def summary(named: Named, box: list[list[float]] | None = None) -> list[Row]:
    """Kind, mesh, neurons, non-zeros, bounds and memory of a network, as names and texts.

    Of layers with one or two inputs, linear regions and exact bounds over a box.
    """
    network, found = named.network, described(named.network)
    rows = [("kind", found.kind), *found.facts, ("numbers", str(network.dtype))]
    rows.append(("inputs", str(network.dim_in)))
    rows.append(("outputs", f"{network.dim_out}: {', '.join(_outputs(named))}"))
    try:
        size = size_report(network)
    except ValueError as error:
        rows.append(("neurons", str(error)))
        return [*rows, ("memory", in_bytes(found.nbytes or 0))]
    rows.append(("neurons", f"{size.neurons} = {' + '.join(map(str, size.hidden))}"))
    rows.append(("non-zeros", str(size.nonzeros)))
    rows.append(("depth", _depth(size)))
    rows.append(("size", _numbers(size)))
    rows += found.bounds if found.nodal is None else _nodal_bounds(named, found.nodal)
    rows += _region_rows(network, named, box) if found.nodal is None else []
    sparse = size.numbers * (np.dtype(network.dtype).itemsize + 4)
    layers = f"as sparse layers about {in_bytes(sparse)}"
    used = "" if found.nbytes is None else f"{in_bytes(found.nbytes)}, "
    return [*rows, ("memory", used + layers)]


def aligned(rows: Sequence[Row]) -> str:
    """Names and texts in two columns, without what moves a terminal."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {plain(text)}" for name, text in rows)


def in_bytes(count: int) -> str:
    """A number of bytes in the largest unit that fits."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << power:
            return f"{count / (1 << power):.1f} {unit}"
    return f"{count} bytes"


def file_size(path: str) -> int:
    """Bytes of a file, or of all files in a folder."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())


# What it is


@singledispatch
def described(network: Any) -> Described:
    return Described(type(network).__name__, [])


@described.register
def _(network: P1Network) -> Described:
    values = network.values
    return Described("P1 function", _mesh_rows(network.mesh), values.nbytes, values)


@described.register
def _(network: Q1Network) -> Described:
    return Described("Q1 function", _mesh_rows(network.mesh), network.values.nbytes)


@described.register
def _(network: P2Network) -> Described:
    facts = [
        *_mesh_rows(network.mesh),
        ("levels", str(network.levels)),
        ("error", f"at most {network.error_bound:.6g} from the P2 function"),
    ]
    return Described("P2 function as a deep network", facts, network.values.nbytes)


@described.register
def _(network: HierarchicalNetwork) -> Described:
    facts = [*_mesh_rows(network.mesh), ("levels", f"{network.levels} above the coarsest mesh")]
    kind, nodal = "P1 function in the hierarchical basis", network.to_p1().values
    return Described(kind, facts, network.surpluses.nbytes, nodal)


@described.register
def _(network: Surrogate) -> Described:
    bounds = [("bounds", f"nowhere larger than {network.ceiling:.6g} in magnitude")]
    used = network.coefficients.nbytes + network.vertices.nbytes
    facts = [*_mesh_rows(network.mesh), *surrogate_rows(network)]
    return Described("surrogate of a P1 function", facts, used, bounds=bounds)


@described.register
def _(network: ReLUNetwork) -> Described:
    p1 = _recognised(network)
    if p1 is None:
        return Described("ReLU network", [])
    kind = "ReLU network, equal to a P1 function"
    return Described(kind, _mesh_rows(p1.mesh), nodal=p1.values)


@described.register
def _(network: PoolingNetwork) -> Described:
    arrays = [array for layer in network.layers for array in layer_arrays(layer).values()]
    size = sum(array.nbytes for array in arrays)
    return Described("ReLU network with pooling", [("pairs", f"{network.num_products}")], size)


@described.register
def _(network: DeepNetwork) -> Described:
    return Described("deep ReLU network", [("error", f"at most {network.error_bound:.6g}")])


@singledispatch
def _region_rows(network: Any, named: Named, box: list[list[float]] | None) -> list[Row]:
    return []


@_region_rows.register
def _(network: ReLUNetwork, named: Named, box: list[list[float]] | None) -> list[Row]:
    if network.dim_in > 2:
        return []
    domain = UNIT_BOX[: network.dim_in] if box is None else box
    try:
        regions = linear_regions(network, domain, max_regions=MOST_REGIONS)
    except ValueError as error:
        return [("regions", str(error))]
    where = " x ".join(f"[{low:g}, {high:g}]" for low, high in domain)
    count = ("regions", f"{regions.num_regions} linear ones in {where}")
    return [count, *_nodal_bounds(named, regions.values)]


def surrogate_rows(surrogate: Surrogate) -> list[Row]:
    """How much of a function a surrogate keeps, and how far it is off."""
    levels = " + ".join(str(count) for count in surrogate.kept)
    return [
        ("kept", f"{surrogate.num_kept} of {surrogate.mesh.num_vertices} coefficients = {levels}"),
        ("error", f"{surrogate.error:.6g}"),
        ("bound", f"{surrogate.bound:.6g}"),
        ("H1 error", f"{surrogate.h1_error:.6g}"),
    ]


@singledispatch
def _mesh_rows(mesh: Any) -> list[Row]:
    return [("mesh", f"{mesh.num_vertices} vertices")]


@_mesh_rows.register
def _(grid: Grid) -> list[Row]:
    nx, ny = grid.shape
    low, high = grid.corners.min(axis=1), grid.corners.max(axis=1)
    box = " x ".join(f"[{a:.6g}, {b:.6g}]" for a, b in zip(low, high, strict=True))
    straight = np.count_nonzero(grid.axes) == 2
    halves = f"{grid.diagonal}, " if grid.is_simplicial else ""
    return [
        ("grid", f"{nx} x {ny} cells, {halves}{grid.num_vertices} vertices"),
        ("domain", box if straight else f"a parallelogram in {box}"),
    ]


def _recognised(network: ReLUNetwork) -> P1Network | None:
    if (network.dim_in, network.hidden_layers) != (2, 2):
        return None
    try:
        return p1_from_relu(network)
    except NotP1Error:
        return None


def _outputs(named: Named) -> list[str]:
    if named.units is None:
        return named.labels
    return [f"{label} [{u}]" for label, u in zip(named.labels, named.units, strict=True)]


def _nodal_bounds(named: Named, nodal: npt.NDArray) -> list[Row]:
    """The least and largest values over the mesh, which are those at its vertices."""
    rows = np.atleast_2d(nodal)
    ends = zip(named.labels, rows.min(axis=1), rows.max(axis=1), strict=True)
    return [("bounds", f"{label} from {low:.6g} to {high:.6g}") for label, low, high in ends]


def _depth(size: SizeReport) -> str:
    """Hidden layers, and how many are needed and enough."""
    needed = "" if size.layers_needed is None else f"{size.layers_needed} needed, "
    return f"{size.hidden_layers} hidden layers; {needed}{size.layers_enough} always enough"


def _numbers(size: SizeReport) -> str:
    """Weights and biases, their bits, and how many are needed."""
    needed = size.numbers_needed
    least = "" if needed is None else f"; {needed} needed for all such functions"
    return f"{size.numbers} weights and biases, {size.bits} bits{least}"
