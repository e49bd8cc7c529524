# SPDX-License-Identifier: MIT
"""What of a network is stored, facts and arrays, and where in a safetensors file each array lies.

    8 bytes   length of the header, little-endian
    header    {"__metadata__": {text: text}, name: {"dtype", "shape", "data_offsets"}, …} and spaces
    data      arrays side by side, row-major, little-endian; offsets count from here

Ranks write and read arrays part by part. An array is allocated only after `safetensors` has found
that the sizes which a header claims add up to the size of the file. Errors are ValueErrors that
name the cause; who knows the path adds it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

#: The types of numbers that are read and written, as they lie in the file.
DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

#: NumPy's letters for the types of numbers.
TYPES = {"f": "floats", "i": "integers"}

#: No longer header is written or read. Parsed, a header takes up to 40 times its length.
MAX_HEADER = 1 << 20


class Tensor(NamedTuple):
    """An array in a file: its type there, its shape, and the byte of the file that it starts at."""

    dtype: np.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a file holds and where.

    Args:
        encoded: The bytes before the data.
        tensors: By name.
        metadata: Texts by name.
        size: Bytes of the whole file.
    """

    encoded: bytes
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    size: int

    @staticmethod
    def of(
        arrays: Mapping[str, tuple[np.dtype, tuple[int, ...]]], metadata: Mapping[str, str]
    ) -> Header:
        """The header of a file to be written, from the type and shape of each array.

        Wide types come first, so that every array starts at a multiple of its item size.

        Raises:
            TypeError: An array is of none of `DTYPES`.
            ValueError: The header would be longer than `MAX_HEADER`.
        """
        entries: dict[str, Any] = {}
        end = 0
        for name, (dtype, shape) in sorted(arrays.items(), key=lambda item: -item[1][0].itemsize):
            kind = _NAMES.get(dtype.newbyteorder("<"))
            if kind is None:
                raise TypeError(f"a file holds float32 and float64, not {dtype}; convert it first")
            start, end = end, end + math.prod(shape) * dtype.itemsize
            entries[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
        whole = {"__metadata__": dict(metadata)} | entries
        text = json.dumps(whole, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 8)
        if len(text) > MAX_HEADER:
            raise ValueError(
                f"{len(arrays)} arrays need a header of {len(text)} bytes; a file has at most "
                f"{MAX_HEADER}"
            )
        encoded = len(text).to_bytes(8, "little") + text
        tensors = _tensors(entries, len(encoded))
        return Header(encoded, tensors, dict(metadata), len(encoded) + end)

    @staticmethod
    def read(file: BufferedReader) -> Header:
        """The header of an open file, every claim checked against the size of the file.

        Raises:
            ValueError: It is no header, or claims what the file does not hold.
        """
        prefix = file.read(8)
        length = int.from_bytes(prefix, "little")
        if length > MAX_HEADER:
            raise ValueError(f"a header of {length} bytes is longer than {MAX_HEADER}")
        _require_valid(file)
        encoded = prefix + file.read(length)
        entries = parsed(encoded[8:], "the header")
        metadata = entries.pop("__metadata__", None) or {}
        size = os.fstat(file.fileno()).st_size
        return Header(encoded, _tensors(entries, len(encoded)), metadata, size)


def _require_valid(file: BufferedReader) -> None:
    """Raises unless the header is well-formed, and its arrays tile the data to the file's end.

    The package opens the very file that is open, not whichever has its path by now.
    """
    same = f"/dev/fd/{file.fileno()}"
    try:
        with safe_open(same if os.path.exists(same) else file.name, "np"):
            pass
    except SafetensorError as error:
        raise ValueError(f"it is cut off, too long or damaged: {error!s:.200}") from None


def _tensors(entries: Mapping[str, Any], data_start: int) -> dict[str, Tensor]:
    """The arrays of a valid header, all of them such as networks have."""
    tensors = {}
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise ValueError(f"the header does not name type and shape of {name!r:.80}")
        kind, shape = str(entry["dtype"]), entry["shape"]
        if kind not in DTYPES or len(shape) > 2:
            raise ValueError(
                f"{name!r:.80} is of type {kind:.80} in {len(shape)} dimensions; networks have "
                f"arrays of {', '.join(DTYPES)} in at most 2"
            )
        tensors[name] = Tensor(DTYPES[kind], tuple(shape), data_start + entry["data_offsets"][0])
    return tensors


def parsed(text: bytes | str, what: str) -> dict[str, Any]:
    """The JSON object in a text: no key twice, no NaN.

    Raises:
        ValueError: It is none; `what` names it.
    """
    try:
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{what} is not a JSON object")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def naturals(found: Any, what: str, *, most: int = 1 << 20) -> tuple[int, ...]:
    """A list of integers from 0 to 2^63 − 1, at most that many.

    Raises:
        ValueError: It is none; `what` names it.
    """
    if not isinstance(found, list) or len(found) > most:
        raise ValueError(f"{what} is not a list of at most {most} integers")
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in found):
        raise ValueError(f"{what} holds something else than integers from 0 to 2^63 - 1")
    return tuple(found)


