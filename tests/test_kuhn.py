# SPDX-License-Identifier: MIT
"""Hats on Kuhn's tetrahedra, against the formula of the lattice and against the tetrahedra."""

from itertools import permutations

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import fem, mesh
from scipy import sparse

from fe_relu import Affine, P1Network, ReLUNetwork, load, network_from_function, save, to_onnx
from fe_relu.fenicsx import compat
from fe_relu.meshes.simplices.mesh import SimplexMesh
from fe_relu.meshes.stars import kuhn
from fe_relu.meshes.stars.box import STEPS, Box
from runtime import run_file

SHAPES = [(1, 1, 1), (3, 2, 4), (7, 7, 7)]
AXES = {
    "unit": np.eye(3),
    "flat": np.diag([0.3, 1e-3, 2.0]),
    "sheared": np.array([[0.5, 0.2, 0.1], [-0.3, 0.7, 0.2], [0.1, 0.0, -0.4]]),
}


def lattice_hat(xi):
    """1 − max(0, ξ, η, ζ) + min(0, ξ, η, ζ) where positive."""
    return np.maximum(0, 1 - np.maximum(0, xi.max(axis=0)) + np.minimum(0, xi.min(axis=0)))


def places(shape):
    i, j, k = np.meshgrid(*(np.arange(n + 1) for n in shape), indexing="ij")
    return np.array([a.swapaxes(0, 2).ravel() for a in (i, j, k)])


def network(shape, origin, axes, values, dtype, form):
    if form == "two":
        *layers, sums = kuhn.hidden_layers(shape, origin, axes, dtype)
        output = sparse.csr_array(values[None].astype(dtype)) @ sums
    else:
        layers = kuhn.three_hidden_layers(shape, origin, axes, dtype)
        output = values[None].astype(dtype)
    return ReLUNetwork((*layers, Affine(output, np.zeros(1, dtype))))


def test_the_formula_is_the_hat_of_the_tetrahedra(rng):
    """One at a corner of its tetrahedra, zero at the others, linear: by barycentric coordinates."""
    for order in permutations(range(3)):
        corners = np.zeros((3, 4))
        for step, axis in enumerate(order):
            corners[axis, step + 1 :] = 1
        weights = rng.dirichlet(np.ones(4), 20).T
        for corner in range(4):
            hat = lattice_hat(corners @ weights - corners[:, [corner]])
            assert hat == pytest.approx(weights[corner], abs=1e-14)


def test_dolfinx_cuts_boxes_so():
    msh = mesh.create_box(MPI.COMM_SELF, ((0, 0, 0), (2, 3, 4)), (2, 3, 4))
    corners = np.round(msh.geometry.x[compat.geometry_dofmap(msh)])
    steps = np.diff(
        np.take_along_axis(corners, corners.sum(axis=2).argsort()[..., None], 1), axis=1
    )
    assert len(corners) == 6 * 24
    assert (np.sort(steps, axis=2) == [0, 0, 1]).all()
    assert (steps.sum(axis=1) == 1).all()


@pytest.mark.parametrize("form", ["two", "three"])
def test_on_the_lattice_and_between_it_is_exact(form, rng):
    """Quarters are exact in floating point: inside, around and beyond, the same numbers."""
    for shape in SHAPES:
        at = places(shape)
        values = rng.integers(-8, 8, at.shape[1]).astype(float)
        x = rng.integers(-8, 4 * (np.array(shape)[:, None] + 2) + 1, (3, 300)) / 4
        expected = values @ lattice_hat(x[:, None] - at[..., None])
        u = network(shape, (0, 0, 0), np.eye(3), values, np.float64, form)
        assert (u(x) == expected).all()
        assert (u(at.astype(float)) == values).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
