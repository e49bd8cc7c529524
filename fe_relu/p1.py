# SPDX-License-Identifier: MIT
"""P1 functions on structured meshes as two-hidden-layer ReLU networks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fe_relu.bounds import p1_bounds
from fe_relu.fields import GridNetwork
from fe_relu.hats import hidden_layers, mesh_hats
from fe_relu.intervals import Box, NetworkBounds
from fe_relu.network import Affine, ReLUNetwork
from fe_relu.tables import Table


@dataclass(frozen=True, eq=False)
class P1Network(GridNetwork):
    """The P1 function with nodal values on a grid: a ReLU network with two hidden layers.

    See `fe_relu.hats` for the formulas, `GridNetwork` for arguments and errors; the nodes are the
    vertices of the grid.
    """

    degree = 1
    steepness = 4.0

    @cached_property
    def table(self) -> Table:
        """The nodal values of the window as evaluation reads them."""
        return Table.of(self.grid, self.window, np.atleast_2d(self.values))

    def explicit(self) -> ReLUNetwork:
        """The same function as three affine layers with a ReLU after the first two.

        First hidden layer: the lines of the mesh. Second: one hat per vertex. Output: the nodal
        values. Layers are of the dtype of the values. Collective if the values are spread in
        blocks; every rank then gets the whole.
        """
        whole = self if self.blocks is None else self.gather()
        values = np.atleast_2d(whole.values)
        output = Affine(values, np.zeros(len(values), self.dtype))
        hidden = hidden_layers(self.grid, self.dtype, mesh_hats(self.grid))
        return ReLUNetwork((*hidden, output))

    def bounds(self, box: Box | None = None) -> NetworkBounds:
        """The least and largest value of each output, and of each neuron before its ReLU.

        Exact: attained in the region, up to `Grid.resolution` and one rounding; nodal values with
        their bits. Neurons are in the order of `explicit()`. Collective over `comm`.

        Args:
            box: ((x0, x1), (y0, y1)), anywhere; by default the grid's parallelogram.

        Raises:
            ValueError: The box is empty, flat or not finite; on every rank.
            TypeError: The box does not hold real numbers, or ranks pass different ones.
        """
        return p1_bounds(self, box)