def write(file: BufferedRandom, tensor: Tensor, first: int, numbers: npt.NDArray) -> None:
    """Writes numbers, in row-major order, from entry `first` of a tensor on."""
    file.seek(tensor.start + first * tensor.dtype.itemsize)
    file.write(np.ascontiguousarray(numbers, tensor.dtype).reshape(-1).view(np.uint8).data)


def read(file: BufferedReader, tensor: Tensor, first: int, out: npt.NDArray) -> None:
    """Reads into a contiguous array, from entry `first` of a tensor on.

    Not through `safe_open`, whose mapped memory kills the process if the file becomes shorter.

    Raises:
        ValueError: The file ends before.
    """
    file.seek(tensor.start + first * tensor.dtype.itemsize)
    room = out.reshape(-1).view(np.uint8)
    if file.readinto(room.data) < room.size:
        raise ValueError("the file became shorter while it was read")
    if out.dtype != tensor.dtype:
        out.byteswap(inplace=True)


class Array(NamedTuple):
    """An array to be written: its type, its whole shape, and this rank's parts of it.

    A part is the entry that it starts at, counted row by row, and its numbers.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    parts: Iterable[tuple[int, npt.NDArray]]


class Contents(NamedTuple):
    """All that is stored of a network."""

    facts: dict[str, Any]
    arrays: dict[str, Array]


@dataclass(frozen=True)
class Stored:
    """All that a file claims about its network; what is read is checked when it is asked for."""

    file: BufferedReader
    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def fact(self, name: str, kind: type) -> Any:
        """A fact of this very type, finite, in 64 bits; integers are floats too."""
        found: Any = self.facts.get(name)
        if kind is float and type(found) is int:
            found = float(found)
        infinite = (isinstance(found, float) and not math.isfinite(found)) or (
            isinstance(found, int) and abs(found) >> 63 > 0
        )
        if type(found) is not kind or infinite:
            raise ValueError(f"{name} is {found!r:.40}, not a finite {kind.__name__}")
        return found

    def tensor(self, name: str, types: str, dims: int) -> Tensor:
        """A tensor of floats, types="f", or integers, types="i"."""
        tensor = self.tensors[name]
        if tensor.dtype.kind != types or len(tensor.shape) != dims:
            raise ValueError(
                f"{name!r} has type {tensor.dtype.name} and shape {list(tensor.shape)}, not "
                f"{TYPES[types]} in {dims} dimension(s)"
            )
        return tensor

    def whole(self, name: str, types: str, dims: int = 1) -> npt.NDArray:
        tensor = self.tensor(name, types, dims)
        out = np.empty(tensor.shape, tensor.dtype.newbyteorder("="))
        self.read(tensor, 0, out)
        return out

    def read(self, tensor: Tensor, first: int, out: npt.NDArray) -> None:
        """Reads into a contiguous array, from entry `first` of a tensor on."""
        read(self.file, tensor, first, out)

    def require_tensors(self, names: Iterable[str]) -> None:
        """Raises unless the file holds these arrays and no others."""
        expected = set(names)
        if missing := expected - self.tensors.keys():
            raise ValueError(f"the array {min(missing)!r} is missing")
        if unknown := self.tensors.keys() - expected:
            raise ValueError(f"the array {min(unknown)!r:.80} belongs to no such network")