@pytest.mark.parametrize("form", ["two", "three"])
def test_affine_images_lose_few_digits(form, axes, dtype, rng):
    for shape, origin in ((SHAPES[1], (0, 0, 0)), (SHAPES[2], (1.0, -20, 3))):
        at = places(shape)
        values = rng.uniform(-1, 1, at.shape[1])
        lattice = np.hstack([at, rng.uniform(-2, np.array(shape)[:, None] + 2, (3, 300))])
        lattice = np.hstack([lattice, 1e4 * rng.standard_normal((3, 50))])
        x = (axes @ lattice + np.array(origin)[:, None]).astype(dtype)
        inverse = np.linalg.inv(axes)
        exact = inverse @ (x.astype(float) - np.array(origin)[:, None])
        expected = values @ lattice_hat(exact[:, None] - at[..., None])
        u = network(shape, origin, axes, values, np.dtype(dtype), form)
        assert u.dtype == dtype
        largest = np.abs(axes @ at + np.array(origin)[:, None]).max()
        unit = np.finfo(dtype).eps * largest * np.abs(inverse).sum(axis=1).max()
        assert np.abs(u(x) - expected).max() <= 8 * unit


def test_sizes():
    """Five neurons a vertex and O(n) planes in two layers; two and one a vertex in three."""
    for n in (4, 12):
        first, second, sums = kuhn.hidden_layers((n, n, n), (0, 0, 0), np.eye(3))
        assert second.dim_out == 5 * (n + 1) ** 3
        assert (np.diff(sums.indptr) == 5).all()
        assert np.diff(second.weight.indptr).max() == 8
        assert first.dim_out == 20 * n + 14
        first, second, last = kuhn.three_hidden_layers((n, n, n), (0, 0, 0), np.eye(3))
        assert last.dim_out == (n + 1) ** 3
        assert second.dim_out == 2 * (n + 1) ** 3 + 4 * n + 2
        assert first.dim_out == 8 * n + 6


# Recognised


def box_mesh(shape, origin, axes, rng):
    """The mesh of a box, its vertices, cells and corners in any order."""
    at = places(shape)
    cubes = places(np.array(shape) - 1)
    box = Box(np.array(origin, float), np.array(axes, float), shape)
    corners = (cubes[None, :, None] + STEPS[..., None]).transpose(1, 2, 0, 3).reshape(3, 4, -1)
    order = rng.permutation(at.shape[1])
    cells = rng.permuted(np.argsort(order)[box.numbers(corners)], axis=0)
    return SimplexMesh(box.at(at[:, order]), cells[:, rng.permutation(cells.shape[1])])


def steepest_hat(axes):
    """The largest slope of a hat: it falls by one over a step of one axis or over several."""
    inverse = np.linalg.inv(axes)
    rows = [inverse[i] for i in range(3)]
    rows += [inverse[i] - inverse[j] for i in range(3) for j in range(3) if i != j]
    return max(np.linalg.norm(row) for row in rows)


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
@pytest.mark.parametrize("shape", [*SHAPES, (1, 5, 1)])
def test_any_numbering_and_image_is_recognised_and_evaluates_as_its_layers(shape, axes, rng):
    """On all of space: inside, on the ring, on the ring's rim, far away."""
    for origin in ((0, 0, 0), (1.0, -20, 3)):
        msh = box_mesh(shape, origin, axes, rng)
        box, numbers = msh.box
        assert sorted(box.shape) == sorted(shape)
        assert sorted(numbers) == list(range(msh.num_vertices))
        network = P1Network(msh, rng.uniform(-1, 1, (2, msh.num_vertices)))
        ringed, cells, _ = msh.extended
        lattice = rng.uniform(-2, np.array(shape)[:, None] + 2, (3, 2000))
        inside = np.einsum(
            "dcm,cm->dm", ringed[:, cells], rng.dirichlet(np.ones(4), len(cells.T)).T
        )
        x = np.hstack([ringed, inside, axes @ lattice + np.array(origin)[:, None]])
        x = np.hstack([x, 1e3 * rng.standard_normal((3, 50))])
        size = np.abs(ringed).max()
        allowed = 8 * 2.0**-52 * size * steepest_hat(axes)
        explicit = network.explicit()
        assert explicit.widths[2] == 5 * msh.num_vertices
        assert np.abs(network(x) - explicit(x)).max() <= allowed
        assert (network(ringed[:, : msh.num_vertices]) == network.values).all()
        assert np.abs(network(ringed[:, msh.num_vertices :])).max() == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_ring_is_the_hats_support(shape, rng):
    """Its cells fill what the cubes around have of the hats' support, each once."""
    box = Box(np.zeros(3), np.eye(3), shape)
    ghosts, cells = box.ring()
    everywhere = np.hstack([places(shape), ghosts])
    corners = everywhere[:, cells]
    edges = (corners[:, 1:] - corners[:, :1]).transpose(2, 1, 0)
    volume = np.abs(np.linalg.det(edges)).sum() / 6
    x = rng.uniform(-1, np.array(shape)[:, None] + 1, (3, 20_000))
    mass = lattice_hat(x[:, None] - places(shape)[..., None]).sum(axis=0)
    outside = ((x < 0) | (x > np.array(shape)[:, None])).any(axis=0)
    whole = np.prod(np.array(shape) + 2)
    assert volume / whole == pytest.approx((outside & (mass > 0)).mean(), abs=0.02)
    assert (cells.min(axis=0) < box.num_vertices).all()
    names, renumbered = np.unique(cells, return_inverse=True)
    SimplexMesh(everywhere[:, names], renumbered.reshape(cells.shape))  # raises if any overlap


