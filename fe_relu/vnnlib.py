# SPDX-License-Identifier: MIT
"""Property files for verifiers: the bounds of a network as a claim to be proven."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from fe_relu.intervals import Box, checked_box
from fe_relu.network import ReLUNetwork
from fe_relu.p1 import P1Network
from fe_relu.parallel import together
from fe_relu.remedies import wrong_kind
from fe_relu.replacing import replacing, require_replaceable


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
    comm = getattr(network, "comm", None)
    with together(comm):
        if not isinstance(network, P1Network | ReLUNetwork):
            taken = "a P1Network or ReLUNetwork"
            raise wrong_kind(network, taken, "to_p1", "explicit")
        if margin is not None and not 0 < margin < np.inf:
            raise ValueError(f"margin must be positive and finite, not {margin}")
        sides = _sides(network, box)
        target = os.path.realpath(os.fsdecode(path))
        require_replaceable(target)
    bounds = network.bounds([(low, high) for low, high in sides])
    size = max(np.abs(bounds.lower).max(), np.abs(bounds.upper).max())
    margin = 1e-6 * (size or 1.0) if margin is None else margin
    with together(comm):
        if comm is None or comm.rank == 0:
            _write(target, _claim(sides, bounds.lower - margin, bounds.upper + margin).encode())


def _sides(network: P1Network | ReLUNetwork, box: Box | None) -> npt.NDArray[np.float64]:
    if box is None and isinstance(network, P1Network):
        corners = network.grid.corners
        return np.array([corners.min(axis=1), corners.max(axis=1)]).T
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
