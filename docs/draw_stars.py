# SPDX-License-Identifier: MIT
"""Draws docs/pictures/stars.png: the five stars of `fe_relu.meshes.grid.hats`, drawn by networks.

python3 docs/draw_stars.py

DIAMOND is there twice, because it occurs in two kinds of mesh.
"""

from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

from fe_relu import Grid, P1Network

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

LINE, MESH, INK, QUIET = "#d1495b", "#b4bcc6", "#1f2933", "#66717e"
VALUES = LinearSegmentedColormap.from_list("hat", ["#e1eef7", "#9cc9e6", "#2a7ab8", "#0b3a66"])

#: Name, diagonal, vertex (i, j) of a 4 x 4 mesh or its cell centre, where it occurs, formula.
PANELS = (
    ("SLASH", "right", (2, 2), "right: every vertex", r"$R(1-R(-\xi)-R(\eta)-R(\xi-\eta))$"),
    ("BACKSLASH", "left", (2, 2), "left: every vertex", r"$R(1-R(-\xi)-R(-\eta)-R(\xi+\eta))$"),
    (
        "SQUARE",
        "left_right",
        (2, 2),
        "alternating: vertex with 8 neighbours",
        r"$R(1-\frac{1}{2}|\xi+\eta|-\frac{1}{2}|\xi-\eta|)$",
    ),
    (
        "DIAMOND",
        "right_left",
        (2, 2),
        "alternating: vertex with 4 neighbours",
        r"$R(1-|\xi|-|\eta|)$",
    ),
    ("DIAMOND", "crossed", (2, 2), "crossed: corner of a cell", r"$R(1-|\xi|-|\eta|)$"),
    (
        "CENTRE",
        "crossed",
        (1.5, 1.5),
        "crossed: centre of a cell",
        r"$R(1-|\xi+\eta|-|\xi-\eta|)$",
    ),
)

REACH = 1.4  # lattice steps shown to each side of the vertex
SHADES = 10


def draw_star(axes: Axes, diagonal: str, place: tuple[float, float]) -> mpl.contour.QuadContourSet:
    """One hat of the 4 x 4 mesh: values, mesh, and the lines where its first layer bends."""
    grid = Grid((0, 0), np.eye(2), (4, 4), diagonal)
    lines, hats, _ = P1Network(grid, np.zeros(grid.num_vertices)).explicit().layers
    to_place = grid.lattice_positions().T - place
    vertex = np.abs(to_place).sum(axis=1).argmin()
    row = hats.weight[[vertex]]
    side = np.linspace(-REACH, REACH, 601)
    x, y = np.meshgrid(place[0] + side, place[1] + side)
    first = lines(np.array([x.ravel(), y.ravel()]))
    values = np.maximum(0, row @ np.maximum(0, first) + hats.bias[vertex]).reshape(x.shape)

    steps = np.linspace(0, 1, SHADES + 1)
    filled = axes.contourf(x, y, np.where(values > 0, values, np.nan), steps, cmap=VALUES)
    draw_mesh(axes, diagonal)
    for neuron in row.indices:
        draw_line(axes, lines.weight[[neuron]].toarray()[0], lines.bias[neuron], place)
    axes.contour(x, y, values, [1e-9], colors=INK, linewidths=1.6)
    axes.plot(*place, "o", color="white", markeredgecolor=INK, markersize=6, zorder=5)
    axes.set_xlim(place[0] - REACH, place[0] + REACH)
    axes.set_ylim(place[1] - REACH, place[1] + REACH)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return filled


def draw_mesh(axes: Axes, diagonal: str) -> None:
    """The cells of the mesh."""
    for i, j in np.ndindex(4, 4):
        cuts = {"right": "/", "left": "\\", "crossed": "/\\"}.get(diagonal)
        cuts = cuts or ("/\\" if diagonal == "left_right" else "\\/")[(i + j) % 2]
        axes.plot([i, i + 1, i + 1, i, i], [j, j, j + 1, j + 1, j], color=MESH, linewidth=0.9)
        if "/" in cuts:
            axes.plot([i, i + 1], [j, j + 1], color=MESH, linewidth=0.9)
        if "\\" in cuts:
            axes.plot([i, i + 1], [j + 1, j], color=MESH, linewidth=0.9)


def draw_line(axes: Axes, normal: np.ndarray, offset: float, place: tuple[float, float]) -> None:
    """The line normal · x + offset = 0, with an arrow into the side where the neuron is active."""
    length = np.linalg.norm(normal)
    normal, offset = normal / length, offset / length
    along = np.array([-normal[1], normal[0]])
    along = along * (1 if along[0] + 0.5 * along[1] > 0 else -1)
    foot = np.array(place) - normal * (normal @ place + offset)
    ends = foot + 2.3 * np.outer([-1, 1], along)
    axes.plot(*ends.T, color=LINE, linewidth=1.8)
    edge = 0.85 * REACH / np.abs(along).max()
    for start in (foot + edge * along, foot - edge * along):
        axes.annotate(
            "",
            start + 0.27 * normal,
            start,
            arrowprops={"arrowstyle": "-|>", "color": LINE, "shrinkA": 0, "shrinkB": 0},
            annotation_clip=True,
        )


def main() -> None:
    plt.rcParams.update({"font.family": "DejaVu Sans", "mathtext.fontset": "dejavusans"})
    figure, panels = plt.subplots(2, 3, figsize=(9, 7.6))
    figure.subplots_adjust(left=0.02, right=0.98, top=0.93, bottom=0.145, wspace=0.08, hspace=0.4)
    for axes, (name, diagonal, place, where, formula) in zip(panels.flat, PANELS, strict=True):
        filled = draw_star(axes, diagonal, place)
        axes.set_title(name, color=INK, fontsize=12, fontweight="bold", pad=18)
        axes.text(
            0.5, 1.025, where, transform=axes.transAxes, ha="center", color=QUIET, fontsize=9.5
        )
        axes.text(0.5, -0.1, formula, transform=axes.transAxes, ha="center", color=INK, fontsize=12)
    draw_legend(figure, filled)
    save(figure, "stars.png")


def draw_legend(figure: mpl.figure.Figure, filled: mpl.contour.QuadContourSet) -> None:
    """What the colours mean."""
    bar = figure.add_axes((0.08, 0.055, 0.2, 0.018))
    figure.colorbar(filled, cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
    bar.tick_params(labelsize=8.5, length=2, color=QUIET, labelcolor=QUIET)
    bar.set_title("hat value", fontsize=9, color=QUIET, pad=4)
    key = figure.add_axes((0.33, 0.02, 0.66, 0.07))
    key.axis("off")
    key.set(xlim=(0, 1), ylim=(0, 1))
    entries = (
        (0.0, LINE, "a first-layer neuron is 0 up to this line;\nthe arrow points where it is not"),
        (0.47, INK, "the hat's own ReLU\nbends here"),
        (0.76, MESH, "cells of the mesh"),
    )
    for start, color, text in entries:
        key.plot([start, start + 0.035], [0.5, 0.5], color=color, linewidth=2.2)
        key.text(start + 0.045, 0.5, text, va="center", fontsize=9, color=QUIET)


def save(figure: mpl.figure.Figure, name: str) -> None:
    """Writes the picture with a palette, much smaller than one without."""
    picture = Path(__file__).parent / "pictures" / name
    picture.parent.mkdir(exist_ok=True)
    with BytesIO() as full:
        figure.savefig(full, dpi=200)
        Image.open(full).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
            picture, optimize=True
        )


if __name__ == "__main__":
    main()
