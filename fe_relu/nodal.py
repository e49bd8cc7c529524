# SPDX-License-Identifier: MIT
"""Nodal values of functions on their way into the vertex order of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu.blocks import Blocks
from fe_relu.grid import Grid
from fe_relu.meshes import LocatedMesh, vertex_numbers
from fe_relu.parallel import gather_columns, require_alike, together
from fe_relu.redistribute import Redistribution
from fe_relu.spaces import at_dofs, require_lagrange, require_real, space_of

if TYPE_CHECKING:
    from dolfinx import fem


@dataclass(frozen=True)
class GridValues:
    """The nodal values of functions in V, put into the order of V's nodes on the grid.

    For P1 that is the vertex order of the grid, for P2 that of the grid refined by two. The blocks
    are of the cells of V's own grid.
    """

    V: fem.FunctionSpace
    located: LocatedMesh
    blocks: Blocks | None

    @property
    def degree(self) -> int:
        return self.V.ufl_element().degree

    @cached_property
    def node_grid(self) -> Grid:
        """The grid whose vertices are V's nodes."""
        return self.located.grid.refined(self.degree)

    def values(self, u: fem.Function) -> npt.NDArray:
        """Nodal values of this rank's window, the whole grid without blocks. Collective.

        Shape (n,) or (k, n), in the vertex order of the window of `node_grid`.

        Raises:
            UnsupportedFunctionError: u is not real P1 or P2.
            ValueError: u is on another mesh than V, of another degree or value shape.
        """
        with together(self.V.mesh.comm):
            here = space_of(u)
            same_space = here == self.V
            if not same_space:
                require_lagrange(here)
                if here.ufl_element().degree != self.degree:
                    raise ValueError(
                        f"the function is P{here.ufl_element().degree}, but the network came from "
                        f"P{self.degree}; network_from_function makes a new one"
                    )
                if here.mesh is not self.V.mesh:
                    raise ValueError("the function is on another mesh than the network came from")
            if here.value_shape != self.V.value_shape:
                raise ValueError(
                    f"the function has value shape {here.value_shape}, but the network came from "
                    f"{self.V.value_shape}"
                )
            require_real(u)
        require_alike(self.V.mesh.comm, same_space, "function spaces")
        source = self if same_space else GridValues(here, self.located, self.blocks)
        return source._moved(u)

    def _moved(self, u: fem.Function) -> npt.NDArray:
        bs, comm = self.V.dofmap.index_map_bs, self.V.mesh.comm
        owned = u.x.array[: bs * self.V.dofmap.index_map.size_local].reshape(-1, bs).T
        if self._redistribution is not None:
            values = self._redistribution.values(owned)
        else:
            columns = gather_columns(comm, owned) if comm.size > 1 else owned
            values = np.take(columns, self._order, axis=1)
        return values if self.V.value_shape else values[0]

    @property
    def node_of_dof(self) -> npt.NDArray[np.int64]:
        """The node of each local (blocked) dof, ghosts included, as a vertex of `node_grid`."""
        if self.degree == 1:  # the vertices are the nodes: no need to go through their places
            return at_dofs(self.V, self.located.vertex_of_node[None])[0]
        grid = self.located.grid
        places = grid.lattice_positions(self.located.vertex_of_node)
        finer = self.degree * (2 if grid.has_centres else 1)
        i, j = at_dofs(self.V, np.rint(finer * places).astype(np.int64))
        return vertex_numbers(self.node_grid, i, j)

    @property
    def _owned_nodes(self) -> npt.NDArray[np.int64]:
        return self.node_of_dof[: self.V.dofmap.index_map.size_local]

    @cached_property
    def _redistribution(self) -> Redistribution | None:
        if self.blocks is None:
            return None
        blocks = self.blocks.scaled(self.degree)
        return Redistribution.of(self.V.mesh.comm, self.node_grid, blocks, self._owned_nodes)

    @cached_property
    def _order(self) -> npt.NDArray[np.int64]:
        """For each node of the grid, its position among the owned dofs of all ranks."""
        nodes = gather_columns(self.V.mesh.comm, self._owned_nodes[None])[0]
        order = np.empty_like(nodes)
        order[nodes] = np.arange(nodes.size)
        return order
