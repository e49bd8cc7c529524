# SPDX-License-Identifier: MIT
"""Intervals, triangles and tetrahedra from DOLFINx: what is refused, and files of hostile meshes.

What holds for them as for grids is in the contract suite.
"""

import json

from mpi4py import MPI

import basix.ufl
import numpy as np
import pytest
import safetensors.numpy
from dolfinx import fem, mesh

import fe_relu
from fe_relu import Conversion, FileFormatError, Grid, P1Network, UnsupportedFunctionError
from fe_relu.meshes.simplices.mesh import SimplexMesh

WORLD = MPI.COMM_WORLD
SQUARE = [[0, 1, 1, 0, 0.4], [0, 0, 1, 1, 0.5]], [[0, 1, 2, 3], [1, 2, 3, 0], [4, 4, 4, 4]]


def domain(vertices, cells, name="triangle", gdim=None):
    """The mesh of points (n, gdim) and cells (m, corners), whose cells rank 0 brings."""
    gdim = gdim or len(vertices[0])
    element = basix.ufl.element("Lagrange", name, 1, shape=(gdim,))
    here = np.array(cells if WORLD.rank == 0 else np.empty((0, len(cells[0]))), np.int64)
    points = np.array(vertices if WORLD.rank == 0 else np.empty((0, gdim)), float)
    return mesh.create_mesh(WORLD, here, x=points, e=element)  # dolfinx 0.9 has another order


def test_a_grid_is_a_grid_unless_the_general_form_is_asked_for(comm):
    msh = mesh.create_unit_square(comm, 5, 4)
    V = fem.functionspace(msh, ("P", 1))
    u = fem.Function(V)
    u.interpolate(lambda x: np.sin(3 * x[0]) * x[1])
    u.x.scatter_forward()
    grid, general = (fe_relu.network_from_function(u, structured=s) for s in (True, False))
    assert isinstance(grid.mesh, Grid)
    assert isinstance(general.mesh, SimplexMesh)
    x = np.random.default_rng(comm.rank).random((2, 500))
    assert np.allclose(grid(x), general(x), rtol=0, atol=1e-14)
    for network in (grid, general):
        back, certificate = fe_relu.function_from_network(network, V)
        assert back.x.array.tobytes() == u.x.array.tobytes()
        assert certificate.exact


SLIT = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0], [1, 1]], [[0, 1, 2], [3, 4, 5]]
OVERLAP = [[0, 0], [1, 0], [0, 1], [0.9, 0.9]], [[0, 1, 2], [0, 1, 3]]
MANIFOLD = [[0, 0, 0], [1, 0, 0], [0, 1, 1]], [[0, 1, 2]]

REFUSED = {
    "slit": (SLIT, ("P", 1), {}, ValueError, "where another one is|in the place"),
    "overlapping": (OVERLAP, ("P", 1), {}, ValueError, "overlap"),
    "surface": (MANIFOLD, ("P", 1), {}, UnsupportedFunctionError, "gdim"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_mesh_is_refused_on_all_ranks(comm, case):
    (vertices, cells), element, options, error, words = REFUSED[case]
    V = fem.functionspace(domain(vertices, cells), element)
    with pytest.raises(error, match=words):
        Conversion(V, **options)


def test_what_grids_alone_have_is_refused_with_a_remedy(comm):
    msh = mesh.create_unit_square(comm, 3, 3)
    msh.geometry.x[:, 0] **= 2
    V = fem.functionspace(msh, ("P", 1))
    with pytest.raises(TypeError, match="the hierarchical basis needs a structured mesh"):
        fe_relu.hierarchical_from_function(fem.Function(V))


def test_tetrahedra_have_no_layers_and_say_so(comm):
    msh = mesh.create_unit_cube(comm, 2, 2, 2)
    msh.geometry.x[:, 0] **= 2
    u = fem.Function(fem.functionspace(msh, ("P", 1)))
    with pytest.raises(ValueError, match="no small explicit network"):
        fe_relu.network_from_function(u).explicit()


CREATED = {
    "intervals": lambda comm: mesh.create_interval(comm, 9, [-1.0, 2.0]),
    "triangles": lambda comm: mesh.create_rectangle(comm, [[-1, 0], [1, 1]], [7, 5]),
    "tetrahedra": lambda comm: mesh.create_unit_cube(comm, 3, 3, 2),
}


@pytest.mark.parametrize("layout", ["replicated", "blocks"])
@pytest.mark.parametrize("cells", CREATED)
def test_bounds_are_attained_or_enclose(comm, cells, layout):
    msh = CREATED[cells](comm)
    x = msh.geometry.x[:, : msh.geometry.dim]
    x += 0.03 * np.sin(4 * x.sum(axis=1, keepdims=True))
    u = fem.Function(fem.functionspace(msh, ("P", 1, (2,))))
    u.interpolate(lambda x: np.array([2 + np.sin(5 * x[0] + 2 * x[1]), x[1] - np.cos(4 * x[0])]))
    network = fe_relu.network_from_function(u, layout=layout, structured=False)
    alone, rng = network.gather(), np.random.default_rng(3)
    over_mesh = fe_relu.bounds(network)
    assert over_mesh.exact
    assert (over_mesh.lower == alone.values.min(axis=1)).all()
    assert (over_mesh.upper == alone.values.max(axis=1)).all()
    dim = network.dim_in
    for _ in range(10):
        box = np.sort(rng.uniform(-1.5, 2, (dim, 2)), axis=1)
        found = fe_relu.bounds(network, box)
        seen = alone(box[:, :1] + rng.random((dim, 100_000)) * np.diff(box, axis=1))
        assert found.exact == (dim < 3)
        assert (found.lower <= seen.min(axis=1) + 1e-12).all()
        assert (found.upper >= seen.max(axis=1) - 1e-12).all()
        if found.exact:  # what random points come near to
            assert (seen.min(axis=1) - found.lower < 0.3).all()
            assert (found.upper - seen.max(axis=1) < 0.3).all()


def test_a_file_holds_the_mesh_and_believes_none(tmp_path):
    network = P1Network(SimplexMesh(*SQUARE), np.arange(5.0))
    fe_relu.save(network, path := tmp_path / "u.safetensors")
    assert fe_relu.load(path).mesh == network.mesh
    arrays, described = safetensors.numpy.load_file(path), metadata_of(path)
    cells, vertices = arrays["mesh.cells"], arrays["mesh.vertices"]
    for name, broken in {
        "mesh.cells": (cells[:2], cells + 1, -cells, cells.astype(float), cells[:, :1], None),
        "mesh.vertices": (vertices[:1], np.full((2, 5), np.inf), 0 * vertices, vertices[0], None),
        "values": (np.arange(4.0), None),
    }.items():
        for array in broken:
            there = arrays | {name: array}
            held = {key: there[key] for key in there if there[key] is not None}
            safetensors.numpy.save_file(held, path, described)
            with pytest.raises(FileFormatError, match=r"u\.safetensors"):
                fe_relu.load(path)
    for dim in (1, "2", 3, None):
        facts = json.loads(described["network"]) | {"simplices": {"dim": dim}}
        safetensors.numpy.save_file(arrays, path, described | {"network": json.dumps(facts)})
        with pytest.raises(FileFormatError, match="no mesh of dimension"):
            fe_relu.load(path)


def metadata_of(path):
    with safetensors.safe_open(path, "np") as file:
        return file.metadata()
