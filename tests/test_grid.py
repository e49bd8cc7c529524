# SPDX-License-Identifier: MIT
"""Grids: numbering as in create_rectangle, what is refused, what is inside, which are the same."""

import itertools
from dataclasses import FrozenInstanceError

from mpi4py import MPI

import numpy as np
import pytest

from cases import BOXES, DIAGONALS, FLOATS, FRAMES, SHAPES, each, rectangle
from fe_relu import Grid
from fe_relu.fenicsx import compat


def grid_with(origin=(0, 0), axes=((1, 0), (0, 1)), shape=(3, 5), diagonal="right", slack=0.0):
    return Grid(origin, axes, shape, diagonal, slack)


def on_edges(grid, rng, count=50):
    """Points on the four sides, corners included, as far as roundoff lets them."""
    nx, ny = grid.shape
    t = np.concatenate([[0, 1], rng.random(count)])
    zero, one = 0 * t, 1 + 0 * t
    sides = np.hstack([[t, zero], [t, one], [zero, t], [one, t]]) * [[nx], [ny]]
    return grid.origin[:, None] + grid.axes @ sides


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_vertices_and_cells_are_those_of_create_rectangle(diagonal):
    for shape, box in each(SHAPES, BOXES):
        msh = rectangle(MPI.COMM_SELF, diagonal, shape, box)
        low, high = np.array(BOXES[box])
        grid = Grid(low, np.diag((high - low) / shape), shape, diagonal)
        numbers = msh.geometry.input_global_indices
        assert grid.num_vertices == len(numbers)
        apart = np.abs(grid.vertices()[:, numbers] - msh.geometry.x.T[:2]).max(axis=1)
        assert (apart <= 4 * np.finfo(float).eps * np.abs([low, high]).max(axis=0)).all()
        assert grid.num_cells == msh.topology.index_map(2).size_local
        cells, theirs = grid.cells(), numbers[compat.geometry_dofmap(msh)].T
        assert set(map(frozenset, cells.T)) == set(map(frozenset, theirs.T))
        assert cells.shape == theirs.shape
        for a, b in itertools.combinations_with_replacement(range(3), 2):
            middles = grid.refined(2).vertices()[:, grid.midpoints(cells[a], cells[b])]
            exact = grid.vertices()[:, cells[[a, b]]].mean(axis=1)
            assert np.allclose(middles, exact, rtol=1e-15, atol=0.1 * np.abs(grid.axes).min())


def test_axes_are_the_steps_between_neighbours():
    for frame, diagonal in each(FRAMES, ("left", "crossed")):
        grid = Grid(*FRAMES[frame], (3, 5), diagonal)
        slack = 1e-13 * np.abs(grid.corners).max()
        lattice = grid.vertices()[:, :24].reshape(2, 6, 4)
        for axis in (0, 1):
            steps = np.diff(lattice, axis=2 - axis)
            assert (np.abs(steps - grid.axes[:, axis, None, None]) <= slack).all()
        assert lattice[:, [0, 0, -1, -1], [0, -1, -1, 0]] == pytest.approx(grid.outline, abs=slack)
        there = grid.to_lattice(grid.vertices())
        assert there == pytest.approx(grid.lattice_positions(), abs=grid.resolution())


def test_the_closed_domain_is_contained_and_nothing_else(rng):
    for frame, dtype, slack in each(FRAMES, FLOATS, (0.0, 0.01)):
        grid = Grid(*FRAMES[frame], (3, 5), "crossed", slack)
        assert grid.contains(grid.vertices().astype(dtype)).all()
        assert grid.contains(on_edges(grid, rng).astype(dtype)).all()
        step = max(4 * grid.resolution(dtype), 1.1 * slack)
        nx, ny = grid.shape
        beyond = np.array([[-step, nx + step, 1, 2, 1e6, -1e6], [1, 2, -step, ny + step, 1, -1e6]])
        assert not grid.contains((grid.origin[:, None] + grid.axes @ beyond).astype(dtype)).any()
        step = np.array([[-0.9 * slack, 1], [2, 5 + 0.9 * slack]])
        assert grid.contains((grid.origin[:, None] + grid.axes @ step).astype(dtype)).all()


def test_containment_is_sharp_near_the_coordinate_origin():
    x = np.array([[-1e-12, 3 + 1e-12, 1, 1, 0, 3], [1, 1, -1e-12, 5 + 1e-12, 0, 5]])
    assert grid_with().contains(x).tolist() == [False] * 4 + [True] * 2
    assert grid_with().contains(x.astype(np.float32)).all()


