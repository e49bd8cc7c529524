# SPDX-License-Identifier: MIT
"""P2 functions as deep ReLU networks."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fe_relu.basics.arguments import checked_levels
from fe_relu.layers.network import ReLUNetwork
from fe_relu.meshes.grid.grid import on_grid
from fe_relu.networks.nodal import NodalNetwork

#: From here on the error of products is below the roundoff of float64.
MAX_LEVELS = 26


@dataclass(frozen=True, eq=False)
class P2Network(NodalNetwork):
    """The P1 interpolant of a P2 function on its mesh refined `levels` times, as a deep network.

    Each edge adds a product of two hats to the P1 part, and each product is a ReLU network whose
    error falls fourfold with every layer (He, Li, Xu 2021, section 3). The hidden layers are the
    mesh lines, the hats, and `levels` + 1 more of constant width.

    Nodes are the vertices and the midpoints of edges, numbered as the vertices of the mesh refined
    by two. At all of them the network has the nodal values. See `NodalNetwork` for the other
    arguments and errors.

    Args:
        levels: How often triangles are refined, from 1 to `MAX_LEVELS`.

    Raises:
        ValueError: levels is out of range.
        TypeError: levels is no integer.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (1, 1), "right")
        >>> square = grid.refined(2).vertices()[0] ** 2
        >>> network = fe_relu.P2Network(grid, square, levels=4)
        >>> float(network([[0.25], [0.5]])[0]), network.error_bound
        (0.0625, 0.0009765625)
    """

    _: KW_ONLY
    levels: int = 10

    degree = 2
    steepness = 34.0

    def __post_init__(self) -> None:
        on_grid(self.mesh, "a P2Network")
        super().__post_init__()
        checked_levels(self.levels, 1, MAX_LEVELS)

    @cached_property
    def table(self) -> Any:
        """The nodal values and surpluses of the part as evaluation reads them."""
        return self.part.quadratic_table(np.atleast_2d(self.values), self.levels)

    @cached_property
    def error_bound(self) -> float:
        """Sup over the mesh of |network − P2 function|, and all components.

        4^−levels times that for the P1 part alone. It is attained, and no bound could be smaller;
        roundoff of evaluation is not in it. Collective if the values are spread.
        """
        shrunk = 4.0**-self.levels * np.atleast_2d(self.values).astype(np.float64)
        return self.layout.largest(self.part.largest_bump(shrunk))

    def explicit(self) -> ReLUNetwork:
        """The same function as affine layers with a ReLU after all but the last.

        Hidden layers: the lines of the mesh; one hat per vertex; then `levels` + 1 layers of two
        neurons for each vertex and each edge, and two for each output. Layers are of the dtype of
        the values. Collective if the values are spread; every rank then gets the whole.

        Raises:
            ValueError: There would be too many neurons: more than 2²¹ on a `Grid`.
        """
        values = np.atleast_2d(self.whole().values)
        return self.mesh.quadratic_layers(values, self.levels)
