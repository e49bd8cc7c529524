# SPDX-License-Identifier: MIT
"""Networks as ONNX files: all layers for readers of layers, or active neurons only to deploy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

from fe_relu.analysis.bounds import bounds_around
from fe_relu.analysis.intervals import NetworkBounds, Pair, roundoff
from fe_relu.basics.refusals import needed
from fe_relu.formats.forms import (
    DType,
    Form,
    check_form,
    checked_dtype,
    dense_layers,
    in_dtype,
    pieces,
)
from fe_relu.formats.onnx_graph import Graph, Value, write_model
from fe_relu.formats.replacing import require_replaceable
from fe_relu.layers.affine import Affine
from fe_relu.layers.network import LayeredNetwork
from fe_relu.layers.pooling import Pooling
from fe_relu.meshes.active import nan_where_not_finite
from fe_relu.meshes.kinds import KINDS as MESHES
from fe_relu.networks.nodal import layout_of, mesh_of, output_names, whole_of
from fe_relu.networks.p1 import P1Network
from fe_relu.parallel.agreement import together


def to_onnx(
    network: Any,
    path: str | os.PathLike[str],
    *,
    form: Form = "relu",
    dtype: DType | None = None,
    bounds: NetworkBounds | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes the network as an ONNX model with input `x` (n, dim) and output `u` (n, k), any n.

    Both forms are the network everywhere, outside its mesh too. "relu" is one `Gemm` for each
    layer, dense, with a `Relu` after all but the last, as OMLT, gurobi-machinelearning and
    onnxruntime read it; a pooling is two `Gather` and a `Mul` or `Max`. "active" looks up the few
    nodal values that count at a point, on any mesh
    of any size; on meshes of simplices it asks the cells of the point's bucket, so that memory for
    a batch grows with the longest such list. It gives NaN at points that are NaN or infinite.

    Collective over the network's `comm`, if it has one: rank 0 gathers the network and writes.

    Args:
        network: A `P1Network`, a `ReLUNetwork`, or another network of this package.
        path: Where to write; a link is followed, a folder must exist, and a crash leaves the old
            file or the new one. Tables beyond 2³⁰ bytes go to a second file beside it, named after
            it.
        form: "relu" or "active".
        dtype: "float32" or "float64", to which numbers are rounded; by default they are as they
            are. Some readers take float32 only.
        bounds: What `bounds(network, box)` returned, to go into the metadata with its region: those
            of the outputs, and for "relu" those of all neurons before their ReLU, layer by layer,
            rounded outward by what the file's numbers may be off. By default, of a `P1Network`,
            those over the smallest box around its mesh.
        metadata: More entries for the model's metadata, which has the kind of network, form, dtype,
            grid, names of inputs and outputs, and the producer.

    Raises:
        ImportError: onnx is not installed.
        ValueError: The form is another, or not one of this network; "relu" is too large; numbers
            are too large for the dtype; or bounds are of other layers.
        TypeError: This is no network.
        OSError: The file cannot be written.

    Examples:
        >>> import tempfile, numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right")
        >>> network = fe_relu.P1Network(grid, np.arange(9.0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fe_relu.to_onnx(network, f"{folder}/u.onnx", dtype="float32")
        ...     layers = fe_relu.from_onnx(f"{folder}/u.onnx")
        >>> layers.widths == network.explicit().widths, str(layers.dtype)
        (True, 'float32')
    """
    comm = layout_of(network).comm
    with together(comm) as terms:
        check_form(network, form)
        network = in_dtype(network, checked_dtype(dtype))
        target = os.path.realpath(os.fsdecode(path))
        require_replaceable(target)
        with needed("onnx", "to_onnx"):
            import onnx  # noqa: F401
        terms.alike("forms", form)
        terms.alike("paths", target)
        terms.alike("types of numbers", dtype)
    whole = whole_of(network, root=0)
    with together(comm):
        if whole is not None:
            layers = dense_layers(whole) if form == "relu" else None
            graph = _active_graph(whole) if layers is None else _relu_graph(layers)
            known = _own_bounds(whole) if bounds is None else bounds
            facts = {**_facts(whole, form), **_bounds_fact(known, whole, layers)}
            facts |= metadata or {}
            dims = (whole.dim_in, whole.dim_out)
            write_model(graph, Path(target), dims, facts, facts["producer"])


@singledispatch
def _own_bounds(network: Any) -> NetworkBounds | None:
    """Exact bounds over the smallest box around the network's mesh, if they are known."""
    return None


