# SPDX-License-Identifier: MIT
"""Feed-forward ReLU graphs in ONNX files as networks, whoever wrote them."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.refusals import needed
from fe_relu.formats.files import FileFormatError
from fe_relu.layers.affine import Affine
from fe_relu.layers.chain import Chain, Room
from fe_relu.layers.network import PoolingNetwork, ReLUNetwork
from fe_relu.layers.pooling import Pooling

if TYPE_CHECKING:
    import onnx

#: By type of numbers, their bytes and the field that has them, if they are not raw.
FIELDS = {
    "FLOAT": (4, "float_data"),
    "DOUBLE": (8, "double_data"),
    "FLOAT16": (2, "int32_data"),
    "BOOL": (1, "int32_data"),
    "INT32": (4, "int32_data"),
    "INT64": (8, "int64_data"),
}


#: Which graphs do.
_REMEDY = 'to_onnx(…, form="relu") writes those that are read'


@dataclass(frozen=True, eq=False)
class Chosen:
    """Some components of a function of the input, to be paired with others."""

    chain: Chain
    numbers: npt.NDArray


def from_onnx(path: str | os.PathLike[str]) -> ReLUNetwork | PoolingNetwork:
    """The network of any feed-forward graph of Gemm, MatMul, Add and Relu, from x (n, d) to (n, k).

    Weights may be initializers or constants, of float16, float32 or float64; float16 becomes
    float32. Affine maps in a row become one; branches that `Add` joins become a sum of networks;
    `Mul` or `Max` of components that two `Gather` choose become a `Pooling`. Identity, Cast to
    floats, Dropout and Flatten of a batch of vectors change nothing. Nothing in the file is
    believed that its bytes do not bear out, and all layers that are made of it together are of no
    more numbers than a few times those in the file, or a few million.

    Args:
        path: An ONNX file, with its external data beside it, if it has any.

    Raises:
        ImportError: onnx is not installed.
        OSError: The file cannot be read.
        FileFormatError: This is no ONNX file, or not such a graph; the message names the node.

    Examples:
        >>> import tempfile, fe_relu
        >>> layers = (fe_relu.Affine([[1], [-1]], [0, 0]), fe_relu.Affine([[1, 1]], [0]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fe_relu.to_onnx(fe_relu.ReLUNetwork(layers), f"{folder}/size.onnx")
        ...     fe_relu.from_onnx(f"{folder}/size.onnx")([[-3.0, 0.5]])
        array([3. , 0.5])
    """
    return network_and_metadata(path)[0]


def network_and_metadata(
    path: str | os.PathLike[str],
) -> tuple[ReLUNetwork | PoolingNetwork, dict[str, str]]:
    """What `from_onnx` returns, and the texts that the file has besides, by name."""
    with needed("onnx", "from_onnx"):
        import onnx
    model = _loaded(onnx, os.fspath(path))
    try:
        network = _network(model.graph)
    except (ValueError, MemoryError) as error:
        cause = str(error) or "it needs more memory than there is"
        raise FileFormatError(f"{os.fspath(path)}: {cause}") from error
    return network, {entry.key: entry.value for entry in model.metadata_props}


def _network(graph: onnx.GraphProto) -> ReLUNetwork | PoolingNetwork:
    constants = {tensor.name: _array(tensor) for tensor in graph.initializer}
    if len(constants) < len(graph.initializer):
        raise ValueError("one name names several weights")
    inputs = [value.name for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1 or graph.sparse_initializer:
        raise ValueError(
            f"a network has one input, one output and dense weights; this graph has the inputs "
            f"{inputs}, {len(graph.output)} outputs and {len(graph.sparse_initializer)} sparse "
            "weights"
        )
    room = Room(sum(math.prod(tensor.dims) for tensor in _tensors(graph)))
    x = Chain(_declared_width(graph, inputs[0]), room=room)
    values: dict[str, Any] = {**constants, inputs[0]: x}
    for node in graph.node:
        with _named(node):
            if node.output[0] in values:
                raise ValueError(f"makes {node.output[0]!r} again, which is there already")
            values[node.output[0]] = _result(node, values)
    result = values.get(graph.output[0].name)
    if not isinstance(result, Chain):
        raise ValueError(f"the output {graph.output[0].name!r} is no function of the input")
    return result.network()


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All numbers in a graph: initializers, and constants of nodes."""
    yield from graph.initializer
    yield from (a.t for node in graph.node for a in node.attribute if a.HasField("t"))


def _declared_width(graph: onnx.GraphProto, name: str) -> int | None:
    """The components of the input, if its shape (n, d) says so."""
    (value,) = (value for value in graph.input if value.name == name)
    dims = value.type.tensor_type.shape.dim
    return dims[1].dim_value or None if len(dims) == 2 else None


def _loaded(onnx: Any, path: str) -> onnx.ModelProto:
    """The file's message, and data beside it; what protobuf and onnx raise is one kind of error."""
    _require_regular(path)
    with open(path, "rb"):
        pass  # from here on errors are about what is in the file
    try:
        model = onnx.load(path, load_external_data=False)
        for tensor in _tensors(model.graph):
            _require_borne_out(tensor, os.path.dirname(path))
        onnx.load_external_data_for_model(model, os.path.dirname(path) or ".")
        return model
    except Exception as error:
        cause = str(error) or type(error).__name__
        raise FileFormatError(f"{path} is no ONNX file: {cause}") from error


def _require_regular(path: str) -> None:
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FileFormatError(f"{path}: not a regular file")


def _require_borne_out(tensor: onnx.TensorProto, folder: str) -> None:
    """Raises unless a tensor has as many numbers as it claims, here or in the file beside."""
    from onnx import TensorProto

    count, kinds = math.prod(tensor.dims), TensorProto.DataType
    name = kinds.Name(tensor.data_type) if tensor.data_type in kinds.values() else None
    if name not in FIELDS:
        raise ValueError(f"the weights {tensor.name!r} are of type {name or tensor.data_type}")
    if min(tensor.dims, default=1) < 1:
        raise ValueError(f"the weights {tensor.name!r} have the shape {list(tensor.dims)}")
    size, field = FIELDS[name]
    if tensor.data_location == TensorProto.EXTERNAL:
        place = {entry.key: entry.value for entry in tensor.external_data}
        beside = os.path.join(folder, place.get("location", ""))
        _require_regular(beside)
        held = min(os.stat(beside).st_size, int(place.get("length", count * size)))
        if held != count * size:
            raise ValueError(f"{tensor.name!r} claims {count} numbers, but {beside} has others")
        return
    held = (
        len(tensor.raw_data) if tensor.HasField("raw_data") else len(getattr(tensor, field)) * size
    )
    if held != count * size:
        raise ValueError(f"{tensor.name!r} claims {count} numbers, but {held // size} are there")


def _gemm(node: onnx.NodeProto, a: Any, b: Any, c: Any = None) -> Any:
    settings = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0, **_attributes(node)}
    if not (isinstance(a, Chain) and isinstance(b, np.ndarray)) or settings["transA"]:
        raise ValueError("must multiply rows of the input by a constant matrix")
    for name in ("alpha", "beta"):
        if not isinstance(settings[name], int | float):
            raise ValueError(f"must have one number as {name}")
    weight = b if settings["transB"] else b.T
    if weight.ndim != 2:
        raise ValueError(f"has weights of shape {b.shape}, which is no matrix")
    bias = np.zeros(len(weight), b.dtype) if c is None else _row(c, len(weight))
    return a.then(Affine(_scaled(weight, settings["alpha"]), _scaled(bias, settings["beta"])))


def _matmul(node: onnx.NodeProto, a: Any, b: Any) -> Any:
    return _gemm(node, a, b)


def _add(node: onnx.NodeProto, a: Any, b: Any) -> Any:
    if isinstance(a, Chain) and isinstance(b, Chain):
        return a.joined(b)
    chain, constant = (a, b) if isinstance(a, Chain) else (b, a)
    if not (isinstance(chain, Chain) and isinstance(constant, np.ndarray)):
        raise ValueError("must add a constant row")
    return chain.shifted(_row(constant, chain.affine.dim_out))


def _relu(node: onnx.NodeProto, a: Any) -> Any:
    return a.rectified()


def _gather(node: onnx.NodeProto, a: Any, indices: Any) -> Any:
    ints = isinstance(indices, np.ndarray) and indices.ndim == 1 and indices.dtype.kind == "i"
    if not (isinstance(a, Chain) and ints) or _attributes(node).get("axis", 0) not in (1, -1):
        raise ValueError(f"must choose components of a function of the input, axis 1; {_REMEDY}")
    return Chosen(a, indices)


def _mul(node: onnx.NodeProto, a: Any, b: Any) -> Any:
    return _paired("product", a, b)


def _max(node: onnx.NodeProto, a: Any, b: Any) -> Any:
    return _paired("maximum", a, b)


def _paired(kind: Any, a: Any, b: Any) -> Chain:
    if not (isinstance(a, Chosen) and isinstance(b, Chosen) and a.chain is b.chain):
        raise ValueError(f"must pair components that two Gather choose from the same; {_REMEDY}")
    if a.numbers.size != b.numbers.size:
        raise ValueError(f"pairs {a.numbers.size} components with {b.numbers.size}")
    pairs = np.array([a.numbers, b.numbers])
    return a.chain.pooled(Pooling(pairs, a.chain.affine.dim_out, kind))


def _constant(node: onnx.NodeProto) -> npt.NDArray:
    from onnx import TensorProto

    attributes = _attributes(node)
    if "value" in attributes:
        if not isinstance(attributes["value"], TensorProto):
            raise ValueError("must hold a tensor in value")
        return _array(attributes["value"])
    if "value_float" in attributes or "value_floats" in attributes:
        return np.array(attributes.get("value_float", attributes.get("value_floats")), np.float32)
    raise ValueError("must hold numbers in value, value_float or value_floats")


def _identity(node: onnx.NodeProto, a: Any) -> Any:
    return a


def _dropout(node: onnx.NodeProto, a: Any, ratio: Any = None, training: Any = None) -> Any:
    if training is not None and (isinstance(training, Chain) or training.any()):
        raise ValueError("must not be in training")
    return a


def _flatten(node: onnx.NodeProto, a: Any) -> Any:
    if _attributes(node).get("axis", 1) not in (1, -1):
        raise ValueError("must keep the batch: axis 1")
    return a


def _cast(node: onnx.NodeProto, a: Any) -> Any:
    from onnx import TensorProto

    if _attributes(node)["to"] not in (TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE):
        raise ValueError("must cast to floating-point numbers")
    return a


#: What each operator makes of its inputs: chains, which are functions of the input, or arrays.
OPERATORS: Mapping[str, Callable[..., Any]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Relu": _relu,
    "Constant": _constant,
    "Identity": _identity,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Cast": _cast,
    "Gather": _gather,
    "Mul": _mul,
    "Max": _max,
}


def _result(node: onnx.NodeProto, values: Mapping[str, Any]) -> Any:
    if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
        raise ValueError(
            f"is none of {', '.join(OPERATORS)}, of which a ReLU network consists; {_REMEDY}"
        )
    given = [values[name] if name else None for name in node.input]
    if node.op_type == "Relu" and not isinstance(given[0], Chain):
        raise ValueError("must rectify a function of the input")
    return OPERATORS[node.op_type](node, *given)


@contextmanager
def _named(node: onnx.NodeProto) -> Iterator[None]:
    """Errors name the node."""
    where = f"node {node.name or node.output[:1]!r} ({node.op_type})"
    try:
        yield
    except KeyError as missing:
        raise ValueError(f"{where} lacks {missing}, or comes before it") from missing
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{where} {error}") from error


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _array(tensor: onnx.TensorProto) -> npt.NDArray:
    from onnx import numpy_helper

    try:
        array = numpy_helper.to_array(tensor)
    except Exception as error:
        raise ValueError(f"the weights {tensor.name!r} cannot be read: {error}") from error
    return np.asarray(array, np.float32) if array.dtype == np.float16 else array


def _row(array: Any, width: int) -> npt.NDArray:
    """A constant that is added to each row, broadcast to all columns."""
    if not isinstance(array, np.ndarray) or array.size not in (1, width) or array.size != max(
        array.shape[-1:], default=1
    ):  # fmt: skip
        raise ValueError(f"must add a row of {width} constants")
    return np.broadcast_to(array.ravel(), (width,))


def _scaled(array: npt.NDArray, factor: float) -> npt.NDArray:
    return array if factor == 1 else array * array.dtype.type(factor)
