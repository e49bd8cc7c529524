# SPDX-License-Identifier: MIT
"""Q1 functions on quadrilaterals: as networks they need products of two neurons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fe_relu.layers.network import ReLUNetwork
from fe_relu.meshes.mesh import Mesh
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

    def explicit(self) -> ReLUNetwork:
        """No layers.

        Raises:
            ValueError: Always: the message says what does without them.
        """
        return self.mesh.hidden_layers(self.dtype)  # type: ignore[return-value]


def linear_type(mesh: Mesh) -> type[P1Network] | type[Q1Network]:
    """The type of networks of degree 1 on a mesh."""
    return P1Network if mesh.is_simplicial else Q1Network
