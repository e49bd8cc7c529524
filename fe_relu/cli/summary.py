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
from fe_relu.hierarchy.basis import HierarchicalNetwork
from fe_relu.hierarchy.nested import level_hats, levels_and_stars, star_of
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.bubbles import DeepNetwork
from fe_relu.layers.network import ReLUNetwork
from fe_relu.meshes.grid.grid import Grid
from fe_relu.meshes.grid.hats import DIRECTIONS, Hats
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network

Row = tuple[str, str]


class Size(NamedTuple):
    """Of a network in explicit layers: ReLUs layer by layer, non-zero weights, bytes if sparse."""

    hidden: tuple[int, ...]
    nonzeros: int
    nbytes: int

    @property
    def neurons(self) -> int:
        return sum(self.hidden)


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


def summary(named: Named) -> list[Row]:
    """Kind, mesh, neurons, non-zeros, bounds and memory of a network, as names and texts."""
    network, found = named.network, described(named.network)
    rows = [("kind", found.kind), *found.facts, ("numbers", str(network.dtype))]
    rows.append(("inputs", str(network.dim_in)))
    rows.append(("outputs", f"{network.dim_out}: {', '.join(_outputs(named))}"))
    try:
        size = explicit_size(network)
    except ValueError as error:
        rows.append(("neurons", str(error)))
        return [*rows, ("memory", in_bytes(found.nbytes or 0))]
    rows.append(("neurons", f"{size.neurons} = {' + '.join(map(str, size.hidden))}"))
    rows.append(("non-zeros", str(size.nonzeros)))
    rows += found.bounds if found.nodal is None else _nodal_bounds(named, found.nodal)
    layers = f"as sparse layers about {in_bytes(size.nbytes)}"
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
def _(network: DeepNetwork) -> Described:
    return Described("deep ReLU network", [("error", f"at most {network.error_bound:.6g}")])


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
    return [
        ("grid", f"{nx} x {ny} cells, {grid.diagonal}, {grid.num_vertices} vertices"),
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


# How large it is


@singledispatch
def explicit_size(network: Any) -> Size:
    """The size of a network's explicit layers, which are not made if it has a mesh.

    Raises:
        ValueError: There are too many.
    """
    return explicit_size(network.explicit())


@explicit_size.register
def _(network: ReLUNetwork) -> Size:
    return _size(network.widths[1:-1], network.num_nonzeros, network.dim_out, network.dtype)


@explicit_size.register
def _(network: P1Network) -> Size:
    return _mesh_size(network.mesh, network)


@explicit_size.register
def _(network: HierarchicalNetwork) -> Size:
    return _mesh_size(network.mesh, network.to_p1())


@explicit_size.register
def _(network: Surrogate) -> Size:
    hats = level_hats(network.mesh, network.levels, network.vertices)
    terms = sum(len(group.star.directions) * group.neurons.size for group in hats)
    return _hat_size(network.mesh, hats, terms, network.coefficients)


@singledispatch
def _mesh_size(mesh: Any, network: P1Network) -> Size:
    return explicit_size(network.explicit())


@_mesh_size.register
def _(grid: Grid, network: P1Network) -> Size:
    return _hat_size(grid, _rim_hats(grid), _num_terms(grid), network.values)


def _hat_size(grid: Grid, hats: Sequence[Hats], terms: int, output: npt.NDArray) -> Size:
    """That of lines, then hats with so many terms together, then a dense output layer."""
    lines = np.array([_num_lines(hats, direction) for direction in DIRECTIONS])
    normals = (np.array(DIRECTIONS, float) @ grid.inverse).astype(output.dtype)
    nonzeros = int(lines @ np.count_nonzero(normals, axis=1)) + terms + np.count_nonzero(output)
    hidden = (int(lines.sum()), output.shape[-1])
    return _size(hidden, nonzeros, 1 if output.ndim == 1 else len(output), output.dtype)


def _size(hidden: Sequence[int], nonzeros: int, dim_out: int, dtype: np.dtype) -> Size:
    rows = sum(hidden) + dim_out
    return Size(tuple(hidden), nonzeros, (nonzeros + rows) * (dtype.itemsize + 4))


def _num_lines(hats: Sequence[Hats], direction: tuple[int, int]) -> int:
    """How many mesh lines of a direction (a, b) the hats use: a s + b t at the vertices (s, t)."""
    used = [direction @ group.positions for group in hats if direction in group.star.directions]
    return np.unique(np.concatenate(used)).size if used else 0


def _rim_hats(grid: Grid) -> list[Hats]:
    """Hats that use all lines of the mesh: every line reaches a vertex of its star near the rim."""
    rim = [np.unique(np.clip([0, 1, n - 1, n], 0, n)) for n in grid.shape]
    nx, ny = grid.shape
    vertices = [_numbers(nx + 1, ny + 1, rim)]
    if grid.has_centres:
        inner = [rim_of[rim_of < n] for rim_of, n in zip(rim, grid.shape, strict=True)]
        vertices.append((nx + 1) * (ny + 1) + _numbers(nx, ny, inner))
    return level_hats(grid, 0, np.unique(np.concatenate(vertices)))


def _numbers(nx: int, ny: int, rim: list[npt.NDArray]) -> npt.NDArray[np.int64]:
    """Numbers, row by row, of the places in these columns, and of those in these rows."""
    columns = np.arange(ny)[:, None] * nx + rim[0]
    rows = rim[1][:, None] * nx + np.arange(nx)
    return np.concatenate([columns.ravel(), rows.ravel()])


def _num_terms(grid: Grid) -> int:
    """Non-zeros of the second layer: three or four for each vertex, as its star has directions."""
    first = np.array([0, 1, grid.num_vertices - 1])
    _, stars = levels_and_stars(grid, 0, first)
    return len(star_of(grid, int(stars[0])).directions) * grid.num_vertices
