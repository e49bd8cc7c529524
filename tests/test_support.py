"""Supports as unions of cells, their polygons, and their Hausdorff distance, by other roads."""

import numpy as np
import pytest
from dolfinx import fem, mesh
from numpy.testing import assert_allclose

import fe_relu
from fe_relu.meshes.quadrilaterals.lattice import QuadrilateralGrid
from fe_relu.meshes.simplices.mesh import SimplexMesh
from fe_relu.regions.supports import distance

GRID = fe_relu.Grid((0, 0), np.eye(2), (6, 6), "right")


def of_cells(*squares):
    """The union of unit squares with these lower left corners."""
    corners = np.array([[0, 1, 1, 0], [0, 0, 1, 1]])
    vertices = np.concatenate([np.array(at)[:, None] + corners for at in squares], axis=1)
    vertices, numbers = np.unique(vertices, axis=1, return_inverse=True)
    quads = numbers.reshape(-1, 4)
    cells = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).T
    return fe_relu.Support(vertices.astype(float), cells)


def area(loop):
    x, y = loop
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def around(*vertices):
    values = np.zeros(49)
    values[list(vertices)] = 1
    return fe_relu.P1Network(GRID, values)


def sampled(one, other, count=60):
    """How far one reaches beyond another, from points of it: never too much."""
    weights = np.random.default_rng(0).dirichlet((0.5, 0.5, 0.5), count)
    points = np.einsum("pc,mcd->mpd", weights, one.vertices.T[one.cells.T]).reshape(-1, 2)
    return float(other.distance(points.T).max())


# Supports


def test_the_support_of_a_hat_is_its_star():
    found = fe_relu.support(around(24))
    (loop,) = found.boundary()
    assert found.measure == 3
    assert area(loop) == 3
    assert {tuple(point) for point in loop.T} == {(2, 2), (3, 2), (4, 3), (4, 4), (3, 4), (2, 3)}


def test_where_it_is_not_zero_is_inside_and_else_it_is_zero(rng):
    for diagonal in ("left", "crossed", "right_left"):
        grid = fe_relu.Grid((1, 2), [[0.3, 0.1], [0, 0.4]], (7, 5), diagonal)
        values = rng.standard_normal((2, grid.num_vertices)) * (rng.random(grid.num_vertices) < 0.1)
        network = fe_relu.P1Network(grid, values)
        found = fe_relu.support(network)
        x = grid.origin[:, None] + grid.axes @ (rng.random((2, 4000)) * [[7], [5]])
        inside = found.distance(x) == 0
        assert (inside == network(x).any(axis=0)).all()
        assert sum(map(area, found.boundary())) == pytest.approx(found.measure)


def test_of_layers_it_is_that_of_the_mesh():
    network = around(8, 9, 30)
    mesh_cells = fe_relu.support(network)
    regions = fe_relu.support(network.explicit(), ((0, 6), (0, 6)))
    assert_allclose(regions.measure, mesh_cells.measure, atol=1e-12)
    assert fe_relu.support_error(regions, mesh_cells).upper <= 1e-12


def test_holes_run_clockwise_and_touching_parts_apart():
    ring = of_cells(*((i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)))
    assert sorted(map(area, ring.boundary())) == [-1, 9]
    touching = of_cells((0, 0), (1, 1))
    assert [area(loop) for loop in touching.boundary()] == [1, 1]
    both = of_cells((0, 0), (1, 1), (1, 0))
    assert [area(loop) for loop in both.boundary()] == [3]


def test_q1_and_p2_by_their_nodes():
    lattice = QuadrilateralGrid((0, 0), np.eye(2), (3, 3))
    one = fe_relu.Q1Network(lattice, np.eye(16)[5])
    assert fe_relu.support(one).measure == 4
    grid = fe_relu.Grid((0, 0), np.eye(2), (3, 3), "right")
    middle = grid.refined(2)
    bump = np.zeros(middle.num_vertices)
    bump[np.flatnonzero((middle.vertices() == [[1.5], [1]]).all(axis=0))] = 1
    found = fe_relu.support(fe_relu.P2Network(grid, bump, levels=2))
    assert found.measure == 1  # the two triangles at an edge
    assert len(found.boundary()[0].T) == 4


