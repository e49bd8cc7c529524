# SPDX-License-Identifier: MIT
"""Draws docs/pictures/surrogates.png: a function with a front, its coefficients, what is kept.

python3 docs/draw_surrogates.py
"""

from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

from fe_relu import Grid, P1Network, plot
from fe_relu.hierarchy import hierarchical_from_network

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

N = 128  # cells along each side
TOL = 0.02  # of the largest value


def example() -> P1Network:
    """A wave whose front is steep along an arc and fades towards one side."""
    grid = Grid((0, 0), np.eye(2) / N, (N, N), "right")
    x, y = grid.vertices()
    front = np.tanh((np.hypot(x, y) - 0.7) / 0.05)
    return P1Network(grid, (1 - 0.6 * x) * (1 + front) / 2 + 0.3 * np.sin(2 * x) * y)


def main() -> None:
    plt.rcParams.update({"font.family": "DejaVu Sans", "mathtext.fontset": "dejavusans"})
    network = example()
    h = hierarchical_from_network(network)
    surrogate = h.compress(tol=TOL, relative=True)
    figure, panels = plt.subplots(2, 2, figsize=(10.5, 8.6), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    plot.function(network, panels[0, 0]).set_title(f"a function on {N} x {N} cells")
    axes = plot.coefficients(h, panels[0, 1])
    axes.set_title("its hierarchical coefficients, sorted in each level")
    smallest = np.abs(surrogate.coefficients).min()
    axes.axhline(smallest, color="#d55e00", linewidth=1.4)
    axes.text(
        0.98,
        1.15 * smallest,
        f"an error of {100 * TOL:g} %:\nabove this line is kept",
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="bottom",
        color="#b34700",
    )
    axes.set_ylim(bottom=1e-6)
    total = network.mesh.num_vertices
    axes = plot.kept(surrogate, panels[1, 0])
    axes.set_title(f"kept: {surrogate.num_kept:,} of {total:,}")
    lines = surrogate.explicit().widths[1]
    plot.kink_lines(surrogate, panels[1, 1]).set_title(f"the lines they need: {lines:,} neurons")
    save(figure, Path(__file__).parent / "pictures" / "surrogates.png")


def save(figure: Figure, picture: Path) -> None:
    """Writes the picture with a palette, much smaller than one without."""
    picture.parent.mkdir(exist_ok=True)
    with BytesIO() as full:
        figure.savefig(full, dpi=130)
        Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            picture, optimize=True
        )


if __name__ == "__main__":
    main()
