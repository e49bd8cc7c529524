# SPDX-License-Identifier: MIT
"""A network's own mesh in dolfinx: the function on it is the network, on any number of ranks."""

import numpy as np
import pytest
from test_regions import HEXAGON, SQUARE, random_network

import fe_relu
from fe_relu import Affine, Grid, P1Network, ReLUNetwork, linear_regions, mesh_from_network

from dolfinx import fem  # isort: skip
import ufl  # isort: skip


def integral_of(comm, form):
    return comm.allreduce(fem.assemble_scalar(fem.form(form)))


@pytest.mark.parametrize("widths", [(2, 9, 7, 1), (2, 6, 5, 4, 2), (1, 9, 7, 1), (1, 5, 3)])
def test_the_function_is_the_network(comm, widths):
    network = random_network(widths, 1)
    domain = SQUARE if widths[0] == 2 else (-1, 2)
    mesh, u = mesh_from_network(network, comm, domain)
    regions = linear_regions(network, domain)
    dim = widths[0]
    cells = mesh.topology.index_map(dim).size_global
    assert cells == regions.mesh().num_cells
    V = u.function_space
    assert V.dofmap.index_map.size_global == regions.num_vertices
    x = V.tabulate_dof_coordinates()
    values = np.atleast_2d(network(x.T)).T.ravel()
    assert abs(u.x.array - values).max(initial=0) <= 1e-13
    volume = integral_of(comm, fem.Constant(mesh, 1.0) * ufl.dx)
    assert abs(volume - (4 if dim == 2 else 3)) < 1e-12
    # Inside the cells as well: at the points of a quadrature rule that is not exact by chance.
    Q = fem.functionspace(mesh, ("DG", 3, (widths[-1],)) if widths[-1] > 1 else ("DG", 3))
    exact, w = fem.Function(Q), fem.Function(Q)
    exact.interpolate(network)
    w.interpolate(u)
    assert abs(exact.x.array - w.x.array).max(initial=0) <= 1e-13


def test_back_again_it_is_the_same_network(comm):
    network = random_network((2, 8, 5, 1), 4)
    _, u = mesh_from_network(network, comm, HEXAGON)
    back = fe_relu.network_from_function(u)
    x = np.random.default_rng(comm.rank).uniform(-0.5, 0.5, (2, 200))
    assert abs(back(x) - network(x)).max() <= 1e-13


def test_a_p1_network_gives_its_own_mesh(comm):
    grid = Grid((0, 0), np.eye(2), (3, 2), "right")
    network = P1Network(grid, np.random.default_rng(0).standard_normal(12))
    mesh, u = mesh_from_network(network, comm, ((0, 3), (0, 2)), minimal=True)
    assert mesh.topology.index_map(2).size_global == 12
    values = np.sort(np.concatenate(comm.allgather(u.x.array[: u.x.index_map.size_local])))
    np.testing.assert_allclose(values, np.sort(network.values), atol=1e-14)


def test_what_rank_0_refuses_all_ranks_refuse(comm):
    network = random_network((2, 8, 1), 0)
    with pytest.raises(ValueError, match="lower < upper"):
        mesh_from_network(network, comm, ((0, 0), (0, 1)))
    with pytest.raises(ValueError, match="more than 3 regions"):
        mesh_from_network(network, comm, SQUARE, max_regions=3)
    with pytest.raises(TypeError, match="not a ReLUNetwork"):
        mesh_from_network(np.sin, comm, SQUARE)
    if comm.size > 1:
        line = ReLUNetwork((Affine([[1.0, 1]], [0.0]),))
        hat = P1Network(Grid((0, 0), np.eye(2), (1, 1), "left"), np.ones(4))
        with pytest.raises(TypeError, match="kinds of network"):
            mesh_from_network(line if comm.rank else hat, comm, SQUARE)
