# SPDX-License-Identifier: MIT
"""Surrogates in files and modules: the sum of the P1 functions of their levels."""

import numpy as np
import pytest
from dolfinx import fem

import fe_relu
from cases import evaluated, points_in_cells, random_function, rectangle
from fe_relu.hierarchy.transform import hierarchical_from_function, hierarchical_from_network
from fe_relu.hierarchy.nested import NESTING
from runtime import run_file
from test_p1 import at, everywhere, network_on


@pytest.mark.parametrize("diagonal", NESTING)
def test_surrogates_are_exported_as_they_are_everywhere(tmp_path, diagonal, rng):
    for outputs in [(), (2,)]:
        network = network_on("rotated", (8, 12), diagonal, rng, outputs=outputs)
        whole = hierarchical_from_network(network)
        for surrogate in (whole.truncate(levels=2), whole.compress(max_neurons=60)):
            x = at(network.mesh, everywhere((8, 12), rng))
            expected = np.atleast_2d(surrogate(x))
            for form in ("relu", "active"):
                fe_relu.to_onnx(surrogate, tmp_path / "u.onnx", form=form)
                assert np.abs(run_file(tmp_path / "u.onnx", x) - expected).max() <= 1e-12
            for options in ({}, {"sparse": True}, {"form": "active", "trainable": "output"}):
                import torch

                module = fe_relu.to_torch(surrogate, **options)
                values = module(torch.from_numpy(x.T.copy())).detach().numpy().T
                assert np.abs(values - expected).max() <= 1e-12
                again = np.atleast_2d(fe_relu.from_torch(module)(x))
                assert np.abs(again - expected).max() <= 1e-12


@pytest.mark.parametrize("form", ["relu", "active"])
def test_surrogates_of_all_coefficients_are_the_function(comm, tmp_path, form, rng):
    path = comm.bcast(tmp_path) / "u.onnx"
    msh = rectangle(comm, "crossed", (4, 8))
    u = random_function(fem.functionspace(msh, ("P", 1)), rng)
    points, cells = points_in_cells(msh, 50, np.random.default_rng(comm.rank))
    for layout in ("replicated", "blocks"):
        surrogate = hierarchical_from_function(u, layout=layout).truncate(levels=2)
        fe_relu.to_onnx(surrogate, path, form=form)
        expected = evaluated(u, points, cells)
        assert np.abs(run_file(path, points) - expected).max(initial=0) <= 1e-12 * 10
        comm.barrier()
