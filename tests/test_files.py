# SPDX-License-Identifier: MIT
"""Files: the same bits back on any ranks, all or nothing, read by others, believed only if true."""

import itertools
import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import dataclass
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
    load,
    save,
)
from fe_relu.formats import files as files_module
from fe_relu.formats import kinds, stored
from fe_relu.formats import replacing as replacing_module
from fe_relu.hierarchy.transform import Surrogate, hierarchical_from_network

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


def quadratic(diagonal="crossed", lead=(2,), dtype=np.float64, shape=(3, 2)):
    nodes, grid = example(diagonal, lead, dtype, (2 * shape[0], 2 * shape[1])), example().mesh
    grid = Grid(grid.origin, grid.axes, shape, diagonal)
    return P2Network(grid, nodes.values, levels=7)


def hierarchy(diagonal="crossed", lead=(2,), dtype=np.float64):
    return hierarchical_from_network(example(diagonal, lead, dtype, (8, 4)))


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
    **{f"P2 {diagonal}": lambda d=diagonal: quadratic(d, ()) for diagonal in DIAGONALS},
    "P2 of two outputs": lambda: quadratic("left", (2,)),
    "P2 in single precision": lambda: quadratic("crossed", (1,), np.float32),
    "hierarchical": lambda: hierarchy("left", ()),
    "hierarchical of two outputs": lambda: hierarchy(),
    "hierarchical of one level": lambda: hierarchical_from_network(example("right"), levels=0),
    "hierarchical in single precision": lambda: hierarchy("left_right", (1,), np.float32),
    "surrogate": lambda: hierarchy("left_right", ()).compress(max_neurons=30),
    "surrogate of two outputs": lambda: hierarchy().compress(tol=1.0),
    "surrogate in single precision": lambda: hierarchy("right", (1,), np.float32).truncate(
        levels=1
    ),
    "surrogate of nothing": lambda: hierarchy("left").compress(tol=1e9),
    "layers": lambda: example().explicit(),
    "layers in single precision": lambda: example(dtype=np.float32).explicit(),
    "deep layers": lambda: example("left").explicit() - example("left").explicit(),
    "affine": lambda: ReLUNetwork((Affine([[1, 2.5]], [0.1]),)),
    "odd layers": odd_layers,
    "deep": lambda: fe_relu.deep.product_network(3),
    "no outputs": lambda: ReLUNetwork((Affine(np.zeros((0, 3)), np.zeros(0)),)),
}


#: The arrays that networks of a type are made from, if not of layers.
ARRAYS = {
    P1Network: ["values"],
    P2Network: ["values"],
    HierarchicalNetwork: ["surpluses"],
    Surrogate: ["vertices", "coefficients"],
}

