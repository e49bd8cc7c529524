# SPDX-License-Identifier: MIT
"""The interpolation matrix: activations of a hidden layer at data points (Huang 2022).

A network is y = A α + b: its last hidden layer's activations A at the data, times the output
weights. For networks on meshes the hats are those activations, few at a point, and A is found by
location; at the vertices it is the identity.
"""

from __future__ import annotations

from functools import singledispatch
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.linalg import svdvals

from fe_relu.basics.points import real_points, require_finite
from fe_relu.basics.refusals import needed, wrong_kind
from fe_relu.fitting.inertia import rank_and_condition
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.network import LayeredNetwork
from fe_relu.networks.nodal import facts_of, layout_of, whole_of
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network
from fe_relu.networks.q1 import Q1Network
from fe_relu.parallel.agreement import together
from fe_relu.parallel.layouts import Alone
from fe_relu.parallel.routing import Inquiry

if TYPE_CHECKING:
    from petsc4py import PETSc

#: Points looked at together in layers.
AT_ONCE = 1 << 12

#: Columns of a matrix whose rank and condition are found, by its singular values.
MOST_COLUMNS = 4000


def interpolation_matrix(
    network: Any, points: npt.ArrayLike, layer: int = -1
) -> sparse.csr_array | PETSc.Mat:
    """A_ij, the activation of neuron j of a hidden layer at point i (Huang, arXiv 2208.07498).

    Of a network on a mesh and its last hidden layer, the hats at the points, one column a vertex:
    at most dim + 1 in a row, found in a time that does not depend on the mesh; of a `Q1Network`
    four. Of other networks and layers, all neurons are evaluated.

    Collective over the network's `comm`: then each rank passes points of its own, and gets a
    distributed PETSc matrix whose rows are the ranks' points, rank by rank.

    Args:
        network: A `P1Network`, `Q1Network`, `ReLUNetwork`, or another one with explicit layers.
        points: Coordinates, shape (dim, n) or (3, n).
        layer: Which hidden layer, as an index; negative ones count from the last.

    Returns:
        Shape (n, neurons): SciPy's CSR for a network of one process, else PETSc's AIJ.

    Raises:
        ValueError: Points have another shape or are not finite, or there is no such layer.
        TypeError: The network is of another kind.
        ImportError: There is a communicator, and petsc4py is not installed.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (1, 1), "right")
        >>> network = fe_relu.P1Network(grid, np.zeros(4))
        >>> fe_relu.interpolation_matrix(network, [[0.5, 1.0], [0.25, 1.0]]).toarray()
        array([[0.5 , 0.25, 0.  , 0.25],
               [0.  , 0.  , 0.  , 1.  ]])
    """
    where = layout_of(network)
    with together(where.comm) as terms:
        count = _checked_layer(network, layer)
        terms.alike("layers", layer)
        if where != Alone():
            with needed("petsc4py", "a matrix on a communicator"):
                import petsc4py.PETSc  # noqa: F401
    rows = rows_at(network, points, count)
    return rows if where == Alone() else distributed(rows, where.comm)


def _checked_layer(network: Any, layer: int) -> int | None:
    """The number of the hidden layer, counted from 0; None for the hats of a mesh."""
    if isinstance(layer, bool) or not isinstance(layer, int | np.integer):
        raise TypeError(f"layer must be an integer, not {type(layer).__name__}")
    depth = hidden_depth(network)
    if not -depth <= layer < depth:
        raise ValueError(f"there is no hidden layer {layer}; there are {depth}")
    number = int(layer) % depth
    return None if number == depth - 1 and has_hats(network) else number


@singledispatch
def has_hats(network: Any) -> bool:
    """Whether the last hidden layer is taken for one hat a vertex."""
    return False


@has_hats.register(P1Network)
@has_hats.register(Q1Network)
def _(network: Any) -> bool:
    return True


@singledispatch
def hidden_depth(network: Any) -> int:
    """How many hidden layers a network has."""
    raise wrong_kind(network, "a network of layers", "to_p1", "compress")


@hidden_depth.register(P2Network)
@hidden_depth.register(Surrogate)
def _(network: Any) -> int:
    return network.explicit().hidden_layers


@hidden_depth.register
def _(network: P1Network) -> int:
    return 2


@hidden_depth.register
def _(network: Q1Network) -> int:
    """Lines, hats along an axis, and their products."""
    return 3


@hidden_depth.register
def _(network: LayeredNetwork) -> int:
    return network.hidden_layers


def rows_at(network: Any, points: npt.ArrayLike, layer: int | None) -> sparse.csr_array:
    """The rows of this rank's points. Collective if there are hats and a communicator."""
    if layer is None:
        return _hats_at(network, points)
    whole: Any = whole_of(network)
    layers = whole if isinstance(whole, LayeredNetwork) else whole.explicit()
    return _activations(layers, points, layer)


