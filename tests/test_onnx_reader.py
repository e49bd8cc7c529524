# SPDX-License-Identifier: MIT
"""Files of others are read as the networks that they are, or refused by name, at little cost."""

import ast
import os
import tracemalloc

import numpy as np
import pytest
from test_export import network_on

from cases import same_layers
from fe_relu import Affine, FileFormatError, ReLUNetwork, from_onnx, to_onnx
from fe_relu.layers import chain
from runtime import run_file, silent_stderr

with silent_stderr():
    import onnx
    from onnx import TensorProto, helper, numpy_helper

#: What attributes name.
NAMED = {
    "ROW": numpy_helper.from_array(np.linspace(-1, 1, 5), "value"),
    "DOUBLE": TensorProto.DOUBLE,
    "INT64": TensorProto.INT64,
}


def weights(rng):
    shapes = {
        "A": (2, 5), "At": (5, 2), "B": (5, 5), "C": (5, 3), "row": (5,), "rows": (1, 5),
        "two": (2,), "one": (), "ones": (1,), "three": (3,),
    }  # fmt: skip
    return {name: np.array(rng.standard_normal(shape)) for name, shape in shapes.items()}


def node(k, step):
    """From "output = Operator inputs attribute=value"."""
    output, _, op, *words = step.split()
    settings = dict(word.split("=") for word in words if "=" in word)
    known = {name: NAMED.get(word) or ast.literal_eval(word) for name, word in settings.items()}
    inputs = [word for word in words if "=" not in word]
    return helper.make_node(op, inputs, [output], name=f"{op}_{k}", **known)


