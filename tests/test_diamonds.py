# SPDX-License-Identifier: MIT
"""The ring around any mesh, and hats as diamonds: in exact arithmetic, and by the digits lost."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial import Delaunay

from fe_relu import Affine, ReLUNetwork
from fe_relu.meshes.simplices.diamonds import hidden_layers
from fe_relu.meshes.simplices.ring import boundary, extended
from fe_relu.meshes.stars import decomposition, neurons
from fe_relu.meshes.stars.neurons import Neurons


def area(a, b, c):
    """Twice the area, exact for integers and fractions."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def without_strays(vertices, cells):
    used, cells = np.unique(cells, return_inverse=True)
    return vertices[:, used], cells.reshape(3, -1)


def delaunay(count, seed=0, denominator=2**20):
    """Random points of a square, on a fine lattice so that small meshes have short fractions."""
    points = np.random.default_rng(seed).integers(0, denominator, (count, 2)) / denominator
    cells = Delaunay(points).simplices.T.astype(np.int64)
    return points.T.copy(), cells[:, np.abs(area(*points.T[:, cells].swapaxes(0, 1))) > 1e-9]


def with_cells(mesh, keep):
    return without_strays(mesh[0], mesh[1][:, keep])


def lattice(diagonal, nx=5, ny=4):
    """A rectangle of squares, each cut as / or into four."""
    i, j = np.meshgrid(np.arange(nx + 1.0), np.arange(ny + 1.0))
    a = (np.arange(ny)[:, None] * (nx + 1) + np.arange(nx)).ravel()
    b, c, d = a + 1, a + nx + 2, a + nx + 1
    corners = np.array([i.ravel(), j.ravel()])
    if diagonal == "right":
        return corners, np.hstack([[a, b, c], [a, d, c]])
    m = corners.shape[1] + np.arange(len(a))
    middles = corners[:, a] + 0.5
    cells = np.hstack([[a, b, m], [b, c, m], [c, d, m], [d, a, m]])
    return np.hstack([corners, middles]), cells


def fan(link):
    """A vertex at the origin and its link."""
    k = len(link)
    around = np.arange(k)
    return np.array([(0, 0), *link], float).T, np.array(
        [0 * around, 1 + around, 1 + (around + 1) % k]
    )


def notched():
    """A square with a notch of 6 degrees that ends in a vertex."""
    y = np.tan(np.pi / 60)
    vertices = [(0, 0), (1, y), (1, 1), (-1, 1), (-1, -1), (1, -1), (1, -y)]
    return np.array(vertices).T, np.array([(0, k, k + 1) for k in range(1, 6)]).T


def slivers(height):
    """Vertices moved near edges opposite of them, so that triangles get flat."""
    rng = np.random.default_rng(1)
    vertices, cells = delaunay(60)
    sign = np.sign(area(*vertices[:, cells].swapaxes(0, 1)))
    inner = np.setdiff1d(np.arange(vertices.shape[1]), boundary(vertices, cells))
    for column in rng.permutation(cells.T)[:80]:
        a, b, c = rng.permutation(column)
        moved = vertices.copy()
        moved[:, a] = height * vertices[:, a] + (1 - height) * vertices[:, [b, c]].mean(axis=1)
        if a in inner and (area(*moved[:, cells].swapaxes(0, 1)) * sign > height / 1e5).all():
            vertices = moved
    return vertices, cells


RNG = np.random.default_rng(0)
SQUARES = lattice("right")
MIDDLES = SQUARES[0][:, SQUARES[1]].mean(axis=1)
STAR = [(4, 0), (1, 1), (0, 4), (-1, 1), (-4, 0), (-1, -1), (0, -4), (1, -1)]
MESHES = {
    "triangle": (np.array([[0.0, 2, 1], [0, 1, 3]]), np.array([[0], [1], [2]])),
    "random": delaunay(25),
    "right": SQUARES,
    "crossed": lattice("crossed", 3, 2),
    "sheared": (np.array([[0.3, 0.7], [-0.2, 1.1]]) @ SQUARES[0], SQUARES[1]),
    "L": with_cells(SQUARES, (MIDDLES[0] < 2) | (MIDDLES[1] < 2)),
    "hole": with_cells(SQUARES, (np.abs(MIDDLES - [[2.5], [2]]) > [[1.5], [1]]).any(axis=0)),
    "two, and touching": with_cells(SQUARES, [0, 25, 26, 13, 9, 29, 17]),
    "notch": notched(),
    "30 % removed": with_cells(delaunay(30, 2), RNG.random(len(delaunay(30, 2)[1].T)) > 0.3),
    "pointed star": fan(STAR),
    "octagon": fan([(2, 0), (2, 1), (1, 2), (-1, 2), (-2, 0), (-2, -1), (-1, -2), (1, -2)]),
    "hexagon": fan([(1, 0), (1, 1), (0, 1), (-1, 0), (-1, -1), (0, -1)]),
    "straight sides": fan([(3, -1), (3, 1), (3, 2), (0, 2), (-2, 2), (-2, -1), (1, -1)]),
    "dented": fan([(5, -4), (2, 0), (5, 4), (-1, 1), (-5, 2), (-3, -1), (-5, -6)]),
    "slivers": slivers(1e-3),
    "flat": (delaunay(40)[0] * [[1], [1e-5]], delaunay(40)[1]),
    "far": (delaunay(40)[0] + [[1e4], [-3e3]], delaunay(40)[1]),
}
every_mesh = pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES)


