# SPDX-License-Identifier: MIT
"""The safetensors format: a JSON header that says where each array lies, then the arrays.

    8 bytes   length of the header, little-endian
    header    {"__metadata__": {text: text}, name: {"dtype", "shape", "data_offsets"}, …} and spaces
    data      arrays side by side, row-major, little-endian; offsets count from here

What is read here is all that a file may claim: an array is allocated only after its claimed size
has been found in the file. Errors are ValueErrors that name the cause; who knows the path adds it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

#: The types of numbers that are read and written, as they lie in the file.
DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
}
_NAMES: dict[np.dtype, str] = {dtype: name for name, dtype in DTYPES.items()}

#: No longer header is written or read. Parsed, a header takes up to 40 times its length.
MAX_HEADER = 1 << 20

_LENGTH_BYTES = 8


class Tensor(NamedTuple):
    """An array in a file: its type there, its shape, and the byte of the file that it starts at."""

    dtype: np.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


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
        relative: dict[str, Tensor] = {}
        end = 0
        for name, (dtype, shape) in sorted(arrays.items(), key=lambda item: -item[1][0].itemsize):
            stored: np.dtype = dtype.newbyteorder("<")
            if stored not in _NAMES:
                raise TypeError(f"a file holds float32 and float64, not {dtype}; convert it first")
            relative[name] = Tensor(stored, shape, end)
            end += relative[name].nbytes
        entries: dict[str, Any] = {"__metadata__": dict(metadata)}
        for name, tensor in relative.items():
            offsets = [tensor.start, tensor.start + tensor.nbytes]
            kind = _NAMES[tensor.dtype]
            entries[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": offsets}
        text = json.dumps(entries, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 8)
        if len(text) > MAX_HEADER:
            raise ValueError(
                f"{len(relative)} arrays need a header of {len(text)} bytes; a file has at most "
                f"{MAX_HEADER}"
            )
        encoded = len(text).to_bytes(_LENGTH_BYTES, "little") + text
        tensors = {
            name: tensor._replace(start=len(encoded) + tensor.start)
            for name, tensor in relative.items()
        }
        return Header(encoded, tensors, dict(metadata), len(encoded) + end)

    @staticmethod
    def read(file: BufferedReader) -> Header:
        """The header of an open file, every claim checked against the size of the file.

        Raises:
            ValueError: It is no header, or claims what the file does not hold.
        """
        size = os.fstat(file.fileno()).st_size
        prefix = file.read(_LENGTH_BYTES)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < _LENGTH_BYTES or length > size - _LENGTH_BYTES:
            raise ValueError(f"a header of {length} bytes does not fit into {size} bytes")
        if length > MAX_HEADER:
            raise ValueError(f"a header of {length} bytes is longer than {MAX_HEADER}")
        text = file.read(length)
        if not text.startswith(b"{"):
            raise ValueError("the header is not a JSON object; this is another kind of file")
        entries = parsed(text, "the header")
        metadata = entries.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise ValueError("the metadata are not texts by name")
        start = _LENGTH_BYTES + length
        tensors = {name: _tensor(name, entry, start) for name, entry in entries.items()}
        _require_tiling(tensors, start, size)
        return Header(prefix + text, tensors, metadata, size)


def parsed(text: bytes | str, what: str) -> dict[str, Any]:
    """The JSON object in a text: no key twice, no NaN.

    Raises:
        ValueError: It is none; `what` names it.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
        found = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply") from None
    except ValueError as error:
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


def _tensor(name: str, entry: Any, data_start: int) -> Tensor:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"the header does not give dtype, shape and data_offsets of {name!r}")
    kind = entry["dtype"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise ValueError(f"{name!r} is of type {kind!r}, not one of {', '.join(DTYPES)}")
    shape = naturals(entry["shape"], f"the shape of {name!r}", most=2)
    offsets = naturals(entry["data_offsets"], f"data_offsets of {name!r}", most=2)
    tensor = Tensor(DTYPES[kind], shape, data_start + (offsets[0] if offsets else 0))
    if len(offsets) != 2 or offsets[1] - offsets[0] != tensor.nbytes:
        raise ValueError(
            f"{name!r} of shape {list(shape)} takes {tensor.nbytes} bytes, but its data_offsets "
            f"are {list(offsets)}"
        )
    return tensor


def _require_tiling(tensors: Mapping[str, Tensor], start: int, size: int) -> None:
    """Raises unless the arrays fill the file from start to its end, without gap or overlap."""
    end = start
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].nbytes)):
        if tensor.start != end:
            problem = "overlaps" if tensor.start < end else "leaves a gap after"
            raise ValueError(f"{name!r} {problem} the array before it")
        end += tensor.nbytes
    if end != size:
        raise ValueError(
            f"the arrays end at byte {end}, but the file at byte {size}: it is cut off or too long"
        )


def write(file: BufferedRandom, tensor: Tensor, first: int, numbers: npt.NDArray) -> None:
    """Writes numbers, in row-major order, from entry `first` of a tensor on."""
    file.seek(tensor.start + first * tensor.dtype.itemsize)
    file.write(np.ascontiguousarray(numbers, tensor.dtype).reshape(-1).view(np.uint8))


def read(file: BufferedReader, tensor: Tensor, first: int, out: npt.NDArray) -> None:
    """Reads into a contiguous array, from entry `first` of a tensor on.

    Raises:
        ValueError: The file ends before.
    """
    file.seek(tensor.start + first * tensor.dtype.itemsize)
    room = out.reshape(-1).view(np.uint8)
    if file.readinto(room) < room.size:
        raise ValueError("the file became shorter while it was read")
    if out.dtype != tensor.dtype:
        out.byteswap(inplace=True)
