# SPDX-License-Identifier: MIT
"""Numbers put in order digit by digit, without comparing them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled

#: Bits of a digit, and digits of a word of 64 bits.
_BITS, _DIGITS = 11, 6


def order_of(*keys: npt.NDArray) -> npt.NDArray[np.int64]:
    """The stable order by the first key, where these are equal by the second, and so on.

    As `numpy.lexsort(keys[::-1])`; zeros are equal whatever their sign.

    Args:
        keys: Integers or floating-point numbers that are not NaN, shape (n,) each.
    """
    order: npt.NDArray[np.int64] = np.arange(len(keys[0]))
    for key in reversed(keys):
        words = _words(key)[order]
        order = _reordered(words, order, np.empty_like(words), np.empty_like(order))
    return order


def distinct(
    numbers: npt.NDArray[np.integer],
) -> tuple[npt.NDArray, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The different numbers in order, where each is first, and which of them each number is.

    As `numpy.unique` with `return_index` and `return_inverse`.
    """
    flat = np.ascontiguousarray(numbers).reshape(-1)
    order, which = order_of(flat), np.empty(flat.size, np.int64)
    first = order[: _tell_apart(flat, order, which)]
    return flat[first], first, which.reshape(np.shape(numbers))


@compiled
def _tell_apart(numbers: Any, order: Any, which: Any) -> Any:
    """How many are different; where each is first replaces the order, from its beginning on."""
    count = 0
    for k in range(order.size):
        place = order[k]
        if count == 0 or numbers[place] != numbers[order[count - 1]]:
            order[count] = place
            count += 1
        which[place] = count - 1
    return count


def _words(key: npt.NDArray) -> npt.NDArray[np.uint64]:
    """Words without sign in the order of the numbers."""
    if key.dtype.kind == "f":
        words = (key.astype(np.float64) + 0.0).view(np.int64)
        return (words ^ ((words >> 63) | np.iinfo(np.int64).min)).view(np.uint64)
    if key.dtype.kind == "u":
        return key.astype(np.uint64)
    return (key.astype(np.int64) ^ np.iinfo(np.int64).min).view(np.uint64)


@compiled
def _reordered(word: Any, place: Any, other_word: Any, other_place: Any) -> Any:
    """Places in the stable order of their words; all four arrays are written to."""
    last, varied = np.uint64((1 << _BITS) - 1), np.uint64(0)
    for k in range(word.size):
        varied |= word[k] ^ word[0]
    for digit in range(_DIGITS):
        shift = np.uint64(_BITS * digit)
        if (varied >> shift) & last == 0:
            continue
        starts = np.zeros((1 << _BITS) + 1, np.int64)
        for k in range(word.size):
            starts[((word[k] >> shift) & last) + np.uint64(1)] += 1
        starts[:] = np.cumsum(starts)
        for k in range(word.size):
            value = (word[k] >> shift) & last
            other_word[starts[value]], other_place[starts[value]] = word[k], place[k]
            starts[value] += 1
        word, other_word, place, other_place = other_word, word, other_place, place
    return place


def inverse(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each of the numbers 0 … n − 1 is in an order of them."""
    places = np.empty_like(order)
    places[order] = np.arange(order.size)
    return places


def sorted_columns(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Numbers (k, n), each of the short columns in increasing order."""
    columns = np.array(numbers, order="C")
    _sort_columns(columns)
    return columns


@compiled
def _sort_columns(columns: Any) -> None:
    for k in range(columns.shape[1]):
        for i in range(1, len(columns)):
            one, j = columns[i, k], i
            while j > 0 and columns[j - 1, k] > one:
                columns[j, k] = columns[j - 1, k]
                j -= 1
            columns[j, k] = one
