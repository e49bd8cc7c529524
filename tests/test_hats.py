# SPDX-License-Identifier: MIT
"""The explicit layers against the theorem: sizes, and values in exact rational arithmetic."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from cases import DIAGONALS, SHAPES, each, same_layers
from fe_relu import Grid, P1Network, ReLUNetwork

#: How the cells with i + j even, and with i + j odd, are cut.
CUTS = {"right": "//", "left": "\\\\", "crossed": "XX", "left_right": "/\\", "right_left": "\\/"}

#: Triangles of the unit square by its corners; M is the middle.
O, E, N, D, M = (0, 0), (1, 0), (0, 1), (1, 1), (Fraction(1, 2), Fraction(1, 2))
TRIANGLES = {
    "/": ((O, E, D), (O, N, D)),
    "\\": ((O, E, N), (D, E, N)),
    "X": ((O, E, M), (E, D, M), (D, N, M), (N, O, M)),
}

EVEN_AND_ODD = [(2, 2), (4, 6), (2, 5), (1, 4)]


def network_of_size(diagonal, shape, values=None, origin=(0, 0), axes=((1, 0), (0, 1))):
    grid = Grid(origin, axes, shape, diagonal)
    return P1Network(grid, np.zeros(grid.num_vertices) if values is None else values)


def hats(network, x):
    """Activations of the second hidden layer at x, one row per vertex."""
    first, second, _ = network.explicit().layers
    return np.maximum(0, second(np.maximum(0, first(x))))


def first_width(diagonal, nx, ny):
    """First-layer neurons by the theorem."""
    if diagonal in ("right", "left"):
        return 2 * (nx + ny) + 3
    if diagonal == "crossed":
        return 6 * (nx + ny)
    both_even = nx % 2 == 0 and ny % 2 == 0
    return 4 * (nx + ny) + ({"left_right": 8, "right_left": 4}[diagonal] if both_even else 6)


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_widths_and_nonzeros(diagonal):
    for ((nx, ny),) in each(SHAPES + EVEN_AND_ODD):
        layers = network_of_size(diagonal, (nx, ny)).explicit()
        num_vertices = (nx + 1) * (ny + 1) + (nx * ny if diagonal == "crossed" else 0)
        assert layers.hidden_layers == 2
        assert layers.widths == (2, first_width(diagonal, nx, ny), num_vertices, 1)
        per_row = np.diff(layers.layers[1].weight.indptr)
        assert set(per_row) == {3 if diagonal in ("right", "left") else 4}


def test_the_size_of_32_by_32():
    layers = network_of_size("right", (32, 32)).explicit()
    assert (layers.widths, layers.num_neurons) == ((2, 131, 1089, 1), 1220)


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_hats_are_the_identity_at_vertices_and_sum_to_one_inside(diagonal, rng):
    for shape in SHAPES:
        network = network_of_size(diagonal, shape)
        grid = network.mesh
        assert (hats(network, grid.vertices()) == np.eye(grid.num_vertices)).all()
        inside = hats(network, rng.random((2, 500)) * np.array(shape)[:, None])
        assert inside.sum(axis=0) == pytest.approx(np.ones(500), abs=1e-13)
        assert (np.count_nonzero(inside > 1e-13, axis=0) <= 3).all()


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_hats_of_affine_images(diagonal, rng):
    plain = network_of_size(diagonal, (3, 5)).explicit()
    for (axes,) in each(([[0.8, -0.9], [0.3, 1.2]], [[-1.0, 0.7], [0.0, 0.01]])):
        network = network_of_size(diagonal, (3, 5), origin=(2.0, -1.0), axes=axes)
        grid = network.mesh
        assert hats(network, grid.vertices()) == pytest.approx(np.eye(grid.num_vertices), abs=1e-11)
        x = grid.origin[:, None] + grid.axes @ (rng.random((2, 500)) * [[3], [5]])
        assert hats(network, x).sum(axis=0) == pytest.approx(np.ones(500), abs=1e-11)
        assert (network.explicit().layers[1].weight != plain.layers[1].weight).nnz == 0


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_components_share_the_hidden_layers(diagonal, rng):
    grid = network_of_size(diagonal, (3, 5)).mesh
    vector = P1Network(grid, rng.standard_normal((4, grid.num_vertices)))
    layers, one = vector.explicit(), P1Network(grid, vector.values[2]).explicit()
    assert layers.widths == (*one.widths[:-1], 4)
    assert same_layers(ReLUNetwork(layers.layers[:-1]), ReLUNetwork(one.layers[:-1]))
    assert (layers.layers[-1].weight.toarray() == vector.values).all()


def exact_forward(network, point):
    """The layers in rational arithmetic; their weights are taken as the rationals they are."""
    h = point
    for depth, layer in enumerate(network.layers):
        weight = layer.weight
        rows = [slice(*weight.indptr[k : k + 2]) for k in range(layer.dim_out)]
        entries = [zip(weight.data[r].tolist(), weight.indices[r], strict=True) for r in rows]
        h = [
            sum((Fraction(w) * h[c] for w, c in row), Fraction(b))
            for row, b in zip(entries, layer.bias.tolist(), strict=True)
        ]
        if depth < network.hidden_layers:
            h = [max(Fraction(0), value) for value in h]
    return h


def barycentric(triangle, point):
    """Weights of the three corners, by Cramer's rule."""
    (ax, ay), (bx, by), (cx, cy) = triangle
    x, y = point
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    to_b = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
    to_c = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
    return 1 - to_b - to_c, to_b, to_c


def exact_p1(grid, values, point):
    """The P1 function on the lattice whose vertices outside the mesh are zero, by its triangles."""
    nx, ny = grid.shape

    def nodal(i, j, corner):
        if corner is M:
            inside, number = 0 <= i < nx and 0 <= j < ny, (nx + 1) * (ny + 1) + j * nx + i
        else:
            i, j = i + corner[0], j + corner[1]
            inside, number = 0 <= i <= nx and 0 <= j <= ny, j * (nx + 1) + i
        return Fraction(values[number]) if inside else Fraction(0)

    i, j = floor(point[0]), floor(point[1])
    for triangle in TRIANGLES[CUTS[grid.diagonal][(i + j) % 2]]:
        weights = barycentric(triangle, (point[0] - i, point[1] - j))
        if min(weights) >= 0:
            return sum(w * nodal(i, j, c) for w, c in zip(weights, triangle, strict=True))
    raise AssertionError(f"{point} is in no triangle")


def rational_points(shape, rng, count=60):
    """Points up to two cells outside; small denominators put many on vertices and mesh lines."""
    points = []
    for denominator in rng.choice([1, 2, 3, 4, 7, 60, 1001], count).tolist():
        numerators = [int(rng.integers(-2 * denominator, (n + 2) * denominator + 1)) for n in shape]
        points.append(tuple(Fraction(k, denominator) for k in numerators))
    return points


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_explicit_layers_are_the_p1_function_in_exact_arithmetic(diagonal, rng):
    for (shape,) in each(SHAPES):
        size = network_of_size(diagonal, shape).mesh.num_vertices
        network = network_of_size(diagonal, shape, rng.standard_normal(size))
        values, layers = network.values.tolist(), network.explicit()
        points = rational_points(shape, rng)
        expected = [exact_p1(network.mesh, values, point) for point in points]
        assert [exact_forward(layers, point) for point in points] == [[value] for value in expected]
        assert sum(value != 0 for value in expected) > 10
