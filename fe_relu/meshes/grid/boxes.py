# SPDX-License-Identifier: MIT
"""Rectangles of cells, and how much wider one is than another."""

from __future__ import annotations

from typing import NamedTuple

#: How many times the cells of its block a window may have.
LARGEST_WINDOW = 2

#: A margin that is too large is shortened by whole parts of so many.
SHORTENINGS = 16


class Margin(NamedTuple):
    """How many columns and rows of cells a window holds beyond the block that counts as its own."""

    left: int = 0
    right: int = 0
    below: int = 0
    above: int = 0

    def refined(self, factor: int) -> Margin:
        """The same margin of the grid refined by a factor."""
        return Margin(*(factor * cells for cells in self))


NO_MARGIN = Margin()


class Box(NamedTuple):
    """The cells (i, j) with left ≤ i < right and below ≤ j < above."""

    left: int
    right: int
    below: int
    above: int

    @property
    def num_cells(self) -> int:
        return (self.right - self.left) * (self.above - self.below)

    def margin_to(self, extent: Box | None) -> Margin:
        """What is beyond this box of another, shortened on all sides alike if it is too much."""
        if extent is None:
            return NO_MARGIN
        left, right = max(self.left - extent.left, 0), max(extent.right - self.right, 0)
        below, above = max(self.below - extent.below, 0), max(extent.above - self.above, 0)
        for parts in range(SHORTENINGS, 0, -1):
            margin = Margin(*(side * parts // SHORTENINGS for side in (left, right, below, above)))
            if self.with_margin(margin).num_cells <= LARGEST_WINDOW * self.num_cells:
                return margin
        return NO_MARGIN

    def with_margin(self, margin: Margin) -> Box:
        return Box(
            self.left - margin.left,
            self.right + margin.right,
            self.below - margin.below,
            self.above + margin.above,
        )
