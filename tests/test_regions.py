# SPDX-License-Identifier: MIT
"""Linear regions: counts in exact rationals, areas, affine pieces, meshes without T-junctions."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from fe_relu import Affine, Grid, P1Network, ReLUNetwork, linear_regions
from fe_relu.meshes.simplices.mesh import SimplexMesh
from fe_relu.regions import layerwise

SQUARE = ((-1, 1), (-1, 1))
HEXAGON = np.array([np.cos(np.arange(6) * np.pi / 3), np.sin(np.arange(6) * np.pi / 3)])


def random_network(widths, seed):
    """He-initialised, biases uniform."""
    rng = np.random.default_rng(seed)
    layers = []
    for a, b in pairwise(widths):
        weight = rng.standard_normal((b, a)) * np.sqrt(2 / a)
        layers.append(Affine(weight, rng.uniform(-1, 1, b) / np.sqrt(a)))
    return ReLUNetwork(tuple(layers))


def one_layer(weight, bias):
    """All neurons of a hidden layer, added with weights in general position."""
    rng = np.random.default_rng(7)
    out = rng.uniform(1, 2, len(bias)) * rng.choice([-1, 1], len(bias))
    return ReLUNetwork((Affine(weight, bias), Affine(out[None], [0.0])))


def exact_regions(network, polygon):
    """Polygons in rationals: each cut by each neuron that changes sign in it, layer by layer."""
    layers = [
        ([[Fraction(w) for w in row] for row in layer.weight.toarray().tolist()],
         [Fraction(b) for b in layer.bias.tolist()])
        for layer in network.layers
    ]  # fmt: skip
    start = [tuple(Fraction(c) for c in point) for point in polygon]
    eye = [(Fraction(1), Fraction(0), Fraction(0)), (Fraction(0), Fraction(1), Fraction(0))]
    faces = [(start, eye)]
    for weight, bias in layers[:-1]:
        cut = []
        for corners, inner in faces:
            functions = [
                tuple(
                    sum(w * g[i] for w, g in zip(row, inner, strict=True)) + (b if i == 2 else 0)
                    for i in range(3)
                )
                for row, b in zip(weight, bias, strict=True)
            ]
            parts = [corners]
            for f in functions:
                parts = [piece for part in parts for piece in exact_cut(part, f)]
            for part in parts:
                n = len(part)
                middle = (sum(p[0] for p in part) / n, sum(p[1] for p in part) / n)
                on = [value(f, middle) > 0 for f in functions]
                zero = (Fraction(0),) * 3
                cut.append((part, [f if o else zero for f, o in zip(functions, on, strict=True)]))
        faces = cut
    return [part for part, _ in faces]


def value(f, point):
    return f[0] * point[0] + f[1] * point[1] + f[2]


def exact_cut(corners, f):
    values = [value(f, p) for p in corners]
    if not (min(values) < 0 < max(values)):
        return [corners]
    below, above = [], []
    for i, (p, v) in enumerate(zip(corners, values, strict=True)):
        q, w = corners[i - 1], values[i - 1]
        if v * w < 0:
            t = w / (w - v)
            point = tuple(a + t * (b - a) for a, b in zip(q, p, strict=True))
            below.append(point)
            above.append(point)
        if v <= 0:
            below.append(p)
        if v >= 0:
            above.append(p)
    return [below, above]


def require_right(network, domain, regions, area):
    """What must hold of any regions: area, faces, values, affine pieces, the P1 function."""
    assert abs(regions.sizes.sum() - area) <= 1e-12 * area
    assert regions.sizes.min() > 0
    mesh = SimplexMesh(regions.vertices, regions.mesh().cells())  # checks that it conforms
    assert mesh.num_vertices == regions.num_vertices
    size = max(np.ptp(regions.values), 1e-300)
    assert abs(network(regions.vertices) - regions.values).max() <= 1e-13 * size
    rng = np.random.default_rng(0)
    slopes = regions.slopes.reshape(-1, 2, regions.num_regions)
    constants = regions.constants.reshape(-1, regions.num_regions)
    weights = [rng.dirichlet(np.ones(len(face))) for face in regions.faces()]
    inside = np.array(
        [regions.vertices[:, f] @ w for f, w in zip(regions.faces(), weights, strict=True)]
    ).T
    affine = (slopes * inside).sum(axis=1) + constants
    assert abs(affine - np.atleast_2d(network(inside))).max() <= 1e-12 * size
    assert abs(regions.network()(inside) - network(inside)).max() <= 1e-13 * size


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("widths", [(2, 7, 1), (2, 9, 5, 2), (2, 6, 5, 4, 3, 1), (2, 70, 3, 66, 1)])
def test_regions_of_random_networks_are_right(widths, seed):
    network = random_network(widths, seed)
    regions = linear_regions(network, SQUARE)
    require_right(network, SQUARE, regions, 4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("widths", [(2, 5, 4, 1), (2, 6, 6, 3, 1)])
def test_counts_are_those_of_exact_rationals(widths, seed):
    network = random_network(widths, seed)
    exact = exact_regions(network, [(-1, -1), (1, -1), (1, 1), (-1, 1)])
    assert linear_regions(network, SQUARE).num_regions == len(exact)


@pytest.mark.parametrize("seed", range(12))
def test_integer_weights_with_many_coincidences_are_those_of_exact_rationals(seed):
    rng = np.random.default_rng(seed)
    widths = (2, 8, 6, 4, 1)
    layers = tuple(
        Affine(rng.integers(-2, 3, (b, a)).astype(float), rng.integers(-2, 3, b).astype(float))
        for a, b in pairwise(widths)
    )
    network = ReLUNetwork(layers)
    exact = exact_regions(network, [(-2, -2), (2, -2), (2, 2), (-2, 2)])
    regions = linear_regions(network, ((-2, 2), (-2, 2)))
    assert regions.num_regions == len(exact)
    areas = sorted(
        float(sum(p[0] * q[1] - p[1] * q[0] for p, q in zip(f, f[1:] + f[:1], strict=True))) / 2
        for f in exact
    )
    np.testing.assert_allclose(np.sort(regions.sizes), np.abs(areas), rtol=1e-12, atol=1e-14)
    require_right(network, None, regions, 16)


@pytest.mark.parametrize(("lines", "seed"), [(1, 0), (5, 1), (64, 2), (65, 3), (130, 4)])
def test_one_layer_has_as_many_regions_as_zaslavsky_counts(lines, seed):
    """1 + lines + crossings, of what lies in the domain."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi, lines)
    weight = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    bias = rng.uniform(-0.7, 0.7, lines)  # all of them cross the disc of radius 1, so the square
    a, b = np.triu_indices(lines, 1)
    det = weight[a, 0] * weight[b, 1] - weight[a, 1] * weight[b, 0]
    x = (-bias[a] * weight[b, 1] + bias[b] * weight[a, 1]) / det
    y = (-weight[a, 0] * bias[b] + weight[b, 0] * bias[a]) / det
    crossings = int(((abs(x) < 1) & (abs(y) < 1)).sum())
    found = linear_regions(one_layer(weight, bias), SQUARE)
    assert found.num_regions == 1 + lines + crossings


