# SPDX-License-Identifier: MIT
"""Files of P2, hierarchical and surrogate networks: any ranks, hostile claims; who takes which."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dolfinx import fem
from test_files import bits, changed, counting, described, hostile_message, numbers, weights

import fe_relu
from cases import DIAGONALS, MAPS, mapped, on_first_rank, random_function, rectangle
from fe_relu import Grid, HierarchicalNetwork, P2Network, load, save
from fe_relu.formats import files, kinds, stored
from fe_relu.hierarchy import transform
from fe_relu.hierarchy.transform import Surrogate, hierarchical_from_network
from fe_relu.hierarchy.nested import NESTING, numbers_in_finer


@pytest.fixture
def shared(comm, tmp_path):
    """A folder that all ranks share."""
    return Path(comm.bcast(str(tmp_path)))


def saved_bytes(network, path):
    save(network, path)
    return path.read_bytes()


@pytest.mark.parametrize("diagonal", DIAGONALS)
@pytest.mark.parametrize("shape", [(5, 4), (1, 1)])
def test_p2_files_are_the_same_on_any_ranks(comm, shared, diagonal, shape):
    """Also where ranks have no cells, or hold no block."""
    x = np.random.default_rng(comm.rank).uniform(-0.5, 1.5, (2, 40))
    for lead, options in (((), {"partitioner": on_first_rank}), ((2,), {})):
        msh = mapped(rectangle(comm, diagonal, shape, **options), MAPS["sheared"])
        V = fem.functionspace(msh, ("P", 2, lead) if lead else ("P", 2))
        u = random_function(V, np.random.default_rng(3))
        alone = fe_relu.network_from_function(u, levels=5).gather()
        expected = saved_bytes(alone, shared / f"alone{comm.rank}")
        for layout in ("replicated", "blocks"):
            made = fe_relu.network_from_function(u, levels=5, layout=layout)
            assert saved_bytes(made, shared / "together") == expected
            loaded = load(shared / "together", comm=comm, layout=layout)
            assert (loaded.blocks is not None) == (layout == "blocks" and comm.size > 1)
            assert loaded(x).tobytes() == alone(x).tobytes()
            assert loaded.error_bound == alone.error_bound
            assert bits(loaded.gather()) == bits(alone)
            assert saved_bytes(loaded, shared / "again") == expected
            comm.barrier()


#: (units for each rank, shape, levels, outputs): all levels inside of blocks, some, none; ranks
#: without a block.
SPREADS = [
    (1, (12, 20), 2, ()),
    (4, (16, 8), 3, (2,)),
    (10**6, (8, 8), 3, ()),
    (1, (1, 1), 0, (2,)),
]


def hierarchies(comm, monkeypatch, diagonal, spread):
    """One random function's hierarchy in both layouts, and on this rank alone."""
    units, shape, levels, outputs = spread
    monkeypatch.setattr(transform, "UNITS_PER_RANK", units)
    V = fem.functionspace(rectangle(comm, diagonal, shape), ("P", 1, outputs))
    u = random_function(V, np.random.default_rng(3))
    made = {
        layout: fe_relu.hierarchical_from_function(u, levels=levels, layout=layout)
        for layout in ("replicated", "blocks")
    }
    network = fe_relu.network_from_function(u).gather()
    return made, hierarchical_from_network(network, levels=levels)


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("diagonal", NESTING)
def test_hierarchical_files_are_the_same_on_any_ranks(comm, shared, monkeypatch, diagonal, spread):
    made, alone = hierarchies(comm, monkeypatch, diagonal, spread)
    expected = saved_bytes(alone, shared / f"alone{comm.rank}")
    for layout, network in made.items():
        assert saved_bytes(network, shared / "together") == expected
        loaded = load(shared / "together", comm=comm, layout=layout)
        assert (loaded.blocks is not None) == (layout == "blocks" and comm.size > 1)
        vertices = loaded.window.vertices(loaded.mesh)
        assert loaded.surpluses.tobytes() == alone.surpluses[..., vertices].tobytes()
        assert (loaded.coarse is not None) == loaded.nesting.is_shared
        assert loaded.nesting.inner == network.nesting.inner
        if loaded.coarse is not None:
            coarse = numbers_in_finer(loaded.mesh, loaded.nesting.unit)
            rows = np.atleast_2d(alone.surpluses)[:, coarse]
            assert loaded.coarse.tobytes() == network.coarse.tobytes() == rows.tobytes()
        assert bits(loaded.to_p1().gather()) == bits(alone.to_p1())
        small = loaded.compress(max_neurons=60).gather()
        assert bits(small) == bits(alone.compress(max_neurons=60))
        assert saved_bytes(loaded, shared / "again") == expected
        comm.barrier()


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("diagonal", NESTING)
def test_surrogate_files_are_the_same_on_any_ranks(comm, shared, monkeypatch, diagonal, spread):
    """A file has the whole set of vertices; in blocks each rank has those of its window."""
    made, whole = hierarchies(comm, monkeypatch, diagonal, spread)
    x = np.random.default_rng(comm.rank).uniform(-0.5, 1.5, (2, 40))
    for aim in ({"max_neurons": 90}, {"tol": 1e-300}, {"tol": 1e300}):
        alone = whole.compress(**aim)
        expected = saved_bytes(alone, shared / f"alone{comm.rank}")
        for layout, network in made.items():
            s = network.compress(**aim)
            assert saved_bytes(s, shared / "together") == expected
            loaded = load(shared / "together", comm=comm, layout=layout)
            assert (loaded.blocks is not None) == (layout == "blocks" and comm.size > 1)
            if loaded.blocks == s.blocks:  # dealt to the same ranks
                assert bits(loaded) == bits(s)
            assert loaded(x).tobytes() == alone(x).tobytes()
            assert loaded(x, nodal_levels=0) == pytest.approx(alone(x), abs=1e-13)
            assert bits(loaded.to_p1().gather()) == bits(alone.to_p1())
            assert bits(loaded.gather()) == bits(alone)
            assert saved_bytes(loaded, shared / "again") == expected
            comm.barrier()


