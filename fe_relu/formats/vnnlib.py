# SPDX-License-Identifier: MIT
"""Property files for verifiers: the bounds of a network as a claim to be proven."""

from __future__ import annotations

import os
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.analysis.bounds import bounds
from fe_relu.basics.arguments import Box, checked_box
from fe_relu.basics.refusals import wrong_kind
from fe_relu.formats.replacing import replacing, require_replaceable
from fe_relu.layers.network import ReLUNetwork
from fe_relu.networks.nodal import layout_of
from fe_relu.networks.p1 import P1Network
from fe_relu.parallel.agreement import rank_of


def write_vnnlib(
    path: str | os.PathLike[str],
    network: P1Network | ReLUNetwork,
    box: Box | None = None,
    *,
    margin: float | None = None,
) -> None:
    """Writes that over a box some output leaves its bounds: a verifier must answer `unsat`.

    Inputs are X_0, X_1, …, outputs Y_0, Y_1, …, as in the VNN-LIB format. Collective over the comm
    of a `P1Network`; rank 0 writes.

    Args:
        path: The file, by custom named `.vnnlib`; a link is followed, a folder must exist, and a
            crash leaves the old file or the new one.
        network: The network that the claim is about, as `explicit()` or an export of it.
        box: The inputs; by default the smallest box around the grid of a `P1Network`.
        margin: How far beyond its bounds an output has to be, above 0; by default 1e-6 of the
            largest absolute bound, for verifiers that compute in single precision or solve up to a
            tolerance. With no margin the bounds themselves, which are attained, would be `sat`.

    Raises:
        ValueError: The box is missing, empty, flat or not finite; margin is not positive; or there
            is something at path that is no regular file.
        TypeError: The network is of another kind.
        OSError: The file cannot be written; on every rank.
    """
    layout = layout_of(network)
    with layout.together():
        if margin is not None and not 0 < margin < np.inf:
            raise ValueError(f"margin must be positive and finite, not {margin}")
        sides = _sides(network, box)
        target = os.path.realpath(os.fsdecode(path))
        require_replaceable(target)
    found = bounds(network, sides)
    size = max(np.abs(found.lower).max(), np.abs(found.upper).max())
    margin = 1e-6 * (size or 1.0) if margin is None else margin
    with layout.together():
        if rank_of(layout.comm) == 0:
            _write(target, _claim(sides, found.lower - margin, found.upper + margin).encode())


@singledispatch
def _sides(network: Any, box: Box | None) -> npt.NDArray[np.float64]:
    """The inputs that a claim about a network is of."""
    raise wrong_kind(network, "a P1Network or ReLUNetwork", "to_p1", "explicit")


@_sides.register
def _(network: P1Network, box: Box | None) -> npt.NDArray[np.float64]:
    outline = network.mesh.outline
    around = np.array([outline.min(axis=1), outline.max(axis=1)]).T
    return around if box is None else checked_box(box, network.dim_in)


@_sides.register
def _(network: ReLUNetwork, box: Box | None) -> npt.NDArray[np.float64]:
    if box is None:
        raise ValueError("the inputs of a ReLUNetwork need a box, ((x0, x1), …); it has no domain")
    return checked_box(box, network.dim_in)


def _claim(sides: npt.NDArray, lower: npt.NDArray, upper: npt.NDArray) -> str:
    """That in the box some output is at most `lower` or at least `upper`."""
    lines = ["; Some output leaves the bounds that fe_relu gives: to be answered unsat."]
    lines += [f"(declare-const X_{i} Real)" for i in range(len(sides))]
    lines += [f"(declare-const Y_{k} Real)" for k in range(len(lower))]
    for relation, column in ((">=", 0), ("<=", 1)):
        for i, side in enumerate(sides[:, column]):
            lines.append(f"(assert ({relation} X_{i} {_decimal(side)}))")
    lines.append("(assert (or")
    for relation, limits in (("<=", lower), (">=", upper)):
        for k, limit in enumerate(limits):
            lines.append(f"    (and ({relation} Y_{k} {_decimal(limit)}))")
    return "\n".join([*lines, "))\n"])


def _decimal(number: float) -> str:
    """All digits and no exponent, which the format has none of."""
    return np.format_float_positional(number, unique=True, trim="0")


def _write(target: str, content: bytes) -> None:
    with (
        replacing(target, content, len(content), None) as temporary,
        open(temporary, "r+b") as file,
    ):
        os.fsync(file.fileno())
