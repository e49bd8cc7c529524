# SPDX-License-Identifier: MIT
"""Kinds of fault, each ruled out in one place: see the list in docs/guarantees.md.

Cases are drawn, the same on all ranks.
"""

import itertools
import math
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from mpi4py import MPI

import basix.ufl
import numpy as np
import pytest
import torch
from dolfinx import fem, mesh
from hypothesis import given, settings
from hypothesis import strategies as st

import fe_relu
from cases import bound, mapped, random_function, rectangle
from fe_relu import Grid, P1Network, P2Network
from fe_relu.basics import threads
from fe_relu.parallel.agreement import together
from fe_relu.parallel.layouts import Replicated
from runtime import without

WORLD = MPI.COMM_WORLD
FLOATS = (np.float32, np.float64)


def space(degree=1, shape=(), diagonal="crossed"):
    element = ("P", degree, shape) if shape else ("P", degree)
    return fem.functionspace(rectangle(WORLD, diagonal, (6, 5)), element)


def network(layout="blocks", degree=1, shape=()):
    u = random_function(space(degree, shape), np.random.default_rng(3))
    return fe_relu.network_from_function(u, layout=layout)


def converted(**options):
    return fe_relu.network_from_function(fem.Function(space(2)), **options)


#: Calls whose ranks must agree on an argument, and what may differ there.
CALLS = {
    "layout": (lambda word: converted(layout=word), ["blocks", "replicated", "sharded", None]),
    "levels": (lambda levels: converted(levels=levels), [3, 4, 0, 1.5, True]),
    "rtol": (lambda rtol: converted(rtol=rtol), [1e-8, 1e-6, -1.0, float("nan")]),
    "root": (lambda root: network().gather(root), [None, 0, 0.5, True, 99]),
    "box": (lambda box: fe_relu.bounds(network(), box), [None, ((0, 1), (0, 1)), ((0, 1), (1, 1))]),
    "tol": (
        lambda tol: fe_relu.hierarchical_from_function(
            fem.Function(fem.functionspace(rectangle(WORLD), ("P", 1))), layout="blocks"
        ).compress(tol=tol),
        [0.1, 0.2, -1.0, None],
    ),
    "outputs": (
        lambda outputs: P1Network(
            Grid((0, 0), np.eye(2), (2, 2), "right"), np.ones((outputs, 9)), Replicated(WORLD)
        )([[0.5], [0.5]]),
        [1, 2, 3],
    ),
    "network": (
        lambda degree: fe_relu.function_from_network(
            {d: network("replicated", d) for d in (1, 2)}[degree], space()
        ),
        [1, 2],
    ),
    "space": (
        lambda keep: fe_relu.function_from_network(network(), {True: space()}.get(keep)),
        [True, False],
    ),
    "points": (
        lambda x: network()(np.asarray(x)),
        [np.ones((2, 3)), np.ones((5, 2)), [["a"], ["b"]], [[np.nan], [0.0]], 1j * np.ones((2, 1))],
    ),
    "dtype": (
        lambda dtype: P1Network(
            Grid((0, 0), np.eye(2), (1, 1), "left"), np.ones(4, dtype), Replicated(WORLD)
        ).plan([[0.5], [0.5]]),
        FLOATS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_ranks_that_differ_in_one_argument_all_raise_the_same(comm, name):
    """Nobody waits for ever: the time limit of each test would tell."""
    call, values = CALLS[name]
    for usual, other in itertools.permutations(range(len(values)), 2):
        caught = None
        try:
            call(values[other if comm.rank == comm.size - 1 else usual])
        except (TypeError, ValueError) as error:
            caught = type(error)
        assert len(set(comm.allgather(caught))) == 1
        if comm.size > 1 and name != "points":  # points may differ, if all are points
            assert caught is not None


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    entries=st.sampled_from(FLOATS),
    points=st.sampled_from(FLOATS),
    degree=st.sampled_from([1, 2]),
    diagonal=st.sampled_from(["right", "crossed", "left_right"]),
    seed=st.integers(0, 2**16),
)
def test_answers_are_computed_in_the_dtype_of_the_answer(entries, points, degree, diagonal, seed):
    """Call, gradient and plan: those of the same numbers in the wider dtype, bit for bit."""
    rng = np.random.default_rng(seed)
    grid = Grid((0.25, -1), [[0.5, 0.125], [0, 0.25]], (5, 3), diagonal)
    values = rng.standard_normal(grid.refined(degree).num_vertices).astype(entries)
    kind = {1: P1Network, 2: P2Network}[degree]
    x = (grid.origin[:, None] + grid.axes @ rng.uniform(-1, 6, (2, 40))).astype(points)
    narrow, wide = kind(grid, values), kind(grid, values.astype(np.result_type(entries, points)))
    for ask in (lambda u: u(x), lambda u: u.gradient(x), lambda u: u.plan(x)(u)):
        found, expected = ask(narrow), ask(wide)
        assert found.dtype == np.result_type(entries, points)
        assert found.tobytes() == expected.tobytes()
    if entries != points:
        with pytest.raises(ValueError, match="another type of values"):
            narrow.plan(x)(kind(grid, values.astype(FLOATS[entries == np.float32])))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError, UnicodeDecodeError])
