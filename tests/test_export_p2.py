# SPDX-License-Identifier: MIT
"""P2 networks in files and modules."""

import numpy as np
import pytest
import torch
from dolfinx import fem
from test_torch import rows, run, slopes

import fe_relu
from cases import DIAGONALS, evaluated, points_in_cells, rectangle
from fe_relu import Grid
from fe_relu.networks.p2 import P2Network
from runtime import run_file
from test_p1 import FRAMES, at, everywhere


def p2_on(frame, shape, diagonal, rng, *, outputs=(), levels=4, dtype=np.float64):
    grid = Grid(*FRAMES[frame], shape, diagonal)
    count = grid.refined(2).num_vertices
    values = rng.standard_normal((*outputs, count)).astype(dtype)
    return P2Network(grid, values, levels=levels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_active_forms_are_the_network_everywhere(tmp_path, diagonal, dtype, rng):
    for shape, levels, outputs in [((1, 1), 1, ()), ((3, 5), 4, (2,)), ((4, 4), 20, ())]:
        options = {"outputs": outputs, "levels": levels, "dtype": dtype}
        network = p2_on("rotated", shape, diagonal, rng, **options)
        x = at(network.mesh, everywhere(shape, rng)).astype(dtype)
        expected = np.atleast_2d(network(x))
        fe_relu.to_onnx(network, tmp_path / "u.onnx", form="active")
        module = fe_relu.to_torch(network, form="active")
        for values in (run_file(tmp_path / "u.onnx", x), run(module, x)):
            assert values.dtype == dtype
            assert np.abs(values - expected).max() <= 64 * np.finfo(dtype).eps * network.size


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_relu_forms_are_the_network(tmp_path, diagonal, rng):
    network = p2_on("unit", (3, 2), diagonal, rng, levels=3)
    x = at(network.mesh, everywhere((3, 2), rng))
    fe_relu.to_onnx(network, tmp_path / "u.onnx")
    for values in (
        run_file(tmp_path / "u.onnx", x),
        run(fe_relu.to_torch(network), x),
        run(fe_relu.to_torch(network, sparse=True), x),
        np.atleast_2d(fe_relu.from_onnx(tmp_path / "u.onnx")(x)),
    ):
        assert np.abs(values - network(x)).max() <= 1e-12 * network.size


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_derivatives_are_the_gradient_on_kinks_too(diagonal, rng):
    network = p2_on("unit", (3, 5), diagonal, rng, outputs=(2,), levels=3)
    halves = np.indices([8 * (n + 2) + 1 for n in (3, 5)]).reshape(2, -1) / 8 - 1
    x = np.hstack([halves, rng.random((2, 500)) * [[3], [5]]])
    expected = network.gradient(x)
    error = np.abs(slopes(fe_relu.to_torch(network, form="active"), x) - expected)
    assert error.max() <= 1e-13 * np.abs(expected).max()


@pytest.mark.parametrize("form", ["relu", "active"])
def test_files_give_what_dolfinx_gives(comm, tmp_path, form, rng):
    path = comm.bcast(tmp_path) / "u.onnx"
    V = fem.functionspace(rectangle(comm, "crossed", (3, 2)), ("P", 2))
    u = fem.Function(V)
    u.interpolate(lambda x: x[0] ** 2 - 3 * x[0] * x[1] + x[1])
    points, cells = points_in_cells(V.mesh, 50, np.random.default_rng(comm.rank))
    for layout in ("replicated", "blocks"):
        network = fe_relu.network_from_function(u, layout=layout)
        fe_relu.to_onnx(network, path, form=form)
        error = np.abs(run_file(path, points) - evaluated(u, points, cells)).max(initial=0)
        assert error <= network.error_bound + 1e-12
        comm.barrier()


def test_active_forms_cannot_be_trained(rng):
    network = p2_on("unit", (2, 2), "right", rng)
    with pytest.raises(ValueError, match='a P2Network cannot be trained; form="relu"'):
        fe_relu.to_torch(network, form="active", trainable="output")
    module = fe_relu.to_torch(network, form="active")
    assert torch.isnan(module(rows(np.array([[np.nan], [0.0]])))).all()
