# SPDX-License-Identifier: MIT
"""What of a network is stored: facts, which are small things for JSON, and arrays.

Ranks write and read arrays part by part; what is read is checked when it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu import safetensors
from fe_relu.safetensors import Tensor

#: NumPy's letters for the types of numbers.
TYPES = {"f": "floats", "i": "integers"}


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
    """All that a file claims about its network."""

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
        safetensors.read(self.file, tensor, 0, out)
        return out

    def require_tensors(self, names: Iterable[str]) -> None:
        """Raises unless the file holds these arrays and no others."""
        expected = set(names)
        if missing := expected - self.tensors.keys():
            raise ValueError(f"the array {min(missing)!r} is missing")
        if unknown := self.tensors.keys() - expected:
            raise ValueError(f"the array {min(unknown)!r} belongs to no such network")