def test_whatever_is_raised_on_one_rank_is_raised_on_all(comm, kind):
    def fail_on_last_rank():
        with together(comm):
            if comm.rank == comm.size - 1:
                if kind is MemoryError:
                    np.empty(1 << 50)  # NumPy's own kind of it
                if kind is UnicodeDecodeError:
                    b"\xff".decode()
                raise kind("stop")

    with pytest.raises(UnicodeError if kind is UnicodeDecodeError else kind):
        fail_on_last_rank()
    assert comm.allreduce(1) == comm.size


@pytest.mark.parametrize("where", ["own pass", "answering"])
def test_an_error_in_evaluation_is_told_to_all(comm, where):
    """Also of a rank that only answers others' points: those must not wait for it."""
    spread = network()
    table, last = spread.table, comm.size - 1
    calls = []

    class Failing:
        def values(self, x, dtype):
            calls.append(x.shape[1])
            if comm.rank == last and len(calls) == (1 if where == "own pass" else 2):
                raise MemoryError("no room")
            return table.values(x, dtype)

    object.__setattr__(spread, "table", Failing())
    x = np.random.default_rng(comm.rank).random((2, 200))
    if comm.size == 1 and where == "answering":
        assert spread(x).shape == (200,)
        return
    with pytest.raises(MemoryError, match="no room"):
        spread(x)


def test_a_network_with_a_communicator_is_pickled_alone_or_not_at_all(comm):
    for layout in ("replicated", "blocks"):
        original = network(layout)
        if original.layout.is_spread:
            with pytest.raises(TypeError, match=r"network\.gather\(\)"):
                pickle.dumps(original)
            continue
        copy = pickle.loads(pickle.dumps(original))
        assert copy.comm is None
        assert copy.values.tobytes() == original.values.tobytes()
        assert copy([[0.3], [0.4]]).tobytes() == original([[0.3], [0.4]]).tobytes()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_threads_are_new_after_a_fork(monkeypatch):
    monkeypatch.setattr(threads, "POINTS_PER_THREAD", 10)
    monkeypatch.setenv("FE_RELU_NUM_THREADS", "2")
    grid = Grid((0, 0), np.eye(2), (4, 4), "right")
    u = P1Network(grid, np.arange(25.0))
    x = np.random.default_rng(0).random((2, 100)) * 4
    expected = u(x)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: sender.send(u(x)))
    child.start()
    assert receiver.poll(20), "the child hangs"
    assert receiver.recv().tobytes() == expected.tobytes()
    child.join(20)


def run(code, folder=None, **variables):
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX", "PRTE"))
    }
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        timeout=100, cwd=folder,        env=environment | variables,
    )  # fmt: skip


EVALUATE = """
import numpy as np, fe_relu
grid = fe_relu.Grid((0, 0), np.eye(2), (1, 1), "right")
print(fe_relu.P1Network(grid, np.arange(4.0))([[0.5], [0.25]]))
"""


