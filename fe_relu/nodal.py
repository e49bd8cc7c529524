# SPDX-License-Identifier: MIT
"""Nodal values of functions on their way into the vertex order of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fe_relu.blocks import Blocks
from fe_relu.meshes import LocatedMesh
from fe_relu.parallel import gather_columns, require_alike, together
from fe_relu.redistribute import Redistribution
from fe_relu.spaces import dof_of_node, require_p1, require_real, space_of

if TYPE_CHECKING:
    from dolfinx import fem


@dataclass(frozen=True)
class GridValues:
    """The nodal values of functions in V, put into the vertex order of V's grid."""

    V: fem.FunctionSpace
    located: LocatedMesh
    blocks: Blocks | None

    def values(self, u: fem.Function) -> npt.NDArray:
        """Nodal values of this rank's window, the whole grid without blocks. Collective.

        Shape (n,) or (k, n), in the vertex order of the window.

        Raises:
            UnsupportedFunctionError: u is not real P1.
            ValueError: u is on another mesh than V, or has another value shape.
        """
        with together(self.V.mesh.comm):
            here = space_of(u)
            same_space = here == self.V
            if not same_space:
                require_p1(here)
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
    def _vertex_of_dof(self) -> npt.NDArray[np.int64]:
        """The grid's vertex of each dof that this rank owns."""
        vertices = np.empty(self.V.dofmap.index_map.size_local, np.int64)
        dofs = dof_of_node(self.V)
        owned = dofs < vertices.size
        vertices[dofs[owned]] = self.located.vertex_of_node[owned]
        return vertices

    @cached_property
    def _redistribution(self) -> Redistribution | None:
        grid, comm = self.located.grid, self.V.mesh.comm
        if self.blocks is None:
            return None
        return Redistribution.of(comm, grid, self.blocks, self._vertex_of_dof)

    @cached_property
    def _order(self) -> npt.NDArray[np.int64]:
        """For each vertex of the grid, its position among the owned dofs of all ranks."""
        vertices = gather_columns(self.V.mesh.comm, self._vertex_of_dof[None])[0]
        order = np.empty_like(vertices)
        order[vertices] = np.arange(vertices.size)
        return order
