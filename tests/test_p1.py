# SPDX-License-Identifier: MIT
"""Evaluation by active neurons against the explicit layers; what goes in, what comes out."""

import itertools
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from cases import DIAGONALS, MAPS, SHAPES, bound
from fe_relu import Grid, P1Network
from fe_relu.meshes.grid.locate import BLOCK
from fe_relu.meshes.grid.table import CHUNK_POINTS

FLOATS = (np.float32, np.float64)

#: Origin and axes.
FRAMES = {
    "unit": ((0, 0), np.eye(2)),
    "flat": ((-2, 1), np.diag([1e-2, 40.0])),
    "rotated": ((0.3, -0.7), MAPS["rotated"] * [0.5, 3.0]),
    "sheared": ((5, 5), MAPS["sheared"] * [0.1, 0.2]),
    "mirrored": ((0.1, 0.2), MAPS["mirrored"]),
    "far": ((1e3, -2e3), 0.3 * MAPS["rotated"]),
}


def network_on(frame, shape, diagonal, rng, *, outputs=(), dtype=np.float64):
    grid = Grid(*FRAMES[frame], shape, diagonal)
    return P1Network(grid, rng.standard_normal((*outputs, grid.num_vertices)).astype(dtype))


def at(grid, lattice):
    """Points from lattice coordinates."""
    return grid.origin[:, None] + grid.axes @ np.asarray(lattice, float)


def everywhere(shape, rng, count=300):
    """Lattice coordinates: vertices, half steps and thirds, inside, around, and far outside."""
    size = np.array(shape, float)[:, None]
    halves, thirds = (
        np.indices([k * (n + 4) + 1 for n in shape]).reshape(2, -1) / k - 2 for k in (2, 3)
    )
    around = rng.random((2, count)) * (size + 4) - 2
    return np.hstack([halves, thirds, around, far_outside(shape, rng, count)])


def far_outside(shape, rng, count=300):
    """More than a cell outside, up to 10⁶ extents, in every direction and beside every side."""
    size = np.array(shape, float)[:, None]
    distance = 1.02 + size * 10 ** rng.uniform(-3, 6, (2, count))
    beyond = np.where(rng.random((2, count)) < 0.5, -distance, size + distance)
    beside = rng.random((2, count)) * size
    kept = rng.integers(0, 3, count)  # 0, 1: only that coordinate is outside; 2: both
    return np.where(np.array([kept != 1, kept != 0]), beyond, beside)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_active_neurons_give_what_all_neurons_give(diagonal, frame, rng):
    for shape, outputs, dtype in itertools.product(SHAPES, [(), (3,)], FLOATS):
        network = network_on(frame, shape, diagonal, rng, outputs=outputs, dtype=dtype)
        x = at(network.mesh, everywhere(shape, rng)).astype(dtype)
        active, every = network(x), network.explicit()(x)
        assert active.shape == every.shape == (*outputs, x.shape[1])
        assert active.dtype == every.dtype == dtype
        assert (np.abs(active - every) <= bound(network.mesh, x, network.values, dtype)).all()


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_the_support_ends_one_cell_outside(diagonal, rng):
    for frame, shape, dtype in itertools.product(FRAMES, SHAPES, FLOATS):
        network = network_on(frame, shape, diagonal, rng, dtype=dtype)
        x = at(network.mesh, far_outside(shape, rng)).astype(dtype)
        assert (network(x) == 0).all()
        assert (network.gradient(x) == 0).all()
        assert (network.explicit()(x) == 0).all()
        assert (network.gradient(x) == 0).all()
        near = at(network.mesh, [[-0.5, shape[0] + 0.5], [0, shape[1]]])  # the middle of two edges
        half = network.values[[0, (shape[0] + 1) * (shape[1] + 1) - 1]] / 2
        assert network(near) == pytest.approx(half, rel=1e-3)


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_gradient_is_the_slope_of_all_neurons_in_every_cell_and_on_the_ring(diagonal, rng):
    for frame, shape, outputs in itertools.product(FRAMES, SHAPES, [(), (2,)]):
        network = network_on(frame, shape, diagonal, rng, outputs=outputs)
        grid, explicit = network.mesh, network.explicit()
        cells = np.indices([n + 4 for n in shape]).reshape(2, -1) - 2.0
        inside = np.array([[1, 2], [2, 1], [3, 2], [2, 3]]) / 4  # triangles, whatever the diagonals
        lattice = np.concatenate([cells + place[:, None] for place in inside], axis=1)
        found = network.gradient(at(grid, lattice))
        for step in np.eye(2) / 16:
            ahead, behind = (at(grid, lattice + sign * step[:, None]) for sign in (1, -1))
            gain = explicit(ahead) - explicit(behind)
            expected = np.einsum("d,...dn->...n", 2 * grid.axes @ step, found)
            allowed = 2 * bound(grid, ahead, network.values)
            assert (np.abs(gain - expected) <= allowed).all()


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_nodal_values_come_back_at_the_vertices(diagonal, rng):
    for frame, dtype in itertools.product(FRAMES, FLOATS):
        network = network_on(frame, (3, 5), diagonal, rng, outputs=(2,), dtype=dtype)
        x, values = network.mesh.vertices().astype(dtype), network.values
        error = np.abs(network(x) - values)
        assert (error <= bound(network.mesh, x, values, dtype)).all()
        if frame == "unit":  # where vertices are represented exactly
            assert error.max() <= 2 * np.finfo(dtype).eps * np.abs(values).max()
            assert (network.explicit()(x) == values).all()


