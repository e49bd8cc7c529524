# SPDX-License-Identifier: MIT
"""What every network on every kind of mesh promises, in any layout, on any number of ranks.

A new kind of mesh is some rows of `MESHES`. Tests loop over the other tables and print where they
are, so that the last line printed says what failed.
"""

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from functools import cache
from typing import Any, NamedTuple

from mpi4py import MPI

import numpy as np
import pytest
import torch
from dolfinx import fem, mesh

import fe_relu
from cases import (
    FLOATS,
    MAPS,
    around,
    beyond,
    bound,
    each,
    evaluated,
    everywhere,
    inside,
    mapped,
    on_first_rank,
    points_in_cells,
    random_function,
    rectangle,
    same_layer,
    same_layers,
    weights_in_cell,
)
from fe_relu import (
    Conversion,
    P1Network,
    Surrogate,
    function_from_network,
    interpolation_plan,
    network_from_function,
    to_onnx,
    to_torch,
)
from fe_relu.basics import threads
from fe_relu.parallel.layouts import Alone
from runtime import rows, run, run_file

LAYOUTS = ("alone", "replicated", "blocks")
OUTPUTS = ((), (2,))


def converted(**levels):
    return lambda u, **options: network_from_function(u, **levels, **options)


def surrogate(u, **options):
    return fe_relu.hierarchical_from_function(u, **options).compress(tol=0.4, relative=True)


#: Kinds of networks by their degree, and how a function becomes one, with options of `Conversion`.
NODAL = {
    "P1": (1, converted()),
    "P2": (2, converted(levels=3)),
    "flat P2": (2, converted(levels=1)),
}
KINDS = {**NODAL, "surrogate": (1, surrogate)}


class Row(NamedTuple):
    """A mesh that dolfinx makes, and which networks there are on it."""

    make: Any  # from a communicator and options of dolfinx: the mesh
    bound: Any  # from our mesh, points, values and dtype: roundoff allowed in values at points
    kinds: tuple[str, ...] = tuple(NODAL)
    layouts: tuple[str, ...] = LAYOUTS
    floats: tuple[str, ...] = FLOATS  # types that tell its vertices apart
    layers: bool = True  # whether networks have explicit layers
    spread: tuple[str, ...] = tuple(KINDS)  # which of them can be in blocks


def grid(diagonal, shape, image=None, *, box="unit", floats=FLOATS, **options):
    def make(comm, **more):
        msh = rectangle(comm, diagonal, shape, box, **{**options, **more})
        return msh if image is None else mapped(msh, MAPS[image])

    halved = diagonal != "right_left" and not any(n % 2 for n in shape)
    return Row(make, bound, tuple(KINDS) if halved else tuple(NODAL), LAYOUTS, floats)


def roundoff(mesh, points, values, dtype=np.float64):
    """64 eps (1 + distance from the origin / least height of a cell) max|u|, per point."""
    distance = np.abs(mesh.vertices()).max(initial=0) + np.linalg.norm(points, axis=0)
    return 64 * np.finfo(dtype).eps * (1 + distance / mesh.step) * np.abs(values).max(initial=0)


def simplices(create, *size, layers=True, image=None, **always):
    def make(comm, **options):
        """Bent, so that it is no grid, or an affine image."""
        msh = create(comm, *size, **{**always, **options})
        x = msh.geometry.x[:, : msh.geometry.dim]
        if image is None:
            x += 0.04 * np.sin(5 * x.sum(axis=1, keepdims=True))
        else:
            x[:] = x @ image.T
        return msh

    return Row(make, roundoff, tuple(NODAL), LAYOUTS, FLOATS, layers)


SHEAR = np.array([[-0.4, 0.7, 0.2], [0.5, 0.2, 0.1], [0.1, 0.1, -0.4]])


def quadrilaterals(size, *, bent=0.0, spread=()):
    def make(comm, **options):
        corners = [[0, -1], [2, 0.5]]
        msh = mesh.create_rectangle(comm, corners, size, mesh.CellType.quadrilateral, **options)
        x = msh.geometry.x[:, :2]
        x += bent * np.sin(5 * x.sum(axis=1, keepdims=True))
        x[:, 0] += 0.3 * x[:, 1]
        return msh

    return Row(make, roundoff if bent else bound, ("P1",), LAYOUTS, FLOATS, not bent, spread)


