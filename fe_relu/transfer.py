# SPDX-License-Identifier: MIT
"""Repeated interpolation of a network into spaces on other meshes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fe_relu.fields import GridNetwork
from fe_relu.parallel import together
from fe_relu.remedies import wrong_kind
from fe_relu.routing import Plan
from fe_relu.spaces import UnsupportedFunctionError, require_outputs, space_of

if TYPE_CHECKING:
    from dolfinx import fem


@dataclass(frozen=True, eq=False)
class InterpolationPlan:
    """Interpolation of a network into a space on any mesh, again and again: see its maker."""

    V: fem.FunctionSpace
    plan: Plan

    def __call__(self, u: fem.Function | None = None) -> fem.Function:
        """The interpolant of the newest network that `update` made from the planned one.

        Collective.

        Args:
            u: The function in V to overwrite; a new one by default.

        Raises:
            ValueError: u is of another space.
        """
        from dolfinx import fem

        with together(self.plan.network.comm):
            if u is not None and space_of(u) != self.V:
                raise ValueError("the function is of another space than the plan")
        u = fem.Function(self.V, dtype=self.V.mesh.geometry.x.dtype) if u is None else u
        u.x.array[:] = np.atleast_2d(self.plan()).T.ravel()
        return u


def interpolation_plan(network: GridNetwork, V: fem.FunctionSpace) -> InterpolationPlan:
    """Interpolation of a network into V, with routing and location done once. Collective.

    The meshes need not match, nor be partitioned alike; around the network's mesh its values fade
    to zero. For a single transfer, `u.interpolate(network)` does the same.

    Args:
        network: A P1 or P2 network; `plan()` follows its updates.
        V: A scalar or blocked space of Lagrange elements of any degree, also discontinuous, on a
            mesh in the plane, on the same ranks as the network.

    Returns:
        A plan: `plan()` gives a new function in V, `plan(u)` overwrites u.

    Raises:
        UnsupportedFunctionError: V's functions are not given by values at points.
        ValueError: The network has another number of outputs than V.
        TypeError: The network is of another kind.
    """
    with together(V.mesh.comm):
        if not isinstance(network, GridNetwork):
            taken = "a P1Network or P2Network (u.interpolate takes any callable)"
            raise wrong_kind(network, taken, "to_p1")
        require_outputs(network, V)
        if V.mesh.geometry.dim != 2 or V.ufl_element().family_name != "P" or V.component():
            raise UnsupportedFunctionError(
                f"{V.ufl_element()} is not supported; functions in V must be given by their values "
                "at points of the plane"
            )
    return InterpolationPlan(V, network.plan(V.tabulate_dof_coordinates().T))
