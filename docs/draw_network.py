# SPDX-License-Identifier: MIT
"""Draws docs/pictures/network.png: a P1 function, and the network it is, neuron by neuron.

python3 docs/draw_network.py

Each tile shows what one neuron computes on the mesh; the weights are those of the explicit layers.
The background is transparent, and the colours are readable on white and on black.
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
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

N = 4  # cells along each side
HATS = ((2, 2), (2, 1), (1, 1))  # the vertices (i, j) whose hats are shown

TEXT, WIRE, MESH, LINE, HAT = "#748190", "#8e9aa7", "#5f6b78", "#d1495b", "#3d87bf"
RAMPS = LinearSegmentedColormap.from_list("ramp", ["#f9dfe1", "#e88f98", "#c22f45"])
STARS = LinearSegmentedColormap.from_list("hat", ["#d3e5f2", "#8fc1e2", "#2a7ab8", "#0b3a66"])
SURFACE = LinearSegmentedColormap.from_list(
    "surface", ["#3b3f8f", "#2f7f9e", "#4dbd8e", "#c3dd55", "#fbe35a"]
)

# Inches: the whole, the left end of each column, its tiles, and the middle of all.
WIDTH, HEIGHT = 12.0, 5.25
INPUT, FIRST, SECOND, SUM = 4.75, 5.35, 7.4, 9.8
RAMP, STAR, IMAGE = 0.56, 1.06, 2.05
MIDDLE = 2.4
FIRST_STEP, SECOND_STEP = 0.67, 1.28


def example() -> P1Network:
    """A function with a hill and a hollow."""
    grid = Grid((0, 0), np.eye(2), (N, N), "right")
    x, y = grid.vertices() / N
    hill = np.exp(-9 * ((x - 0.72) ** 2 + (y - 0.5) ** 2))
    hollow = np.exp(-9 * ((x - 0.25) ** 2 + (y - 0.25) ** 2))
    return P1Network(grid, 1.5 * hill - 0.8 * hollow + 0.3 * y)


def draw_surface(figure: Figure, network: P1Network) -> None:
    """The graph of the function, and its mesh below."""
    axes = figure.add_axes((-0.035, -0.02, 0.4, 0.94), projection="3d", computed_zorder=False)
    axes.patch.set_visible(False)
    values, (x, y) = network.values, network.mesh.vertices()
    floor = np.full_like(values, values.min() - 0.9)
    corners = np.array([j * (N + 1) + i for j, i in np.ndindex(N, N)])[:, None]
    cells = np.concatenate([corners + [0, 1, N + 2], corners + [0, N + 2, N + 1]])
    below = axes.plot_trisurf(x, y, floor, triangles=cells, shade=False, color="#00000000")
    below.set(linewidth=0.8, edgecolor=WIRE)
    graph = axes.plot_trisurf(x, y, values, triangles=cells, edgecolor="white", cmap=SURFACE)
    graph.set(linewidth=0.9, array=values[cells].mean(axis=1))
    axes.set(xlim=(0, N), ylim=(0, N), zlim=(floor[0], values.max()))
    axes.view_init(elev=29, azim=-116)
    axes.set_box_aspect((1, 1, 0.8), zoom=0.97)
    axes.set_axis_off()


def tile(figure: Figure, left: float, middle: float, size: float) -> Axes:
    """A square of this size in inches that shows the mesh."""
    box = np.array([left, middle - size / 2, size, size]) / [WIDTH, HEIGHT, WIDTH, HEIGHT]
    axes = figure.add_axes(box, facecolor="white")
    axes.set(xlim=(0, N), ylim=(0, N), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=MESH, linewidth=1)
    return axes


def shade(axes: Axes, values: np.ndarray, colors: Colormap, levels: int, mesh: dict) -> None:
    """Level sets of a neuron's values at `pixels`, and the mesh over them; zero stays white."""
    side = np.linspace(0, N, round(values.size**0.5))
    image = np.where(values == 0, np.nan, values).reshape(side.size, side.size)
    axes.contourf(side, side, image, levels, cmap=colors)
    for k in range(N + 1):
        axes.plot([k, k], [0, N], **mesh)
        axes.plot([0, N], [k, k], **mesh)
        axes.plot([k, N], [0, N - k], **mesh)
        axes.plot([0, N - k], [k, N], **mesh)


def wire(figure: Figure, start: tuple, end: tuple, color: str, width: float) -> None:
    (x0, y0), (x1, y1) = np.array([start, end]) / [WIDTH, HEIGHT]
    line = plt.Line2D([x0, x1], [y0, y1], color=color, linewidth=width, solid_capstyle="round")
    figure.add_artist(line)