def unaligned(x):
    raw = np.ndarray(x.shape, x.dtype, bytearray(x.nbytes + 1), offset=1)
    raw[:] = x
    return raw


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


#: The same points in other arrays. The third row is ignored, whatever it holds.
FORMS = {
    "(3, n)": lambda x: np.vstack([x, 7 + 0 * x[:1]]),
    "(3, n), nan": lambda x: np.vstack([x, np.nan * x[:1]]),
    "points.T": lambda x: np.ascontiguousarray(np.vstack([x, 0 * x[:1]]).T).T,
    "(n, 2).T": np.asfortranarray,
    "every other column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "backwards": lambda x: x[:, ::-1].copy()[:, ::-1],
    "read-only": read_only,
    "unaligned": unaligned,
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_points_give_the_same_bits(form, rng):
    for diagonal, dtype in itertools.product(["right", "crossed", "left_right"], FLOATS):
        network = network_on("rotated", (6, 3), diagonal, rng, outputs=(2,), dtype=dtype)
        x = at(network.mesh, rng.random((2, CHUNK_POINTS + BLOCK + 5)) * 9 - 1).astype(dtype)
        values, other = network(x), network(FORMS[form](x))
        assert (other.dtype, other.shape) == (values.dtype, values.shape)
        assert other.tobytes() == values.tobytes()


@pytest.mark.parametrize("diagonal", ["left", "crossed", "right_left"])
def test_points_in_several_calls_give_the_same_bits(diagonal, rng):
    for dtype, order in itertools.product(FLOATS, "CF"):
        network = network_on("sheared", (3, 5), diagonal, rng, dtype=dtype)
        x = at(network.mesh, rng.random((2, CHUNK_POINTS + 3 * BLOCK + 6)) * 9 - 2)
        x = x.astype(dtype, order=order)
        cuts = [0, 1, 3, 3, 10, BLOCK, 2 * BLOCK + 1, CHUNK_POINTS + BLOCK + 7]
        parts = [network(part) for part in np.split(x, cuts, axis=1)]
        assert np.concatenate(parts).tobytes() == network(x).tobytes()


@pytest.mark.parametrize("points", ["f2", "f4", "f8", "i1", "u1", "i4", "i8", "u8"])
def test_values_have_the_wider_dtype_and_integers_count_as_float64(points, rng):
    x = (8 * rng.random((2, 40))).astype(points)
    counts_as = np.dtype("f8") if x.dtype.kind in "iu" else x.dtype
    for dtype in FLOATS:
        network = network_on("unit", (3, 5), "left_right", rng, dtype=dtype)
        assert network(x).dtype == np.result_type(dtype, counts_as)
        assert network(x).tobytes() == network(x.astype(network(x).dtype)).tobytes()
        assert network(x.tolist()).dtype == np.float64


def test_float32_points_of_a_float64_network_lose_nothing(rng):
    network = network_on("rotated", (3, 5), "crossed", rng)
    x = at(network.mesh, everywhere((3, 5), rng)).astype(np.float32)
    assert network(x).tobytes() == network(x.astype(np.float64)).tobytes()


@pytest.mark.parametrize(("outputs", "lead"), [((), ()), ((1,), ()), ((3,), (3,))])
def test_shapes_of_values_also_for_no_points(outputs, lead, rng):
    """One output gives (n,), as the explicit layers do."""
    network = network_on("unit", (3, 5), "crossed", rng, outputs=outputs)
    assert (network.dim_in, network.dim_out) == (2, (*outputs, 1)[0])
    for outside in ("extend", "nan", "raise"):
        for x in (
            np.empty((2, 0)),
            np.empty((3, 0)),
            np.empty((0, 3)).T,
            [[], []],
            np.ones((2, 4)),
        ):
            values = network(x, outside=outside)
            assert network.explicit()(x).shape == values.shape
            assert (values.shape, values.dtype) == ((*lead, np.shape(x)[1]), np.float64)


def with_bad_points(count, dtype=np.float64):
    """NaN, ∞, −∞ in different rows at the last columns, from index count − 3 on."""
    x = np.ones((2, count), dtype)
    x[0, -3], x[1, -2], x[:, -1] = np.nan, np.inf, -np.inf
    return x


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        (with_bad_points(4), ValueError, "3 of 4 points are NaN or infinite, .* index 1$"),
        (with_bad_points(4).astype("f4"), ValueError, "3 of 4 points .* index 1$"),
        (with_bad_points(BLOCK + 4), ValueError, f"3 of {BLOCK + 4} points .* index {BLOCK + 1}$"),
        (
            with_bad_points(CHUNK_POINTS + 4).T.copy().T,
            ValueError,
            f"3 of {CHUNK_POINTS + 4} points .* index {CHUNK_POINTS + 1}$",
        ),
        ([[0, np.nan], [0, 0]], ValueError, "1 of 2 points .* index 1$"),
        ([[0, 0], [0, np.nan]], ValueError, "1 of 2 points .* index 1$"),
        ([[-np.inf, 0], [0, 0]], ValueError, "1 of 2 points .* index 0$"),
        ([[0, 0], [np.inf, 0]], ValueError, "1 of 2 points .* index 0$"),
        (np.zeros((5, 2)), ValueError, r"shape \(2, n\) or \(3, n\).*not \(5, 2\).*points\.T"),
        (np.zeros((5, 3)), ValueError, r"not \(5, 3\)"),
        (np.zeros((1, 5)), ValueError, r"not \(1, 5\)"),
        (np.zeros((0, 0)), ValueError, r"not \(0, 0\)"),
        (np.zeros(2), ValueError, r"not \(2,\)"),
        (0.0, ValueError, r"not \(\)"),
        (np.zeros((2, 3, 1)), ValueError, r"not \(2, 3, 1\)"),
        ([["a", "b"], ["c", "d"]], TypeError, "real numbers .*, not <U1"),
        (np.zeros((2, 3), complex), TypeError, "real numbers .*, not complex128"),
        (np.zeros((2, 3), bool), TypeError, "real numbers .*, not bool"),
        ([[None], [None]], TypeError, "real numbers .*, not object"),
    ],
)
def test_impossible_points_are_refused(x, kind, message, rng):
    for diagonal, outside in itertools.product(["right", "crossed"], ["extend", "nan", "raise"]):
        with pytest.raises(kind, match=message):
            network_on("unit", (3, 5), diagonal, rng)(x, outside=outside)


