# SPDX-License-Identifier: MIT
"""What is special about networks on grids; `test_contract.py` has what holds on all meshes."""

import numpy as np
import pytest

from cases import DIAGONALS, FLOATS, FRAMES, SHAPES, bound, each, everywhere
from fe_relu import Grid, P1Network, P2Network
from fe_relu.meshes.grid import table


def network_on(frame, shape, diagonal, rng, *, kind=P1Network, dtype="f8"):
    grid = Grid(*FRAMES[frame], shape, diagonal)
    values = rng.standard_normal(grid.refined(kind.degree).num_vertices)
    return kind(grid, values.astype(dtype))


def at(grid, lattice):
    """Points from lattice coordinates."""
    return grid.origin[:, None] + grid.axes @ np.asarray(lattice, float)


def far_outside(shape, rng, count=300):
    """More than a cell outside, up to 10⁶ extents, in every direction and beside every side."""
    size = np.array(shape, float)[:, None]
    distance = 1.02 + size * 10 ** rng.uniform(-3, 6, (2, count))
    beyond = np.where(rng.random((2, count)) < 0.5, -distance, size + distance)
    beside = rng.random((2, count)) * size
    kept = rng.integers(0, 3, count)  # 0, 1: only that coordinate is outside; 2: both
    return np.where(np.array([kept != 1, kept != 0]), beyond, beside)


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_active_neurons_give_what_all_neurons_give(diagonal, rng):
    """For all frames and parities of numbers of cells."""
    for frame, shape, dtype in each(FRAMES, SHAPES, FLOATS):
        network = network_on(frame, shape, diagonal, rng, dtype=dtype)
        x = everywhere(network.mesh, rng).astype(dtype)
        off = np.abs(network(x) - network.explicit()(x))
        assert (off <= bound(network.mesh, x, network.values, dtype)).all()


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_the_support_ends_one_cell_outside(diagonal, rng):
    for frame, shape, dtype, kind in each(FRAMES, SHAPES, FLOATS, (P1Network, P2Network)):
        network = network_on(frame, shape, diagonal, rng, dtype=dtype, kind=kind)
        x = at(network.mesh, far_outside(shape, rng)).astype(dtype)
        assert not network(x).any()
        assert not network.gradient(x).any()
        if kind is P1Network or frame == "rotated":
            assert not network.explicit()(x).any()
        if kind is P1Network:
            middles = at(network.mesh, [[-0.5, shape[0] + 0.5], [0, shape[1]]])  # of two edges
            corners = network.values[[0, (shape[0] + 1) * (shape[1] + 1) - 1]]
            assert network(middles) == pytest.approx(corners / 2, rel=1e-3)


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_vertices_of_a_grid_of_integers_have_their_bits(diagonal, rng):
    for shape, dtype in each(SHAPES, FLOATS):
        network = network_on("unit", shape, diagonal, rng, dtype=dtype)
        x = network.mesh.vertices().astype(dtype)
        assert network(x).tobytes() == network.values.tobytes()
        assert (network.explicit()(x) == network.values).all()


def test_a_table_of_more_entries_than_indices_can_name_is_refused(monkeypatch):
    monkeypatch.setattr(table, "INDEX", np.uint8)
    grid = Grid([0, 0], np.eye(2), (20, 20), "right")
    with pytest.raises(ValueError, match="on more ranks"):
        P1Network(grid, np.zeros(grid.num_vertices))([[0.5], [0.5]])
