# SPDX-License-Identifier: MIT
"""A network in onnxruntime and torch: active neurons beside all neurons, one core.

    python3 demos/benchmark_export.py [CELLS_PER_SIDE] [POINTS]

Prints nanoseconds per point, the least of repeated runs, and how many times faster the active form
is than the layers in the same program, beside the bar it is held to. Readers that are not installed
are named and left out.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import fe_relu

#: Points that layers get at a time: their activations would take gigabytes for all.
BATCH = 500

#: The active form is to be at least so many times faster in onnxruntime.
BAR = 20


def seconds(job: Callable[[], object], repeats: int) -> float:
    """Least time of a call after a first one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = perf_counter()
        job()
        times.append(perf_counter() - start)
    return min(times[1:])


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Debian's onnx and onnxruntime share a library; the second used prints a thousand lines."""
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def batched(forward: Callable, points: np.ndarray, form: str) -> np.ndarray:
    """The values at all points: at once by active neurons, in batches by layers."""
    size = len(points) if form == "active" else BATCH
    parts = [forward(points[k : k + size]) for k in range(0, len(points), size)]
    return np.concatenate(parts)


def onnx_jobs(network: fe_relu.P1Network, points: np.ndarray) -> Iterator[tuple[str, Callable]]:
    with silent_stderr():
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for form in ("relu", "active"):
        with tempfile.TemporaryDirectory() as folder, silent_stderr():
            path = Path(folder) / "u.onnx"
            fe_relu.to_onnx(network, path, form=form)
            session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )

        def forward(part: np.ndarray, session: Any = session) -> np.ndarray:
            return session.run(None, {"x": part})[0]

        yield form, lambda forward=forward, form=form: batched(forward, points, form)


def torch_jobs(network: fe_relu.P1Network, points: np.ndarray) -> Iterator[tuple[str, Callable]]:
    import torch

    torch.set_num_threads(1)
    for form, options in (
        ("relu", {}),
        ("relu, sparse", {"sparse": True}),
        ("active", {"form": "active"}),
    ):
        module = fe_relu.to_torch(network, **options)

        def forward(part: np.ndarray, module: torch.nn.Module = module) -> np.ndarray:
            with torch.inference_mode():
                return module(torch.from_numpy(part)).numpy()

        yield form, lambda forward=forward, form=form: batched(forward, points, form)


#: What runs a network, and the modules that it needs.
READERS = {"onnxruntime": (onnx_jobs, ("onnx", "onnxruntime")), "torch": (torch_jobs, ("torch",))}


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    num_points = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    rng = np.random.default_rng(0)
    grid = fe_relu.Grid((0, 0), np.eye(2) / n, (n, n), "right")
    network = fe_relu.P1Network(grid, rng.standard_normal(grid.num_vertices))
    points = rng.random((num_points, 2))
    expected = network(points.T)
    print(f"{n} x {n} cells, {num_points:,} points, float64, one core: ns per point")
    ours = seconds(lambda: network(points.T), 100) / num_points
    print(f"{'network(x)':30}{1e9 * ours:12.1f}")
    for reader, (jobs, needed) in READERS.items():
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            print(f"{reader}: left out, as {' and '.join(missing)} cannot be imported")
            continue
        cost = {}
        for form, job in jobs(network, points):
            assert np.abs(job()[:, 0] - expected).max() <= 1e-11
            cost[form] = seconds(job, 100 if form == "active" else 2) / num_points
            print(f"{f'{reader}, {form}':30}{1e9 * cost[form]:12.1f}")
        bar = f"   ≥ {BAR}" if reader == "onnxruntime" else ""
        ratio = cost["relu"] / cost["active"]
        print(f"{'  times faster, active':30}{ratio:12.0f}{bar}")


if __name__ == "__main__":
    main()