def written(path, steps, tensors, dtype=np.float64, width=2):
    """A file of steps, with constants as initializers."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        [node(k, step) for k, step in enumerate(steps.split("; "))],
        "foreign",
        [helper.make_tensor_value_info("x", kind, ["n", width])],
        [helper.make_tensor_value_info("u", kind, ["n", 3])],
        [numpy_helper.from_array(a.astype(dtype), name) for name, a in tensors.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


#: Graphs as others write them, with the hidden layers that they have.
GRAPHS = {
    "a = MatMul x A; b = Add row a; c = Relu b; d = MatMul c C; u = Add d three": 1,
    "a = Gemm x At row transB=1 alpha=0.3 beta=-2.0; b = Relu a; u = Gemm b C": 1,
    "a = Gemm x A one; b = Relu a; c = Gemm b B rows; d = Relu c; u = Gemm d C ones": 2,
    "k = Constant value=ROW; a = MatMul x A; b = Add a k; c = Add b one; d = Relu c; "
    "e = MatMul d B; u = Gemm e C three": 1,
    "a = Identity x; b = Flatten a axis=1; c = Gemm b A row; d = Dropout c; e = Relu d; "
    "f = Cast e to=DOUBLE; u = Gemm f C": 1,
    "a = Relu x; b = Gemm a A row; c = Relu b; d = Relu c; e = Gemm d C; u = Relu e": 4,
    "a = Gemm x A row; b = Relu a; c = MatMul b B; d = Relu c; e = Add d b; u = Gemm e C three": 2,
}


@pytest.mark.parametrize("steps", GRAPHS)
def test_graphs_of_others_are_read(tmp_path, steps, rng):
    path = written(tmp_path / "u.onnx", steps, weights(rng))
    network = from_onnx(path)
    x = 3 * rng.standard_normal((2, 200))
    assert network.hidden_layers == GRAPHS[steps]
    assert np.abs(network(x) - run_file(path, x)).max() <= 1e-13


def test_half_precision_becomes_single(tmp_path, rng):
    tensors = {name: a.astype(np.float16) for name, a in weights(rng).items()}
    steps = "a = Gemm x At row transB=1; b = Relu a; u = Gemm b C"
    network = from_onnx(written(tmp_path / "u.onnx", steps, tensors, np.float16))
    assert network.dtype == np.float32
    assert (network.layers[1].weight.toarray() == tensors["C"].T).all()


#: Graphs that are no ReLU networks, with what the error says.
REFUSED = {
    "u = Sigmoid x": r"Sigmoid_0' \(Sigmoid\) is none of Gemm",
    "u = Gemm x A domain='com.example'": "is none of",
    "u = Gemm x A transA=1": "must multiply rows",
    "u = MatMul At x": "must multiply rows",
    "u = MatMul x x": "must multiply rows",
    "u = MatMul x two": "is no matrix",
    "a = MatMul x A; u = MatMul a A": "takes 2 inputs, but 5",
    "u = MatMul x B": "takes 5 inputs, but 2",
    "u = Gemm x A two": "a row of 5 constants",
    "a = MatMul x A; u = Add a B": "a row of 5 constants",
    "u = Flatten x axis=0": "keep the batch",
    "u = Cast x to=INT64": "floating-point",
    "u = MatMul y A": "lacks 'y'",
    "a = Add u x; u = Relu a": "lacks 'u'",
    "u = Relu": "Relu",
    "u = Relu A": "must rectify a function",
    "u = Identity A": "no function of the input",
    "k = Constant value=3.0": "must hold a tensor in value",
    "u = Gemm x A alpha=[1.0,2.0]": "must have one number as alpha",
    "u = MatMul x A; u = Relu u": "again, which is there already",
    "B = MatMul x A; u = Relu B": "again, which is there",
    "u = MatMul x nan": r"MatMul_0.*finite",
}


@pytest.mark.parametrize("steps", REFUSED)
def test_other_graphs_are_refused_by_name(tmp_path, steps, rng):
    tensors = weights(rng) | {"nan": np.full((2, 5), np.nan)}
    path = written(tmp_path / "u.onnx", steps, tensors)
    with pytest.raises(FileFormatError, match=REFUSED[steps]) as error:
        from_onnx(path)
    assert str(path) in str(error.value)


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(FileFormatError, match="not a regular file"):
            from_onnx(path)
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "none.onnx")


#: A product of low rank and a ReLU, forty times; a sum with itself, sixty times.
PRODUCTS = "; ".join(
    f"t{k} = MatMul x{k} V; z{k} = MatMul t{k} W; x{k + 1} = Relu z{k}" for k in range(40)
)
SUMS = "; ".join(f"x{k + 1} = Add x{k} x{k}" for k in range(1, 60))
RELUS = "; ".join(f"x{k + 1} = Relu x{k}" for k in range(30))

#: Small files that claim much, or of which much would be made: steps, tensors, the width and the
#: dims of A that are claimed, and the cause that is named.
CLAIMS = {
    "a width": ("u = Relu x", {}, 1 << 40, None, "Relu.*beyond"),
    "a width, again and again": (f"x0 = Relu x; {RELUS}", {}, 1 << 17, None, "Relu.*beyond"),
    "no rows": ("u = MatMul x A", {}, 2, [0, 1 << 30], "the shape"),
    "no columns": ("u = Gemm x A", {}, 2, [1 << 30, 0], "the shape"),
    "less than nothing": ("u = MatMul x A", {}, 2, [-2, -5], "the shape"),
    "more numbers": ("u = MatMul x A", {}, 2, [2, 1 << 30], "10 are there"),
    "fewer numbers": ("u = MatMul x A", {}, 2, [3], "claims 3 numbers"),
    "products of low rank": (
        f"x0 = Identity x; {PRODUCTS}",
        {"V": np.ones((900, 1)), "W": np.ones((1, 900))}, 900, None, "MatMul.*beyond",
    ),
    "sums of sums": (f"a = MatMul x A; x1 = Relu a; {SUMS}", {}, 2, None, "Add.*beyond"),
}  # fmt: skip


@pytest.mark.parametrize("case", CLAIMS)
def test_small_files_make_no_large_networks(tmp_path, case, rng):
    """Whatever they claim: one budget for all that is made, and claims compared with the bytes."""
    steps, tensors, width, dims, cause = CLAIMS[case]
    path = tmp_path / "u.onnx"
    model = onnx.load(written(path, steps, {"A": weights(rng)["A"], **tensors}, width=width))
    if dims is not None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)
        onnx.save(model, path)
    with pytest.raises(FileFormatError, match=cause):
        from_onnx(path)  # once before, so that what is imported is not counted
    tracemalloc.start()
    with pytest.raises(FileFormatError):
        from_onnx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250_000_000


def test_files_of_large_layers_are_read(tmp_path, rng):
    """The budget counts what is made beyond what is given."""
    wide = Affine(rng.standard_normal((2000, 3000)), rng.standard_normal(2000))
    network = ReLUNetwork((Affine(np.ones((3000, 2)), np.ones(3000)), wide))
    to_onnx(network, tmp_path / "u.onnx")
    assert same_layers(from_onnx(tmp_path / "u.onnx"), network)


def test_a_lack_of_memory_is_an_error_of_the_file(tmp_path, monkeypatch, rng):
    def lacking(*_):
        raise MemoryError

    path = written(tmp_path / "u.onnx", "u = MatMul x A", weights(rng))
    monkeypatch.setattr(chain.Chain, "then", lacking)
    with pytest.raises(FileFormatError, match="more memory than there is"):
        from_onnx(path)


#: How data beside a file is claimed to lie, and a pipe in its place.
BESIDE = [
    {"location": "../A"}, {"location": "/etc/passwd"}, {"location": "pipe"}, {"location": "none"},
    {"offset": "-4"}, {"length": "9" * 15}, {"length": "8"}, {"offset": "x"},
]  # fmt: skip


def damaged(path):
    """Contents that are no model, and models whose weights are not what they say."""
    data = path.read_bytes()
    yield from (b"", b"\0" * 100, b"no ONNX file", data[: len(data) // 2])
    for change in ({"data_type": 999}, {"data_type": TensorProto.STRING}, *BESIDE):
        model = onnx.ModelProto.FromString(data)
        tensor = model.graph.initializer[0]
        if "data_type" in change:
            tensor.data_type = change["data_type"]
        else:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for name, value in ({"location": "A", "offset": "0"} | change).items():
                tensor.external_data.add(key=name, value=value)
        yield model.SerializeToString()
    model = onnx.ModelProto.FromString(data)
    model.graph.initializer.append(model.graph.initializer[0])
    yield model.SerializeToString()


def test_damaged_files_are_refused(tmp_path, rng):
    tensors, path = weights(rng), tmp_path / "u.onnx"
    (tmp_path / "A").write_bytes(tensors["A"].tobytes())
    os.mkfifo(tmp_path / "pipe")
    written(path, "u = MatMul x A", tensors)
    for contents in list(damaged(path)):
        path.write_bytes(contents)
        with pytest.raises(FileFormatError, match=r"u\.onnx") as error:
            from_onnx(path)
        assert not str(error.value).endswith(": ")


def test_active_files_are_refused_with_a_remedy(tmp_path, rng):
    to_onnx(network_on("unit", (2, 2), "right", rng), tmp_path / "u.onnx", form="active")
    with pytest.raises(FileFormatError, match='form="relu"'):
        from_onnx(tmp_path / "u.onnx")
