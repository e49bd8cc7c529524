# SPDX-License-Identifier: MIT
"""Every P1 function is a signed sum of maxima of dim + 1 affine functions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial import ConvexHull

from fe_relu.basics.points import checked_points
from fe_relu.cpwl import bends, cones, rays
from fe_relu.layers.affine import Affine
from fe_relu.layers.network import ReLUNetwork
from fe_relu.meshes.grid.grid import Grid
from fe_relu.meshes.mesh import Mesh
from fe_relu.meshes.simplices.mesh import SimplexMesh

#: Products of points and terms that are held at once.
CHUNK = 1 << 21


@dataclass(frozen=True, eq=False)
class MaxDecomposition:
    """slope · x + constant + Σ sign · max(0, g₁ · (x − apex), …, g_dim · (x − apex)).

    Each term is plus or minus the maximum of dim + 1 affine functions, one of which is 0; those
    that are not needed are 0 as well.

    Attributes:
        signs: 1 or −1, shape (m,).
        gradients: Shape (m, dim, dim); the last axis is that of coordinates.
        apexes: Where all affine functions of a term are 0, shape (m, dim).
        slope: Of the affine function, shape (dim,).
        constant: Of the affine function.
    """

    signs: npt.NDArray[np.int8]
    gradients: npt.NDArray[np.float64]
    apexes: npt.NDArray[np.float64]
    slope: npt.NDArray[np.float64]
    constant: float

    def __post_init__(self) -> None:
        for array in (self.signs, self.gradients, self.apexes, self.slope):
            array.flags.writeable = False

    @property
    def dim(self) -> int:
        return len(self.slope)

    @property
    def num_terms(self) -> int:
        """Number of maxima; the affine function is not counted."""
        return len(self.signs)

    def __call__(self, x: npt.ArrayLike) -> npt.NDArray:
        """Values at the columns of x, shape (n,); takes time in proportion to terms times points.

        Raises:
            ValueError: x has another shape, or a coordinate that is NaN or infinite.
            TypeError: x does not hold real numbers.
        """
        x = checked_points(x, self.dim)
        values = np.empty(x.shape[1])
        step = max(1, CHUNK // max(1, self.num_terms))
        middle = self.apexes.mean(axis=0) if self.num_terms else np.zeros(self.dim)
        offsets = np.einsum("mkd,md->km", self.gradients, self.apexes - middle)
        for start in range(0, len(values), step):
            some = x[:, start : start + step] - middle[:, None]
            highest = np.zeros((self.num_terms, some.shape[1]))
            for row in range(self.dim):
                rising = self.gradients[:, row] @ some - offsets[row][:, None]
                np.maximum(highest, rising, out=highest)
            values[start : start + step] = self.signs @ highest
        return values + self.slope @ x + self.constant

    def explicit(self) -> ReLUNetwork:
        """The same function as a network of two hidden layers, on the line of one.

        In the plane, a term is R(b + R(a − b)), three neurons of the first layer and one of the
        second. In space it is R(a) + R(max(b, c) − R(a)), four and two. On the line it is one
        neuron. Besides, two in each layer carry the affine function.
        """
        return _network(self, self.signs.astype(float), 1.0)

    def parts(self) -> tuple[ReLUNetwork, ReLUNetwork]:
        """Convex networks g and h with u = g − h: terms of each sign, the affine function in g."""
        up, down = (np.maximum(sign * self.signs, 0).astype(float) for sign in (1, -1))
        return _network(self, up, 1.0), _network(self, down, 0.0)


def max_decomposition(mesh: Mesh, values: npt.ArrayLike) -> MaxDecomposition:
    """The P1 function with nodal values on a mesh as Σ ± max of at most dim + 1 affine functions.

    A theorem for any continuous piecewise linear function (Wang and Sun 2005, Hertrich et al. 2021)
    and here one pass over the mesh. On intervals and triangles in any arrangement there
    is a term or two for each edge, see `fe_relu.cpwl.rays`, and outside the mesh the sum is what
    `P1Network(mesh, values)` is, zero from the ring on. On tetrahedra that fill their convex hull
    there are some hundred terms for each vertex, see `fe_relu.cpwl.cones`, and nothing is
    claimed outside. The sum is exact, and evaluated in floats it cancels: terms are not 0 far from
    their apex, so that roundoff grows with their number.

    Args:
        mesh: A `Grid`, or a mesh of intervals, triangles or tetrahedra.
        values: Nodal values, shape (n,), finite.

    Raises:
        ValueError: values have another shape or are not finite, or tetrahedra do not fill their
            convex hull.
        TypeError: values are not real numbers.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (1, 1), "right")
        >>> found = fe_relu.cpwl.max_decomposition(grid, [0.0, 1.0, 2.0, 4.0])
        >>> found([[0.5, 1.0], [0.25, 1.0]]).round(12)
        array([1.25, 4.  ])
    """
    vertices, cells, own = _extended(mesh)
    nodal = np.asarray(values)
    if nodal.dtype.kind not in "fiu":
        raise TypeError(f"nodal values must be real numbers, not {nodal.dtype}")
    if nodal.shape != own.shape:
        raise ValueError(f"nodal values must have shape {own.shape}, not {nodal.shape}")
    if not np.isfinite(nodal).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(nodal))} nodal values are not finite")
    everywhere = np.zeros(vertices.shape[1])
    everywhere[own] = nodal
    signs, gradients, places = _terms(vertices, cells, everywhere)
    apexes = vertices[:, places].T.copy()
    alone = MaxDecomposition(
        signs.astype(np.int8), gradients, apexes, np.zeros(len(vertices)), constant=0.0
    )
    corners = _spread(vertices)
    left = everywhere[corners] - alone(vertices[:, corners])
    slope, constant = affine_through(vertices[:, corners], left)
    return MaxDecomposition(alone.signs, gradients, apexes, slope, float(constant))


def dc_decomposition(mesh: Mesh, values: npt.ArrayLike) -> tuple[ReLUNetwork, ReLUNetwork]:
    """Convex networks g and h whose difference is the P1 function with nodal values on a mesh.

    The function is g − h. They are the terms with a plus and those with a minus of
    `max_decomposition`, so that both are convex on all of ℝᵈ by what they are made of: sums of
    maxima of affine functions.

    Raises:
        ValueError: As for `max_decomposition`.
        TypeError: Likewise.

    Examples:
        >>> import numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right")
        >>> g, h = fe_relu.cpwl.dc_decomposition(grid, np.eye(9)[4])  # a hat
        >>> x = np.array([[1.0, 1.5], [1.0, 1.0]])
        >>> (g(x) - h(x)).round(12)
        array([1. , 0.5])
    """
    return max_decomposition(mesh, values).parts()


def affine_through(points: npt.NDArray, numbers: npt.NDArray) -> tuple[npt.NDArray, Any]:
    """Slope and constant of the affine function with these values at dim + 1 points."""
    steps, rises = points[:, 1:] - points[:, :1], numbers[1:] - numbers[0]
    if len(points) == 1:
        slope: npt.NDArray = rises / steps[0]
        return slope, numbers[0] - slope[0] * points[0, 0]
    if len(points) == 3:
        slope = bends.slope(steps[..., None], rises[:, None])[:, 0]
        return slope, numbers[0] - (slope * points[:, 0]).sum()
    area = steps[0, 0] * steps[1, 1] - steps[0, 1] * steps[1, 0]
    slope = np.array(
        [
            (rises[0] * steps[1, 1] - rises[1] * steps[1, 0]) / area,
            (rises[1] * steps[0, 0] - rises[0] * steps[0, 1]) / area,
        ]
    )
    return slope, numbers[0] - (slope * points[:, 0]).sum()


@singledispatch
def _extended(mesh: Any) -> tuple[npt.NDArray, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Vertices and cells with the ring on which functions go to zero, and which vertices are own.

    Tetrahedra are taken without a ring.

    Raises:
        TypeError: It is no whole mesh.
        ValueError: Tetrahedra do not fill their convex hull.
    """
    raise TypeError(f"a {type(mesh).__name__} is no whole mesh; a Grid is, or a SimplexMesh")


