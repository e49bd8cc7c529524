# SPDX-License-Identifier: MIT
"""Draws the pictures of docs/deep.md and docs/depth.md, from the networks themselves.

python3 docs/draw_depth.py
"""

import itertools
import sys
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

import fe_relu
from fe_relu import cpwl, deep

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

sys.path.insert(0, str(Path(__file__).parent.parent / "demos"))
import benchmark_depth

MESH, INK, QUIET = "#b4bcc6", "#1f2933", "#66717e"
RED, BLUE, GREEN, GOLD = "#d1495b", "#2a7ab8", "#3d8361", "#c98a1b"
PICTURES = Path(__file__).parent / "pictures"


def sawtooth(t: np.ndarray, times: int) -> np.ndarray:
    """G ∘ … ∘ g, as the layers of the square network have it."""
    for _ in range(times):
        t = 2 * np.maximum(0, t) - 4 * np.maximum(0, t - 0.5)
    return t


def draw_compositions() -> None:
    figure, panels = plt.subplots(2, 4, figsize=(11, 5.6))
    figure.subplots_adjust(left=0.035, right=0.99, top=0.93, bottom=0.06, wspace=0.16, hspace=0.32)
    t = np.linspace(0, 1, 1025)
    names = ["g", "g ∘ g", "g ∘ g ∘ g"]
    for axes, times, name in zip(panels[0], (1, 2, 3), names, strict=False):
        axes.plot(t, sawtooth(t, times), color=BLUE, linewidth=1.8)
        axes.set_title(f"{name}  =  {2 ** (times - 1)} hat{'s' * (times > 1)} of level {times}")
    last = panels[0, 3]
    last.plot(t, t**2, color=INK, linewidth=2.2, label="x²")
    for levels, color in zip((0, 1, 2), (MESH, GOLD, RED), strict=True):
        values = deep.square_network(levels)([t])
        last.plot(t, values, color=color, linewidth=1.4, label=f"{levels} levels")
    last.legend(frameon=False, fontsize=8.5)
    last.set_title(r"$x^2$ from above: $x - \sum_\ell 4^{-\ell} g_\ell$")

    side = np.linspace(-1, 1, 257)
    x = np.stack(np.meshgrid(side, side)).reshape(2, -1)
    products = [deep.product_network(levels)(x) for levels in range(4)]
    shown = [b - a for a, b in itertools.pairwise(products)] + [x[0] * x[1] - products[3]]
    titles = [
        f"xy: what level {k} adds, {'¼' if k == 1 else '¹⁄₁₆' if k == 2 else '¹⁄₆₄'} high"
        for k in (1, 2, 3)
    ]
    titles.append("what 3 levels leave, ¹⁄₂₅₆ high")
    for axes, values, level, title in zip(panels[1], shown, (1, 2, 3, 3), titles, strict=True):
        axes.imshow(values.reshape(257, 257), extent=(-1, 1, -1, 1), origin="lower", cmap="Blues")
        axes.add_collection(LineCollection(left_lines(level), colors=INK, linewidths=0.35))
        axes.set_title(title)
        axes.set(xlim=(-1, 1), ylim=(-1, 1), xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    finish(figure, panels, "compositions")


def left_lines(level: int) -> np.ndarray:
    """Segments of the mesh with diagonals x + y = constant on [−1, 1]²."""
    places = np.linspace(-1, 1, 2 * 2**level + 1)
    segments = [[(-1, p), (1, p)] for p in places] + [[(p, -1), (p, 1)] for p in places]
    for c in 2 * places:
        low, high = max(-1, c - 1), min(1, c + 1)
        segments.append([(low, c - low), (high, c - high)])
    return np.array(segments)


def draw_surpluses() -> None:
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.2))
    figure.subplots_adjust(left=0.07, right=0.985, top=0.88, bottom=0.15, wspace=0.2)
    for axes, power in zip(panels, (2, 3), strict=True):
        for level, color in zip((1, 2, 3, 4), (INK, GOLD, BLUE, RED), strict=True):
            h = 2.0**-level
            m = np.arange(h, 1, 2 * h)
            surplus = m**power - ((m - h) ** power + (m + h) ** power) / 2
            axes.plot(m, surplus * 4**level, "o-", color=color, markersize=4 + 3 * h * 4,
                      linewidth=0.8, label=f"level {level}")  # fmt: skip
        axes.set_title(rf"surpluses of $x^{power}$ on level $\ell$, times $4^\ell$")
        axes.set(xlim=(0, 1), ylim=(-3.1, 0.1), xlabel="x")
        axes.legend(frameon=False, fontsize=8.5, loc="lower left")
    panels[0].text(0.5, -0.75, "equal: one sawtooth a level", ha="center", color=QUIET)
    panels[1].text(0.97, -0.55, "−3 x: no sawtooth is that", ha="right", color=QUIET)
    finish(figure, panels, "surpluses")


#: Functions on [−1, 1] with ρ and M, as `analytic_network` takes them.
ANALYTIC = {
    "exp x": (np.exp, (4.0, float(np.exp((4 + 1 / 4) / 2))), BLUE),
    "1 / (1 + 9 x²)": (
        lambda x: 1 / (1 + 9 * x * x),
        (1.3, 1 / (1 - 9 * (0.5 * (1.3 - 1 / 1.3)) ** 2)),
        GREEN,
    ),
}