MESHES = {
    "right": grid("right", (6, 4)),
    "left, rotated": grid("left", (3, 5), "rotated"),
    "crossed, sheared": grid("crossed", (4, 6), "sheared"),
    "left_right, mirrored": grid("left_right", (8, 4), "mirrored"),
    "right_left, turned": grid("right_left", (5, 4), "turned by 45"),
    "far and flat": grid("left_right", (6, 3), box="far and flat", floats=("f8",)),
    "one cell": grid("right_left", (1, 1)),
    "on one rank": grid("crossed", (6, 5), partitioner=on_first_rank),
    "without ghosts": grid("left", (4, 4), ghosts="none"),
    "intervals": simplices(mesh.create_interval, 7, [-1.0, 2.5]),
    "triangles": simplices(mesh.create_rectangle, [[0, -1], [2, 0.5]], [4, 3]),
    "tetrahedra": simplices(mesh.create_box, [[0, 0, 0], [2, 1, 1]], [3, 2, 2], layers=False),
    "triangles without ghosts": simplices(
        mesh.create_rectangle, [[0, -1], [2, 0.5]], [5, 4], ghost_mode=mesh.GhostMode.none
    ),
    "tetrahedra on one rank": simplices(
        mesh.create_unit_cube, 3, 2, 2, layers=False, partitioner=on_first_rank
    ),
    "box": simplices(mesh.create_box, [[0, -1, 1], [2, 1, 2]], [3, 2, 4], image=np.eye(3)),
    "box, sheared, without ghosts": simplices(
        mesh.create_unit_cube, 2, 3, 2, image=SHEAR, ghost_mode=mesh.GhostMode.none
    ),
    "parallelograms": quadrilaterals([5, 4], spread=("P1",)),
    "quadrilaterals": quadrilaterals([4, 5], bent=0.04),
}

#: One row of each kind of mesh, for what no shape can change; and another of the same dimension.
PLAIN = {"right": "crossed, sheared", "triangles": "right"}


@cache
def domain(row, *, alone=False, **options):
    return MESHES[row].make(MPI.COMM_SELF if alone else MPI.COMM_WORLD, **options)


def function_on(msh, degree, outputs=(), seed=7):
    """The same random function on every partition of a mesh."""
    V = fem.functionspace(msh, ("P", degree, outputs))
    return random_function(V, np.random.default_rng(seed))


@cache
def made(row, kind, layout="alone", dtype="f8", outputs=(), seed=7):
    """The network of the same random function; alone, it is made without the other ranks."""
    alone, (degree, network_of) = layout == "alone", KINDS[kind]
    u = function_on(domain(row, alone=alone, dtype=dtype), degree, outputs, seed)
    network = network_of(u, layout="replicated" if alone else layout)
    return network.whole() if alone else network


def cases_of(row, kinds=KINDS, layouts=("alone",), floats=FLOATS, outputs=OUTPUTS):
    """All that a mesh has of these, as `made` takes them."""
    there = MESHES[row]
    wanted = ((kinds, there.kinds), (layouts, there.layouts), (floats, there.floats))
    has = [[name for name in names if name in known] for names, known in wanted]
    for case in each(*has, outputs):
        if case[1] != "blocks" or case[0] in there.spread:
            yield case


def networks(row, *args, **options):
    return (made(row, *case) for case in cases_of(row, *args, **options))


def questions(network):
    """All that points may ask, with the same options."""
    yield network
    if not isinstance(network, Surrogate):
        yield network.gradient
        yield lambda x, **options: network.plan(x, **options)(network)


def slack(row, network, x):
    """What roundoff may do to values at points, of their dtype."""
    if isinstance(network, Surrogate):
        size = 4 * (1 + network.ceiling)
    else:
        size = {1: 1, 2: 16}[network.degree] * network.size
    return MESHES[row].bound(network.mesh, x, size, x.dtype)


def whole_mesh(network):
    """The mesh of a network. Collective if no rank has it."""
    return network.gather().mesh if network.mesh.is_partial else network.mesh


def own_points(network, rank, count=None):
    """Points of a rank, of the network's dtype. Collective if no rank has the whole mesh."""
    x = everywhere(whole_mesh(network), np.random.default_rng([5, rank]))
    return x[:, :count].astype(network.dtype)


def same(one, other):
    """Whether two networks on one mesh are the same but for their layouts, bit for bit."""

    def facts(network):
        values = [getattr(network, field.name) for field in fields(network)]
        kept = [value for value in values if value is not network.layout]
        return [value.tobytes() if isinstance(value, np.ndarray) else value for value in kept]

    return (type(one), one.dtype, facts(one)) == (type(other), other.dtype, facts(other))


@pytest.fixture(params=MESHES)
def row(request):
    return request.param


@pytest.fixture(params=PLAIN)
def plain(request):
    return request.param


# Values


def test_values_are_those_of_all_neurons_and_of_nodes(row, rng):
    for network in networks(row):
        x = everywhere(network.mesh, rng).astype(network.dtype)
        far = beyond(network.mesh, rng).astype(network.dtype)
        assert not network(far).any()
        if MESHES[row].layers:
            active, every = network(x), network.explicit()(x)
            assert active.shape == every.shape
            assert active.dtype == every.dtype == network.dtype
            assert (np.abs(active - every) <= slack(row, network, x)).all()
            assert not network.explicit()(far).any()
        nodal = network.to_p1() if isinstance(network, Surrogate) else network
        x = nodal.node_mesh.vertices().astype(network.dtype)
        assert (np.abs(network(x) - nodal.values) <= slack(row, network, x)).all()


