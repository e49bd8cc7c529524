# SPDX-License-Identifier: MIT
"""Errors of interpolation and projection, exact: against samples, quadrature, and closed forms."""

import numpy as np
import pytest
from test_regions import random_network

import fe_relu
from fe_relu import Affine, Grid, P1Network, ReLUNetwork, function_from_network, project

import ufl  # isort: skip
from dolfinx import fem, mesh  # isort: skip


def spaces(comm, outputs=()):
    """P1 and P2 on triangles and intervals."""
    shape = (outputs,) if outputs else ()
    square = mesh.create_rectangle(
        comm, [[-1, -1], [1, 1]], (5, 4), diagonal=mesh.DiagonalType.left
    )
    line = mesh.create_interval(comm, 7, [-1, 1])
    for msh in (square, line):
        for degree in (1, 2):
            yield fem.functionspace(msh, ("P", degree, shape) if shape else ("P", degree))


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_certificate_is_the_error(comm, outputs):
    for V in spaces(comm, outputs if outputs > 1 else 0):
        dim = V.mesh.geometry.dim
        network = random_network((dim, 9, 6, outputs), 3)
        u, found = function_from_network(network, V, exact=True)
        _, bounds = function_from_network(network, V)
        assert bounds.lower <= found.upper
        assert found.lower <= bounds.upper
        assert not found.exact
        assert 0 < found.upper - found.lower < 1e-12
        # The second road: the network's own mesh, on which it is P1, and many samples.
        rng = np.random.default_rng(0)
        x = rng.uniform(-1, 1, (dim, 30_000))
        sampled = np.abs(network(x) - fe_relu.network_from_function(u).gather()(x)).max()
        if u.function_space.element.basix_element.degree == 1:
            assert sampled <= found.upper
            assert sampled > 0.9 * found.upper
        fine = fe_relu.norm(network, "L2", ((-1, 1),) * dim)
        zero = fem.Function(V)
        zero.x.array[:] = 0.0
        alone = fe_relu.fenicsx.refinement.exact_certificate(network, zero)
        assert abs(alone.l2_error - fine) < 1e-11
        assert abs(alone.h1_error - fe_relu.norm(network, "H1", ((-1, 1),) * dim)) < 1e-10


def test_errors_of_a_kink_are_those_of_a_closed_form(comm):
    """|x − y| on a mesh whose edges meet its kink, and on one whose edges cross it."""
    kink = ReLUNetwork((Affine([[1.0, -1], [-1, 1]], [0, 0]), Affine([[1.0, 1]], [0])))
    msh = mesh.create_rectangle(comm, [[-1, -1], [1, 1]], (4, 4), diagonal=mesh.DiagonalType.right)
    left = mesh.create_rectangle(comm, [[-1, -1], [1, 1]], (4, 4), diagonal=mesh.DiagonalType.left)
    _, same = function_from_network(kink, fem.functionspace(msh, ("P", 1)), exact=True)
    assert same.exact
    assert same.upper < 1e-13
    _, found = function_from_network(kink, fem.functionspace(left, ("P", 1)), exact=True)
    # In 4 of 16 squares the diagonal crosses the kink: there the error is a hat of height 1/2.
    assert abs(found.upper - 0.5) < 1e-13
    assert abs(found.l2_error - np.sqrt(4 * (1 / 4) * (1 / 4) / 6)) < 1e-13


def test_projections_are_orthogonal_and_best(comm):
    for V in spaces(comm):
        dim = V.mesh.geometry.dim
        network = random_network((dim, 9, 6, 1), 4)
        best = project(network, V)
        u, found = function_from_network(network, V, exact=True)
        error = fe_relu.fenicsx.refinement.exact_certificate(network, best)
        assert error.l2_error < found.l2_error
        # Pythagoras: ‖f‖² = ‖Pf‖² + ‖f − Pf‖², and for any v in V ‖f − v‖² = ‖f − Pf‖² + ‖Pf − v‖².
        square = comm.allreduce(fem.assemble_scalar(fem.form(best * best * ufl.dx)))
        whole = fe_relu.norm(network, "L2", ((-1, 1),) * dim) ** 2
        assert abs(whole - square - error.l2_error**2) < 1e-11
        apart = comm.allreduce(fem.assemble_scalar(fem.form((best - u) ** 2 * ufl.dx)))
        assert abs(found.l2_error**2 - error.l2_error**2 - apart) < 1e-11


def test_what_is_in_the_space_is_its_own_projection(comm):
    msh = mesh.create_unit_square(comm, 3, 4)
    V = fem.functionspace(msh, ("P", 1, (2,)))
    u = fem.Function(V)
    u.interpolate(lambda x: np.stack([np.sin(3 * x[0]), x[0] * x[1]]))
    network = fe_relu.network_from_function(u)
    again = project(network, V)
    assert abs(again.x.array - u.x.array).max(initial=0) < 1e-11
    _, found = function_from_network(network, V, exact=True)
    assert found.exact
    assert found.l2_error < 1e-12


def test_networks_without_layers_are_refused_on_all_ranks(comm):
    V = fem.functionspace(mesh.create_unit_square(comm, 2, 2), ("P", 1))
    with pytest.raises(TypeError, match="not a ReLUNetwork"):
        function_from_network(lambda x: x[0], V, exact=True)
    with pytest.raises(ValueError, match="outputs"):
        project(random_network((2, 3, 2), 0), V)
    with pytest.raises(ValueError, match="max_regions"):
        project(random_network((2, 30, 1), 0), V, max_regions=1 + comm.rank)
    cube = fem.functionspace(mesh.create_unit_cube(comm, 2, 2, 2), ("P", 1))
    with pytest.raises(ValueError, match="3 inputs"):
        project(random_network((3, 3, 1), 0), cube)


def test_on_ranks_without_cells(comm):
    """Two triangles for any number of ranks."""
    V = fem.functionspace(mesh.create_unit_square(comm, 1, 1), ("P", 1))
    network = P1Network(Grid((0, 0), np.eye(2), (1, 1), "left"), np.array([0.0, 1, 1, 4]))
    _, found = function_from_network(network, V, exact=True)
    assert abs(found.upper - 1.0) < 1e-13
    project(network, V)


def test_complex_functions_part_by_part(comm):
    """Certificate and projection are those of the real and of the imaginary part."""
    V = fem.functionspace(mesh.create_unit_square(comm, 4, 5), ("P", 1))
    W = fem.functionspace(mesh.create_unit_square(comm, 7, 3), ("P", 1))
    u = fem.Function(V, dtype=np.complex128)
    u.interpolate(lambda x: x[0] ** 2 + 1j * np.sin(3 * x[1]) * x[0])
    network = fe_relu.network_from_function(u)
    whole = network.gather()
    parts = [P1Network(whole.mesh, values) for values in whole.values]
    _, certificate = function_from_network(network, W, exact=True)
    found = [function_from_network(part, W, exact=True)[1] for part in parts]
    assert np.isclose(certificate.upper, max(each.upper for each in found), atol=1e-12)
    assert np.isclose(certificate.l2_error, np.hypot(*(each.l2_error for each in found)))
    nearest = project(network, W).x.array
    assert nearest.dtype == np.complex128
    assert np.abs(nearest.real - project(parts[0], W).x.array).max() < 1e-12
    assert np.abs(nearest.imag - project(parts[1], W).x.array).max() < 1e-12
    again = project(network, V)
    assert np.abs(again.x.array - u.x.array).max() < 1e-10