#: What they are made from besides.
FACTS = {
    P1Network: ["grid"],
    P2Network: ["grid", "levels"],
    HierarchicalNetwork: ["grid", "levels"],
    Surrogate: ["grid", "levels", "kept", "error", "bound", "h1_error", "ceiling"],
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


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_the_file_is_the_same_on_any_ranks_and_so_is_what_is_loaded(comm, shared, diagonal):
    """Layouts, partitions and types of functions; compared with this rank alone."""
    x = np.random.default_rng(comm.rank).uniform(-0.5, 1.5, (2, 40))
    for lead, spread in itertools.product([(), (2,)], [False, True]):
        options = {} if spread else {"partitioner": on_first_rank}
        msh = mapped(rectangle(comm, diagonal, (5, 4), **options), MAPS["sheared"])
        V = fem.functionspace(msh, ("P", 1, lead) if lead else ("P", 1))
        u = random_function(V, np.random.default_rng(3))
        alone = fe_relu.network_from_function(u).gather()
        save(alone, shared / f"alone{comm.rank}")
        expected = (shared / f"alone{comm.rank}").read_bytes()
        for layout in ("replicated", "blocks"):
            save(fe_relu.network_from_function(u, layout=layout), shared / "together")
            assert (shared / "together").read_bytes() == expected
            loaded = load(shared / "together", comm=comm, layout=layout)
            assert loaded.comm == comm
            assert (loaded.blocks is not None) == (layout == "blocks" and comm.size > 1)
            assert loaded(x).tobytes() == alone(x).tobytes()
            assert bits(loaded.gather()) == bits(alone)
            save(loaded, shared / "again")
            assert (shared / "again").read_bytes() == expected
            comm.barrier()


def test_a_grid_smaller_than_the_number_of_ranks(comm, shared, rng):
    V = fem.functionspace(rectangle(comm, shape=(1, 1)), ("P", 1))
    network = fe_relu.network_from_function(random_function(V, rng), layout="blocks")
    save(network, shared / "tiny")
    assert bits(load(shared / "tiny", comm=comm, layout="blocks").gather()) == bits(
        network.gather()
    )


def counting(moved, name):
    """A function of fe_relu.formats.stored that counts numbers."""
    real = getattr(stored, name)

    def counted(file, tensor, first, numbers):
        moved[name] += numbers.size
        return real(file, tensor, first, numbers)

    return counted


def test_each_rank_writes_and_reads_its_part_alone(comm, shared, rng, monkeypatch):
    """Every number is written once, by some rank; a rank reads its window and no more."""
    V = fem.functionspace(rectangle(comm, "crossed", (12, 9)), ("P", 1, (2,)))
    network = fe_relu.network_from_function(random_function(V, rng), layout="blocks")
    moved = {"write": 0, "read": 0}
    for name in moved:
        monkeypatch.setattr(stored, name, counting(moved, name))
    save(network, shared / "network")
    assert comm.allreduce(moved["write"]) == 2 * network.mesh.num_vertices
    assert moved["write"] <= network.values.size
    loaded = load(shared / "network", comm=comm, layout="blocks")
    assert moved["read"] == loaded.values.size
    if comm.size > 1:
        assert moved["read"] < 2 * network.mesh.num_vertices


def test_auto_spreads_large_networks_only(comm, shared, rng, monkeypatch):
    network = fe_relu.network_from_function(
        random_function(fem.functionspace(rectangle(comm), ("P", 1)), rng)
    )
    save(network, shared / "network")
    assert load(shared / "network", comm=comm).blocks is None
    monkeypatch.setattr(files_module, "REPLICATED_VALUES", network.mesh.num_vertices - 1)
    assert (load(shared / "network", comm=comm).blocks is None) == (comm.size == 1)
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
    network = example()
    for rank in range(comm.size):
        save(network if rank == 0 else example("left"), shared / f"own{rank}")
    comm.barrier()
    if comm.size > 1:
        with pytest.raises(TypeError, match="ranks pass different files or layouts"):
            load(shared / f"own{comm.rank}", comm=comm)
        u = random_function(fem.functionspace(rectangle(comm), ("P", 1)), rng)
        with pytest.raises(TypeError, match="ranks pass different paths"):
            save(fe_relu.network_from_function(u), shared / f"other{comm.rank}")
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
        (replacing_module.shutil, "copymode", False),
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
    path = tmp_path / "network"
    save(example(), path, names=['ϑ, "hot"', "p"], units=("K", ""))
    assert files_module.metadata(path) == {
        "version": 1,
        "kind": "p1",
        "dtype": "float64",
        "names": ['ϑ, "hot"', "p"],
        "units": ["K", ""],
        "grid": {
            "origin": [0.1, -1e6 / 3],
            "axes": [[np.pi, 0.1], [1e-3, 2 / 3]],
            "shape": [3, 2],
            "diagonal": "crossed",
        },
    }
    save(example().explicit(), path)
    found = files_module.metadata(path)
    assert (found["kind"], found["names"], found["units"]) == ("relu", None, None)
    assert found["widths"] == list(example().explicit().widths)


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
class Bounded(ReLUNetwork):
    error_bound: float = 0.5


@dataclass(frozen=True, eq=False)
class Named(P1Network):
    levels: int = 3
    title: str = ""


def test_a_further_kind_is_a_further_row(tmp_path, monkeypatch):
    """With facts of its own, of the types that they are declared with."""
    bounded, path = Bounded(example().explicit().layers, 0.1), tmp_path / "network"
    with pytest.raises(TypeError, match="not a Bounded"):
        save(bounded, path)
    monkeypatch.setitem(kinds.KINDS, "bounded", kinds.layered(Bounded, error_bound=float))
    monkeypatch.setitem(kinds.KINDS, "named", kinds.nodal(Named, levels=int, title=str))
    save(bounded, path)
    assert load(path).error_bound == 0.1
    assert bits(load(path)) == bits(bounded)
    named = Named(example().mesh, example().values, levels=4, title="x")
    save(named, path)
    assert (load(path).levels, load(path).title) == (4, "x")
    whole = path.read_bytes()
    for bad in (b"4.0", b"1e9", b'"4"', b"[4]", b"nan"):
        old = b'\\"levels\\": 4' + b" " * 0
        text = b'\\"levels\\":' + bad.replace(b'"', b'\\"').rjust(2)
        path.write_bytes(altered(whole, old, text))
        with pytest.raises(FileFormatError):
            load(path)


# Hostile files


def altered(whole, old, new):
    """The file with a part of its header replaced, and the length of the header with it."""
    end = 8 + int.from_bytes(whole[:8], "little")
    assert old in whole[8:end]
    header = whole[8:end].replace(old, new, 1)
    return len(header).to_bytes(8, "little") + header + whole[end:]


def changed(old, new):
    return lambda whole: altered(whole, old.encode(), new.encode())


def described(old, new):
    """A change in the description of the network, which is JSON in a JSON text."""
    return changed(old.replace('"', '\\"'), new.replace('"', '\\"'))


def header(text, data=b""):
    encoded = text if isinstance(text, bytes) else text.encode()
    return lambda _: len(encoded).to_bytes(8, "little") + encoded + data


def numbers(position, value, kind="<f8"):
    """A number of the data replaced, counted from the end of the file."""

    def change(whole):
        new = np.array(value, kind).tobytes()
        first = len(whole) - position
        return whole[:first] + new + whole[first + len(new) :]

    return change


LONG = "a header of .* bytes is longer than 1048576"

#: How versions of the safetensors package name what is wrong with a header: its length, its text,
#: its JSON or the types in it, bytes without an array, places and sizes of arrays.
SMALL = "HeaderTooSmall|header too small"
LENGTH = "InvalidHeaderLength|invalid header length"
TEXT = "InvalidHeader$|invalid UTF-8"
JSON = "InvalidHeaderDeserialization|invalid JSON in header"
REST = "cut off, too long or damaged: .*(MetadataIncompleteBuffer|not fully covered)"
PLACE = "(InvalidOffset|invalid offset).*"
SIZE = "TensorInvalidInfo|invalid shape, data type, or offset"
OVERFLOW = "ValidationOverflow|overflow computing"

#: The entry of the one array in the header of the next file.
ARRAY = '{"dtype":"F64","shape":[12],"data_offsets":[0,96]}'

#: What is done to the file of P1Network(Grid(…, (3, 2), "right"), zeros of shape (12,)), which has
#: one array of 96 bytes, and what the error then says.
HOSTILE = {
    "empty": (lambda whole: b"", SMALL),
    "seven bytes": (lambda whole: whole[:7], SMALL),
    "only the length": (lambda whole: whole[:8], LENGTH),
    "half a header": (lambda whole: whole[:100], LENGTH),
    "cut off": (lambda whole: whole[:-1], REST),
    "too long": (lambda whole: whole + b"\0", REST),
    "a picture": (lambda whole: b"\x89PNG\r\n\x1a\n" + whole, LONG),
    "a pickle": (lambda whole: b"\x80\x04\x95\0\0\0\0\0" + whole, LONG),
    "a zip archive": (lambda whole: b"PK\x03\x04" + whole, LONG),
    "no JSON": (header(b"[1]     "), JSON),
    "bad JSON": (header("{'a': 1}"), JSON),
    "cut JSON": (header('{"a": {"dtype"'), JSON),
    "bad UTF-8": (header(b'{"\xff": 1}'), TEXT),
    "NaN in JSON": (header('{"a": NaN}'), JSON),
    "a number of many digits": (header('{"a": ' + 10000 * "9" + "}"), JSON),
    "deep JSON": (header('{"a":' + 100_000 * "["), JSON),
    "deep objects": (header(100_000 * '{"a":'), JSON),
    "a key twice": (changed('"values"', f'"values":{ARRAY},"values"'), "a key occurs twice"),
    "a key spelt twice": (
        changed('"values"', f'"v\\u0061lues":{ARRAY},"values"'), "a key occurs twice",
    ),
    "a text twice": (changed('"version"', '"version":"1","version"'), "a key occurs twice"),
    "a type twice": (changed('"dtype"', '"dtype":"F64","dtype"'), JSON),
    "a huge header": (lambda whole: (1 << 62).to_bytes(8, "little") + whole[8:], LONG),
    "a header too long to parse": (header(b"{" + (1 << 21) * b" "), LONG),
    "many small things": (header('{"a":[' + 300_000 * "[]," + "0]}"), JSON),
    "another format": (changed('"fe_relu"', '"pt"'), "name the format 'pt', not 'fe_relu'"),
    "no metadata": (header("{}"), "name the format None"),
    "null as metadata": (header('{"__metadata__":null}'), "name the format None"),
    "metadata of numbers": (changed('"version":"1"', '"version":1'), JSON),
    "a list of metadata": (header('{"__metadata__":[]}'), JSON),
    "the future": (changed('"version":"1"', '"version":"2"'), "version 2 .* newer than 1"),
    "no version": (changed('"version":"1"', '"version":"x"'), "'x' is no version"),
    "a long version": (changed('"version":"1"', f'"version":"{5000 * "9"}"'), "is no version"),
    "version 0": (changed('"version":"1"', '"version":"0"'), "'0' is no version"),
    "no description": (changed('"network"', '"other"'), "description of the network is not valid"),
    "a bad description": (described('"kind": ', '"kind": {'), "description of the network is not"),
    "a number that is none": (described("[0.5, 0.0]", "[NaN, 0.0]"), "NaN is no number"),
    "a deep description": (described('"p1"', 900 * "[" + 900 * "]"), "."),
    "another kind": (described('"p1"', '"p9"'), "kind of network is 'p9', not one of p1, "),
    "a list of kinds": (described('"p1"', '["p1"]'), "kind of network is"),
    "layers of no layers": (described('"p1"', '"relu"'), "widths is not a list"),
    "a wrong type": (described('"float64"', '"float32"'), "dtype is 'float32', but numbers are"),
    "types of a type": (described('"float64"', "[[]]"), "dtype is"),
    "bad names": (described('"names": null', '"names": {"u": 1}'), "names must be a list"),
    "too many names": (described('"names": null', '"names": ["u", "v"]'), "2 names for 1 outputs"),
    "no grid": (described('"grid"', '"gird"'), "grid is None, not a finite dict"),
    "a list as grid": (described('"grid": {', '"grid": [], "other": {'), r"grid is \[\]"),
    "no axes": (described('"axes"', '"axis"'), "the grid has no lists"),
    "no origin": (described('"origin": [0.5, 0.0]', '"origin": null'), "the grid has no lists"),
    "a text as origin": (described("[0.5, 0.0]", '"ab"'), "something else than numbers"),
    "truth as origin": (described("[0.5, 0.0]", "[true, false]"), "something else than numbers"),
    "a deep origin": (described("[0.5, 0.0]", "[[0.5], 0.0]"), "something else than numbers"),
    "another diagonal": (described('"right"', '"up"'), "diagonal must be one of"),
    "a list of diagonals": (described('"right"', '["right"]'), "something else than numbers"),
    "parallel axes": (described("[0.0, 1.0]]", "[1.0, 0.0]]"), "parallel or zero"),
    "ragged axes": (described("[[1.0, 0.0], ", "[[1.0], "), "."),
    "a huge axis": (described("[[1.0", "[[1e400"), "must be finite"),
    "an axis of many digits": (described("[[1.0", "[[1" + 400 * "0"), "."),
    "no cells": (described("[3, 2]", "[0, 2]"), "at least 1 x 1 cells"),
    "half a cell": (described("[3, 2]", "[3.5, 2]"), "something else than integers"),
    "three sizes": (described("[3, 2]", "[3, 2, 1]"), "at most 2 integers"),
    "a larger grid": (described("[3, 2]", "[3, 3]"), "the grid of shape .* has 16 vertices"),
    "a huge grid": (described("[3, 2]", "[3000000000, 4000000000000]"), "the grid of shape"),
    "a huger grid": (described("[3, 2]", f"[{1 << 62}, {1 << 62}]"), "the grid of shape"),
    "half the numbers": (changed('"F64","shape":[12]', '"F32","shape":[12]'), SIZE),
    "a type unknown": (changed('"F64"', '"F65"'), JSON),
    "a type of no network": (
        changed('"F64","shape":[12]', '"F16","shape":[48]'), "'values' is of type F16",
    ),
    "a type by key": (changed('"F64"', '{"F64":null}'), "'values' is of type {'F64': None}"),
    "integers": (changed('"F64"', '"I64"'), "'values' has type int64 .* not floats"),
    "a list of types": (changed('"F64"', '["F64"]'), JSON),
    "a huge shape": (changed("[12]", "[1099511627776]"), SIZE),
    "a shape beyond counting": (changed("[12]", f"[{1 << 62},{1 << 62}]"), OVERFLOW),
    "a shape of no number": (changed("[12]", f"[{1 << 64}]"), JSON),
    "a negative shape": (changed("[12]", "[-12]"), JSON),
    "a true shape": (changed("[12]", "[12,true]"), JSON),
    "no list of a shape": (changed("[12]", "12"), JSON),
    "four dimensions": (changed("[12]", "[1,1,1,12]"), "in 4 dimensions; networks have"),
    "no dimension": (changed('[12],"data_offsets":[0,96]', '[],"data_offsets":[0,8]'), REST),
    "nothing beyond counting": (
        lambda whole: altered(
            altered(whole, b"[12]", b"[0,18446744073709551615]"), b"[0,96]", b"[0,0]"
        )[:-96],
        "has shape",
    ),
    "no component": (
        lambda whole: altered(altered(whole, b"[12]", b"[0,12]"), b"[0,96]", b"[0,0]")[:-96],
        "must have shape",
    ),
    "a gap": (
        lambda whole: altered(whole, b"[0,96]", b"[8,104]") + bytes(8),
        PLACE + "values",
    ),
    "too far": (changed("[0,96]", "[96,192]"), PLACE + "values"),
    "backwards": (changed("[0,96]", "[96,0]"), PLACE + "values"),
    "one offset": (changed("[0,96]", "[96]"), JSON),
    "no offsets": (changed("[0,96]", "[]"), JSON),
    "an overlap": (
        changed('"values"', f'"a":{ARRAY},"values"'),
        PLACE,
    ),
    "an array too many": (
        changed('"values"', '"a":{"dtype":"F64","shape":[0],"data_offsets":[0,0]},"values"'),
        "the array 'a' belongs to no such network",
    ),
    "an array missing": (changed('"values"', '"other"'), "the array 'values' is missing"),
    "an array without shape": (changed('"shape"', '"form"'), JSON),
    "a list as array": (changed(ARRAY, '["F64",[12],[0,96]]'), "not name type and shape"),
    "a text as array": (changed('"values":', '"x":"y","values":'), JSON),
    "NaN": (numbers(8, np.nan), "1 of 12 nodal values are NaN or infinite"),
    "infinity": (numbers(96, -np.inf), "1 of 12 nodal values are NaN or infinite"),
}  # fmt: skip


def hostile_message(path, change, whole, message):
    """Checks the error, and that reading took little more memory than the file."""
    path.write_bytes(change(whole))
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=message) as caught:
            load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 600
    assert peak < 1_000_000 + 50 * path.stat().st_size


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_with_the_cause(tmp_path, name):
    path = tmp_path / "network"
    save(P1Network(Grid((0.5, 0), np.eye(2), (3, 2), "right"), np.zeros(12)), path)
    change, message = HOSTILE[name]
    hostile_message(path, change, path.read_bytes(), message)


