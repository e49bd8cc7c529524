# SPDX-License-Identifier: MIT
"""Networks as ONNX files: all layers for readers of layers, or active neurons only to deploy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import singledispatch
from pathlib import Path
from typing import Any

from fe_relu.analysis.bounds import bounds as bounds_of
from fe_relu.analysis.intervals import NetworkBounds
from fe_relu.basics.refusals import needed
from fe_relu.formats.forms import Form, check_form, dense_layers, pieces
from fe_relu.formats.onnx_graph import Graph, Value, write_model
from fe_relu.formats.replacing import require_replaceable
from fe_relu.meshes.grid.active import nan_where_not_finite
from fe_relu.meshes.kinds import name_of
from fe_relu.networks.nodal import layout_of, mesh_of, whole_of
from fe_relu.networks.p1 import P1Network


def to_onnx(
    network: Any,
    path: str | os.PathLike[str],
    *,
    form: Form = "relu",
    bounds: NetworkBounds | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes the network as an ONNX model with input `x` (n, 2) and output `u` (n, k), any n.

    Both forms are the network on all of ℝ². "relu" is one `Gemm` for each layer, dense, with a
    `Relu` after all but the last, as OMLT, gurobi-machinelearning and onnxruntime read it. "active"
    looks up the three nodal values that count at a point, at any size of the mesh; it gives NaN at
    points that are NaN or infinite.

    Collective over the network's `comm`, if it has one: rank 0 gathers the network and writes.

    Args:
        network: A `P1Network`, a `ReLUNetwork`, or another network of this package.
        path: Where to write; a link is followed, a folder must exist, and a crash leaves the old
            file or the new one. Tables beyond 2³⁰ bytes go to a second file beside it, named after
            it.
        form: "relu" or "active".
        bounds: What `bounds(network, box)` returned, to go into the metadata: those of the outputs,
            and for "relu" those of all neurons before their ReLU, layer by layer. By default those
            over its mesh, if it is a `P1Network`.
        metadata: More entries for the model's metadata, which has the kind of network, form, dtype,
            grid, names of inputs and outputs, and the producer.

    Raises:
        ImportError: onnx is not installed.
        ValueError: The form is another, or not one of this network; or "relu" is too large.
        TypeError: This is no network.
        OSError: The file cannot be written.
    """
    layout = layout_of(network)
    with layout.together() as terms:
        check_form(network, form)
        target = os.path.realpath(os.fsdecode(path))
        require_replaceable(target)
        with needed("onnx", "to_onnx"):
            import onnx  # noqa: F401
        terms.alike("forms", form)
        terms.alike("paths", target)
    whole = whole_of(network, root=0)
    with layout.together():
        if whole is not None:
            graph = _relu_graph(whole) if form == "relu" else _active_graph(whole)
            known = _own_bounds(whole) if bounds is None else bounds
            facts = {**_facts(whole, form), **_bounds_fact(known, form), **(metadata or {})}
            dims = (whole.dim_in, whole.dim_out)
            write_model(graph, Path(target), dims, facts, facts["producer"])


@singledispatch
def _own_bounds(network: Any) -> NetworkBounds | None:
    """Exact bounds over the network's own mesh, if they are known."""
    return None


@_own_bounds.register
def _(network: P1Network) -> NetworkBounds:
    return bounds_of(network)


def _facts(network: Any, form: str) -> dict[str, str]:
    from fe_relu import __version__

    outputs = ["u"] if network.dim_out == 1 else [f"u{k}" for k in range(network.dim_out)]
    inputs = ["x", "y", "z"] if network.dim_in <= 3 else [f"x{k}" for k in range(network.dim_in)]
    mesh = mesh_of(network)
    return {
        "producer": f"fe_relu {__version__}",
        "kind": type(network).__name__,
        "form": form,
        "dtype": str(network.dtype),
        "names": json.dumps({"inputs": inputs[: network.dim_in], "outputs": outputs}),
        **({} if mesh is None else {name_of(mesh): json.dumps(mesh.facts)}),
    }


def _bounds_fact(bounds: NetworkBounds | None, form: str) -> dict[str, str]:
    if bounds is None:
        return {}
    neurons = bounds.layers if form == "relu" else ()
    described = {
        "exact": bool(bounds.exact),
        "outputs": [bounds.lower.tolist(), bounds.upper.tolist()],
        "neurons": [[lower.tolist(), upper.tolist()] for lower, upper in neurons],
    }
    return {"bounds": json.dumps(described)}


def _relu_graph(network: Any) -> Graph:
    layers = dense_layers(network)
    graph = Graph(layers.dtype)
    x = Value(graph, "x")
    last = len(layers.layers) - 1
    for k, layer in enumerate(layers.layers):
        weight = graph.tensor(f"w{k}", layer.weight.toarray().T.astype(layers.dtype, order="C"))
        bias = graph.tensor(f"b{k}", layer.bias.astype(layers.dtype))
        settings = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        name = f"z{k}" if k < last else "u"
        x = graph.node("Gemm", x, weight, bias, like=x, name=name, **settings)
        if k < last:
            x = graph.node("Relu", x, like=x, name=f"h{k}")
    return graph


def _active_graph(network: Any) -> Graph:
    graph = Graph(network.dtype)
    points = Value(graph, "x")
    x, y = (graph.column(points, k) for k in range(2))
    total = nan_where_not_finite(x, y)
    for k, piece in enumerate(pieces(network)):
        table = graph.tensor(f"table{k}", piece.table)
        total = piece.evaluated(graph, table, x, y, graph.dtype) + total
    graph.node("Transpose", total, like=total, name="u", perm=[1, 0])
    return graph