def in_integers(vertices):
    """The same points times a power of two, exactly, as Python's integers."""
    fractions = [[Fraction(c) for c in row] for row in vertices.tolist()]
    scale = max(c.denominator for row in fractions for c in row)
    return np.array([[int(c * scale) for c in row] for row in fractions], object)


@every_mesh
def test_the_ring_overlaps_nothing_and_has_the_boundary_inside(mesh):
    vertices, cells, n = extended(*mesh)
    m = mesh[1].shape[1]
    assert n == mesh[0].shape[1]
    assert (vertices[:, :n] == mesh[0]).all()
    assert (cells[:, :m] == mesh[1]).all()
    assert (boundary(vertices, cells) >= n).all()
    corners = in_integers(vertices)[:, cells]
    clockwise = area(*corners.swapaxes(0, 1)) < 0
    assert not clockwise[m:].any()
    corners[:, :, clockwise] = corners[:, ::-1, clockwise]
    apart = separated(corners[:, :, m:, None], corners[:, :, None, :])
    apart |= separated(corners[:, :, None, :], corners[:, :, m:, None])
    assert (np.argwhere(~apart) == [[k, m + k] for k in range(cells.shape[1] - m)]).all()


def separated(one, other):
    """Which triangles have an edge that has none of the other to its left."""
    edges = [(one[:, k], one[:, (k + 1) % 3]) for k in range(3)]
    right = [[area(*edge, other[:, k]) <= 0 for k in range(3)] for edge in edges]
    return np.any([np.all(of_edge, axis=0) for of_edge in right], axis=0)


def test_slits_and_meshes_that_are_not_joined_are_refused():
    vertices, cells = SQUARES
    slit = np.hstack([vertices, vertices[:, [8]]]), np.where(cells == 8, 30, cells)
    slit[1][:, MIDDLES[0] < 2] = cells[:, MIDDLES[0] < 2]
    hanging = (
        np.hstack([vertices, [[5, 6, 6], [0.5, 0, 1]]]),
        np.hstack([cells, [[30], [31], [32]]]),
    )
    doubled = vertices, np.hstack([cells, [[7], [8], [0]]])
    for mesh in (slit, hanging):
        with pytest.raises(ValueError, match=r"boundary vertices lie on other parts .* one vertex"):
            extended(*mesh)
    with pytest.raises(ValueError, match="at vertex"):
        hidden_layers(*doubled)
    with pytest.raises(ValueError, match="intervals overlap"):
        extended(np.array([[0.0, 2, 1, 3]]), np.array([[0, 2], [1, 3]]))


@pytest.fixture
def interpreted(monkeypatch):
    """Compiled functions run as the Python that they are, on rationals too."""
    for module in (decomposition, neurons):
        for name, function in list(vars(module).items()):
            if hasattr(function, "py_func"):
                monkeypatch.setattr(module, name, function.py_func)


def fractions(numbers):
    return np.array([[Fraction(c) for c in row] for row in numbers.tolist()], object)


def exact_star(points, names):
    """The star with these neighbours, shape (2, k), and names of them and of the vertex."""
    k = points.shape[1]
    p, all_names = np.full((5 * k + 8, 2), Fraction(0), object), np.full(5 * k + 8, -1)
    p[:k], all_names[: k + 1] = points.T, names
    room = np.zeros(k + 4, int), np.zeros((2 * k + 4, 8), int), np.zeros(2 * k + 4, object)
    return decomposition.straightened(decomposition.Star(p, all_names, k, Fraction(0), *room))


def written(place, star, put):
    """A hat: its place, factors of neurons, and (neuron, ends, weights) of their lines."""
    shapes = [(), (), (), (2,), (4,), (2,)]
    out = Neurons(*(np.zeros((4 * star.k + 8, *more), object) for more in shapes))
    rows, lines = put(out)
    columns = np.column_stack([out.rows, out.ends, out.weights])[:lines].tolist()
    return place, out.factors[:rows], columns


