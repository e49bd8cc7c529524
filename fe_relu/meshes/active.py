# SPDX-License-Identifier: MIT
"""The forward pass that visits active neurons only, written once for every library of arrays.

A *piece* is a function with nodal values on a kind of mesh. It takes the decisions that compiled
loops take, in operations that NumPy, torch and ONNX all have: compare, choose, round down, look up.
Points that are NaN or infinite give NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Arrays(Protocol):
    """What a library of arrays does beside arithmetic and comparison; see `NumPyArrays`."""

    def where(self, condition: Any, yes: Any, no: Any) -> Any: ...
    def whole(self, numbers: Any) -> Any: ...
    def real(self, integers: Any) -> Any: ...
    def at_most(self, integers: Any, most: Any) -> Any: ...
    def least(self, *numbers: Any) -> Any: ...
    def first_largest(self, rows: Any) -> Any: ...
    def fixed(self, numbers: Any) -> Any: ...
    def root(self, numbers: Any) -> Any: ...
    def upright(self, numbers: Any) -> Any: ...
    def entries(self, table: Any, places: Any) -> Any: ...
    def take(self, table: Any, entries: Any) -> Any: ...


@dataclass(frozen=True)
class NumPyArrays:
    """The operations in NumPy, computed in dtype: how other libraries are to understand them."""

    dtype: npt.DTypeLike

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        """Yes where the condition holds, else no; one of the two may be a number."""
        return np.where(condition, yes, no)

    def whole(self, numbers: Any) -> Any:
        """The integer parts of numbers ≥ 0, as integers of 64 bits."""
        return numbers.astype(np.int64)

    def real(self, integers: Any) -> Any:
        """Integers as numbers of the dtype to compute in."""
        return integers.astype(self.dtype)

    def at_most(self, integers: Any, most: Any) -> Any:
        return np.minimum(integers, most)

    def least(self, *numbers: Any) -> Any:
        """The least of several arrays at each place."""
        return reduce(np.minimum, numbers)

    def first_largest(self, rows: Any) -> Any:
        """Where the largest number of each row is, the first of them, shape (n,)."""
        return rows.argmax(axis=1)

    def fixed(self, numbers: Any) -> Any:
        """The numbers, as constants for who differentiates."""
        return numbers

    def root(self, numbers: Any) -> Any:
        """Square roots of numbers > 0."""
        return np.sqrt(numbers)

    def upright(self, numbers: Any) -> Any:
        """Numbers (n,) as (n, 1)."""
        return numbers[:, None]

    def entries(self, table: Any, places: Any) -> Any:
        """Entries of a table (m,), of the shape of places; numbers in the dtype to compute in."""
        found = table[places]
        return found.astype(self.dtype) if found.dtype.kind == "f" else found

    def take(self, table: Any, entries: Any) -> Any:
        """Columns of a table, shape (k, n)."""
        return table[:, entries]


class Piece(Protocol):
    """A function on all of space, and how a library of arrays evaluates it from its table.

    Active forms are sums of pieces.
    """

    @property
    def mesh(self) -> Any: ...
    @property
    def values(self) -> npt.NDArray:
        """Nodal values, shape (n,) or (k, n)."""
        ...

    @property
    def places(self) -> npt.NDArray[np.int64] | None:
        """For each entry of the table which nodal value it is, n for zero; None if it is mixed."""
        ...

    @property
    def table(self) -> npt.NDArray:
        """What is looked up of the values, shape (k, entries)."""
        ...

    @property
    def constants(self) -> Mapping[str, npt.NDArray]:
        """What is looked up of the mesh, by name, in one dimension each."""
        ...

    def evaluated(
        self, arrays: Arrays, constants: Mapping[str, Any], table: Any, x: Sequence[Any], dtype: str
    ) -> Any:
        """Values (k, n) at points of coordinates x, (n,) each, computed in "float32" or "float64".

        Constants and table are the library's own arrays.
        """
        ...


def nan_where_not_finite(x: Sequence[Any]) -> Any:
    """0 at finite points, NaN at others: what values are added to."""
    first, *others = x
    return sum((other - other for other in others), start=first - first)
