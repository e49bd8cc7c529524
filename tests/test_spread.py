# SPDX-License-Identifier: MIT
"""Meshes that no rank holds whole: shapes beyond those of the contract suite, and who is asked."""

from mpi4py import MPI

import basix.ufl
import numpy as np
import pytest
from dolfinx import fem, mesh

import fe_relu
from fe_relu.fenicsx.compat import geometry_dofmap
from fe_relu.meshes.simplices.sharing.directory import Directory, Frame, entries


def bent(msh):
    x = msh.geometry.x[:, : msh.geometry.dim]
    x += 0.04 * np.sin(5 * x.sum(axis=1, keepdims=True))
    return msh


def with_hole(comm):
    """A frame around a hole, and an island in it."""
    msh = bent(mesh.create_rectangle(comm, [[0, -1], [2, 0.5]], [19, 17]))
    away = lambda x: np.maximum(np.abs(x[0] - 1), np.abs(x[1] + 0.2))  # noqa: E731
    cells = mesh.locate_entities(msh, 2, lambda x: (away(x) > 0.45) | (away(x) < 0.2))
    return mesh.create_submesh(msh, 2, cells)[0]


def graded(comm):
    msh = mesh.create_unit_square(comm, 12, 12)
    msh.geometry.x[:, :2] **= 7  # cells from 1e-8 to 0.5
    return msh


def far_away(comm):
    msh = bent(mesh.create_unit_cube(comm, 4, 3, 5))
    msh.geometry.x[:] += 1e4
    return msh


SHAPES = {"hole": with_hole, "graded": graded, "far away": far_away}


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_shares_say_the_bits_of_the_whole(comm, shape, degree):
    msh = SHAPES[shape](comm)
    V = fem.functionspace(msh, ("P", degree))
    u = fem.Function(V)
    u.interpolate(lambda x: np.sin(7 * x[0] + 3 * x[1] + x[2]))
    u.x.scatter_forward()
    whole, spread = (
        fe_relu.network_from_function(u, layout=layout, structured=False)
        for layout in ("replicated", "blocks")
    )
    assert spread.layout.is_spread == (comm.size > 1)
    vertices, cells = whole.mesh.vertices(), whole.mesh.cells()
    low, high = vertices.min(axis=1)[:, None], vertices.max(axis=1)[:, None]
    rng = np.random.default_rng(comm.rank)
    anywhere = low + (1.4 * rng.random((len(low), 2000)) - 0.2) * (high - low)
    middles = [vertices[:, cells[:k]].mean(axis=1) for k in range(1, len(cells) + 1)]
    x = np.hstack([anywhere, *middles, *(middle * (1 + 2e-16) for middle in middles)])
    for points in (x, x.astype(np.float32)):
        for outside in ("extend", "nan"):
            assert spread(points, outside=outside).tobytes() == (
                whole(points, outside=outside).tobytes()
            )
        assert spread.gradient(points).tobytes() == whole.gradient(points).tobytes()
        assert spread.plan(points)(spread).tobytes() == whole(points).tobytes()
    assert (spread.gather().values == whole.values).all()
    back, certificate = fe_relu.function_from_network(spread, V)
    assert (back.x.array == u.x.array).all()
    assert certificate.exact or degree == 2
    assert certificate.upper == pytest.approx(spread.error_bound, abs=1e-4 * spread.size)


def test_dofs_of_edges_that_no_own_cell_has_are_not_lost(comm):
    """On a part of a mesh a rank may own dofs in a ghost cell that touches none of its cells."""
    msh = with_hole(comm)
    V = fem.functionspace(msh, ("P", 2))
    u = fem.Function(V)
    u.x.array[:] = 1
    network = fe_relu.network_from_function(u, layout="blocks", structured=False)
    assert network.size == 1
    assert (network.gather().values == 1).all()


def test_cells_without_volume_are_refused_on_all_ranks(comm):
    msh = mesh.create_unit_square(comm, 6, 6)
    msh.geometry.x[msh.geometry.x[:, 0] > 0.9, 0] = 5 / 6
    with pytest.raises(ValueError, match=r"degenerate|in the place"):
        fe_relu.Conversion(fem.functionspace(msh, ("P", 1)), layout="blocks")


@pytest.mark.parametrize("dim", [2, 3])
def test_vertices_in_one_place_are_refused_whoever_has_them(comm, dim):
    """Two squares or cubes side by side that share no vertex, on ranks of their own if need be."""
    one = mesh.create_unit_square if dim == 2 else mesh.create_unit_cube
    cube = one(MPI.COMM_SELF, *(2,) * dim)
    x, cells = cube.geometry.x[:, :dim], geometry_dofmap(cube)
    points = np.concatenate([x, x + np.eye(dim)[0]])
    both = np.concatenate([cells, cells + len(x)]).astype(np.int64)
    here = slice(None) if comm.rank == 0 else slice(0)
    element = basix.ufl.element("Lagrange", cube.basix_cell(), 1, shape=(dim,))
    msh = mesh.create_mesh(comm, both[here], x=points[here], e=element)
    V = fem.functionspace(msh, ("P", 1))
    with pytest.raises(ValueError, match=r"place of another|slit"):
        fe_relu.Conversion(V, layout="blocks", structured=False)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_directory_is_small_and_misses_nobody(rng, dim):
    ranks, count = 50, 40
    corners = rng.random((dim, 1, ranks)) ** 3 + 0.05 * rng.random((dim, count * (dim + 1), ranks))
    vertices = corners.transpose(0, 2, 1).reshape(dim, -1)
    cells = np.arange(vertices.shape[1]).reshape(dim + 1, -1, order="F")
    owner = np.arange(ranks).repeat(count)
    frame = Frame.of(vertices.min(axis=1), vertices.max(axis=1), ranks)
    told = [entries(frame, vertices, cells[:, owner == rank], 1e-9) for rank in range(ranks)]
    lengths = [numbers.size for numbers, _ in told]
    directory = Directory.of(
        frame,
        np.concatenate([numbers for numbers, _ in told]),
        np.arange(ranks).repeat(lengths),
        np.concatenate([boxes for _, boxes in told], axis=2),
    )
    assert frame.shape.prod() <= 4096
    weights = rng.dirichlet(np.ones(dim + 1), cells.shape[1])
    x = np.einsum("dcm,mc->dm", vertices[:, cells], weights)
    every = np.arange(x.shape[1])
    positions, found = directory.candidates(x, every, 1e-9, -1)
    asked = set(zip(positions.tolist(), found.tolist(), strict=True))
    assert all((k, owner[k]) in asked for k in every)
    assert len(asked) < ranks / 2 * every.size
    positions, found = directory.candidates(x, every, 1e-9, 7)
    assert 7 not in found
    none, _ = directory.candidates(x + 10, every, 1e-9, -1)
    assert none.size == 0