def test_gradients_are_the_slopes_of_all_neurons(row, rng):
    for network in networks(row, NODAL):
        vertices, cells = network.mesh.vertices(), network.mesh.cells()
        shortest = np.linalg.norm(vertices[:, cells] - vertices[:, np.roll(cells, 1, 0)], axis=0)
        anywhere, _ = weights_in_cell(len(cells), 20, rng)
        x = np.hstack([inside(network.mesh, anywhere), around(network.mesh, rng)])
        x = x.astype(network.dtype)
        found, far = network.gradient(x), network.gradient(beyond(network.mesh, rng))
        assert not far.any()
        if MESHES[row].layers:
            exact = slopes(network.explicit(), x)
            assert (found.shape, found.dtype) == (exact.shape, network.dtype)
            assert (np.abs(found - exact) * shortest.min() <= 16 * slack(row, network, x)).all()


def slopes(network, x):
    """The gradient of layers away from kinks, by weights times weights of active neurons."""
    h, jacobian = x, np.eye(len(x), dtype=x.dtype)[:, :, None].repeat(x.shape[1], axis=2)
    for layer, rectified in zip(network.layers, network.rectified, strict=True):
        if layer.is_affine:
            jacobian = layer.weight @ jacobian.reshape(layer.dim_in, -1)
            jacobian = jacobian.reshape(layer.dim_out, *x.shape)
        else:
            (i, j), h_i = layer.pairs, h[:, None]
            jacobian = h_i[i] * jacobian[j] + h_i[j] * jacobian[i]
        h = layer(h)
        if rectified:
            h, jacobian = np.maximum(h, 0), jacobian * (h > 0)[:, None]
    return jacobian[0] if network.dim_out == 1 else jacobian


def test_active_forms_are_the_network(row, tmp_path, rng):
    """Values and slopes, wherever a point is; at the vertices the same bits."""
    for network in networks(row):
        to_onnx(network, tmp_path / "u.onnx", form="active")
        module = to_torch(network, form="active")
        x = np.hstack([f(network.mesh, rng) for f in (everywhere, around, beyond)])
        x = x.astype(network.dtype)
        expected, allowed = np.atleast_2d(network(x)), slack(row, network, x)
        by_torch, by_file = run(module, x), run_file(tmp_path / "u.onnx", x)
        assert by_torch.dtype == by_file.dtype == network.dtype
        assert (np.abs(by_torch - expected) <= allowed).all()
        assert (np.abs(by_file - expected) <= allowed).all()
        if isinstance(network, P1Network):
            x = network.mesh.vertices().astype(network.dtype)
            expected = np.atleast_2d(network(x))
            assert (run(module, x) == expected).all()
            assert (run_file(tmp_path / "u.onnx", x) == expected).all()


def test_active_forms_have_the_slopes_of_the_network(row, rng):
    for network in networks(row, NODAL):
        module = to_torch(network, form="active")
        vertices, cells = network.mesh.vertices(), network.mesh.cells()
        shortest = np.linalg.norm(vertices[:, cells] - vertices[:, np.roll(cells, 1, 0)], axis=0)
        anywhere, _ = weights_in_cell(len(cells), 20, rng)
        points = inside(network.mesh, anywhere), around(network.mesh, rng), vertices
        x = np.hstack(points).astype(network.dtype)
        with_slope = rows(x).requires_grad_()
        values = module(with_slope)
        for number, expected in enumerate(network.gradient(x).reshape(-1, *x.shape)):
            (found,) = torch.autograd.grad(values[:, number].sum(), with_slope, retain_graph=True)
            off = np.abs(found.numpy().T - expected)
            assert (off * shortest.min() <= 16 * slack(row, network, x)).all()


def test_networks_are_their_functions(row, comm, rng):
    """By dolfinx's own values in its cells."""
    for kind, layout, dtype, shape in cases_of(row, layouts=LAYOUTS[1:]):
        u = function_on(domain(row, dtype=dtype), KINDS[kind][0], shape)
        network = made(row, kind, layout, dtype, shape)
        x, cells = points_in_cells(u.function_space.mesh, 300, rng)
        error = network.error if kind == "surrogate" else network.error_bound
        off = np.abs(network(x) - evaluated(u, x, cells))
        assert network.dtype == dtype
        assert (off <= error + slack(row, network, x)).all()


def test_values_have_the_wider_dtype_and_integers_count_as_float64(plain, rng):
    for (points,) in each(("f2", "f4", "f8", "i1", "u1", "i4", "i8", "u8")):
        for network in networks(plain):
            x = (3 * rng.random((network.dim_in, 40))).astype(points)
            wide = np.result_type(network.dtype, "f8" if x.dtype.kind in "iu" else x.dtype)
            for ask in questions(network):
                assert ask(x).dtype == wide
                assert ask(x).tobytes() == ask(x.astype(wide)).tobytes()
            assert network(x.tolist()).dtype == np.float64


def test_wide_points_lose_nothing_in_a_narrow_network(row, rng):
    """As if its values were wide themselves."""
    for network in networks(row, floats=("f4",)):
        name = "coefficients" if isinstance(network, Surrogate) else "values"
        wide = replace(network, **{name: getattr(network, name).astype("f8")})
        x = everywhere(network.mesh, rng)
        for narrow, exact in zip(questions(network), questions(wide), strict=True):
            assert narrow(x).tobytes() == exact(x).tobytes()


