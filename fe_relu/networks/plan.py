# SPDX-License-Identifier: MIT
"""Evaluation at fixed points, for network after network on one mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.meshes.mesh import Mesh
from fe_relu.parallel.layouts import Layout
from fe_relu.parallel.routing import Visit

if TYPE_CHECKING:
    from fe_relu.networks.nodal import NodalNetwork


@dataclass(frozen=True, eq=False)
class Plan:
    """Evaluation of networks at points that are routed and located already: `plan(network)`.

    Args:
        mesh: That of the networks.
        layout: Likewise.
        dtype: Likewise.
        located: What this rank's part keeps of its points, and of those that were sent to it.
        masked: The mask of points whose values are to be NaN, if any are.
    """

    mesh: Mesh
    layout: Layout
    dtype: np.dtype
    located: Visit
    masked: Sequence[npt.NDArray[np.bool_]] = ()

    def __call__(self, network: NodalNetwork) -> npt.NDArray:
        """The network's values at the planned points, the bits of `network(x)`. Collective.

        Returns:
            Shape (n,) or (k, n).

        Raises:
            ValueError: The network is on another mesh, in another layout or of another dtype than
                the one that made the plan.
            TypeError: Ranks pass networks of different kinds or numbers of outputs.
        """
        with self.layout.together() as terms:
            self._require_fitting(network)
            terms.alike("kinds of network", type(network).__name__)
            terms.alike("numbers of outputs", network.dim_out)
            own = network.table.values_at(self.located.own)
            found = [network.table.values_at(points) for _, points in self.located.routes]
        routes = (route for route, _ in self.located.routes)
        numbers = Visit(own, list(zip(routes, found, strict=True))).numbers()
        for mask in self.masked:
            numbers[..., mask] = np.nan
        return numbers[0] if network.dim_out == 1 else numbers

    def _require_fitting(self, network: Any) -> None:
        facts = (("mesh", "mesh"), ("layout", "layout"), ("dtype", "type of values"))
        other = [name for fact, name in facts if getattr(network, fact) != getattr(self, fact)]
        if other:
            raise ValueError(
                f"the plan is for a network of another {' and another '.join(other)}; "
                "network.plan(points) makes one for this network"
            )
