# SPDX-License-Identifier: MIT
"""How far the support of a network is from that of a function."""

from __future__ import annotations

import sys
from typing import Any

from fe_relu.fenicsx.conversion import network_from_function
from fe_relu.networks.p2 import P2Network
from fe_relu.networks.q1 import Q1Network
from fe_relu.regions.supports.hausdorff import SupportError, hausdorff
from fe_relu.regions.supports.support import Support, support


def support_error(
    network: Any, u: Any, domain: Any = None, *, rtol: float = 1e-4, tolerance: float = 0.0
) -> SupportError:
    """The Hausdorff distance between the supports of a network and of a function, enclosed.

    For the P1 interpolant of a continuous u on triangles of diameter h at most it is proven that
    the support reaches at most h beyond that of u: a cell of it has a vertex where u is not 0. And
    if {u ≠ 0} is a union of closed discs of radius h / √3 in the mesh, at most 2 h / √3 are
    missing: each disc has a vertex.

    Collective if a network's values are spread, or u is a dolfinx `Function`.

    Args:
        network: As for `support`, or a `Support`.
        u: A dolfinx `Function`, a network, or a `Support`.
        domain: Where networks without a mesh are looked at.
        rtol: How far apart lower and upper bounds may be, as part of the size of both supports;
            where that would take too many halves, they are further apart.
        tolerance: As for `support`.

    Returns:
        Infinite if one of them is empty, and 0 if both are.

    Raises:
        ValueError: They are of different dimensions; rtol is not in (0, 1); as for `support`.
        TypeError: As for `support`.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (4, 4), "right")
        >>> hat = fe_relu.P1Network(grid, np.eye(25)[12])
        >>> found = fe_relu.support_error(hat, fe_relu.P1Network(grid, np.eye(25)[13]))
        >>> round(found.lower, 5), round(found.upper, 5)
        (1.0, 1.0)
    """
    if not 0 < rtol < 1:
        raise ValueError(f"rtol must be between 0 and 1, not {rtol}")
    one, other = (_support_of(each, domain, tolerance) for each in (network, u))
    return hausdorff(one, other, rtol)


def _support_of(given: Any, domain: Any, tolerance: float) -> Support:
    if "dolfinx" in sys.modules:  # without it there are no functions
        from dolfinx import fem

        given = network_from_function(given) if isinstance(given, fem.Function) else given
    if isinstance(given, Support):
        return given
    on_cells = isinstance(given, P2Network | Q1Network)
    try:
        return support(given, None if on_cells else domain, tolerance=tolerance)
    except TypeError as error:
        raise TypeError(
            f"{error}; support_error takes a network, a Support or a dolfinx Function: "
            "fe_relu.Support(vertices, cells) and Support.of_polygon(corners) make one, and "
            "u.interpolate(f) a Function of a callable f"
        ) from error
