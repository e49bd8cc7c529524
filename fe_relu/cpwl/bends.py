# SPDX-License-Identifier: MIT
"""Where a P1 function on tetrahedra bends, at each vertex and edge continued from there.

Across a facet the gradient changes by W N, with N twice its area and across it; N is a × b for
rays a and b from any of its corners to the others, so that W is the same at all three. At a vertex
a function bends on the cones of two rays, and at each ray they balance, Σ W s ∥ r for cones of r
and s. Around the line of an edge it bends on half-planes, which balance likewise.

At the boundary of a convex mesh the function goes on beyond, in any way that is continuous around
the vertex or edge: along a ray that leads outward, opposite to the mean of those of the mesh.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Bends(NamedTuple):
    """Where the functions at vertices bend, and the half-planes where others do.

    Attributes:
        directions: Of rays, shape (3, h): each edge from both ends, and one outward at boundary
            vertices.
        origins: The vertex of each ray, shape (h,).
        cones: Pairs of rays, shape (2, k).
        weights: Of the cones, shape (k,).
        lines: The ray of each half-plane, whose line bounds it, shape (l,).
        sides: Where the half-planes go, shape (3, l).
        bends: Of the half-planes, shape (l,): those of planes of facets, less those at edges.
    """

    directions: npt.NDArray
    origins: Ints
    cones: Ints
    weights: npt.NDArray
    lines: Ints
    sides: npt.NDArray
    bends: npt.NDArray


class _Facets(NamedTuple):
    """All facets once.

    Attributes:
        corners: Shape (3, f).
        weights: W, shape (f,); 0 at the boundary.
        inside: The gradient of a cell beside each, shape (3, f).
        rim: Which are at the boundary, shape (f,).
    """

    corners: Ints
    weights: npt.NDArray
    inside: npt.NDArray
    rim: npt.NDArray[np.bool_]


class _Spokes(NamedTuple):
    """Facets seen from each of their corners, and the rays to the two others.

    Attributes:
        origins: The vertex of each ray, shape (h,); rays are sorted by it.
        ends: The vertex that it leads to.
        directions: From one to the other, shape (3, h).
        rays: Of each facet and corner, shape (2, 3 f).
        apexes: The corner, shape (3 f,).
    """

    origins: Ints
    ends: Ints
    directions: npt.NDArray
    rays: Ints
    apexes: Ints


def bends_of(vertices: npt.NDArray, cells: Ints, values: npt.NDArray) -> Bends:
    """Rays, cones and half-planes of a P1 function on a convex mesh, in floats or exact numbers."""
    facets = _facets(vertices, cells, values)
    spokes = _spokes(vertices, facets.corners)
    weights = np.tile(facets.weights, 3)
    rim_weights, rim_rays, out_weights, outward = _beyond(facets, spokes, values)
    weights[np.tile(facets.rim, 3)] = rim_weights

    boundary = np.unique(spokes.origins[rim_rays])
    number_of = np.full(vertices.shape[1], -1)
    number_of[boundary] = len(spokes.origins) + np.arange(len(boundary))
    lines = _around_edges(facets, spokes, rim_rays), _planes(facets, spokes)
    return Bends(
        np.hstack([spokes.directions, outward[:, boundary]]),
        np.concatenate([spokes.origins, boundary]),
        np.hstack([spokes.rays, [rim_rays, number_of[spokes.origins[rim_rays]]]]),
        np.concatenate([weights, out_weights]),
        *(np.concatenate(parts, axis=-1) for parts in zip(*lines, strict=True)),
    )


def _facets(vertices: npt.NDArray, cells: Ints, values: npt.NDArray) -> _Facets:
    """Facets and how the function bends there."""
    n = vertices.shape[1]
    triangles = np.sort(np.stack([np.delete(cells, k, axis=0) for k in range(4)], axis=1), axis=0)
    keys = (triangles[0] * n + triangles[1]) * n + triangles[2]
    _, chosen, facet = np.unique(keys.ravel(), return_index=True, return_inverse=True)
    corners = triangles.reshape(3, -1)[:, chosen]
    normals = cross(*(vertices[:, corners[k]] - vertices[:, corners[0]] for k in (1, 2)))
    inward = (vertices[:, cells] - vertices[:, triangles[0]]).reshape(3, -1)
    steps = vertices[:, cells[1:]] - vertices[:, cells[0]][:, None]
    slopes = np.tile(slope(steps, values[cells[1:]] - values[cells[0]]), 4)
    across = (slopes * _toward(normals[:, facet], inward)).sum(axis=0)
    weights, size = np.zeros((2, len(chosen)), values.dtype)
    np.add.at(weights, facet, across)
    np.add.at(size, facet, abs(across))
    rim = np.bincount(facet, minlength=len(chosen)) == 1
    noise = 4 * np.finfo(np.float64).eps if values.dtype == np.float64 else 0
    weights = np.where(rim | (abs(weights) <= noise * size), 0 * weights, weights)
    inside = np.zeros((3, len(chosen)), values.dtype)
    inside[:, facet] = slopes
    return _Facets(corners, weights / (normals * normals).sum(axis=0), inside, rim)


def _spokes(vertices: npt.NDArray, corners: Ints) -> _Spokes:
    """Rays from each corner of each facet to the others."""
    n = vertices.shape[1]
    turned = np.hstack([corners, corners[[1, 2, 0]], corners[[2, 0, 1]]])
    keys, ray = np.unique(
        np.hstack([turned[0] * n + turned[1], turned[0] * n + turned[2]]), return_inverse=True
    )
    origins, ends = np.divmod(keys, n)
    directions = vertices[:, ends] - vertices[:, origins]
    return _Spokes(origins, ends, directions, ray.reshape(2, -1), turned[0])


def _beyond(
    facets: _Facets, spokes: _Spokes, values: npt.NDArray
) -> tuple[npt.NDArray, Ints, npt.NDArray, npt.NDArray]:
    """How functions at boundary vertices go on outside.

    Returns:
        Weights of the cones of boundary facets; rays in the boundary, and the weights of their
        cones with the ray outward; for each vertex that ray, shape (3, n).
    """
    rises = values[spokes.ends] - values[spokes.origins]
    outward, beyond = np.zeros((3, len(values)), values.dtype), np.zeros(len(values), values.dtype)
    add(outward, spokes.origins, -spokes.directions)
    np.add.at(beyond, spokes.origins, -rises)
    rim = np.tile(facets.rim, 3)
    own, (i, j) = spokes.apexes[rim], spokes.rays[:, rim]
    a, b, q = spokes.directions[:, i], spokes.directions[:, j], outward[:, own]
    outer = slope(
        np.array([a, b, q]).transpose(1, 0, 2), np.array([rises[i], rises[j], beyond[own]])
    )
    normal = _toward(cross(a, b), q)
    step = outer - np.tile(facets.inside, 3)[:, rim]
    weights = (step * normal).sum(axis=0) / (normal * normal).sum(axis=0)
    out_weights = np.zeros(len(spokes.origins), values.dtype)
    for ray, one, other in ((i, a, b), (j, b, a)):
        normal = _toward(cross(one, q), other)
        np.add.at(out_weights, ray, (outer * normal).sum(axis=0) / (normal * normal).sum(axis=0))
    rays = np.unique(np.concatenate([i, j]))
    return weights, rays, out_weights[rays], outward


def _around_edges(
    facets: _Facets, spokes: _Spokes, rim_rays: Ints
) -> tuple[Ints, npt.NDArray, npt.NDArray]:
    """Minus what bends around each edge, as half-planes: rays from lower ends, sides, bends."""
    ray = np.concatenate([spokes.rays[0], spokes.rays[1]])
    side = spokes.directions[:, np.concatenate([spokes.rays[1], spokes.rays[0]])]
    bend, rim = np.tile(facets.weights, 6), np.tile(facets.rim, 6)
    low = spokes.origins < spokes.ends
    kept = low[ray]
    ray, side, bend, rim = ray[kept], side[:, kept], bend[kept], rim[kept]
    total, outward, beside = np.zeros((3, *spokes.directions.shape), bend.dtype)
    add(total, ray, bend * side)
    add(outward, ray, -side)
    beside[:, ray[rim]] = side[:, rim]
    edge = rim_rays[low[rim_rays]]
    r, s, q, b = (x[:, edge] for x in (spokes.directions, total, outward, beside))
    return (
        np.concatenate([ray, edge, edge]),
        np.hstack([side, b, q]),
        np.concatenate([-bend, det(r, s, q) / det(r, b, q), det(r, s, b) / det(r, q, b)]),
    )


def _planes(facets: _Facets, spokes: _Spokes) -> tuple[Ints, npt.NDArray, npt.NDArray]:
    """The planes of facets as two half-planes each."""
    inner = np.flatnonzero(~facets.rim)
    ray, side = spokes.rays[0, inner], spokes.directions[:, spokes.rays[1, inner]]
    weights = facets.weights[inner]
    return np.tile(ray, 2), np.hstack([side, -side]), np.tile(weights, 2)


def slope(steps: npt.NDArray, rises: npt.NDArray) -> npt.NDArray:
    """The gradient of linear functions that rise so much (3, …) along three steps (3, 3, …)."""
    a, b, c = steps[:, 0], steps[:, 1], steps[:, 2]
    found = rises[0] * cross(b, c) + rises[1] * cross(c, a) + rises[2] * cross(a, b)
    return found / det(a, b, c)


def _toward(normals: npt.NDArray, x: npt.NDArray) -> npt.NDArray:
    """The normals, turned to the side of x."""
    return np.where((normals * x).sum(axis=0) > 0, normals, -normals)


def cross(a: npt.NDArray, b: npt.NDArray) -> npt.NDArray:
    return np.array(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )


def det(a: npt.NDArray, b: npt.NDArray, c: npt.NDArray) -> npt.NDArray:
    return (cross(a, b) * c).sum(axis=0)


def add(total: Any, at: Any, parts: npt.NDArray) -> None:
    """Adds parts (k, m) to columns of the total, also several to one."""
    for row, part in zip(total, parts, strict=True):
        np.add.at(row, at, part)
