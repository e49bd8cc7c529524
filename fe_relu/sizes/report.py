# SPDX-License-Identifier: MIT
"""How large a network is, beside what theorems say is needed and enough.

*Enough.* Every continuous piecewise linear function on ℝᵈ is a network of ⌈log₂(d + 1)⌉ hidden
layers (Arora et al. 2018; Hertrich et al. 2021), if with many neurons: a signed sum of maxima of
d + 1 affine functions.

*Needed.* A function that is 0 far away and not 0 needs two hidden layers in the plane and beyond:
the kinks of one are whole lines, or planes. On the line it needs one. (For d ≥ 4 more than two are
known to be needed for no function, without further assumptions on networks.)

A shape of network that can be all functions with n free values needs at least n weights and biases:
its functions are the image of the weights under a piecewise polynomial map, which does not raise
dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from fe_relu.hierarchy.basis import HierarchicalNetwork
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.network import PoolingNetwork, ReLUNetwork
from fe_relu.networks.nodal import NodalNetwork, whole_of
from fe_relu.sizes.explicit import explicit_size


@dataclass(frozen=True)
class SizeReport:
    """The size of a network's explicit layers, and what is proven of the sizes that it could have.

    Attributes:
        dim_in: Number of inputs.
        hidden: Neurons of each hidden layer.
        dim_out: Number of outputs.
        nonzeros: Non-zero weights.
        bits: Of the non-zero weights and all biases, without where they are.
        layers_needed: No network of fewer hidden layers is the function; None if nothing is known.
        layers_enough: Some network of so many is, whatever the function.
        numbers_needed: So many weights and biases any shape of network needs that can be all
            functions of this kind; None if the kind has no number of free values.
    """

    dim_in: int
    hidden: tuple[int, ...]
    dim_out: int
    nonzeros: int
    bits: int
    layers_needed: int | None
    layers_enough: int
    numbers_needed: int | None

    @property
    def hidden_layers(self) -> int:
        return len(self.hidden)

    @property
    def widths(self) -> tuple[int, ...]:
        """(dim_in, first hidden, …, dim_out)."""
        return (self.dim_in, *self.hidden, self.dim_out)

    @property
    def neurons(self) -> int:
        return sum(self.hidden)

    @property
    def numbers(self) -> int:
        """Non-zero weights and biases."""
        return self.nonzeros + self.neurons + self.dim_out

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Quantity, this network's, what is needed, what is enough; "" where nothing is known."""
        return [
            _row("hidden layers", self.hidden_layers, self.layers_needed, self.layers_enough),
            _row("neurons", self.neurons),
            _row("weights that are not 0", self.nonzeros),
            _row("weights and biases", self.numbers, self.numbers_needed),
            _row("bits", self.bits),
        ]

    def __str__(self) -> str:
        rows = [("", "network", "needed", "enough"), *self.rows()]
        wide = [max(len(row[k]) for row in rows) for k in range(4)]
        lines = (
            row[0].ljust(wide[0]) + "".join(row[k].rjust(2 + wide[k]) for k in (1, 2, 3))
            for row in rows
        )
        return "\n".join(line.rstrip() for line in lines)


@singledispatch
def size_report(network: Any) -> SizeReport:
    """Depth, widths, neurons, weights and bits of a network, beside what is needed and enough.

    Layers are counted, and for structured meshes not made. Collective if values are spread.

    Args:
        network: A network of this package.

    Raises:
        ValueError: It has no small explicit layers, or products.
        TypeError: It is no network of this package.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (32, 32), "right")
        >>> print(fe_relu.size_report(fe_relu.P1Network(grid, np.ones(33**2))))
                                network  needed  enough
        hidden layers                 2       2       2
        neurons                    1220
        weights that are not 0     4552
        weights and biases         5773    1089
        bits                     369472
    """
    raise TypeError(f"a {type(network).__name__} is no network whose size is known")


def _report(network: Any) -> SizeReport:
    network = whole_of(network)
    size = explicit_size(network)
    counted = size.nonzeros + size.neurons + network.dim_out
    return SizeReport(
        network.dim_in,
        size.hidden,
        network.dim_out,
        size.nonzeros,
        counted * 8 * np.dtype(network.dtype).itemsize,
        layers_needed(network),
        int(network.dim_in).bit_length(),
        free_values(network),
    )


for kind in (ReLUNetwork, PoolingNetwork, NodalNetwork, Surrogate):
    size_report.register(kind, _report)


@size_report.register
def _(network: HierarchicalNetwork) -> SizeReport:
    return size_report(network.to_p1())


@singledispatch
def layers_needed(network: Any) -> int | None:
    """So many hidden layers any network needs that is this function, where that is proven."""
    return None


@layers_needed.register
def _(network: ReLUNetwork) -> int | None:
    return None if network.hidden_layers else 0


@layers_needed.register
def _(network: NodalNetwork) -> int:
    return min(network.dim_in, 2) if network.size > 0 else 0


@layers_needed.register
def _(network: Surrogate) -> int:
    return 2 if np.any(network.coefficients) else 0


@singledispatch
def free_values(network: Any) -> int | None:
    """The dimension of the space of all functions of this kind, where they are one."""
    return None


@free_values.register
def _(network: NodalNetwork) -> int:
    return network.node_mesh.num_vertices * network.dim_out


@free_values.register
def _(network: Surrogate) -> int:
    return int(network.coefficients.size)


def _row(name: str, *numbers: int | None) -> tuple[str, str, str, str]:
    texts = ["" if number is None else str(number) for number in numbers]
    first, second, third = texts + [""] * (3 - len(texts))
    return name, first, second, third
