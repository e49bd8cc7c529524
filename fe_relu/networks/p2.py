# SPDX-License-Identifier: MIT
"""P2 functions as deep ReLU networks."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fe_relu.basics.arguments import checked_levels
from fe_relu.layers.affine import Affine
from fe_relu.layers.network import PoolingNetwork, ReLUNetwork
from fe_relu.layers.quadratic import pooled_layers, quadratic_network, require_size
from fe_relu.meshes.mesh import QuadraticMesh
from fe_relu.networks.nodal import NodalNetwork

#: From here on the error of products is below the roundoff of float64.
MAX_LEVELS = 26


@dataclass(frozen=True, eq=False)
class P2Network(NodalNetwork):
    """A P2 function up to an error that falls fourfold with each of `levels`, as a deep network.

    In 1-D and 2-D it is the P1 interpolant on the mesh refined `levels` times. Each edge adds a
    product of two hats to the P1 part, and each product is a ReLU network whose error falls
    fourfold with every layer (He, Li, Xu 2021, section 3). The hidden layers are those of the hats,
    and `levels` + 1 more of constant width.

    Nodes are the vertices and the midpoints of edges, numbered as the vertices of the mesh refined
    by two; those of a mesh of simplices are its vertices, then the midpoints by increasing lower
    and higher end. At all of them the network has the nodal values. See `NodalNetwork` for the
    other arguments and errors.

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

    mesh: QuadraticMesh
    _: KW_ONLY
    levels: int = 10

    degree = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_levels(self.levels, 1, MAX_LEVELS)

    @property
    def steepness(self) -> float:  # type: ignore[override]
        """Of the P1 part and of products, each with two hats: 4 (1 + 12) in 3-D."""
        return 34.0 if self.dim_in < 3 else 52.0

    @cached_property
    def table(self) -> Any:
        """The nodal values and surpluses of the part as evaluation reads them."""
        return self.part.quadratic_table(np.atleast_2d(self.values), self.levels)

    @cached_property
    def error_bound(self) -> float:
        """Sup over the mesh of |network − P2 function|, and all components.

        4^−levels times that for the P1 part alone. It is attained, and no bound could be smaller,
        but on tetrahedra, where it is attained if all surpluses of a cell have one sign. Roundoff
        of evaluation is not in it. Collective if the values are spread.
        """
        shrunk = 4.0**-self.levels * np.atleast_2d(self.values).astype(np.float64)
        return self.layout.largest(self.part.largest_bump(shrunk))

    def explicit(self) -> ReLUNetwork:
        """The same function as affine layers with a ReLU after all but the last.

        Hidden layers: the lines of the mesh; one hat per vertex; then `levels` + 1 layers of two
        neurons for each vertex and each edge, and two for each output. Layers are of the dtype of
        the values. Collective if the values are spread; every rank then gets the whole.

        Raises:
            ValueError: There would be too many neurons, more than 2²¹ after the hats; or the mesh
                is one of tetrahedra that are no box, which has no small explicit network.
        """
        whole = self.whole()
        values = np.atleast_2d(whole.values)
        require_size(values.shape[1], len(values), self.levels)
        hidden, edges = whole.mesh.hidden_layers(self.dtype), whole.mesh.edges()
        nodal = values[:, edges.vertices]
        surplus = values[:, edges.middles] - (nodal[:, edges.ends[0]] + nodal[:, edges.ends[1]]) / 2
        return quadratic_network(hidden, nodal, edges.ends, surplus, self.levels)

    def pooling(self) -> PoolingNetwork:
        """The P2 function itself, whatever `levels` is: products of two hats are a layer.

        Hidden layers: those of the hats; sums of hats, and their products with hats, one for each
        node; output, the nodal values. Outside the mesh it is where `explicit()` goes to as
        `levels` grows. Layers are of the dtype of the values. Collective if the values are spread;
        every rank then gets the whole.

        Raises:
            ValueError: The mesh is one of tetrahedra that are no box, which has no small explicit
                network.

        Examples:
            >>> import numpy as np, fe_relu
            >>> grid = fe_relu.Grid((0, 0), np.eye(2), (1, 1), "right")
            >>> square = grid.refined(2).vertices()[0] ** 2
            >>> exact = fe_relu.P2Network(grid, square, levels=1).pooling()
            >>> float(exact([[0.3], [0.9]])[0]), exact.num_products
            (0.09, 9)
        """
        whole = self.whole()
        values, edges = np.atleast_2d(whole.values), whole.mesh.edges()
        layers = pooled_layers(whole.mesh.hidden_layers(self.dtype), edges.ends)
        nodes = np.concatenate([edges.vertices, edges.middles])
        output = Affine(values[:, nodes], np.zeros(len(values), self.dtype))
        return PoolingNetwork((*layers, output))