def test_three_lines_through_every_vertex_of_a_lattice_make_two_faces_a_cell():
    tenths = np.arange(1, 10) / 10
    weight = np.vstack([[[1, 0]] * 9, [[0, 1]] * 9, [[1, -1]] * 19])
    bias = np.concatenate([-tenths, -tenths, np.arange(-9, 10) / 10])
    regions = linear_regions(one_layer(weight, bias), ((0, 1), (0, 1)))
    assert (regions.num_regions, regions.num_vertices) == (200, 121)
    np.testing.assert_allclose(regions.sizes, 0.005, rtol=1e-12)


@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.3, -0.2), (1 / 3, 1 / 7)])
def test_many_lines_through_one_point_cut_by_a_second_layer_leave_no_face_without_area(centre):
    rng = np.random.default_rng(5)
    angle = np.pi * (np.arange(40) + rng.uniform(-0.3, 0.3, 40)) / 40
    weight = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.1, 10, (40, 1))
    first = Affine(weight, -weight @ centre)
    assert linear_regions(one_layer(weight, first.bias), SQUARE).num_regions == 80
    second = Affine(rng.standard_normal((20, 40)), rng.standard_normal(20))
    network = ReLUNetwork((first, second, Affine(rng.standard_normal((1, 20)), [0.0])))
    regions = linear_regions(network, SQUARE)
    require_right(network, SQUARE, regions, 4)


