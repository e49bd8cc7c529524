# SPDX-License-Identifier: MIT
"""Pictures of networks: values, kinks, and what a hierarchical basis keeps of a function.

Every function draws onto the matplotlib axes that it is given, or onto new ones, and returns them.
Where a network's values are spread over ranks, all must call, and all draw the same; else no other
rank is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.basics.arguments import Box, checked_box
from fe_relu.basics.refusals import needed
from fe_relu.hierarchy.basis import HierarchicalNetwork
from fe_relu.hierarchy.nested import levels_and_stars
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.kinks import clipped_lines
from fe_relu.layers.network import ReLUNetwork
from fe_relu.meshes.mesh import Mesh
from fe_relu.networks.nodal import mesh_of, whole_of
from fe_relu.networks.p1 import P1Network
from fe_relu.regions.regions import LinearRegions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["coefficients", "error_against_neurons", "function", "kept", "kink_lines"]

#: Colours that differ for all kinds of colour vision (Okabe and Ito), and markers that do in grey.
CURVES = (
    ("#0072b2", "o"),
    ("#e69f00", "s"),
    ("#009e73", "^"),
    ("#d55e00", "D"),
    ("#cc79a7", "v"),
    ("#56b4e9", "P"),
    ("#000000", "X"),
)

#: Points of a curve of sorted coefficients, at most.
RANKS = 1000

#: Where a network without a mesh is drawn: x from 0 to 1, y from 0 to 1.
UNIT_BOX = ((0.0, 1.0), (0.0, 1.0))

#: Up to this ratio of its sides is the plane drawn on one scale.
LONGEST = 8


def coefficients(h: HierarchicalNetwork, axes: Axes | None = None) -> Axes:
    """How large the hierarchical coefficients are: of each level all |w|, the largest first.

    A threshold is a horizontal line here: it keeps what is above. A coefficient of a vector
    function is as large as the largest of its components; those that are zero are left out.

    Examples:
        >>> import numpy as np, fe_relu
        >>> from fe_relu.hierarchy import hierarchical_from_network
        >>> grid = fe_relu.Grid((0, 0), np.eye(2) / 8, (8, 8), "right")
        >>> h = hierarchical_from_network(fe_relu.P1Network(grid, np.exp(grid.vertices()[0])))
        >>> axes = fe_relu.plot.coefficients(h)
        >>> [line.get_label() for line in axes.lines]
        ['level 0', 'level 1', 'level 2', 'level 3']
    """
    axes = _axes_or_new(axes)
    largest = 0.0
    for level, color in enumerate(_level_colors(h.levels)):
        own = np.abs(np.atleast_2d(h.coefficients(level))).max(axis=0)
        _, (sizes,) = h.layout.collect(h.vertices(level), own[None])
        sizes = np.sort(sizes[sizes > 0])[::-1]
        if sizes.size:
            shown = np.unique(np.geomspace(1, sizes.size, RANKS).astype(np.int64))
            marker = "o" if sizes.size == 1 else ""
            axes.loglog(shown, sizes[shown - 1], color=color, label=f"level {level}", marker=marker)
            largest = max(largest, float(sizes[0]))
    if largest > 0:
        roundoff = largest * float(np.finfo(h.dtype).eps)
        axes.set_ylim(bottom=max(axes.get_ylim()[0], roundoff), top=2 * largest)
        axes.set_xlim(left=0.8)
    axes.set(xlabel="coefficients of the level, the largest first", ylabel="|coefficient|")
    _level_bar(axes, h.levels)
    return axes


def kept(surrogate: Surrogate, axes: Axes | None = None) -> Axes:
    """Where the second-layer neurons of a surrogate are: the vertices kept, coloured by level.

    Examples:
        >>> import numpy as np, fe_relu
        >>> from fe_relu.hierarchy import hierarchical_from_network
        >>> grid = fe_relu.Grid((0, 0), np.eye(2) / 8, (8, 8), "right")
        >>> h = hierarchical_from_network(fe_relu.P1Network(grid, np.exp(grid.vertices()[0])))
        >>> fe_relu.plot.kept(h.truncate(levels=1)).get_title()
        '7 of 81 coefficients kept'
    """
    axes = _axes_or_new(axes)
    grid, vertices = surrogate.mesh, surrogate.whole().vertices
    level, _ = levels_and_stars(grid, surrogate.levels, vertices)
    places = grid.origin[:, None] + grid.axes @ grid.lattice_positions(vertices)
    for at, color in reversed(list(enumerate(_level_colors(surrogate.levels)))):
        x, y = places[:, level == at]
        size = max(40 / 1.6**at, 0.4)
        axes.scatter(x, y, s=size, color=color, linewidths=0, rasterized=True)
    _draw_outline(axes, grid.outline)
    axes.set(
        title=f"{surrogate.num_kept:,} of {grid.num_vertices:,} coefficients kept",
        xlabel="x",
        ylabel="y",
        aspect=_aspect(grid.outline),
    )
    _level_bar(axes, surrogate.levels)
    return axes


def error_against_neurons(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    axes: Axes | None = None,
    *,
    label: str = "sup error",
) -> Axes:
    """How many neurons buy which error: a curve for each name.

    Args:
        curves: By name, pairs (neurons, error); those with error 0 are left out.
        axes: Where to draw.
        label: What the errors are.

    Examples:
        >>> import fe_relu
        >>> curves = {"uniform mesh": [(25, 1e-1), (81, 3e-2)], "surrogate": [(12, 4e-2)]}
        >>> axes = fe_relu.plot.error_against_neurons(curves)
        >>> axes.get_xlabel(), axes.get_ylabel()
        ('neurons', 'sup error')
    """
    axes = _axes_or_new(axes)
    for number, (name, pairs) in enumerate(curves.items()):
        color, marker = CURVES[number % len(CURVES)]
        size = max(9 - 2.5 * number, 3)  # smaller on top of larger, where curves coincide
        neurons = [pair[0] for pair in sorted(pairs) if pair[1] > 0]
        errors = [pair[1] for pair in sorted(pairs) if pair[1] > 0]
        axes.loglog(neurons, errors, color=color, marker=marker, markersize=size, label=name)
    axes.set(xlabel="neurons", ylabel=label)
    axes.grid(color="0.9", linewidth=0.7)
    axes.legend(frameon=False)
    return axes


def kink_lines(
    network: P1Network | Surrogate | ReLUNetwork,
    axes: Axes | None = None,
    *,
    box: Box | None = None,
) -> Axes:
    """The lines in the plane where the neurons of the first hidden layer bend.

    Those of deeper layers bend along these and, within the pieces between them, along others.

    Args:
        network: With two inputs.
        axes: Where to draw.
        box: ((x from, x to), (y from, y to)), the part of the plane to draw; by default that of the
            network's mesh or, for one without a mesh, the unit square.

    Raises:
        ValueError: The network has another number of inputs, no hidden layer, or the box is empty.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (4, 3), "right")
        >>> fe_relu.plot.kink_lines(fe_relu.P1Network(grid, np.ones(20))).get_title()
        'kinks of 17 first-layer neurons'
    """
    layers = _layers(network)
    if layers.dim_in != 2 or layers.hidden_layers == 0:
        raise ValueError(
            f"kink lines are those of networks with 2 inputs and a hidden layer; this one has "
            f"{layers.dim_in} and {layers.hidden_layers}"
        )
    outline = _outline(mesh_of(network), box)
    axes = _axes_or_new(axes)
    from matplotlib.collections import LineCollection

    first = layers.layers[0]
    segments = clipped_lines(first.weight.toarray(), first.bias, outline)
    width = float(np.clip(60 / max(len(segments), 1), 0.15, 1.0))
    axes.add_collection(LineCollection(list(segments), colors=CURVES[0][0], linewidths=width))
    _draw_outline(axes, outline)
    axes.set(
        title=f"kinks of {first.dim_out:,} first-layer neurons",
        xlabel="x",
        ylabel="y",
        aspect=_aspect(outline),
    )
    return axes


def function(
    network: Any,
    axes: Axes | None = None,
    *,
    component: int | None = None,
    box: Box | None = None,
    resolution: int = 500,
    label: str | None = None,
) -> Axes:
    """The values of a network: colours over the plane or, with one input, a curve.

    Args:
        network: A `HierarchicalNetwork`, or what is called with points and has `dim_in` 1 or 2.
        axes: Where to draw.
        component: Which output. None: the only one, or the length of the vector of all.
        box: As for `kink_lines`, for one input ((x from, x to),).
        resolution: Pixels along the longer side, or points of the curve.
        label: What the values are.

    Raises:
        ValueError: The network has another number of inputs, no such output, or the box is empty.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (4, 3), "right")
        >>> axes = fe_relu.plot.function(fe_relu.P1Network(grid, np.arange(20.0)), resolution=40)
        >>> axes.images[0].get_array().shape
        (30, 40)
    """
    network = _evaluated(network)
    if network.dim_in not in (1, 2):
        raise ValueError(f"networks with 1 or 2 inputs can be drawn, not with {network.dim_in}")
    if component is not None and not 0 <= component < network.dim_out:
        raise ValueError(f"component must be from 0 to {network.dim_out - 1}, not {component}")
    many = network.dim_out > 1
    label = label or ("u" if not many else "|u|" if component is None else f"u[{component}]")

    def values(x: npt.NDArray) -> npt.NDArray:
        rows = np.atleast_2d(network(x))
        return rows[component or 0] if component is not None or not many else np.hypot.reduce(rows)

    if network.dim_in == 1:
        ((left, right),) = checked_box(UNIT_BOX[:1] if box is None else box, 1)
        x = np.linspace(left, right, resolution)
        axes = _axes_or_new(axes)
        axes.plot(x, values(x[None]), color=CURVES[0][0])
        axes.set(xlabel="x", ylabel=label)
        return axes
    mesh = mesh_of(network)
    outline = _outline(mesh, box)
    (left, bottom), (right, top) = outline.min(axis=1), outline.max(axis=1)
    sides = np.array([right - left, top - bottom])
    longer = sides if _aspect(outline) == "auto" else sides.max()
    columns, rows = np.maximum(1, np.rint(resolution * sides / longer)).astype(int)
    x = np.array(np.meshgrid(_middles(left, right, columns), _middles(bottom, top, rows)))
    image = values(x.reshape(2, -1))
    if mesh is not None and box is None:
        image = np.where(mesh.contains(x.reshape(2, -1)), image, np.nan)
    axes = _axes_or_new(axes)
    shown = axes.imshow(
        image.reshape(rows, columns),
        origin="lower",
        extent=(left, right, bottom, top),
        cmap="viridis",
        aspect=_aspect(outline),
    )
    axes.figure.colorbar(shown, cax=axes.inset_axes((1.03, 0, 0.04, 1)), label=label)
    axes.set(xlabel="x", ylabel="y")
    return axes


def regions(
    found: LinearRegions,
    axes: Axes | None = None,
    *,
    component: int = 0,
    label: str | None = None,
) -> Axes:
    """The linear regions of a network: edges of the faces over its values; in 1-D its knots.

    Args:
        found: As `linear_regions` gives them.
        axes: Where to draw.
        component: Which output.
        label: What the values are.

    Examples:
        >>> import numpy as np, fe_relu
        >>> tent = fe_relu.ReLUNetwork(
        ...     (fe_relu.Affine(np.eye(2), [0, 0]), fe_relu.Affine([[1, 1]], [0]))
        ... )
        >>> found = fe_relu.linear_regions(tent, ((-1, 1), (-1, 1)))
        >>> len(fe_relu.plot.regions(found).collections[1].get_paths())
        4
    """
    axes, values = _axes_or_new(axes), np.atleast_2d(found.values)[component]
    label = label or ("u" if found.values.ndim == 1 else f"u[{component}]")
    if found.dim == 1:
        axes.plot(found.vertices[0], values, ".-", color=CURVES[0][0])
        axes.set(xlabel="x", ylabel=label)
        return axes
    from matplotlib.collections import PolyCollection

    x, y = found.vertices
    cells = found.simplices[0].T
    shown = axes.tripcolor(x, y, cells, values, shading="gouraud", cmap="viridis")
    outlines = [found.vertices[:, face].T for face in found.faces()]
    axes.add_collection(PolyCollection(outlines, facecolor="none", edgecolor="w", linewidth=0.3))
    axes.figure.colorbar(shown, cax=axes.inset_axes((1.03, 0, 0.04, 1)), label=label)
    axes.set(xlabel="x", ylabel="y", aspect=_aspect(found.vertices))
    return axes


def sparsity(matrix: sparse.sparray, axes: Axes | None = None) -> Axes:
    """Where an interpolation matrix is not zero, a dot for each entry: a row a point.

    Args:
        matrix: SciPy's, as `interpolation_matrix` gives it for a network of one process. Of PETSc's
            `A`, `scipy.sparse.csr_array(A.getValuesCSR()[::-1])` has this rank's rows.
        axes: Where to draw.

    Raises:
        TypeError: It is no sparse matrix of SciPy's.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (4, 3), "right")
        >>> network = fe_relu.P1Network(grid, np.ones(20))
        >>> matrix = fe_relu.interpolation_matrix(network, grid.vertices())
        >>> fe_relu.plot.sparsity(matrix).get_title()
        '20 of 400 are not 0'
    """
    if not sparse.issparse(matrix):
        raise TypeError(
            f"sparsity takes a sparse matrix of SciPy's, not {type(matrix).__name__}; of PETSc's "
            "A, scipy.sparse.csr_array(A.getValuesCSR()[::-1]) has this rank's rows"
        )
    axes, (rows, columns) = _axes_or_new(axes), matrix.shape
    axes.spy(matrix, markersize=max(0.3, 150 / max(rows, columns, 1)), color=CURVES[0][0])
    count = matrix.count_nonzero()
    axes.set(
        title=f"{count:,} of {rows * columns:,} are not 0",
        xlabel="neuron",
        ylabel="point",
        aspect="auto",
    )
    return axes


def _axes_or_new(axes: Axes | None) -> Axes:
    with needed("matplotlib", "fe_relu.plot"):
        import matplotlib.pyplot as plt
    return plt.subplots(layout="constrained")[1] if axes is None else axes


def _level_colors(levels: int) -> npt.NDArray:
    """Dark for the coarsest level, light for the finest, shape (levels + 1, 4)."""
    import matplotlib as mpl

    return mpl.colormaps["viridis"](np.linspace(0, 0.9, levels + 1))


def _level_bar(axes: Axes, levels: int) -> None:
    """The colours of the levels, 0 the coarsest."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    norm = BoundaryNorm(np.arange(levels + 2) - 0.5, levels + 1)
    colors = ScalarMappable(norm, ListedColormap(_level_colors(levels)))
    beside = axes.inset_axes((1.03, 0, 0.04, 1))
    bar = axes.figure.colorbar(colors, cax=beside, label="level", ticks=range(levels + 1))
    bar.ax.tick_params(length=0)


