# SPDX-License-Identifier: MIT
"""P1 functions as signed sums of maxima: exact in rationals, near P1 networks in floats."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy.spatial import Delaunay

from cases import FRAMES, around, everywhere, inside
from fe_relu import Grid, P1Network
from fe_relu.cpwl import cones, dc_decomposition, max_decomposition, rays
from fe_relu.cpwl.bends import slope
from fe_relu.cpwl.decomposition import affine_through
from fe_relu.meshes.grid.grid import DIAGONALS
from fe_relu.meshes.simplices.mesh import SimplexMesh

EPS = np.finfo(np.float64).eps


def star(directions):
    """A vertex at 0 and its neighbours, counter-clockwise."""
    k = np.arange(len(directions))
    cells = [0 * k, 1 + k, 1 + (k + 1) % len(k)]
    return SimplexMesh(np.vstack([[0, 0], directions]).T.astype(float), cells)


def circle(count, start=0.1):
    angle = start + 2 * np.pi * np.arange(count) / count
    return np.array([np.cos(angle), np.sin(angle)]).T


def delaunay(count, seed=0, keep=1.0):
    rng = np.random.default_rng(seed)
    points = rng.random((count, 2))
    cells = Delaunay(points).simplices
    cells = cells[rng.random(len(cells)) < keep]
    used, numbers = np.unique(cells, return_inverse=True)
    return SimplexMesh(points[used].T, numbers.reshape(cells.shape).T)


def quarters(nx, ny, diagonal):
    grid = Grid((0.25, -0.5), np.eye(2) / 4, (nx, ny), diagonal)
    return SimplexMesh(grid.vertices(), grid.cells())


#: Triangulations: ordinary ones, stars in which no three rays cover the plane or many do, holes.
MESHES = {
    "triangle": SimplexMesh([[0, 2, 1], [0, 0, 1]], [[0], [1], [2]]),
    "sliver": SimplexMesh([[0, 2, 1], [0, 0, 1e-6]], [[0], [1], [2]]),
    "cross": star([[1, 0], [0, 2], [-3, 0], [0, -1]]),
    "almost a cross": star([[1, 0], [0, 2], [-3, 1e-9], [1e-9, -1]]),
    "narrow": star([[1, 0], [-1, 1e-3], [-1, 0], [-1, -1e-3]]),
    "hub": star(circle(40)),
    "opposite rays": star(circle(12)),
    "apart": SimplexMesh([[0, 1, 0, 5, 6, 5], [0, 0, 1, 3, 3, 4]], [[0, 3], [1, 4], [2, 5]]),
    "touching": SimplexMesh([[0, 1, 0, 1, 2], [0, 0, 1, 1, 1]], [[0, 1], [1, 3], [2, 4]]),
    "delaunay": delaunay(9),
    "holes": delaunay(12, seed=3, keep=0.7),
    **{f"grid {diagonal}": quarters(3, 2, diagonal) for diagonal in DIAGONALS},
}

as_rational = np.frompyfunc(lambda t: Fraction(float(t)), 1, 1)


def exact_terms(vertices, cells, values):
    """What the compiled loop does, in rational numbers."""
    vertices, values = as_rational(vertices), as_rational(values)
    edges, weights = rays.weights(vertices, cells, values)
    starts, found = rays.rays(vertices, edges, weights)
    most = found.shape[1] + rays.EXTRA * vertices.shape[1]
    terms, apexes = np.empty((5, most), object), np.empty(most, int)
    count = rays.triples.py_func(starts, found, as_rational(rays.FIXED), terms, apexes)
    return terms[:, :count], vertices[:, apexes[:count]]


def exact_value(vertices, cells, values, x):
    """Of a P1 function that is zero beyond the cells, at one point."""
    for a, b, c in cells.T:
        pa, pb, pc = vertices[:, a], vertices[:, b], vertices[:, c]

        def area(p, q, r):
            return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

        whole = area(pa, pb, pc)
        parts = [area(x, pb, pc) / whole, area(pa, x, pc) / whole, area(pa, pb, x) / whole]
        if min(parts) >= 0:
            return sum(w * values[v] for w, v in zip(parts, (a, b, c), strict=True))
    return Fraction(0)


@pytest.mark.parametrize("name", MESHES)
def test_the_sum_is_the_function_in_rational_numbers(name, rng):
    vertices, cells, own = MESHES[name].extended
    values = np.zeros(vertices.shape[1])
    values[:own] = rng.integers(-4, 5, own)
    (signs, *gradients), apexes = exact_terms(vertices, cells, values)
    points, nodal = as_rational(vertices), as_rational(values)
    middles = (points[:, cells[0]] + points[:, cells[1]]) / 2
    some = as_rational(rng.uniform(-3, 3, (2, 12)))
    far = as_rational(rng.uniform(-1e5, 1e5, (2, 3)))
    x = np.hstack([points[:, ::3], middles[:, ::5], some, far])
    differences = []
    for at in x.T:
        steps = at[:, None] - apexes
        g, h = (gradients[k] * steps[0] + gradients[k + 1] * steps[1] for k in (0, 2))
        highest = np.maximum(np.maximum(g, h), 0 * g)
        differences.append(exact_value(points, cells, nodal, at) - (signs * highest).sum())
    differences = np.array(differences)
    slope, constant = affine_through(x[:, -3:], differences[-3:])
    assert (differences == slope @ x + constant).all()
    assert set(signs) <= {1, -1}


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_on_grids_everywhere_in_the_plane(frame, diagonal, rng):
    for shape in [(1, 1), (3, 5), (4, 4)]:
        grid = Grid(*FRAMES[frame], shape, diagonal)
        check(grid, rng.standard_normal(grid.num_vertices), rng)


@pytest.mark.parametrize("name", MESHES)
def test_on_any_triangulation_everywhere_in_the_plane(name, rng):
    mesh = MESHES[name]
    check(mesh, rng.standard_normal(mesh.num_vertices), rng)
    check(mesh, np.zeros(mesh.num_vertices), rng)
    check(mesh, np.arange(mesh.num_vertices), rng)


def test_on_intervals(rng):
    for count in [2, 3, 10, 300]:
        x = np.cumsum(rng.uniform(0.1, 2, count))
        order = rng.permutation(count)
        cells = np.array([order[:-1], order[1:]])[:, rng.permutation(count - 1)]
        cells = cells[:, : max(1, count - 3)]
        used, numbers = np.unique(cells, return_inverse=True)
        vertices = np.empty(count)
        vertices[order] = x
        mesh = SimplexMesh(vertices[used][None], numbers.reshape(cells.shape))
        found = check(mesh, rng.standard_normal(mesh.num_vertices), rng)
        assert found.explicit().hidden_layers == 1


def solid(points):
    return SimplexMesh(points.T, Delaunay(points).simplices.T)


def kuhn(n):
    """Cubes cut into six tetrahedra each, along x_i = x_j."""
    steps = np.eye(3, dtype=int)
    place = np.stack(np.meshgrid(*3 * [np.arange(n)], indexing="ij")).reshape(3, -1)
    cells = []
    for order in itertools.permutations(range(3)):
        corner = np.cumsum([np.zeros(3, int), *(steps[k] for k in order)], axis=0)
        cells.append(
            [((place + c[:, None]) * [[(n + 1) ** 2], [n + 1], [1]]).sum(axis=0) for c in corner]
        )
    points = np.stack(np.meshgrid(*3 * [np.arange(n + 1.0)], indexing="ij")).reshape(3, -1)
    return SimplexMesh(points, np.hstack(cells))


CUBE = np.array(list(itertools.product([0, 1], repeat=3)), float)

#: Tetrahedra that fill their convex hull.
SOLIDS = {
    "one": SimplexMesh(np.hstack([np.zeros((3, 1)), np.eye(3)]), np.arange(4)[:, None]),
    "octahedron": solid(
        np.array([[2, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -2.0]])
    ),
    "box": kuhn(1),
    "boxes": kuhn(3),
    "cube with points": solid(np.vstack([CUBE, np.random.default_rng(5).random((12, 3))])),
    "ball": solid(np.random.default_rng(6).standard_normal((40, 3))),
    "moved": solid(
        np.vstack([CUBE, np.random.default_rng(7).random((30, 3))])
        @ [[2, 1, 0], [0, 1, 3], [1, 0, 1]]
    ),
}


@pytest.mark.parametrize("name", ["one", "octahedron", "box", "cube with points"])
def test_on_tetrahedra_in_rational_numbers(name, rng):
    """The same code on fractions: an affine function is all that is left, at points of cells."""
    mesh = SOLIDS[name]
    vertices, cells = as_rational(mesh.vertices()), mesh.cells()
    values = as_rational(rng.integers(-4, 5, mesh.num_vertices))
    found = cones.terms(vertices, cells, values, rays.triples.py_func)
    assert set(found.signs) <= {1, -1}
    weights = as_rational(rng.integers(1, 9, (4, 3)))
    weights = np.hstack([np.eye(4, dtype=int), weights / weights.sum(axis=0)])
    some = cells[:, rng.permutation(cells.shape[1])[:4]]
    x = np.einsum("dcm,cw->dmw", vertices[:, some], weights).reshape(3, -1)
    expected = np.einsum("cm,cw->mw", values[some], weights).ravel()
    left = []
    for at, value in zip(x.T, expected, strict=True):
        steps = at[:, None] - vertices[:, found.apexes]
        heights = (found.gradients * steps.T[:, None]).sum(axis=2)
        highest = np.maximum(np.maximum(heights[:, 0], heights[:, 1]), heights[:, 2])
        left.append(value - (found.signs * np.maximum(highest, 0)).sum())
    left = np.array(left)
    base = x[:, :4]
    affine = slope((base[:, 1:] - base[:, :1])[..., None], (left[1:4] - left[0])[:, None])[:, 0]
    assert (left == affine @ (x - base[:, :1]) + left[0]).all()


@pytest.mark.parametrize("name", SOLIDS)
def test_on_tetrahedra_that_fill_their_hull(name, rng):
    mesh = SOLIDS[name]
    for values in (rng.standard_normal(mesh.num_vertices), mesh.vertices()[0] ** 2):
        found, network = max_decomposition(mesh, values), P1Network(mesh, values)
        weights = rng.dirichlet(np.ones(4), 30)
        x = np.hstack([mesh.vertices(), inside(mesh, weights)[:, :500]])
        size = sizes(found, x)
        g, h = found.parts()
        for there in (found(x), found.explicit()(x), g(x) - h(x)):
            assert (np.abs(there - network(x)) <= 64 * EPS * size).all()
            assert there == pytest.approx(network(x), abs=1e-7)
        assert found.explicit().hidden_layers == 2
        a, b = x[:, ::2], x[:, 1::2][:, : x[:, ::2].shape[1]]
        a = a[:, : b.shape[1]]
        for part in (g, h):
            middle, chord = part((a + b) / 2), (part(a) + part(b)) / 2
            assert (middle <= chord + 64 * EPS * size.max()).all()
    print(f"{name}: {found.num_terms} terms, {mesh.num_vertices} vertices")


def test_frames_surround_the_origin():
    for frame in (cones.FRAME, rays.FIXED):
        assert np.linalg.matrix_rank(frame) == len(frame)
        factors = np.linalg.svd(frame.astype(float))[2][-1]
        assert (factors > 0).all() or (factors < 0).all()


def check(mesh, values, rng):
    """The sum, its network, and the difference of the convex parts are the P1 network."""
    found, network = max_decomposition(mesh, values), P1Network(mesh, values.astype(float))
    x = np.hstack([mesh.vertices(), around(mesh, rng, 100)])
    expected = network(x)
    size = sizes(found, x)
    g, h = dc_decomposition(mesh, values)
    explicit = found.explicit()
    for values_there in (found(x), explicit(x), g(x) - h(x)):
        assert (np.abs(values_there - expected) <= 64 * EPS * size).all()
    assert explicit.hidden_layers == g.hidden_layers == h.hidden_layers == mesh.dim
    if mesh.dim == 2:
        assert explicit.num_neurons == 4 * (found.num_terms + 1)
    assert explicit.num_neurons == g.num_neurons + h.num_neurons - (4 if mesh.dim == 2 else 2)
    return found


def sizes(found, x):
    """Of all that is added up on the way to each value, with that of coordinates far away."""
    reach = np.abs(x).max(axis=0) + np.abs(found.apexes).max(initial=0)
    steep = np.abs(found.gradients).sum() + np.abs(found.slope).sum()
    return steep * reach + abs(found.constant) + 1


@pytest.mark.parametrize("name", ["delaunay", "holes", "hub", "grid crossed"])
def test_both_parts_are_convex(name, rng):
    mesh = MESHES[name]
    found = max_decomposition(mesh, rng.standard_normal(mesh.num_vertices))
    a, b = everywhere(mesh, rng)[:, :400], around(mesh, rng, 400)
    t = rng.random(400)
    for part in found.parts():
        output = part.layers[-1].weight.toarray()[0]
        assert (output[:-2] >= 0).all()  # but for what carries the affine function
        chord = t * part(a) + (1 - t) * part(b)
        size = np.maximum(sizes(found, a), sizes(found, b))
        assert (part(t * a + (1 - t) * b) <= chord + 64 * EPS * size).all()


def test_terms_are_few(rng):
    for mesh in [delaunay(300), delaunay(2000, seed=1)]:
        found = max_decomposition(mesh, rng.standard_normal(mesh.num_vertices))
        cells = mesh.extended[1]
        edges = np.sort(np.hstack([cells[:2], cells[1:], cells[[2, 0]]]), axis=0)
        assert found.num_terms <= 2 * np.unique(edges, axis=1).shape[1] + cells.max() + 1
        print(f"{mesh.num_vertices} vertices: {found.num_terms / mesh.num_vertices:.2f} terms each")
        assert found.num_terms < 6 * mesh.num_vertices
    affine = Grid((0, 0), np.eye(2), (40, 40), "right")
    inside = max_decomposition(affine, affine.vertices()[0])
    assert inside.num_terms < 6 * 4 * 42  # bends at the rim only


def test_a_hundred_thousand_triangles(rng):
    mesh = delaunay(50_100)
    assert mesh.num_cells > 100_000
    values = np.sin(9 * mesh.vertices()[0]) * mesh.vertices()[1]
    found = max_decomposition(mesh, values)
    print(f"{mesh.num_cells} triangles, {mesh.num_vertices} vertices: {found.num_terms} terms")
    assert found.num_terms < 5 * mesh.num_vertices
    x = rng.random((2, 40))
    assert found(x) == pytest.approx(P1Network(mesh, values)(x), abs=1e-7)


def test_what_is_refused():
    grid = Grid((0, 0), np.eye(2), (2, 2), "right")
    for bad in [np.zeros(8), np.zeros((1, 9)), np.full(9, np.nan)]:
        with pytest.raises(ValueError, match="nodal values"):
            max_decomposition(grid, bad)
    with pytest.raises(TypeError, match="must be real numbers"):
        dc_decomposition(grid, np.zeros(9, complex))
    with pytest.raises(TypeError, match="a list is no whole mesh"):
        max_decomposition([1], np.zeros(1))
    box = SOLIDS["box"]
    corner = SimplexMesh(box.vertices(), box.cells()[:, 1:])
    with pytest.raises(ValueError, match="volume of their convex hull"):
        max_decomposition(corner, np.zeros(corner.num_vertices))
    found = max_decomposition(grid, np.ones(9))
    with pytest.raises(ValueError, match="read-only"):
        found.signs[:] = 1
