# SPDX-License-Identifier: MIT
"""P1 networks are recognised from raw weights, and nothing else is."""

import itertools

import numpy as np
import pytest
from dolfinx import fem, mesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from cases import DIAGONALS, MAPS, SHAPES, mapped, random_function, rectangle
from fe_relu import (
    Affine,
    Grid,
    NotP1Error,
    P1Network,
    ReLUNetwork,
    concatenate,
    function_from_network,
    network_from_function,
    p1_from_relu,
)


def network_of_size(diagonal, shape, rng, k=None, origin=(0.3, -2.0), axes=((0.5, 0.1), (0, 0.2))):
    grid = Grid(origin, axes, shape, diagonal)
    shape = (grid.num_vertices,) if k is None else (k, grid.num_vertices)
    return P1Network(grid, rng.standard_normal(shape))


def rescaled(network, factors):
    """The same function: each neuron times a factor, and its output weights over it."""
    layers = list(network.layers)
    for depth, factor in enumerate(factors):
        inner, outer = layers[depth], layers[depth + 1]
        scale = sparse.diags_array(factor)
        layers[depth] = Affine(scale @ inner.weight, factor * inner.bias)
        inverse = sparse.diags_array(np.ones_like(factor) / factor)
        layers[depth + 1] = Affine(outer.weight @ inverse, outer.bias)
    return ReLUNetwork(tuple(layers))


def shuffled(network, rng):
    """The same function: neurons in another order."""
    first, second, output = network.layers
    lines, hats = rng.permutation(first.dim_out), rng.permutation(second.dim_out)
    return ReLUNetwork(
        (
            Affine(first.weight[lines], first.bias[lines]),
            Affine(second.weight[hats][:, lines], second.bias[hats]),
            Affine(output.weight[:, hats], output.bias),
        )
    )


def disguised(network, rng):
    factors = [
        np.exp(rng.uniform(-3, 3, width)).astype(network.dtype) for width in network.widths[1:-1]
    ]
    return shuffled(rescaled(network, factors), rng)


def changed(network, depth, row, column=None, by=0.5):
    """One weight, or without a column one bias, is another."""
    layers = list(network.layers)
    weight, bias = layers[depth].weight.toarray(), layers[depth].bias.copy()
    if column is None:
        bias[row] += by
    else:
        weight[row, column] += by
    layers[depth] = Affine(weight, bias)
    return ReLUNetwork(tuple(layers))


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_untouched_weights_give_the_bits_and_disguised_ones_the_values(rng, diagonal):
    """Order and positive factors do not matter; weights are trusted to their own roundoff."""
    sizes = itertools.product([*SHAPES, (1, 4), (2, 1), (8, 8)], [None, 1, 3], ["f4", "f8"])
    for shape, k, dtype in sizes:
        plain = network_of_size(diagonal, shape, rng, k)
        network = P1Network(plain.mesh, plain.values.astype(dtype))
        found = p1_from_relu(network.explicit())
        assert found.mesh.matches(network.mesh, dtype), (shape, k, dtype)
        assert found.values.tobytes() == network.values.tobytes(), (shape, k, dtype)
        found = p1_from_relu(disguised(network.explicit(), rng))
        assert (found.dtype, found.comm) == (network.dtype, None)
        assert found.mesh.matches(network.mesh, dtype), (shape, k, dtype)
        assert np.abs(found.values / network.values - 1).max() < 8 * np.finfo(dtype).eps


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_dyadic_grids_come_back_with_their_bits(rng, diagonal):
    network = network_of_size(diagonal, (8, 4), rng, origin=(0.5, -3), axes=((0.25, 0), (0, 2)))
    assert p1_from_relu(network.explicit()).mesh == network.mesh
    minus = P1Network(network.mesh, np.where(network.values > 0, network.values, -0.0))
    found = p1_from_relu(minus.explicit())
    assert found.values.tobytes() == (minus.values + 0.0).tobytes()  # −0 comes back as 0