def unaligned(x):
    raw = np.ndarray(x.shape, x.dtype, bytearray(x.nbytes + 1), offset=1)
    raw[:] = x
    raw.flags.writeable = False
    return raw


def in_space(x, rest):
    """As dolfinx has points, with the same number in all coordinates that a plane lacks."""
    return np.vstack([x, np.full((3 - len(x), x.shape[1]), rest, x.dtype)])


#: The same points in other arrays.
FORMS = {
    "(3, n)": lambda x: in_space(x, 7),
    "(3, n), NaN": lambda x: in_space(x, np.nan),
    "points.T": lambda x: np.ascontiguousarray(in_space(x, 0).T).T,
    "(n, dim).T": np.asfortranarray,
    "every other column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "backwards": lambda x: x[:, ::-1].copy()[:, ::-1],
    "unaligned and read-only": unaligned,
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
}


def test_the_same_points_give_the_same_bits(row, monkeypatch):
    """In any array, in one call or many, with any number of threads."""
    rng = np.random.default_rng(5)
    for network in networks(row, outputs=((2,),)):
        x = around(network.mesh, rng, 40_001).astype(network.dtype)
        cuts = [0, 1, 3, 3, 10, 1024, 2049, 20_000]
        for ask in questions(network):
            expected = ask(x).tobytes()
            for (form,) in each(FORMS):
                assert ask(FORMS[form](x)).tobytes() == expected
            parts = [ask(part) for part in np.split(x, cuts, axis=1)]
            assert np.concatenate(parts, axis=-1).tobytes() == expected
            with monkeypatch.context() as patch:
                patch.setattr(threads, "POINTS_PER_THREAD", 1000)
                for (number,) in each((1, 2, 3)):
                    patch.setenv("FE_RELU_NUM_THREADS", str(number))
                    assert len(threads.parts(x.shape[1])) == number
                    assert ask(x).tobytes() == ask(x.T.copy().T).tobytes() == expected


#: How many of its points a rank asks for.
SHARES = {
    "ever more": lambda rank, size: 1 + 300 * rank,
    "none on the first rank": lambda rank, size: 0 if rank == 0 else None,
    "all on the last rank": lambda rank, size: None if rank == size - 1 else 0,
    "none": lambda rank, size: 0,
}


def test_every_layout_gives_the_bits_of_one_process(row, comm):
    """Whoever asks for how many points, and each rank in a precision of its own."""
    for kind, layout, dtype, shape in cases_of(row, layouts=LAYOUTS[1:], outputs=((2,),)):
        network, alone = (made(row, kind, where, dtype, shape) for where in (layout, "alone"))
        assert network.layout.is_spread == (layout == "blocks" and comm.size > 1)
        for (share,) in each(SHARES):
            x = own_points(alone, comm.rank, SHARES[share](comm.rank, comm.size))
            x = x if comm.rank == 1 else x.astype("f8")
            for ask, ask_alone in zip(questions(network), questions(alone), strict=True):
                found, expected = ask(x), ask_alone(x)
                assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
                assert found.tobytes() == expected.tobytes()
        if MESHES[row].layers:
            assert same_layers(network.explicit(), alone.explicit())
        if kind in NODAL:
            assert (network.error_bound, network.size) == (alone.error_bound, alone.size)


def test_a_plan_gives_the_values_of_any_network_on_its_mesh(row, comm):
    """Of other values, numbers of outputs, and degrees; and again of the first."""
    degrees = [kind for kind in NODAL if kind in MESHES[row].kinds]
    for kind, layout, dtype, shape in cases_of(row, NODAL, LAYOUTS, outputs=((),)):
        one, later = (made(row, kind, layout, dtype, shape, seed) for seed in (7, 8))
        spread = MESHES[row].spread if layout == "blocks" else degrees
        others = [made(row, other, layout, dtype, (2,)) for other in degrees if other in spread]
        x = own_points(one, comm.rank, None if comm.rank == comm.size - 1 else 100)
        plan = one.plan(x)
        for network in (one, later, *others, one):
            assert plan(network).dtype == network.dtype
            assert plan(network).tobytes() == network(x).tobytes()


def test_a_plan_refuses_networks_that_do_not_fit(plain, comm):
    for kind, layout, *_ in cases_of(plain, NODAL, LAYOUTS, ("f8",), ((),)):
        network = made(plain, kind, layout)
        x = own_points(network, comm.rank, 50)
        plan = network.plan(x)
        others = {
            "mesh": made(PLAIN[plain], kind, layout),
            "type of values": made(plain, kind, layout, "f4"),
            "layout": made(plain, kind, "replicated" if layout == "alone" else "alone"),
        }
        for (what,) in each(others):
            at_fault = layout == "alone" or comm.rank == comm.size - 1
            with pytest.raises(ValueError, match=f"for a network of another .*{what}"):
                plan(others[what] if at_fault else network)
            assert plan(network).tobytes() == network(x).tobytes()


