# SPDX-License-Identifier: MIT
"""Hats on Kuhn's tetrahedra, against the formula of the lattice and against the tetrahedra."""

from itertools import permutations

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import mesh
from scipy import sparse

from fe_relu import Affine, ReLUNetwork
from fe_relu.fenicsx import compat
from fe_relu.meshes.stars import kuhn

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
