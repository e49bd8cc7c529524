# SPDX-License-Identifier: MIT
"""Least squares for the output weights of a network whose hidden layers stay as they are."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.basics.refusals import needed
from fe_relu.fitting.matrix import distributed, has_hats, hidden_depth, rows_at
from fe_relu.layers.affine import Affine
from fe_relu.layers.network import LayeredNetwork, network_of
from fe_relu.networks.nodal import layout_of
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.q1 import Q1Network
from fe_relu.parallel.agreement import together
from fe_relu.parallel.layouts import Alone

if TYPE_CHECKING:
    from petsc4py import PETSc

    import ufl

#: Without regularisation: the relative residual of the normal equations, and steps at most.
TOLERANCE, MOST_STEPS = 1e-11, 2000

#: What is added to their diagonal, times its largest entry, before they are factored. As factors
#: commute with the equations, conjugate gradients never leave the space of least norm.
SHIFT = 1e-5


def fit_output(
    network: Any,
    points: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    regularisation: float = 0.0,
    penalty: ufl.Form | None = None,
) -> Any:
    """The network on the same hidden layers that is nearest to data: α of least |A α + b − y|².

    A is the `interpolation_matrix`, b the bias that the network's output has. For a network on a
    mesh that is data assimilation: α are the nodal values. With neither regularisation nor penalty
    the α of least norm among the nearest, by conjugate gradients on the normal equations; with one
    of them least |A α + b − y|² + regularisation |α|² + penalty(α, α). Either takes one Cholesky
    factorisation for all outputs.

    Collective over the network's `comm`: each rank passes data of its own.

    Args:
        network: A `P1Network`, `Q1Network`, `ReLUNetwork` or another one with explicit layers.
        points: Coordinates, shape (dim, n) or (3, n).
        values: Data there, shape (n,) or (k, n) for k outputs.
        regularisation: At least 0.
        penalty: A symmetric UFL form of a trial and a test function in the scalar P1 or Q1 space on
            the dolfinx mesh that the network is on, such as 1e-3 * inner(grad(u), grad(v)) * dx.

    Returns:
        A network like the given one with k outputs; of other networks with layers their layers.

    Raises:
        ValueError: Shapes do not fit, data are not finite, regularisation is negative, the penalty
            is on another mesh, or
            the equations are not solved.
        TypeError: The network is of another kind, or there is a penalty and no mesh.
        ImportError: petsc4py is not installed.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (4, 4), "right")
        >>> x, y = points = np.random.default_rng(0).random((2, 500)) * 4
        >>> network = fe_relu.P1Network(grid, np.zeros(grid.num_vertices))
        >>> fitted = fe_relu.fit_output(network, points, 3 * x - y)
        >>> bool(np.abs(fitted([[1.5], [0.25]]) - 4.25) < 1e-6)
        True
    """
    where = layout_of(network)
    comm = where.comm
    layer = None if has_hats(network) else hidden_depth(network) - 1
    rows = rows_at(network, points, layer)
    with together(comm) as terms:
        data = _checked_data(values, rows.shape[0])
        if not regularisation >= 0:
            raise ValueError(f"regularisation must be at least 0, not {regularisation}")
        if penalty is not None and layer is not None:
            raise TypeError("a penalty is a form on the mesh of a network, which this one has not")
        with needed("petsc4py", "fit_output"):
            from petsc4py import PETSc
        terms.alike("numbers of outputs", np.shape(values)[:-1])
        terms.alike("regularisations", float(regularisation))
        terms.alike("words for a penalty", penalty is not None)
    matrix = distributed(rows, PETSc.COMM_SELF if where == Alone() else comm)
    rights = [_vector(matrix, row, left=True) for row in data - _bias(network, len(data))[:, None]]
    rights = [_transposed(matrix, right) for right in rights]
    normal = matrix.transposeMatMult(matrix)
    if penalty is None and regularisation == 0:
        shifted = normal.copy()
        shifted.shift(SHIFT * (normal.getDiagonal().max()[1] or 1.0))
        weights = _solved(normal, shifted, rights, "cg")
    else:
        normal.shift(regularisation)
        if penalty is not None:
            from fe_relu.fenicsx.penalty import penalty_rows

            normal.axpy(1.0, _like(normal, penalty_rows(penalty, network.mesh)))
        weights = _solved(normal, normal, rights, "preonly")
    return _with_weights(network, weights, np.ndim(values) == 1)


def _checked_data(values: npt.ArrayLike, count: int) -> npt.NDArray[np.float64]:
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError("data are a masked array; leave out points without a value")
    data = np.asarray(values)
    if data.dtype.kind not in "fiu":
        raise TypeError(f"data must be real numbers, not {data.dtype}")
    if data.ndim not in (1, 2) or data.shape[-1] != count or data.shape[0] == 0 < data.ndim - 1:
        raise ValueError(
            f"data must have shape ({count},) or (k, {count}), one number a point, not {data.shape}"
        )
    data = np.atleast_2d(data).astype(float)
    if not np.isfinite(data).all():
        bad = np.count_nonzero(~np.isfinite(data))
        raise ValueError(f"{bad} of {data.size} data are NaN or infinite; leave out their points")
    return data


def _vector(matrix: PETSc.Mat, numbers: npt.NDArray, *, left: bool) -> PETSc.Vec:
    vector = matrix.createVecLeft() if left else matrix.createVecRight()
    vector.array[:] = numbers
    return vector


def _transposed(matrix: PETSc.Mat, right: PETSc.Vec) -> PETSc.Vec:
    found = matrix.createVecRight()
    matrix.multTranspose(right, found)
    return found


def _like(matrix: PETSc.Mat, rows: sparse.csr_array) -> PETSc.Mat:
    """Rows that this rank owns of a matrix, or that it adds to others', in a matrix alike."""
    from petsc4py import PETSc

    found = PETSc.Mat().createAIJ(matrix.getSizes(), comm=matrix.comm)
    counts = np.diff(rows.indptr)
    found.setPreallocationNNZ(int(counts.max(initial=0)))
    found.setOption(PETSc.Mat.Option.NEW_NONZERO_ALLOCATION_ERR, False)
    given = np.flatnonzero(counts)
    some = rows[given]
    parts = (part.astype(PETSc.IntType) for part in (some.indptr, some.indices))
    add = PETSc.InsertMode.ADD_VALUES
    found.setValuesIJV(*parts, some.data, addv=add, rowmap=given.astype(PETSc.IntType))
    found.assemble()
    return found