def test_grids_are_equal_when_all_but_their_slack_is():
    grid = grid_with()
    same = Grid(np.zeros(2), np.eye(2), np.array([3, 5]), "right", slack=0.1)
    others = [
        grid_with(origin=(0, 1e-300)),
        grid_with(axes=[[1, 0], [1e-300, 1]]),
        grid_with(shape=(5, 3)),
        grid_with(diagonal="left"),
    ]
    assert grid == same
    assert hash(grid) == hash(same)
    assert len({grid, same, *others}) == 5
    assert all(grid != other for other in [*others, "right", None])
    zeros = grid_with(origin=(-0.0, 0.0), axes=[[1, -0.0], [0, 1]])
    assert (grid, hash(grid)) == (zeros, hash(zeros))
    assert grid.shape == (3, 5)
    assert all(type(n) is int for n in same.shape)


def test_grids_match_up_to_roundoff():
    for (frame,) in each(FRAMES):
        origin, axes = np.array(FRAMES[frame][0], float), FRAMES[frame][1]
        grid = Grid(origin, axes, (3, 5), "right")
        near = Grid(origin * (1 + 2e-16), axes * (1 - 2e-16), (3, 5), "right")
        single = Grid(origin.astype("f4"), axes.astype("f4"), (3, 5), "right")
        assert grid.matches(grid)
        assert grid.matches(near)
        assert grid.matches(single, np.float32)
        apart = 8 * grid.resolution()
        for other in (
            Grid(origin + apart * axes[:, 0], axes, (3, 5), "right"),
            Grid(origin, axes * (1 + apart), (3, 5), "right"),
            Grid(origin, axes[:, ::-1], (3, 5), "right"),
            Grid(origin, axes, (5, 3), "right"),
            Grid(origin, axes, (3, 5), "left"),
        ):
            assert not grid.matches(other)
            assert not other.matches(grid)


def test_grids_do_not_change():
    origin, axes = np.zeros(2), np.eye(2)
    grid = grid_with(origin, axes)
    origin[:], axes[:] = 7, 7
    assert grid == grid_with()
    for name in ("origin", "axes", "shape", "diagonal"):
        with pytest.raises(FrozenInstanceError):
            setattr(grid, name, None)
    for array in (grid.origin, grid.axes, grid.inverse):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


#: What a grid cannot have, and what is said of it.
IMPOSSIBLE = (
    ({"origin": (0, 0, 0)}, r"\(3,\)"),
    ({"origin": 0}, r"\(\) and"),
    ({"axes": np.eye(3)}, r"\(3, 3\)"),
    ({"axes": (1, 1)}, r"axes of shape \(2, 2\), not \(2,\) and \(2,\)"),
    ({"origin": (0, np.nan)}, "finite"),
    ({"axes": [[1, 0], [0, np.inf]]}, "finite"),
    ({"shape": (0, 1)}, r"at least 1 x 1 cells, not \(0, 1\)"),
    ({"shape": (3, -1)}, "at least 1 x 1"),
    ({"shape": (3, 2.5)}, "at least 1 x 1"),
    ({"shape": (3, 5, 1)}, "at least 1 x 1"),
    ({"shape": (3,)}, "at least 1 x 1"),
    ({"shape": (3, np.nan)}, "at least 1 x 1"),
    ({"shape": (3, np.inf)}, "at least 1 x 1"),
    ({"shape": 3}, "at least 1 x 1"),
    ({"diagonal": "up"}, "one of .*'left_right'.*, not 'up'"),
    ({"diagonal": None}, "not None"),
    ({"axes": [[1, 2], [2, 4]]}, "parallel or zero"),
    ({"axes": [[1, 0], [0, 0]]}, "parallel or zero"),
    ({"slack": -0.1}, "slack must be from 0 to 0.5 of a step, not -0.1"),
    ({"slack": np.nan}, "slack must be"),
)


def test_impossible_grids_are_refused():
    for ((options, message),) in each(IMPOSSIBLE):
        with pytest.raises(ValueError, match=message):
            grid_with(**options)
    for options in ({"origin": np.array([1j, 0])}, {"axes": np.eye(2) * 1j}):
        with pytest.raises(TypeError):
            grid_with(**options)
