# SPDX-License-Identifier: MIT
"""A function as a picture: its values at the pixels, in colour."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fe_relu.grid import Grid
from fe_relu.optional import needed
from fe_relu.replacing import replacing, require_replaceable

#: Pixels along the longer side.
PIXELS = 800


def save_picture(network: Any, labels: Sequence[str], path: str) -> None:
    """Draws every output of a network over its mesh; the picture replaces the file at once.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The network has no mesh, or pictures of this suffix are not known.
        OSError: The file cannot be written.
    """
    grid = getattr(network, "grid", None)
    if not isinstance(grid, Grid):
        raise ValueError("this network has no mesh to draw it on")
    target = os.path.realpath(path)
    require_replaceable(target)
    with needed("matplotlib", "drawing"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    low, high = grid.corners.min(axis=1), grid.corners.max(axis=1)
    counts = np.maximum(1, np.ceil(PIXELS * (high - low) / (high - low).max())).astype(int)
    middles = [
        a + (np.arange(n) + 0.5) * (b - a) / n for a, b, n in zip(low, high, counts, strict=True)
    ]
    x = np.stack(np.meshgrid(*middles)).reshape(2, -1)
    values = np.atleast_2d(network(x, outside="nan")).reshape(-1, counts[1], counts[0])
    figure = Figure(figsize=(6 * len(values), 5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    kind = os.path.splitext(path)[1][1:].lower()
    if kind not in canvas.get_supported_filetypes():
        raise ValueError(f"{path}: pictures are not known by this suffix; .png is one that is")
    for axes, label, image in zip(
        figure.subplots(1, len(values), squeeze=False)[0], labels, values, strict=True
    ):
        shown = axes.imshow(image, origin="lower", extent=(low[0], high[0], low[1], high[1]))
        figure.colorbar(shown, ax=axes, label=label)
        axes.set(xlabel="x", ylabel="y")
    with replacing(target, b"", 0, None) as temporary:
        figure.savefig(temporary, format=kind, dpi=150)
