# SPDX-License-Identifier: MIT
"""Feed-forward ReLU graphs in ONNX files as networks, whoever wrote them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.basics.refusals import needed
from fe_relu.formats.files import FileFormatError
from fe_relu.layers.chain import Chain, require_room
from fe_relu.layers.network import Affine, ReLUNetwork

if TYPE_CHECKING:
    import onnx


def from_onnx(path: str | os.PathLike[str]) -> ReLUNetwork:
    """The network of any feed-forward graph of Gemm, MatMul, Add and Relu, from x (n, d) to (n, k).

    Weights may be initializers or constants, of float16, float32 or float64; float16 becomes
    float32. Affine maps in a row become one; branches that `Add` joins become a sum of networks.
    Identity, Cast to floats, Dropout and Flatten of a batch of vectors change nothing.

    Args:
        path: An ONNX file, with its external data beside it, if it has any.

    Raises:
        ImportError: onnx is not installed.
        OSError: The file cannot be read.
        FileFormatError: This is no ONNX file, or not such a graph; the message names the node.
    """
    return network_and_metadata(path)[0]


def network_and_metadata(path: str | os.PathLike[str]) -> tuple[ReLUNetwork, dict[str, str]]:
    """What `from_onnx` returns, and the texts that the file has besides, by name."""
    with needed("onnx", "from_onnx"):
        import onnx
    model = _loaded(onnx.load, path)
    try:
        network = _network(model.graph)
    except ValueError as error:
        raise FileFormatError(f"{os.fspath(path)}: {error}") from error
    return network, {entry.key: entry.value for entry in model.metadata_props}


def _network(graph: onnx.GraphProto) -> ReLUNetwork:
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
    values: dict[str, Any] = {**constants, inputs[0]: Chain(_declared_width(graph, inputs[0]))}
    for node in graph.node:
        with _named(node):
            if node.output[0] in values:
                raise ValueError(f"makes {node.output[0]!r} again, which is there already")
            values[node.output[0]] = _result(node, values)
    result = values.get(graph.output[0].name)
    if not isinstance(result, Chain):
        raise ValueError(f"the output {graph.output[0].name!r} is no function of the input")
    return result.network()


def _declared_width(graph: onnx.GraphProto, name: str) -> int | None:
    """The components of the input, if its shape (n, d) says so."""
    (value,) = (value for value in graph.input if value.name == name)
    dims = value.type.tensor_type.shape.dim
    return dims[1].dim_value or None if len(dims) == 2 else None


def _loaded(load: Callable[..., Any], path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The file's message; what protobuf and onnx raise is turned into one kind of error."""
    with open(path, "rb"):
        pass  # from here on errors are about what is in the file
    try:
        return load(os.fspath(path))
    except Exception as error:
        cause = str(error) or type(error).__name__
        raise FileFormatError(f"{os.fspath(path)} is no ONNX file: {cause}") from error


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
        one, other = a.network(), b.network()
        require_room(one.num_nonzeros + other.num_nonzeros + one.num_neurons + other.num_neurons)
        *layers, last = (one + other).layers
        return Chain(one.dim_in, tuple(layers), last)
    chain, constant = (a, b) if isinstance(a, Chain) else (b, a)
    if not (isinstance(chain, Chain) and isinstance(constant, np.ndarray)):
        raise ValueError("must add a constant row")
    return chain.shifted(_row(constant, chain.affine.dim_out))


def _relu(node: onnx.NodeProto, a: Any) -> Any:
    return a.rectified()


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
}


def _result(node: onnx.NodeProto, values: Mapping[str, Any]) -> Any:
    if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
        raise ValueError(
            f"is none of {', '.join(OPERATORS)}, of which a ReLU network consists; "
            'to_onnx(…, form="relu") writes those'
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