def test_each_rank_reads_its_window_and_the_lattice_rows_of_the_coarse_mesh(
    comm, shared, monkeypatch
):
    made, alone = hierarchies(comm, monkeypatch, "crossed", (4, (16, 32), 4, ()))
    moved = {"write": 0, "read": 0}
    for name in moved:
        monkeypatch.setattr(stored, name, counting(moved, name))
    save(made["blocks"], shared / "network")
    assert comm.allreduce(moved["write"]) == alone.mesh.num_vertices
    loaded = load(shared / "network", comm=comm, layout="blocks")
    rows = 0
    if loaded.coarse is not None:
        rows = sum(loaded.nesting.coarse.shape[1] + k for k in (0, 1)) * (16 + 1)
    assert loaded.surpluses.size <= moved["read"] <= loaded.surpluses.size + rows


def test_ranks_with_networks_of_different_kinds_raise_together(comm, shared):
    h = hierarchical_from_network(example_p1())
    network = h.compress(max_neurons=20) if comm.rank == 0 else h.to_p1()
    network = replace(network, comm=comm)
    if comm.size > 1:
        with pytest.raises(TypeError, match="ranks pass different paths, networks or layouts"):
            save(network, shared / "network")
        assert not list(shared.iterdir())


# Hostile files


def example_p1():
    grid = Grid((0.5, 0), np.eye(2), (4, 2), "right")
    return fe_relu.P1Network(grid, np.random.default_rng(5).standard_normal(15))


def small_surrogate():
    grid = Grid((0.5, 0), np.eye(2), (4, 2), "right")
    return Surrogate(grid, 1, [0, 1, 4], [1.0, 2.0, 3.0], (2, 1), 0.5, 0.5, 0.25, 5.0)


