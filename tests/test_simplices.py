# SPDX-License-Identifier: MIT
"""Meshes of intervals, triangles and tetrahedra: what points get, against exact rationals."""

import itertools
import json
import pickle
import re
from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import Delaunay

from fe_relu.basics import threads
from fe_relu.meshes.active import NumPyArrays
from fe_relu.meshes.simplices.location.locator import Locator
from fe_relu.meshes.simplices.mesh import SimplexMesh
from fe_relu.meshes.simplices.table import Table

EPS = np.finfo(float).eps


def used(points, cells, rng):
    """The mesh of cells (m, dim + 1), without vertices in none, in a random numbering."""
    kept, cells = np.unique(cells, return_inverse=True)
    order = rng.permutation(kept.size)
    points, cells = points[kept[order]], np.argsort(order)[cells.reshape(-1, points.shape[1] + 1)]
    return SimplexMesh(points.T, rng.permuted(rng.permutation(cells), axis=1).T)


def delaunay(points, rng, keep=lambda x: np.ones(len(x), bool), flat=1e-3):
    """The Delaunay mesh of points (n, dim), without flat cells and those whose centre is not."""
    cells = Delaunay(points).simplices
    corners = points[cells]
    edges = corners[:, 1:] - corners[:, :1]
    size = np.linalg.norm(corners.max(axis=1) - corners.min(axis=1), axis=1)
    full = np.abs(np.linalg.det(edges)) > flat * size ** points.shape[1]
    return used(points, cells[full & keep(corners.mean(axis=1))], rng)


def lattice(*counts):
    return np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1).reshape(
        -1, len(counts)
    )


def kuhn(counts, rng, scale=1.0):
    """A box of cubes of six tetrahedra each (or squares of two triangles)."""
    dim, corners = len(counts), lattice(*(n + 1 for n in counts))
    number = {tuple(corner): k for k, corner in enumerate(corners)}
    cells = []
    for cube in lattice(*counts):
        for way in itertools.permutations(range(dim)):
            path = [tuple(cube + np.isin(range(dim), way[:k])) for k in range(dim + 1)]
            cells.append([number[corner] for corner in path])
    return used(corners * scale, np.array(cells), rng)


def graded(spokes=8, rings=60):
    """Rings of triangles around a point, each a part smaller than the next."""
    radii, angles = 0.75 ** np.arange(rings)[::-1], 2 * np.pi * np.arange(spokes) / spokes
    around = np.stack([np.cos(angles), np.sin(angles)], -1)
    points = np.concatenate([[[0, 0]], (radii[:, None, None] * around).reshape(-1, 2)]) + 0.375
    i = np.arange(spokes)
    j, cells = (i + 1) % spokes, []
    cells.append(np.stack([0 * i, 1 + i, 1 + j], -1))
    for b in 1 + spokes * np.arange(rings - 1):
        d = b + spokes
        cells += [np.stack([b + i, d + i, b + j], -1), np.stack([b + j, d + i, d + j], -1)]
    return SimplexMesh(points.T, np.concatenate(cells).T)


def is_l_shaped(x):
    return ~(x > 0.5).all(axis=1)


