# SPDX-License-Identifier: MIT
"""A network as a picture file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import numpy as np

from fe_relu import plot
from fe_relu.basics.refusals import needed
from fe_relu.formats.replacing import replacing, require_replaceable
from fe_relu.networks.nodal import mesh_of
from fe_relu.regions.regions import LinearRegions


def save_picture(network: Any, labels: Sequence[str], path: str) -> None:
    """Draws every output of a network over its mesh, or of linear regions with their edges.

    The picture replaces the file at once.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The network has no mesh, or pictures of this suffix are not known.
        OSError: The file cannot be written.
    """
    draw, outputs = _drawing(network)
    target = os.path.realpath(path)
    require_replaceable(target)
    with needed("matplotlib", "drawing"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * outputs, 5), layout="constrained")
    kind = os.path.splitext(path)[1][1:].lower()
    if kind not in FigureCanvasAgg(figure).get_supported_filetypes():
        raise ValueError(f"{path}: pictures are not known by this suffix; .png is one that is")
    row = figure.subplots(1, outputs, squeeze=False)[0]
    for component, (axes, label) in enumerate(zip(row, labels, strict=True)):
        draw(network, axes, component=component, label=label)
    with replacing(target, b"", 0, None) as temporary:
        figure.savefig(temporary, format=kind, dpi=150)


@singledispatch
def _drawing(network: Any) -> tuple[Callable[..., Any], int]:
    """What draws an output, and how many there are."""
    if mesh_of(network) is None:
        raise ValueError("this network has no mesh to draw it on")
    return plot.function, network.dim_out


@_drawing.register
def _(found: LinearRegions) -> tuple[Callable[..., Any], int]:
    return plot.regions, len(np.atleast_2d(found.values))
