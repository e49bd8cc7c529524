# SPDX-License-Identifier: MIT
"""Where a network in the plane has one value: interfaces, boundaries of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.layers.affine import Affine
from fe_relu.layers.network import ReLUNetwork
from fe_relu.regions.regions import layers_of, linear_regions


def contours(network: Any, value: float, domain: Any) -> list[npt.NDArray[np.float64]]:
    """The level set {network = value} as polylines, exact to roundoff.

    Linear regions of |network − value|, whose edges on which that is 0 are the level set. Where the
    network has the value on whole faces, it is the boundary of these.

    Args:
        network: As for `linear_regions`, with two inputs and one output.
        value: Any number.
        domain: As for `linear_regions`.

    Returns:
        Points (2, n) of each polyline, those that close ending where they begin. Where more than
        two meet, all end.

    Raises:
        ValueError: The network has another number of inputs or outputs, value is not finite, or as
            for `linear_regions`.
        TypeError: As for `linear_regions`.

    Examples:
        >>> import fe_relu
        >>> size = fe_relu.ReLUNetwork(  # |x| + |y|
        ...     (fe_relu.Affine([[1, 0], [-1, 0], [0, 1], [0, -1]], [0] * 4),
        ...      fe_relu.Affine([[1, 1, 1, 1]], [0]))
        ... )
        >>> (line,) = fe_relu.contours(size, 0.5, ((-1, 1), (-1, 1)))
        >>> line.shape, float(abs(line).sum(axis=0).min()), bool((line[:, 0] == line[:, -1]).all())
        ((2, 5), 0.5, True)
    """
    layers = layers_of(network)
    if (layers.dim_in, layers.dim_out) != (2, 1):
        raise ValueError(
            f"contours are of networks with two inputs and one output, not {layers.dim_in} and "
            f"{layers.dim_out}"
        )
    if not np.isfinite(value):
        raise ValueError(f"the value of a contour must be finite, not {value}")
    *hidden, output = layers.layers
    both = Affine(np.array([[1.0], [-1.0]]), np.array([-float(value), float(value)]))
    away = ReLUNetwork((*hidden, both @ output, Affine(np.ones((1, 2)), np.zeros(1))))
    regions = linear_regions(away, domain)
    on = regions.values == 0
    starts, counts = regions.corners, np.diff(regions.offsets)
    ends = np.empty_like(starts)
    ends[:-1] = starts[1:]
    ends[regions.offsets[1:] - 1] = starts[regions.offsets[:-1]]
    flat = np.logical_and.reduceat(on[starts], regions.offsets[:-1])
    edge = on[starts] & on[ends] & ~np.repeat(flat, counts)
    pairs = np.unique(np.sort(np.stack([starts[edge], ends[edge]]), axis=0), axis=1)
    return [regions.vertices[:, line] for line in _lines(pairs)]


def _lines(edges: npt.NDArray[np.int64]) -> list[list[int]]:
    """Edges (2, e) as paths: from ends and crossings first, then what is left, which closes."""
    beside: dict[int, set[int]] = {}
    for a, b in zip(*(side.tolist() for side in edges), strict=True):
        beside.setdefault(a, set()).add(b)
        beside.setdefault(b, set()).add(a)
    ends = [v for v, others in beside.items() if len(others) != 2]
    stops, lines = set(ends), []
    for start in [*ends, *beside]:
        while beside[start]:
            line = [start]
            while beside[line[-1]] and (len(line) == 1 or line[-1] not in stops):
                ahead = beside[line[-1]].pop()
                beside[ahead].discard(line[-1])
                line.append(ahead)
            lines.append(line)
    return lines
