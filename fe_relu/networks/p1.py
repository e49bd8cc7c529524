# SPDX-License-Identifier: MIT
"""P1 functions as ReLU networks with two hidden layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fe_relu.layers.affine import Affine
from fe_relu.layers.network import ReLUNetwork
from fe_relu.networks.nodal import NodalNetwork


@dataclass(frozen=True, eq=False)
class P1Network(NodalNetwork):
    """The P1 function with nodal values on a mesh: a ReLU network with two hidden layers.

    See `fe_relu.meshes.grid.hats` for the formulas on structured meshes, `NodalNetwork` for
    arguments and errors; the nodes are the vertices of the mesh.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), [[0.5, 0], [0, 0.5]], (2, 2), "crossed")
        >>> hat = fe_relu.P1Network(grid, np.eye(grid.num_vertices)[4])
        >>> float(hat([[0.5], [0.5]])[0])
        1.0
    """

    degree = 1
    steepness = 4.0

    @cached_property
    def table(self) -> Any:
        """The nodal values of the part as evaluation reads them."""
        return self.part.table(np.atleast_2d(self.values))

    def explicit(self) -> ReLUNetwork:
        """The same function as three affine layers with a ReLU after the first two.

        On a grid: first hidden layer, the lines of the mesh; second, one hat per vertex; output,
        the nodal values. On other meshes hats are sums of a few diamonds, the neurons of the second
        layer; on boxes of tetrahedra, of five neurons. Layers are of the dtype of the values.
        Collective if the values are spread; every rank then gets the whole.

        Raises:
            ValueError: The mesh is one of tetrahedra that are no box, which has no small explicit
                network.

        Examples:
            >>> import numpy as np, fe_relu
            >>> grid = fe_relu.Grid((0, 0), np.eye(2), (4, 3), "right")
            >>> fe_relu.P1Network(grid, np.zeros(20)).explicit().widths
            (2, 17, 20, 1)
        """
        whole = self.whole()
        values = np.atleast_2d(whole.values)
        first, second, hats = whole.mesh.hidden_layers(self.dtype)
        output = Affine(values @ hats, np.zeros(len(values), self.dtype))
        return ReLUNetwork((first, second, output))
