# SPDX-License-Identifier: MIT
"""The hierarchical basis: surpluses, interpolants on coarse meshes, the same on any ranks."""

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import fem

from cases import evaluated, points_in_cells, random_function, rectangle, same_layers
from fe_relu import (
    Grid,
    HierarchicalNetwork,
    P1Network,
    hierarchical_from_function,
    network_from_function,
)
from fe_relu.hierarchy import hierarchical_from_network, transform
from fe_relu.hierarchy.nested import NESTING, coarsened, numbers_in_finer

#: Cells and how often they were halved: powers of two, odd multiples, as often as possible or less.
HALVED = [((4, 4), 2), ((12, 20), 2), ((8, 24), 3), ((16, 8), 2), ((3, 5), 0)]

EPS = np.finfo(float).eps


def network_of_size(diagonal, shape, rng, *, dtype=np.float64, outputs=(), whole=False):
    """A network of random nodal values, integers if `whole`, on lattice coordinates."""
    grid = Grid((0, 0), np.eye(2), shape, diagonal)
    values = rng.standard_normal((*outputs, grid.num_vertices))
    return P1Network(grid, (np.rint(100 * values) if whole else values).astype(dtype))


@pytest.mark.parametrize(("shape", "levels"), HALVED)
@pytest.mark.parametrize("diagonal", NESTING)
def test_coefficients_are_what_coarser_interpolants_miss(diagonal, shape, levels, rng):
    """Nodal values are integers, so that all numbers are exact."""
    network = network_of_size(diagonal, shape, rng, whole=True)
    h = hierarchical_from_network(network, levels=levels)
    seen = []
    for level in range(levels + 1):
        factor = 2 ** (levels - level)
        mesh, numbers = coarsened(network.mesh, factor), numbers_in_finer(network.mesh, factor)
        assert network.mesh.vertices()[:, numbers].tolist() == mesh.vertices().tolist()
        new = np.setdiff1d(numbers, seen)
        assert h.vertices(level).tolist() == new.tolist()
        missed = network.values[new]
        if level > 0:
            coarse = coarsened(network.mesh, 2 * factor)
            values = network.values[numbers_in_finer(network.mesh, 2 * factor)]
            missed = missed - P1Network(coarse, values)(network.mesh.vertices()[:, new])
        assert h.coefficients(level).tolist() == missed.tolist()
        seen = numbers
    assert len(seen) == network.mesh.num_vertices


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("diagonal", NESTING)
def test_round_trip_to_two_units_of_roundoff(diagonal, dtype, rng):
    for shape in ((512, 512), (24, 40), (12, 7 * 32)):
        network = network_of_size(diagonal, shape, rng, dtype=dtype, outputs=(2,))
        values = rng.uniform(0.9, 1, network.values.shape) * np.sign(network.values)
        network = P1Network(network.mesh, values.astype(dtype))  # much roundoff on each level
        h = hierarchical_from_network(network)
        back = HierarchicalNetwork(h.mesh, h.levels, h.surpluses).to_p1()
        assert back.values.dtype == dtype
        assert back.mesh == network.mesh
        off = np.abs(back.values - network.values).max()
        assert off <= 2 * np.finfo(dtype).eps * np.abs(network.values).max()


@pytest.mark.parametrize(("diagonal", "sign"), [("left", 1), ("right", -1)])
def test_surpluses_of_xy_are_at_middles_of_diagonals(diagonal, sign):
    grid = Grid((-1, -1), np.eye(2) / 8, (16, 16), diagonal)
    h = hierarchical_from_network(P1Network(grid, np.prod(grid.vertices(), axis=0)))
    for level in range(1, h.levels + 1):
        h_squared = 4.0 ** (1 - level)
        i, j, _ = grid.places(h.vertices(level))
        middle = (i % (32 >> level) > 0) & (j % (32 >> level) > 0)
        assert h.coefficients(level).tolist() == np.where(middle, sign * h_squared, 0).tolist()


@pytest.mark.parametrize(("shape", "levels"), HALVED[:4])
@pytest.mark.parametrize("diagonal", NESTING)
def test_truncation_is_the_interpolant_on_the_coarser_mesh(comm, diagonal, shape, levels, rng):
    def f(x):
        return np.array([np.cos(2 * x[0]) * np.exp(x[1]), x[0] ** 3 - x[1]])

    u = fem.Function(fem.functionspace(rectangle(comm, diagonal, shape, "shifted"), ("P", 1, (2,))))
    u.interpolate(f)
    h = hierarchical_from_function(u, levels=levels)
    for level in range(levels + 1):
        cells = tuple(n >> (levels - level) for n in shape)
        coarse = rectangle(MPI.COMM_SELF, diagonal, cells, "shifted")
        interpolant = fem.Function(fem.functionspace(coarse, ("P", 1, (2,))))
        interpolant.interpolate(f)
        s = h.truncate(levels=level)
        x, where = points_in_cells(coarse, 300, np.random.default_rng(comm.rank))
        assert np.abs(s(x) - evaluated(interpolant, x, where)).max() <= 1e-13
        assert s.kept[level + 1 :] == (0,) * (levels - level)
        if diagonal != "left_right":  # whose stars differ from level to level
            mesh = coarsened(h.mesh, 2 ** (levels - level))
            assert (
                s.explicit().widths == P1Network(mesh, np.ones((2, s.num_kept))).explicit().widths
            )


