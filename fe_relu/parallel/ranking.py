# SPDX-License-Identifier: MIT
"""Numbers ordered by size over all ranks, and the search for how many of the largest to take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fe_relu.parallel.layouts import Layout


@dataclass(frozen=True, eq=False)
class Ranking:
    """Positive numbers, wherever they are, from the largest to the smallest.

    What it says depends on the numbers only, not on how they are spread over ranks. All methods are
    collective if they are.

    Args:
        sizes: This rank's numbers, increasing.
        layout: Who holds the others.
        total: How many there are on all ranks.
    """

    sizes: npt.NDArray[np.float64]
    layout: Layout
    total: int

    @staticmethod
    def of(sizes: npt.NDArray[np.float64], layout: Layout) -> Ranking:
        """From this rank's sizes; zeros do not take part."""
        positive = np.sort(sizes[sizes > 0])
        return Ranking(positive, layout, int(layout.summed(positive.size)))

    def number_from(self, threshold: float) -> int:
        """How many are at least the threshold."""
        return int(self.layout.summed(self.sizes.size - np.searchsorted(self.sizes, threshold)))

    def number_above(self, threshold: float) -> int:
        """How many are larger than the threshold."""
        below = np.searchsorted(self.sizes, threshold, side="right")
        return int(self.layout.summed(self.sizes.size - below))

    def threshold(self, number: int) -> float:
        """The size of the number-th largest; infinite for 0.

        Its bits are found seven at a time, from the highest, as positive floats are ordered like
        their bits.
        """
        if number == 0:
            return np.inf
        bits = self.sizes.view(np.int64)
        found = np.int64(0)
        for shift in range(56, -1, -7):
            candidates = found + (np.arange(1, 128) << shift)
            reached = self.layout.summed(bits.size - np.searchsorted(bits, candidates)) >= number
            found += np.int64(np.count_nonzero(reached)) << shift
        return float(found.view(np.float64))

    def first(self, holds: Callable[[float], bool], stop: int) -> int:
        """A number n such that n − 1 are too few and n are enough, by bisection.

        Equal sizes are taken together or not at all. `holds` says whether taking all from a
        threshold on is enough; taking `stop` of them is taken to be.
        """
        low, high = -1, stop
        while high - low > 1:
            middle = (low + high) // 2
            threshold = self.threshold(middle)
            if holds(threshold):
                high = min(middle, self.number_above(threshold) + 1)
            else:
                low = max(middle, self.number_from(threshold))
        return high