MESHES = {
    "interval": lambda rng: used(rng.random((20, 1)), line(20), rng),
    "intervals apart": lambda rng: used(rng.random((20, 1)), line(20)[[0, 1, 2, 5, 9, 10]], rng),
    "one interval": lambda rng: SimplexMesh([[2.0, -1.0]], [[0], [1]]),
    "triangles": lambda rng: delaunay(rng.random((40, 2)), rng),
    "one triangle": lambda rng: SimplexMesh([[0, 1, 0.3], [0, 0.1, 1]], [[0], [1], [2]]),
    "L": lambda rng: delaunay(np.r_[lattice(7, 7) / 6, rng.random((9, 2))], rng, is_l_shaped),
    "holes": lambda rng: delaunay(rng.random((90, 2)), rng, lambda x: np.sin(9 * x).sum(1) < 0.9),
    "squares": lambda rng: kuhn((3, 4), rng),
    "far": lambda rng: delaunay(rng.random((40, 2)) + 1e4, rng),
    "slivers": lambda rng: delaunay(rng.random((40, 2)) * [1, 1e-6], rng, flat=0),
    "graded": lambda rng: graded(),
    "bow tie": lambda rng: SimplexMesh(
        [[0, 1, 1, -1, -1], [0, 1, -1, 1, -0.5]], [[0, 0], [1, 3], [2, 4]]
    ),
    "tetrahedra": lambda rng: delaunay(rng.random((30, 3)), rng, flat=1e-2),
    "one tetrahedron": lambda rng: SimplexMesh(
        [[0, 1, 0, 0.2], [0, 0, 1, 0.1], [0, 0.3, 0, 1]], [[0], [1], [2], [3]]
    ),
    "cubes": lambda rng: kuhn((2, 1, 2), rng, 0.1),
    "tetrahedra with holes": lambda rng: delaunay(
        rng.random((50, 3)) + 100, rng, lambda x: np.sin(9 * x).sum(1) < 0.5, flat=1e-2
    ),
}


def line(n):
    """Intervals between the sorted of the n points that `MESHES` draws."""
    x = np.random.default_rng(7).random((n, 1))[:, 0]
    order = np.argsort(x)
    return np.stack([order[:-1], order[1:]], -1)


@cache
def mesh_of(name):
    return MESHES[name](np.random.default_rng(7))


def points_for(mesh, rng, count=40):
    """Points inside, outside, at vertices, on facets and edges, and next to these."""
    x, cells, dim = mesh.vertices(), mesh.cells(), mesh.dim
    low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
    chosen = cells[:, rng.integers(cells.shape[1], size=count)]
    corners = x[:, chosen]
    edges = (corners[:, 0] + corners[:, 1]) / 2
    weights = rng.dirichlet(np.ones(dim), count).T
    facets = (corners[:, :dim] * weights).sum(axis=1)
    inside = (corners * rng.dirichlet(np.ones(dim + 1), count).T).sum(axis=1)
    anywhere = low + (high - low) * rng.uniform(-0.3, 1.3, (dim, count))
    near = np.concatenate([corners[:, 0], edges], axis=1)
    near = near + rng.choice([-1, 0, 1], near.shape) * np.spacing(np.abs(near) + 1e-30)
    return np.concatenate([x, edges, facets, inside, anywhere, near], axis=1)


def exact(array):
    return [[Fraction(float(number)) for number in row] for row in np.transpose(array)]


def determinant(rows):
    if len(rows) == 1:
        return rows[0][0]
    minors = ([row[:k] + row[k + 1 :] for row in rows[1:]] for k in range(len(rows)))
    return sum(
        (-1) ** k * a * determinant(m) for k, (a, m) in enumerate(zip(rows[0], minors, strict=True))
    )


def volume(corners):
    return determinant([[a - b for a, b in zip(p, corners[0], strict=True)] for p in corners[1:]])


class Exact:
    """A mesh and its ring in rationals: every cell is asked."""

    def __init__(self, mesh):
        vertices, cells, _ = mesh.extended
        self.cells = cells.T
        self.boxes = vertices[:, cells].min(axis=1), vertices[:, cells].max(axis=1)
        self.corners = [exact(vertices[:, cell]) for cell in self.cells]
        self.volumes = [volume(corners) for corners in self.corners]

    def weights(self, k, point):
        corners = self.corners[k]
        parts = (corners[:i] + [point] + corners[i + 1 :] for i in range(len(corners)))
        return [volume(part) / self.volumes[k] for part in parts]

    def cell_at(self, x):
        """The smallest number of a cell that has the point, and its weights."""
        low, high = self.boxes
        for k in np.flatnonzero(((x >= low.T) & (x <= high.T)).all(axis=1)):
            weights = self.weights(k, exact(x[:, None])[0])
            if min(weights) >= 0:
                return k, weights
        return -1, None

    def beyond(self, k, x):
        """How far a point is from the inner side of a facet of a cell, at most."""
        p = np.array(self.corners[k], float).T
        inverse = np.linalg.inv((p[:, 1:] - p[:, :1]).T)
        slopes = np.concatenate([-inverse.sum(axis=1, keepdims=True), inverse], axis=1)
        weights = np.array(self.weights(k, exact(x[:, None])[0]), float)
        return (-weights / np.linalg.norm(slopes, axis=0)).max()


