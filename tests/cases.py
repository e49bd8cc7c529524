# SPDX-License-Identifier: MIT
"""Meshes and functions that many tests share, the same on any number of ranks."""

import itertools

import basix
import numpy as np
from dolfinx import fem, mesh

from fe_relu import function_from_network
from fe_relu.fenicsx import compat
from fe_relu.meshes.grid.grid import DIAGONALS as DIAGONALS

SHAPES = [(1, 1), (3, 5), (4, 4), (6, 3)]

#: Rectangles: ordinary, far away and flat.
BOXES = {
    "unit": ((0.0, 0.0), (1.0, 1.0)),
    "shifted": ((-2.0, 1.0), (1.0, 2.0)),
    "far and flat": ((1e6, -3.0), (1e6 + 1e-3, 40.0)),
}

#: Affine images of the plane.
MAPS = {
    "rotated": np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]),
    "sheared": np.array([[1.0, 0.7], [0.0, 1.0]]),
    "mirrored": np.array([[-1.0, 0.2], [0.1, 3.0]]),
    "turned by 90": np.array([[0.0, -1.0], [1.0, 0.0]]),
    "turned by 45": np.array([[1.0, -1.0], [1.0, 1.0]]),
}


#: Origin and axes of grids.
FRAMES = {
    "unit": ((0, 0), np.eye(2)),
    "flat": ((-2, 1), np.diag([1e-2, 40.0])),
    "rotated": ((0.3, -0.7), MAPS["rotated"] * [0.5, 3.0]),
    "sheared": ((5, 5), MAPS["sheared"] * [0.1, 0.2]),
    "mirrored": ((0.1, 0.2), MAPS["mirrored"]),
    "far": ((1e3, -2e3), 0.3 * MAPS["rotated"]),
}

FLOATS = ("f4", "f8")


def each(*tables):
    """Every combination of rows, printed: the last one printed is what a test failed at."""
    for case in itertools.product(*tables):
        print(*case)
        yield case


def rectangle(
    comm, diagonal="right", shape=(4, 4), box="unit", *, ghosts="shared_facet", **options
):
    return mesh.create_rectangle(
        comm,
        BOXES[box],
        shape,
        diagonal=mesh.DiagonalType[diagonal],
        ghost_mode=mesh.GhostMode[ghosts],
        **options,
    )


def mapped(msh, matrix):
    """The mesh moved by x ↦ matrix @ x, in place."""
    msh.geometry.x[:, :2] = msh.geometry.x[:, :2] @ matrix.T
    return msh


