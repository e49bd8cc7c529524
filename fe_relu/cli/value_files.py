# SPDX-License-Identifier: MIT
"""Values in files: an npy array, or lines of text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Values(NamedTuple):
    """What a file of values is to hold: how many numbers of which type for each of how many points.

    Labels name the numbers in a first line of text, if any.
    """

    points: int
    components: int
    dtype: np.dtype
    labels: list[str] | None


class Format(NamedTuple):
    """The start of a file that holds values, and values (n, k) as the bytes that follow."""

    start: Callable[[Values], bytes]
    body: Callable[[npt.NDArray], bytes]


def _npy_start(values: Values) -> bytes:
    shape = (values.points,) if values.components == 1 else (values.points, values.components)
    descr = np.lib.format.dtype_to_descr(values.dtype)
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def _npy_body(values: npt.NDArray) -> bytes:
    return np.ascontiguousarray(values).tobytes()


def _csv_start(values: Values) -> bytes:
    text = io.StringIO()
    if values.labels is not None:
        csv.writer(text, lineterminator="\n").writerow(values.labels)
    return text.getvalue().encode()


def _csv_body(values: npt.NDArray) -> bytes:
    """The shortest decimal numbers that are read as the same binary ones."""
    if values.dtype == np.float64:
        rows = [[repr(number) for number in row] for row in values.tolist()]
    else:
        rows = [[str(number) for number in row] for row in values]
    return "".join(",".join(row) + "\n" for row in rows).encode()


#: By suffix.
FORMATS: dict[str, Format] = {
    ".npy": Format(_npy_start, _npy_body),
    ".csv": Format(_csv_start, _csv_body),
}
