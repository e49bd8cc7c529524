# SPDX-License-Identifier: MIT
"""Point evaluation of a P2 function on one core: its network beside dolfinx's `eval`, in one run.

    python3 demos/benchmark_p2.py [CELLS_PER_SIDE] [POINTS]

Prints nanoseconds per point, the least of repeated runs, and millions of points per second, for the
five diagonals. dolfinx is given the cell of each point, which fe_relu finds itself.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from collections.abc import Callable
from time import perf_counter

from mpi4py import MPI

import numpy as np
from dolfinx import fem, geometry, mesh

from fe_relu import network_from_function
from fe_relu.meshes.grid.grid import DIAGONALS


def least_seconds(job: Callable[[], object], repeats: int) -> float:
    """Of some calls after a first one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = perf_counter()
        job()
        times.append(perf_counter() - start)
    return min(times[1:])


def interpolant(n: int, diagonal: str, degree: int) -> fem.Function:
    kind = mesh.DiagonalType[diagonal]
    msh = mesh.create_unit_square(MPI.COMM_SELF, n, n, diagonal=kind)
    u = fem.Function(fem.functionspace(msh, ("P", degree)))
    u.interpolate(lambda x: np.sin(7 * x[0]) * np.cos(5 * x[1]) + x[0])
    return u


def row(name: str, job: Callable[[], object], repeats: int, count: int) -> None:
    per_point = least_seconds(job, repeats) / count
    print(f"{name:44}{1e9 * per_point:10.1f}{1e-6 / per_point:12.2f}")


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    x = np.random.default_rng(0).random((2, count))
    print(f"{n} x {n} mesh, {count:,} random points, one core")
    print(f"{'':44}{'ns/point':>10}{'10⁶ points/s':>14}")
    for diagonal in DIAGONALS:
        for degree in (1, 2):
            network = network_from_function(interpolant(n, diagonal, degree))
            row(f"{diagonal}: P{degree} network", lambda network=network: network(x), 9, count)
            if degree == 2:
                gradient = network.gradient
                row(f"{diagonal}: gradient of it", lambda g=gradient: g(x), 5, count)
    few = np.zeros((max(1, count // 10), 3))
    few[:, :2] = x[:, : len(few)].T
    u = interpolant(n, "right", 2)
    msh = u.function_space.mesh
    tree = geometry.bb_tree(msh, 2)
    candidates = geometry.compute_collisions_points(tree, few)
    links = geometry.compute_colliding_cells(msh, candidates, few)
    cells = links.array[links.offsets[:-1]]
    row("dolfinx: eval of P2, cells given", lambda: u.eval(few, cells), 3, len(few))


if __name__ == "__main__":
    main()
