# SPDX-License-Identifier: MIT
"""Q1 functions on quadrilaterals: ReLU networks with products of two neurons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fe_relu.layers.affine import Affine
from fe_relu.layers.network import PoolingNetwork
from fe_relu.networks.nodal import NodalNetwork
from fe_relu.networks.p1 import P1Network


@dataclass(frozen=True, eq=False)
class Q1Network(NodalNetwork):
    """The bilinear function with nodal values on a mesh of quadrilaterals.

    On a parallelogram it is a product of hats along both axes, a ReLU network with bilinear
    pooling; on other cells it is bilinear in the coordinates of the unit square, which are found by
    a closed form, and no network. See `NodalNetwork` for arguments and errors; the nodes are the
    vertices of the mesh.

    Examples:
        >>> import numpy as np, fe_relu
        >>> from fe_relu.meshes.quadrilaterals.lattice import QuadrilateralGrid
        >>> grid = QuadrilateralGrid((0, 0), np.eye(2), (2, 2))
        >>> x, y = grid.vertices()
        >>> float(fe_relu.Q1Network(grid, x * y)([[0.5], [1.5]])[0])
        0.75
    """

    degree = 1
    steepness = 4.0
    simplicial = False

    @cached_property
    def table(self) -> Any:
        """The nodal values of the part as evaluation reads them."""
        return self.part.table(np.atleast_2d(self.values))

    def explicit(self) -> PoolingNetwork:  # type: ignore[override]
        """The same function as affine layers, ReLUs, and a layer of products.

        Hidden layers: the lines of the lattice, on both sides; one hat for each of them; the
        product of two hats for each vertex; output, the nodal values. Layers are of the dtype of
        the values. Collective if the values are spread; every rank then gets the whole.

        Raises:
            ValueError: The cells are no parallelograms of a lattice, on which the function is no
                such network.

        Examples:
            >>> import numpy as np, fe_relu
            >>> from fe_relu.meshes.quadrilaterals.lattice import QuadrilateralGrid
            >>> grid = QuadrilateralGrid((0, 0), np.eye(2), (4, 3))
            >>> fe_relu.Q1Network(grid, np.zeros(20)).explicit().widths
            (2, 18, 9, 9, 20, 1)
        """
        whole: Any = self.whole()
        values = np.atleast_2d(whole.values)
        output = Affine(values, np.zeros(len(values), self.dtype))
        return PoolingNetwork((*whole.mesh.hidden_layers(self.dtype), output))


#: The network of a function of degree 1, by whether the mesh is one of simplices.
LINEAR: dict[bool, type[P1Network] | type[Q1Network]] = {True: P1Network, False: Q1Network}