def spread_and_alone(comm, diagonal, shape, levels, layout, outputs=()):
    """One random function's hierarchy on all ranks, and on this one alone."""
    made = []
    for group in (comm, MPI.COMM_SELF):
        V = fem.functionspace(rectangle(group, diagonal, shape), ("P", 1, outputs))
        u = random_function(V, np.random.default_rng(3))
        here = layout if group is comm else "replicated"
        made.append(hierarchical_from_function(u, levels=levels, layout=here))
    return made


AIMS = [{"tol": 0.7}, {"tol": 0.2, "relative": True}, {"max_neurons": 60}]
AIMS += [{"max_neurons": 150, "norm": "H1"}, {"tol": 0.3, "relative": True, "norm": "H1"}]

#: (layout, units for each rank, shape, levels, outputs): all levels in the blocks, some, none.
SPREADS = [
    ("replicated", 64, (16, 8), 3, (2,)),
    ("blocks", 1, (12, 20), 2, ()),
    ("blocks", 4, (16, 8), 3, (2,)),
    ("blocks", 10**6, (8, 8), 3, ()),
    ("blocks", 1, (1, 1), 0, ()),  # ranks without a block
]


@pytest.mark.parametrize(("layout", "units", "shape", "levels", "outputs"), SPREADS)
@pytest.mark.parametrize("diagonal", NESTING)
def test_one_decision_on_any_ranks_in_any_layout(
    comm, monkeypatch, diagonal, layout, units, shape, levels, outputs
):
    monkeypatch.setattr(transform, "UNITS_PER_RANK", units)
    spread, alone = spread_and_alone(comm, diagonal, shape, levels, layout, outputs)
    assert spread.layout.is_spread == (layout == "blocks" and comm.size > 1)
    assert spread.to_p1().gather().values.tobytes() == alone.to_p1().values.tobytes()
    surrogates = [
        (h.truncate(levels=h.levels // 2), *(h.compress(**a) for a in AIMS))
        for h in (spread, alone)
    ]
    for s, expected in zip(*surrogates, strict=True):
        for name in ("kept", "num_kept", "error", "bound", "h1_error", "ceiling", "dtype"):
            assert getattr(s, name) == getattr(expected, name)
        assert same_layers(s.explicit(), expected.explicit())
        count = 400 * ((comm.rank + 1) % 3)  # the third rank has no points
        x = np.random.default_rng(comm.rank).random((2, count)) * 4 - 1.5
        x[:, :50] *= 1e3
        assert s(x).tobytes() == expected(x).tobytes()
        assert np.abs(s(x) - s.explicit()(x)).max(initial=0) <= 1e-9
        assert s.to_p1().gather().values.tobytes() == expected.to_p1().values.tobytes()


def test_blocks_are_cut_where_levels_split_inside(comm):
    spread, _ = spread_and_alone(comm, "crossed", (64, 32), 5, "blocks")
    if comm.size == 1:
        assert spread.nesting.inner == 5
        return
    cells_per_rank = 64 * 32 / comm.size / 4**spread.nesting.inner
    assert transform.UNITS_PER_RANK <= cells_per_rank < 4 * transform.UNITS_PER_RANK
    edges = (*spread.window.start, *spread.window.shape)
    assert all(edge % 2**spread.nesting.inner == 0 for edge in edges)


#: Functions in no hierarchy of so many levels: (diagonal, shape, degree, levels, what it says).
REFUSED = [
    ("right", (12, 20), 1, 3, "divisible by 8; 12 x 20 .* nx = 8 or 16, ny = 16 or 24"),
    ("left", (12, 16), 1, 4, r"were halved 2 times; .* nx = 16$"),
    ("crossed", (5, 8), 1, None, "halving needs .* divisible by 2.* nx = 4 or 6"),
    ("right_left", (8, 8), 1, None, "right_left meshes do not nest: .* left_right"),
    ("right", (8, 8), 1, -1, "at least 0"),
    ("right", (8, 8), 1, 100, "halved 3 times"),
    ("right", (8, 8), 1, True, "must be an integer"),
    ("right", (8, 8), 1, 1.0, "must be an integer"),
    ("right", (8, 8), 2, None, "P2Network is not a P1Network"),
]


@pytest.mark.parametrize(("diagonal", "shape", "degree", "levels", "message"), REFUSED)
def test_what_has_no_hierarchy_is_refused_on_all_ranks(
    comm, diagonal, shape, degree, levels, message
):
    u = fem.Function(fem.functionspace(rectangle(comm, diagonal, shape), ("P", degree)))
    with pytest.raises((ValueError, TypeError), match=message):
        hierarchical_from_function(u, levels=levels)


def test_ranks_must_agree_on_levels(comm):
    network = network_from_function(fem.Function(fem.functionspace(rectangle(comm), ("P", 1))))
    with pytest.raises(ValueError, match="divisible by 16"):
        hierarchical_from_network(network, levels=4 if comm.rank == comm.size - 1 else 2)
    if comm.size > 1:
        with pytest.raises(TypeError, match="ranks pass different numbers of levels: 0, 1"):
            hierarchical_from_network(network, levels=min(comm.rank, 1))


@pytest.mark.parametrize("layout", ["replicated", "blocks"])
def test_values_whose_sums_overflow_are_refused_on_all_ranks(comm, layout):
    u = fem.Function(fem.functionspace(rectangle(comm, "right", (16, 8)), ("P", 1)))
    u.interpolate(lambda x: np.where(x.sum(axis=0) > 1.7, 1.7e308 * np.cos(80 * x[0]), 0))
    with pytest.raises(ValueError, match=r"sums over 3 levels of .* may overflow float64"):
        hierarchical_from_function(u, layout=layout)
    u.x.array[:] /= 64
    assert np.isfinite(hierarchical_from_function(u, layout=layout).truncate(levels=0).h1_error)
