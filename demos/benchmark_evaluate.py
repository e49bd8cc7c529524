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

    def search() -> np.ndarray:
        tree = geometry.bb_tree(msh, 2)
        candidates = geometry.compute_collisions_points(tree, points)
        return geometry.compute_colliding_cells(msh, candidates, points).array

    links = geometry.compute_colliding_cells(
        msh, geometry.compute_collisions_points(geometry.bb_tree(msh, 2), points), points
    )
    cells = links.array[links.offsets[:-1]]
    yield (
        "dolfinx: bb_tree + collisions + eval",
        lambda: (search(), u.eval(points, cells)),
        len(points),
    )
    yield "dolfinx: eval alone, cells given", lambda: u.eval(points, cells), len(points)


def interpolation_jobs(network: P1Network, points: np.ndarray) -> Iterator[Job]:
    """Peers that interpolate on grids or triangulations; the first two are bilinear, not P1."""
    from matplotlib.tri import LinearTriInterpolator, Triangulation
    from scipy.interpolate import RegularGridInterpolator
    from scipy.ndimage import map_coordinates

    nx, ny = network.grid.shape
    image = network.values.reshape(ny + 1, nx + 1).T
    lattice = network.grid.to_lattice(points.T)
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
        Triangulation(*network.grid.vertices(), triangles), network.values
    )
    few = points[: len(points) // 10]
    yield "matplotlib LinearTriInterpolator", lambda: linear(few[:, 0], few[:, 1]), len(few)


def explicit_jobs(network: P1Network, points: np.ndarray) -> Iterator[Job]:
    """The layers as they are, every neuron visited."""
    explicit = network.explicit()
    few = np.ascontiguousarray(points[:2000, :2].T)
    size = "{} x {}".format(*network.grid.shape)
    yield f"explicit layers, SciPy CSR, {size}", lambda: explicit(few), 2000
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    torch.set_num_threads(1)
    layers = [
        (torch.tensor(layer.weight.toarray()), torch.tensor(np.array(layer.bias)))
        for layer in explicit.layers
    ]
    batch = torch.tensor(few.T[:500].copy())

    def forward() -> torch.Tensor:
        h = batch
        for weight, bias in layers[:-1]:
            h = torch.relu(torch.nn.functional.linear(h, weight, bias))
        return torch.nn.functional.linear(h, *layers[-1])

    with torch.inference_mode():
        yield f"explicit layers, torch dense, {size}", forward, 500


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
    missing = [name for name in ["torch"] if importlib.util.find_spec(name) is None]
    if missing:
        print(f"not installed, so left out: {', '.join(missing)}")


if __name__ == "__main__":
    main()
