# SPDX-License-Identifier: MIT
"""ONNX graphs written as arithmetic, and models written to files whole or not at all."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fe_relu.formats.replacing import replacing

if TYPE_CHECKING:
    import onnx

#: Read by onnxruntime, OMLT, gurobi-machinelearning, PySCIPOpt-ML and onnx2torch alike.
OPSET, IR_VERSION = 15, 8

#: Tables that are larger together go to a file beside the model's, as one protobuf message ends at
#: 2³¹ bytes.
EMBEDDED_BYTES = 1 << 30

#: Where arrays in that file begin: at multiples of this, so that they can be mapped to memory.
ALIGNMENT = 4096


@dataclass(frozen=True, eq=False)
class Value:
    """The output of a node: integers and numbers combine by Python's operators."""

    graph: Graph
    name: str
    integer: bool = False

    def _with(self, op: str, other: Any, *, swapped: bool = False) -> Value:
        sides = (self, self.graph.constant(other, like=self))
        return self.graph.node(op, *(reversed(sides) if swapped else sides), like=self)

    def __add__(self, other: Any) -> Value:
        return self._with("Add", other)

    def __radd__(self, other: Any) -> Value:
        return self._with("Add", other)

    def __sub__(self, other: Any) -> Value:
        return self._with("Sub", other)

    def __rsub__(self, other: Any) -> Value:
        return self._with("Sub", other, swapped=True)

    def __mul__(self, other: Any) -> Value:
        return self._with("Mul", other)

    def __truediv__(self, other: Any) -> Value:
        return self._with("Div", other)

    def __floordiv__(self, other: int) -> Value:
        """For integers ≥ 0, as ONNX rounds towards zero."""
        return self._with("Div", other)

    def __mod__(self, other: int) -> Value:
        return self._with("Mod", other)

    def __neg__(self) -> Value:
        return self.graph.node("Neg", self, like=self)

    def __gt__(self, other: Any) -> Value:
        return self._with("Greater", other)

    def __lt__(self, other: Any) -> Value:
        return self._with("Less", other)

    def __ge__(self, other: Any) -> Value:
        return self._reaches("Greater", "Less", other, -np.inf)

    def __le__(self, other: Any) -> Value:
        return self._reaches("Less", "Greater", other, np.inf)

    def _reaches(self, op: str, reverse: str, other: Any, beyond: float) -> Value:
        """With operators that all readers know: beyond a number is at least the next one.

        Values that are compared with each other must not be NaN.
        """
        if isinstance(other, Value):
            return self.graph.node("Not", self._with(reverse, other), like=self)
        number = self.graph.dtype.type
        return self._with(op, np.nextafter(number(other), number(beyond)))

    def __and__(self, other: Value) -> Value:
        return self.graph.node("And", self, other, like=self)


@dataclass(frozen=True, eq=False)
class Graph:
    """A growing graph; the operations of `fe_relu.meshes.active.Arrays` are nodes of it.

    Args:
        dtype: Of its numbers, float32 or float64.
    """

    dtype: np.dtype
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: dict[str, npt.NDArray] = field(default_factory=dict)

    def node(
        self, op: str, *inputs: Value, like: Value, name: str = "", **attributes: Any
    ) -> Value:
        """The output of a new node, of the type of `like`; named by its number if not by name."""
        from onnx import helper

        output = name or f"{op.lower()}_{len(self.nodes)}"
        names = [value.name for value in inputs]
        self.nodes.append(helper.make_node(op, names, [output], name=output, **attributes))
        return Value(self, output, like.integer)

    def tensor(self, name: str, array: npt.NDArray) -> Value:
        """A constant with a name."""
        self.tensors[name] = array
        return Value(self, name, array.dtype.kind == "i")

    def typed(self, array: npt.NDArray) -> npt.NDArray:
        """The array, in the graph's dtype unless it has integers."""
        return array if array.dtype.kind == "i" else array.astype(self.dtype)

    def constant(self, number: Any, like: Value) -> Value:
        """A number as a value of the type of `like`, once for each number; values as they are."""
        if isinstance(number, Value):
            return number
        array = np.array(number, np.int64 if like.integer else self.dtype)
        return self.tensor(f"{array.dtype}_{number}", array)

    def where(self, condition: Value, yes: Any, no: Any) -> Value:
        like = yes if isinstance(yes, Value) else no
        sides = (self.constant(side, like) for side in (yes, no))
        return self.node("Where", condition, *sides, like=like)

    def whole(self, numbers: Value) -> Value:
        like = Value(self, "", integer=True)
        return self.node("Cast", numbers, like=like, to=_element_type(np.dtype(np.int64)))

    def real(self, integers: Value) -> Value:
        like = Value(self, "")
        return self.node("Cast", integers, like=like, to=_element_type(self.dtype))

    def at_most(self, numbers: Value, most: Any) -> Value:
        return self.least(numbers, self.constant(most, numbers))

    def least(self, *numbers: Value) -> Value:
        return self.node("Min", *numbers, like=numbers[0])

    def first_largest(self, rows: Value) -> Value:
        like = Value(self, "", integer=True)
        return self.node("ArgMax", rows, like=like, axis=1, keepdims=0)

    def fixed(self, numbers: Value) -> Value:
        return numbers

    def root(self, numbers: Value) -> Value:
        return self.node("Sqrt", numbers, like=numbers)

    def upright(self, numbers: Value) -> Value:
        axes = self.tensor("axes", np.array([1]))
        return self.node("Unsqueeze", numbers, axes, like=numbers)

    def entries(self, table: Value, places: Value) -> Value:
        return self.node("Gather", table, places, like=table, axis=0)

    def take(self, table: Value, entries: Value) -> Value:
        return self.node("Gather", table, entries, like=table, axis=1)

    def column(self, rows: Value, number: int) -> Value:
        """Column `number` of rows (n, d), shape (n,)."""
        index = self.constant(number, Value(self, "", integer=True))
        return self.node("Gather", rows, index, like=rows, axis=1)