@_extended.register
def _(mesh: SimplexMesh) -> tuple[npt.NDArray, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if mesh.dim == 3:
        _require_convex(mesh)
        return mesh.vertex_array, mesh.cell_array, np.arange(mesh.num_vertices)
    vertices, cells, own = mesh.extended
    return vertices, cells, np.arange(own)


@_extended.register
def _(grid: Grid) -> tuple[npt.NDArray, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    nx, ny = grid.shape
    wider = Grid(grid.origin - grid.axes.sum(axis=1), grid.axes, (nx + 2, ny + 2), grid.diagonal)
    finer = 2 if grid.has_centres else 1
    places = np.rint(finer * (grid.lattice_positions() + 1)).astype(np.int64)
    return wider.vertices(), wider.cells(), wider.vertices_at(*places)


def _terms(
    vertices: npt.NDArray, cells: npt.NDArray[np.int64], values: npt.NDArray
) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray[np.int64]]:
    """Signs (m,), gradients (m, dim, dim) and the vertices that are apexes."""
    if len(vertices) == 1:
        return _terms_of_line(vertices[0], cells, values)
    if len(vertices) == 3:
        return cones.terms(vertices, cells, values)
    edges, weights = rays.weights(vertices, cells, values)
    starts, found = rays.rays(vertices, edges, weights)
    most = found.shape[1] + rays.EXTRA * vertices.shape[1]
    terms, apexes = np.empty((5, most)), np.empty(most, np.int64)
    count = rays.triples(starts, found, rays.FIXED.astype(float), terms, apexes)
    gradients = terms[1:, :count].T.reshape(-1, 2, 2)
    return terms[0, :count], gradients.copy(), apexes[:count]


def _terms_of_line(
    x: npt.NDArray, cells: npt.NDArray[np.int64], values: npt.NDArray
) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray[np.int64]]:
    """A ReLU at each vertex where slopes differ."""
    left, right = np.where(x[cells[0]] < x[cells[1]], cells, cells[::-1])
    slopes = (values[right] - values[left]) / (x[right] - x[left])
    jumps = np.zeros_like(values)
    np.add.at(jumps, left, slopes)
    np.add.at(jumps, right, -slopes)
    bent = np.flatnonzero(jumps)
    return np.sign(jumps[bent]), abs(jumps[bent])[:, None, None], bent