def exact_hats(vertices, cells, num_own):
    """`neurons_of_hats` on rationals."""
    exact = fractions(vertices)
    for v in range(num_own):
        of_v = cells[:, (cells == v).any(axis=0)].T.tolist()
        following = dict(c[c.index(v) + 1 :] + c[: c.index(v)] for c in of_v)
        link = [next(iter(following))]
        while len(link) < len(following):
            link.append(following[link[-1]])
        star = exact_star(exact[:, link] - exact[:, [v]], [*link, v])
        hat = written(exact[:, v], star, lambda out, star=star: neurons.put_star(star, out, 0, 0))
        assert len(hat[1]) <= max(star.k - 1, 1)  # k − 1 diamonds at most
        yield hat


def exact_value(hat, point):
    """What the neurons of a hat add up to."""
    place, factors, lines = hat
    x = point - place
    inner = [Fraction(1)] * len(factors)
    for row, ax, ay, bx, by, above, below in lines:
        s = area((ax, ay), (bx, by), x)
        inner[row] -= above * max(s, 0) + below * max(-s, 0)
    return sum(f * max(z, 0) for f, z in zip(factors, inner, strict=True))


SMALL = [
    name for name in MESHES if name not in ("slivers", "flat", "far", "right", "sheared", "hole")
]


@pytest.mark.parametrize("name", SMALL)
def test_hats_are_sums_of_diamonds_in_exact_arithmetic(name, interpreted, rng):
    vertices, cells, n = extended(*MESHES[name])
    corners = vertices[:, cells].swapaxes(0, 1)
    cells = np.where(area(*corners) < 0, cells[::-1], cells)
    exact = fractions(vertices)
    hats = list(exact_hats(vertices, cells, n))
    weights = np.array([(1, 0, 0), (0, 1, 1), (1, 1, 1), (3, 0, 1), (5, 2, 1)], object)
    values = 0
    for cell in rng.permutation(cells.T)[:8]:
        for w in weights:
            point = exact[:, cell] @ w / Fraction(sum(w))
            near = {v: Fraction(c, sum(w)) for v, c in zip(cell, w, strict=True)}
            values += sum(near.values())
            for v in range(n):
                assert exact_value(hats[v], point) == near.get(v, 0)
    assert values == 5 * 8
    for direction in ((1, 0), (-3, 2), (1, -7)):
        far = exact.mean(axis=1) + 1000 * np.array(direction, object)
        assert all(exact_value(hat, far) == 0 for hat in hats)


@pytest.mark.parametrize("name", ["pointed star", "dented"])
def test_any_two_spokes_lead_to_the_hat(name, interpreted):
    """Also where link vertices inside of the first diamond must be made up for, by dents in it."""
    link = fractions(MESHES[name][0][:, 1:])
    star = exact_star(link, np.arange(link.shape[1] + 1))
    k = star.k
    corners = [link[:, [m, (m + 1) % k]] for m in range(k)]
    shares = [(Fraction(1, a), Fraction(b, 7)) for a in (1, 2, 5) for b in (0, 1, 4)]
    dents = 0
    for i, j in np.ndindex(k, k):
        if area(star.p[k], star.p[i], star.p[j]) > 0:
            count, steepest = decomposition.decomposed(star, i, j)
            if steepest < np.inf:
                hat = written(
                    np.zeros(2, int), star, lambda out, count=count: put_all(star, count, out)
                )
                dents += (hat[1] < 0).sum()
                for pair, (far, along) in itertools.product(corners, shares):
                    point = far * (pair @ [1 - along, along])
                    assert exact_value(hat, point) == 1 - far
                    assert exact_value(hat, 3 * pair[:, 0]) == 0
    assert dents > 0


def put_all(star, count, out):
    out.factors[:count] = star.factors[:count]
    for row in range(count):
        lines = neurons.put_diamond(star, star.parts[row], out, row, 2 * row)
    return count, lines


def network_of(mesh, values, dtype):
    first, second, coefficients = hidden_layers(*mesh, dtype)
    output = sparse.csr_array(values.astype(dtype)[None]) @ coefficients
    return ReLUNetwork((first, second, Affine(output, np.zeros(1, dtype))))


def p1_values(vertices, cells, values, x):
    """The P1 function at x by the cell in which it is deepest; zero outside of all."""
    a, b, c = vertices[:, cells].swapaxes(0, 1)[..., None]
    p = x[:, None]
    to = np.array([area(p, b, c), area(p, c, a), area(p, a, b)]) / area(a, b, c)
    depth = to.min(axis=0)
    cell, point = depth.argmax(axis=0), np.arange(x.shape[1])
    inside = (to[:, cell, point] * values[cells[:, cell]]).sum(axis=0)
    return np.where(depth.max(axis=0) > -1e-9, inside, 0)