def around(grid, rng):
    """Points in the grid and on all sides of it."""
    return grid.origin[:, None] + grid.axes @ rng.uniform(-2, 8, (2, 2000))


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_affine_images_are_the_same_functions(rng, diagonal):
    """Axes that grid_from_mesh would label otherwise are relabelled; the function stays."""
    for axes in MAPS.values():
        network = network_of_size(diagonal, (3, 5), rng, axes=axes)
        found = p1_from_relu(disguised(network.explicit(), rng))
        assert found.mesh.num_vertices == network.mesh.num_vertices
        x = around(network.mesh, rng)
        assert np.abs(found(x) - network(x)).max() < 1e-12
        again = p1_from_relu(found.explicit())
        assert again.mesh.matches(found.mesh)
        assert again.values.tobytes() == found.values.tobytes()


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_far_flat_and_tiny_grids(rng, diagonal):
    for origin, *steps in [(1e6, 1e-3 / 4, 43 / 3), (-1e3, 1e-2, 1e-2), (0, 1e-9, 1e-9)]:
        network = network_of_size(diagonal, (4, 3), rng, origin=(origin, 1), axes=np.diag(steps))
        found = p1_from_relu(disguised(network.explicit(), rng))
        assert found.mesh.matches(network.mesh)
        assert np.abs(found.values - network.values).max() < 1e-14


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_dead_doubled_and_split_neurons(rng, diagonal):
    network = network_of_size(diagonal, (3, 4), rng)
    whole = disguised(network.explicit(), rng)
    other = disguised(network.explicit(), rng)
    summed = concatenate([whole, other])
    halves = Affine([[0.25, 0.75]], [0.0])  # two networks of one function, side by side
    found = p1_from_relu(ReLUNetwork((halves,)) @ summed)
    assert np.abs(found.values - network.values).max() < 1e-14
    first, second, output = whole.layers
    lines, hats = first.dim_out, second.dim_out
    weight = sparse.lil_array((hats + 2, lines + 3))
    weight[:hats, :lines] = second.weight
    line = second.weight.indices[0]  # split between a line and its double
    weight[0, lines], weight[0, line] = weight[0, line] / 8, weight[0, line] * 3 / 4
    weight[0, lines + 1] = -2.0  # a line without slope: relu(1/2), made good by the bias
    weight[hats, 0], weight[hats + 1, 1] = -1.0, 5.0  # dead; alive, but never read
    bias = np.concatenate([second.bias, [-1.0, 3.0]])
    bias[0] += 1.0
    raw = ReLUNetwork(
        (
            Affine(
                sparse.vstack([first.weight, 2 * first.weight[[line]], sparse.csr_array((2, 2))]),
                np.concatenate([first.bias, 2 * first.bias[[line]], [0.5, -7.0]]),
            ),
            Affine(weight, bias),
            Affine(np.append(output.weight.toarray(), [[9.0, 0.0]], axis=1), [0.0]),
        )
    )
    found = p1_from_relu(raw)
    assert found.mesh.matches(network.mesh)
    assert np.abs(found.values - network.values).max() < 1e-12


def of_hats(network, kept):
    """The explicit network of some of the hats."""
    first, second, output = network.explicit().layers
    hats = Affine(second.weight[kept], second.bias[kept])
    return ReLUNetwork((first, hats, Affine(output.weight[:, kept], output.bias)))


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_a_vertex_without_a_neuron_is_a_zero(rng, diagonal):
    network = network_of_size(diagonal, (6, 5), rng)
    places = network.mesh.lattice_positions()
    some = (places[0] >= 2) & (rng.random(places.shape[1]) < 0.5)
    for kept in (np.flatnonzero(some), [7]):
        pruned = of_hats(network, kept)
        found, x = p1_from_relu(pruned), around(network.mesh, rng)
        assert np.abs(found(x) - pruned(x)).max() < 1e-13
        assert found.mesh.num_vertices < network.mesh.num_vertices
    assert found.mesh.shape == (1, 1)  # that of a single hat