def draw_rates() -> None:
    figure, axes = plt.subplots(figsize=(8.6, 4.6))
    figure.subplots_adjust(left=0.085, right=0.985, top=0.95, bottom=0.115)
    x = np.linspace(-1, 1, 20_001)
    series: dict[str, tuple[str, list[tuple[int, float, float]]]] = {}
    rows = []
    for levels in range(1, 14):
        network = deep.square_network(levels)
        error = np.abs(network([(x + 1) / 2]) - ((x + 1) / 2) ** 2).max()
        rows.append((network.hidden_layers, error, network.error_bound))
    series["x²"] = INK, rows
    cubic, rows = [0.2, -1, 0.5, 1.3], []
    for levels in range(1, 14):
        network = deep.polynomial_network(cubic, levels, domain=(-1, 1))
        error = np.abs(network([x]) - np.polynomial.polynomial.polyval(x, cubic)).max()
        rows.append((network.hidden_layers, error, network.error_bound))
    series["a cubic polynomial"] = GOLD, rows
    for name, (function, ellipse, color) in ANALYTIC.items():
        rows = []
        for tol in 10.0 ** -np.arange(1, 8):
            network = deep.analytic_network(function, tol, domain=(-1, 1), ellipse=ellipse)
            error = np.abs(network([x]) - function(x)).max()
            rows.append((network.hidden_layers, error, network.error_bound))
        series[name] = color, rows
    print("hidden layers, measured error, proven bound")
    for name, (color, rows) in series.items():
        layers, errors, bounds = np.array(rows).T
        axes.plot(
            np.sqrt(layers), errors, "o-", color=color, linewidth=1.6, markersize=4, label=name
        )
        axes.plot(np.sqrt(layers), bounds, "--", color=color, linewidth=1)
        print(f"{name:<20s}", *(f"{int(n)}: {e:.0e} ≤ {b:.0e}" for n, e, b in rows[::3]), sep="  ")
    ticks = [1, 4, 9, 16, 36, 64, 100, 144, 225, 400]
    axes.set_xticks(np.sqrt(ticks), [str(tick) for tick in ticks])
    axes.set(yscale="log", xlabel="hidden layers (their square root is drawn)", ylim=(3e-10, 1))
    axes.set_ylabel("largest error; dashed: proven bound")
    axes.legend(frameon=False)
    finish(figure, np.array([axes]), "rates")


def draw_convex() -> None:
    mesh = benchmark_depth.delaunay(24)
    vertices, cells, own = mesh.extended
    values = np.zeros(vertices.shape[1])
    values[:own] = benchmark_depth.bump(vertices[:, :own])
    g, h = cpwl.dc_decomposition(mesh, values[:own])
    side = np.linspace(-0.05, 1.05, 301)
    x = np.stack(np.meshgrid(side, side)).reshape(2, -1)
    edges, weights = cpwl.rays.weights(vertices, cells, values)
    figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.4))
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.03, wspace=0.05)
    u = fe_relu.P1Network(mesh, values[:own])(x, outside="nan")
    shown = {"u": u, "g, convex": g(x), "h, convex": h(x)}
    for axes, (title, found) in zip(panels, shown.items(), strict=True):
        found = found.reshape(301, 301)
        axes.contour(side, side, np.ma.masked_invalid(found), 16, colors=QUIET, linewidths=0.7)
        axes.set_title(title)
        axes.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), xticks=[], yticks=[], aspect="equal")
    colors = np.where(weights > 0, BLUE, RED)
    segments = vertices[:, edges].transpose(2, 1, 0)
    panels[0].add_collection(LineCollection(segments, colors=colors, linewidths=1.2))
    panels[0].set_title("u, bent up (blue) and down (red)")
    finish(figure, panels, "convex")


def draw_awake() -> None:
    figure, axes = plt.subplots(figsize=(7.6, 3.6))
    figure.subplots_adjust(left=0.09, right=0.985, top=0.95, bottom=0.14)
    x = np.random.default_rng(2).random((32, 2000))
    colors = (BLUE, GREEN, GOLD, QUIET, RED)
    for (name, network), color in zip(
        benchmark_depth.networks_awake().items(), colors, strict=True
    ):
        found = fe_relu.activation_statistics(network, x[: network.dim_in])
        layers = np.arange(1, len(found.widths) + 1)
        axes.plot(layers, 100 * found.share, "o-", color=color, linewidth=1.6, label=name)
    axes.set(yscale="log", xlabel="hidden layer", ylabel="neurons awake at a point, %")
    axes.legend(frameon=False, fontsize=8.5)
    finish(figure, np.array([axes]), "awake")


def finish(figure: mpl.figure.Figure, panels: np.ndarray, name: str) -> None:
    """Writes the picture with a palette, much smaller than one without."""
    for axes in panels.flat:
        quiet(axes)
    with BytesIO() as full:
        figure.savefig(full, dpi=180)
        Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            PICTURES / f"{name}.png", optimize=True
        )
    plt.close(figure)


def quiet(axes: Axes) -> None:
    axes.tick_params(labelsize=8, length=2.5, color=QUIET, labelcolor=QUIET)
    axes.title.set(fontsize=10.5, color=INK)
    for spine in axes.spines.values():
        spine.set_color(MESH)


if __name__ == "__main__":
    plt.rcParams.update({"font.family": "DejaVu Sans", "mathtext.fontset": "dejavusans"})
    draw_compositions()
    draw_surpluses()
    draw_rates()
    draw_convex()
    draw_awake()
