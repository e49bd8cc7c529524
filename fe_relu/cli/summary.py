# SPDX-License-Identifier: MIT
"""What a network is, in a few lines of text; its neurons are counted without making layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.cli.network_files import Named
from fe_relu.deep import DeepNetwork
from fe_relu.grid import Grid
from fe_relu.hats import DIRECTIONS, Hats, lines_in_use
from fe_relu.hierarchy import HierarchicalNetwork
from fe_relu.nesting import level_hats, levels_and_stars, star_of
from fe_relu.network import ReLUNetwork
from fe_relu.neurons import NotP1Error
from fe_relu.p1 import P1Network
from fe_relu.p2 import P2Network
from fe_relu.p2_layers import MAX_NEURONS, hidden_widths
from fe_relu.recognise import p1_from_relu
from fe_relu.surrogate import Surrogate

Row = tuple[str, str]


class Size(NamedTuple):
    """Of a network in explicit layers: ReLUs layer by layer, non-zero weights, bytes if sparse."""

    hidden: tuple[int, ...]
    nonzeros: int
    nbytes: int

    @property
    def neurons(self) -> int:
        return sum(self.hidden)


def summary(named: Named) -> list[Row]:
    """Kind, grid, neurons, non-zeros, bounds and memory of a network, as names and texts."""
    network = named.network
    kind, facts, used = _described(network)
    rows = [("kind", kind), *facts, ("numbers", str(network.dtype))]
    rows.append(("inputs", str(network.dim_in)))
    rows.append(("outputs", f"{network.dim_out}: {', '.join(_outputs(named))}"))
    if isinstance(network, P2Network):
        hidden = hidden_widths(network.grid, network.dim_out, network.levels)
        if sum(hidden) > MAX_NEURONS:
            rows.append(("neurons", f"{sum(hidden)}, too many for explicit layers"))
            return [*rows, ("memory", in_bytes(network.values.nbytes))]
    size = explicit_size(network)
    rows.append(("neurons", f"{size.neurons} = {' + '.join(map(str, size.hidden))}"))
    rows.append(("non-zeros", str(size.nonzeros)))
    rows += _bounds(named)
    layers = f"as sparse layers about {in_bytes(size.nbytes)}"
    rows.append(("memory", f"{in_bytes(used)}, {layers}" if used is not None else layers))
    return rows


def aligned(rows: Sequence[Row]) -> str:
    """Names and texts in two columns."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


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


# Kinds


def _described(network: Any) -> tuple[str, list[Row], int | None]:
    """What kind it is, facts of that kind, and the bytes of the arrays that it is made from."""
    for kind, describe in DESCRIPTIONS.items():
        if isinstance(network, kind):
            return describe(network)
    return type(network).__name__, _grid_rows(getattr(network, "grid", None)), None


def _p1(network: P1Network) -> tuple[str, list[Row], int]:
    return "P1 function", _grid_rows(network.grid), network.values.nbytes


def _p2(network: P2Network) -> tuple[str, list[Row], int]:
    rows = [
        *_grid_rows(network.grid),
        ("levels", str(network.levels)),
        ("error", f"at most {network.error_bound:.6g} from the P2 function"),
    ]
    return "P2 function as a deep network", rows, network.values.nbytes


def _hierarchical(network: HierarchicalNetwork) -> tuple[str, list[Row], int]:
    rows = [*_grid_rows(network.grid), ("levels", f"{network.levels} above the coarsest mesh")]
    return "P1 function in the hierarchical basis", rows, network.surpluses.nbytes


def _surrogate(network: Surrogate) -> tuple[str, list[Row], int]:
    rows = [*_grid_rows(network.grid), *surrogate_rows(network)]
    return "surrogate of a P1 function", rows, network.coefficients.nbytes + network.vertices.nbytes


def _relu(network: ReLUNetwork) -> tuple[str, list[Row], None]:
    p1 = _recognised(network)
    kind = "ReLU network" if p1 is None else "ReLU network, equal to a P1 function"
    return kind, _grid_rows(None if p1 is None else p1.grid), None