def test_duplicated_negated_rescaled_and_dead_neurons_cost_no_face():
    rng = np.random.default_rng(11)
    plain = random_network((2, 30, 20, 1), 3)
    first, second, last = plain.layers
    again = rng.integers(0, 30, 60)
    scale = rng.uniform(0.01, 100, 60) * rng.choice([1, -1], 60)
    weight = first.weight.toarray()
    nearly = weight[again] * scale[:, None] * (1 + rng.choice([0, 1e-16], (60, 1)))
    dead = rng.uniform(-1, 1, (10, 2))
    wide = Affine(
        np.vstack([weight, nearly, dead, np.zeros((5, 2))]),
        np.concatenate([first.bias, first.bias[again] * scale, np.full(10, -3.0), np.zeros(5)]),
    )
    more = np.hstack([second.weight.toarray(), np.zeros((20, 75))])
    network = ReLUNetwork((wide, Affine(more, second.bias), last))
    regions = linear_regions(network, SQUARE)
    assert regions.num_regions == linear_regions(plain, SQUARE).num_regions
    require_right(plain, SQUARE, regions, 4)


def test_lines_almost_through_a_vertex_and_almost_equal_lines_make_no_slivers():
    """Shifts of 1e-15 are within the tolerance, shifts of 1e-11 are not."""
    weight = np.array([[1.0, 0], [0, 1], [1, 1], [1, 1], [1, -1]])
    for shift, faces in ((1e-15, 8), (1e-11, 15)):
        network = one_layer(weight, np.array([0, 0, shift, -shift, 2 * shift]))
        regions = linear_regions(network, SQUARE)
        assert regions.num_regions == faces, shift
        assert regions.sizes.min() > 0


def test_networks_without_bends_have_one_region():
    for network in (
        ReLUNetwork((Affine([[2, 3], [1, 0]], [1, 0]),)),
        ReLUNetwork((Affine(np.zeros((3, 2)), [0, 1, -1]), Affine([[1, 1, 1]], [2]))),
        ReLUNetwork((Affine(np.zeros((0, 2)), []), Affine(np.zeros((1, 0)), [2]))),
    ):
        regions = linear_regions(network, SQUARE)
        assert regions.num_regions == 1
        require_right(network, SQUARE, regions, 4)


def test_domains_are_boxes_polygons_and_meshes():
    network = random_network((2, 12, 8, 1), 1)
    area = 1.5 * np.sqrt(3)
    for polygon in (HEXAGON, HEXAGON[:, ::-1], np.insert(HEXAGON, 1, HEXAGON[:, :2].mean(1), 1)):
        require_right(network, polygon, linear_regions(network, polygon), area)
    grid = Grid((-1, -1), np.eye(2) / 3, (6, 6), "crossed")
    on_grid = linear_regions(network, grid)
    require_right(network, grid, on_grid, 4)
    assert {*map(tuple, grid.vertices().T)} <= {*map(tuple, on_grid.vertices.T)}
    edges = np.array([[0, 1, 2, 0], [0, 0, 0.5, 3]]) - 1
    mesh = SimplexMesh(edges, [[0, 0], [2, 1], [3, 2]])  # one of them clockwise
    require_right(network, mesh, linear_regions(network, mesh), 3.25)
    far = linear_regions(network, ((1e6, 1e6 + 1), (-1, 1)))
    assert abs(far.sizes.sum() - 2) < 1e-9


