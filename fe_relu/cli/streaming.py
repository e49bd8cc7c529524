# SPDX-License-Identifier: MIT
"""Values at the points of a file, in a file, in memory that does not grow with their number.

Every rank evaluates the rows that it reads and writes them where only it sees them; when all have
come through, their parts become one file, in the order of the rows.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.cli.network_files import Named, checked_suffix
from fe_relu.cli.npy_points import Block, NpyPoints
from fe_relu.cli.text_points import TextPoints
from fe_relu.cli.value_files import FORMATS, Values
from fe_relu.formats.replacing import replacing, require_replaceable, told_of
from fe_relu.networks.nodal import Outside, mesh_of
from fe_relu.parallel.agreement import gathered, rank_of, size_of, together

if TYPE_CHECKING:
    from mpi4py import MPI

Points = NpyPoints | TextPoints


def evaluate_file(
    named: Named,
    points_path: str,
    values_path: str,
    *,
    outside: Outside = "extend",
    comm: MPI.Comm | None = None,
) -> int:
    """Evaluates a network at the points of a file into another; how many points. Collective.

    Args:
        named: The network; if it is spread over ranks, over those of comm.
        points_path: As for `points_in`.
        values_path: An npy file, values shape (n,) or (n, k), or a csv file, one line for each
            point and a first line with names if the points have one.
        outside: As for `P1Network`; networks without a mesh know "extend" only.
        comm: The ranks that share the points; None for this process alone.

    Raises:
        ValueError: A point or a file is not as it should be; the message names file and place.
        OSError: A file cannot be read or written.
    """
    with contextlib.ExitStack() as stack:
        with together(comm):
            target = os.path.realpath(values_path)
            form = FORMATS[checked_suffix(values_path, FORMATS, {}, {})]
            require_replaceable(target)
            _check_outside(named.network, outside)
            points = points_in(points_path, named.network.dim_in)
            with told_of(target):
                part = stack.enter_context(tempfile.TemporaryFile(dir=os.path.dirname(target)))
        dtype = np.result_type(named.network.dtype, points.precision)
        count = 0
        with _progress(points, comm) as advance:
            for block, values in _evaluated(named.network, points, outside, comm):
                with together(comm):
                    part.write(form.body(values.astype(dtype, copy=False)))
                    count += len(block.points)
                    advance(block.nbytes)
        total = sum(gathered(comm, count))
        labels = named.labels if points.titled else None
        start = form.start(Values(total, named.network.dim_out, dtype, labels))
        _join(part, start, target, comm)
    return total


def points_in(path: str, dim: int) -> Points:
    """The points in a file: npy by its suffix, else text.

    Args:
        path: The file.
        dim: Coordinates that count; there may be a third column, which is ignored.

    Raises:
        ValueError: It holds no points, or not of that many coordinates, or it is a pipe.
        OSError: It cannot be opened.
    """
    kind = NpyPoints if path.lower().endswith(".npy") else TextPoints
    try:
        return kind.of(path, {dim, max(dim, 3)})
    except OSError as error:
        if not isinstance(error, io.UnsupportedOperation) and error.errno != errno.ESPIPE:
            raise
        raise ValueError(f"{path}: a pipe; points are read from a file only") from error


def _join(part: IO[bytes], start: bytes, target: str, comm: MPI.Comm | None) -> None:
    """All ranks' parts after the start, in one file that takes the target's place."""
    sizes = gathered(comm, part.tell())
    before, size = len(start) + sum(sizes[: rank_of(comm)]), len(start) + sum(sizes)
    with replacing(target, start, size, comm) as temporary, open(temporary, "r+b") as file:
        part.seek(0)
        file.seek(before)
        shutil.copyfileobj(part, file, 1 << 20)


def _evaluated(
    network: Any, points: Points, outside: Outside, comm: MPI.Comm | None
) -> Iterator[tuple[Block, npt.NDArray]]:
    """Blocks with their values (n, k), as many on every rank; the last ones may be empty."""
    blocks = points.blocks(rank_of(comm), size_of(comm))
    nothing = Block(np.empty((0, network.dim_in), points.precision), lambda k: "", 0)
    options = {} if outside == "extend" else {"outside": outside}
    while True:
        with together(comm):
            block = next(blocks, None)
            if block is not None and outside == "raise":
                _require_inside(network, block)
        if not any(gathered(comm, block is not None)):
            return
        block = block or nothing
        with together(comm):
            values = network(block.points.T, **options)
        yield block, np.atleast_2d(values).T


def _check_outside(network: Any, outside: Outside) -> None:
    if outside != "extend" and mesh_of(network) is None:
        raise ValueError(f"--outside {outside} is for networks with a mesh, which this one has not")


def _require_inside(network: Any, block: Block) -> None:
    beyond = np.flatnonzero(~network.mesh.contains(block.points.T))
    if beyond.size:
        first = int(beyond[0])
        x, y = map(float, block.points[first, :2])
        raise ValueError(
            f"{block.place(first)}: the point ({x}, {y}) is outside the mesh; --outside extend or "
            "nan allows it"
        )


@contextlib.contextmanager
def _progress(points: Points, comm: MPI.Comm | None) -> Iterator[Callable[[int], object]]:
    """What to tell of bytes that are done: a bar on a terminal where tqdm is installed."""
    tqdm = None
    if rank_of(comm) == 0 and sys.stderr.isatty():
        with contextlib.suppress(ModuleNotFoundError):
            tqdm = importlib.import_module("tqdm").tqdm
    if tqdm is None:
        yield lambda done: None
        return
    total = points.share(0, size_of(comm))
    with tqdm(total=total, unit="B", unit_scale=True, leave=False) as bar:
        yield bar.update