@pytest.mark.parametrize("outside", ["zero", None, True, "NaN"])
def test_outside_is_one_of_three(outside, rng):
    with pytest.raises(ValueError, match=f'"extend", "nan" or "raise", not {outside!r}'):
        network_on("unit", (1, 1), "right", rng)(np.zeros((2, 1)), outside=outside)


@pytest.mark.parametrize("frame", FRAMES)
def test_points_outside(frame, rng):
    t = np.concatenate([[0, 1], rng.random(40)])
    edges = np.hstack([[t, 0 * t], [t, 0 * t + 1], [0 * t, t], [0 * t + 1, t]])
    inside = np.hstack([edges, rng.random((2, 50))]) * [[6], [3]]
    away, out = [[-0.1, 1, 1e6], [1, 3.5, 1]], np.isin(np.arange(12), [7, 10, 11])
    for outputs, dtype in itertools.product([(), (2,)], FLOATS):
        network = network_on(frame, (6, 3), "right", rng, outputs=outputs, dtype=dtype)
        x = at(network.mesh, inside).astype(dtype)
        for choice in ("nan", "raise"):
            assert network(x, outside=choice).tobytes() == network(x).tobytes()
        x = x[:, :12]
        x[:, out] = at(network.mesh, away)
        values = network(x, outside="nan")
        assert np.isnan(values[..., out]).all()
        assert (values[..., ~out] == network(x)[..., ~out]).all()
        with pytest.raises(ValueError, match=r"3 of 12 points are outside .* at index 7: "):
            network(x, outside="raise")


