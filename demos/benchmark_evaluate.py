# SPDX-License-Identifier: MIT
"""Point evaluation on one core: fe_relu beside dolfinx and other peers, all in this one run.

    python3 demos/benchmark_evaluate.py [CELLS_PER_SIDE] [POINTS]

Prints nanoseconds per point, the median of repeated runs, and each figure relative to fe_relu's and
to the cost of copying the points. Slow peers get fewer points; the explicit network a smaller mesh.
Peers that are not installed are named and left out.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter

from mpi4py import MPI

import numpy as np
from dolfinx import fem, geometry, mesh

from fe_relu import P1Network, network_from_function

Job = tuple[str, Callable[[], object], int]


def seconds(job: Callable[[], object], repeats: int) -> float:
    """Median time of a call after a first one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = perf_counter()
        job()
        times.append(perf_counter() - start)
    return median(times[1:])


def sample_function(n: int) -> fem.Function:
    V = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, n, n), ("P", 1))
    u = fem.Function(V)
    u.interpolate(lambda x: np.sin(7 * x[0]) * np.cos(5 * x[1]) + x[0])
    return u


def fe_relu_jobs(network: P1Network, points: np.ndarray) -> Iterator[Job]:
    """`points` has shape (n, 3), as dolfinx takes them."""
    rows = np.ascontiguousarray(points.T[:2])
    copy = np.empty_like(points)
    yield "copying the points, (n, 3)", lambda: np.copyto(copy, points), len(points)
    yield "fe_relu, points as (2, n)", lambda: network(rows), len(points)
    yield "fe_relu, points as (n, 3).T", lambda: network(points.T), len(points)


def dolfinx_jobs(u: fem.Function, points: np.ndarray) -> Iterator[Job]:
    msh = u.function_space.mesh

    def search() -> tuple[np.ndarray, np.ndarray]:
        """Points for which there is a cell, and the first of theirs."""
        candidates = geometry.compute_collisions_points(geometry.bb_tree(msh, 2), points)
        links = geometry.compute_colliding_cells(msh, candidates, points)
        found = np.diff(links.offsets) > 0
        return points[found], links.array[links.offsets[:-1][found]]

    found, cells = search()
    yield "dolfinx: bb_tree + collisions + eval", lambda: u.eval(*search()), len(points)
    yield "dolfinx: eval alone, cells given", lambda: u.eval(found, cells), len(points)


def interpolation_jobs(network: P1Network, points: np.ndarray) -> Iterator[Job]:
    """Peers that interpolate on grids or triangulations; the first two are bilinear, not P1."""
    from matplotlib.tri import LinearTriInterpolator, Triangulation
    from scipy.interpolate import RegularGridInterpolator
    from scipy.ndimage import map_coordinates

    nx, ny = network.mesh.shape
    image = network.values.reshape(ny + 1, nx + 1).T
    lattice = network.mesh.to_lattice(points.T)
    yield (
        "SciPy map_coordinates(order=1), bilinear",
        lambda: map_coordinates(image, lattice, order=1),
        len(points),
    )
    bilinear = RegularGridInterpolator(
        (np.linspace(0, 1, nx + 1), np.linspace(0, 1, ny + 1)), image
    )
    yield (
        "SciPy RegularGridInterpolator, bilinear",
        lambda: bilinear(points[:, :2]),
        len(points),
    )
    i, j = (a.ravel() for a in np.meshgrid(np.arange(nx), np.arange(ny)))
    corner = j * (nx + 1) + i
    lower = np.stack([corner, corner + 1, corner + nx + 2])
    upper = np.stack([corner, corner + nx + 2, corner + nx + 1])
    triangles = np.concatenate([lower, upper], axis=1).T
    linear = LinearTriInterpolator(
        Triangulation(*network.mesh.vertices(), triangles), network.values
    )
    few = points[: len(points) // 10]
    yield "matplotlib LinearTriInterpolator", lambda: linear(few[:, 0], few[:, 1]), len(few)


def explicit_jobs(network: P1Network, points: np.ndarray) -> Iterator[Job]:
    """The layers as they are, every neuron visited; the second layer is dense in torch and ONNX."""
    explicit = network.explicit()
    size = "{} x {}".format(*network.mesh.shape)
    few = np.ascontiguousarray(points[:2000, :2].T)
    yield f"explicit layers, SciPy CSR, {size}", lambda: explicit(few), 2000
    batch = np.ascontiguousarray(points[:500, :2])
    dense = [(layer.weight.toarray(), np.array(layer.bias)) for layer in explicit.layers]
    for name, make in (("torch", torch_forward), ("onnxruntime", onnx_forward)):
        if importlib.util.find_spec(name) is not None:
            yield f"explicit layers, {name} dense, {size}", make(dense, batch), len(batch)


def torch_forward(dense: list[tuple], batch: np.ndarray) -> Callable[[], object]:
    import torch

    torch.set_num_threads(1)
    *hidden, output = [(torch.tensor(weight), torch.tensor(bias)) for weight, bias in dense]
    points = torch.tensor(batch)

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            h = points
            for weight, bias in hidden:
                h = torch.relu(torch.nn.functional.linear(h, weight, bias))
            return torch.nn.functional.linear(h, *output)

    return forward


def onnx_forward(dense: list[tuple], batch: np.ndarray) -> Callable[[], object]:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, name = [], [], "x"
    for k, (weight, bias) in enumerate(dense):
        constants += [numpy_helper.from_array(weight.T.copy(), f"w{k}")]
        constants += [numpy_helper.from_array(bias, f"b{k}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{k}", f"b{k}"], [f"z{k}"]))
        nodes.append(helper.make_node("Relu", [f"z{k}"], [f"h{k}"]))
        name = f"h{k}"
    double = TensorProto.DOUBLE
    last = f"z{len(dense) - 1}"
    graph = helper.make_graph(
        nodes[:-1],
        "explicit",
        [helper.make_tensor_value_info("x", double, [None, 2])],
        [helper.make_tensor_value_info(last, double, [None, 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with silent_stderr():
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    return lambda: session.run(None, {"x": batch})


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Debian's onnx and onnxruntime share a library; a session then prints a thousand lines."""
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    num_points = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    points = np.zeros((num_points, 3))
    points[:, :2] = np.random.default_rng(0).random((num_points, 2))
    u = sample_function(n)
    network = network_from_function(u)
    small = network_from_function(sample_function(min(n, 128)))
    jobs = [
        *fe_relu_jobs(network, points),
        *dolfinx_jobs(u, points),
        *interpolation_jobs(network, points),
        *explicit_jobs(small, points),
    ]
    cost = {name: seconds(job, 7 if k < 3 else 2) / m for k, (name, job, m) in enumerate(jobs)}
    copying, ours, *_ = cost.values()
    print(f"{n} x {n} mesh, {num_points:,} random points, one core")
    print(f"{'':42}{'ns/point':>10}{'/ fe_relu':>11}{'/ copying':>11}")
    for name, time in cost.items():
        print(f"{name:42}{1e9 * time:10.1f}{time / ours:11.2f}{time / copying:11.1f}")
    missing = [name for name in ("torch", "onnxruntime") if not importlib.util.find_spec(name)]
    if missing:
        print(f"not installed, so left out: {', '.join(missing)}")


if __name__ == "__main__":
    main()