def conditioned(mesh, cell):
    """Longest edge over least height of a cell."""
    vertices, cells, _ = mesh.extended
    p = vertices[:, cells[:, cell]]
    inverse = np.linalg.inv((p[:, 1:] - p[:, :1]).T)
    slopes = np.linalg.norm(
        np.concatenate([inverse, -inverse.sum(axis=1, keepdims=True)], 1), axis=0
    )
    return np.linalg.norm(p.max(axis=1) - p.min(axis=1)) * slopes.max()


@pytest.mark.parametrize("name", MESHES)
def test_every_point_gets_the_value_of_the_smallest_cell_that_has_it(rng, name):
    mesh = mesh_of(name)
    u = rng.standard_normal((2, mesh.num_vertices))
    x, table, truth = points_for(mesh, rng), mesh.whole.table(u), Exact(mesh)
    found = mesh.locator.cells_at(x)
    values, away = table.values(x, float)
    slopes = table.gradient(x, float).numbers
    ring = mesh.extended[0].shape[1] - mesh.num_vertices
    all_u = np.concatenate([u, np.zeros((2, ring))], axis=1)
    assert away.size == 0
    assert (values[:, : mesh.num_vertices] == u).all()
    for k, point in enumerate(x.T):
        cell, weights = truth.cell_at(point)
        beside = cell < 0 <= found[k]
        if beside:  # the boundary, where the nearest takes it
            assert mesh.dim == 3
            cell = found[k]
            weights = truth.weights(cell, exact(point[:, None])[0])
            assert min(weights) > -64 * EPS * conditioned(mesh, cell) * np.abs(x).max()
        assert found[k] == cell
        if cell < 0:
            assert not values[:, k].any()
            assert not slopes[..., k].any()
            continue
        corners = truth.cells[cell]
        tolerance = 32 * EPS * conditioned(mesh, cell) * (np.abs(x).max() if beside else 1)
        wanted = [
            float(sum(w * Fraction(a) for w, a in zip(weights, row, strict=True)))
            for row in all_u[:, corners]
        ]
        assert np.abs(values[:, k] - wanted).max() <= tolerance * np.abs(u).max()
        p = mesh.extended[0][:, corners]
        rises = all_u[:, corners[1:]] - all_u[:, corners[:1]]
        slope = np.linalg.solve((p[:, 1:] - p[:, :1]).T, rises.T).T
        assert slopes[..., k] == pytest.approx(slope, rel=1e-9, abs=1e-9 * np.abs(slope).max())


@pytest.mark.parametrize("name", [*MESHES, "large 2", "large 3"])
def test_looking_up_gives_the_values_of_walking(rng, name):
    """On cells of all sizes, around holes, far out; in 3-D the boundary is within roundoff."""
    mesh = large(int(name[-1]))[2] if name.startswith("large") else mesh_of(name)
    u = rng.standard_normal((2, mesh.num_vertices))
    piece = mesh.piece(u)
    far = rng.uniform(-1, 1, (mesh.dim, 9)) * 10.0 ** np.arange(0, 300, 36)
    x = np.concatenate([points_for(mesh, rng, 1000), far], axis=1)
    found = piece.evaluated(NumPyArrays(float), piece.constants, piece.table, x, "float64")
    expected = mesh.whole.table(u).values(x, float).numbers
    worst = 1 + np.abs(mesh.vertices()).max() / mesh.step
    off = np.abs(found - expected).max(axis=0)
    one_is_out = (found == 0).all(axis=0) != (expected == 0).all(axis=0)
    at_rim = one_is_out & (mesh.dim == 3) & mesh.contains(x)
    assert (off <= 64 * EPS * worst * np.abs(u).max())[~at_rim].all()
    assert (found[:, : mesh.num_vertices] == u).all()
    assert len(piece.constants["steps"]) <= 12 + np.bincount(mesh.extended[1].ravel()).max()


