# SPDX-License-Identifier: MIT
"""Integrals, norms and extremes of networks in one or two variables, exact to roundoff.

On each linear region a network is affine, so that integrals of it, of its square and of products
are polynomials of its values at the corners: there are no quadrature points to choose. With V the
volume of a simplex in dimension d and f, g the values at its corners,

    ∫ f = V Σf / (d + 1),     ∫ f g = V (Σf Σg + Σ f g) / ((d + 1) (d + 2)).
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fe_relu.basics.compiled import compiled
from fe_relu.layers.network import concatenate
from fe_relu.networks.p1 import P1Network
from fe_relu.regions.domains import cells_of
from fe_relu.regions.regions import LinearRegions, layers_of, linear_regions

NORMS = ("L1", "L2", "Linf", "H1", "H1-seminorm")


class Pieces(NamedTuple):
    """A function that is affine on convex faces.

    Attributes:
        vertices: Shape (dim, n).
        values: Shape (k, n).
        offsets: As in `LinearRegions`.
        corners: As in `LinearRegions`.
        slopes: Makes the gradient on each face, (k, dim, faces).
    """

    vertices: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.int64]
    corners: npt.NDArray[np.int64]
    slopes: Any


@singledispatch
def pieces_of(network: Any, domain: Any = None) -> Pieces:
    """What a network is on a domain; of a P1 network by default on its mesh.

    Raises:
        ValueError: There is no domain, or as for `linear_regions`.
        TypeError: As for `linear_regions`.
    """
    if domain is None:
        layers_of(network)
        raise ValueError(
            "a domain is needed, such as a box ((x0, x1), (y0, y1)): only a P1Network has a mesh "
            "of its own"
        )
    return pieces_of(linear_regions(network, domain))


@pieces_of.register
def _(regions: LinearRegions, domain: Any = None) -> Pieces:
    if domain is not None:
        raise ValueError("linear regions are of one domain already; leave out the other")
    return Pieces(
        regions.vertices,
        np.atleast_2d(regions.values),
        regions.offsets,
        regions.corners,
        lambda: regions.slopes.reshape(-1, regions.dim, regions.num_regions),
    )


@pieces_of.register
def _(network: P1Network, domain: Any = None) -> Pieces:
    if domain is not None:
        return pieces_of(linear_regions(network, domain))
    whole = network.whole()
    cells = cells_of(whole.mesh, whole.mesh.dim)
    corners = cells.corners.reshape(-1, whole.mesh.dim + 1)
    middles = cells.vertices[corners].mean(axis=1).T
    return Pieces(
        cells.vertices.T,
        np.atleast_2d(whole.values).astype(np.float64),
        cells.offsets,
        cells.corners,
        lambda: whole.gradient(middles).reshape(-1, whole.mesh.dim, len(corners)),
    )


def integral(network: Any, domain: Any = None, *, times: Any = None) -> Any:
    """∫ network over a domain, or ∫ network · times; exact to roundoff.

    Args:
        network: As for `linear_regions`, or `LinearRegions` that are there already.
        domain: As for `linear_regions`; a `P1Network` has its mesh by default.
        times: Another network with as many outputs; products are of output by output, on the common
            refinement of the regions of both.

    Returns:
        A number, or (k,) for k outputs.

    Raises:
        ValueError: As for `linear_regions`, or numbers of outputs differ.
        TypeError: As for `linear_regions`.

    Examples:
        >>> import numpy as np, fe_relu
        >>> corner = fe_relu.ReLUNetwork(  # relu(x + y − 1)
        ...     (fe_relu.Affine([[1, 1]], [-1]), fe_relu.Affine([[1]], [0]))
        ... )
        >>> round(fe_relu.integral(corner, ((0, 1), (0, 1))) * 6, 12)
        1.0
        >>> round(fe_relu.integral(corner, ((0, 1), (0, 1)), times=corner) * 12, 12)
        1.0
    """
    if times is None:
        pieces = pieces_of(network, domain)
        return _numbers(_integrals(pieces, pieces.values, None))
    pieces, values, others = _both(network, times, domain)
    return _numbers(_integrals(pieces, values, others))


def norm(network: Any, kind: str = "L2", domain: Any = None) -> float:
    """The norm of a network over a domain, exact to roundoff.

    Args:
        network: As for `integral`; f − g of two `ReLUNetwork`s has their distance.
        kind: "L1", "L2", "Linf", "H1" (the square root of ∫ f² + |∇f|²) or "H1-seminorm" (of
            ∫ |∇f|²). Of several outputs: L1 adds them, Linf takes the largest, the others add
            squares.
        domain: As for `integral`.

    Raises:
        ValueError: kind is another word, or as for `linear_regions`.
        TypeError: As for `linear_regions`.

    Examples:
        >>> import fe_relu
        >>> line = fe_relu.ReLUNetwork((fe_relu.Affine([[1, 0]], [0]),))
        >>> square = ((-1, 1), (-1, 1))
        >>> [fe_relu.norm(line, kind, square) for kind in ("L1", "Linf", "H1-seminorm")]
        [2.0, 1.0, 2.0]
    """
    if kind not in NORMS:
        raise ValueError(f"kind must be one of {', '.join(NORMS)}, not {kind!r}")
    pieces = pieces_of(network, domain)
    if kind == "Linf":
        return float(np.abs(pieces.values).max())
    if kind == "L1":
        return float(_absolute(pieces).sum())
    square = 0.0
    if kind != "H1-seminorm":
        square += _integrals(pieces, pieces.values, pieces.values).sum()
    if kind != "L2":
        ones = np.ones((1, pieces.vertices.shape[1]))
        sizes = _by_face(pieces, ones, None)[0]
        square += float(((pieces.slopes() ** 2).sum(axis=(0, 1)) * sizes).sum())
    return float(np.sqrt(square))


def argmax(network: Any, domain: Any = None) -> tuple[npt.NDArray[np.float64], Any]:
    """A point of the domain where the network is largest, and what it is there.

    A maximum is at a vertex of the linear regions: so it is attained, and global.

    Args:
        network: As for `integral`.
        domain: As for `integral`.

    Returns:
        The point (dim,) and a number; of k outputs a point for each, (dim, k), and (k,).

    Raises:
        ValueError: As for `linear_regions`.
        TypeError: Likewise.

    Examples:
        >>> import fe_relu
        >>> line = fe_relu.ReLUNetwork((fe_relu.Affine([[1, -2]], [0]),))
        >>> fe_relu.argmax(line, ((-1, 1), (-1, 1)))
        (array([ 1., -1.]), 3.0)
    """
    pieces = pieces_of(network, domain)
    return _at(pieces, pieces.values.argmax(axis=1))


def argmin(network: Any, domain: Any = None) -> tuple[npt.NDArray[np.float64], Any]:
    """A point of the domain where the network is smallest, and what it is there; see `argmax`.

    Examples:
        >>> import fe_relu
        >>> line = fe_relu.ReLUNetwork((fe_relu.Affine([[1, -2]], [0]),))
        >>> fe_relu.argmin(line, ((-1, 1), (-1, 1)))
        (array([-1.,  1.]), -3.0)
    """
    pieces = pieces_of(network, domain)
    return _at(pieces, pieces.values.argmin(axis=1))


def _at(pieces: Pieces, places: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], Any]:
    """The point and the value of each output at a vertex of its own."""
    points = pieces.vertices[:, places]
    values = np.take_along_axis(pieces.values, places[:, None], axis=1)[:, 0]
    return (points[:, 0] if len(places) == 1 else points), _numbers(values)


def _numbers(values: npt.NDArray[np.float64]) -> Any:
    return float(values[0]) if len(values) == 1 else values


def _both(
    network: Any, times: Any, domain: Any
) -> tuple[Pieces, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The common refinement, and the values of both at its vertices, (k, n) each."""
    if domain is None:
        pieces_of(network)  # refuses what has no mesh
        whole = network.whole()
        pieces = pieces_of(linear_regions(times, whole.mesh))
        values = np.atleast_2d(whole(pieces.vertices)).astype(np.float64)
        others = pieces.values
    else:
        joint = concatenate([layers_of(network), layers_of(times)])
        pieces = pieces_of(linear_regions(joint, domain))
        values, others = np.split(pieces.values, [layers_of(network).dim_out])
    if len(values) != len(others):
        raise ValueError(
            f"a product is of output by output: the networks have {len(values)} and {len(others)}"
        )
    return pieces, values, others


