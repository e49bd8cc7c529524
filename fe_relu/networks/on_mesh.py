# SPDX-License-Identifier: MIT
"""What is known of a network from its mesh, its coefficients and its layout."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fe_relu.parallel.layouts import Layout

if TYPE_CHECKING:
    from mpi4py import MPI


class OnMesh:
    """A network whose outputs are the rows of one array of coefficients, shape (n,) or (k, n)."""

    mesh: Any
    layout: Layout

    #: The name of that array.
    coefficients_in: ClassVar[str]

    @property
    def comm(self) -> MPI.Comm | None:
        """The communicator whose ranks hold this network and call it together, if any."""
        return self.layout.comm

    @cached_property
    def dim_in(self) -> int:
        return self.mesh.dim

    @cached_property
    def dim_out(self) -> int:
        array = getattr(self, self.coefficients_in)
        return 1 if array.ndim == 1 else len(array)

    @cached_property
    def dtype(self) -> np.dtype:
        return getattr(self, self.coefficients_in).dtype