#: What is done to the file of a P2Network on 1 x 1 cells with levels 3.
HOSTILE_P2 = {
    "no levels": (described('"levels": 3', '"level": 3'), "levels is None, not a finite int"),
    "levels of a text": (described('"levels": 3', '"levels": "3"'), "not a finite int"),
    "true levels": (described('"levels": 3', '"levels": true'), "levels is True, not a finite"),
    "half a level": (described('"levels": 3', '"levels": 3.0'), "levels is 3.0, not a finite int"),
    "level 0": (described('"levels": 3', '"levels": 0'), "levels must be from 1 to 26"),
    "many levels": (described('"levels": 3', '"levels": 27'), "levels must be from 1 to 26"),
    "levels beyond counting": (described('"levels": 3', f'"levels": {1 << 63}'), "finite int"),
    "levels of many digits": (described('"levels": 3', f'"levels": {4000 * "9"}'), "finite int"),
    "P1 values": (changed('"shape":[9],', '"shape":[3,3],'), r"shape \[3, 3\], but .* 9 vertices"),
    "another grid": (
        described("[1, 1]", "[2, 1]"),
        r"'values' has shape \[9\], but the grid of shape \[2, 1\], refined by 2, has 15 vertices",
    ),
    "a huge grid": (described("[1, 1]", f"[{(1 << 63) - 1}, {(1 << 63) - 1}]"), "refined by 2"),
    "steps that vanish": (described("[[1.0, 0.0]", "[[5e-324, 0.0]"), "parallel or zero"),
    "another kind": (described('"p2"', '"p1"'), r"the grid of shape \[1, 1\] has 4 vertices"),
    "a hierarchy": (described('"p2"', '"hierarchical"'), "array 'surpluses' is missing"),
    "NaN": (numbers(8, np.nan), "1 of 9 nodal values are NaN"),
}  # fmt: skip

#: What is done to the file of a hierarchy of 4 x 2 cells, halved once.
HOSTILE_HIERARCHICAL = {
    "no levels": (described('"levels": 1', '"level": 1'), "levels is None, not a finite int"),
    "levels by default": (described('"levels": 1', '"levels": null'), "levels is None"),
    "a level more": (described('"levels": 1', '"levels": 2'), "divisible by 4"),
    "a negative level": (described('"levels": 1', '"levels": -1'), "at least 0"),
    "levels beyond memory": (described('"levels": 1', f'"levels": {1 << 62}'), "at most 62"),
    "levels beyond bits": (described('"levels": 1', f'"levels": {1 << 64}'), "not a finite int"),
    "another grid": (described("[4, 2]", "[2, 2]"), "has 9 vertices"),
    "a huge grid": (described("[4, 2]", f"[{1 << 62}, {1 << 62}]"), "the grid of shape"),
    "a mesh that does not nest": (described('"right"', '"right_left"'), "do not nest"),
    "values": (changed('"surpluses"', '"values"'), "the array 'surpluses' is missing"),
    "NaN": (numbers(8, np.inf), "1 of 15 nodal values are NaN or infinite"),
}  # fmt: skip