def digits_lost(mesh, dtype, rng):
    """The error of the network inside, on the ring and far away, in eps max|u| X G."""
    vertices, cells, n = extended(*mesh)
    values = np.append(rng.uniform(-1, 1, n), np.zeros(vertices.shape[1] - n))
    inside = np.einsum(
        "dkn,nk->dn",
        vertices[:, cells[:, rng.integers(cells.shape[1], size=600)]],
        rng.dirichlet([0.5] * 3, 600),
    )
    away = rng.standard_normal((2, 200)) * np.ptp(vertices) * 10.0 ** rng.uniform(-1, 4, 200)
    x = np.hstack([vertices, inside, vertices.mean(axis=1)[:, None] + away]).astype(dtype)
    expected = p1_values(vertices, cells, values, x.astype(float))
    network = network_of(mesh, values[:n], dtype)
    assert network.dtype == dtype
    sides = np.roll(vertices[:, cells], 1, axis=1) - vertices[:, cells]
    doubled = np.abs(area(*vertices[:, cells].swapaxes(0, 1)))
    steepest = (np.hypot(*sides).max(axis=0) / doubled).max()
    unit = np.finfo(dtype).eps * np.abs(values).max() * np.abs(vertices).max() * steepest
    return np.abs(network(x) - expected).max() / unit


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every_mesh
def test_the_network_is_the_p1_function_everywhere(mesh, dtype, rng):
    assert digits_lost(mesh, np.dtype(dtype), rng) < 8


def test_sizes(rng):
    """At most 5.2 neurons and 20 weights a vertex; one neuron and shared lines on lattices."""
    mesh = delaunay(3000, 4)
    first, second, coefficients = hidden_layers(*mesh)
    n = mesh[0].shape[1]
    assert coefficients.shape == (n, second.dim_out)
    assert second.dim_out <= 5.2 * n
    assert second.weight.nnz <= 20 * n
    assert first.dim_out <= 14 * n
    one_side = 11 + 8 + 18  # vertical, horizontal and diagonal lines inside 12 x 9 squares
    both_sides = 2 * (11 + 8 + 20 + 20)
    for diagonal, weights, lines in (("right", 3, one_side), ("crossed", 4, both_sides)):
        for matrix in (np.eye(2), np.array([[0.3, 0.7], [-0.2, 1.1]])):
            vertices, cells = lattice(diagonal, 12, 9)
            _, second, coefficients = hidden_layers(matrix @ vertices, cells)
            inner = np.setdiff1d(np.arange(vertices.shape[1]), boundary(vertices, cells))
            assert (coefficients[inner].data == 1).all()
            assert len(coefficients[inner].data) == len(inner)
            neurons_inside = second.weight[coefficients[inner].indices]
            assert (np.diff(neurons_inside.indptr) == weights).all()
            assert len(np.unique(neurons_inside.indices)) == lines


def test_a_float32_mesh_makes_the_same_neurons(rng):
    """Coordinates that were rounded are on lines up to the roundoff of the network's numbers."""
    vertices, cells = lattice("right", 30, 20)
    rounded = (vertices / 30).astype(np.float32).astype(float)
    sizes = [hidden_layers(v, cells, np.float32)[1].dim_out for v in (vertices, rounded)]
    assert sizes[0] == sizes[1] < hidden_layers(rounded, cells, np.float64)[1].dim_out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_intervals(dtype, rng):
    """Two components, cells in any order and orientation; one neuron a vertex, two weights."""
    x = np.sort(rng.random(40)) * 3 + 5
    x[20:] += 1e-3
    pairs = np.array([np.arange(39), np.arange(1, 40)])[:, np.arange(39) != 19]
    shuffle = rng.permutation(40)
    cells = rng.permuted(shuffle[pairs], axis=0)[:, rng.permutation(38)]
    vertices = np.empty((1, 40))
    vertices[0, shuffle] = x
    everywhere, all_cells, _ = extended(vertices, cells)
    assert np.bincount(all_cells.ravel()).tolist() == [2] * 40 + [1] * 4
    knots = np.sort(everywhere[0])
    assert (np.sort(everywhere[0, all_cells].min(axis=0)) == np.delete(knots, [21, 43])).all()
    values = rng.uniform(-1, 1, 40)
    first, second, _ = hidden_layers(vertices, cells, dtype)
    assert (first.dim_out, second.dim_out, second.weight.nnz) == (80, 40, 80)
    padded = np.append(values, np.zeros(4))[np.argsort(everywhere[0])]
    at = np.concatenate([knots, rng.uniform(4, 10, 400), [-1e6, 1e7]]).astype(dtype)
    expected = np.interp(at.astype(float), knots, padded, left=0, right=0)
    got = network_of((vertices, cells), values, np.dtype(dtype))(at[None])
    steepest = 1 / np.diff(knots).min()
    assert np.abs(got - expected).max() <= 8 * np.finfo(dtype).eps * 9 * steepest
