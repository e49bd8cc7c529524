# SPDX-License-Identifier: MIT
"""Certificates: lower ≤ sup |network − function| ≤ upper, exact only where it is."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from dolfinx import fem, mesh
from scipy.spatial import Delaunay

from cases import (
    DIAGONALS,
    certified,
    mapped,
    on_first_rank,
    random_function,
    rectangle,
    sampled_error,
)
from fe_relu import (
    Affine,
    ReLUNetwork,
    concatenate,
    function_from_network,
    network_from_function,
)
from fe_relu.meshes.simplices.mesh import SimplexMesh
from fe_relu.meshes.simplices.overlay import largest_differences


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_explicit_layers_are_exact_on_their_own_mesh(comm, rng, diagonal):
    V = fem.functionspace(rectangle(comm, diagonal, (6, 5), "shifted"), ("P", 1))
    u = random_function(V, rng)
    certificate, _ = certified(network_from_function(u).gather().explicit(), V, rng)
    assert certificate.exact
    assert certificate.upper < 1e-11
    back, _ = function_from_network(network_from_function(u).gather().explicit(), V)
    assert np.abs(back.x.array - u.x.array).max(initial=0) < 1e-13


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_upper_bounds_the_error_of_perturbed_weights(comm, rng, diagonal, layer):
    V = fem.functionspace(rectangle(comm, diagonal, (4, 3)), ("P", 1))
    exact = network_from_function(random_function(V, rng)).gather().explicit()
    for size in (1e-9, 1e-4, 0.1, 1.0):
        layers = list(exact.layers)
        weight, bias = layers[layer].weight.copy(), layers[layer].bias
        weight.data = weight.data + size * rng.standard_normal(weight.nnz)
        layers[layer] = Affine(weight, bias + size * rng.standard_normal(bias.shape))
        certificate, seen = certified(ReLUNetwork(tuple(layers)), V, rng)
        # Changed output weights leave the function on the same mesh; other changes move its kinks.
        assert certificate.exact == (layer == 2)
        if layer < 2:
            assert certificate.lower > 0.05 * seen


@pytest.mark.parametrize("widths", [(2, 5, 1), (2, 9, 7, 3), (2, 6, 6, 6, 6, 2)])
def test_upper_bounds_the_error_of_random_networks(comm, rng, widths):
    layers = tuple(
        Affine(rng.standard_normal((m, n)), rng.standard_normal(m))
        for n, m in itertools.pairwise(widths)
    )
    space = ("P", 1) if widths[-1] == 1 else ("P", 1, (widths[-1],))
    V = fem.functionspace(rectangle(comm, "crossed", (5, 4)), space)
    certificate, seen = certified(ReLUNetwork(layers), V, rng)
    assert not certificate.exact
    assert 0.1 * seen < certificate.lower


def test_one_bent_neuron_meets_both_bounds(comm):
    """relu(x − 1/4) on one cell of width 1/2: p = q = 1/4, the bend is p·q/(p + q) = 1/8."""
    V = fem.functionspace(rectangle(comm, "right", (2, 2)), ("P", 1))
    network = ReLUNetwork((Affine([[1.0, 0.0]], [-0.25]), Affine([[1.0]], [0.0])))
    _, certificate = function_from_network(network, V)
    assert certificate.lower == pytest.approx(0.125, rel=1e-12)
    assert certificate.upper == pytest.approx(0.125, rel=1e-12)


def test_affine_networks_are_exact_and_so_are_dead_ones(comm, rng):
    V = fem.functionspace(mapped(rectangle(comm), np.array([[2.0, 1.0], [0.0, 1.0]])), ("P", 1))
    outputs = Affine([[1.0]], [0.5]), Affine([[2.0]], [1])
    for layers in ((Affine([[3.0, -1.0]], [0.5]),), (Affine([[1.0, 1.0]], [-9.0]), *outputs)):
        certificate, _ = certified(ReLUNetwork(layers), V, rng)
        assert certificate.exact


@pytest.mark.parametrize("other", DIAGONALS)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_bounds_meet_on_another_mesh(comm, rng, diagonal, other):
    """Two P1 functions: the sup is attained at a vertex of the overlay, so lower and upper meet."""
    u = random_function(fem.functionspace(rectangle(comm, diagonal, (4, 5)), ("P", 1, (2,))), rng)
    V = fem.functionspace(rectangle(comm, other, (7, 3)), ("P", 1, (2,)))
    network = network_from_function(u)
    certificate, seen = certified(network, V, rng)
    assert certificate.upper - certificate.lower < 1e-12
    assert seen > 0.5 * certificate.upper
    explicit, _ = certified(network.gather().explicit(), V, rng)
    assert explicit.upper >= certificate.lower


def test_bounds_meet_on_an_unstructured_mesh_that_reaches_outside(comm, rng):
    network = network_from_function(
        random_function(fem.functionspace(rectangle(comm, "left_right", (3, 3)), ("P", 1)), rng)
    )
    msh = mesh.create_rectangle(comm, [[-0.7, -0.5], [1.5, 2.0]], (5, 4))
    msh.geometry.x[:, 0] += 0.1 * np.sin(5 * msh.geometry.x[:, 1])
    certificate, seen = certified(network, fem.functionspace(msh, ("P", 1)), rng)
    assert certificate.upper - certificate.lower < 1e-12
    assert seen > 0.5 * certificate.upper


def test_refinement_loses_nothing(comm, rng):
    coarse = random_function(fem.functionspace(rectangle(comm, "left", (3, 2)), ("P", 1)), rng)
    V = fem.functionspace(rectangle(comm, "left", (9, 6)), ("P", 1))
    certificate, _ = certified(network_from_function(coarse), V, rng)
    assert certificate.exact


def test_displaced_vertices_are_counted(comm, rng):
    """Within rtol of the grid nodal values are copied, but the function is another one."""
    V = fem.functionspace(rectangle(comm, "crossed", (4, 3)), ("P", 1))
    u = random_function(V, rng)
    network = network_from_function(u)
    V.mesh.geometry.x[:, :2] += 2e-9 / 4 * np.cos(1e3 * V.mesh.geometry.x[:, [1, 0]])
    back, certificate = function_from_network(network, V)
    assert back.x.array.tobytes() == u.x.array.tobytes()
    assert 1e-10 < sampled_error(network, back, rng) <= certificate.upper < 1e-6
    assert not certificate.exact


def test_rounding_to_a_float32_mesh_is_counted(comm, rng):
    corners = [[0, 0], [3, 3]]
    doubles = fem.functionspace(mesh.create_rectangle(comm, corners, (3, 3)), ("P", 1))
    singles = mesh.create_rectangle(comm, corners, (3, 3), dtype=np.float32)
    network = network_from_function(random_function(doubles, rng))
    certificate, _ = certified(network, fem.functionspace(singles, ("P", 1)), rng)
    assert certificate.upper < 1e-4


def test_cells_much_larger_than_the_grid(comm):
    """The function is zero at all vertices, so the sup is the largest nodal value."""
    one = fem.Function(fem.functionspace(rectangle(comm, "left", (2, 2)), ("P", 1)))
    one.x.array[:] = 1.0
    network = network_from_function(one)
    for size in (1e2, 1e4, 1e8):
        big = mesh.create_rectangle(comm, [[-size, -1.3 * size], [size, size]], (1, 1))
        _, certificate = function_from_network(network, fem.functionspace(big, ("P", 1)))
        assert certificate.lower <= 1 <= certificate.upper < 1 + 1e-13 * size


def test_a_collective_callable_may_be_certified(comm, rng):
    """Every rank calls it equally often, however many cells it has."""
    V = fem.functionspace(rectangle(comm, "right", (20, 20), partitioner=on_first_rank), ("P", 1))
    network = network_from_function(random_function(V, rng))
    _, certificate = function_from_network(lambda x: 2 * network(x), V)
    assert certificate.lower < 1e-12
    assert certificate.upper == np.inf


def test_a_large_roundoff_elsewhere_hides_no_error(comm):
    """Exactness is judged in each cell and component; a proven error is never exact."""
    V = fem.functionspace(rectangle(comm, "right", (8, 8)), ("P", 1, (2,)))
    bent = ReLUNetwork((Affine([[1.0, 0.0]], [-0.3]), Affine([[1.0]], [0.0])))
    big = ReLUNetwork((Affine([[1e13, 1.0]], [1.0]),))
    _, certificate = function_from_network(concatenate([bent, big]), V)
    assert certificate.lower > 0
    assert not certificate.exact


def test_a_callable_that_fails_on_one_rank_at_the_samples_raises_on_all(comm):
    calls = []

    def network(x):
        calls.append(x.shape)
        if len(calls) == 2 and comm.rank == comm.size - 1:
            raise KeyError("late")
        return x[0]

    with pytest.raises(KeyError, match="late"):
        function_from_network(network, fem.functionspace(rectangle(comm), ("P", 1)))


def test_nothing_is_proven_of_a_plain_callable(comm, rng):
    V = fem.functionspace(rectangle(comm), ("P", 1))
    certificate, seen = certified(lambda x: np.sin(9 * x[0]), V, rng)
    assert certificate.upper == np.inf
    assert not certificate.exact
    assert 0.1 * seen < certificate.lower <= seen * (1 + 1e-12)


def test_ranks_without_cells_take_part(comm, rng):
    V = fem.functionspace(rectangle(comm, partitioner=on_first_rank), ("P", 1))
    u = random_function(V, rng)
    network = network_from_function(u)
    W = fem.functionspace(rectangle(comm, "crossed", (3, 3), partitioner=on_first_rank), ("P", 1))
    for target in (network, network.gather().explicit(), lambda x: x[0]):
        certified(target, W, rng)


def test_float32_networks_are_certified_as_they_are_evaluated(comm, rng):
    for origin, shape, exact in ((0, (4, 3), True), (10, (32, 32), False)):
        corners = [[origin, origin], [origin + 1, origin + 1]]
        msh = mesh.create_rectangle(comm, corners, shape, dtype=np.float32)
        V = fem.functionspace(msh, ("P", 1))
        network = network_from_function(random_function(V, rng))
        for target in (network, network.gather().explicit()):
            certificate, _ = certified(target, V, rng)
            assert certificate.upper < 1e-3 or not exact
            assert certificate.exact or not exact


def test_certificate_sees_outputs_side_by_side(comm):
    V = fem.functionspace(rectangle(comm, "right", (2, 2)), ("P", 1, (2,)))
    bent = ReLUNetwork((Affine([[1.0, 0.0]], [-0.25]), Affine([[1.0]], [0.0])))
    _, certificate = function_from_network(concatenate([bent, 3 * bent]), V)
    assert certificate.upper == pytest.approx(0.375, rel=1e-12)


# Meshes of simplices


def interval(comm, n, shift):
    msh = mesh.create_interval(comm, n, [-1.0 + shift, 2.0 - shift])
    msh.geometry.x[:, 0] += 0.1 * np.sin(3 * msh.geometry.x[:, 0] + shift)
    return msh


def plane(comm, n, shift):
    msh = mesh.create_rectangle(comm, [[0, 0], [1, 1]], (n, n + 1))
    x, y = msh.geometry.x[:, 0].copy(), msh.geometry.x[:, 1]
    msh.geometry.x[:, 0] += 0.05 * np.sin(np.pi * x) * np.sin(5 * y + shift) + shift * y
    return msh


def bent_box(comm, n, shift):
    """Of the unit cube if there is no shift, for faces stay where they are."""
    msh = mesh.create_unit_cube(comm, n, n, n + 1)
    x, y, z = (msh.geometry.x[:, k].copy() for k in range(3))
    msh.geometry.x[:, 0] += 0.05 * np.sin(np.pi * x) * np.sin(5 * y + 2 * z) + shift * (1 + y)
    return msh


def whole_box(comm, n, shift):
    msh = mesh.create_unit_cube(comm, n, n, n + 1)
    msh.geometry.x[:, 0] += shift * (1 + msh.geometry.x[:, 1])
    return msh


SIMPLICES = {"intervals": interval, "triangles": plane, "tetrahedra": bent_box, "box": whole_box}


@pytest.mark.parametrize("layout", ["replicated", "blocks"])
@pytest.mark.parametrize("shift", [0.0, 0.2])
@pytest.mark.parametrize("cells", SIMPLICES)
def test_bounds_meet_on_another_mesh_of_simplices(comm, rng, cells, shift, layout):
    """Shifted, cells reach beyond: of other tetrahedra, where there is a jump, that is a bound."""
    make = SIMPLICES[cells]
    u = random_function(fem.functionspace(make(comm, 3, 0.0), ("P", 1, (2,))), rng)
    network = network_from_function(u, layout=layout, structured=False)
    V = fem.functionspace(make(comm, 4, shift), ("P", 1, (2,)))
    certificate, seen = certified(network, V, rng)
    assert certificate.upper < 4
    assert not certificate.exact
    if cells != "tetrahedra" or not shift:
        assert certificate.upper - certificate.lower < 1e-11
        assert seen > 0.8 * certificate.upper


@pytest.mark.parametrize("cells", SIMPLICES)
def test_refining_simplices_loses_nothing(comm, rng, cells):
    """Halved cells have all lines of the mesh; what is left is roundoff."""
    msh = SIMPLICES[cells](comm, 3, 0.0)
    msh.topology.create_entities(1)
    finer = mesh.refine(msh)[0]
    u = random_function(fem.functionspace(msh, ("P", 1)), rng)
    network = network_from_function(u, structured=False)
    certificate, _ = certified(network, fem.functionspace(finer, ("P", 1)), rng)
    assert certificate.exact
    assert certificate.upper < 1e-10


@pytest.mark.parametrize(("dim", "seed"), [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1)])
def test_overlays_are_right_in_exact_arithmetic(dim, seed):
    """Every vertex of what two cells share, by all planes that meet there, in rationals."""
    rng = np.random.default_rng(seed)
    one, other = simplices_of(rng, dim, 30 - 6 * dim, 2), simplices_of(rng, dim, 3 + dim)
    sizes = (90, 9) if seed == 1 else (9, 90)  # so that vertices of the one or the other count
    u, w = (
        rng.integers(-size, size, (1, m.num_vertices)).astype(float)
        for m, size in zip((one, other), sizes, strict=True)
    )
    found = largest_differences(one, u, other.vertices(), other.cells(), w)
    vertices, cells, own = one.extended
    padded = np.append(u[0], np.zeros(vertices.shape[1] - own))
    for k, corners in enumerate(other.cells().T):
        cell = exact_cell(other.vertices()[:, corners], w[0, corners])
        inside, alone = Fraction(0), dict.fromkeys(range(dim + 1))
        for s in cells.T:
            lows, highs = (f(vertices[:, s], axis=1) for f in (np.min, np.max))
            here = other.vertices()[:, corners]
            if (lows <= here.max(axis=1)).all() and (here.min(axis=1) <= highs).all():
                found_here, touched = on_pair(cell, exact_cell(vertices[:, s], padded[s]))
                inside = max(inside, found_here)
                alone = {corner: None for corner in alone if corner not in touched}
        if dim < 3:
            inside = max([inside, *(abs(Fraction(w[0, corners[corner]])) for corner in alone)])
            assert found[0, k] == pytest.approx(float(inside), rel=1e-9, abs=1e-11)
        else:  # beyond tetrahedra the function counts alone
            bound = max(float(inside), np.abs(w[0, corners]).max())
            assert min(abs(found[0, k] - float(inside)), abs(found[0, k] - bound)) < 1e-9


def simplices_of(rng, dim, count, parts=1):
    """Of points on a coarse lattice, so that meshes share some, and others touch."""
    points = np.vstack(
        [rng.integers(0, 4 * parts + 1, (count, dim)), [[0] * dim, [4 * parts] * dim]]
    )
    points = np.unique(points, axis=0) / parts
    if dim == 1:
        k = np.arange(len(points) - 1)
        return SimplexMesh(points.T, np.array([k, k + 1]))
    found = Delaunay(points, qhull_options="Qt Qbb Qc Qz Q12").simplices
    edges = points[found[:, 1:]] - points[found[:, :1]]
    found = found[np.abs(np.linalg.det(edges)) > 0.1]
    names, cells = np.unique(found, return_inverse=True)
    return SimplexMesh(points[names].T, cells.reshape(found.shape).T)


def exact_cell(corners, values):
    """Corners, rows (c, a) of barycentric coordinates c + a·x, and that of the function."""
    dim = len(corners)
    system = [[Fraction(1), *map(Fraction, x)] for x in corners.T]
    rows = [solved(system, [Fraction(i == j) for j in range(dim + 1)]) for i in range(dim + 1)]
    values = [Fraction(value) for value in values]
    function = [
        sum(v * row[a] for v, row in zip(values, rows, strict=True)) for a in range(dim + 1)
    ]
    return [tuple(map(Fraction, x)) for x in corners.T], rows, function


def solved(matrix, right):
    """The solution of a linear system, None if there is not one only."""
    rows = [[*row, b] for row, b in zip(matrix, right, strict=True)]
    for k in range(len(rows)):
        pivot = next((i for i in range(k, len(rows)) if rows[i][k] != 0), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [entry / rows[k][k] for entry in rows[k]]
        for i in range(len(rows)):
            if i != k:
                rows[i] = [a - rows[i][k] * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [row[-1] for row in rows]


def on_pair(one, other):
    """The largest difference at vertices of what two cells share, and corners of one that are."""
    planes, largest, touched = one[1] + other[1], Fraction(0), set()
    for chosen in itertools.combinations(planes, len(one[0][0])):
        x = solved([row[1:] for row in chosen], [-row[0] for row in chosen])
        if x is not None and all(at(row, x) >= 0 for row in planes):
            largest = max(largest, abs(at(one[2], x) - at(other[2], x)))
            touched |= {k for k, corner in enumerate(one[0]) if corner == tuple(x)}
    return largest, touched


def at(row, x):
    return row[0] + sum(a * b for a, b in zip(row[1:], x, strict=True))