def weights(name, changed_numbers):
    """One array of the file replaced by numbers of the same type and shape."""

    def change(whole):
        found = safetensors.numpy.load(whole)
        length = int.from_bytes(whole[:8], "little")
        with_names = stored.parsed(whole[8 : 8 + length], "")
        first = 8 + length + with_names[name]["data_offsets"][0]
        new = np.array(changed_numbers, found[name].dtype).tobytes()
        assert len(new) == found[name].nbytes
        return whole[:first] + new + whole[first + len(new) :]

    return change


#: What is done to the file of x ↦ [[1, 2], [0, 3]] x, then ReLU, then [4, 5] x + 6.
HOSTILE_LAYERS = {
    "decreasing rows": (weights("layers.0.weight.indptr", [0, 4, 3]), "layer 0 decreases"),
    "rows from 1": (weights("layers.0.weight.indptr", [1, 2, 3]), "layer 0 does not divide"),
    "too few in rows": (weights("layers.0.weight.indptr", [0, 2, 2]), "does not divide 3 weights"),
    "too many in rows": (weights("layers.1.weight.indptr", [0, 1 << 30]), "does not divide 2"),
    "negative rows": (weights("layers.0.weight.indptr", [0, -1, 3]), "layer 0 decreases"),
    "a column too far": (weights("layers.0.weight.indices", [0, 2, 1]), "3 columns from 0 to 1"),
    "a negative column": (weights("layers.0.weight.indices", [-1, 1, 1]), "not 3 columns"),
    "a column twice": (weights("layers.0.weight.indices", [1, 1, 1]), "do not increase"),
    "columns in disorder": (weights("layers.1.weight.indices", [1, 0]), "layer 1 do not increase"),
    "a NaN weight": (weights("layers.1.weight.data", [np.nan, 5]), "needs finite numbers"),
    "an infinite bias": (weights("layers.0.bias", [0, np.inf]), "needs finite numbers"),
    "mismatched layers": (described("[2, 2, 1]", "[2, 3, 1]"), "2 biases for 3 outputs"),
    "another input": (described("[2, 2, 1]", "[1, 2, 1]"), "not 3 columns from 0 to 0"),
    "a layer more": (described("[2, 2, 1]", "[2, 2, 1, 1]"), "8 arrays are not 3 layers"),
    "no layer": (described("[2, 2, 1]", "[2]"), "8 arrays are not 0 layers"),
    "no widths": (described('"widths"', '"heights"'), "widths is not a list"),
    "a negative width": (described("[2, 2, 1]", "[-2, 2, 1]"), "something else than integers"),
    "many widths": (described("[2, 2, 1]", f"[{'2,' * 200_000}1]"), "8 arrays are not"),
    "layers in a circle": (changed('"layers.1.bias"', '"layers.-1.bias"'), "1.bias' is missing"),
    "a layer twice": (changed('"layers.1.bias"', '"layers.0.bias"'), f"{PLACE}|a key"),
    "floats as columns": (
        changed('1.weight.indices":{"dtype":"I', '1.weight.indices":{"dtype":"F'),
        "has type float32 .* not integers",
    ),
    "a matrix of biases": (
        changed('1.bias":{"dtype":"F64","shape":[1]', '1.bias":{"dtype":"F64","shape":[1,1]'),
        "not floats in 1 dimension",
    ),
    "a layer of two types": (
        changed('1.bias":{"dtype":"F64","shape":[1]', '1.bias":{"dtype":"F32","shape":[2]'),
        "weight and bias of layer 1 are float64 and float32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_LAYERS)
def test_hostile_layers_are_refused_with_the_cause(tmp_path, name):
    path = tmp_path / "network"
    save(ReLUNetwork((Affine([[1, 2], [0, 3.0]], [0, 0]), Affine([[4, 5.0]], [6]))), path)
    change, message = HOSTILE_LAYERS[name]
    hostile_message(path, change, path.read_bytes(), message)


def test_a_hostile_file_raises_on_all_ranks(comm, shared):
    path = shared / f"network{comm.rank}"
    save(example(), path)
    if comm.rank == comm.size - 1:
        path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(FileFormatError, match="cut off"):
        load(path, comm=comm, layout="blocks")


def test_a_file_that_shrinks_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "network"
    save(example(shape=(300, 200)), path)
    real = stored.read

    def shrunk(*arguments):
        os.truncate(path, 5000)
        return real(*arguments)

    monkeypatch.setattr(stored, "read", shrunk)
    with pytest.raises(FileFormatError, match="became shorter while it was read"):
        load(path)


def test_a_file_that_is_replaced_while_it_is_read(tmp_path, monkeypatch):
    """Header and numbers are of the file that was opened, and so is what the package checks."""
    save(example(), tmp_path / "network")
    save(quadratic(), tmp_path / "other")
    real = stored.safe_open

    def replaced(*arguments):
        os.replace(tmp_path / "other", tmp_path / "network")
        os.truncate(tmp_path / "network", 5)
        return real(*arguments)

    monkeypatch.setattr(stored, "safe_open", replaced)
    assert bits(load(tmp_path / "network")) == bits(example())
    assert os.listdir(tmp_path) == ["network"]


#: Files that are damaged, 10⁴ times in all: half of the changes fall into the header.
FUZZED = {
    "p1": lambda: example("left_right", (2,)),
    "p1 in single precision": lambda: example("crossed", (), np.float32),
    "relu": lambda: ReLUNetwork((Affine([[1, 2], [0, 3.0]], [0, 0]), Affine([[4, 5.0]], [6]))),
    "relu, odd": odd_layers,
    "deep": lambda: fe_relu.deep.square_network(1),
    "p2": lambda: quadratic("left_right", (2,)),
    "hierarchical": lambda: hierarchy("crossed", ()),
    "surrogate": lambda: hierarchy("left", ()).compress(max_neurons=30),
}


@pytest.mark.parametrize("name", FUZZED)
def test_a_damaged_file_is_refused_or_is_a_network(comm, tmp_path, name):
    """Bytes changed at random, files cut off at random; ranks share the cases."""
    path = tmp_path / "network"
    save(FUZZED[name](), path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    end = 8 + int(whole[:8].view("<u8")[0])
    x = np.array([[0.1, 1.0], [0.2, -3e5]])
    refused, kept = 0, 0
    for case in range(comm.rank, -(-10_000 // len(FUZZED)), comm.size):
        rng = np.random.default_rng([17, case])
        damaged = whole.copy()
        places = rng.integers(0, rng.choice([end, damaged.size]), rng.integers(1, 4))
        random = rng.integers(0, 256, places.size)
        digits = rng.choice(np.frombuffer(b'0123456789-.e[]{},:"', np.uint8), places.size)
        damaged[places] = np.where(rng.random(places.size) < 0.5, random, digits)
        if case % 10 == 0:
            damaged = damaged[: places[0]]
        with path.open("r+b") as file:
            file.write(damaged)
            file.truncate()
        try:
            network = load(path)
        except FileFormatError:
            refused += 1
            continue
        kept += 1
        if type(network) in ARRAYS:
            numbers = [getattr(network, array) for array in ARRAYS[type(network)]]
        else:
            assert isinstance(network, ReLUNetwork)
            numbers = [n for layer in network.layers for n in (layer.weight.data, layer.bias)]
        assert all(np.isfinite(n).all() for n in numbers)
        assert sum(n.nbytes for n in numbers) <= whole.size
        with np.errstate(all="ignore"):
            if isinstance(network, HierarchicalNetwork) and np.abs(numbers[0]).max() > 1e300:
                continue  # sums of them may be infinite, which is no P1 function
            assert evaluated(network, x[: network.dim_in]).shape[-1] == 2
    assert refused > kept > 0