@pytest.mark.parametrize(
    "name", ["intervals apart", "L", "squares", "holes", "cubes", "tetrahedra"]
)
def test_parts_of_a_mesh_say_the_same_bits_as_all_of_it(rng, name):
    """Each with its cells in another order, in any numbering of its own."""
    mesh = mesh_of(name)
    vertices, cells, own = mesh.extended
    u = rng.standard_normal((1, vertices.shape[1]))
    u[:, own:] = 0
    x = points_for(mesh, rng, 200)
    wanted, number = (
        mesh.whole.table(u[:, :own]).values(x, float).numbers[0],
        mesh.locator.cells_at(x),
    )
    best = np.full(x.shape[1], np.iinfo(np.int64).max)
    values = np.zeros(x.shape[1])
    owner = rng.integers(3, size=cells.shape[1])
    for rank in range(3):
        mine = rng.permutation(np.flatnonzero(owner == rank))
        kept = rng.permutation(np.unique(cells[:, mine]))
        local = np.empty(vertices.shape[1], np.int64)
        local[kept] = np.arange(kept.size)
        locator = Locator(vertices[:, kept], vertices[:, :0], local[cells[:, mine]], 0, kept, mine)
        table = Table.of(locator, u[:, kept], partial=True)
        said, away = table.values(x, float)
        asked = locator.cells_at(x)
        assert (away == np.flatnonzero(asked < 0)).all()
        better = (asked >= 0) & (asked < best)
        best[better], values[better] = asked[better], said[0, better]
    inside = best < cells.shape[1]
    assert (best[inside] == number[inside]).all()
    assert (values[inside] == wanted[inside]).all()
    lost = ~inside & (number >= 0)  # beside the boundary, no part has them
    truth = Exact(mesh)
    assert all(truth.cell_at(point)[0] < 0 for point in x[:, lost].T)


def large(dim):
    """Many cells of all sizes, and a mesh of the same triangulation that scipy evaluates."""
    rng = np.random.default_rng(dim)
    points = rng.random((3000, dim)) ** 3
    triangulation = Delaunay(points)
    return points, triangulation, SimplexMesh(points.T, triangulation.simplices.T)


@pytest.mark.parametrize("dim", [2, 3])
def test_many_points_in_any_order_in_threads_planned_or_not(rng, dim, monkeypatch):
    points, triangulation, mesh = large(dim)
    u = rng.standard_normal((mesh.num_vertices, 2))
    corners = points[triangulation.simplices[rng.integers(mesh.num_cells, size=20000)]]
    x = np.einsum("nij,ni->nj", corners, rng.dirichlet(np.ones(dim + 1), 20000)).T
    table = mesh.whole.table(u.T)
    values = table.values(x, float).numbers
    assert np.abs(values - LinearNDInterpolator(triangulation, u)(x.T).T).max() < 1e-8
    monkeypatch.setattr(threads, "POINTS_PER_THREAD", 1000)
    monkeypatch.setenv("FE_RELU_NUM_THREADS", "3")
    order = rng.permutation(x.shape[1])
    shuffled = np.asfortranarray(x[:, order])
    assert (table.values(shuffled, float).numbers == values[:, order]).all()
    assert (table.values(x[:, 5:77], float).numbers == values[:, 5:77]).all()
    assert (table.values_at(table.locate(x, float)).numbers == values).all()
    assert (
        table.gradient(shuffled, float).numbers == table.gradient(x, float).numbers[..., order]
    ).all()