#: What is done to the file of `small_surrogate()`.
HOSTILE_SURROGATE = {
    "no levels": (described('"levels": 1', '"level": 1'), "levels is None, not a finite int"),
    "a level more": (described('"levels": 1', '"levels": 2'), "divisible by 4"),
    "no kept": (described('"kept"', '"held"'), "kept is not a list"),
    "a kept more": (described("[2, 1]", "[3, 1]"), "kept must say how many .* of 2 levels, not"),
    "a part of the whole": (described("[2, 1]", "[20, 15]"), "kept must say how many"),
    "kept elsewhere": (described("[2, 1]", "[1, 2]"), "kept must say how many"),
    "a level of kept less": (described("[2, 1]", "[3]"), "kept must say how many"),
    "levels of kept more": (described("[2, 1]", "[2, 1, 0]"), "kept must say how many"),
    "huge kept": (described("[2, 1]", f"[2, {1 << 62}]"), "kept must say how many"),
    "kept beyond bits": (described("[2, 1]", f"[2, {1 << 63}]"), "something else than integers"),
    "many kept": (described("[2, 1]", f"[2{999 * ', 1'}]"), "kept is not a list of at most 64"),
    "no error": (described('"error"', '"err"'), "error is None, not a finite float"),
    "a negative error": (described('"error": 0.5', '"error": -0.5'), "must be at least 0"),
    "an infinite bound": (described('"bound": 0.5', '"bound": 1e999'), "not a finite float"),
    "a text as ceiling": (described('"ceiling": 5.0', '"ceiling": "5"'), "not a finite float"),
    "a huge ceiling": (described('"ceiling": 5.0', f'"ceiling": {400 * "9"}'), "."),
    "another grid": (described("[4, 2]", "[2, 2]"), "kept must say"),
    "a smaller grid": (described("[4, 2]", "[2, 0]"), "at least 1 x 1 cells"),
    "a grid beyond counting": (
        described("[4, 2]", f"[{1 << 40}, {1 << 40}]"), "has at most 9007199254740992 vertices",
    ),
    "a grid beyond bits": (
        described("[4, 2]", f"[{1 << 62}, {1 << 62}]"), "has at most 9007199254740992 vertices",
    ),
    "a mesh that does not nest": (described('"right"', '"right_left"'), "do not nest"),
    "a vertex too far": (weights("vertices", [0, 1, 15]), "numbers of the grid's vertices"),
    "a negative vertex": (weights("vertices", [-1, 1, 4]), "numbers of the grid's vertices"),
    "a vertex twice": (weights("vertices", [0, 4, 4]), "vertices, increasing"),
    "vertices in disorder": (weights("vertices", [1, 0, 4]), "vertices, increasing"),
    "other levels": (weights("vertices", [0, 2, 4]), "kept must say how many"),
    "a NaN": (weights("coefficients", [0, np.nan, 4]), "coefficients must be finite"),
    "vertices of floats": (changed('"I64"', '"F64"'), "'vertices' has type float64"),
    "coefficients of integers": (changed('"F64"', '"I64"'), "'coefficients' has type int64"),
    "a matrix of vertices": (
        changed('"vertices":{"dtype":"I64","shape":[3]', '"vertices":{"dtype":"I64","shape":[1,3]'),
        "not integers in 1 dimension",
    ),
    "coefficients in columns": (
        changed('"F64","shape":[3]', '"F64","shape":[3,1]'), "a surrogate needs vertices of shape",
    ),
    "an array more": (
        changed('"vertices"', '"a":{"dtype":"F64","shape":[0],"data_offsets":[0,0]},"vertices"'),
        "the array 'a' belongs to no such network",
    ),
    "no vertices": (changed('"vertices"', '"places"'), "the array 'vertices' is missing"),
}  # fmt: skip

VICTIMS = {
    "p2": lambda: P2Network(Grid((0.5, 0), np.eye(2), (1, 1), "right"), np.zeros(9), levels=3),
    "hierarchical": lambda: hierarchical_from_network(example_p1()),
    "surrogate": small_surrogate,
}
HOSTILE = {"p2": HOSTILE_P2, "hierarchical": HOSTILE_HIERARCHICAL, "surrogate": HOSTILE_SURROGATE}


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, cases in HOSTILE.items() for n in cases])
def test_hostile_files_are_refused_with_the_cause(tmp_path, kind, name):
    path = tmp_path / "network"
    save(VICTIMS[kind](), path)
    change, message = HOSTILE[kind][name]
    hostile_message(path, change, path.read_bytes(), message)


def test_a_surrogate_on_a_grid_of_no_memory_is_loaded_but_not_cut(comm, tmp_path):
    """Files may claim any grid; only tables along its sides, or at its vertices, would cost."""
    grid = Grid((0, 0), np.eye(2), (1 << 40, 2), "right")
    s = Surrogate(grid, 1, [0, 7], [1.0, 2.0], (1, 1), 0.0, 0.0, 0.0, 3.0)
    save(s, tmp_path / "network")
    assert bits(load(tmp_path / "network", comm=comm)) == bits(s)
    if comm.size > 1:
        with pytest.raises(fe_relu.FileFormatError, match="is not cut into blocks"):
            load(tmp_path / "network", comm=comm, layout="blocks")
    assert kinds.MAX_SIDE >= 1 << 20


@pytest.mark.parametrize("kind", VICTIMS)
def test_hostile_files_raise_on_all_ranks(comm, shared, kind):
    path = shared / f"network{comm.rank}"
    save(VICTIMS[kind](), path)
    if comm.rank == comm.size - 1:
        whole = path.read_bytes()
        path.write_bytes(numbers(8, np.nan)(whole) if kind != "surrogate" else whole[:-8])
    with pytest.raises(fe_relu.FileFormatError, match=r"NaN or infinite|cut off"):
        load(path, comm=comm, layout="replicated")


