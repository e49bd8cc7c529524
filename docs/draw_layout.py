# SPDX-License-Identifier: MIT
"""Draws docs/pictures/layout.png: packages as a tower, and the way of u and of x through it.

python3 docs/draw_layout.py
"""

from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

import fe_relu

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

INK, QUIET, EDGE, BAND = "#1f2933", "#66717e", "#b4bcc6", "#f3f5f8"
U, X = "#d1495b", "#2a7ab8"

#: Floors from the top: name and purpose of each package or module on it, and the colour.
TOWER = (
    ({"cli": "the command line"}, "#f9e9d8"),
    (
        {"plot": "pictures", "deep": "polynomials", "fitting": "weights from data"},
        "#f9e9d8",
    ),
    (
        {
            "formats": "files, ONNX, torch",
            "fenicsx": "knows DOLFINx",
            "sizes": "how large?",
        },
        "#f9e9d8",
    ),
    ({"analysis": "what a network is, and what is proven of it"}, "#e1eef7"),
    ({"regions": "any network in the plane as a P1 function"}, "#e1eef7"),
    ({"hierarchy": "nested meshes: small networks", "cpwl": "sums of maxima"}, "#e1eef7"),
    ({"networks": "a mesh, values and a layout are a network"}, "#e1eef7"),
    ({"meshes": "shapes: vertices, cells, and which of them count at a point"}, "#dcefe4"),
    (
        {"layers": "affine maps and ReLUs", "parallel": "ranks, layouts, messages"},
        "#dcefe4",
    ),
    ({"basics": "arguments, refusals, threads, compiled loops"}, "#e9ebee"),
)
FLOOR = {name: k for k, (names, _) in enumerate(TOWER) for name in names}

#: The stations of u and of x: where, and what happens there; and what comes out.
WAY_OF_U = (
    ("fenicsx/conversion.py", "which space is it, and which value is where?"),
    ("meshes/recognition/recognise.py", "which mesh is it, and which vertex is where?"),
    ("parallel/layouts.py, redistribute.py", "who holds what? values go there"),
    ("networks/p1.py, p2.py", "mesh, values and layout are the network"),
)
WAY_OF_X = (
    ("networks/nodal.py", "an inquiry: the points, and what they ask"),
    ("parallel/layouts.py, routing.py", "answered here, or where the values are"),
    ("meshes/grid/table.py, loops.py", "three values and two weights a point"),
    ("networks/nodal.py", "values, in the order of the points"),
)

# Inches.
WIDTH, HEIGHT, STEP, BOX = 13.4, 7.4, 0.72, 0.62
LEFT, RIGHT, BANDS, TEXT = 0.15, 5.55, 9.1, 9.4
STATIONS = 0.36  # from one to the next, sideways


def height(package: str) -> float:
    """The middle of a floor."""
    return HEIGHT - 0.45 - STEP * FLOOR[package]


def draw_tower(axes: Axes) -> None:
    for names, color in TOWER:
        wide = (RIGHT - LEFT + 0.12) / len(names)
        for k, (name, purpose) in enumerate(names.items()):
            x, y = LEFT + k * wide, height(name) - BOX / 2
            style = "round,pad=0,rounding_size=0.07"
            box = FancyBboxPatch((x, y), wide - 0.12, BOX, style, facecolor=color, edgecolor=EDGE)
            axes.add_patch(box)
            axes.text(x + 0.14, y + 0.4, name, va="center", color=INK, size=13, weight="bold")
            axes.text(x + 0.14, y + 0.17, purpose, va="center", color=QUIET, size=10.5)


def draw_way(axes: Axes, way: tuple, left: float, color: str, source: str, result: str) -> None:
    """Stations one beside the other, each at the height of its package."""
    x = left + STATIONS * np.arange(len(way))
    y = np.array([height(place.split("/")[0]) for place, _ in way])
    style = {"ha": "center", "va": "center", "color": color, "size": 13, "weight": "bold"}
    axes.text(left, height("cli"), source, **style)
    x, y = np.append(left, x), np.append(height("cli"), y)
    for k in range(len(way)):
        axes.annotate("", (x[k + 1], y[k + 1]), (x[k], y[k]), arrowprops=arrow(color))
        number(axes, x[k + 1], y[k + 1], k + 1, color)
    axes.text(x[-1], y[-1] + 0.42, result, **style)


def number(axes: Axes, x: float, y: float, station: int, color: str) -> None:
    axes.plot(x, y, "o", markersize=16, color=color, zorder=5)
    style = {"ha": "center", "va": "center_baseline", "zorder": 6}
    axes.text(x, y, str(station), color="white", size=10.5, weight="bold", **style)


def arrow(color: str) -> dict:
    return {"arrowstyle": "-|>", "color": color, "linewidth": 2, "shrinkA": 8, "shrinkB": 8.5}


def write_way(axes: Axes, way: tuple, top: float, color: str, title: str) -> None:
    axes.text(TEXT, top, title, va="center", color=color, size=13, weight="bold")
    for k, (place, text) in enumerate(way):
        y = top - 0.53 - 0.56 * k
        number(axes, TEXT + 0.13, y, k + 1, color)
        axes.text(TEXT + 0.42, y + 0.1, place, va="center", color=INK, size=11, weight="bold")
        axes.text(TEXT + 0.42, y - 0.12, text, va="center", color=QUIET, size=10.5)


def main() -> None:
    root = Path(fe_relu.__file__).parent
    assert {path.parent.name for path in root.glob("*/__init__.py")} | {"plot", "deep"} == set(
        FLOOR
    )
    plt.rcParams.update({"font.family": "DejaVu Sans"})
    figure = plt.figure(figsize=(WIDTH, HEIGHT))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.set_axis_off()
    for names, _ in TOWER:
        y = height(next(iter(names)))
        axes.add_patch(
            plt.Rectangle((RIGHT, y - BOX / 2), BANDS - RIGHT, BOX, color=BAND, zorder=0)
        )
    draw_tower(axes)
    draw_way(axes, WAY_OF_U, RIGHT + 0.35, U, "u", "network")
    draw_way(axes, WAY_OF_X, RIGHT + 2.1, X, "x", "values")
    write_way(axes, WAY_OF_U, height("cli"), U, "network = network_from_function(u)")
    write_way(axes, WAY_OF_X, HEIGHT / 2 - 0.15, X, "values = network(x)")
    save(figure, Path(__file__).parent / "pictures" / "layout.png")


def save(figure: Figure, picture: Path) -> None:
    """Writes the picture with a palette, much smaller than one without."""
    picture.parent.mkdir(exist_ok=True)
    with BytesIO() as full:
        figure.savefig(full, dpi=130)
        Image.open(full).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(
            picture, optimize=True
        )


if __name__ == "__main__":
    main()