def test_points_outside_are_extended_marked_or_refused(row, comm, rng):
    for network in networks(row, layouts=LAYOUTS):
        mesh = whole_mesh(network)
        weights = np.concatenate(weights_in_cell(len(mesh.cells()), 9, rng))
        x = inside(mesh, weights).astype(network.dtype)
        out = np.isin(np.arange(12), [7, 10, 11]) & (comm.rank == comm.size - 1)
        some = np.where(out, beyond(mesh, rng, 12), x[:, :12]).astype(network.dtype)
        for ask in questions(network):
            for choice in ("nan", "raise"):
                assert ask(x, outside=choice).tobytes() == ask(x).tobytes()
            marked = ask(some, outside="nan")
            assert np.isnan(marked[..., out]).all()
            assert (marked[..., ~out] == ask(some)[..., ~out]).all()
            if out.any() or network.comm is not None:
                with pytest.raises(ValueError, match=r'3 of 12 points .* 7: \(.*; outside="ex'):
                    ask(some, outside="raise")
    for outside in ("zero", None, True, "NaN"):
        with pytest.raises(ValueError, match=f'"extend", "nan" or "raise", not {outside!r}'):
            network(x, outside=outside)


def test_shapes_of_answers_also_for_no_points(plain):
    for network in networks(plain, floats=("f8",), outputs=((), (1,), (3,))):
        lead, dim = (3,) if network.dim_out == 3 else (), network.mesh.dim
        assert (network.dim_in, network.dim_out) == (dim, (*lead, 1)[0])
        none = (np.empty((dim, 0)), np.empty((3, 0)), np.empty((0, 3)).T, [[]] * dim)
        for x in (*none, network.mesh.vertices()[:, :4]):
            shape = (*lead, np.shape(x)[1])
            assert not MESHES[plain].layers or network.explicit()(x).shape == shape
            for outside in ("extend", "nan", "raise"):
                shapes = [ask(x, outside=outside).shape for ask in questions(network)]
                assert shapes == [shape, (*lead, dim, np.shape(x)[1]), shape][: len(shapes)]


def with_bad_points(dim, count):
    """NaN, ∞, −∞ in the last columns, from index count − 3 on."""
    x = np.ones((dim, count))
    x[0, -3], x[-1, -2], x[:, -1] = np.nan, np.inf, -np.inf
    return x


#: From a dimension: points; and how they are refused.
BAD_POINTS = {
    "some": (lambda d: with_bad_points(d, 4), ValueError, "3 of 4 points are NaN or inf.* 1$"),
    "narrow": (lambda d: with_bad_points(d, 4).astype("f4"), ValueError, "3 of 4 .* index 1$"),
    "many": (lambda d: with_bad_points(d, 40_000), ValueError, "3 of 40000 .* index 39997$"),
    "turned": (lambda d: with_bad_points(d, 40_000).T.copy().T, ValueError, ".* index 39997$"),
    "rows": (lambda d: np.zeros((5, d)), ValueError, r", n\).*not \(5, .*passed as .*points\.T"),
    "a row less": (lambda d: np.zeros((d - 1, 5)), ValueError, r"must have shape"),
    "nothing": (lambda d: np.zeros((0, 0)), ValueError, r"not \(0, 0\)"),
    "a vector": (lambda d: np.zeros(d), ValueError, r"not \(.,\)"),
    "a number": (lambda d: 0.0, ValueError, r"not \(\)"),
    "a stack": (lambda d: np.zeros((d, 3, 1)), ValueError, r"not \(., 3, 1\)"),
    "texts": (lambda d: [["a", "b"]] * d, TypeError, "real numbers .*, not <U1"),
    "complex": (lambda d: np.zeros((d, 3), complex), TypeError, "real .*, not complex128"),
    "truths": (lambda d: np.zeros((d, 3), bool), TypeError, "real numbers .*, not bool"),
    "objects": (lambda d: [[None]] * d, TypeError, "real numbers .*, not object"),
    "masked": (lambda d: np.ma.zeros((d, 3)), TypeError, "masked array"),
    "of more dimensions": (lambda d: np.arange(9.0).reshape(3, 3), ValueError, "row .* varies"),
}


def test_impossible_points_on_one_rank_are_refused_on_all(plain, comm):
    last = comm.size - 1
    cases = list(cases_of(plain, KINDS, LAYOUTS, ("f8",), ((),)))
    for (kind, layout, *_), name in each(cases, BAD_POINTS):
        network, (bad, error, message) = made(plain, kind, layout), BAD_POINTS[name]
        if name == "of more dimensions" and network.dim_in == 3:
            continue
        good = np.ones((network.dim_in, 2))
        told = layout != "alone" and comm.rank < last
        for ask in questions(network):
            with pytest.raises(error, match=message) as caught:
                ask(good if told else bad(network.dim_in))
            assert str(caught.value).startswith(f"on rank {last}: ") == told
        assert network(good).shape == (2,)