@pytest.mark.parametrize("name", ["interval", "holes", "tetrahedra"])
def test_values_are_computed_in_the_wider_of_both_types(rng, name):
    mesh = mesh_of(name)
    u = rng.standard_normal((1, mesh.num_vertices))
    x = points_for(mesh, rng)
    for entries, dtype in itertools.product(("f4", "f8"), repeat=2):
        table, points = mesh.whole.table(u.astype(entries)), x.astype(dtype)
        values = table.values(points, dtype).numbers
        assert values.dtype == np.result_type(entries, dtype)
        planned = table.values_at(table.locate(points, dtype)).numbers
        assert planned.dtype == values.dtype
        assert (planned == values).all()
        exact_table, fine = mesh.whole.table(u.astype(entries).astype("f8")), points.astype("f8")
        off = np.abs(values - exact_table.values(fine, "f8").numbers)
        alike = mesh.contains(points) == mesh.contains(fine)  # float32 reaches farther outside
        assert alike.mean() > 0.5
        assert off[:, alike].max() <= 8 * np.finfo(values.dtype).eps * np.abs(u).max()


def test_values_near_the_largest_number_do_not_overflow(rng):
    for name, dtype in itertools.product(("triangles", "tetrahedra"), ("f4", "f8")):
        mesh, most = mesh_of(name), np.finfo(dtype).max
        signs = rng.choice([-1, 1], (1, mesh.num_vertices)).astype(dtype)
        x = points_for(mesh, rng).astype(dtype)
        values = mesh.whole.table(signs * most).values(x, dtype).numbers
        wanted = mesh.whole.table(signs).values(x, dtype).numbers
        assert np.abs(values / most - wanted).max() <= 64 * np.finfo(dtype).eps
        assert (np.abs(values[:, : mesh.num_vertices]) == most).all() or dtype == "f4"


def test_points_that_are_no_numbers_are_refused():
    for name in ("interval", "triangles", "tetrahedra"):
        mesh = mesh_of(name)
        table = mesh.whole.table(np.zeros((1, mesh.num_vertices)))
        for bad, ask in itertools.product(
            (np.nan, np.inf, -np.inf), (table.values, table.gradient, table.locate)
        ):
            x = np.zeros((mesh.dim, 9))
            x[-1, 4] = bad
            with pytest.raises(ValueError, match=r"1 of 9 points .* index 4"):
                ask(x, float)


def test_beyond_the_ring_and_far_away_all_is_zero():
    for name in MESHES:
        mesh = mesh_of(name)
        table = mesh.whole.table(np.ones((1, mesh.num_vertices)))
        far = np.outer(np.ones(mesh.dim), [1e6, -1e6, 1e200, -1e308])
        assert not table.values(far, float).numbers.any()
        assert not table.gradient(far, float).numbers.any()


def test_points_within_roundoff_are_contained_and_no_others(rng):
    for name in MESHES:
        mesh = mesh_of(name)
        x, cells, near = mesh.vertices(), mesh.cells(), 16 * EPS * np.abs(mesh.vertices()).max()
        chosen = x[:, cells[:, rng.integers(mesh.num_cells, size=50)]]
        facets = (chosen[:, :-1] * rng.dirichlet(np.ones(mesh.dim), 50).T).sum(axis=1)
        assert mesh.contains(x).all()
        assert mesh.contains(facets).all()
        assert mesh.contains(x.astype("f4")).all()
        points = x.mean(axis=1, keepdims=True) + 3 * rng.standard_normal((mesh.dim, 200)) * np.ptp(
            x
        )
        points = np.concatenate([points, points_for(mesh, rng)], axis=1)
        truth = Exact(mesh)
        inside = [0 <= truth.cell_at(point)[0] < mesh.num_cells for point in points.T]
        for k in np.flatnonzero(mesh.contains(points) != inside):
            beyond = [truth.beyond(cell, points[:, k]) for cell in range(mesh.num_cells)]
            assert not inside[k]
            assert min(beyond) <= 1.5 * near


