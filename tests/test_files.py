# SPDX-License-Identifier: MIT
"""Files: the same bits back on any ranks, all or nothing, read by others, believed only if true."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from dolfinx import fem
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import fe_relu
from cases import DIAGONALS, MAPS, mapped, on_first_rank, random_function, rectangle
from fe_relu import (
    Affine,
    FileFormatError,
    Grid,
    HierarchicalNetwork,
    P1Network,
    P2Network,
    ReLUNetwork,
    Surrogate,
    load,
    save,
)
from fe_relu.formats import files, kinds, replacing, stored
from fe_relu.hierarchy import hierarchical_from_network, transform
from fe_relu.hierarchy.nested import NESTING, numbers_in_finer
from fe_relu.parallel import layouts

ROOT = Path(__file__).parent.parent


@pytest.fixture
def shared(comm, tmp_path):
    """A folder that all ranks share."""
    return Path(comm.bcast(str(tmp_path)))


def example(diagonal="crossed", lead=(2,), dtype=np.float64, shape=(3, 2)):
    grid = Grid((0.1, -1e6 / 3), [[np.pi, 0.1], [1e-3, 2 / 3]], shape, diagonal)
    values = np.random.default_rng(7).standard_normal((*lead, grid.num_vertices)).astype(dtype)
    values[..., 0] = -0.0
    return P1Network(grid, values)


def quadratic(diagonal="crossed", lead=(2,), dtype=np.float64):
    grid = example(diagonal, shape=(3, 2)).mesh
    return P2Network(grid, example(diagonal, lead, dtype, (6, 4)).values, levels=7)


def hierarchy(diagonal="crossed", lead=(2,), dtype=np.float64, levels=None):
    return hierarchical_from_network(example(diagonal, lead, dtype, (8, 4)), levels=levels)


def odd_layers():
    """Empty rows, stored zeros, zeros with a sign, layers of both types, a weight of zeros."""
    first = sparse.csr_array(
        (np.array([1.5, 0.0, -0.0]), np.array([1, 0, 1]), np.array([0, 1, 1, 3])), shape=(3, 2)
    )
    return ReLUNetwork(
        (
            Affine(first, [0.1, -0.0, 3]),
            Affine(np.full((2, 3), 0.1, np.float32), np.ones(2, np.float32)),
            Affine(np.zeros((1, 2)), [5e-324]),
        )
    )


NETWORKS = {
    **{f"P1 {diagonal}": lambda d=diagonal: example(d, ()) for diagonal in DIAGONALS},
    "P1 of two outputs": lambda: example("left", (2,)),
    "P1 of one output in two dimensions": lambda: example("right", (1,)),
    "P1 in single precision": lambda: example("crossed", (2,), np.float32),
    "P1 by columns": lambda: P1Network(example().mesh, np.asfortranarray(example().values)),
    "P1 on one cell": lambda: example("right", (), shape=(1, 1)),
    "P2": lambda: quadratic("left_right", ()),
    "P2 in single precision": lambda: quadratic("crossed", (1,), np.float32),
    "hierarchical": lambda: hierarchy("left", ()),
    "hierarchical of one level": lambda: hierarchy("right", levels=0),
    "hierarchical in single precision": lambda: hierarchy("left_right", (2,), np.float32),
    "surrogate": lambda: hierarchy("left_right", ()).compress(max_neurons=30),
    "surrogate of two outputs": lambda: hierarchy().compress(tol=1.0),
    "surrogate in single precision": lambda: hierarchy("right", (1,), np.float32).truncate(
        levels=1
    ),
    "surrogate of nothing": lambda: hierarchy("left").compress(tol=1e9),
    "layers": lambda: example().explicit(),
    "layers in single precision": lambda: example(dtype=np.float32).explicit(),
    "affine": lambda: ReLUNetwork((Affine([[1, 2.5]], [0.1]),)),
    "odd layers": odd_layers,
    "deep": lambda: fe_relu.deep.product_network(3),
    "no outputs": lambda: ReLUNetwork((Affine(np.zeros((0, 3)), np.zeros(0)),)),
}


#: What networks of a type are made from, if not of layers: arrays, and facts.
ARRAYS = {
    P1Network: ["values"],
    P2Network: ["values"],
    HierarchicalNetwork: ["surpluses"],
    Surrogate: ["vertices", "coefficients"],
}
FACTS = {
    P1Network: ["mesh"],
    P2Network: ["mesh", "levels"],
    HierarchicalNetwork: ["mesh", "levels"],
    Surrogate: ["mesh", "levels", "kept", "error", "bound", "h1_error", "ceiling"],
}


def bits(network):
    """All that a network is, as values that compare bit by bit."""
    if type(network) in ARRAYS:
        arrays = [getattr(network, name) for name in ARRAYS[type(network)]]
        facts = [getattr(network, name) for name in FACTS[type(network)]]
        return facts, [(array.dtype, array.shape, array.tobytes()) for array in arrays]
    return [getattr(network, "error_bound", None)] + [
        (part.dtype.kind, part.tolist()) if part.dtype.kind == "i" else (part.dtype, part.tobytes())
        for layer in network.layers
        for part in (layer.weight.indptr, layer.weight.indices, layer.weight.data, layer.bias)
    ]


def evaluated(network, x):
    return (network if callable(network) else network.to_p1())(x)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_loaded_is_what_was_saved(tmp_path, name):
    network, path = NETWORKS[name](), tmp_path / "network.safetensors"
    save(network, path)
    first = path.read_bytes()
    loaded = load(path)
    assert type(loaded) is type(network)
    assert bits(loaded) == bits(network)
    save(loaded, path)
    assert path.read_bytes() == first
    path.unlink()
    x = np.random.default_rng(1).random((network.dim_in, 20))
    assert evaluated(loaded, x).tobytes() == evaluated(network, x).tobytes()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e100, 1e100), min_size=6, max_size=6))
def test_every_bit_of_a_grid_comes_back(tmp_path_factory, numbers):
    axes = np.reshape(numbers[2:], (2, 2)) + np.eye(2)
    try:
        grid = Grid(numbers[:2], axes, (1, 2), "left")
    except ValueError:  # parallel
        return
    path = tmp_path_factory.getbasetemp() / "grid.safetensors"
    save(P1Network(grid, np.zeros(6)), path)
    assert load(path).mesh == grid  # compares bits


@pytest.mark.parametrize("name", NETWORKS)
def test_the_safetensors_library_reads_and_writes_such_files(tmp_path, name):
    """The second road: header and numbers through another reader and another writer."""
    network, path, other = NETWORKS[name](), tmp_path / "ours", tmp_path / "theirs"
    save(network, path)
    found = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, "numpy") as file:
        described = file.metadata()
    if type(network) in ARRAYS:
        assert found.keys() == set(ARRAYS[type(network)])
        for array in found:
            assert found[array].dtype == getattr(network, array).dtype
            assert found[array].tobytes() == getattr(network, array).tobytes()
    else:
        x = np.random.default_rng(1).random((network.dim_in, 20))
        expected = network(x).reshape(network.dim_out, 20)
        for k, width in enumerate(network.widths[1:]):
            csr = [found[f"layers.{k}.weight.{part}"] for part in ("data", "indices", "indptr")]
            weight = sparse.csr_array(tuple(csr), shape=(width, len(x))).toarray()
            x = weight @ (x if k == 0 else np.maximum(0, x)) + found[f"layers.{k}.bias"][:, None]
        assert x == pytest.approx(expected, rel=1e-6, abs=1e-6)
    safetensors.numpy.save_file(found, other, described)
    assert bits(load(other)) == bits(network)


def test_bytes_of_known_networks_stay_what_they_are():
    """And all of it without dolfinx, MPI, torch or ONNX: see tests/bare.py."""
    script = [sys.executable, ROOT / "tests/bare.py", "--blocked"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "loaded, evaluated and saved" in done.stdout


# Many ranks


def p1(u, **options):
    return fe_relu.network_from_function(u, **options)


def p2(u, **options):
    return fe_relu.network_from_function(u, levels=5, **options)


def hierarchical(u, levels=None, **options):
    return fe_relu.hierarchical_from_function(u, levels=levels, **options)


def surrogate(u, aim, levels=None, **options):
    return hierarchical(u, levels, **options).compress(**aim)


def alone(make, u, aim=None, levels=None):
    """What `make` makes, on this rank alone, and by another road where there is one."""
    if make in (p1, p2):
        return make(u).gather()
    network = fe_relu.network_from_function(u).gather()
    network = hierarchical_from_network(network, levels=levels)
    return network if make is hierarchical else network.compress(**aim)


#: Networks on many ranks: what makes them from u, its degree, shape, outputs and options, and units
#: of a hierarchy for each rank: all levels inside of blocks, some, none.
SPREADS = {
    "P1": (p1, 1, (5, 4), (), {}, 1),
    "P1 of two outputs": (p1, 1, (5, 4), (2,), {}, 1),
    "P1 on one cell": (p1, 1, (1, 1), (), {}, 1),
    "P2": (p2, 2, (5, 4), (), {}, 1),
    "P2 on one cell": (p2, 2, (1, 1), (2,), {}, 1),
    "hierarchical": (hierarchical, 1, (12, 20), (), {}, 1),
    "hierarchical, levels shared": (hierarchical, 1, (16, 8), (2,), {}, 4),
    "hierarchical, all shared": (hierarchical, 1, (8, 8), (), {}, 10**6),
    "hierarchical on one cell": (hierarchical, 1, (1, 1), (2,), {"levels": 0}, 1),
    "surrogate": (surrogate, 1, (12, 20), (), {"aim": {"max_neurons": 90}}, 1),
    "surrogate of all": (surrogate, 1, (16, 8), (2,), {"aim": {"tol": 1e-300}}, 4),
    "surrogate, all shared": (surrogate, 1, (8, 8), (), {"aim": {"max_neurons": 90}}, 10**6),
    "surrogate of nothing": (surrogate, 1, (1, 1), (2,), {"aim": {"tol": 1e300}, "levels": 0}, 1),
}


def whole_bits(network):
    """`bits` of the whole; of a hierarchy, whose parts are compared elsewhere, of its function."""
    p1_of_it = isinstance(network, HierarchicalNetwork)
    return bits((network.to_p1() if p1_of_it else network).gather())


def saved_bytes(network, path):
    save(network, path)
    return path.read_bytes()


@pytest.mark.parametrize("name", SPREADS)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_the_file_is_the_same_on_any_ranks_and_so_is_what_is_loaded(
    comm, shared, monkeypatch, diagonal, name
):
    """Layouts, partitions and kinds of networks; compared with this rank alone."""
    make, degree, shape, lead, wanted, units = SPREADS[name]
    if degree == 1 and make is not p1 and diagonal not in NESTING:
        return
    monkeypatch.setattr(transform, "UNITS_PER_RANK", units)
    options = {} if lead else {"partitioner": on_first_rank}
    msh = mapped(rectangle(comm, diagonal, shape, **options), MAPS["sheared"])
    u = random_function(fem.functionspace(msh, ("P", degree, lead)), np.random.default_rng(3))
    single = alone(make, u, **wanted)
    expected = saved_bytes(single, shared / f"alone{comm.rank}")
    x = np.random.default_rng(comm.rank).uniform(-0.5, 1.5, (2, 40))
    for layout in ("replicated", "blocks"):
        network = make(u, **wanted, layout=layout)
        assert saved_bytes(network, shared / "together") == expected
        loaded = load(shared / "together", comm=comm, layout=layout)
        assert loaded.comm == comm
        assert loaded.layout.is_spread == (layout == "blocks" and comm.size > 1)
        assert evaluated(loaded, x).tobytes() == evaluated(single, x).tobytes()
        assert whole_bits(loaded) == whole_bits(single)
        if loaded.layout == network.layout:  # dealt to the same ranks
            assert bits(loaded) == bits(network)
        assert saved_bytes(loaded, shared / "again") == expected
        if make is hierarchical:
            same_parts(loaded, network, single)
            small = loaded.compress(max_neurons=60).gather()
            assert bits(small) == bits(single.compress(max_neurons=60))
        comm.barrier()


def same_parts(loaded, network, single):
    """A rank has the coefficients of its window, and those of the coarse mesh that all share."""
    numbers = loaded.window.numbers()
    assert loaded.surpluses.tobytes() == single.surpluses[..., numbers].tobytes()
    assert (loaded.coarse is not None) == loaded.nesting.is_shared
    assert loaded.nesting.inner == network.nesting.inner
    if loaded.coarse is not None:
        coarse = numbers_in_finer(loaded.mesh, loaded.nesting.unit)
        rows = np.atleast_2d(single.surpluses)[:, coarse]
        assert loaded.coarse.tobytes() == network.coarse.tobytes() == rows.tobytes()


def counting(moved, name):
    """A function of fe_relu.formats.stored that counts numbers."""
    real = getattr(stored, name)

    def counted(file, tensor, first, numbers):
        moved[name] += numbers.size
        return real(file, tensor, first, numbers)

    return counted


@pytest.mark.parametrize("make", [p1, hierarchical])
def test_each_rank_writes_and_reads_its_part_alone(comm, shared, rng, monkeypatch, make):
    """Every number is written once, by some rank; a rank reads its window and little more."""
    monkeypatch.setattr(transform, "UNITS_PER_RANK", 4)
    V = fem.functionspace(rectangle(comm, "crossed", (16, 32)), ("P", 1, (2,)))
    network = make(random_function(V, rng), layout="blocks")
    moved = {"write": 0, "read": 0}
    for name in moved:
        monkeypatch.setattr(stored, name, counting(moved, name))
    save(network, shared / "network")
    assert comm.allreduce(moved["write"]) == 2 * network.mesh.num_vertices
    loaded = load(shared / "network", comm=comm, layout="blocks")
    (name,), rows = ARRAYS[type(loaded)], 0
    assert moved["write"] <= getattr(network, name).size
    if make is hierarchical and loaded.coarse is not None:
        rows = sum(loaded.nesting.coarse.shape[1] + k for k in (0, 1)) * 2 * (16 + 1)
    assert 0 <= moved["read"] - getattr(loaded, name).size <= rows
    if comm.size > 1 and make is p1:
        assert moved["read"] < 2 * network.mesh.num_vertices


def test_auto_spreads_large_networks_only(comm, shared, rng, monkeypatch):
    V = fem.functionspace(rectangle(comm), ("P", 1))
    network = fe_relu.network_from_function(random_function(V, rng))
    save(network, shared / "network")
    assert not load(shared / "network", comm=comm).layout.is_spread
    monkeypatch.setattr(layouts, "REPLICATED_VALUES", network.mesh.num_vertices - 1)
    assert load(shared / "network", comm=comm).layout.is_spread == (comm.size > 1)
    assert load(shared / "network").comm is None


def test_explicit_networks_are_whole_on_every_rank(comm, shared):
    network = example().explicit()
    save(network, shared / f"layers{comm.rank}")
    save(network, shared / "layers")  # every rank for itself, with one outcome
    comm.barrier()
    assert bits(load(shared / "layers", comm=comm)) == bits(network)
    with pytest.raises(ValueError, match="a ReLUNetwork is not spread in blocks"):
        load(shared / "layers", comm=comm, layout="blocks")


def test_ranks_that_disagree_raise_together(comm, shared, rng):
    """In files, paths, layouts, kinds and names; a missing file is missed by all."""
    for rank in range(comm.size):
        save(example() if rank == 0 else example("left"), shared / f"own{rank}")
    comm.barrier()
    if comm.size == 1:
        return
    u = random_function(fem.functionspace(rectangle(comm), ("P", 1)), rng)
    network = fe_relu.network_from_function(u)
    h = hierarchical_from_network(example("right", shape=(4, 2)))
    kind = h.compress(max_neurons=20) if comm.rank == 0 else h.to_p1()
    kind, path = replace(kind, layout=network.layout), shared / "other"
    layout = "auto" if comm.rank == 0 else "blocks"
    for what, call in {
        "files": lambda: load(shared / f"own{comm.rank}", comm=comm),
        "layouts": lambda: load(shared / "own0", comm=comm, layout=layout),
        "paths": lambda: save(network, f"{path}{comm.rank}"),
        "kinds of network": lambda: save(kind, path),
        "networks, names or units": lambda: save(network, path, units=[str(comm.rank)]),
    }.items():
        with pytest.raises(TypeError, match=f"ranks pass different {what}"):
            call()
    with pytest.raises(FileNotFoundError, match="missing"):
        load(shared / ("own0" if comm.rank == 0 else "missing"), comm=comm)
    assert not list(shared.glob("other*"))


# All or nothing


def broken_on(comm, rank, module, name):
    """A function of a module that fails on one rank, as on a full disk."""

    def fails(*arguments, **options):
        if comm.rank == rank:
            raise OSError(28, "No space left on device")
        return real(*arguments, **options)

    real = getattr(module, name)
    return module, name, fails


@pytest.mark.parametrize(
    ("module", "name", "last"),
    [
        (stored, "write", True),
        (stored, "write", False),
        (os, "fsync", True),
        (os, "replace", False),
        (replacing.shutil, "copymode", False),
    ],
)
def test_a_failure_on_one_rank_raises_on_all_and_changes_nothing(
    comm, shared, rng, monkeypatch, module, name, last
):
    V = fem.functionspace(rectangle(comm, "right", (6, 5)), ("P", 1))
    network = fe_relu.network_from_function(random_function(V, rng), layout="blocks")
    path = shared / "network"
    save(network, path)
    before = path.read_bytes()
    u = random_function(V, np.random.default_rng(9))
    other = fe_relu.network_from_function(u, layout="blocks")
    with monkeypatch.context() as patch:
        patch.setattr(*broken_on(comm, comm.size - 1 if last else 0, module, name))
        with pytest.raises(OSError, match="No space left"):
            save(other, path)
    comm.barrier()
    assert path.read_bytes() == before
    assert os.listdir(shared) == ["network"]
    comm.barrier()
    save(other, path)
    assert path.read_bytes() != before


CHILD = """
import os, sys, time
import numpy as np
import fe_relu