def test_on_a_line():
    line = SimplexMesh([[0.0, 0.5, 1.0, 2.0, 4.0, 5.0]], [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]])
    network = fe_relu.P1Network(line, [1.0, 0, 0, 0, 3, 0])
    found = fe_relu.support(network)
    assert [ends.tolist() for ends in found.boundary()] == [[[0, 0.5]], [[2, 5]]]
    assert found.measure == 3.5
    assert found.distance([[-1.0, 1.25, 3.0]]).tolist() == [1, 0.75, 0]
    other = fe_relu.Support.of_polygon([[0.0, 1.0]])
    error = fe_relu.support_error(network, other)
    assert error.beyond == (4, 4)
    assert error.missing == pytest.approx((0.5, 0.5), abs=1e-3)


def test_zero_networks_have_no_support():
    nothing = fe_relu.support(around())
    assert nothing.is_empty
    assert (nothing.measure, nothing.boundary()) == (0, [])
    assert nothing.distance([[1.0], [2.0]]) == np.inf
    assert fe_relu.support_error(nothing, nothing).upper == 0
    error = fe_relu.support_error(nothing, around(24))
    assert (error.lower, error.beyond, error.missing) == (np.inf, (0, 0), (np.inf, np.inf))


def test_small_values_count_as_zero_where_asked():
    network = fe_relu.P1Network(GRID, 1e-9 + np.eye(49)[24])
    assert fe_relu.support(network).measure == 36
    assert fe_relu.support(network, tolerance=1e-8).measure == 3


# Distances


def test_distances_are_those_of_simple_shapes():
    square = of_cells((0, 0))
    x = np.array([[0.5, 2, 2, -3, 0.5], [0.5, 0.5, 2, -4, -1]])
    assert_allclose(square.distance(x), [0, 1, np.sqrt(2), 5, 1])
    for shift, expected in (((3, 0), 3), ((3, 4), 5), ((0, 0), 0)):
        moved = of_cells(shift)
        error = fe_relu.support_error(square, moved)
        assert error.lower <= expected + 1e-12
        assert error.upper >= expected - 1e-12
        assert error.upper - error.lower <= 1e-3
    inner = fe_relu.Support.of_polygon([[0.25, 0.75, 0.75, 0.25], [0.25, 0.25, 0.75, 0.75]])
    error = fe_relu.support_error(square, inner)
    assert_allclose(error.beyond, np.sqrt(2) / 4, atol=1e-9)
    assert error.missing[0] == 0
    assert error.missing[1] <= 1e-3


def test_the_farthest_point_may_be_inside():
    """From the middle of a hole to its rim, where no vertex is."""
    ring = of_cells(*((i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)))
    plate = fe_relu.Support.of_polygon([[0, 3, 3, 0], [0, 0, 3, 3]])
    error = fe_relu.support_error(plate, ring)
    assert error.lower <= 0.5 <= error.upper
    assert error.upper - error.lower <= 4e-4
    assert error.missing[0] == 0


def test_bounds_enclose_what_samples_show(rng):
    for _ in range(5):
        one, other = (around(*rng.choice(49, 4, replace=False)) for _ in range(2))
        error = fe_relu.support_error(one, other)
        supports = fe_relu.support(one), fe_relu.support(other)
        assert sampled(*supports) <= error.beyond[1] + 1e-12
        assert sampled(*reversed(supports)) <= error.missing[1] + 1e-12
        assert error.upper - error.lower <= 6e-4 * 1.01


