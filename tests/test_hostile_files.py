# SPDX-License-Identifier: MIT
"""Hostile files: whatever is no whole and valid network is refused with the cause, at no cost."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from test_files import ARRAYS, altered, bits, evaluated, example, hierarchy, odd_layers, quadratic

import fe_relu
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
from fe_relu.formats import kinds, stored


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

P1 = {
    "empty": (lambda whole: b"", SMALL),
    "only the length": (lambda whole: whole[:8], LENGTH),
    "cut off": (lambda whole: whole[:-1], REST),
    "too long": (lambda whole: whole + b"\0", REST),
    "a pickle": (lambda whole: b"\x80\x04\x95\0\0\0\0\0" + whole, LONG),
    "bad JSON": (header("{'a': 1}"), JSON),
    "bad UTF-8": (header(b'{"\xff": 1}'), TEXT),
    "deep JSON": (header('{"a":' + 100_000 * "["), JSON),
    "a key twice": (changed('"values"', f'"values":{ARRAY},"values"'), "a key occurs twice"),
    "a key spelt twice": (
        changed('"values"', f'"v\\u0061lues":{ARRAY},"values"'), "a key occurs twice",
    ),
    "a huge header": (lambda whole: (1 << 62).to_bytes(8, "little") + whole[8:], LONG),
    "a header too long to parse": (header(b"{" + (1 << 21) * b" "), LONG),
    "many small things": (header('{"a":[' + 300_000 * "[]," + "0]}"), JSON),
    "another format": (changed('"fe_relu"', '"pt"'), "name the format 'pt', not 'fe_relu'"),
    "no metadata": (header("{}"), "name the format None"),
    "metadata of numbers": (changed('"version":"1"', '"version":1'), JSON),
    "the future": (changed('"version":"1"', '"version":"2"'), "version 2 .* newer than 1"),
    "no version": (changed('"version":"1"', '"version":"x"'), "'x' is no version"),
    "a long version": (changed('"version":"1"', f'"version":"{5000 * "9"}"'), "is no version"),
    "no description": (changed('"network"', '"other"'), "description of the network is not valid"),
    "a bad description": (described('"kind": ', '"kind": {'), "description of the network is not"),
    "a number that is none": (described("[0.5, 0.0]", "[NaN, 0.0]"), "NaN is no number"),
    "another kind": (described('"p1"', '"p9"'), "kind of network is 'p9', not one of p1, "),
    "layers of no layers": (described('"p1"', '"relu"'), "widths is not a list"),
    "a wrong type": (described('"float64"', '"float32"'), "dtype is 'float32', but numbers are"),
    "bad names": (described('"names": null', '"names": {"u": 1}'), "names must be a list"),
    "too many names": (described('"names": null', '"names": ["u", "v"]'), "2 names for 1 outputs"),
    "no grid": (described('"grid"', '"gird"'), "the mesh is none of the kinds grid"),
    "no axes": (described('"axes"', '"axis"'), "the grid has no lists"),
    "no origin": (described('"origin": [0.5, 0.0]', '"origin": null'), "the grid has no lists"),
    "a text as origin": (described("[0.5, 0.0]", '"ab"'), "something else than numbers"),
    "another diagonal": (described('"right"', '"up"'), "diagonal must be one of"),
    "parallel axes": (described("[0.0, 1.0]]", "[1.0, 0.0]]"), "parallel or zero"),
    "ragged axes": (described("[[1.0, 0.0], ", "[[1.0], "), "."),
    "a huge axis": (described("[[1.0", "[[1e400"), "must be finite"),
    "no cells": (described("[3, 2]", "[0, 2]"), "something else than numbers of cells"),
    "half a cell": (described("[3, 2]", "[3.5, 2]"), "something else than numbers of cells"),
    "three sizes": (described("[3, 2]", "[3, 2, 1]"), "at least 1 x 1 cells"),
    "a larger grid": (described("[3, 2]", "[3, 3]"), "the mesh has 16 vertices"),
    "a huger grid": (described("[3, 2]", f"[{1 << 62}, {1 << 62}]"), "the mesh has"),
    "half the numbers": (changed('"F64","shape":[12]', '"F32","shape":[12]'), SIZE),
    "a type unknown": (changed('"F64"', '"F65"'), JSON),
    "a type of no network": (
        changed('"F64","shape":[12]', '"F16","shape":[48]'), "'values' is of type F16",
    ),
    "integers": (changed('"F64"', '"I64"'), "'values' has type int64 .* not floats"),
    "a huge shape": (changed("[12]", "[1099511627776]"), SIZE),
    "a shape beyond counting": (changed("[12]", f"[{1 << 62},{1 << 62}]"), OVERFLOW),
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
    "an overlap": (
        changed('"values"', f'"a":{ARRAY},"values"'),
        PLACE,
    ),
    "an array too many": (
        changed('"values"', '"a":{"dtype":"F64","shape":[0],"data_offsets":[0,0]},"values"'),
        "the array 'a' belongs to no such network",
    ),
    "an array missing": (changed('"values"', '"other"'), "the array 'values' is missing"),
    "a list as array": (changed(ARRAY, '["F64",[12],[0,96]]'), "not name type and shape"),
    "NaN": (numbers(8, np.nan), "1 of 12 nodal values are NaN or infinite"),
    "infinity": (numbers(96, -np.inf), "1 of 12 nodal values are NaN or infinite"),
}  # fmt: skip

#: What is done to the file of x ↦ [[1, 2], [0, 3]] x, then ReLU, then [4, 5] x + 6.
LAYERS = {
    "decreasing rows": (weights("layers.0.weight.indptr", [0, 4, 3]), "layer 0 decreases"),
    "rows from 1": (weights("layers.0.weight.indptr", [1, 2, 3]), "layer 0 does not divide"),
    "too few in rows": (weights("layers.0.weight.indptr", [0, 2, 2]), "does not divide 3 weights"),
    "too many in rows": (weights("layers.1.weight.indptr", [0, 1 << 30]), "does not divide 2"),
    "a column too far": (weights("layers.0.weight.indices", [0, 2, 1]), "3 columns from 0 to 1"),
    "a negative column": (weights("layers.0.weight.indices", [-1, 1, 1]), "not 3 columns"),
    "a column twice": (weights("layers.0.weight.indices", [1, 1, 1]), "do not increase"),
    "columns in disorder": (weights("layers.1.weight.indices", [1, 0]), "layer 1 do not increase"),
    "a NaN weight": (weights("layers.1.weight.data", [np.nan, 5]), "needs finite numbers"),
    "mismatched layers": (described("[2, 2, 1]", "[2, 3, 1]"), "2 biases for 3 outputs"),
    "another input": (described("[2, 2, 1]", "[1, 2, 1]"), "not 3 columns from 0 to 0"),
    "a layer more": (described("[2, 2, 1]", "[2, 2, 1, 1]"), "'layers.2.weight.data' is missing"),
    "no widths": (described('"widths"', '"heights"'), "widths is not a list"),
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

#: What is done to the file of a P2Network on 1 x 1 cells with levels 3.
P2 = {
    "no levels": (described('"levels": 3', '"level": 3'), "levels is None, not a finite int"),
    "levels of a text": (described('"levels": 3', '"levels": "3"'), "not a finite int"),
    "true levels": (described('"levels": 3', '"levels": true'), "levels is True, not a finite"),
    "level 0": (described('"levels": 3', '"levels": 0'), "levels must be between 1 and 26"),
    "many levels": (described('"levels": 3', '"levels": 27'), "levels must be between 1 and 26"),
    "levels beyond counting": (described('"levels": 3', f'"levels": {1 << 63}'), "finite int"),
    "P1 values": (changed('"shape":[9],', '"shape":[3,3],'), r"shape \[3, 3\], but .* 9 vertices"),
    "another grid": (
        described("[1, 1]", "[2, 1]"),
        r"'values' has shape \[9\], but the mesh, refined by 2, has 15 vertices",
    ),
    "another kind": (described('"p2"', '"p1"'), "the mesh has 4 vertices"),
}  # fmt: skip

#: What is done to the file of a hierarchy of 4 x 2 cells, halved once.
HIERARCHICAL = {
    "no levels": (described('"levels": 1', '"level": 1'), "levels is None, not a finite int"),
    "a level more": (described('"levels": 1', '"levels": 2'), "divisible by 4"),
    "a negative level": (described('"levels": 1', '"levels": -1'), "at least 0"),
    "levels beyond memory": (described('"levels": 1', f'"levels": {1 << 62}'), "at most 62"),
    "levels beyond bits": (described('"levels": 1', f'"levels": {1 << 64}'), "not a finite int"),
    "another grid": (described("[4, 2]", "[2, 2]"), "has 9 vertices"),
    "a mesh that does not nest": (described('"right"', '"right_left"'), "do not nest"),
    "NaN": (numbers(8, np.inf), "1 of 15 surpluses are NaN or infinite"),
}  # fmt: skip

#: What is done to the file of `small_surrogate()`.
SURROGATE = {
    "no levels": (described('"levels": 1', '"level": 1'), "levels is None, not a finite int"),
    "a level more": (described('"levels": 1', '"levels": 2'), "divisible by 4"),
    "no kept": (described('"kept"', '"held"'), "kept is not a list"),
    "a kept more": (described("[2, 1]", "[3, 1]"), "kept must say how many .* of 2 levels, not"),
    "a part of the whole": (described("[2, 1]", "[20, 15]"), "kept must say how many"),
    "a level of kept less": (described("[2, 1]", "[3]"), "kept must say how many"),
    "huge kept": (described("[2, 1]", f"[2, {1 << 62}]"), "kept must say how many"),
    "kept beyond bits": (described("[2, 1]", f"[2, {1 << 63}]"), "something else than integers"),
    "many kept": (described("[2, 1]", f"[2{999 * ', 1'}]"), "kept is not a list of at most 64"),
    "no error": (described('"error"', '"err"'), "error is None, not a finite float"),
    "a negative error": (described('"error": 0.5', '"error": -0.5'), "must be at least 0"),
    "an infinite bound": (described('"bound": 0.5', '"bound": 1e999'), "not a finite float"),
    "a text as ceiling": (described('"ceiling": 5.0', '"ceiling": "5"'), "not a finite float"),
    "a grid beyond counting": (
        described("[4, 2]", f"[{1 << 40}, {1 << 40}]"), "has at most 9007199254740992 vertices",
    ),
    "a mesh that does not nest": (described('"right"', '"right_left"'), "do not nest"),
    "a vertex too far": (weights("vertices", [0, 1, 15]), "numbers of the mesh's vertices"),
    "a vertex twice": (weights("vertices", [0, 4, 4]), "vertices, increasing"),
    "vertices in disorder": (weights("vertices", [1, 0, 4]), "vertices, increasing"),
    "other levels": (weights("vertices", [0, 2, 4]), "kept must say how many"),
    "a NaN": (weights("coefficients", [0, np.nan, 4]), "1 of 3 coefficients are NaN"),
    "vertices of floats": (changed('"I64"', '"F64"'), "'vertices' has type float64"),
    "coefficients of integers": (changed('"F64"', '"I64"'), "'coefficients' has type int64"),
    "a matrix of vertices": (
        changed('"vertices":{"dtype":"I64","shape":[3]', '"vertices":{"dtype":"I64","shape":[1,3]'),
        "not integers in 1 dimension",
    ),
    "coefficients in columns": (
        changed('"F64","shape":[3]', '"F64","shape":[3,1]'), "coefficients must have shape",
    ),
}  # fmt: skip

#: By kind, a network and what is done to its file.
HOSTILE = {
    "p1": (lambda: P1Network(Grid((0.5, 0), np.eye(2), (3, 2), "right"), np.zeros(12)), P1),
    "relu": (
        lambda: ReLUNetwork((Affine([[1, 2], [0, 3.0]], [0, 0]), Affine([[4, 5.0]], [6]))),
        LAYERS,
    ),
    "p2": (
        lambda: P2Network(Grid((0.5, 0), np.eye(2), (1, 1), "right"), np.zeros(9), levels=3),
        P2,
    ),
    "hierarchical": (
        lambda: HierarchicalNetwork(
            Grid((0.5, 0), np.eye(2), (4, 2), "right"), 1, np.arange(15.0)
        ),
        HIERARCHICAL,
    ),
    "surrogate": (
        lambda: Surrogate(
            Grid((0.5, 0), np.eye(2), (4, 2), "right"),
            1, [0, 1, 4], [1.0, 2.0, 3.0], (2, 1), 0.5, 0.5, 0.25, 5.0,
        ),
        SURROGATE,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, (_, c) in HOSTILE.items() for n in c])
def test_hostile_files_are_refused_with_the_cause(tmp_path, kind, name):
    """The error names file and cause, and reading took little more memory than the file."""
    path, (make, cases) = tmp_path / "network", HOSTILE[kind]
    save(make(), path)
    change, message = cases[name]
    path.write_bytes(change(path.read_bytes()))
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


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_raises_on_all_ranks(comm, tmp_path, kind):
    path = Path(comm.bcast(str(tmp_path))) / f"network{comm.rank}"
    save(HOSTILE[kind][0](), path)
    whole = path.read_bytes()
    for change in (numbers(8, np.nan), lambda whole: whole[:-5]):
        if comm.rank == comm.size - 1:
            path.write_bytes(change(whole))
        with pytest.raises(FileFormatError, match=r"NaN or infinite|does not divide|cut off"):
            load(path, comm=comm)


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


def test_a_surrogate_on_a_grid_of_no_memory_is_loaded_but_not_cut(comm, tmp_path):
    """Files may claim any grid; only tables along its sides, or at its vertices, would cost."""
    grid = Grid((0, 0), np.eye(2), (1 << 40, 2), "right")
    s = Surrogate(grid, 1, [0, 7], [1.0, 2.0], (1, 1), 0.0, 0.0, 0.0, 3.0)
    save(s, tmp_path / "network")
    assert bits(load(tmp_path / "network", comm=comm)) == bits(s)
    if comm.size > 1:
        with pytest.raises(FileFormatError, match="is not cut into blocks"):
            load(tmp_path / "network", comm=comm, layout="blocks")
    assert kinds.MAX_SIDE >= 1 << 20


#: Files that are damaged, 10⁴ times in all: half of the changes fall into the header.
FUZZED = {
    "p1": lambda: example("left_right", (2,)),
    "p1 in single precision": lambda: example("crossed", (), np.float32),
    "relu": HOSTILE["relu"][0],
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
