# SPDX-License-Identifier: MIT
"""Function → network → function: equal everywhere, bit for bit at the nodes, on any partition."""

import basix.ufl
import numpy as np
import pytest
from dolfinx import fem, mesh

from cases import (
    BOXES,
    DIAGONALS,
    MAPS,
    SHAPES,
    bound,
    evaluated,
    mapped,
    on_first_rank,
    points_in_cells,
    random_function,
    rectangle,
)
from fe_relu import (
    NotStructuredError,
    UnsupportedFunctionError,
    function_from_network,
    network_from_function,
)


def same_everywhere(network, u, points, cells):
    """Checks the network against dolfinx's values at points of this rank."""
    exact = evaluated(u, points, cells)
    limit = bound(network.mesh, points, network.values, u.x.array.dtype)
    return bool((np.abs(network(points) - exact) <= limit).all())


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_network_equals_function(comm, rng, diagonal, shape, box):
    u = random_function(fem.functionspace(rectangle(comm, diagonal, shape, box), ("P", 1)), rng)
    points, cells = points_in_cells(u.function_space.mesh, 300, rng)
    assert same_everywhere(network_from_function(u), u, points, cells)


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_network_equals_function_at_a_hundred_thousand_points(comm, rng, diagonal):
    u = random_function(fem.functionspace(rectangle(comm, diagonal, (32, 24)), ("P", 1)), rng)
    points, cells = points_in_cells(u.function_space.mesh, 100_000, rng)
    network = network_from_function(u)
    assert same_everywhere(network, u, points, cells)
    some = points[:, ::50]
    explicit = network.gather().explicit()(some)
    assert (np.abs(explicit - network(some)) <= bound(network.mesh, some, network.values)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("image", MAPS)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_images_and_both_precisions(comm, rng, diagonal, image, dtype):
    msh = mapped(rectangle(comm, diagonal, (3, 5), dtype=dtype), MAPS[image])
    u = random_function(fem.functionspace(msh, ("P", 1)), rng)
    network = network_from_function(u)
    assert network.dtype == dtype
    assert same_everywhere(network, u, *points_in_cells(msh, 300, rng))
    back, certificate = function_from_network(network, u.function_space)
    assert back.x.array.tobytes() == u.x.array.tobytes()
    assert certificate.exact


@pytest.mark.parametrize("shape", [(2,), (3,), (2, 2)])
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_blocked_functions_share_hidden_layers(comm, rng, diagonal, shape):
    V = fem.functionspace(rectangle(comm, diagonal, (3, 5)), ("P", 1, shape))
    u = random_function(V, rng)
    network = network_from_function(u)
    explicit = network.gather().explicit()
    scalar = (
        network_from_function(random_function(fem.functionspace(V.mesh, ("P", 1)), rng))
        .gather()
        .explicit()
    )
    assert network.dim_out == explicit.dim_out == np.prod(shape)
    assert explicit.widths[:-1] == scalar.widths[:-1]
    assert same_everywhere(network, u, *points_in_cells(V.mesh, 300, rng))
    back, certificate = function_from_network(network, V)
    assert back.x.array.tobytes() == u.x.array.tobytes()
    assert certificate.exact


@pytest.mark.parametrize("ghosts", ["none", "shared_facet"])
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_back_on_another_partition(comm, rng, diagonal, ghosts):
    """All cells on one rank, ghosts or not: the nodal values are the same bits, −0.0 included."""
    spread = fem.functionspace(rectangle(comm, diagonal, (3, 5), ghosts=ghosts), ("P", 1))
    other = fem.functionspace(
        rectangle(comm, diagonal, (3, 5), partitioner=on_first_rank), ("P", 1)
    )
    seed = int(rng.integers(100))
    u, expected = (random_function(V, np.random.default_rng(seed)) for V in (spread, other))
    for function in (u, expected):
        function.x.array[function.x.array < 0] *= 0.0
    back, certificate = function_from_network(network_from_function(u), other)
    assert back.x.array.tobytes() == expected.x.array.tobytes()
    assert certificate.exact
    assert certificate.lower == 0


def test_interpolate_takes_the_network(comm, rng):
    u = random_function(fem.functionspace(rectangle(comm, "crossed"), ("P", 1, (2,))), rng)
    again = fem.Function(u.function_space)
    again.interpolate(network_from_function(u))
    assert np.abs(again.x.array - u.x.array).max(initial=0) < 1e-13


def test_update_follows_time_steps(comm, rng):
    V = fem.functionspace(rectangle(comm, "left", (4, 3)), ("P", 1))
    network = network_from_function(random_function(V, rng))
    for W in (V, V, fem.functionspace(V.mesh, ("P", 1))):
        later = random_function(W, rng)
        updated = network.update(later)
        assert updated.mesh is network.mesh
        assert updated.values.tobytes() == network_from_function(later).values.tobytes()
    hidden = [n.gather().explicit().layers[:2] for n in (network, updated)]
    for before, after in zip(*hidden, strict=True):
        assert (before.weight != after.weight).nnz == 0
        assert (before.bias == after.bias).all()


def test_update_refuses_a_wrong_argument_on_one_rank_on_all(comm, rng):
    u = random_function(fem.functionspace(rectangle(comm), ("P", 1)), rng)
    network = network_from_function(u)
    with pytest.raises(TypeError, match="not NoneType"):
        network.update(u if comm.rank < comm.size - 1 else None)


def test_rtol_holds_on_the_way_back(comm, rng):
    V = fem.functionspace(rectangle(comm, "right", (4, 4)), ("P", 1))
    V.mesh.geometry.x[:, :2] += 1e-4 * np.cos(1e3 * V.mesh.geometry.x[:, [1, 0]])
    u = random_function(V, rng)
    back, certificate = function_from_network(network_from_function(u, rtol=0.01), V, rtol=0.01)
    assert back.x.array.tobytes() == u.x.array.tobytes()
    assert not certificate.exact


def test_update_refuses_other_functions(comm, rng):
    msh = rectangle(comm)
    network = network_from_function(random_function(fem.functionspace(msh, ("P", 1)), rng))
    with pytest.raises(UnsupportedFunctionError, match="supported are"):
        network.update(fem.Function(fem.functionspace(msh, ("P", 3))))
    with pytest.raises(ValueError, match="the function is P2, but the network came from P1"):
        network.update(fem.Function(fem.functionspace(msh, ("P", 2))))
    with pytest.raises(ValueError, match="another mesh"):
        network.update(random_function(fem.functionspace(rectangle(comm), ("P", 1)), rng))
    with pytest.raises(ValueError, match=r"value shape \(2,\)"):
        network.update(fem.Function(fem.functionspace(msh, ("P", 1, (2,)))))
    with pytest.raises(TypeError, match=r"expected a dolfinx\.fem\.Function"):
        network.update(np.zeros(3))


ELEMENTS = {
    "P3": ("P", 3),
    "discontinuous": ("DG", 1),
    "constant": ("DG", 0),
    "blocked P3": ("P", 3, (2,)),
    "edge": ("N1curl", 1),
    "symmetric": ("P", 1, (2, 2), True),
    "discontinuous P2": ("DG", 2),
    "mixed": basix.ufl.mixed_element([basix.ufl.element("P", "triangle", 1)] * 2),
    "enriched": basix.ufl.enriched_element(
        [basix.ufl.element("P", "triangle", 1), basix.ufl.element("Bubble", "triangle", 3)]
    ),
}


@pytest.mark.parametrize("name", ELEMENTS)
def test_other_elements_are_refused(comm, name):
    V = fem.functionspace(rectangle(comm), ELEMENTS[name])
    with pytest.raises(UnsupportedFunctionError, match="supported are real P1 and P2 Lagrange"):
        network_from_function(fem.Function(V))
    with pytest.raises(UnsupportedFunctionError, match="supported are real P1 and P2 Lagrange"):
        function_from_network(lambda x: x[0], V)


def test_components_are_refused_until_collapsed(comm, rng):
    u = random_function(fem.functionspace(rectangle(comm), ("P", 1, (2,))), rng)
    with pytest.raises(UnsupportedFunctionError, match="collapse"):
        network_from_function(u.sub(0))
    alone = network_from_function(u.sub(0).collapse())
    assert alone.values.tolist() == network_from_function(u).values[0].tolist()


def test_other_functions_are_refused(comm):
    V = fem.functionspace(rectangle(comm), ("P", 1))
    with pytest.raises(UnsupportedFunctionError, match="complex128 values"):
        network_from_function(fem.Function(V, dtype=np.complex128))
    quads = mesh.create_unit_square(comm, 3, 3, mesh.CellType.quadrilateral)
    with pytest.raises(UnsupportedFunctionError, match="supported are"):
        network_from_function(fem.Function(fem.functionspace(quads, ("P", 1))))
    cube = mesh.create_unit_cube(comm, 2, 2, 2)
    with pytest.raises(NotStructuredError, match="tetrahedron"):
        network_from_function(fem.Function(fem.functionspace(cube, ("P", 1))))
    with pytest.raises(TypeError, match="not ndarray"):
        network_from_function(np.zeros(3))


def test_values_not_finite_on_one_rank_are_refused_on_all(comm):
    u = fem.Function(fem.functionspace(rectangle(comm), ("P", 1)))
    if comm.rank == comm.size - 1:
        u.x.array[0] = np.nan
    with pytest.raises(ValueError, match="1 of 25 nodal values are NaN or infinite"):
        network_from_function(u)


def test_spaces_that_do_not_fit_the_network_are_refused(comm, rng):
    msh = rectangle(comm)
    network = network_from_function(random_function(fem.functionspace(msh, ("P", 1)), rng))
    with pytest.raises(ValueError, match="to 1 outputs, but V needs 2 inputs and 2 outputs"):
        function_from_network(network, fem.functionspace(msh, ("P", 1, (2,))))
    cube = fem.functionspace(mesh.create_unit_cube(comm, 2, 2, 2), ("P", 1))
    with pytest.raises(UnsupportedFunctionError, match="tetrahedrons in 3-D"):
        function_from_network(network, cube)
    with pytest.raises(ValueError, match=r"returned values of shape"):
        function_from_network(lambda x: np.zeros((3, 7)), fem.functionspace(msh, ("P", 1)))
    with pytest.raises(ValueError, match="NaN or infinity"):
        function_from_network(lambda x: x[0] * np.nan, fem.functionspace(msh, ("P", 1)))