@pytest.mark.parametrize(
    ("image", "ghosts"), [("none", "none"), ("rotated", "shared_facet"), ("mirrored", "none")]
)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_the_circle_closes(comm, rng, diagonal, image, ghosts):
    """Function → network → raw weights → mesh and function."""
    msh = rectangle(comm, diagonal, (5, 4), "shifted", ghosts=ghosts)
    msh = msh if image == "none" else mapped(msh, MAPS[image])
    u = random_function(fem.functionspace(msh, ("P", 1)), rng)
    network = network_from_function(u)
    found = p1_from_relu(disguised(network.explicit(), rng))
    again = mesh.create_rectangle(
        comm,
        [[0, 0], list(found.mesh.shape)],
        found.mesh.shape,
        diagonal=mesh.DiagonalType[found.mesh.diagonal],
    )
    moved = found.mesh.origin[:, None] + found.mesh.axes @ again.geometry.x[:, :2].T
    again.geometry.x[:, :2] = moved.T
    V = fem.functionspace(again, ("P", 1))
    back, certificate = function_from_network(found, V)
    assert certificate.exact
    assert network_from_function(back).mesh.matches(network.mesh)
    values = network_from_function(back).values
    assert np.abs(values - network.values).max() <= 8 * np.finfo(float).eps * network.size
    untouched, _ = function_from_network(p1_from_relu(network.explicit()), u.function_space)
    assert untouched.x.array.tobytes() == u.x.array.tobytes()


def _missing_line(network):
    first, second, output = network.layers
    weight = second.weight.toarray()
    weight[:, second.weight.indices[0]] = 0
    return ReLUNetwork((first, Affine(weight, second.bias), output))


def _hat(network):
    return network.layers[1].dim_out // 2


def _its_line(network):
    weight = network.layers[1].weight
    return weight.indices[weight.indptr[_hat(network)]]


def _other_line(network):
    return int(np.flatnonzero(network.layers[1].weight[[_hat(network)]].toarray() == 0)[-1])