def test_what_metadata_say_of_each_kind(tmp_path):
    for kind, keys in (
        ("p2", {"grid", "levels"}),
        ("hierarchical", {"grid", "levels"}),
        ("surrogate", {"grid", "levels", "kept", "error", "bound", "h1_error", "ceiling"}),
    ):
        save(VICTIMS[kind](), tmp_path / kind)
        facts = files.metadata(tmp_path / kind)
        assert facts.keys() == keys | {"version", "kind", "dtype", "names", "units"}
        assert facts["kind"] == kind
    assert isinstance(load(tmp_path / "hierarchical"), HierarchicalNetwork)


# Who takes which kind


#: What does not take a network: hierarchical (h), surrogate (s), P2 or layers (r); and the remedy.
REFUSED = [
    ("plan", "h", r"its to_p1\(\) is a P1Network"),
    ("plan", "s", r"Surrogate is not .*; its to_p1\(\) is"),
    ("plan", "r", "takes any callable"),
    ("function", "h", r"its compress\(tol=…\) is a Surrogate"),
    ("onnx", "h", r"its compress\(tol=…\) is a Surrogate"),
    ("onnx", "text", "str is not a network of layers$"),
    ("torch", "h", r"HierarchicalNetwork is not a network of layers; its to_p1\(\) is"),
    ("vnnlib", "h", r"HierarchicalNetwork is not a P1Network .*; its to_p1\(\) is"),
    ("vnnlib", "s", r"its explicit\(\) is a ReLUNetwork"),
    ("vnnlib", "p2", r"P2Network is not a P1Network or .*; its explicit\(\) is"),
    ("bounds", "h", r"; to_p1\(\)\.bounds\(box\) are exact"),
    ("bounds", "s", r"; to_p1\(\)\.bounds\(box\) are exact on the mesh"),
    ("bounds", "p2", r"; explicit\(\)\.bounds\(box\) enclose"),
]

CALLS = {
    "plan": fe_relu.interpolation_plan,
    "function": fe_relu.function_from_network,
    "onnx": lambda network, _: fe_relu.to_onnx(network, "unwritten"),
    "torch": lambda network, _: fe_relu.to_torch(network),
    "vnnlib": lambda network, _: fe_relu.write_vnnlib("unwritten", network),
    "bounds": lambda network, _: bounds(network, ((0, 1), (0, 1))),
}


@pytest.mark.parametrize(("call", "name", "remedy"), REFUSED)
def test_networks_of_other_kinds_are_refused_with_a_remedy(
    comm, shared, monkeypatch, call, name, remedy
):
    monkeypatch.chdir(shared)
    V = fem.functionspace(rectangle(comm, "right", (4, 4)), ("P", 1))
    h = fe_relu.hierarchical_from_function(fem.Function(V), layout="blocks")
    P2 = fem.functionspace(V.mesh, ("P", 2))
    quadratic = fe_relu.network_from_function(fem.Function(P2), layout="blocks")
    s = h.compress(tol=1.0)
    networks = {"h": h, "s": s, "p2": quadratic, "r": s.explicit(), "text": "u.safetensors"}
    with pytest.raises(TypeError, match=remedy):
        CALLS[call](networks[name], V)
    assert not list(shared.iterdir())


def test_the_remedies_work(comm, shared):
    """What the messages name is taken where the network itself is not."""
    V = fem.functionspace(rectangle(comm, "right", (4, 4)), ("P", 1))
    h = fe_relu.hierarchical_from_function(random_function(V, np.random.default_rng(1)))
    P2 = fem.functionspace(V.mesh, ("P", 2))
    quadratic = fe_relu.network_from_function(fem.Function(P2), levels=1)
    box = ((0, 1), (0, 1))
    for network in (h, h.compress(max_neurons=40)):
        on_mesh = network.to_p1()
        bounds, found = bounds(on_mesh), on_mesh(V.tabulate_dof_coordinates().T)
        assert (bounds.lower <= found).all()
        assert (found <= bounds.upper).all()
        fe_relu.interpolation_plan(on_mesh, V)
        fe_relu.function_from_network(on_mesh, V)
        fe_relu.write_vnnlib(shared / "mesh.vnnlib", on_mesh)
    for layers in (h.compress(max_neurons=40).explicit(), quadratic.explicit()):
        assert bounds(layers, box).lower.shape == (1,)
        fe_relu.write_vnnlib(shared / f"{comm.rank}.vnnlib", layers, box)
