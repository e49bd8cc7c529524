# SPDX-License-Identifier: MIT
"""Bounds of P1 networks are exact; those of other networks enclose."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from dolfinx import fem
from scipy.optimize import linprog

from cases import DIAGONALS, random_function, rectangle
from fe_relu import (
    Affine,
    Grid,
    P1Network,
    P2Network,
    ReLUNetwork,
    bounds,
    network_from_function,
    p1_from_relu,
)
from fe_relu.analysis.quadratics import extremes
from fe_relu.hierarchy import hierarchical_from_network
from fe_relu.hierarchy.nested import NESTING
from fe_relu.meshes.grid.overlay import overlay_points

AXES = {
    "plain": ((0.5, 0.0), (0.0, 0.25)),
    "sheared": ((0.5, 0.25), (0.0, 0.25)),
    "turned": ((0.375, -0.5), (0.5, 0.375)),
}

#: Boxes around and across the 3 x 5 grid at (1, −2): in steps of 1/64.
BOXES = {
    "inside one cell": ((1.125, 1.1875), (-1.9375, -1.875)),
    "across cells": ((1.140625, 2.296875), (-1.703125, -1.078125)),
    "on mesh lines": ((1.0, 2.0), (-1.75, -1.0)),
    "all of it": ((-9.0, 9.0), (-9.0, 9.0)),
    "partly outside": ((0.859375, 1.765625), (-2.140625, -1.203125)),
    "in the ring": ((0.765625, 0.984375), (-1.703125, -1.578125)),
    "beyond the ring": ((20.0, 20.5), (3.0, 4.0)),
    "sliver": ((0.5, 3.5), (-1.515625, -1.5)),
}


def network_of(diagonal, axes, rng, shape=(3, 5), k=2):
    grid = Grid((1.0, -2.0), AXES[axes], shape, diagonal)
    return P1Network(grid, rng.integers(-64, 64, (k, grid.num_vertices)) / 8.0)


def corners_of(network, box):
    if box is None:
        c00, c10, c01, c11 = network.mesh.corners.T
        return np.array([c00, c10, c11, c01]).T
    (x0, x1), (y0, y1) = box
    return np.array([[x0, x1, x1, x0], [y0, y0, y1, y1]])


def triangles(grid):
    """Corners of the triangles of the grid and its ring, in half lattice steps."""
    alternating = {"right": (0, 0), "left": (1, 1), "left_right": (0, 1), "right_left": (1, 0)}
    nx, ny = grid.shape
    for i, j in itertools.product(range(-1, nx + 1), range(-1, ny + 1)):
        a, b, c, d = (
            (2 * i, 2 * j),
            (2 * i + 2, 2 * j),
            (2 * i, 2 * j + 2),
            (2 * i + 2, 2 * j + 2),
        )
        if grid.has_centres:
            m = (2 * i + 1, 2 * j + 1)
            yield from ((a, b, m), (b, d, m), (d, c, m), (c, a, m))
        elif alternating[grid.diagonal][(i + j) % 2]:
            yield from ((a, b, c), (b, c, d))
        else:
            yield from ((a, b, d), (a, c, d))


def nodal(network, place):
    """The exact value at a place in half lattice steps; 0 outside."""
    nx, ny = network.mesh.shape
    (i, half), (j, _) = divmod(place[0], 2), divmod(place[1], 2)
    if not (0 <= i <= nx - half and 0 <= j <= ny - half):
        return [Fraction(0)] * network.dim_out
    number = (nx + 1) * (ny + 1) + j * nx + i if half else j * (nx + 1) + i
    return [Fraction(float(row[number])) for row in network.values]


def clipped(polygon, axis, limit, sign):
    """The part of a convex polygon with sign · (coordinate − limit) ≥ 0."""
    result = []
    for here, there in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        p, q = (sign * (point[axis] - limit) for point in (here, there))
        if p >= 0:
            result.append(here)
        if p * q < 0:
            result.append([a + (b - a) * p / (p - q) for a, b in zip(here, there, strict=True)])
    return result


def exact_outputs(network, box):
    """Bounds in rationals: every triangle, with its values as further coordinates, is clipped."""
    origin = [Fraction(float(c)) for c in network.mesh.origin]
    axes = [[Fraction(float(c)) for c in row] for row in network.mesh.axes]
    seen = []
    for triangle in triangles(network.mesh):
        polygon = [
            [origin[d] + (axes[d][0] * i + axes[d][1] * j) / 2 for d in (0, 1)]
            + nodal(network, (i, j))
            for i, j in triangle
        ]
        for axis, sign in itertools.product((0, 1), (1, -1)):
            limit = Fraction(box[axis][0 if sign == 1 else 1])
            polygon = clipped(polygon, axis, limit, sign) if polygon else []
        seen += [point[2:] for point in polygon]
    lattice = network.mesh.to_lattice(corners_of(network, box))
    if ((lattice < -1) | (lattice > np.array(network.mesh.shape)[:, None] + 1)).any():
        seen.append([Fraction(0)] * network.dim_out)
    columns = list(zip(*seen, strict=True))
    return [float(min(c)) for c in columns], [float(max(c)) for c in columns]


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_outputs_have_the_bounds_of_exact_rationals(rng, diagonal):
    for axes, box in itertools.product(AXES, BOXES.values()):
        network = network_of(diagonal, axes, rng)
        found = bounds(network, box)
        lower, upper = exact_outputs(network, box)
        assert found.exact
        assert found.lower == pytest.approx(lower, abs=1e-13), (axes, box)
        assert found.upper == pytest.approx(upper, abs=1e-13), (axes, box)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_neurons_have_the_bounds_of_linear_programs(rng, diagonal, axes):
    """A line is affine and a hat concave: corners give the least, a linear program the largest."""
    network = network_of(diagonal, axes, rng, (3, 2))
    first, second, _ = network.explicit().layers
    for box in (None, *BOXES.values()):
        region, found = corners_of(network, box), bounds(network, box)
        lines = first(region)
        assert found.layers[0][0] == pytest.approx(lines.min(axis=1), abs=1e-11)
        assert found.layers[0][1] == pytest.approx(lines.max(axis=1), abs=1e-11)
        hats = second(np.maximum(lines, 0))
        assert found.layers[1][0] == pytest.approx(hats.min(axis=1), abs=1e-11)
        slopes = first.weight.toarray() @ region  # a point is a mean of corners with weights
        for vertex in range(second.dim_out):
            row = second.weight[[vertex]].tocoo()
            terms = len(row.data)
            program = linprog(
                np.concatenate([np.zeros(4), -row.data]),
                np.hstack([slopes[row.coords[1]], -np.eye(terms)]),
                -first.bias[row.coords[1]],
                np.concatenate([np.ones(4), np.zeros(terms)])[None],
                [1.0],
            )
            assert found.layers[1][1][vertex] == pytest.approx(1 - program.fun, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5)])
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_random_boxes_against_samples_and_the_overlay(rng, diagonal, shape):
    """Nothing sampled lies beyond the bounds, and overlay vertices attain them."""
    grid = Grid((0.3, 0.1), ((0.31, 0.12), (-0.2, 0.27)), shape, diagonal)
    network = P1Network(grid, rng.standard_normal(grid.num_vertices))
    first, second, output = network.explicit().layers
    low, high = grid.corners.min(axis=1) - 0.4, grid.corners.max(axis=1) + 0.4
    for _ in range(10):
        box = np.sort(low[:, None] + (high - low)[:, None] * rng.random((2, 2)), axis=1)
        found = bounds(network, box)
        a, b, c, d = corners_of(network, box).T
        halves = np.array([[a, a], [b, c], [c, d]]).transpose(2, 0, 1)
        half, weights = overlay_points(grid, halves)
        special = np.einsum("dvn,vn->dn", halves[:, :, half], weights)
        x = np.hstack([special, box[:, :1] + np.diff(box) * rng.random((2, 500))])
        lines = first(x)
        hats = second(np.maximum(lines, 0))
        values = output(np.maximum(hats, 0))
        layers = (*found.layers, (found.lower, found.upper))
        for (lower, upper), seen in zip(layers, (lines, hats, values), strict=True):
            assert (seen.min(axis=1) >= lower - 1e-12).all()
            assert (seen.max(axis=1) <= upper + 1e-12).all()
            assert seen.min(axis=1) == pytest.approx(lower, abs=1e-11)
            # A vertex outside the box bends its hat on lines through it, but those are mesh lines.
            assert seen.max(axis=1) == pytest.approx(upper, abs=1e-11)


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_over_the_mesh_all_is_exact_to_the_bit(rng, diagonal):
    grid = Grid((0.1, 0.7), ((0.3, 0.1), (0.0, 0.7)), (6, 3), diagonal)
    network = P1Network(grid, rng.standard_normal((3, grid.num_vertices)))
    single = P1Network(grid, network.values.astype(np.float32))
    assert (bounds(single).upper == single.values.max(axis=1)).all()
    found = bounds(network)
    assert (found.lower == network.values.min(axis=1)).all()
    assert (found.upper == network.values.max(axis=1)).all()
    (line_low, line_high), (hat_low, hat_high) = found.layers
    for numbers in (line_low, line_high, 2 * hat_low):
        assert (numbers == np.rint(numbers)).all()
    assert (line_low <= line_high).all()
    assert (hat_high == 1).all()
    assert (hat_low.size, line_low.size) == (grid.num_vertices, network.explicit().widths[1])


@pytest.mark.parametrize("layout", ["replicated", "blocks"])
@pytest.mark.parametrize("k", [None, 3])
def test_the_same_on_any_number_of_ranks(comm, rng, layout, k):
    element = ("P", 1) if k is None else ("P", 1, (k,))
    V = fem.functionspace(rectangle(comm, "crossed", (7, 9), "shifted"), element)
    network = network_from_function(random_function(V, rng), layout=layout)
    whole = network.gather()
    for box in (None, ((-1.9, 0.3), (1.21, 1.83)), ((-5.0, -1.0), (1.4, 1.45)), ((7, 8), (7, 8))):
        found, alone = bounds(network, box), bounds(whole, box)
        assert (found.lower == alone.lower).all()
        assert (found.upper == alone.upper).all()
        for (low, high), (own_low, own_high) in zip(found.layers, alone.layers, strict=True):
            assert (low == own_low).all()
            assert (high == own_high).all()
        assert found.lower.shape == (network.dim_out,)


#: Boxes that are none, and what is said.
REFUSED = {
    "a point": (((0.5, 0.5), (0.0, 1.0)), ValueError, "lower < upper"),
    "inverted": (((1.0, 0.0), (0.0, 1.0)), ValueError, "lower < upper"),
    "NaN": (((0.0, np.nan), (0.0, 1.0)), ValueError, "finite"),
    "infinite": (((0.0, np.inf), (0.0, 1.0)), ValueError, "finite"),
    "one pair": (((0.0, 1.0),), ValueError, "2 pairs"),
    "ragged": (((0.0, 1.0), (0.0, 1.0, 2.0)), ValueError, "2 pairs"),
    "complex": (((0j, 1), (0, 1)), TypeError, "real numbers"),
    "words": ((("0", "1"), ("0", "1")), TypeError, "real numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_boxes_are_refused_on_every_rank(comm, rng, name):
    box, error, words = REFUSED[name]
    V = fem.functionspace(rectangle(comm), ("P", 1))
    network = network_from_function(random_function(V, rng), layout="blocks")
    bad_on_last = box if comm.rank == comm.size - 1 else ((0, 1), (0, 1))
    with pytest.raises(error, match=words):
        bounds(network, bad_on_last)
    with pytest.raises(error, match=words):
        bounds(network.gather().explicit(), box)


def test_ranks_must_agree_on_the_box(comm, rng):
    network = network_from_function(
        random_function(fem.functionspace(rectangle(comm), ("P", 1)), rng)
    )
    if comm.size > 1:
        with pytest.raises(TypeError, match="ranks pass different boxes"):
            bounds(network, None if comm.rank == 0 else ((0, 1), (0, 1)))
        with pytest.raises(TypeError, match="ranks pass different boxes"):
            bounds(network, ((0, 1 + comm.rank), (0, 1)))
    assert bounds(network, ((0, 1), (0, 1))).exact


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("widths", [(2, 3), (1, 6, 4, 2), (3, 8, 8, 8, 1)])
def test_intervals_enclose_every_network(rng, widths, dtype):
    layers = tuple(
        Affine(rng.standard_normal((m, n)).astype(dtype), rng.standard_normal(m).astype(dtype))
        for n, m in itertools.pairwise(widths)
    )
    network = ReLUNetwork(layers)
    box = np.sort(rng.standard_normal((widths[0], 2)), axis=1)
    found = bounds(network, box)
    corners = np.array(list(itertools.product(*box))).T
    h = np.hstack([corners, box[:, :1] + np.diff(box) * rng.random((len(box), 3000))]).astype(dtype)
    for affine, (lower, upper) in zip(
        layers, (*found.layers, (found.lower, found.upper)), strict=True
    ):
        z = affine(h)
        assert (lower <= z.min(axis=1)).all()
        assert (z.max(axis=1) <= upper).all()
        if affine is layers[0]:  # attained at corners
            assert z.min(axis=1) == pytest.approx(lower, abs=1e-5)
            assert z.max(axis=1) == pytest.approx(upper, abs=1e-5)
        h = np.maximum(z, 0)
    assert found.exact == (len(widths) == 2)
    with pytest.raises(ValueError, match="need a box"):
        bounds(network)


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_intervals_are_wider_and_recognition_makes_them_exact(rng, diagonal):
    network = network_of(diagonal, "plain", rng)
    box = BOXES["across cells"]
    wide, exact = bounds(network.explicit(), box), bounds(network, box)
    again = bounds(p1_from_relu(network.explicit()), box)
    assert not wide.exact
    for found in (exact, again):
        for (low, high), (wide_low, wide_high) in zip(found.layers, wide.layers, strict=True):
            assert (wide_low <= low).all()
            assert (high <= wide_high).all()
        assert (wide.lower <= found.lower).all()
        assert (found.upper <= wide.upper).all()
    assert (wide.upper - wide.lower > 2 * (exact.upper - exact.lower)).all()
    assert again.upper == pytest.approx(exact.upper, rel=1e-14)


def functions(diagonal, rng):
    """A P2 network and, where the mesh was halved, a surrogate, on a turned grid."""
    axes = AXES["turned"]
    nodes = Grid((1.0, -2.0), axes, (3, 2), diagonal).refined(2)
    values = rng.standard_normal((2, nodes.num_vertices))
    yield P2Network(Grid((1.0, -2.0), axes, (3, 2), diagonal), values, levels=6)
    if diagonal in NESTING:
        grid = Grid((1.0, -2.0), axes, (8, 4), diagonal)
        fine = P1Network(grid, rng.standard_normal((2, grid.num_vertices)))
        yield hierarchical_from_network(fine).compress(max_neurons=40)


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_p2_networks_and_surrogates_are_enclosed_tightly(rng, diagonal):
    """Over the mesh, and over boxes that cross its edge or lie beyond, where hats go on."""
    for network in functions(diagonal, rng):
        grid, shape = network.mesh, np.array(network.mesh.shape)[:, None]
        x = grid.origin[:, None] + grid.axes @ (rng.random((2, 300_000)) * 3 * shape - shape)
        low, high = grid.corners.min(axis=1), grid.corners.max(axis=1)
        boxes = {"around": (low, high), "wide": (low - 9, high + 9), "away": (high + 9, high + 10)}
        boxes["across"] = (low - 0.3 * (high - low), (low + high) / 2)
        values = network(x)
        size = np.abs(values).max()
        for name, region in {"mesh": None, **boxes}.items():
            box = None if region is None else np.array(region).T
            found = bounds(network, box)
            inside = grid.contains(x) if box is None else _within(x, box)
            seen = values[:, inside] if inside.any() else np.zeros((2, 1))
            assert (found.lower <= seen.min(axis=1) + 1e-12 * size).all(), name
            assert (seen.max(axis=1) <= found.upper + 1e-12 * size).all(), name
            assert found.layers == ()
            assert found.exact == (network.degree == 1)
            if name != "across" or network.degree == 1:  # cells of P2 networks are taken whole
                assert found.lower == pytest.approx(seen.min(axis=1), abs=0.06 * size), name
                assert found.upper == pytest.approx(seen.max(axis=1), abs=0.06 * size), name


def _within(x, box):
    return ((x >= box[:, :1]) & (x <= box[:, 1:])).all(axis=0)


def test_quadratics_have_the_extremes_that_fine_samples_near(rng):
    """Near a top inside or on an edge, the slope vanishes: samples come within a step squared."""
    nodal = rng.integers(-9, 10, (2, 6, 300)) / 8.0
    lower, upper = extremes(nodal[:, :3], nodal[:, 3:])
    i, j = np.indices((65, 65)).reshape(2, -1)
    x, y = np.array([i, j])[:, i + j <= 64] / 64
    z = 1 - x - y
    at_corners = [w * (2 * w - 1) for w in (x, y, z)]
    hats = np.array([*at_corners, 4 * y * z, 4 * x * z, 4 * x * y])
    values = np.einsum("kic,in->kcn", nodal, hats)
    near = 8 * np.abs(nodal).max() / 64**2
    for found, seen, sign in ((lower, values.min(axis=2), -1), (upper, values.max(axis=2), 1)):
        beyond = sign * (found - seen)
        assert (beyond >= -1e-12).all()
        assert (beyond <= near).all()


@pytest.mark.parametrize("size", [2.0**1000, 2.0**-1000, 1.0])
def test_quadratics_of_any_size_have_extremes_of_that_size(rng, size):
    """Up to the largest numbers, and down to where products of two vanish."""
    corners, middles = rng.uniform(-1, 1, (2, 1, 3, 500))
    plain = extremes(corners, middles)
    scaled = extremes(size * corners, size * middles)
    for one, other in zip(plain, scaled, strict=True):
        assert (size * one == other).all()


def test_bounds_of_the_largest_p2_functions_are_no_infinity(rng):
    grid = Grid((0, 0), np.eye(2), (2, 2), "right")
    network = P2Network(grid, rng.uniform(-1, 1, 25) * 4e307, levels=3)
    large, small = bounds(network), bounds(P2Network(grid, network.values / 2.0**900, levels=3))
    assert np.isfinite([large.lower, large.upper]).all()
    assert large.upper == pytest.approx(small.upper * 2.0**900, rel=1e-12)
