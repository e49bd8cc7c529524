# SPDX-License-Identifier: MIT
"""Pictures: what is drawn is what the networks hold, for every kind of them, on any ranks."""

import builtins

import numpy as np
import pytest
from dolfinx import fem

from cases import MAPS, rectangle
from fe_relu import (
    Affine,
    Grid,
    P1Network,
    ReLUNetwork,
    interpolation_matrix,
    network_from_function,
    plot,
)
from fe_relu.hierarchy.nested import NESTING
from fe_relu.hierarchy.transform import hierarchical_from_network
from fe_relu.layers.kinks import clipped_lines
from fe_relu.meshes.grid.grid import DIAGONALS

mpl = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
mpl.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def p1(diagonal="right", shape=(8, 4), axes=((0.25, 0.0), (0.0, 0.5)), outputs=(), rng=None):
    grid = Grid((1, -1), axes, shape, diagonal)
    x, y = grid.vertices()
    if rng is not None:
        return P1Network(grid, rng.standard_normal((*outputs, grid.num_vertices)))
    return P1Network(grid, np.sin(x) * y)


def drawn_anew(axes):
    """Drawing finds what only drawing finds: warnings are errors."""
    axes.figure.canvas.draw()
    return axes


@pytest.mark.parametrize("diagonal", NESTING)
def test_coefficients_are_sorted_by_level(diagonal, rng):
    h = hierarchical_from_network(p1(diagonal, rng=rng, outputs=(2,)))
    axes = drawn_anew(plot.coefficients(h))
    assert [line.get_label() for line in axes.lines] == [f"level {k}" for k in range(h.levels + 1)]
    for level, line in enumerate(axes.lines):
        sizes = np.abs(h.coefficients(level)).max(axis=0)
        ranks, shown = line.get_data()
        assert ranks.tolist() == list(range(1, sizes.size + 1))
        assert shown.tolist() == sorted(sizes.tolist(), reverse=True)
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_coefficients_of_many_and_of_none():
    grid = Grid((0, 0), np.eye(2), (128, 128), "left")
    values = np.arange(grid.num_vertices) ** 2 % 97.0
    (*_, finest) = drawn_anew(
        plot.coefficients(hierarchical_from_network(P1Network(grid, values)))
    ).lines
    ranks, _ = finest.get_data()
    assert len(ranks) <= plot.RANKS
    assert ranks[0] == 1
    zero = hierarchical_from_network(P1Network(grid, np.zeros(grid.num_vertices)))
    assert len(drawn_anew(plot.coefficients(zero)).lines) == 0


@pytest.mark.parametrize("diagonal", NESTING)
def test_kept_neurons_are_where_their_hats_are_one(diagonal):
    surrogate = hierarchical_from_network(p1(diagonal, (16, 16))).compress(tol=0.02)
    axes = drawn_anew(plot.kept(surrogate))
    counts = [len(dots.get_offsets()) for dots in axes.collections][::-1]
    assert counts == list(surrogate.kept)
    dots = np.concatenate([dots.get_offsets() for dots in axes.collections])
    lines, hats, _ = surrogate.explicit().layers
    hidden = np.maximum(0, hats(np.maximum(0, lines(dots.T))))
    assert np.isclose(hidden, 1, rtol=0, atol=1e-9).any(axis=1).all()
    assert (
        axes.get_title()
        == f"{surrogate.num_kept} of {surrogate.mesh.num_vertices} coefficients kept"
    )


def test_error_against_neurons_sorts_and_leaves_out_zero():
    given = {"b": [(100, 1e-3), (10, 1e-1), (1000, 0.0)], "a": [(20, 1e-2)], "none": []}
    axes = drawn_anew(plot.error_against_neurons(given, label="H¹ error"))
    assert [line.get_label() for line in axes.lines] == ["b", "a", "none"]
    assert axes.lines[0].get_xydata().tolist() == [[10, 1e-1], [100, 1e-3]]
    assert axes.get_ylabel() == "H¹ error"
    looks = [(line.get_color(), line.get_marker()) for line in axes.lines]
    assert len(set(looks)) == 3


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_kink_lines_are_where_neurons_bend(diagonal, name):
    network = p1(diagonal, (4, 3), MAPS[name])
    axes = drawn_anew(plot.kink_lines(network))
    segments = np.array(axes.collections[0].get_segments())
    first = network.explicit().layers[0]
    scale = np.linalg.norm(first.weight.toarray(), axis=1)[:, None]
    ends = first(segments.reshape(-1, 2).T) / scale
    on_line = np.isclose(ends, 0, rtol=0, atol=1e-9).reshape(-1, len(segments), 2).all(axis=2)
    assert on_line.any(axis=0).all()
    lattice = network.mesh.to_lattice(segments.reshape(-1, 2).T)
    assert (lattice > -1e-9).all()
    beyond = np.array(network.mesh.shape)[:, None] - lattice
    assert (beyond > -1e-9).all()
    assert (np.minimum(lattice, beyond).min(axis=0) < 1e-9).all()
    corners = first(network.mesh.corners) / scale
    crossing = (corners.min(axis=1) < -1e-9) & (corners.max(axis=1) > 1e-9)
    assert (on_line.any(axis=1) | ~crossing).all()


def test_lines_in_a_triangle():
    triangle = np.array([[0, 4, 0], [0, 0, 4]])
    normals = np.array([[1, 0], [1, 1], [0, 0], [0, 2], [1, 1], [0, 1]])
    offsets = np.array([-1, -2, 1, -2, -9, 1])
    found = clipped_lines(normals, offsets, triangle)
    ends = [sorted(segment) for segment in np.round(found, 12).tolist()]
    assert ends == [[[1, 0], [1, 3]], [[0, 2], [2, 0]], [[0, 1], [3, 1]]]