def test_outside_names_the_point(rng):
    network = network_on("unit", (3, 5), "right", rng)
    with pytest.raises(ValueError, match=r'index 1: \(3\.5, 1\.0\); outside="extend" or "nan"'):
        network([[1.0, 3.5], [1.0, 1.0]], outside="raise")


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (np.ones(23), ValueError, r"shape \(24,\) or \(k, 24\), not \(23,\)"),
        (np.ones((24, 2)), ValueError, r"not \(24, 2\)"),
        (np.ones((1, 1, 24)), ValueError, r"not \(1, 1, 24\)"),
        (np.float64(1), ValueError, r"not \(\)"),
        (np.ones((0, 24)), ValueError, r"not \(0, 24\)"),
        (np.where(np.arange(24) < 2, np.nan, 1), ValueError, "2 of 24 nodal values are NaN"),
        (np.full((2, 24), np.inf), ValueError, "48 of 48 nodal values are NaN or infinite"),
        (np.ones(24, int), TypeError, "float32 or float64, not int64"),
        (np.ones(24, complex), TypeError, "float32 or float64, not complex128"),
        (np.ones(24, bool), TypeError, "float32 or float64, not bool"),
        (["a"] * 24, TypeError, "float32 or float64, not <U1"),
    ],
)
def test_impossible_values_are_refused(values, kind, message):
    with pytest.raises(kind, match=message):
        P1Network(Grid((0, 0), np.eye(2), (3, 5), "right"), values)


def test_networks_do_not_change(rng):
    given = rng.standard_normal((2, 24))
    network = P1Network(Grid((0, 0), np.eye(2), (3, 5), "right"), given)
    x = rng.random((2, 9))
    before, kept = network(x), given.copy()
    given[:] = 0
    assert (network.values == kept).all()
    assert network(x).tobytes() == before.tobytes()
    for name in ("mesh", "values", "layout"):
        with pytest.raises(FrozenInstanceError):
            setattr(network, name, None)
    with pytest.raises(ValueError, match="read-only"):
        network.values[0] = 1


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_components_share_the_hidden_layers(diagonal, rng):
    vector = network_on("rotated", (3, 5), diagonal, rng, outputs=(4,))
    scalar = P1Network(vector.mesh, vector.values[2])
    layers, one = vector.explicit(), scalar.explicit()
    assert layers.widths == (*one.widths[:-1], 4)
    for ours, theirs in zip(layers.layers[:-1], one.layers[:-1], strict=True):
        assert (ours.weight != theirs.weight).nnz == 0
        assert (ours.bias == theirs.bias).all()
    assert (layers.layers[-1].weight.toarray() == vector.values).all()
    x = at(vector.mesh, everywhere((3, 5), rng))
    assert vector(x)[2].tobytes() == scalar(x).tobytes()


@pytest.mark.parametrize("root", [None, 0])
def test_gather_without_communicator_is_the_network_itself(root, rng):
    network = network_on("sheared", (3, 5), "crossed", rng, outputs=(2,))
    whole = network.gather(root)
    assert (whole.mesh, whole.comm, whole.source) == (network.mesh, None, None)
    assert (whole.values == network.values).all()


@pytest.mark.parametrize("root", [1, -1])
def test_gather_knows_its_ranks(root, rng):
    with pytest.raises(ValueError, match=f"root must be a rank from 0 to 0, not {root}"):
        network_on("unit", (1, 1), "right", rng).gather(root)


def test_only_a_network_with_a_source_can_be_updated(rng):
    with pytest.raises(ValueError, match="only a network that network_from_function made"):
        network_on("unit", (1, 1), "right", rng).update(None)


def test_bad_points_on_one_rank_are_refused_on_all(comm, rng):
    single = network_on("unit", (3, 5), "right", rng)
    network = P1Network(single.mesh, single.values, Replicated(comm))
    x = rng.random((2, comm.rank))
    assert network(x).tobytes() == single(x).tobytes()
    last = comm.size - 1
    x = np.full((2, 1), np.nan if comm.rank == last else 1.0)
    with pytest.raises(ValueError, match="1 of 1 points are NaN") as error:
        network(x)
    assert str(error.value).startswith(f"on rank {last}: ") == (comm.rank != last)


def test_a_table_of_more_entries_than_indices_can_name_is_refused(monkeypatch):
    from fe_relu.meshes.grid import locate as kernels

    monkeypatch.setattr(kernels, "INDEX", np.uint8)
    grid = Grid([0, 0], np.eye(2), (20, 20), "right")
    with pytest.raises(ValueError, match="on more ranks"):
        P1Network(grid, np.zeros(grid.num_vertices))([[0.5], [0.5]])
