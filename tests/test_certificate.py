# SPDX-License-Identifier: MIT
"""Certificates: lower ≤ sup |network − function| ≤ upper, exact only where it is."""

import itertools

import numpy as np
import pytest
from dolfinx import fem, mesh

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