def test_interpolants_are_within_one_cell(comm):
    """Beyond at most h, and of a disc at most 2 h / √3 is missing; on the ranks of dolfinx."""
    for n in (5, 8, 13):
        msh = mesh.create_rectangle(comm, [[-1, -1], [1, 1]], (n, n))
        u = fem.Function(fem.functionspace(msh, ("P", 1)))
        u.interpolate(lambda x: np.maximum(0, 0.4 - x[0] ** 2 - x[1] ** 2))
        angles = 2 * np.pi * np.arange(60) / 60
        disc = np.sqrt(0.4) * np.array([np.cos(angles), np.sin(angles)])
        error = fe_relu.support_error(
            fe_relu.network_from_function(u), fe_relu.Support.of_polygon(disc), rtol=1e-3
        )
        assert fe_relu.support_error(u, u).upper == 0
        h, polygon = np.sqrt(8) / n, np.sqrt(0.4) * (1 - np.cos(np.pi / 60))
        assert error.beyond[1] <= h + polygon + 2e-3
        assert error.missing[1] <= 2 * h / np.sqrt(3) + 2e-3


# Refusals


@pytest.mark.parametrize("rtol", [0, 1, np.nan, -1e-3])
def test_refused_tolerances(rtol):
    with pytest.raises(ValueError, match="rtol must be between 0 and 1"):
        fe_relu.support_error(around(24), around(24), rtol=rtol)


def test_refusals():
    box = SimplexMesh([[0, 1, 0, 0.0], [0, 0, 1, 0], [0, 0, 0, 1]], [[0], [1], [2], [3]])
    tent = around(24).explicit()
    with pytest.raises(ValueError, match="1-D and 2-D"):
        fe_relu.support(fe_relu.P1Network(box, np.ones(4)))
    with pytest.raises(ValueError, match="a domain is needed"):
        fe_relu.support(tent)
    with pytest.raises(ValueError, match="tolerance"):
        fe_relu.support(tent, ((0, 6), (0, 6)), tolerance=np.nan)
    with pytest.raises(TypeError):
        fe_relu.support(np.sin, ((0, 6), (0, 6)))
    with pytest.raises(ValueError, match="in 2-D and 1-D; they must"):
        fe_relu.support_error(around(24), fe_relu.Support.of_polygon([[0.0, 1.0]]))


# What anybody may pass


