# SPDX-License-Identifier: MIT
"""Point evaluation on meshes of any kind, one core: fe_relu beside dolfinx and SciPy, in one run.

    python3 demos/benchmark_unstructured.py [SCALE] [POINTS]

A and B are Delaunay meshes of points around a lattice, C is a mesh of tetrahedra whose vertices are
moved. SCALE, 1 by default, multiplies their numbers of points along a side. Times are medians of
repeated runs, next to those of copying the points as (n, 3).
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter

from mpi4py import MPI

import basix.ufl
import numpy as np
from dolfinx import fem, geometry, mesh
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import Delaunay

from fe_relu import P1Network, network_from_function

Job = tuple[str, Callable[[], object], int]

comm = MPI.COMM_SELF
rng = np.random.default_rng(0)


def seconds(job: Callable[[], object], repeats: int) -> float:
    """Median time of a call after a first one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = perf_counter()
        job()
        times.append(perf_counter() - start)
    return median(times[1:])


def delaunay(n: int) -> mesh.Mesh:
    """A mesh of the unit square, of (n + 1)² points around those of a lattice."""
    lattice = np.stack(np.meshgrid(*2 * [np.arange(n + 1.0)]), axis=-1).reshape(-1, 2)
    inside = ((lattice > 0) & (lattice < n)).all(axis=1)
    points = (lattice + inside[:, None] * rng.uniform(-0.4, 0.4, lattice.shape)) / n
    element = basix.ufl.element("Lagrange", "triangle", 1, shape=(2,))
    return mesh.create_mesh(comm, Delaunay(points).simplices.astype(np.int64), x=points, e=element)


def tetrahedra(n: int) -> mesh.Mesh:
    """A mesh of the unit cube whose inner vertices are moved."""
    msh = mesh.create_unit_cube(comm, n, n, n)
    x = msh.geometry.x
    inside = ((x > 1e-9) & (x < 1 - 1e-9)).all(axis=1)
    x += inside[:, None] * rng.uniform(-0.15, 0.15, x.shape) / n
    return msh


def in_order(points: np.ndarray) -> np.ndarray:
    """Points (n, 3) along lines, each near the one before."""
    strips = np.floor(points * 300)
    return points[np.lexsort((points[:, 0], strips[:, 1], strips[:, 2]))]


def dolfinx_job(u: fem.Function, points: np.ndarray) -> Callable[[], object]:
    msh = u.function_space.mesh
    tree = geometry.bb_tree(msh, msh.topology.dim)

    def search_and_eval() -> np.ndarray:
        candidates = geometry.compute_collisions_points(tree, points)
        links = geometry.compute_colliding_cells(msh, candidates, points)
        found = np.diff(links.offsets) > 0
        return u.eval(points[found], links.array[links.offsets[:-1][found]])

    return search_and_eval


def scipy_job(network: P1Network, points: np.ndarray) -> Callable[[], object]:
    linear = LinearNDInterpolator(network.mesh.vertices().T, network.values)
    return lambda: linear(points[:, : network.dim_in])


def wrong(msh: mesh.Mesh, points: np.ndarray) -> int:
    """How many values of a linear function are off by more than 1e-12, at vertices too."""
    x = np.concatenate([msh.geometry.x, points])

    def linear(x: np.ndarray) -> np.ndarray:
        return 1 + x[0] - 2 * x[1] + 3 * x[2]

    u = fem.Function(fem.functionspace(msh, ("P", 1)))
    u.interpolate(linear)
    off = network_from_function(u)(x.T[: msh.geometry.dim]) - linear(x.T)
    return np.count_nonzero(~(np.abs(off) <= 1e-12))


def jobs_of(network: P1Network, u: fem.Function, points: np.ndarray) -> list[Job]:
    x, ordered = (np.ascontiguousarray(p.T[: network.dim_in]) for p in (points, in_order(points)))
    plan, copy, few = network.plan(x), np.empty_like(points), points[: len(points) // 10]
    jobs: list[Job] = [
        ("copying the points, (n, 3)", lambda: np.copyto(copy, points), len(points)),
        ("fe_relu, random points", lambda: network(x), len(points)),
        ("fe_relu, points along lines", lambda: network(ordered), len(points)),
        ("fe_relu, gradient", lambda: network.gradient(x), len(points)),
        ("fe_relu, planned", lambda: plan(network), len(points)),
        ("dolfinx: collisions + eval", dolfinx_job(u, few), len(few)),
    ]
    if network.dim_in == 2:
        jobs.append(("SciPy LinearNDInterpolator", scipy_job(network, few), len(few)))
    return jobs


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    meshes = {
        "A": delaunay(round(160 * scale)),
        "B": delaunay(round(508 * scale)),
        "C": tetrahedra(round(45 * scale)),
    }
    for name, msh in meshes.items():
        u = fem.Function(fem.functionspace(msh, ("P", 1)))
        u.interpolate(lambda x: np.sin(7 * x[0]) * np.cos(5 * x[1]) + x[2])
        start = perf_counter()
        network = network_from_function(u)
        network(np.full((network.dim_in, 1), 0.5))
        ready = perf_counter() - start
        points = np.zeros((count, 3))
        points[:, : network.dim_in] = rng.random((count, network.dim_in))
        cost = {
            what: seconds(job, 2 if size < count else 7) / size
            for what, job, size in jobs_of(network, u, points)
        }
        copying, ours, *_ = cost.values()
        print(f"{name}: {network.mesh.num_vertices:,} vertices, {network.mesh.num_cells:,} cells")
        print(f"ready in {ready:.1f} s; {wrong(msh, points)} wrong values")
        print(f"{'':30}{'ns/point':>10}{'/ fe_relu':>11}{'/ copying':>11}")
        for what, time in cost.items():
            print(f"{what:30}{1e9 * time:10.1f}{time / ours:11.2f}{time / copying:11.1f}")


if __name__ == "__main__":
    main()