def _solved(
    normal: PETSc.Mat, factored: PETSc.Mat, rights: list[PETSc.Vec], steps: str
) -> list[PETSc.Vec]:
    """Solutions by steps ("preonly", "cg") with the factors of a matrix near the equations'."""
    from petsc4py import PETSc

    solver = PETSc.KSP().create(normal.comm)
    solver.setType(steps)
    factored.setOption(PETSc.Mat.Option.SPD, True)
    solver.setOperators(normal, factored)
    solver.setTolerances(rtol=TOLERANCE, atol=1e-300, max_it=MOST_STEPS)
    factors = solver.getPC()
    factors.setType(PETSc.PC.Type.CHOLESKY)
    if normal.comm.size > 1:
        factors.setFactorSolverType("mumps")
    found = []
    for right in rights:
        weights = normal.createVecRight()
        weights.set(0)
        solver.solve(right, weights)
        if solver.getConvergedReason() < 0 or not np.isfinite(weights.norm()):
            raise ValueError(
                "the normal equations are not solved: points hardly tell some neurons apart; "
                "regularisation=1e-8, or more, or a penalty makes the answer unique"
            )
        found.append(weights)
    return found


@singledispatch
def _bias(network: Any, outputs: int) -> npt.NDArray:
    """What outputs have besides the activations."""
    return np.zeros(outputs)


@_bias.register
def _(network: LayeredNetwork, outputs: int) -> npt.NDArray:
    bias = network.last.bias
    if len(bias) != outputs:
        raise ValueError(f"the network has {len(bias)} outputs, the data {outputs}")
    return bias.astype(float)


@singledispatch
def _with_weights(network: Any, weights: list[PETSc.Vec], scalar: bool) -> Any:
    """The network with other output weights. Collective."""
    return _with_weights(network.explicit(), weights, scalar)


@_with_weights.register(LayeredNetwork)
def _(network: LayeredNetwork, weights: list[PETSc.Vec], scalar: bool) -> Any:
    rows = np.array([vector.array for vector in weights]).astype(network.dtype)
    return network_of((*network.layers[:-1], Affine(rows, network.last.bias)))


@_with_weights.register(P1Network)
@_with_weights.register(Q1Network)
def _(network: Any, weights: list[PETSc.Vec], scalar: bool) -> Any:
    """Each rank gets the nodal values of its part."""
    from petsc4py import PETSc

    numbers = network.part.numbers().astype(PETSc.IntType)
    values = np.empty((len(weights), numbers.size), network.dtype)
    for row, vector in zip(values, weights, strict=True):
        own = PETSc.Vec().createSeq(numbers.size)
        there = PETSc.IS().createGeneral(numbers, comm=PETSc.COMM_SELF)
        here = PETSc.IS().createStride(numbers.size, 0, 1, comm=PETSc.COMM_SELF)
        PETSc.Scatter().create(vector, there, own, here).scatter(vector, own)
        row[:] = own.array
    return replace(network, values=values[0] if scalar else values, is_complex=False)