@singledispatch
def _layers(network: Any) -> ReLUNetwork:
    return network.explicit()


@_layers.register
def _(network: ReLUNetwork) -> ReLUNetwork:
    return network


@singledispatch
def _evaluated(network: Any) -> Any:
    """What to call for values, of this process alone."""
    return whole_of(network)


@_evaluated.register
def _(network: HierarchicalNetwork) -> Any:
    return network.to_p1().whole()


def _outline(mesh: Mesh | None, box: Box | None) -> npt.NDArray:
    """Corners around what is to be drawn, one after the other, shape (2, n)."""
    if box is None and mesh is not None:
        return mesh.outline
    (left, right), (bottom, top) = checked_box(UNIT_BOX if box is None else box, 2)
    return np.array([[left, right, right, left], [bottom, bottom, top, top]])


def _draw_outline(axes: Axes, outline: npt.NDArray) -> None:
    x, y = np.hstack([outline, outline[:, :1]])
    axes.plot(x, y, color="0.5", linewidth=0.8, zorder=0)
    axes.margins(0.02)


def _aspect(outline: npt.NDArray) -> Literal["equal", "auto"]:
    """Both directions on one scale, unless that would make a thread."""
    sides = np.ptp(outline, axis=1)
    return "equal" if sides.max() <= LONGEST * sides.min() else "auto"


def _middles(start: float, end: float, count: int) -> npt.NDArray:
    return start + (np.arange(count) + 0.5) * (end - start) / count