@_own_bounds.register
def _(network: P1Network) -> NetworkBounds | None:
    return bounds_around(network)


def _facts(network: Any, form: str) -> dict[str, str]:
    from fe_relu import __version__

    inputs = ["x", "y", "z"] if network.dim_in <= 3 else [f"x{k}" for k in range(network.dim_in)]
    mesh: Any = mesh_of(network)
    meshes = (name for name, kind in MESHES.items() if kind.mesh_type is type(mesh))
    return {
        "producer": f"fe_relu {__version__}",
        "kind": type(network).__name__,
        "form": form,
        "dtype": str(network.dtype),
        "names": json.dumps({"inputs": inputs[: network.dim_in], "outputs": output_names(network)}),
        **{name: json.dumps(mesh.facts) for name in meshes},
    }


def _bounds_fact(
    bounds: NetworkBounds | None, network: Any, layers: LayeredNetwork | None
) -> dict[str, str]:
    """Bounds and their region, rounded outward by what the file's numbers may be off there."""
    if bounds is None:
        return {}
    neurons = () if layers is None else bounds.layers
    if neurons and layers and tuple(len(low) for low, _ in neurons) != layers.hidden_widths:
        raise ValueError(f"bounds are of other layers than those of widths {layers.widths}")
    *inner, outputs = _outward((*neurons, (bounds.lower, bounds.upper)), bounds, network, layers)
    described: dict[str, Any] = {"exact": bool(bounds.exact)}
    if bounds.box is not None:
        described["region"] = {"box": bounds.box.tolist()}
    if bounds.outline is not None:
        described["region"]["outline"] = bounds.outline.T.tolist()
    return {"bounds": json.dumps(described | {"outputs": outputs, "neurons": inner})}


def _outward(
    pairs: Sequence[Pair], bounds: NetworkBounds, network: Any, layers: LayeredNetwork | None
) -> list[list[list[float]]]:
    if bounds.box is None:
        off: list[Any] = [0.0] * len(pairs)
    elif layers is None:
        off = [network.steepness * network.mesh.resolution(network.dtype) * network.size]
    else:
        off = roundoff(network, layers, bounds.box)[-len(pairs) :]
    return [
        [(lower - far).tolist(), (upper + far).tolist()]
        for (lower, upper), far in zip(pairs, off, strict=True)
    ]


def _relu_graph(layers: LayeredNetwork) -> Graph:
    graph = Graph(layers.dtype)
    x = Value(graph, "x")
    last = len(layers.layers) - 1
    for k, (layer, rectified) in enumerate(zip(layers.layers, layers.rectified, strict=True)):
        x = _after(layer, graph, x, k, f"z{k}" if k < last else "u")
        if rectified:
            x = graph.node("Relu", x, like=x, name=f"h{k}")
    return graph


@singledispatch
def _after(layer: Any, graph: Graph, x: Value, k: int, name: str) -> Value:
    """What layer number k makes of x."""
    raise NotImplementedError


@_after.register
def _(layer: Affine, graph: Graph, x: Value, k: int, name: str) -> Value:
    weight = graph.tensor(f"w{k}", layer.weight.toarray().astype(graph.dtype, order="C"))
    bias = graph.tensor(f"b{k}", layer.bias.astype(graph.dtype))
    settings = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
    return graph.node("Gemm", x, weight, bias, like=x, name=name, **settings)


@_after.register
def _(layer: Pooling, graph: Graph, x: Value, k: int, name: str) -> Value:
    sides = [
        graph.take(x, graph.tensor(f"{side}{k}", numbers))
        for side, numbers in (("i", layer.pairs[0]), ("j", layer.pairs[1]))
    ]
    operator = {"product": "Mul", "maximum": "Max"}[layer.kind]
    return graph.node(operator, *sides, like=x, name=name)


def _active_graph(network: Any) -> Graph:
    graph = Graph(network.dtype)
    points = Value(graph, "x")
    x = [graph.column(points, axis) for axis in range(network.dim_in)]
    total = nan_where_not_finite(x)
    for k, piece in enumerate(pieces(network)):
        table = graph.tensor(f"table{k}", piece.table)
        constants = {
            name: graph.tensor(f"{name}_{k}", graph.typed(array))
            for name, array in piece.constants.items()
        }
        total = piece.evaluated(graph, constants, table, x, graph.dtype.name) + total
    graph.node("Transpose", total, like=total, name="u", perm=[1, 0])
    return graph