def _integrals(
    pieces: Pieces, values: npt.NDArray[np.float64], others: npt.NDArray[np.float64] | None
) -> npt.NDArray[np.float64]:
    return _by_face(pieces, values, others).sum(axis=1)


def _by_face(
    pieces: Pieces, values: npt.NDArray[np.float64], others: npt.NDArray[np.float64] | None
) -> npt.NDArray[np.float64]:
    """∫ values, or ∫ values · others, over each face, shape (k, faces)."""
    found = np.empty((len(values), len(pieces.offsets) - 1))
    product = others is not None
    arrays = (np.ascontiguousarray(values), np.ascontiguousarray(others if product else values))
    where = (np.ascontiguousarray(pieces.vertices), pieces.offsets, pieces.corners)
    _integrate(*where, *arrays, product, found)
    return found


@compiled
def _integrate(
    vertices: Any, offsets: Any, corners: Any, f: Any, g: Any, product: Any, found: Any
) -> None:
    """Each face as a fan of simplices around its first corner."""
    dim = len(vertices)
    for face in range(offsets.size - 1):
        first, last = offsets[face], offsets[face + 1]
        o = corners[first]
        for k in range(len(f)):
            total = 0.0
            for i in range(first + 1, last - dim + 1):
                a, b = corners[i], corners[i + dim - 1]
                if dim == 1:
                    volume = vertices[0, a] - vertices[0, o]
                    sum_f, sum_g = f[k, o] + f[k, a], g[k, o] + g[k, a]
                    both = f[k, o] * g[k, o] + f[k, a] * g[k, a]
                else:
                    ux, uy = vertices[0, a] - vertices[0, o], vertices[1, a] - vertices[1, o]
                    vx, vy = vertices[0, b] - vertices[0, o], vertices[1, b] - vertices[1, o]
                    volume = (ux * vy - uy * vx) / 2
                    sum_f, sum_g = f[k, o] + f[k, a] + f[k, b], g[k, o] + g[k, a] + g[k, b]
                    both = f[k, o] * g[k, o] + f[k, a] * g[k, a] + f[k, b] * g[k, b]
                if product:
                    total += volume * (sum_f * sum_g + both) / ((dim + 1) * (dim + 2))
                else:
                    total += volume * sum_f / (dim + 1)
            found[k, face] = total