def test_faces_where_the_network_does_not_bend_become_one():
    """A network made from a P1 function gives back the mesh of that function."""
    rng = np.random.default_rng(2)
    grid = Grid((0, 0), np.eye(2), (4, 3), "left")
    moved = grid.vertices()
    inner = ((moved > 0) & (moved < [[4], [3]])).all(axis=0)
    moved[:, inner] += 0.4 * rng.uniform(-1, 1, (2, inner.sum()))
    for mesh in (grid, SimplexMesh(moved, grid.cells())):
        network = P1Network(mesh, rng.standard_normal(20))
        every = linear_regions(network, ((0, 4), (0, 3)))
        few = linear_regions(network, ((0, 4), (0, 3)), minimal=True)
        assert every.num_regions >= few.num_regions == mesh.num_cells
        assert few.num_vertices == mesh.num_vertices
        found, wanted = (v[:, np.lexsort(v.round(9))] for v in (few.vertices, mesh.vertices()))
        np.testing.assert_allclose(found, wanted, atol=1e-12)
        require_right(network, mesh, few, 12)
    flat = P1Network(grid, 2 * grid.vertices()[0])
    box = linear_regions(flat, ((0, 4), (0, 3)), minimal=True)
    assert (box.num_regions, box.num_vertices) == (1, 4)


@pytest.mark.parametrize("seed", range(3))
def test_minimal_regions_of_a_sum_are_right(seed):
    """Where faces of one affine function are not convex together, they stay several."""
    plain = random_network((2, 8, 6, 1), seed)
    some = plain - plain + random_network((2, 5, 1), seed + 10)
    few = linear_regions(some, SQUARE, minimal=True)
    assert (
        few.num_regions == linear_regions(random_network((2, 5, 1), seed + 10), SQUARE).num_regions
    )
    require_right(some, SQUARE, few, 4)
    rng = np.random.default_rng(seed)
    notch = ReLUNetwork(  # max(0, min(x, y)): its flat part is no convex polygon
        (Affine([[1, 0], [0, 1], [0, -1], [1, -1]], rng.uniform(-0.1, 0.1, 4)),
         Affine([[0, 1, -1, 0], [1, 0, 0, -1]], [0, 0]), Affine([[0, 1]], [0]))
    )  # fmt: skip
    few = linear_regions(notch, SQUARE, minimal=True)
    require_right(notch, SQUARE, few, 4)
    assert few.num_regions <= linear_regions(notch, SQUARE).num_regions


@pytest.mark.parametrize("widths", [(1, 5, 1), (1, 20, 20, 20, 2), (1, 3, 1, 4, 1)])
def test_knots_of_any_depth(widths):
    for seed in range(4):
        network = random_network(widths, seed)
        regions = linear_regions(network, (-2, 3))
        x = regions.vertices[0]
        assert (np.diff(x) > 0).all()
        assert (x[0], x[-1]) == (-2, 3)
        size = np.ptp(regions.values)
        assert abs(network(x[None]) - regions.values).max() <= 1e-13 * size
        points = np.random.default_rng(0).uniform(-2, 3, (1, 999))
        assert abs(regions.network()(points) - network(points)).max() <= 1e-13 * size
        middles = (x[1:] + x[:-1]) / 2
        affine = regions.slopes * middles + regions.constants[..., None, :]
        wanted = np.atleast_2d(network(middles[None]))
        assert abs(affine.reshape(wanted.shape) - wanted).max() <= 1e-12 * size
        few = linear_regions(network, (-2, 3), minimal=True)
        assert few.num_regions <= regions.num_regions
        assert abs(few.network()(points) - network(points)).max() <= 1e-12 * size