#: From a number of nodes: values; and how they are refused.
BAD_VALUES = {
    "one more": (lambda n: np.ones(n + 1), ValueError, r"shape \(\d+,\) or \(k, \d+\), not \("),
    "turned": (lambda n: np.ones((n, 2)), ValueError, "not "),
    "a stack": (lambda n: np.ones((1, 1, n)), ValueError, r"not \(1, 1, "),
    "a number": (lambda n: np.float64(1), ValueError, r"not \(\)"),
    "no outputs": (lambda n: np.ones((0, n)), ValueError, r"not \(0, "),
    "NaN": (lambda n: np.where(np.arange(n) < 2, np.nan, 1), ValueError, "2 of .* are NaN"),
    "infinity": (lambda n: np.full((2, n), np.inf), ValueError, "nodal values are NaN or infinite"),
    "integers": (lambda n: np.ones(n, int), TypeError, "float32 or float64, not int64"),
    "complex": (lambda n: np.ones(n, complex), TypeError, "float64, not complex128"),
    "texts": (lambda n: ["a"] * n, TypeError, "float32 or float64, not <U1"),
    "masked": (lambda n: np.ma.ones(n), TypeError, "masked array"),
}


def test_impossible_values_are_refused(plain):
    for kind, name in each([kind for kind in NODAL if kind in MESHES[plain].kinds], BAD_VALUES):
        network, (bad, error, message) = made(plain, kind), BAD_VALUES[name]
        with pytest.raises(error, match=message):
            type(network)(network.mesh, bad(network.values.size))


# What a network is


def test_the_whole_network_on_all_ranks_or_one(row, comm):
    for kind, layout, dtype, shape in cases_of(row, layouts=LAYOUTS):
        network, alone = (made(row, kind, where, dtype, shape) for where in (layout, "alone"))
        size = 1 if layout == "alone" else comm.size
        for whole in (network.gather(), network.whole(), network.gather(np.int64(0))):
            assert whole is None or (same(whole, alone) and whole.layout == Alone())
        assert (whole is None) == (layout != "alone" and comm.rank > 0)
        mine = network.gather(size - 1)
        assert (mine is not None) == (layout == "alone" or comm.rank == comm.size - 1)
        if kind in NODAL:
            nodes = np.random.default_rng(comm.rank).integers(0, alone.values.shape[-1], 50)
            nodes = nodes[: 10 * comm.rank + 1]
            _, order = network.layout.gather_mesh(network.mesh, network.degree)
            found = network.nodal_values(np.arange(alone.values.shape[-1])[order][nodes])
            assert found.tobytes() == np.atleast_2d(alone.values)[:, nodes].tobytes()
        for root, error in ((size, ValueError), (-1, ValueError), (0.5, TypeError)):
            with pytest.raises(error, match=f"root must be .*{root}"):
                network.gather(root)


def test_networks_do_not_change(plain, comm):
    for network in networks(plain, layouts=LAYOUTS):
        for field in fields(network):
            with pytest.raises(FrozenInstanceError):
                setattr(network, field.name, None)
        name = "coefficients" if isinstance(network, Surrogate) else "values"
        with pytest.raises(ValueError, match="read-only"):
            getattr(network, name)[...] = 1
        given = getattr(network, name).copy()
        copied = replace(network, **{name: given})
        x = own_points(network, comm.rank)
        given[:] = 0
        for ask, again in zip(questions(network), questions(copied), strict=True):
            assert ask(x).tobytes() == again(x).tobytes() == ask(x).tobytes()
        assert same(network, copied)


def test_copies_of_whole_networks_are_alone_and_spread_ones_are_not_copied(plain, comm):
    for network in networks(plain, layouts=LAYOUTS):
        x = own_points(network, comm.rank)
        values = network(x)
        for copied in (copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))):
            if network.layout.is_spread:
                with pytest.raises(TypeError, match=r"gather\(\)"):
                    copied(network)
            else:
                found = copied(network)
                assert found.layout == Alone()
                assert same(found, network)
                assert found(x).tobytes() == values.tobytes()


# Functions of dolfinx


def test_functions_come_back_bit_for_bit_on_any_partition(row, comm):
    shapes = ((), (2, 2))
    for kind, layout, dtype, shape in cases_of(row, ("P1", "P2"), LAYOUTS[1:], outputs=shapes):
        degree, network_of = KINDS[kind]
        meshes = domain(row, dtype=dtype), domain(row, dtype=dtype, partitioner=on_first_rank)
        functions = [function_on(msh, degree, shape) for msh in meshes]
        for u in functions:
            u.x.array[u.x.array < -1] *= 0.0  # −0.0 too
        network = network_of(functions[0], layout=layout)
        for u in functions:
            back, certificate = function_from_network(network, u.function_space)
            assert back.x.array.dtype == dtype
            assert back.x.array.tobytes() == u.x.array.tobytes()
            assert certificate.exact == (degree == 1)
            assert certificate.lower <= network.error_bound <= certificate.upper


SPACES = (("P", 1, (2,)), ("P", 2, (2,)), ("DG", 1, (2,)), ("DG", 0, (2,)))