def _absolute(pieces: Pieces) -> npt.NDArray[np.float64]:
    """∫ |f| over each simplex of the fans, in which f is 0 on a line at most; (k, simplices).

    With a the value whose sign is that of no other, the part with its sign is a simplex of
    Π a / (a − others) of the volume: ∫ |f| = |V (Σf − 2 a Π a / (a − others))| / (d + 1).
    """
    dim = len(pieces.vertices)
    sizes = np.diff(pieces.offsets) - dim
    face = np.repeat(np.arange(len(sizes)), sizes)
    step = np.arange(len(face)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    places = pieces.offsets[face] + np.stack([0 * step, *(step + 1 + j for j in range(dim))])
    cells = pieces.corners[places]
    sides = pieces.vertices[:, cells[1:]] - pieces.vertices[:, cells[:1]]
    if dim == 1:
        volume = sides[0, 0]
    else:
        volume = (sides[0, 0] * sides[1, 1] - sides[0, 1] * sides[1, 0]) / 2
    values = pieces.values[:, cells]
    signs = np.sign(values)
    alone = np.where((signs > 0).sum(axis=1, keepdims=True) == 1, 1, -1)
    pick = (signs == alone).argmax(axis=1)[:, None]
    a = np.take_along_axis(values, pick, axis=1)
    mixed = (values.min(axis=1) < 0) & (values.max(axis=1) > 0)
    others = np.where(np.arange(dim + 1)[None, :, None] == pick, 0, values)
    share = np.prod(np.divide(a, a - others, out=np.ones_like(values), where=others != a), axis=1)
    cut = np.where(mixed, 2 * a[:, 0] * share, 0)
    return volume * np.abs(values.sum(axis=1) - cut) / (dim + 1)