def _spread(vertices: npt.NDArray) -> npt.NDArray[np.int64]:
    """Numbers of dim + 1 vertices that are far from each other."""
    ends = [int(vertices[0].argmin()), int(vertices[0].argmax())]
    away = vertices - vertices[:, ends[:1]]
    for _ in range(len(vertices) - 1):
        basis, _ = np.linalg.qr(away[:, ends[1:]])
        ends.append(int(((away - basis @ (basis.T @ away)) ** 2).sum(axis=0).argmax()))
    return np.array(ends)


def _require_convex(mesh: SimplexMesh) -> None:
    corners = mesh.vertex_array[:, mesh.cell_array]
    steps = (corners[:, 1:] - corners[:, :1]).transpose(2, 0, 1)
    volume, hull = np.abs(np.linalg.det(steps)).sum() / 6, ConvexHull(mesh.vertex_array.T).volume
    if abs(volume - hull) > 1e-9 * hull:
        raise ValueError(
            f"the tetrahedra fill {volume:.6g} of {hull:.6g}, the volume of their convex hull; "
            "sums of maxima need all of it"
        )


def _network(found: MaxDecomposition, factors: npt.NDArray, share: float) -> ReLUNetwork:
    """The terms times factors, without those of factor 0, and a share of the affine function."""
    used = factors != 0
    factors, gradients = factors[used], found.gradients[used]
    offsets = np.einsum("mkd,md->mk", gradients, found.apexes[used])
    m, affine = len(factors), np.array([found.slope, -found.slope])
    constants = np.array([found.constant, -found.constant])
    output = Affine(np.concatenate([factors, [share, -share]])[None], np.zeros(1))
    if found.dim == 1:
        first = Affine(np.vstack([gradients[:, 0], affine]), np.append(-offsets[:, 0], constants))
        return ReLUNetwork((first, output))
    eye, none, carry = sparse.eye_array(m), sparse.csr_array((m, m)), sparse.eye_array(2)
    if found.dim == 3:
        a, b, c = (gradients[:, k] for k in range(3))
        first = Affine(
            np.vstack([a, b - c, c, -c, affine]),
            np.concatenate([-offsets[:, 0], offsets[:, 2] - offsets[:, 1], -offsets[:, 2],
                            offsets[:, 2], constants]),
        )  # fmt: skip
        terms = sparse.bmat([[eye, none, none, none], [-eye, eye, eye, -eye]])
        second = Affine(sparse.block_diag([terms, carry]), np.zeros(2 * m + 2))
        total = np.concatenate([factors, factors, [share, -share]])
        return ReLUNetwork((first, second, Affine(total[None], np.zeros(1))))
    one, other = gradients[:, 0], gradients[:, 1]
    first = Affine(
        np.vstack([one - other, other, -other, affine]),
        np.concatenate([offsets[:, 1] - offsets[:, 0], -offsets[:, 1], offsets[:, 1], constants]),
    )
    terms = sparse.hstack([eye, eye, -eye])
    second = Affine(sparse.block_diag([terms, carry]), np.zeros(m + 2))
    return ReLUNetwork((first, second, output))