def test_meshes_are_values(rng):
    mesh = mesh_of("holes")
    again = SimplexMesh(mesh.vertices().copy(), mesh.cells().astype(np.int32))
    other = SimplexMesh(mesh.vertices(), mesh.cells()[:, ::-1])
    assert mesh == again == pickle.loads(pickle.dumps(mesh))
    assert hash(mesh) == hash(again)
    assert mesh != other != 3
    for name in ("interval", "holes", "cubes"):
        mesh = mesh_of(name)
        facts = json.loads(json.dumps(mesh.facts))
        assert SimplexMesh.of_facts(facts, **mesh.arrays) == mesh
        for wrong in ({}, {"dim": mesh.dim + 1}, {"dim": str(mesh.dim)}):
            with pytest.raises(ValueError, match="are no mesh of dimension"):
                SimplexMesh.of_facts(wrong, **mesh.arrays)
    with pytest.raises(ValueError, match="read-only"):
        mesh.vertices()[0, 0] = 1


def test_outlines_go_around(rng):
    for name in MESHES:
        mesh = mesh_of(name)
        x, outline = mesh.vertices(), mesh.outline
        assert (outline.min(axis=1) == x.min(axis=1)).all()
        assert (outline.max(axis=1) == x.max(axis=1)).all()
        if mesh.dim == 2:
            a, b = outline, np.roll(outline, -1, axis=1)
            left = (b - a)[0, :, None] * (x[1] - a[1, :, None]) - (b - a)[1, :, None] * (
                x[0] - a[0, :, None]
            )
            assert left.min() > -1e-9 * np.abs(x).max()


@pytest.mark.parametrize("name", ["one interval", "L", "cubes"])
def test_nodes_are_vertices_then_edges_in_order(name):
    mesh = mesh_of(name)
    nodes, x = mesh.refined(2), mesh.vertices()
    edges = sorted({tuple(sorted(p)) for c in mesh.cells().T for p in itertools.combinations(c, 2)})
    a, b = np.array(edges).T
    assert nodes.num_vertices == mesh.num_vertices + len(edges)
    assert (nodes.vertices()[:, : mesh.num_vertices] == x).all()
    assert nodes.vertices()[:, mesh.num_vertices :] == pytest.approx((x[:, a] + x[:, b]) / 2)
    assert (mesh.midpoints(b, a) == mesh.num_vertices + np.arange(a.size)).all()
    assert (mesh.midpoints(a, a) == a).all()
    assert mesh.refined(1) is mesh
    if name == "L":
        lonely = next(k for k in range(mesh.num_vertices) if (0, k) not in edges and k > 0)
        with pytest.raises(ValueError, match=f"1 of 1 pairs .* 0 and {lonely}"):
            mesh.midpoints(np.array([0]), np.array([lonely]))


SQUARE = [[0, 1, 0, 1], [0, 0, 1, 1]]
CUBE = [[0, 1, 0, 0, 1], [0, 0, 1, 0, 1], [0, 0, 0, 1, 1]]