def test_damaged_caches_of_compiled_code_cost_time_only(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert run(EVALUATE, **cache).stderr == ""
    kept = [path for path in tmp_path.rglob("*") if path.suffix in (".nbi", ".nbc")]
    for number, path in enumerate(kept):
        path.write_bytes(b"" if number % 2 else path.read_bytes()[:20])
    damaged = run(EVALUATE, **cache)
    assert damaged.stdout == "[1.]\n"
    assert damaged.stderr.count("compiled code is not kept") == 1
    assert run(EVALUATE, **cache).stderr == ""


def test_without_a_place_for_compiled_code_there_is_one_warning(tmp_path):
    nowhere = tmp_path / "file"
    nowhere.touch()
    code = "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n" + EVALUATE
    found = run(code)
    assert found.stdout == "[1.]\n"
    assert found.stderr.count("RuntimeWarning") == 1


def refusal(make):
    """What is said of a space or a function that cannot be converted."""
    with pytest.raises((fe_relu.UnsupportedFunctionError, fe_relu.NotStructuredError)) as caught:
        make()
    return str(caught.value)


def triangles():
    return mesh.create_unit_square(WORLD, 4, 3)


def hexahedra():
    return mesh.create_unit_cube(WORLD, 2, 3, 2, mesh.CellType.hexahedron)


def quadrilaterals():
    return mesh.create_unit_square(WORLD, 4, 3, mesh.CellType.quadrilateral)


def flat():
    """A square in space."""
    x, cells = np.array([[0, 0, 1.0], [1, 0, 1], [0, 1, 1], [1, 1, 1]]), [[0, 1, 3], [0, 3, 2]]
    here = slice(None) if WORLD.rank == 0 else slice(0)
    element = basix.ufl.element("P", "triangle", 1, shape=(3,))
    return mesh.create_mesh(WORLD, cells=np.array(cells)[here], x=x[here], e=element)


#: Spaces and functions that are no networks, and what to type instead.
WAYS_ON = {
    "hexahedra": (lambda: fem.functionspace(hexahedra(), ("P", 1)), "tetrahedron"),
    "Q2": (lambda: fem.functionspace(quadrilaterals(), ("P", 2)), "interpolate(u)"),
    "Bernstein": (
        lambda: fem.functionspace(
            triangles(),
            basix.ufl.element("P", "triangle", 2, lagrange_variant=basix.LagrangeVariant.bernstein),
        ),
        "interpolate(u)",
    ),
    "P3": (lambda: fem.functionspace(triangles(), ("P", 3)), "interpolate(u)"),
    "DG": (lambda: fem.functionspace(triangles(), ("DG", 1)), "interpolate(u)"),
    "edges": (lambda: fem.functionspace(triangles(), ("N1curl", 1)), "interpolate(u)"),
    "component": (lambda: fem.functionspace(triangles(), ("P", 1, (2,))).sub(1), ".collapse()"),
    "mixed": (
        lambda: fem.functionspace(
            triangles(),
            basix.ufl.mixed_element([basix.ufl.element("P", "triangle", d) for d in (2, 1)]),
        ),
        ".sub(i).collapse()",
    ),
    "symmetric": (
        lambda: fem.functionspace(
            triangles(), basix.ufl.element("P", "triangle", 1, shape=(2, 2), symmetry=True)
        ),
        "('P', 1, (d, d))",
    ),
}


@pytest.mark.parametrize("name", WAYS_ON)
def test_each_refusal_names_the_next_line_to_type(comm, name):
    make, way_on = WAYS_ON[name]
    V = make()
    assert way_on in refusal(lambda: fe_relu.Conversion(V))


def test_refusals_of_complex_functions_and_flat_meshes_name_a_way_on(comm):
    V = fem.functionspace(triangles(), ("P", 1))
    z = fem.Function(V, dtype=complex)
    assert ".imag" in refusal(lambda: fe_relu.hierarchical_from_function(z))
    W = fem.functionspace(flat(), ("P", 1))
    assert "gdim=2" in refusal(lambda: fe_relu.Conversion(W))


def test_points_and_callables_lose_nothing_without_a_word(comm):
    u = network("replicated")
    rows = np.array([[0.1, 0.2, 0.0], [0.3, 0.4, 0.0], [0.5, 0.6, 0.1]])  # as u.eval takes them
    with pytest.raises(ValueError, match=r"points\.T"):
        u(rows)
    with pytest.raises(TypeError, match="masked"):
        u(np.ma.masked_less(rows[:, :2].T, 0.2))
    for make, message in (
        (lambda x: x[0] + 1j, "real"),
        (lambda x: np.ma.masked_less(x[0], 0.5), "masked"),
    ):
        with pytest.raises(TypeError, match=message):
            fe_relu.function_from_network(make, space())


def test_a_mesh_that_has_moved_is_refused(comm):
    V, W = space(), fem.functionspace(triangles(), ("P", 1))
    conversion, u = fe_relu.Conversion(V), fem.Function(V)
    transfer = fe_relu.interpolation_plan(conversion(u), W)
    if comm.rank == comm.size - 1:
        W.mesh.geometry.x[:1] += 1e-9
        V.mesh.geometry.x[:, 0] += 0.5
    for late in (lambda: conversion(u), lambda: transfer(network())):
        with pytest.raises(ValueError, match="the mesh has moved"):
            late()


@pytest.mark.parametrize("off", [1e-7, 3e-5, 2e-3])
def test_a_mesh_nearly_on_a_lattice_is_taken_or_told_by_how_much_it_is_off(comm, off):
    """As after float32 text, or in coordinates counted from far away."""
    msh = rectangle(comm, "right", (8, 8))
    x = msh.geometry.x
    x[:, :2] += off / 8 * np.sin(1e3 * x[:, :2])
    u = random_function(fem.functionspace(msh, ("P", 1)), np.random.default_rng(1))
    options = {}
    if off > 1e-3:
        said = refusal(lambda: fe_relu.grid_from_mesh(msh))
        options = {"rtol": float(re.search(r"rtol=(\S+) accepts", said)[1])}
    network = fe_relu.network_from_function(u, **options)
    assert isinstance(network.mesh, Grid)
    back, certificate = fe_relu.function_from_network(network, u.function_space)
    assert back.x.array.tobytes() == u.x.array.tobytes()
    assert certificate.upper >= certificate.lower
    local = x[:, :2].T.astype(np.float32)
    assert np.isfinite(network(local, outside="nan")).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_mesh_contains_its_vertices_however_they_are_written(comm, dtype):
    turned = np.array([[0.8, -0.6], [0.6, 0.8]])
    msh = mapped(rectangle(comm, "left", (9, 7), dtype=dtype), turned)
    grid = fe_relu.grid_from_mesh(msh)
    assert grid.contains(msh.geometry.x[:, :2].T.astype(np.float64)).all()


def test_values_near_the_largest_float_do_not_overflow_on_the_way(comm):
    for degree, diagonal in itertools.product((1, 2), ("left_right", "crossed")):
        V = space(degree, diagonal=diagonal)
        u = random_function(V, np.random.default_rng(2))
        most = np.finfo(u.x.array.dtype).max
        u.x.array[:] = np.where(u.x.array > 0, 1, -1) * most / 2 * (1 + 1e-3)
        network = fe_relu.network_from_function(u)
        small = fem.Function(V)
        small.x.array[:] = u.x.array / 2**40
        points = np.random.default_rng(comm.rank).random((2, 200))
        expected = fe_relu.network_from_function(small)(points)
        assert np.abs(network(points) / 2**40 - expected).max() <= 1e-13 * np.abs(expected).max()
        assert network.error_bound < np.inf
        vertices = V.mesh.geometry.x[:, :2].T
        assert np.isfinite(network(vertices)).all()
        assert np.abs(network(vertices) - network(vertices + 1e-13)).max() < 1e298
        with np.errstate(over="ignore", invalid="ignore"):
            W = fem.functionspace(rectangle(comm, "right", (5, 7)), ("P", 1))
            _, certificate = fe_relu.function_from_network(network, W)
        assert not certificate.exact
        assert certificate.upper > 1e307


def test_transfer_goes_to_values_at_points_only(comm):
    """A Bernstein element has the family of Lagrange's, but its dofs are no values."""
    variant = basix.LagrangeVariant.bernstein
    element = basix.ufl.element("P", "triangle", 2, lagrange_variant=variant)
    W = fem.functionspace(rectangle(comm, "right", (3, 3)), element)
    with pytest.raises(fe_relu.UnsupportedFunctionError, match="given by their values at points"):
        fe_relu.interpolation_plan(network(), W)


@pytest.mark.parametrize("sides", [(1e6, 1.0), (1.0, 1e-4), (3.0, 2.0)])
@pytest.mark.parametrize("dtype", FLOATS)
def test_roundoff_stays_below_its_bound_on_thin_meshes_that_are_turned(sides, dtype):
    turned, shape = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2), (7, 5)
    grid = Grid((0.1, -0.3), turned @ np.diag(np.array(sides) / shape), shape, "right")
    rng = np.random.default_rng(4)
    u = P1Network(grid, rng.standard_normal(grid.num_vertices).astype(dtype))
    x = (grid.origin[:, None] + grid.axes @ (rng.random((2, 300)) * np.array([shape]).T)).astype(
        dtype
    )
    exact = [on_right_cells(grid, u.values, point) for point in x.T.tolist()]
    inside = [k for k, value in enumerate(exact) if value is not None]
    off = np.abs([float(exact[k] - Fraction(float(u(x)[k]))) for k in inside])
    assert len(inside) > 250
    assert (off <= bound(grid, x[:, inside], u.values, dtype)).all()


