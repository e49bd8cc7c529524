# SPDX-License-Identifier: MIT
"""Property files for verifiers: the bounds of a network as a claim to be proven."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fe_relu.analysis.bounds import bounds, bounds_around
from fe_relu.analysis.intervals import NetworkBounds, roundoff
from fe_relu.basics.arguments import Box, checked_box
from fe_relu.formats.forms import DType, checked_dtype, fewest_weights, in_dtype, layers_of
from fe_relu.formats.replacing import replacing, require_replaceable
from fe_relu.networks.nodal import layout_of, mesh_of, whole_of
from fe_relu.parallel.agreement import together

Version = Literal["1.0", "2.0"]

#: Of the range of an output: a margin that verifiers, which check witnesses up to this, can tell.
LEAST_MARGIN = 1e-4


def write_vnnlib(
    path: str | os.PathLike[str],
    network: Any,
    box: Box | None = None,
    *,
    margin: float | None = None,
    dtype: DType | None = None,
    version: Version = "1.0",
) -> None:
    """Writes that over a box some output leaves its bounds: a verifier must answer `unsat`.

    Inputs are X_0, X_1, …, outputs Y_0, Y_1, …, as in VNN-LIB 1.0; in 2.0 they are X[0,0], …, of a
    batch of one point. Collective over the network's `comm`, if it has one: rank 0 writes.

    Args:
        path: The file, by custom named `.vnnlib`; a link is followed, a folder must exist, and a
            crash leaves the old file or the new one.
        network: The network that the claim is about, as `explicit()` or an export of it.
        box: The inputs; by default the smallest box around the network's mesh.
        margin: How far beyond its bounds an output has to be, above 0. By default 1e-4 of its
            range, or more where the roundoff of the layers may be more. With no margin the bounds
            themselves, which are attained, would be `sat`.
        dtype: That of the exported layers, as for `to_onnx`.
        version: Of the format, "1.0" or "2.0".

    Raises:
        ValueError: The box is missing, empty, flat or not finite; margin is not positive; there is
            no such dtype or version; or there is something at path that is no regular file.
        TypeError: The network is of another kind.
        OSError: The file cannot be written; on every rank.

    Examples:
        >>> import pathlib, tempfile, numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right")
        >>> network = fe_relu.P1Network(grid, np.arange(9.0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "u.vnnlib"
        ...     fe_relu.write_vnnlib(path, network, ((0, 1), (0, 1)), margin=0.5)
        ...     path.read_text().splitlines()[-2].strip()
        '(and (>= Y_0 4.5))'
    """
    comm = layout_of(network).comm
    with together(comm) as terms:
        fewest_weights(network)  # of another kind: refused
        sides = _sides(network, box)
        if margin is not None and not 0 < margin < np.inf:
            raise ValueError(f"margin must be positive and finite, not {margin}")
        if version not in ("1.0", "2.0"):
            raise ValueError(f'version must be "1.0" or "2.0", not {version!r}')
        dtype = checked_dtype(dtype)
        target = os.path.realpath(os.fsdecode(path))
        require_replaceable(target)
        terms.alike("boxes", sides)
        terms.alike("options", (margin, dtype, version))
    whole = whole_of(network, root=0)
    with together(comm):
        if whole is not None:
            whole = in_dtype(whole, dtype)
            found = bounds_around(whole) if sides is None else bounds(whole, sides)
            region = np.array(found.box)
            off = _margins(whole, found, region) if margin is None else margin
            claim = _claim(region, found.lower - off, found.upper + off, version, whole.dtype)
            _write(target, claim.encode())


def _sides(network: Any, box: Box | None) -> list[list[float]] | None:
    if box is not None:
        return [[float(low), float(high)] for low, high in checked_box(box, network.dim_in)]
    if mesh_of(network) is None:
        raise ValueError("the inputs of a ReLUNetwork need a box, ((x0, x1), …); it has no domain")
    return None


def _margins(network: Any, found: NetworkBounds, region: npt.NDArray) -> npt.NDArray[np.float64]:
    """Of each output: what a verifier can tell, and what the layers may be off by."""
    size = np.maximum(np.abs(found.lower), np.abs(found.upper))
    spread = np.where(found.upper > found.lower, found.upper - found.lower, size)
    least = LEAST_MARGIN * np.where(spread > 0, spread, 1)
    return np.maximum(least, roundoff(network, layers_of(network), region)[-1])


def _claim(
    sides: npt.NDArray, lower: npt.NDArray, upper: npt.NDArray, version: str, dtype: np.dtype
) -> str:
    """That in the box some output is at most `lower` or at least `upper`."""
    x, y = ("X_{}", "Y_{}") if version == "1.0" else ("X[0,{}]", "Y[0,{}]")
    lines = ["; Some output leaves the bounds that fe_relu gives: to be answered unsat."]
    if version == "1.0":
        lines += [f"(declare-const {x.format(i)} Real)" for i in range(len(sides))]
        lines += [f"(declare-const {y.format(k)} Real)" for k in range(len(lower))]
    else:
        lines += ["(vnnlib-version <2.0>)", "(declare-network u"]
        lines += [f"    (declare-input X {dtype} [1,{len(sides)}])"]
        lines += [f"    (declare-output Y {dtype} [1,{len(lower)}])", ")"]
    for relation, column in ((">=", 0), ("<=", 1)):
        for i, side in enumerate(sides[:, column]):
            lines.append(f"(assert ({relation} {x.format(i)} {_decimal(side)}))")
    lines.append("(assert (or")
    for relation, limits in (("<=", lower), (">=", upper)):
        for k, limit in enumerate(limits):
            lines.append(f"    (and ({relation} {y.format(k)} {_decimal(limit)}))")
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
