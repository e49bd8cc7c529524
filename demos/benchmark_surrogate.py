# SPDX-License-Identifier: MIT
"""Surrogates on one core: transform, compression and evaluation, each beside a rival in this run.

    python3 demos/benchmark_surrogate.py [CELLS_PER_SIDE] [POINTS]

Prints the best of repeated runs. The transform is measured against copying the values; evaluation,
on the mesh and around it, for few and for many kept coefficients, against the P1 network of the
whole mesh, dolfinx's eval with the cells given, and the explicit layers.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from collections.abc import Callable, Iterator
from time import perf_counter

from mpi4py import MPI

import numpy as np
from dolfinx import fem, geometry, mesh

from fe_relu import Grid, HierarchicalNetwork, P1Network, network_from_function
from fe_relu.hierarchy import hierarchical_from_network
from fe_relu.hierarchy.nested import NESTING, Nesting


def seconds(job: Callable[[], object], repeats: int = 7) -> float:
    """Least time of a call after a first one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = perf_counter()
        job()
        times.append(perf_counter() - start)
    return min(times[1:])


def layered(x: np.ndarray) -> np.ndarray:
    """Smooth inside, with layers of width 0.01 along the boundary of the unit square."""
    factors = [1 - np.exp(-100 * t) - np.exp(-100 * (1 - t)) for t in x[:2]]
    return factors[0] * factors[1] * (2 + np.sin(7 * x[0]) * np.cos(5 * x[1]))


def network_of(n: int, diagonal: str) -> P1Network:
    grid = Grid((0, 0), np.eye(2) / n, (n, n), diagonal)
    return P1Network(grid, layered(grid.vertices()))


def print_transform(n: int) -> None:
    print(f"transform in place, {n} x {n} cells, in ms and relative to copying the values")
    print(f"{'':14}{'copy':>10}{'there':>10}{'back':>10}{'there':>9}{'back':>9}{'off, eps':>11}")
    for diagonal in NESTING:
        network = network_of(n, diagonal)
        values = network.values[None]
        work, nesting = values.copy(), Nesting.of(network.part, (n & -n).bit_length() - 1)

        def there(work=work, nesting=nesting) -> None:
            nesting.split(work, None)

        def back(work=work, nesting=nesting) -> None:
            nesting.join(work, None)

        copy = seconds(lambda work=work, values=values: np.copyto(work, values))
        apart = seconds(there, 3)
        np.copyto(work, values)
        together = seconds(back, 3)
        np.copyto(work, values)
        there()
        back()
        off = np.abs(work - values).max() / np.abs(values).max() / np.finfo(float).eps
        times = "".join(f"{1e3 * t:10.2f}" for t in (copy, apart, together))
        print(f"{diagonal:14}{times}{apart / copy:9.1f}{together / copy:9.1f}{off:11.2f}")


def print_compression(h: HierarchicalNetwork) -> None:
    print(f"\ncompression, {h.mesh.num_vertices:,} vertices")
    print(f"{'':28}{'seconds':>9}{'kept':>10}{'neurons':>10}{'error':>11}{'bound':>11}")
    for aim in (
        {"tol": 1e-2, "relative": True},
        {"tol": 1e-3, "relative": True},
        {"max_neurons": 2000},
        {"tol": 0.1, "relative": True, "norm": "H1"},
    ):
        time, s = seconds(lambda aim=aim: h.compress(**aim), 1), h.compress(**aim)
        name = ", ".join(f"{key}={value}" for key, value in aim.items() if key != "relative")
        neurons = s.explicit().num_neurons
        print(f"{name:28}{time:9.2f}{s.num_kept:10,}{neurons:10,}{s.error:11.2e}{s.bound:11.2e}")


def evaluations(h: HierarchicalNetwork, x: np.ndarray) -> Iterator[tuple[str, Callable, int]]:
    """What is measured: a name, a call, and how many points it takes."""
    whole = h.to_p1()
    yield "P1 network of the whole mesh", lambda: whole(x), x.shape[1]
    around = 1.2 * x - 0.1
    for tol in (1e-1, 1e-2, 1e-4):
        s = h.compress(tol=tol, relative=True)
        name = f"{s.num_kept:,} kept"
        yield f"{name}, on the mesh", lambda s=s: s(x), x.shape[1]
        yield f"{name}, 31 % of points outside", lambda s=s: s(around), x.shape[1]
        if s.num_kept < 20_000:
            explicit, batch = s.explicit(), np.ascontiguousarray(x[:, :1000])
            yield f"{name}, explicit layers", lambda f=explicit, b=batch: f(b), batch.shape[1]


def dolfinx_evaluation(n: int, x: np.ndarray) -> tuple[str, Callable, int]:
    V = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, n, n), ("P", 1))
    u = fem.Function(V)
    u.interpolate(layered)
    assert np.allclose(network_from_function(u)(x), network_of(n, "right")(x), atol=1e-12)
    points = np.zeros((x.shape[1], 3))
    points[:, :2] = x.T
    tree = geometry.bb_tree(V.mesh, 2)
    candidates = geometry.compute_collisions_points(tree, points)
    links = geometry.compute_colliding_cells(V.mesh, candidates, points)
    cells = links.array[links.offsets[:-1]]
    return "dolfinx eval, cells given", lambda: u.eval(points, cells), x.shape[1]


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    num_points = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    x = np.random.default_rng(0).random((2, num_points))
    print_transform(2 * n)
    h = hierarchical_from_network(network_of(n, "right"))
    print_compression(h)
    print(f"\nevaluation, {n} x {n} cells, {h.levels} levels, {num_points:,} points")
    print(f"{'':40}{'ns/point':>10}{'10^6/s':>9}")
    small = np.ascontiguousarray(x[:, : num_points // 20])
    for name, job, count in (*evaluations(h, x), dolfinx_evaluation(n, small)):
        time = seconds(job, 3) / count
        print(f"{name:40}{1e9 * time:10.1f}{1e-6 / time:9.2f}")


if __name__ == "__main__":
    main()