def on_right_cells(grid, values, point):
    """The P1 function at a point of the mesh in exact arithmetic, None elsewhere."""
    (a, b), (c, d) = ([Fraction(entry) for entry in row] for row in grid.axes.tolist())
    x, y = (Fraction(p) - Fraction(o) for p, o in zip(point, grid.origin.tolist(), strict=True))
    s, t = (d * x - b * y) / (a * d - b * c), (a * y - c * x) / (a * d - b * c)
    i, j = math.floor(s), math.floor(t)
    if not (0 <= i < grid.shape[0] and 0 <= j < grid.shape[1]):
        return None
    row, (s, t) = grid.shape[0] + 1, (s - i, t - j)
    first, last = i + row * j, i + row * (j + 1) + 1
    middle = first + 1 if s > t else last - 1
    u, v, w = (Fraction(float(values[k])) for k in (first, middle, last))
    return u + max(s, t) * (v - u) + min(s, t) * (w - v)


def test_what_needs_no_other_rank_asks_none(comm):
    """As in `if rank == 0: …` on a network whose values are all here."""
    from fe_relu import plot

    u = network("replicated")
    if comm.rank == 0:
        plot.function(u, resolution=20)
        plot.kink_lines(u)
        assert fe_relu.to_torch(u, form="active")(torch.zeros(1, 2)).shape == (1, 1)
        assert u.explicit().widths[-1] == 1