def test_knots_of_one_layer_are_where_neurons_are_zero():
    weight, bias = np.array([[2.0], [-1], [1], [4], [0]]), np.array([1.0, 0.25, -0.25, 2, 1])
    found = linear_regions(one_layer(weight, bias), (-1, 1))
    np.testing.assert_allclose(found.vertices, [[-1, -0.5, 0.25, 1]], atol=1e-16)
    mesh = SimplexMesh([[1.0, -1, 0]], [[2, 1], [0, 2]])
    on_mesh = linear_regions(one_layer(weight, bias), mesh)
    np.testing.assert_allclose(on_mesh.vertices, [[-1, -0.5, 0, 0.25, 1]], atol=1e-16)


def test_what_is_no_network_in_the_plane_or_no_domain_is_refused():
    network = random_network((2, 4, 1), 0)
    for domain, why in (
        (((0, 1), (1, 1)), "lower < upper"),
        ([[0, 1, 2], [0, 1, 2]], "no area"),
        ([[0, 1, np.nan], [0, 1, 2]], "finite"),
        ([[0, 2, 1, 2, 0], [0, 0, 1, 2, 2]], "not convex"),
        ([[0, 1, 1, 0, 0, 1, 1, 0], [0, 0, 1, 1, 0, 0, 1, 1]], "not convex"),
        (SimplexMesh([[0.0, 1]], [[0], [1]]), "1-dimensional"),
    ):
        with pytest.raises(ValueError, match=why):
            linear_regions(network, domain)
    with pytest.raises(TypeError, match="real numbers"):
        linear_regions(network, [["a", "b", "c"], ["d", "e", "f"]])
    with pytest.raises(ValueError, match="3 inputs"):
        linear_regions(random_network((3, 4, 1), 0), ((0, 1),) * 3)
    with pytest.raises(ValueError, match=r"more than 10 regions.*max_regions"):
        linear_regions(random_network((2, 40, 40, 1), 0), SQUARE, max_regions=10)
    with pytest.raises(ValueError, match="max_regions"):
        linear_regions(random_network((1, 40, 1), 0), (-1, 1), max_regions=10)
    with pytest.raises(ValueError, match="max_regions must be at least 1"):
        linear_regions(network, SQUARE, max_regions=0)
    with pytest.raises(TypeError, match="not a ReLUNetwork"):
        linear_regions(np.sin, SQUARE)
    huge = ReLUNetwork((Affine(np.eye(2) * 1e300, [0, 0]), Affine(np.eye(2) * 1e300, [0, 0])))
    with pytest.raises(ValueError, match="overflows"):
        linear_regions(huge, SQUARE)


def test_numbers_that_would_fill_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr("fe_relu.regions.layerwise.MEMORY_SHARE", 1e-9)
    with pytest.raises(ValueError, match="layer 2 has 40 outputs"):
        linear_regions(random_network((2, 40, 40, 1), 0), SQUARE)


def test_numbers_that_grow_beyond_the_memory_while_a_layer_cuts_are_refused(monkeypatch):
    """A layer makes few regions thousands, at each of which are the numbers of the next."""
    room = 8 * 500 * 60 / layerwise._memory()
    monkeypatch.setattr("fe_relu.regions.layerwise.MEMORY_SHARE", room)
    network = random_network((2, 3, 60, 60, 1), 0)
    with pytest.raises(ValueError, match=r"layer 3 has 60 outputs.*GiB; a smaller domain"):
        linear_regions(network, SQUARE)
    small = linear_regions(network, ((0, 1e-3), (0, 1e-3)))
    assert small.num_regions < 200


def test_single_precision_networks_are_cut_in_double():
    double = random_network((2, 10, 6, 1), 4)
    single = ReLUNetwork(
        tuple(
            Affine(layer.weight.astype(np.float32), layer.bias.astype(np.float32))
            for layer in double.layers
        )
    )
    regions = linear_regions(single, SQUARE)
    assert regions.values.dtype == np.float64
    assert abs(single(regions.vertices) - regions.values).max() < 1e-5