BAD = {
    "cells out of range": ([[0, 1, 0], [0, 0, 1]], [[0], [1], [3]], ValueError, "not there"),
    "negative": ([[0, 1, 0], [0, 0, 1]], [[0], [1], [-1]], ValueError, "not there"),
    "NaN": ([[0, np.nan, 0], [0, 0, 1]], [[0], [1], [2]], ValueError, "NaN or infinite"),
    "rows of points": (np.zeros((5, 2)), [[0], [1], [2]], ValueError, "shape"),
    "intervals in 2-D": ([[0, 1, 0], [0, 0, 1]], [[0], [1]], ValueError, "shape"),
    "tetrahedra": (np.eye(3, 4), [[0], [1], [2], [3]], ValueError, "1-D and 2-D"),
    "cells that are no integers": ([[0, 1, 0], [0, 0, 1]], [[0.0], [1], [2]], TypeError, "integer"),
    "empty in 3-D": (np.empty((3, 0)), np.empty((4, 0), int), ValueError, "shape|1-D and 2-D"),
    "vertices of words": ([["a"]], [[0], [0]], TypeError, "real numbers"),
    "too large": ([[0, 1e160, 0], [0, 0, 1e160]], [[0], [1], [2]], ValueError, "rescale"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_union_of_simplices_is_refused(what):
    vertices, cells, error, words = BAD[what]
    with pytest.raises(error, match=words):
        fe_relu.Support(vertices, cells)


def test_what_is_given_stays_as_it_is_and_triangles_are_turned():
    vertices, cells = np.array([[0.0, 0, 1], [0, 2, 0]]), np.array([[0], [1], [2]])
    found = fe_relu.Support(vertices, cells)
    vertices[0, 2], cells[0, 0] = 7, 1
    assert found.measure == 1
    assert [area(loop) for loop in found.boundary()] == [1]
    assert found.distance([[0.2], [0.2]]) == 0
    assert fe_relu.Support([[0, 1]], [[1], [0]]).measure == 1
    assert fe_relu.Support(np.empty((1, 0)), np.empty((2, 0), int)).is_empty


def test_triangles_without_area_count_for_nothing():
    flat = fe_relu.Support([[0, 1, 2, 0, 1, 0], [0, 0, 0, 1, 1, 2]], [[0, 3], [1, 4], [2, 5]])
    assert flat.distance([[5.0], [0.0]])[0] == np.hypot(4, 1)
    line = fe_relu.Support([[0, 1, 2], [0, 0, 0]], [[0], [1], [2]])
    assert line.is_empty
    assert line.boundary() == []
    far = fe_relu.Support([[0, 1, 0, 0, 1e9, 2e9], [0, 0, 1, 0, 0, 0]], [[0, 3], [1, 4], [2, 5]])
    near = fe_relu.Support([[0, 1, 0], [0, 0, 1]], [[0], [1], [2]])
    found = fe_relu.support_error(far, near, rtol=1e-3)
    assert found.upper - found.lower <= 2e-3


def test_points_may_be_far_away():
    triangle = fe_relu.Support([[0, 1, 0], [0, 0, 1]], [[0], [1], [2]])
    assert triangle.distance([[1e50], [0.0]])[0] == 1e50
    with pytest.raises(ValueError, match="rescale"):
        triangle.distance([[1e200], [0.0]])
    with pytest.raises(ValueError, match="rescale"):
        fe_relu.Support.of_polygon(np.array([[0, 1, 0], [0, 0, 1]]) * 1e160)


def test_polygons_do_not_depend_on_numbers_and_pass_no_vertex_twice(rng):
    """A square with a hole that touches a notch, and another hole that touches the first."""
    all_squares = [(x, y) for x in range(5) for y in range(5)]
    shape = of_cells(*[at for at in all_squares if at not in {(1, 1), (2, 2), (4, 4), (3, 3)}])
    wanted = shape.boundary()
    assert sorted(area(loop) for loop in wanted) == [-1, -1, -1, 24]
    for _ in range(20):
        order = rng.permutation(shape.vertices.shape[1])
        place = np.argsort(order)
        cells = place[shape.cells][:, rng.permutation(shape.cells.shape[1])]
        again = fe_relu.Support(shape.vertices[:, order], cells).boundary()
        assert len(again) == len(wanted)
        assert all((a == b).all() for a, b in zip(again, wanted, strict=True))
    for loop in wanted:
        assert len(set(map(tuple, loop.T))) == loop.shape[1]


@pytest.mark.parametrize(
    "corners",
    [5, [0, 1], [[0, 1], [0, 1]], [[0, 2, 2, 3, 2, 0], [0, 0, 1, 1, 1, 1]], [[0, 1, 2], [0, 0, 0]]],
)
def test_what_is_no_convex_polygon_is_refused(corners):
    with pytest.raises(ValueError, match=r"shape|convex|no area"):
        fe_relu.Support.of_polygon(corners)


@pytest.mark.parametrize("given", [None, np.zeros(3), np.sin])
def test_what_has_no_support_is_named_with_what_has(given):
    with pytest.raises(TypeError, match=r"network, a Support or a dolfinx Function.*of_polygon"):
        fe_relu.support_error(around(24), given)


def test_a_support_is_one_already():
    with pytest.raises(TypeError, match="a Support is one already"):
        fe_relu.support(of_cells((0, 0)))


def test_the_nearest_of_many_is_found_as_if_all_were_asked(rng):
    for dim, count in ((1, 40), (2, 60)):
        simplices = rng.random((count, 1, dim)) + 0.1 * rng.standard_normal((count, dim + 1, dim))
        found = distance.nearest(points := 3 * rng.standard_normal((500, dim)), simplices)
        every = distance.to_simplices(points[:, None], simplices)
        assert_allclose(found[0], every.min(axis=1), rtol=1e-14)
        assert (every[np.arange(500), found[1]] == found[0]).all()