def _deep(network: DeepNetwork) -> tuple[str, list[Row], None]:
    return "deep ReLU network", [("error", f"at most {network.error_bound:.6g}")], None


#: What to say of each kind.
DESCRIPTIONS: dict[type, Callable[[Any], tuple[str, list[Row], int | None]]] = {
    P1Network: _p1,
    P2Network: _p2,
    HierarchicalNetwork: _hierarchical,
    Surrogate: _surrogate,
    DeepNetwork: _deep,
    ReLUNetwork: _relu,
}


def surrogate_rows(surrogate: Surrogate) -> list[Row]:
    """How much of a function a surrogate keeps, and how far it is off."""
    levels = " + ".join(str(count) for count in surrogate.kept)
    return [
        ("kept", f"{surrogate.num_kept} of {surrogate.grid.num_vertices} coefficients = {levels}"),
        ("error", f"{surrogate.error:.6g}"),
        ("bound", f"{surrogate.bound:.6g}"),
        ("H1 error", f"{surrogate.h1_error:.6g}"),
    ]


def _grid_rows(grid: Grid | None) -> list[Row]:
    if grid is None:
        return []
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


# Size


def explicit_size(network: Any) -> Size:
    """The size of a network's explicit layers, which are not made if it has a grid."""
    if isinstance(network, P1Network | HierarchicalNetwork):
        values = network.values if isinstance(network, P1Network) else network.to_p1().values
        return _hat_size(network.grid, _rim_hats(network.grid), _num_terms(network.grid), values)
    if isinstance(network, Surrogate):
        hats = level_hats(network.grid, network.levels, network.vertices)
        terms = sum(len(group.star.directions) * group.neurons.size for group in hats)
        return _hat_size(network.grid, hats, terms, network.coefficients)
    layers = network if isinstance(network, ReLUNetwork) else network.explicit()
    nonzeros = layers.num_nonzeros
    return _size(layers.widths[1:-1], nonzeros, layers.dim_out, layers.dtype)


def _hat_size(grid: Grid, hats: Sequence[Hats], terms: int, output: npt.NDArray) -> Size:
    """That of lines, then hats with so many terms together, then a dense output layer."""
    lines = np.count_nonzero(lines_in_use(grid, hats), axis=1)
    normals = (np.array(DIRECTIONS, float) @ grid.inverse).astype(output.dtype)
    nonzeros = int(lines @ np.count_nonzero(normals, axis=1)) + terms + np.count_nonzero(output)
    hidden = (int(lines.sum()), output.shape[-1])
    return _size(hidden, nonzeros, 1 if output.ndim == 1 else len(output), output.dtype)


def _size(hidden: Sequence[int], nonzeros: int, dim_out: int, dtype: np.dtype) -> Size:
    rows = sum(hidden) + dim_out
    return Size(tuple(hidden), nonzeros, (nonzeros + rows) * (dtype.itemsize + 4))


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


# Bounds


def _outputs(named: Named) -> list[str]:
    if named.units is None:
        return named.labels
    return [f"{label} [{u}]" for label, u in zip(named.labels, named.units, strict=True)]


def _bounds(named: Named) -> list[Row]:
    """The least and largest values over the mesh, which are those at its vertices."""
    network = named.network
    if isinstance(network, Surrogate):
        return [("bounds", f"nowhere larger than {network.ceiling:.6g} in magnitude")]
    if isinstance(network, ReLUNetwork):
        network = _recognised(network)
    elif isinstance(network, HierarchicalNetwork):
        network = network.to_p1()
    if not isinstance(network, P1Network):
        return []
    rows = np.atleast_2d(network.values)
    ends = zip(named.labels, rows.min(axis=1), rows.max(axis=1), strict=True)
    return [("bounds", f"{label} from {low:.6g} to {high:.6g}") for label, low, high in ends]