REFUSED = {
    "shape (dim, n)": ([0, 1], [[0], [1]]),
    "not (4, 2)": ([[0.0, 1]] * 4, [[0], [1]]),
    "shape (3, m)": (SQUARE, [[0], [1]]),
    "1 of 4 vertices have NaN or infinite coordinates; the first is vertex 1": (
        [[0, np.nan, 0, 1], [0, 0, 1, 1]], [[0, 1], [1, 2], [2, 3]],
    ),
    "1 of 2 cells name vertices that are not there, of 4; the first is cell 1": (
        SQUARE, [[0, 1], [1, 2], [2, 4]],
    ),
    "1 of 4 vertices are in no cell": (SQUARE, [[0], [1], [2]]),
    "leave them out; the first is vertex 3": (SQUARE, [[0], [1], [2]]),
    "1 of 2 cells are degenerate": (SQUARE, [[0, 3], [1, 2], [2, 2]]),
    "the first is cell 0": ([[0, 1, 2], [0, 1e-13, 0]], [[0], [1], [2]]),
    "rescale": ([[0, 1e70, 0], [0, 0, 1]], [[0], [1], [2]]),
    "are below 1e-60": ([[0, 1e-70, 0], [0, 0, 1e-70]], [[0], [1], [2]]),
    "2 vertices are in the place of another, the first is vertex 4, where vertex 1 is": (
        [[0, 1, 0, 1, 1, 0], [0, 0, 1, 1, 0, 1]], [[0, 4], [1, 5], [2, 3]],
    ),
    "the edge of vertices [1, 2], of cell 2, is of more than two cells": (
        [[0, 1, 0, 1, 3], [0, 0, 1, 1, 2]], [[0, 1, 1], [1, 2, 2], [2, 3, 4]],
    ),
    "the vertex of vertices [1], of cell 2, is of more": ([[0, 1, 2, 3.0]], [[0, 1, 1], [1, 2, 3]]),
    "2 of 2 cells are on the same side": (
        [[0, 1, 0, 0.2], [0, 0, 1, 0.1]], [[0, 1], [1, 2], [2, 3]],
    ),
    "2 of 2 cells are on the same side of": ([[0, 1, 2.0]], [[0, 0], [1, 2]]),
    "the first is vertex 3, in cell 0": (
        [[0, 3, 0, 1, 2, 1], [0, 0, 3, 1, -2, -2]], [[0, 3], [1, 4], [2, 5]],
    ),
    "1 vertices lie in cells of which they are no corner": (
        [[0, 2, 1, 1, 2], [0, 0, 1, 0, -1]], [[0, 3], [1, 4], [2, 1]],
    ),
    "edges cross the boundary": (
        [[0, 4, 4, 1, 2, 3], [0, -1, 1, -3, 3, 3.0]], [[0, 3], [1, 4], [2, 5]],
    ),
    "cells overlap, or are not cut": (
        [[0, 1, 0.3, 0.6]], [[0, 2], [1, 3]],
    ),
    "the facet of vertices [0, 1, 2], of cell 2,": (
        np.c_[CUBE, [[0.1], [0.1], [-1]], [[0.3], [0.2], [-2]]],
        [[0, 0, 0, 1], [1, 1, 1, 2], [2, 2, 2, 3], [3, 5, 6, 4]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_no_mesh_is_refused_with_the_first_offender(reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        SimplexMesh(*REFUSED[reason])


def test_tetrahedra_that_pierce_each_other_are_refused():
    a = np.array([[0, 0, 0], [4, 0.1, 0], [4, 0, 0.2], [4, -0.3, -0.2]])
    b = np.array([[2, 2, 0.1], [2, -2, 0], [2.2, -2, 0.1], [2, -2, 0.2]])
    with pytest.raises(ValueError, match="edges cross the boundary"):
        SimplexMesh(np.concatenate([a, b]).T, np.arange(8).reshape(2, 4).T)


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="integers"):
        SimplexMesh([[0, 1]], [[0.0], [1.0]])
    with pytest.raises(TypeError, match="real"):
        SimplexMesh([[0, 1j]], [[0], [1]])
    with pytest.raises(ValueError, match="by 3"):
        mesh_of("L").refined(3)
    with pytest.raises(ValueError, match="tetrahedra"):
        mesh_of("tetrahedra").hidden_layers(np.dtype(float))


def test_too_many_cells_are_refused_by_the_locator():
    mesh = mesh_of("one interval")
    many = np.broadcast_to(np.zeros((1, 1), np.int64), (2, 1 << 30))
    with pytest.raises(ValueError, match="more ranks"):
        replace(mesh.locator, cells=many)