def on_first_rank(_comm, _nparts, kinds, cells):
    """A partitioner that leaves all other ranks without cells."""
    from dolfinx import graph

    corners = {"interval": 2, "triangle": 3, "quadrilateral": 4, "tetrahedron": 4}[kinds[0].name]
    destinations = graph.adjacencylist(np.zeros((len(cells[0]) // corners, 1), np.int32))
    return getattr(destinations, "_cpp_object", destinations)


def random_function(V, rng):
    """The same random P1 or P2 function on every partition of a mesh that dolfinx generates."""
    msh, bs = V.mesh, V.dofmap.index_map_bs
    values = rng.standard_normal((msh.geometry.index_map().size_global, bs))
    u = fem.Function(V, dtype=msh.geometry.x.dtype)
    nodal = values[msh.geometry.input_global_indices]
    cells, dofs, array = compat.geometry_dofmap(msh), V.dofmap.list, u.x.array.reshape(-1, bs)
    corners = cells.shape[1]
    array[dofs[:, :corners].ravel()] = nodal[cells].reshape(-1, bs)
    if V.ufl_element().degree == 2:
        factors = rng.standard_normal(values.shape)[msh.geometry.input_global_indices]
        edges = basix.topology(basix.CellType[msh.topology.cell_type.name])[1]
        for k, (a, b) in enumerate(edges):
            array[dofs[:, corners + k]] = factors[cells[:, a]] * factors[cells[:, b]]
    return u


def weights_in_cell(corners, count, rng):
    """Barycentric coordinates: random ones, then two corners, two points of edges, the middle."""
    one = np.eye(corners)
    edges = (one[0] + one[1]) / 2, (one[-2] + 5 * one[-1]) / 6
    return rng.dirichlet(np.ones(corners), count), np.array([one[0], one[-1], *edges, one.mean(0)])


def points_in_cells(msh, count, rng):
    """Random points, corners, edge points and centroids of this rank's cells, with the cells."""
    dim, cells = msh.geometry.dim, msh.topology.index_map(msh.topology.dim).size_local
    if cells == 0:
        return np.empty((dim, 0), msh.geometry.x.dtype), np.empty(0, np.int32)
    nodes = compat.geometry_dofmap(msh)
    anywhere, special = weights_in_cell(nodes.shape[1], count, rng)
    weights = np.concatenate([anywhere, np.repeat(special, cells, axis=0)])
    where = np.concatenate([rng.integers(0, cells, count), np.tile(np.arange(cells), len(special))])
    points = np.einsum("nv,nvd->dn", weights, msh.geometry.x[nodes[where]][:, :, :dim])
    return points.astype(msh.geometry.x.dtype), where.astype(np.int32)


def inside(mesh, weights):
    """Points of all cells by barycentric weights (n, corners)."""
    corners = mesh.vertices()[:, mesh.cells()]
    return np.einsum("wc,dcm->dwm", weights, corners).reshape(mesh.dim, -1)


def around(mesh, rng, count=300):
    """Points in the mesh and around, in a box three times its own."""
    low, high = (f(mesh.vertices(), axis=1, keepdims=True) for f in (np.min, np.max))
    return low + (high - low) * rng.uniform(-1, 2, (mesh.dim, count))


def beyond(mesh, rng, count=300):
    """Points away by six times to 10⁶ times the size of the mesh, where networks are zero."""
    vertices = mesh.vertices()
    middle = vertices.mean(axis=1, keepdims=True)
    size = np.linalg.norm(vertices - middle, axis=0).max()
    directions = rng.standard_normal((mesh.dim, count))
    far = size * (6 + 10 ** rng.uniform(-3, 6, count))
    return middle + far * directions / np.linalg.norm(directions, axis=0)


def everywhere(mesh, rng, count=300):
    """Vertices, points of edges and of cells, points around the mesh and far away."""
    weights = np.concatenate(weights_in_cell(len(mesh.cells()), 9, rng))
    some = np.hstack([inside(mesh, weights), around(mesh, rng, count), beyond(mesh, rng, count)])
    return np.hstack([mesh.vertices(), some[:, rng.permutation(some.shape[1])]])


def evaluated(u, points, cells):
    """dolfinx's own values, shape (k, n)."""
    padded = np.zeros((points.shape[1], 3), points.dtype)
    padded[:, : len(points)] = points.T
    return u.eval(padded, cells).reshape(points.shape[1], u.function_space.dofmap.index_map_bs).T


def sampled_error(network, u, rng, count=20_000):
    """The largest difference seen on any rank, from many points in every cell."""
    points, cells = points_in_cells(u.function_space.mesh, count, rng)
    values = network(points)
    seen = np.abs(values - evaluated(u, points, cells)).max(initial=0)
    return max(u.function_space.mesh.comm.allgather(float(seen)))


def certified(network, V, rng):
    """The certificate, checked against samples of the difference, and the largest of those."""
    u, certificate = function_from_network(network, V)
    seen = sampled_error(network, u, rng)
    assert certificate.lower <= certificate.upper
    assert seen <= certificate.upper
    assert len(set(V.mesh.comm.allgather(certificate))) == 1
    return certificate, seen


def bound(grid, points, values, dtype=np.float64):
    """What the network may be off: 32 eps (nx + ny) (1 + distance from the origin / extent) max|u|.

    Per point; extent is the least height of the parallelogram that the mesh is.
    """
    corners, sides = grid.corners, grid.axes * np.array(grid.shape)
    extent = abs(np.linalg.det(sides)) / np.linalg.norm(sides, axis=0).max()
    distance = np.maximum(np.abs(corners).max(), np.linalg.norm(points, axis=0))
    size = np.abs(values).max(initial=0)
    return 32 * np.finfo(dtype).eps * sum(grid.shape) * (1 + distance / extent) * size


def same_layers(one, other):
    """Whether two networks have the same layers, bit for bit."""
    return one.widths == other.widths and all(map(same_layer, one.layers, other.layers))


def same_layer(one, other):
    """Whether two affine maps, or two poolings, are the same, bit for bit."""
    if not (one.is_affine and other.is_affine):
        return one.kind == other.kind and np.array_equal(one.pairs, other.pairs)
    return (
        one.bias.dtype == other.bias.dtype
        and one.weight.toarray().tobytes() == other.weight.toarray().tobytes()
        and one.bias.tobytes() == other.bias.tobytes()
    )