#: What is done to explicit layers, and words of the refusal.
REFUSED = {
    "slope of a line": (lambda f: changed(f, 0, _its_line(f), 0, 0.3), "no hats of the lattice"),
    "little slope": (lambda f: changed(f, 0, _its_line(f), 1, 1e-5), "no hats of the lattice"),
    "offset of a line": (lambda f: changed(f, 0, _its_line(f), by=1e-5), "of a step"),
    "weight of a hat": (lambda f: changed(f, 1, _hat(f), _its_line(f), 1e-5), "no hats of"),
    "bias of a hat": (lambda f: changed(f, 1, _hat(f), by=1e-5), "no hats of the lattice"),
    "much bias of a hat": (lambda f: changed(f, 1, _hat(f), by=1), "no hats of the lattice"),
    "one line too many": (lambda f: changed(f, 1, _hat(f), _other_line(f), -0.5), "it reads"),
    "positive weight": (lambda f: changed(f, 1, _hat(f), _its_line(f), 3), "1 of its"),
    "negative bias": (lambda f: rescaled(f, [np.ones(f.widths[1]), -np.ones(f.widths[2])]), "bias"),
    "negative factor": (lambda f: rescaled(f, [-np.ones(f.widths[1])]), "weights are positive"),
    "output bias": (lambda f: changed(f, 2, 0, by=0.1), "output biases are [0.1]"),
    "missing line": (_missing_line, "it reads"),
    "three layers": (lambda f: concatenate([f @ ReLUNetwork((Affine(np.eye(2), [0, 0]),) * 2)]),
                     "3 hidden layers"),
    "no hats": (lambda f: 0 * ReLUNetwork((f.layers[0], Affine(0 * f.layers[1].weight,
                -f.layers[1].bias), f.layers[2])), "0 second-layer neurons"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_other_networks_are_refused_with_the_reason(rng, name):
    change, words = REFUSED[name]
    for diagonal in DIAGONALS:
        network = network_of_size(diagonal, (4, 3), rng).explicit()
        with pytest.raises(NotP1Error) as refusal:
            p1_from_relu(change(network))
        assert words in str(refusal.value)


def test_other_meshes_are_refused(rng):
    """Hats of two sizes, of two shifted lattices, of two diagonals, and hats far apart."""
    grids = [
        Grid((0, 0), np.eye(2), (3, 3), "right"),
        Grid((0, 0), 0.5 * np.eye(2), (3, 3), "right"),
        Grid((0.3, 0), np.eye(2), (3, 3), "right"),
        Grid((5, 0), np.eye(2), (3, 3), "left"),
        Grid((1e4, 1e4), np.eye(2), (3, 3), "right"),
    ]
    plain, *others = [P1Network(g, rng.random(g.num_vertices)).explicit() for g in grids]
    words = ["no hats of the lattice"] * 2 + ["none of the patterns", "scattered"]
    for other, reason in zip(others, words, strict=True):
        with pytest.raises(NotP1Error, match=reason):
            p1_from_relu(plain + other)
    ring = Grid((1, 1), np.eye(2), (3, 3), "right")
    joined = p1_from_relu(plain + P1Network(ring, np.ones(16)).explicit())
    assert joined.mesh.shape == (4, 4)


def test_random_networks_and_other_sizes_are_refused(rng):
    for widths in [(2, 5, 6, 1), (3, 4, 4, 1), (2, 4, 1), (2, 9, 9, 9, 1)]:
        layers = tuple(
            Affine(rng.standard_normal((m, n)), np.zeros(m)) for n, m in itertools.pairwise(widths)
        )
        with pytest.raises(NotP1Error):
            p1_from_relu(ReLUNetwork(layers))
    parallel = Affine([[1.0, 1.0], [2.0, 2.0], [-1.0, -1.0]], [0.0, 1.0, 2.0])
    hat = ReLUNetwork((parallel, Affine([[-1.0, -1.0, -1.0]], [1.0]), Affine([[1.0]], [0.0])))
    with pytest.raises(NotP1Error, match="parallel"):
        p1_from_relu(hat)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    diagonal=st.sampled_from(DIAGONALS),
    depth=st.integers(0, 2),
    place=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    value=st.floats(allow_nan=False, allow_infinity=False),
)
def test_any_one_weight_is_recognised_or_refused(diagonal, depth, place, value):
    """What is accepted is the same function; nothing else is raised, not even a warning."""
    rng = np.random.default_rng(1)
    network = network_of_size(diagonal, (3, 2), rng).explicit()
    shape = network.layers[depth].weight.shape
    row, column = place[0] % shape[0], place[1] % (shape[1] + 1)
    layers = list(network.layers)
    weight, bias = layers[depth].weight.toarray(), layers[depth].bias.copy()
    if column < shape[1]:
        weight[row, column] = value
    else:
        bias[row] = value
    layers[depth] = Affine(weight, bias)
    network = ReLUNetwork(tuple(layers))
    try:
        found = p1_from_relu(network)
    except NotP1Error:
        return
    x = found.mesh.origin[:, None] + found.mesh.axes @ rng.uniform(-2, 6, (2, 300))
    assert np.abs(found(x) - network(x)).max() <= 1e-6 * found.size


def test_rtol_says_how_far_off_is_still_a_mesh(rng):
    network = changed(network_of_size("right", (4, 3), rng).explicit(), 1, 4, by=1e-5)
    assert p1_from_relu(network, rtol=1e-3).mesh.shape == (4, 3)
    with pytest.raises(ValueError, match="rtol must be between"):
        p1_from_relu(network, rtol=0.5)
    with pytest.raises(TypeError, match=r"expected a fe_relu\.ReLUNetwork"):
        p1_from_relu(np.ones(3))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    diagonal=st.sampled_from(DIAGONALS),
    nx=st.integers(1, 9),
    ny=st.integers(1, 9),
    turn=st.floats(-1.5, 1.5),
    shear=st.floats(-2, 2),
    steps=st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)),
    shift=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
    seed=st.integers(0, 999),
)
def test_every_disguise_is_seen_through(diagonal, nx, ny, turn, shear, steps, shift, seed):
    rng = np.random.default_rng(seed)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    axes = rotation @ [[1, shear], [0, 1]] @ np.diag(steps)
    network = network_of_size(diagonal, (nx, ny), rng, origin=shift, axes=axes)
    found = p1_from_relu(disguised(network.explicit(), rng))
    assert found.mesh.num_vertices == network.mesh.num_vertices
    x = network.mesh.vertices()
    slack = 8 * network.mesh.resolution()
    assert np.abs(found(x) - network.values).max() <= slack * network.size