def test_networks_are_interpolated_once_or_by_plans(plain, comm):
    cases = list(cases_of(plain, KINDS, LAYOUTS[1:], ("f8",), ((2,),)))
    for (kind, layout, *_), element in each(cases, SPACES):
        W = fem.functionspace(domain(PLAIN[plain]), element)
        one, later = (made(plain, kind, layout, "f8", (2,), seed) for seed in (7, 8))
        u, transfer = fem.Function(W), interpolation_plan(one, W) if kind in NODAL else None
        for network, seed in ((later, 8), (one, 7)):
            found, expected = fem.Function(W), fem.Function(W)
            found.interpolate(network)
            expected.interpolate(made(plain, kind, "alone", "f8", (2,), seed))
            assert found.x.array.tobytes() == expected.x.array.tobytes()
            expected.x.scatter_forward()
            for found in (transfer(network), transfer(network, u)) if transfer else ():
                assert np.abs(found.x.array - expected.x.array).max(initial=0) < 1e-12
            assert transfer is None or transfer(network, u) is u


def test_nodes_outside_are_extended_marked_or_refused(plain, comm):
    V = fem.functionspace(domain(PLAIN[plain]), ("P", 1))

    def back(network, **options):
        return function_from_network(network, V, **options)[0].x.array

    def planned(network, **options):
        return interpolation_plan(network, V, **options)(network).x.array

    cases = list(cases_of(plain, NODAL, LAYOUTS[1:], ("f8",), ((),)))
    for (kind, layout, *_), interpolated in each(cases, (back, planned)):
        network = made(plain, kind, layout)
        out = ~whole_mesh(network).contains(V.tabulate_dof_coordinates().T[: network.dim_in])
        assert comm.allreduce(out.sum()) > 0
        found, extended = interpolated(network, outside="nan"), interpolated(network)
        assert (np.isnan(found) == out).all()
        assert (found[~out] == extended[~out]).all()
        with pytest.raises(ValueError, match=r"points are outside the mesh, the first at"):
            interpolated(network, outside="raise")


def test_a_conversion_serves_a_time_series(row, comm):
    """And leaves no trace in networks that it made before; ghosts need no update."""
    for kind, layout, dtype, shape in cases_of(row, ("P1", "P2"), LAYOUTS[1:], outputs=((2,),)):
        msh = domain(row, dtype=dtype)
        steps = [function_on(msh, KINDS[kind][0], shape, seed) for seed in (7, 8)]
        V = steps[0].function_space
        conversion, u, found = Conversion(V, layout=layout), steps[0].copy(), []
        for step in (steps[1], *steps):
            u.x.array[:] = step.x.array
            u.x.array[V.dofmap.index_map.size_local * V.dofmap.index_map_bs :] = np.nan
            found.append(conversion(u))
            assert found[-1].mesh is conversion.mesh
            assert found[-1].layout is conversion.layout
        u.x.array[:] = 0
        for step, network in zip(steps, found[1:], strict=True):
            assert same(network, network_from_function(step, layout=layout))
        assert same(found[0], found[2])
        if kind == "P1" and MESHES[row].layers:
            hidden = [network.explicit().layers[:-1] for network in found[:2]]
            assert all(same_layer(*pair) for pair in zip(*hidden, strict=True))


def test_a_mesh_that_has_moved_is_noticed_on_all_ranks(plain, comm):
    for kind, layout, dtype, _ in cases_of(plain, ("P1", "P2"), LAYOUTS[1:], outputs=((),)):
        msh = MESHES[plain].make(comm, dtype=dtype)
        u = function_on(msh, KINDS[kind][0])
        conversion = Conversion(u.function_space, layout=layout)
        network = conversion(u)
        transfer = interpolation_plan(network, u.function_space)
        kept = msh.geometry.x.copy()
        for rank in {0, comm.size - 1}:
            if comm.rank == rank:
                msh.geometry.x[-1, 0] = np.nextafter(kept[-1, 0], kept.dtype.type(9))
            for call, argument in ((conversion, u), (transfer, network)):
                with pytest.raises(ValueError, match="mesh has moved"):
                    call(argument)
            msh.geometry.x[:] = kept
            assert same(conversion(u), network)
            assert transfer(network).x.array.shape == u.x.array.shape


# Ranks that disagree