def write(figure: Figure, x: float, y: float, text: str, size: float = 11, **style: object) -> None:
    style = {"ha": "center", "va": "center", "color": TEXT, **style}
    figure.text(x / WIDTH, y / HEIGHT, text, fontsize=size, linespacing=1.35, **style)


def spread(count: int, step: float) -> np.ndarray:
    """Middles of so many tiles, from the top, and room for dots below."""
    return MIDDLE + 0.17 + step * (np.arange(count)[::-1] - (count - 1) / 2)


def draw_network(figure: Figure, network: P1Network) -> None:
    lines, hats, _ = network.explicit().layers
    pixels = np.array([a.ravel() for a in np.meshgrid(*[np.linspace(0, N, 401)] * 2)])
    first = np.maximum(0, lines(pixels))
    second = np.maximum(0, hats(first))
    vertices = [j * (N + 1) + i for i, j in HATS]
    used = np.unique(hats.weight[vertices].indices)
    first_at = dict(zip(used, spread(len(used), FIRST_STEP), strict=True))
    second_at = dict(zip(vertices, spread(len(vertices), SECOND_STEP), strict=True))
    thin, white = {"color": MESH, "linewidth": 0.4}, {"color": "white", "linewidth": 0.7}

    for neuron, height in first_at.items():
        shade(tile(figure, FIRST, height, RAMP), first[neuron], RAMPS, 7, thin)
        for coordinate in lines.weight[[neuron]].indices:
            source = MIDDLE + (0.45 if coordinate == 0 else -0.1)
            wire(figure, (INPUT + 0.14, source), (FIRST, height), WIRE, 1)
    for (i, j), vertex in zip(HATS, vertices, strict=True):
        height = second_at[vertex]
        shade(tile(figure, SECOND, height, STAR), second[vertex], STARS, 8, thin)
        for neuron in hats.weight[[vertex]].indices:
            wire(figure, (FIRST + RAMP, first_at[neuron]), (SECOND, height), LINE, 1.5)
        start, end = np.array([SECOND + STAR, height]), np.array([SUM, MIDDLE + 0.17])
        wire(figure, start, end, HAT, 1.8)
        (run, rise), length = end - start, np.linalg.norm(end - start)
        x, y = start + 0.4 * (end - start) + 0.23 * np.array([-rise, run]) / length
        write(figure, x, y, f"$u_{{{i}{j}}}$", 13, color=HAT)
    shade(tile(figure, SUM, MIDDLE + 0.17, IMAGE), network(pixels), SURFACE, 16, white)
    for name, height in (("$x$", MIDDLE + 0.45), ("$y$", MIDDLE - 0.1)):
        write(figure, INPUT, height, name, 18)
    for left, below in (
        (FIRST + RAMP / 2, min(first_at.values()) - RAMP / 2),
        (SECOND + STAR / 2, min(second_at.values()) - STAR / 2),
    ):
        write(figure, left, below - 0.2, "⋮", 17)


def main() -> None:
    plt.rcParams.update({"font.family": "DejaVu Sans", "mathtext.fontset": "dejavusans"})
    figure = plt.figure(figsize=(WIDTH, HEIGHT))
    network = example()
    _, num_lines, num_hats, _ = network.explicit().widths
    draw_surface(figure, network)
    draw_network(figure, network)
    write(figure, 4.26, MIDDLE + 0.17, "=", 30)
    captions = (
        (2.05, "P1 function", "a value at every vertex"),
        (FIRST + RAMP / 2, "first layer", f"{num_lines} neurons, one per line"),
        (SECOND + STAR / 2, "second layer", f"{num_hats} neurons, one per hat"),
        (SUM + IMAGE / 2, "output", r"$u = \Sigma\, u_v \varphi_v$"),
    )
    for x, title, text in captions:
        write(figure, x, HEIGHT - 0.2, title, 14, fontweight="bold")
        write(figure, x, HEIGHT - 0.5, text, 12)
    save(figure, Path(__file__).parent / "pictures" / "network.png")


def save(figure: Figure, picture: Path) -> None:
    """Writes the picture with a palette, much smaller than one without."""
    picture.parent.mkdir(exist_ok=True)
    with BytesIO() as full:
        figure.savefig(full, dpi=150, facecolor="none")
        Image.open(full).quantize(256, method=Image.Quantize.FASTOCTREE).save(
            picture, optimize=True
        )


if __name__ == "__main__":
    main()
