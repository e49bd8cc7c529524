# SPDX-License-Identifier: MIT
"""Values at the points of a file, in a file, in memory that does not grow with their number.

Every rank evaluates the rows that it reads and writes them where only it sees them; when all have
come through, their parts become one file, in the order of the rows.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from io import FileIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.cli.networks import Named, checked_suffix
from fe_relu.cli.points import Block, Points, points_in
from fe_relu.cli.text import plain
from fe_relu.formats.replacing import replacing, require_replaceable, told_of
from fe_relu.networks.nodal import Outside, mesh_of
from fe_relu.parallel.agreement import gathered, rank_of, size_of, together

if TYPE_CHECKING:
    from mpi4py import MPI


class Format(NamedTuple):
    """The start of a file, from shape, type and names of the values, and values (n, k) as bytes."""

    start: Callable[[tuple[int, ...], np.dtype, list[str] | None], bytes]
    body: Callable[[npt.NDArray], bytes]


def _npy_start(shape: tuple[int, ...], dtype: np.dtype, names: list[str] | None) -> bytes:
    descr, file = np.lib.format.dtype_to_descr(dtype), io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def _csv_start(shape: tuple[int, ...], dtype: np.dtype, names: list[str] | None) -> bytes:
    return _lines([]) if names is None else _lines([map(plain, names)])


def _csv_body(values: npt.NDArray) -> bytes:
    """The shortest decimal numbers that are read as the same binary ones."""
    return _lines(values.tolist() if values.dtype == np.float64 else values)


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


#: By suffix.
FORMATS: dict[str, Format] = {
    ".npy": Format(_npy_start, lambda values: np.ascontiguousarray(values).tobytes()),
    ".csv": Format(_csv_start, _csv_body),
}


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
            require_replaceable(target)
            form = FORMATS[checked_suffix(values_path, FORMATS)]
            if outside != "extend" and mesh_of(named.network) is None:
                raise ValueError(f"--outside {outside} is for networks with a mesh; this has none")
            points = points_in(points_path, named.network.dim_in)
            with told_of(target):
                folder = os.path.dirname(target)
                part = stack.enter_context(tempfile.TemporaryFile(buffering=0, dir=folder))
        dtype = np.result_type(named.network.dtype, points.precision)
        count = 0
        with _progress(points, comm) as advance:
            for block, values in _evaluated(named.network, points, outside, comm):
                with together(comm), told_of(target):
                    _write(part, form.body(values.astype(dtype, copy=False)))
                    count += len(values)
                    advance(block.nbytes)
        total, outputs = sum(gathered(comm, count)), named.network.dim_out
        shape = (total,) if outputs == 1 else (total, outputs)
        start = form.start(shape, dtype, named.labels if points.titled else None)
        sizes = gathered(comm, part.tell())
        before, size = len(start) + sum(sizes[: rank_of(comm)]), len(start) + sum(sizes)
        with replacing(target, start, size, comm) as temporary, open(temporary, "r+b") as file:
            part.seek(0)
            file.seek(before)
            shutil.copyfileobj(part, file, 1 << 20)
    return total


def _write(file: FileIO, content: bytes) -> None:
    """Without a buffer, so that what does not fit on the disk is not tried once more on closing."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]


def _evaluated(
    network: Any, points: Points, outside: Outside, comm: MPI.Comm | None
) -> Iterator[tuple[Block, npt.NDArray]]:
    """Blocks with their values (n, k), as many on every rank; the last ones may be empty."""
    blocks = points.blocks(rank_of(comm), size_of(comm))
    nothing = Block(np.empty((points.dim, 0), points.precision), lambda k: "", 0)
    options = {} if outside == "extend" else {"outside": outside}
    while True:
        with together(comm):
            block = next(blocks, None)
            if block is not None and outside == "raise":
                inside = network.mesh.contains(block.points)
                block.require(inside, "is outside the mesh; --outside extend or nan allows it")
        if not any(gathered(comm, block is not None)):
            return
        block = block or nothing
        with together(comm):
            values = network(block.points, **options)
        yield block, np.atleast_2d(values).T


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
