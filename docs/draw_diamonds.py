# SPDX-License-Identifier: MIT
"""Draws docs/pictures/diamonds.png: one hat of a triangulation coming apart into diamonds.

python3 docs/draw_diamonds.py

What is drawn are the neurons of the network's own layers.
"""

from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

from fe_relu.meshes.simplices.diamonds import hidden_layers

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

LINE, MESH, INK, QUIET = "#d1495b", "#b4bcc6", "#1f2933", "#66717e"
VALUES = LinearSegmentedColormap.from_list("hat", ["#e1eef7", "#9cc9e6", "#2a7ab8", "#0b3a66"])
SHADES = 10

#: The neighbours of a vertex at (0, 0), counter-clockwise.
LINK = np.array(
    [[1.5, -0.25], [1.15, 1.0], [-0.15, 1.25], [-1.45, 0.55], [-0.95, -0.95], [0.5, -1.2]]
)


def neurons(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Of the hat of the vertex: factors, values at x, and the lines (a, b, c) of each neuron."""
    k = np.arange(len(LINK))
    cells = np.array([0 * k, 1 + k, 1 + (k + 1) % len(k)])
    first, second, hats = hidden_layers(np.vstack([[0, 0], LINK]).T, cells)
    own = hats[[0]].tocoo()
    values = np.maximum(0, second(np.maximum(0, first(x)))[own.col])
    lines = np.column_stack([first.weight.toarray(), first.bias])
    return own.data, values, [lines[second.weight[[row]].indices] for row in own.col]


def draw(
    axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray
) -> mpl.contour.QuadContourSet:
    """Values on the plane, over the triangles around the vertex."""
    shown = np.where(values > 1e-9, values, np.nan)
    filled = axes.contourf(x, y, shown, np.linspace(0, 1, SHADES + 1), cmap=VALUES)
    for here, following in zip(LINK, np.roll(LINK, -1, axis=0), strict=True):
        axes.plot([0, here[0], following[0]], [0, here[1], following[1]], color=MESH, linewidth=1)
    axes.contour(x, y, values, [1e-9], colors=INK, linewidths=1.6)
    axes.plot(0, 0, "o", color="white", markeredgecolor=INK, markersize=6, zorder=5)
    axes.set(xlim=(x.min(), x.max()), ylim=(y.min(), y.max()), aspect="equal")
    axes.axis("off")
    return filled


def draw_lines(axes: Axes, lines: np.ndarray) -> None:
    """The lines where neurons of the first layer begin."""
    limits = axes.get_xlim(), axes.get_ylim()
    for a, b, c in lines:
        foot = -c * np.array([a, b]) / (a * a + b * b)
        ends = foot[:, None] + 4 * np.outer([-b, a], [-1, 1]) / np.hypot(a, b)
        axes.plot(*ends, color=LINE, linewidth=1.3, zorder=3)
    axes.set(xlim=limits[0], ylim=limits[1])


def main() -> None:
    plt.rcParams.update({"font.family": "DejaVu Sans", "mathtext.fontset": "dejavusans"})
    x, y = np.meshgrid(np.linspace(-1.7, 1.75, 691), np.linspace(-1.45, 1.5, 591))
    factors, values, lines = neurons(np.array([x.ravel(), y.ravel()]))
    order = np.argsort(-np.abs(factors) * (factors != 1) - 9 * (factors == 1))
    figure, panels = plt.subplots(2, 3, figsize=(9, 6.1))
    figure.subplots_adjust(left=0.01, right=0.99, top=0.93, bottom=0.12, wspace=0.06, hspace=0.22)
    first, *others = panels.flat
    filled = draw(first, x, y, (factors @ values).reshape(x.shape))
    first.set_title("the hat of a vertex", color=INK, fontsize=12, fontweight="bold")
    for axes, row in zip(others, order, strict=True):
        draw(axes, x, y, factors[row] * values[row].reshape(x.shape))
        draw_lines(axes, lines[row])
        sign = "=" if row == order[0] else "+" if factors[row] > 0 else "−"
        size = "" if factors[row] == 1 else f"{abs(factors[row]):.2f} "
        axes.set_title(f"{sign}  {size}◇", color=INK, fontsize=12, fontweight="bold")
    bar = figure.add_axes((0.08, 0.06, 0.2, 0.022))
    figure.colorbar(filled, cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.tick_params(labelsize=8.5, length=2, color=QUIET, labelcolor=QUIET)
    key = figure.add_axes((0.36, 0.02, 0.63, 0.07))
    key.axis("off")
    key.set(xlim=(0, 1), ylim=(0, 1))
    for start, color, text in (
        (0.0, LINE, "two lines, each used from both sides:\nfour neurons of the first layer"),
        (0.5, INK, "where the neuron\nitself begins"),
        (0.78, MESH, "the triangles\nof the mesh"),
    ):
        key.plot([start, start + 0.035], [0.5, 0.5], color=color, linewidth=2.2)
        key.text(start + 0.045, 0.5, text, va="center", fontsize=9, color=QUIET)
    save(figure, Path(__file__).parent / "pictures" / "diamonds.png")


def save(figure: mpl.figure.Figure, picture: Path) -> None:
    """Writes the picture with a palette, much smaller than one without."""
    with BytesIO() as full:
        figure.savefig(full, dpi=200)
        Image.open(full).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
            picture, optimize=True
        )


if __name__ == "__main__":
    main()