def test_what_is_nearly_a_box_is_none(rng):
    """A vertex moved, a cube missing, five tetrahedra in a cube, cubes that mirror each other."""
    whole = box_mesh((3, 2, 2), (0, 0, 0), np.eye(3), rng)
    moved = whole.vertices().copy()
    moved[0, 5] += 1e-9
    assert SimplexMesh(moved, whole.cells()).box is None
    cube = whole.vertices()[:, whole.cells()].mean(axis=1) < 1
    kept = whole.cells()[:, ~cube.all(axis=0)]
    names, cells = np.unique(kept, return_inverse=True)
    assert SimplexMesh(whole.vertices()[:, names], cells.reshape(kept.shape)).box is None
    five = [[0, 1, 2, 4], [3, 1, 2, 7], [5, 1, 4, 7], [6, 2, 4, 7], [1, 2, 4, 7]]
    at = places((1, 1, 1))
    assert SimplexMesh(at, np.array(five).T).box is None
    mirrored = STEPS.copy()
    mirrored[:, 0] = 2 - mirrored[:, 0]
    both = np.concatenate([STEPS, mirrored]).transpose(0, 2, 1)
    names, cells = np.unique(both.reshape(-1, 3), axis=0, return_inverse=True)
    assert SimplexMesh(names.T, cells.reshape(-1, 4).T).box is None


def test_vertices_off_by_the_roundoff_of_float32_have_layers_in_float32(comm, rng):
    msh = mesh.create_box(comm, ((0, 0, 0), (1, 1, 1)), (3, 3, 3), dtype=np.float32)
    u = fem.Function(fem.functionspace(msh, ("P", 1)), dtype=np.float32)
    u.interpolate(lambda x: np.sin(4 * x[0]) + x[1] * x[2])
    network = network_from_function(u)
    x = rng.uniform(-0.5, 1.5, (3, 500)).astype(np.float32)
    off = np.abs(network(x) - network.explicit()(x)).max()
    assert off < 64 * np.finfo(np.float32).eps
    wide = P1Network(network.mesh, network.values.astype(float))
    with pytest.raises(ValueError, match="float32"):
        wide.explicit()


@pytest.mark.parametrize("form", ["relu", "active"])
def test_files_of_boxes(comm, form, tmp_path, rng):
    msh = mesh.create_box(comm, ((0, -1, 0), (2, 1, 1)), (4, 3, 2))
    u = fem.Function(fem.functionspace(msh, ("P", 1)))
    u.interpolate(lambda x: np.cos(3 * x[0]) - x[1] * x[2])
    network = network_from_function(u, layout="replicated").whole()
    to_onnx(network, tmp_path / "u.onnx", form=form)
    x = rng.uniform(-2, 3, (3, 2000))
    assert np.abs(run_file(tmp_path / "u.onnx", x) - network(x)).max() < 1e-13
    save(network, tmp_path / "u.safetensors")
    back = load(tmp_path / "u.safetensors")
    assert (back(x) == network(x)).all()
    assert back.mesh.box[0].shape == network.mesh.box[0].shape