def _hats_at(network: Any, points: npt.ArrayLike) -> sparse.csr_array:
    def own() -> npt.NDArray:
        x = real_points(points, network.dim_in)
        require_finite(x)
        return x.astype(np.float64)

    inquiry = Inquiry(
        own, network.part.hats, np.dtype(float), {"calls": "hats"} | facts_of(network)
    )
    found = network.layout.visit(inquiry).numbers()
    vertices, values = np.split(found, 2)
    near = network.mesh.resolution() if network.mesh.is_structured else 0.0
    values[values <= near] = 0  # a hat is negative by roundoff only
    values[np.abs(values - 1) <= near] = 1
    counts = (vertices >= 0) & (values != 0)
    starts = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
    columns = vertices.T[counts.T].astype(np.int64)
    shape = (found.shape[1], network.mesh.num_vertices)
    return sparse.csr_array((values.T[counts.T], columns, starts), shape=shape)


def _activations(network: LayeredNetwork, points: npt.ArrayLike, layer: int) -> sparse.csr_array:
    x = real_points(points, network.dim_in)
    require_finite(x)
    parts = []
    for start in range(0, max(x.shape[1], 1), AT_ONCE):
        hidden = network.activations(x[:, start : start + AT_ONCE].astype(float))
        parts.append(sparse.csr_array(next(islice(hidden, layer, None)).T))
    return sparse.csr_array(sparse.vstack(parts))


def distributed(rows: sparse.csr_array, comm: Any) -> PETSc.Mat:
    """The rows of all ranks, one rank's after the other's, as a PETSc matrix. Collective."""
    from petsc4py import PETSc

    with together(comm):
        most = np.iinfo(PETSc.IntType).max
        if max(rows.nnz, rows.shape[1]) > most:
            raise ValueError(f"{rows.nnz} numbers on a rank are more than PETSc's {most} here")
    columns = (PETSc.DECIDE, rows.shape[1])
    parts = rows.indptr.astype(PETSc.IntType), rows.indices.astype(PETSc.IntType), rows.data
    matrix = PETSc.Mat().createAIJ(((rows.shape[0], None), columns), csr=parts, comm=comm)
    matrix.assemble()
    return matrix


def _singular_values(matrix: sparse.csr_array) -> tuple[npt.NDArray, float]:
    """The largest first, and what part of it is roundoff: that of squares for many points."""
    eps = np.finfo(float).eps * max(matrix.shape)
    if matrix.shape[0] <= MOST_COLUMNS:
        return svdvals(matrix.toarray()), eps
    squares = np.linalg.eigvalsh((matrix.T @ matrix).toarray())[::-1]
    return np.sqrt(squares.clip(min=0)), float(np.sqrt(eps))


class MatrixFacts(NamedTuple):
    """What an interpolation matrix is like.

    Attributes:
        shape: Points and neurons.
        nonzeros: How many numbers are not zero.
        densest_row: So many of them in a row, at most.
        rank: Of the matrix: numbers of neurons that the points tell apart.
        condition: The largest singular value over the smallest that is not zero by roundoff.
    """

    shape: tuple[int, int]
    nonzeros: int
    densest_row: int
    rank: int
    condition: float


def matrix_facts(matrix: sparse.csr_array) -> MatrixFacts:
    """Size, sparsity, rank and condition of an interpolation matrix.

    Up to 4000 columns from its singular values; beyond, by counting eigenvalues of its square: then
    the condition is right to 2 %, and singular values below 1e-7 of the largest count as zero.

    Args:
        matrix: As `interpolation_matrix` gives it for a network of one process.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right")
        >>> network = fe_relu.P1Network(grid, np.zeros(9))
        >>> fe_relu.matrix_facts(fe_relu.interpolation_matrix(network, grid.vertices()))
        MatrixFacts(shape=(9, 9), nonzeros=9, densest_row=1, rank=9, condition=1.0)
    """
    rows, columns = matrix.shape
    densest = int(np.diff(matrix.indptr).max(initial=0))
    if columns > MOST_COLUMNS:
        rank, condition = rank_and_condition(sparse.csc_array(matrix.T @ matrix))
        return MatrixFacts((rows, columns), int(matrix.nnz), densest, rank, condition)
    values, roundoff = _singular_values(matrix)
    kept = values > roundoff * values.max(initial=0)
    condition = float(values[0] / values[kept][-1]) if kept.any() else float("inf")
    return MatrixFacts((rows, columns), int(matrix.nnz), densest, int(kept.sum()), condition)
