# SPDX-License-Identifier: MIT
"""Every kind of network leaves by every road and stays the function that it is, everywhere."""

import numpy as np
import pytest
import torch
from dolfinx import fem

import fe_relu
from cases import (
    DIAGONALS,
    MAPS,
    bound,
    evaluated,
    mapped,
    points_in_cells,
    random_function,
    rectangle,
)
from fe_relu import Grid, P1Network, P2Network, from_onnx, from_torch, to_onnx, to_torch
from fe_relu.hierarchy import hierarchical_from_network
from fe_relu.hierarchy.nested import NESTING
from runtime import rows, run, run_file

torch.set_num_threads(1)

FLOATS = (np.float32, np.float64)

#: Origin and axes.
FRAMES = {
    "unit": ((0, 0), np.eye(2)),
    "flat": ((-2, 1), np.diag([1e-2, 40.0])),
    "rotated": ((0.3, -0.7), MAPS["rotated"] * [0.5, 3.0]),
    "far": ((1e3, -2e3), 0.3 * MAPS["rotated"]),
}


def network_on(frame, shape, diagonal, rng, *, outputs=(), dtype=np.float64):
    grid = Grid(*FRAMES[frame], shape, diagonal)
    return P1Network(grid, rng.standard_normal((*outputs, grid.num_vertices)).astype(dtype))


def at(grid, lattice):
    """Points from lattice coordinates."""
    return grid.origin[:, None] + grid.axes @ np.asarray(lattice, float)


def everywhere(shape, rng, count=300):
    """Lattice coordinates: vertices, half steps and thirds, inside, around, and far outside."""
    size = np.array(shape, float)[:, None]
    halves, thirds = (
        np.indices([k * (n + 4) + 1 for n in shape]).reshape(2, -1) / k - 2 for k in (2, 3)
    )
    around = rng.random((2, count)) * (size + 4) - 2
    far = size * rng.choice([-1, 1], (2, count)) * 10 ** rng.uniform(0.5, 6, (2, count))
    return np.hstack([halves, thirds, around, far])


#: Options of `to_onnx` and of `to_torch` that make the same function.
FILES = {"relu": {}, "active": {"form": "active"}}
MODULES = {
    "relu": {},
    "sparse relu": {"sparse": True},
    "active": {"form": "active"},
    "active, trainable": {"form": "active", "trainable": "output"},
}


def values_by_road(network, x, path):
    """What each road gives at points (2, n), (k, n), and each way back to a network of layers."""
    for name, options in FILES.items():
        to_onnx(network, path, **options)
        yield f"onnx, {name}", run_file(path, x)
        if name == "relu":
            yield "from_onnx, relu", np.atleast_2d(from_onnx(path)(x))
    for name, options in MODULES.items():
        if name == "active, trainable" and isinstance(network, P2Network):
            continue
        module = to_torch(network, **options)
        yield f"torch, {name}", run(module, x)
        if not ("active" in name and isinstance(network, P2Network)):
            yield f"from_torch, {name}", np.atleast_2d(from_torch(module)(x))


def p2_on(frame, shape, diagonal, rng, *, outputs=(), levels=4, dtype=np.float64):
    """Nodal values of a P1 network on twice as many cells are those of a P2 network."""
    nodes = network_on(frame, tuple(2 * n for n in shape), diagonal, rng, outputs=outputs)
    mesh = network_on(frame, shape, diagonal, rng).mesh
    return P2Network(mesh, nodes.values.astype(dtype), levels=levels)


def networks_on(diagonal, rng):
    """Networks of each kind, sizes and types, with what they may be off by at points."""
    for (frame, shape), dtype in zip(
        [("unit", (1, 1)), ("rotated", (3, 5)), ("far", (4, 4)), ("far", (6, 3))],
        FLOATS * 2,
        strict=True,
    ):
        for outputs in [(), (1,), (3,)]:
            network = network_on(frame, shape, diagonal, rng, outputs=outputs, dtype=dtype)
            yield network, lambda x, n=network: bound(n.mesh, x, n.values, n.dtype)
    for frame, shape, levels, outputs, dtype in [
        ("unit", (1, 1), 1, (), np.float64),
        ("unit", (3, 2), 3, (2,), np.float64),
        ("unit", (3, 2), 3, (2,), np.float32),
        ("rotated", (2, 2), 6, (), np.float64),
    ]:
        network = p2_on(frame, shape, diagonal, rng, outputs=outputs, levels=levels, dtype=dtype)
        yield network, lambda x, n=network: 1e4 * np.finfo(n.dtype).eps * n.size
    if diagonal in NESTING:
        for outputs in [(), (2,)]:
            network = network_on("rotated", (8, 12), diagonal, rng, outputs=outputs)
            whole = hierarchical_from_network(network)
            for surrogate in (whole.truncate(levels=2), whole.compress(max_neurons=60)):
                yield surrogate, lambda x: 1e-12


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_every_road_gives_the_network_everywhere(tmp_path, diagonal, rng):
    for network, allowed in networks_on(diagonal, rng):
        x = at(network.mesh, everywhere(network.mesh.shape, rng)).astype(network.dtype)
        expected = np.atleast_2d(network(x))
        for road, values in values_by_road(network, x, tmp_path / "u.onnx"):
            assert values.dtype == network.dtype, road
            if "active" in road and isinstance(network, P1Network):
                assert (values == expected).all(), road
            assert (np.abs(values - expected) <= allowed(x)).all(), road


def p1(u, layout):
    return fe_relu.network_from_function(u, layout=layout)


def truncated(u, layout):
    return fe_relu.hierarchical_from_function(u, layout=layout).truncate(levels=2)