def _element_type(dtype: np.dtype) -> int:
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(dtype)


def write_model(
    graph: Graph, path: Path, dims: tuple[int, int], metadata: Mapping[str, str], producer: str
) -> None:
    """Writes a graph from `x` (n, dims[0]) to `u` (n, dims[1]), dynamic in n.

    A crash leaves the old file or the new one. Large tables go to a file beside it, whose name has
    a hash of what it holds; the one of the model that was there before is removed.
    """
    from onnx import helper, numpy_helper

    kind = _element_type(graph.dtype)
    external = sum(array.nbytes for array in graph.tensors.values()) > EMBEDDED_BYTES
    if external:
        constants = _beside(graph.tensors, path)
    else:
        constants = [numpy_helper.from_array(a, name) for name, a in graph.tensors.items()]
    body = helper.make_graph(
        graph.nodes,
        "fe_relu",
        [helper.make_tensor_value_info("x", kind, ["n", dims[0]])],
        [helper.make_tensor_value_info("u", kind, ["n", dims[1]])],
        constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    name, _, version = producer.partition(" ")
    model = helper.make_model(
        body,
        opset_imports=opset,
        ir_version=IR_VERSION,
        producer_name=name,
        producer_version=version,
    )
    helper.set_model_props(model, dict(metadata))
    with _replaced(path) as file:
        file.write(model.SerializeToString())
    used = {entry.value for tensor in constants for entry in tensor.external_data}
    pattern = _external_name(Path(glob.escape(path.name)), "[0-9a-f]" * 16)
    for old in path.parent.glob(pattern):
        if old.name not in used:
            old.unlink()


def _beside(tensors: Mapping[str, npt.NDArray], path: Path) -> list[onnx.TensorProto]:
    """The tensors as references to a file that holds them."""
    from onnx import numpy_helper

    digest = hashlib.sha256()
    for array in tensors.values():
        digest.update(np.ascontiguousarray(array).data)
    location = _external_name(path, digest.hexdigest()[:16])
    constants = []
    with _replaced(path.parent / location) as file:
        for name, array in tensors.items():
            if array.nbytes < ALIGNMENT:
                constants.append(numpy_helper.from_array(array, name))
                continue
            file.write(bytes(-file.tell() % ALIGNMENT))
            constants.append(_reference(name, array, location, file.tell()))
            file.write(np.ascontiguousarray(array).data)
    return constants


def _reference(name: str, array: npt.NDArray, location: str, offset: int) -> onnx.TensorProto:
    from onnx import TensorProto

    data_type = _element_type(array.dtype)
    tensor = TensorProto(name=name, data_type=data_type, dims=array.shape)
    tensor.data_location = TensorProto.EXTERNAL
    facts = {"location": location, "offset": offset, "length": array.nbytes}
    for key, fact in facts.items():
        tensor.external_data.add(key=key, value=str(fact))
    return tensor


def _external_name(path: Path, digest: str) -> str:
    return f"{path.name}.{digest}.data"


@contextmanager
def _replaced(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path` when all is written."""
    with replacing(os.fspath(path), b"", 0, None) as temporary, open(temporary, "r+b") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