def network(k):
    return fe_relu.P1Network(fe_relu.Grid((0, 0), np.eye(2), (150, 99), "right"), np.full(15100, k))

def wait(*_):
    print("ready", flush=True)
    time.sleep(99)

path = sys.argv[1]
fe_relu.save(network(1.0), path)
{before}
print("ready", flush=True)
while True:
    for k in (2.0, 3.0):
        fe_relu.save(network(k), path)
"""

#: What holds up the next save until the kill comes, and the values that may be found then.
KILLS = {
    "with all bytes written": ("os.fsync = wait", {1}),
    "before the new name": ("os.replace = wait", {1}),
    "after the new name": ("fe_relu.formats.replacing._sync_folder = wait", {2}),
    "any time": ("", {1, 2, 3}),
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_killed_process_leaves_the_old_file_or_the_new_one(tmp_path, moment):
    before, possible = KILLS[moment]
    path = tmp_path / "network"
    script = [sys.executable, "-c", CHILD.format(before=before), path]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as child:
        for _ in range(2 if before else 1):
            assert child.stdout.readline() == "ready\n"
        if not before:
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.21)
        child.send_signal(signal.SIGKILL)
    found = load(path).values
    assert set(found) <= possible
    assert np.ptp(found) == 0
    save(example(), path)
    assert bits(load(path)) == bits(example())


def test_links_are_followed_and_permissions_kept(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    save(example("left"), target)
    target.chmod(0o640)
    link.symlink_to(target)
    save(example(), link)
    assert link.is_symlink()
    assert bits(load(target)) == bits(example())
    assert target.stat().st_mode & 0o777 == 0o640


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match="is no regular file and cannot be replaced"):
            save(example(), path)
        with pytest.raises(FileFormatError, match="not a regular file"):
            load(path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        save(example(), tmp_path / "missing" / "network")
    with pytest.raises(FileNotFoundError, match="missing"):
        load(tmp_path / "missing")
    assert os.listdir(tmp_path) == ["pipe"]


# What a file says besides numbers


def test_names_and_units_are_kept(tmp_path):
    """Beside what the network is made from, without a look at its numbers."""
    path, given = tmp_path / "network", {"names": ['ϑ, "hot"', "p"], "units": ["K", ""]}
    for name, network in {
        "p1": example(),
        "p2": quadratic(),
        "hierarchical": hierarchy(),
        "surrogate": hierarchy().compress(tol=1.0),
        "relu": example().explicit(),
    }.items():
        save(network, path, **given)
        found, mesh = files.metadata(path), network.mesh if name != "relu" else None
        facts = [fact.replace("mesh", "grid") for fact in FACTS.get(type(network), ["widths"])]
        assert found.keys() == {"version", "kind", "dtype", *given, *facts}
        assert (found["version"], found["kind"], found["dtype"]) == (1, name, "float64")
        assert {what: found[what] for what in given} == given
        if mesh is not None:
            assert Grid(**found["grid"]) == mesh
        save(network, path)
        assert (files.metadata(path)["names"], files.metadata(path)["units"]) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"names": "uv"}, TypeError, "names must be a list of texts"),
        ({"names": [1, 2]}, TypeError, "names must be a list of texts"),
        ({"units": ["m"]}, ValueError, "1 units for 2 outputs"),
        ({"names": ["\ud800", "v"]}, ValueError, "half of a surrogate pair"),
        ({"network": "text"}, TypeError, "holds a P1Network.*, not a str"),
        ({"path": 3}, TypeError, "int"),
        ({"path": "null\0"}, ValueError, "null"),
        ({"network": ReLUNetwork((Affine([[np.longdouble(1)]], [0]),))}, TypeError, "convert it"),
        ({"network": ReLUNetwork((Affine([[1]], [1]),) * 4000)}, ValueError, "16000 arrays need"),
    ],
)
def test_what_cannot_be_saved_is_refused(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        save(**{"network": example(), "path": tmp_path / "network"} | arguments)
    assert os.listdir(tmp_path) == []


def test_unknown_layout_is_refused(comm, shared):
    save(example(), shared / f"network{comm.rank}")
    with pytest.raises(ValueError, match='layout must be "auto", "blocks" or "replicated"'):
        load(shared / f"network{comm.rank}", comm=comm, layout="sharded")


@dataclass(frozen=True, eq=False)
class Named(P1Network):
    levels: int = 3
    title: str = ""


def altered(whole, old, new):
    """The file with a part of its header replaced, and the length of the header with it."""
    end = 8 + int.from_bytes(whole[:8], "little")
    assert old in whole[8:end]
    header = whole[8:end].replace(old, new, 1)
    return len(header).to_bytes(8, "little") + header + whole[end:]


def test_a_further_kind_is_a_further_row(tmp_path, monkeypatch):
    """With facts of its own, of the types that they are declared with."""
    path, named = tmp_path / "network", Named(example().mesh, example().values, levels=4, title="x")
    with pytest.raises(TypeError, match="not a Named"):
        save(named, path)
    monkeypatch.setitem(kinds.KINDS, "named", kinds.nodal(Named, levels=int, title=str))
    save(named, path)
    assert (load(path).levels, load(path).title) == (4, "x")
    whole = path.read_bytes()
    for bad in ("4.0", "1e9", '"4"', "[4]", "nan"):
        new = rb"\"levels\": " + bad.replace('"', r"\"").encode()
        path.write_bytes(altered(whole, rb"\"levels\": 4", new))
        with pytest.raises(FileFormatError):
            load(path)


# Who takes which kind


#: What does not take a network: hierarchical (h), surrogate (s) or layers (r); and the remedy.
REFUSED = [
    ("plan", "h", r"its to_p1\(\) is a P1Network"),
    ("plan", "s", r"Surrogate is not .*; its to_p1\(\) is"),
    ("plan", "r", "takes any callable"),
    ("function", "h", r"its compress\(tol=…\) is a Surrogate"),
    ("onnx", "h", r"its compress\(tol=…\) is a Surrogate"),
    ("onnx", "text", "str is not a network of layers$"),
    ("torch", "h", r"HierarchicalNetwork is not a network of layers; its to_p1\(\) is"),
    ("vnnlib", "h", r"HierarchicalNetwork is not a network of layers; its to_p1\(\) is"),
    ("bounds", "h", r"its to_p1\(\) is a P1Network"),
    ("bounds", "text", "str is not a P1Network, P2Network, Surrogate or ReLUNetwork$"),
]

CALLS = {
    "plan": fe_relu.interpolation_plan,
    "function": fe_relu.function_from_network,
    "onnx": lambda network, _: fe_relu.to_onnx(network, "unwritten"),
    "torch": lambda network, _: fe_relu.to_torch(network),
    "vnnlib": lambda network, _: fe_relu.write_vnnlib("unwritten", network),
    "bounds": lambda network, _: fe_relu.bounds(network, ((0, 1), (0, 1))),
}


@pytest.mark.parametrize(("call", "name", "remedy"), REFUSED)
def test_networks_of_other_kinds_are_refused_with_a_remedy(
    comm, shared, monkeypatch, call, name, remedy
):
    monkeypatch.chdir(shared)
    V = fem.functionspace(rectangle(comm, "right", (4, 4)), ("P", 1))
    h = fe_relu.hierarchical_from_function(fem.Function(V), layout="blocks")
    s = h.compress(tol=1.0)
    networks = {"h": h, "s": s, "r": s.explicit(), "text": "u.safetensors"}
    with pytest.raises(TypeError, match=remedy):
        CALLS[call](networks[name], V)
    assert not list(shared.iterdir())


def test_the_remedies_work(comm, shared):
    """What the messages name is taken where the network itself is not."""
    V = fem.functionspace(rectangle(comm, "right", (4, 4)), ("P", 1))
    h = fe_relu.hierarchical_from_function(random_function(V, np.random.default_rng(1)))
    for network in (h, h.compress(max_neurons=40)):
        on_mesh = network.to_p1()
        within, found = fe_relu.bounds(on_mesh), on_mesh(V.tabulate_dof_coordinates().T)
        assert (within.lower <= found).all()
        assert (found <= within.upper).all()
        fe_relu.interpolation_plan(on_mesh, V)
        fe_relu.function_from_network(on_mesh, V)
        fe_relu.write_vnnlib(shared / "mesh.vnnlib", on_mesh)
