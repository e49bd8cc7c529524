# SPDX-License-Identifier: MIT
"""What is special about dolfinx: elements, spaces and functions that are taken or refused."""

import basix.ufl
import numpy as np
import pytest
from dolfinx import fem, mesh

import fe_relu
from cases import each, random_function, rectangle
from fe_relu import (
    Conversion,
    NotStructuredError,
    UnsupportedFunctionError,
    function_from_network,
    grid_from_mesh,
    interpolation_plan,
    network_from_function,
)


def test_vertices_off_the_lattice_come_back_too(comm, rng):
    """As far as rtol allows, which the way back knows from the network."""
    msh = rectangle(comm, "right", (4, 4))
    msh.geometry.x[:, :2] += 1e-4 * np.cos(1e3 * msh.geometry.x[:, [1, 0]])
    for degree, options in each((1, 2), ({}, {"rtol": 0.01})):
        u = random_function(fem.functionspace(msh, ("P", degree)), rng)
        network = network_from_function(u, rtol=0.01)
        back, certificate = function_from_network(network, u.function_space, **options)
        assert back.x.array.tobytes() == u.x.array.tobytes()
        assert not certificate.exact
        with pytest.raises(NotStructuredError):
            grid_from_mesh(msh)


#: Elements, and the fact that is told of each.
ELEMENTS = {
    "P3": (("P", 3), "not values at vertices"),
    "discontinuous": (("DG", 1), "not values at vertices"),
    "constant": (("DG", 0), "not values at vertices"),
    "blocked P3": (("P", 3, (2,)), "not values at vertices"),
    "edge": (("N1curl", 1), "not values at vertices"),
    "symmetric": (("P", 1, (2, 2), True), "symmetric tensors"),
    "discontinuous P2": (("DG", 2), "not values at vertices"),
    "mixed": (basix.ufl.mixed_element([basix.ufl.element("P", "triangle", 1)] * 2), "collapse()"),
    "enriched": (
        basix.ufl.enriched_element(
            [basix.ufl.element("P", "triangle", 1), basix.ufl.element("Bubble", "triangle", 3)]
        ),
        "not values at vertices",
    ),
}


def test_other_elements_are_refused(comm):
    msh = rectangle(comm)
    for (name,) in each(ELEMENTS):
        element, fact = ELEMENTS[name]
        V = fem.functionspace(msh, element)
        calls = (
            (Conversion, V),
            (network_from_function, fem.Function(V)),
            (function_from_network, lambda x: x[0], V),
        )
        for call, *arguments in calls:
            with pytest.raises(UnsupportedFunctionError, match="not supported") as caught:
                call(*arguments)
            assert fact in str(caught.value)


def test_components_are_refused_until_collapsed(comm, rng):
    u = random_function(fem.functionspace(rectangle(comm), ("P", 1, (2,))), rng)
    with pytest.raises(UnsupportedFunctionError, match="collapse"):
        network_from_function(u.sub(0))
    alone = network_from_function(u.sub(0).collapse())
    assert alone.values.tolist() == network_from_function(u).values[0].tolist()


def test_other_functions_are_refused(comm):
    V = fem.functionspace(rectangle(comm), ("P", 1))
    with pytest.raises(UnsupportedFunctionError, match="complex128 values"):
        fe_relu.hierarchical_from_function(fem.Function(V, dtype=np.complex128))
    cubes = mesh.create_unit_cube(comm, 2, 2, 2, mesh.CellType.hexahedron)
    with pytest.raises(UnsupportedFunctionError, match="hexahedrons are not supported"):
        network_from_function(fem.Function(fem.functionspace(cubes, ("P", 1))))
    with pytest.raises(TypeError, match="not ndarray"):
        network_from_function(np.zeros(3))


def test_values_not_finite_on_one_rank_are_refused_on_all(comm):
    msh = rectangle(comm)
    for degree, layout in each((1, 2), ("blocks", "replicated")):
        u = fem.Function(fem.functionspace(msh, ("P", degree)))
        if comm.rank == comm.size - 1:
            u.x.array[0] = np.nan
        total = {1: 25, 2: 81}[degree]
        total = r"\d+" if layout == "blocks" else total
        with pytest.raises(ValueError, match=f" of {total} nodal values are NaN or infinite"):
            network_from_function(u, layout=layout)


def test_options_and_functions_that_do_not_fit_are_refused(comm, rng):
    msh = rectangle(comm)
    V = fem.functionspace(msh, ("P", 1))
    for layout in ("sharded", None, 1):
        with pytest.raises(ValueError, match='layout must be "auto", "blocks" or "replicated"'):
            Conversion(V, layout=layout)
    for rtol in (-1e-3, 0.2, np.nan):
        with pytest.raises(ValueError, match=f"rtol must be between 0 and 0.1, not {rtol}"):
            Conversion(V, rtol=rtol)
    conversion = Conversion(V)
    for other in (fem.functionspace(msh, ("P", 2)), fem.functionspace(rectangle(comm), ("P", 1))):
        with pytest.raises(ValueError, match=r"another space .* Conversion\(u\.function_space\)"):
            conversion(fem.Function(other))
    with pytest.raises(TypeError, match=r"expected a dolfinx\.fem\.Function, not ndarray"):
        conversion(np.zeros(3))
    with pytest.raises(TypeError, match=r"expected a dolfinx\.fem\.FunctionSpace, not Mesh"):
        Conversion(msh)


def test_spaces_that_do_not_fit_the_network_are_refused(comm, rng):
    msh = rectangle(comm)
    V, W = (fem.functionspace(msh, ("P", 1, shape)) for shape in ((), (2,)))
    network = network_from_function(random_function(V, rng))
    for take in (function_from_network, interpolation_plan):
        with pytest.raises(ValueError, match="to 1 outputs, but V needs 2 inputs and 2 outputs"):
            take(network, W)
    cube = fem.functionspace(mesh.create_unit_cube(comm, 2, 2, 2), ("P", 1))
    with pytest.raises(ValueError, match=r"tetrahedrons is not supported|V needs 3 inputs"):
        function_from_network(network, cube)
    with pytest.raises(UnsupportedFunctionError, match="values at points"):
        interpolation_plan(network, fem.functionspace(msh, ("Bubble", 3)))
    with pytest.raises(ValueError, match="another space"):
        interpolation_plan(network, V)(network, fem.Function(W))
    with pytest.raises(ValueError, match=r"returned values of shape"):
        function_from_network(lambda x: np.zeros((3, 7)), V)
    with pytest.raises(ValueError, match="NaN or infinity"):
        function_from_network(lambda x: x[0] * np.nan, V)
    for values, what in (
        (lambda x: 1j * x[0], "complex128"),
        (lambda x: np.ma.masked_array(x[0]), "masked"),
    ):
        with pytest.raises(TypeError, match=f"returned .*{what}"):
            function_from_network(lambda x, values=values: values(x), V)