@pytest.mark.parametrize(
    ("make", "degree", "shape", "outputs"),
    [
        (p1, 1, (1, 1), ()),
        (p1, 1, (6, 3), (2,)),
        (p1, 2, (3, 2), ()),
        (truncated, 1, (4, 8), ()),
    ],
)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_every_road_gives_what_dolfinx_gives(
    comm, tmp_path, diagonal, make, degree, shape, outputs, rng
):
    """Of networks in any layout: rank 0 writes files, and each rank has its module."""
    if make is truncated and diagonal not in NESTING:
        return
    path = comm.bcast(tmp_path) / "u.onnx"
    msh = mapped(rectangle(comm, diagonal, shape), np.array([[1.0, 0.5], [-0.25, 1.0]]))
    u = random_function(fem.functionspace(msh, ("P", degree, outputs)), rng)
    points, cells = points_in_cells(msh, 50, np.random.default_rng(comm.rank))
    expected = evaluated(u, points, cells)
    for layout in ("replicated", "blocks"):
        network = make(u, layout)
        allowed = 1e-11 + getattr(network, "error_bound", 0)
        for name, options in FILES.items():
            to_onnx(network, path, **options)
            assert np.abs(run_file(path, points) - expected).max(initial=0) <= allowed, name
            comm.barrier()
        for name, options in MODULES.items():
            if not (name == "active, trainable" and degree == 2):
                values = run(to_torch(network, **options), points)
                assert values.shape == expected.shape, name
                assert np.abs(values - expected).max(initial=0) <= allowed, name


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_active_forms_give_nan_where_points_are_not_finite(tmp_path, diagonal, rng):
    x = np.array([[np.nan, 1, np.inf, 1, 1, 1e300], [1, np.nan, 1, -np.inf, 2, -1e300]])
    for make in (network_on, p2_on):
        network = make("unit", (3, 5), diagonal, rng, outputs=(2,))
        to_onnx(network, tmp_path / "u.onnx", form="active")
        module = to_torch(network, form="active")
        for values in (run_file(tmp_path / "u.onnx", x), run(module, x)):
            assert np.isnan(values[:, :4]).all()
            assert values[:, 4:] == pytest.approx(network(x[:, 4:]), abs=1e-13)


def slopes(module, x):
    """The derivative of each output by each coordinate, shape (k, 2, n)."""
    points = rows(x).requires_grad_()
    outputs = module(points).sum(dim=0)
    found = [torch.autograd.grad(output, points, retain_graph=True)[0] for output in outputs]
    return torch.stack(found).numpy().transpose(0, 2, 1)


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_derivatives_are_the_gradient_on_kinks_too(diagonal, rng):
    for frame, make in [("unit", network_on), ("rotated", network_on), ("unit", p2_on)]:
        for shape, dtype in [((1, 1), np.float64), ((3, 5), np.float32), ((4, 4), np.float64)]:
            network = make(frame, shape, diagonal, rng, outputs=(2,), dtype=dtype)
            size = np.c_[list(shape)]
            parts = np.indices([8 * (n + 2) + 1 for n in shape]).reshape(2, -1) / 8 - 1
            lattice = np.hstack([parts, rng.random((2, 300)) * (size + 2) - 1])
            if frame != "unit":  # there the end of the ring is rounded to either side
                beside = np.abs(lattice - size / 2) < size / 2 + 0.999
                lattice = lattice[:, beside.all(axis=0)]
            x = at(network.mesh, lattice).astype(dtype)
            expected = network.gradient(x)
            for trainable in (False,) if make is p2_on else (False, "output"):
                module = to_torch(network, form="active", trainable=trainable)
                error = np.abs(slopes(module, x) - expected).max()
                units = 512 if make is p2_on else 8
                assert error <= units * np.finfo(dtype).eps * np.abs(expected).max()


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_beyond_the_ring_there_is_no_slope(diagonal, rng):
    network = network_on("unit", (3, 5), diagonal, rng, outputs=(2,))
    lattice = np.indices((33, 37)).reshape(2, -1) / 2 - 6
    beyond = (lattice < -1).any(axis=0) | (lattice > np.array([[4], [6]])).any(axis=0)
    found = slopes(to_torch(network, form="active"), at(network.mesh, lattice[:, beyond]))
    assert (found == 0).all()


def test_large_layers_are_refused_and_other_forms_are_not(tmp_path, monkeypatch, rng):
    """The limit is on all dense layers together, whoever is to write them."""
    path = tmp_path / "u.onnx"
    with pytest.raises(ValueError, match=r'1,96\d MiB, .* 512 MiB .* form="active"'):
        to_onnx(network_on("unit", (400, 400), "right", rng), path)
    network = network_on("unit", (30, 50), "crossed", rng)
    layers = network.explicit()
    entries = sum(m * (n + 1) for n, m in zip(layers.widths, layers.widths[1:], strict=False))
    monkeypatch.setattr(fe_relu.formats.forms, "DENSE_BYTES", 8 * entries - 1)
    for refused in (network, layers):
        with pytest.raises(ValueError, match=r'dense layers.*; form="active"'):
            to_onnx(refused, path)
        with pytest.raises(ValueError, match=r'sparse=True or form="active"'):
            to_torch(refused)
    assert not path.exists()
    x = rng.random((2, 100)) * 30
    for form in ({"sparse": True}, {"form": "active"}):
        assert run(to_torch(network, **form), x)[0] == pytest.approx(network(x), abs=1e-11)
    to_onnx(network, path, form="active")
    assert (run_file(path, x) == network(x)).all()
    assert path.stat().st_size < 3 * network.values.nbytes
    monkeypatch.setattr(fe_relu.formats.forms, "DENSE_BYTES", 8 * entries)
    to_onnx(network, path)