def test_complex_functions_are_pairs_of_outputs(row, comm, rng, tmp_path):
    """Real and imaginary part of each component; they come back to the bit from anywhere."""
    for kind, layout, dtype, shape in cases_of(row, ("P1", "P2"), LAYOUTS[1:], outputs=OUTPUTS):
        degree, network_of = KINDS[kind]
        wide = np.result_type(dtype, np.complex64)
        V = fem.functionspace(domain(row, dtype=dtype), ("P", degree, shape))
        z, parts = fem.Function(V, dtype=wide), [fem.Function(V, dtype=dtype) for _ in range(2)]
        for u, seed in zip(parts, (3, 4), strict=True):
            u.x.array[:] = random_function(V, np.random.default_rng(seed)).x.array
            u.x.array[u.x.array < -1] *= 0.0  # −0.0 too
        z.x.array.real, z.x.array.imag = (u.x.array for u in parts)
        network, real, imag = (network_of(u, layout=layout) for u in (z, *parts))
        assert network.is_complex
        assert network.dtype == dtype
        assert network.dim_out == 2 * real.dim_out
        x = own_points(network, comm.rank, 60)
        found = network(x)
        assert found[::2].tobytes() == np.atleast_2d(real(x)).tobytes()
        assert found[1::2].tobytes() == np.atleast_2d(imag(x)).tobytes()
        back, _ = function_from_network(network, V)
        assert back.x.array.dtype == wide
        assert back.x.array.tobytes() == z.x.array.tobytes()
        again = interpolation_plan(network, V)(network)
        assert again.x.array.dtype == wide
        assert network.gather().is_complex
        path = comm.bcast(str(tmp_path / "z.safetensors"))
        fe_relu.save(network, path)
        assert fe_relu.load(path).is_complex
        u = fem.Function(V, dtype=dtype)
        with pytest.raises(ValueError, match=f"fem.Function.V, dtype=np.{wide}. is alike"):
            interpolation_plan(network, V)(network, u)


def quarrels(row, layout, odd):
    """Calls that the rank that is odd makes in another way than the others."""
    has_p2 = "P2" in (MESHES[row].spread if layout == "blocks" else MESHES[row].kinds)
    one, wide = (made(row, "P1", layout, "f8", outputs) for outputs in OUTPUTS)
    V, V2, W = (fem.functionspace(domain(row), ("P", *more)) for more in ((1,), (2,), (1, (2,))))
    conversion, u, z = Conversion(V, layout=layout), fem.Function(V), fem.Function(V, dtype="c16")
    other = fem.Function(fem.functionspace(domain(row), ("P", 1)))
    mine, x, nodes = (wide if odd else one), own_points(one, 0, 60), np.arange(3)
    kinds = [made(row, name, layout) for name in ("P1", "P2")[: 1 + has_p2]]  # on all ranks
    kind = kinds[-1] if odd else kinds[0]
    plan, transfer = one.plan(x), interpolation_plan(one, V)
    calls = {
        "layouts": lambda: Conversion(V, layout="blocks" if odd else "replicated"),
        "degrees": lambda: Conversion(V2 if odd else V),
        "value shapes": lambda: Conversion(W if odd else V),
        "tolerances": lambda: Conversion(V, rtol=1e-8 * (1 + odd)),
        "spaces of functions": lambda: conversion(other if odd else u),
        "no function": lambda: conversion(None if odd else u),
        "complex": lambda: conversion(z if odd else u),
        "roots": lambda: one.gather(int(odd)),
        "no root": lambda: one.gather(None if odd else 0),
        "half a root": lambda: one.gather(0.5 if odd else 0),
        "questions": lambda: one.gradient(x) if odd else one(x),
        "outputs": lambda: mine(x),
        "outputs of gradients": lambda: mine.gradient(x),
        "outputs of plans": lambda: mine.plan(x),
        "planned outputs": lambda: plan(mine),
        "gathered outputs": lambda: mine.gather(),
        "outputs at nodes": lambda: mine.nodal_values(nodes),
        "interpolated outputs": lambda: transfer(mine),
        "outputs to a function": lambda: function_from_network(mine, V),
        "outputs and spaces": lambda: function_from_network(mine, W if odd else V),
        "a callable": lambda: function_from_network(one.whole().__call__ if odd else one, V),
        "elements": lambda: function_from_network(one, V2 if odd else V),
        "no space for a function": lambda: function_from_network(one, None if odd else V),
        "no network": lambda: function_from_network(None if odd else one, V),
        "elements to plan": lambda: interpolation_plan(one, V2 if odd else V),
        "outputs to plan": lambda: interpolation_plan(mine, V),
        "no network to plan": lambda: interpolation_plan(None if odd else one, V),
        "no space to plan": lambda: interpolation_plan(one, None if odd else V),
    }
    of_p2 = {
        "levels": lambda: Conversion(V2, levels=3 + odd),
        "kinds": lambda: kind(x),
        "planned kinds": lambda: plan(kind),
        "gathered kinds": lambda: kind.gather(),
    }
    return calls | of_p2 if has_p2 else calls


@pytest.mark.skipif(MPI.COMM_WORLD.size == 1, reason="one rank agrees with itself")
@pytest.mark.parametrize("odd", [0, -1])
def test_ranks_that_disagree_raise_together(plain, comm, odd):
    for (layout,) in each(MESHES[plain].layouts[1:]):
        calls = quarrels(plain, layout, comm.rank == odd % comm.size)
        network = made(plain, "P1", layout)
        for (name,) in each(calls):
            with pytest.raises((TypeError, ValueError)):
                calls[name]()
            assert network(own_points(network, comm.rank)).size


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RecursionError])
def test_what_stops_one_rank_stops_all(plain, comm, error):
    V = fem.functionspace(domain(plain), ("P", 1))

    def stopped(x):
        if comm.rank == comm.size - 1:
            raise error("enough")
        return x[0]

    with pytest.raises(error, match="enough"):
        function_from_network(stopped, V)
