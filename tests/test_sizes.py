# SPDX-License-Identifier: MIT
"""Sizes beside theorems, networks made smaller without a change, and which neurons are awake."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from dolfinx import fem, mesh
from scipy.spatial import Delaunay

import fe_relu
from cases import DIAGONALS
from fe_relu import Affine, Grid, P1Network, P2Network, ReLUNetwork
from fe_relu.cpwl import max_decomposition
from fe_relu.deep import maximum_network, product_network, square_network
from fe_relu.hierarchy import hierarchical_from_network
from fe_relu.meshes.simplices.mesh import SimplexMesh
from test_maxima import exactly


def some_grid(shape=(8, 8), diagonal="right"):
    return Grid((0, 0), np.eye(2) / 8, shape, diagonal)


def some_mesh(count, seed=0):
    points = np.random.default_rng(seed).random((count, 2))
    return SimplexMesh(points.T, Delaunay(points).simplices.T)


def random_network(rng, widths, dtype=np.float64):
    return ReLUNetwork(
        tuple(
            Affine(rng.standard_normal((b, a)).astype(dtype), rng.standard_normal(b).astype(dtype))
            for a, b in itertools.pairwise(widths)
        )
    )


# size_report


def test_report_counts_the_explicit_layers(rng):
    grid = some_grid()
    p1 = P1Network(grid, rng.standard_normal((2, 81)))
    hierarchical = hierarchical_from_network(P1Network(grid, rng.standard_normal(81)), levels=2)
    interval = SimplexMesh([[0.0, 1, 3]], [[0, 1], [1, 2]])
    line = P1Network(interval, np.arange(3, dtype=np.float32))
    square = P2Network(some_grid((2, 3)), rng.standard_normal(35), levels=3)
    for network in [p1, hierarchical, hierarchical.compress(tol=0.3), line, square,
                    P1Network(some_mesh(30), rng.standard_normal(30)), product_network(3),
                    maximum_network(5)]:  # fmt: skip
        report = fe_relu.size_report(network)
        known = hierarchical.to_p1() if network is hierarchical else network
        layers = known if isinstance(known, ReLUNetwork) else known.explicit()
        assert report.widths == layers.widths
        assert report.hidden_layers == layers.hidden_layers
        assert report.neurons == layers.num_neurons
        assert report.nonzeros == layers.num_nonzeros
        biases = sum(layer.dim_out for layer in layers.layers)
        assert report.numbers == layers.num_nonzeros + biases
        assert report.bits == report.numbers * 8 * layers.dtype.itemsize
        assert (report.layers_needed or 0) <= report.hidden_layers
        assert (report.numbers_needed or 0) <= report.numbers
        assert str(report.neurons) in str(report)


def test_what_is_needed_and_enough():
    grid, interval = some_grid(), SimplexMesh([[0.0, 1, 3]], [[0, 1], [1, 2]])
    hat = np.eye(81)[40]
    for network, needed, enough, numbers in [
        (P1Network(grid, hat), 2, 2, 81),
        (P1Network(grid, 0 * hat), 0, 2, 81),
        (P1Network(interval, np.ones((2, 3))), 1, 1, 6),
        (square_network(4), None, 1, None),
        (maximum_network(8), None, 4, None),  # of eight free numbers
        (maximum_network(1), 0, 1, None),
    ]:
        report = fe_relu.size_report(network)
        found = report.layers_needed, report.layers_enough, report.numbers_needed
        assert found == (needed, enough, numbers)


@pytest.mark.parametrize("layout", ["replicated", "blocks"])
def test_networks_that_ranks_share_are_reported_whole(comm, layout):
    msh = mesh.create_rectangle(comm, [[0, 0], [2, 1]], (12, 8))
    u = fem.Function(fem.functionspace(msh, ("P", 1)))
    u.interpolate(lambda x: 1 + x[0] * x[1])
    u.x.scatter_forward()
    network = fe_relu.network_from_function(u, layout=layout)
    alone = network.gather()
    hierarchical = hierarchical_from_network(network, levels=1)
    x = np.random.default_rng(comm.rank).random((2, 20))
    assert fe_relu.size_report(network) == fe_relu.size_report(alone)
    assert fe_relu.size_report(hierarchical) == fe_relu.size_report(alone)
    surrogate = hierarchical.compress(tol=0.05)
    assert fe_relu.size_report(surrogate).widths == surrogate.explicit().widths
    for one in (network, hierarchical):
        found = fe_relu.activation_statistics(one, x)
        assert (found.mean == fe_relu.activation_statistics(alone, x).mean).all()


def test_one_layer_is_never_zero_far_away_and_not_zero(rng):
    """What `layers_needed` relies on: along a line through no kink twice, kinks remain."""
    for _ in range(20):
        network = random_network(rng, (2, 7, 1))
        direction = rng.standard_normal(2)
        far = 1e6 * np.linspace(1, 2, 9) * direction[:, None]
        assert np.abs(network(np.hstack([far, -far]))).max() > 1


def test_kinds_without_a_report():
    for call in [
        fe_relu.size_report,
        fe_relu.simplify,
        lambda network: fe_relu.activation_statistics(network, np.zeros((2, 1))),
    ]:
        with pytest.raises(TypeError):
            call(some_grid())
    with pytest.raises(TypeError, match="explicit"):
        fe_relu.simplify(P1Network(some_grid(), np.zeros(81)))


# simplify


def with_more(network, rng):
    """The same function with neurons that are parallel, dead, constant, unread or split up."""
    layers = list(network.layers)
    for k in range(network.hidden_layers):
        weight, bias = layers[k].weight.toarray(), layers[k].bias
        out = layers[k + 1].weight.toarray()
        n, dim = weight.shape
        again = rng.integers(0, n, n)
        factor = rng.uniform(0.1, 9, n)
        rows = np.vstack([weight, factor[:, None] * weight[again], rng.standard_normal((2, dim)),
                          np.zeros((2, dim))])  # fmt: skip
        biases = np.concatenate([bias, factor * bias[again], rng.standard_normal(2), [2.0, -3.0]])
        part = rng.uniform(0.2, 0.8, n)
        columns = np.hstack([out, np.zeros((len(out), n)), np.zeros((len(out), 2)),
                             rng.standard_normal((len(out), 2))])  # fmt: skip
        for j, i in enumerate(again):
            moved = part[j] * columns[:, i]
            columns[:, i] -= moved
            columns[:, n + j] += moved / factor[j]
        order = rng.permutation(len(rows))
        constant = columns[:, -2] * 2.0
        layers[k] = Affine(rows[order], biases[order])
        layers[k + 1] = Affine(columns[:, order], layers[k + 1].bias - constant)
    return ReLUNetwork(tuple(layers))


@pytest.mark.parametrize("widths", [(1, 3, 1), (2, 5, 2), (3, 6, 4, 2), (2, 8, 5, 5, 1)])
def test_parallel_dead_and_unread_neurons_go(widths, rng):
    for _ in range(10):
        network = random_network(rng, widths)
        larger = with_more(network, rng)
        found = fe_relu.simplify(larger)
        assert larger.num_neurons > 2 * network.num_neurons
        assert found.widths == fe_relu.simplify(network).widths
        x = rng.standard_normal((widths[0], 300)) * 10.0 ** rng.integers(-2, 4, 300)
        size = np.abs(larger(x)).max() + 1
        assert found(x) == pytest.approx(larger(x), rel=0, abs=1e-11 * size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_on_a_domain_affine_neurons_go_to_carriers(dtype, rng):
    for widths in [(1, 40, 1), (2, 60, 2), (2, 30, 20, 1), (3, 25, 3, 25, 2)]:
        network = random_network(rng, widths, dtype)
        box = np.array([(-0.1, 0.1)] * widths[0])
        found = fe_relu.simplify(network, box)
        assert found.dtype == dtype
        assert found.num_neurons < 0.9 * network.num_neurons
        x = rng.uniform(-0.1, 0.1, (widths[0], 500))
        size = np.abs(network(x)).max() + sum(widths)
        eps = np.finfo(dtype).eps
        assert found(x) == pytest.approx(network(x), rel=0, abs=1e3 * eps * size)


def test_all_affine_is_no_layer(rng):
    shift = ReLUNetwork((Affine(np.eye(2), [5.0, 5.0]), Affine([[1.0, -1.0]], [0.0])))
    for domain, widths in [(None, (2, 2, 1)), (((-1, 1), (-1, 1)), (2, 1))]:
        assert fe_relu.simplify(shift, domain).widths == widths
    never = ReLUNetwork((Affine(np.eye(2), [-5.0, -5.0]), Affine([[1.0, -1.0]], [3.0])))
    found = fe_relu.simplify(never, ((-1, 1), (-1, 1)))
    assert found.widths == (2, 1)
    assert (found(rng.uniform(-1, 1, (2, 9))) == 3).all()
    affine = ReLUNetwork((Affine([[1.0, 2.0]], [0.0]),))
    assert fe_relu.simplify(affine, ((0, 1), (0, 1))).widths == (2, 1)


def test_at_most_one_carrier_an_output(rng):
    """Neurons that bend beyond the domain, and pairs R(t), R(−t) that pass numbers by."""
    kinks = Affine([[1.0]] * 9, np.arange(9.0))  # of x + k on [−1/2, 1/2]: one bends
    for outputs in (1, 2, 3):
        weight = rng.standard_normal((outputs, 9))
        network = ReLUNetwork((kinks, Affine(weight, np.zeros(outputs))))
        assert fe_relu.simplify(network, (-0.5, 0.5)).num_neurons <= 1 + outputs
    highest = maximum_network(5)
    found = fe_relu.simplify(highest, [(-1, 1)] * 5)
    assert found.num_neurons < highest.num_neurons
    print(f"max of 5 in a box: {highest.widths} -> {found.widths}")
    for x in rng.integers(-8, 9, (200, 5)):
        numbers = [Fraction(int(t), 8) for t in x]
        assert abs(exactly(found, numbers) - max(numbers)) < Fraction(1, 10**12)


def test_mesh_networks_have_nothing_to_spare_and_windows_of_them_do(rng):
    for diagonal in DIAGONALS:
        grid = some_grid((16, 16), diagonal)
        network = P1Network(grid, rng.standard_normal(grid.num_vertices)).explicit()
        assert fe_relu.simplify(network).widths == network.widths
        window = ((0.3, 0.9), (0.4, 0.8))
        found = fe_relu.simplify(network, window)
        assert found.num_neurons < network.num_neurons / 2
        low, high = np.array(window).T[:, :, None]
        x = rng.uniform(low, high, (2, 400))
        assert found(x) == pytest.approx(network(x), rel=0, abs=1e-11)


def test_sums_of_maxima_have_parallel_neurons(rng):
    grid = some_grid((6, 5))
    network = max_decomposition(grid, rng.standard_normal(42)).explicit()
    found = fe_relu.simplify(network)
    print(f"sum of maxima: {network.num_neurons} -> {found.num_neurons} neurons")
    assert found.num_neurons < 0.9 * network.num_neurons
    x = rng.uniform(-1, 2, (2, 400))
    assert found(x) == pytest.approx(network(x), rel=0, abs=1e-9)


def test_rows_a_little_apart_are_not_parallel():
    rows = [[1.0, 0.5], [1.0, 0.5 + 1e-13], [3.0, 1.5]]
    network = ReLUNetwork((Affine(rows, np.zeros(3)), Affine(np.ones((1, 3)), [0.0])))
    assert fe_relu.simplify(network).widths == (2, 2, 1)


def test_neurons_of_very_different_size_are_told_apart(rng):
    """A weight that is small beside others may be that of a neuron that is large."""
    first = Affine([[1e12, 0], [0, 1.0], [1.0, 1.0]], np.zeros(3))
    second = Affine([[1e-17, 1, 0], [3e-17, 1, 0], [0, 1, 2.0], [0, 1, 2 + 1e-15]], -np.ones(4))
    network = ReLUNetwork((first, second, Affine(np.ones((1, 4)), [0.0])))
    found = fe_relu.simplify(network)
    assert found.widths == (2, 3, 3, 1)
    x = rng.uniform(-1, 1, (2, 100))
    assert found(x) == pytest.approx(network(x), rel=1e-13, abs=1e-14)


def test_sums_of_many_maxima(rng):
    mesh = some_mesh(3000)
    values = np.sin(6 * mesh.vertices()[0]) * mesh.vertices()[1]
    network = max_decomposition(mesh, values).explicit()
    found = fe_relu.simplify(network)
    assert found.num_neurons < network.num_neurons / 2  # lines of one vertex are parallel
    x = rng.random((2, 100))
    assert found(x) == pytest.approx(network(x), rel=0, abs=1e-9)


def test_domains_that_are_refused():
    network = square_network(2)
    for bad in [(1, 0), (0, np.inf), ((0, 1), (0, 1)), 3]:
        with pytest.raises(ValueError, match="a box"):
            fe_relu.simplify(network, bad)


# activation_statistics


def counted(layers, x):
    """Neurons above 0, layer by layer and point by point."""
    counts = []
    for at in x.T:
        h, found = at, []
        for layer in layers.layers[:-1]:
            h = np.maximum(0, layer.weight.toarray() @ h + layer.bias)
            found.append(sum(h > 0))
        counts.append(found)
    return np.array(counts)


def test_statistics_count_neurons_above_zero(rng):
    for network in [random_network(rng, (3, 9, 7, 5, 2)), product_network(2)]:
        x = rng.uniform(-1, 1, (network.dim_in, 70))
        found, counts = fe_relu.activation_statistics(network, x), counted(network, x)
        assert found.widths == network.widths[1:-1]
        assert found.num_points == 70
        assert found.mean == pytest.approx(counts.mean(axis=0))
        assert (found.least == counts.min(axis=0)).all()
        assert (found.most == counts.max(axis=0)).all()
        assert found.share == pytest.approx(counts.mean(axis=0) / network.widths[1:-1])
        assert len(str(found).splitlines()) == 1 + network.hidden_layers
    with pytest.raises(ValueError, match="at least one point"):
        fe_relu.activation_statistics(network, np.zeros((2, 0)))
    affine = ReLUNetwork((Affine([[1.0]], [0.0]),))
    assert fe_relu.activation_statistics(affine, np.zeros((1, 3))).widths == ()


def test_of_hats_only_those_of_one_cell_are_awake(rng):
    for diagonal in DIAGONALS:
        grid = some_grid((8, 8), diagonal)
        network = P1Network(grid, rng.standard_normal(grid.num_vertices))
        found = fe_relu.activation_statistics(network, rng.uniform(0, 1, (2, 500)))
        assert found.most[1] == found.least[1] == 3
        assert 0.4 < found.share[0] < 0.6
    network = P1Network(some_mesh(200), rng.standard_normal(200))
    found = fe_relu.activation_statistics(network, rng.uniform(0.1, 0.9, (2, 300)))
    assert found.most[1] <= 14
    assert found.share[1] < 0.02 < found.share[0]