KINDS = {
    "P1Network": lambda network: network,
    "ReLUNetwork": lambda network: network.explicit(),
    "HierarchicalNetwork": hierarchical_from_network,
    "Surrogate": lambda network: hierarchical_from_network(network).truncate(levels=2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_function_shows_values_in_the_middle_of_pixels(kind):
    network = p1()
    box = ((1, 3), (-1, 1)) if kind == "ReLUNetwork" else None
    axes = drawn_anew(plot.function(KINDS[kind](network), box=box, resolution=20))
    (image,) = axes.images
    assert image.get_extent() == [1, 3, -1, 1]
    shown = image.get_array()
    x, y = np.meshgrid(1 + (np.arange(20) + 0.5) / 10, -1 + (np.arange(20) + 0.5) / 10)
    expected = network([x.ravel(), y.ravel()]).reshape(20, 20)
    assert np.allclose(shown, expected, rtol=0, atol=1e-12)


def test_function_outside_the_mesh_is_left_out():
    network = p1(axes=MAPS["sheared"])
    shown = np.ma.masked_invalid(plot.function(network, resolution=60).images[0].get_array())
    assert 0 < np.ma.count_masked(shown) < shown.size
    whole = plot.function(network, box=((-20, 20), (-20, 20)), resolution=30).images[0].get_array()
    assert np.isfinite(whole).all()


@pytest.mark.parametrize(("component", "label"), [(None, "|u|"), (1, "u[1]")])
def test_function_with_several_outputs(component, label, rng):
    network = p1(outputs=(2,), rng=rng)
    axes = drawn_anew(plot.function(network, component=component, resolution=8))
    x, y = np.meshgrid(1 + (np.arange(8) + 0.5) / 4, -1 + (np.arange(8) + 0.5) / 4)
    values = network([x.ravel(), y.ravel()])
    expected = np.sqrt((values**2).sum(axis=0)) if component is None else values[component]
    assert np.allclose(axes.images[0].get_array(), expected.reshape(8, 8), rtol=0, atol=1e-12)
    (bar,) = axes.child_axes
    assert bar.get_ylabel() == label


def test_function_of_one_variable_is_a_curve():
    ramp = ReLUNetwork((Affine([[1.0]], [-0.5]), Affine([[2.0]], [1.0])))
    (curve,) = drawn_anew(plot.function(ramp, box=((-1, 2),), resolution=7)).lines
    x, y = curve.get_data()
    assert x.tolist() == np.linspace(-1, 2, 7).tolist()
    assert y.tolist() == (1 + 2 * np.maximum(0, x - 0.5)).tolist()


def test_long_meshes_are_not_drawn_as_threads():
    long = p1(shape=(4, 4), axes=((1e-3, 0), (0, 10.0)))
    axes = drawn_anew(plot.function(long, resolution=40))
    assert axes.images[0].get_array().shape == (40, 40)
    assert axes.get_aspect() == "auto"


def test_given_axes_are_used():
    _, (left, right) = plt.subplots(1, 2)
    network = p1()
    assert plot.function(network, left) is left
    assert plot.kink_lines(network, right) is right
    assert plt.get_fignums() == [1]


@pytest.mark.parametrize("layout", ["replicated", "blocks"])
def test_all_ranks_draw_the_whole(comm, layout):
    V = fem.functionspace(rectangle(comm, "crossed", (32, 32)), ("P", 1))
    u = fem.Function(V)
    u.interpolate(lambda x: np.exp(-30 * (x[0] ** 2 + x[1] ** 2)))
    u.x.scatter_forward()
    network = network_from_function(u, layout=layout)
    whole = network.gather()

    def pictures(network):
        h = hierarchical_from_network(network)
        small = h.compress(tol=0.01)
        curves = plot.coefficients(h).lines
        dots = plot.kept(small).collections
        yield from (line.get_xydata().tolist() for line in curves)
        yield from (group.get_offsets().tolist() for group in dots)
        yield plot.function(small, resolution=30).images[0].get_array().tolist()
        yield [s.tolist() for s in plot.kink_lines(small).collections[0].get_segments()]

    assert list(pictures(network)) == list(pictures(whole))


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plot.function(p1(), component=1), "component must be from 0 to 0, not 1"),
        (lambda: plot.function(p1(), box=((0, 1),)), "a box is 2 pairs"),
        (lambda: plot.kink_lines(p1(), box=((0, 0), (0, 1))), "with lower < upper"),
        (
            lambda: plot.function(ReLUNetwork((Affine(np.eye(3), np.zeros(3)),))),
            "1 or 2 inputs can be drawn, not with 3",
        ),
        (
            lambda: plot.kink_lines(ReLUNetwork((Affine(np.eye(2), np.zeros(2)),))),
            "this one has 2 and 0",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()
    assert plt.get_fignums() == []


def test_a_matrix_is_drawn_where_it_is_not_zero(rng):
    network = p1()
    matrix = interpolation_matrix(network, network.mesh.origin[:, None] + rng.random((2, 30)))
    axes = plot.sparsity(matrix)
    columns, rows = axes.lines[0].get_data()
    drawn = np.zeros(matrix.shape, bool)
    drawn[rows, columns] = True
    assert (drawn == (matrix.toarray() != 0)).all()
    with pytest.raises(TypeError, match="getValuesCSR"):
        plot.sparsity(matrix.toarray())


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    present = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return present(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    h = hierarchical_from_network(p1())
    for draw in (
        lambda: plot.coefficients(h),
        lambda: plot.kept(h.truncate(levels=1)),
        lambda: plot.error_against_neurons({}),
        lambda: plot.kink_lines(p1()),
        lambda: plot.function(p1()),
    ):
        with pytest.raises(ImportError, match="apt install python3-matplotlib"):
            draw()