def test_long_messages_are_sent_in_pieces(comm, monkeypatch):
    from fe_relu.parallel import exchange

    u = network()
    x = np.random.default_rng(comm.rank).random((2, 300))
    expected = u(x)
    monkeypatch.setattr(exchange, "MAX_BYTES", 1000)
    assert u(x).tobytes() == expected.tobytes()
    assert u.plan(x)(u).tobytes() == expected.tobytes()
    assert u.gather()(x).tobytes() == expected.tobytes()


@pytest.mark.parametrize("value", ["", "0", "many", "-3"])
def test_what_openmp_ignores_is_ignored(monkeypatch, value):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.num_threads() >= 1


def test_what_is_missing_is_named_with_what_to_install():
    code = (
        "import fe_relu\ntry: fe_relu.network_from_function(1)\nexcept ImportError as e: print(e)"
    )
    assert "apt install python3-dolfinx" in without("dolfinx", code)


def test_any_change_of_source_makes_compiled_code_old(tmp_path):
    """Also of another module, whose functions are compiled into this one's."""
    copy = tmp_path / "fe_relu"
    shutil.copytree(Path(fe_relu.__file__).parent, copy, ignore=shutil.ignore_patterns("*.nb?"))
    hits = "print(len(fe_relu.meshes.grid.loops.evaluate.stats.cache_hits))"
    once = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}

    def cache_hits():
        return run(EVALUATE + hits, folder=tmp_path, **once).stdout.split()[-1]

    assert [cache_hits(), cache_hits()] == ["0", "1"]
    with (copy / "basics" / "points.py").open("a") as file:
        file.write("\n# changed\n")
    assert cache_hits() == "0"
