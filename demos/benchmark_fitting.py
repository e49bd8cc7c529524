# SPDX-License-Identifier: MIT
"""Interpolation matrices and output weights from data: seconds, beside SciPy's interpolation.

    python3 demos/benchmark_fitting.py [POINTS] [CELLS_PER_SIDE]
    mpirun -n 2 python3 demos/benchmark_fitting.py

Points are random, those of a rank its own, so many in all. On ranks, what is timed is the slowest.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import fem, mesh
from scipy.interpolate import LinearNDInterpolator

import fe_relu

COMM = MPI.COMM_WORLD


def seconds(job: Callable[[], Any], repeats: int = 3) -> float:
    """The median of some calls after a first one that does not count."""
    times = []
    for _ in range(repeats + 1):
        COMM.Barrier()
        start = perf_counter()
        job()
        times.append(COMM.allreduce(perf_counter() - start, op=MPI.MAX))
    return sorted(times[1:])[repeats // 2]


def main() -> None:
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 316
    msh = mesh.create_unit_square(COMM, n, n)
    bent = mesh.create_unit_square(COMM, n, n)
    bent.geometry.x[:, 0] += 0.02 * np.sin(9 * bent.geometry.x[:, 1])
    x = np.random.default_rng(COMM.rank).random((2, points // COMM.size))
    y = np.sin(9 * x[0]) * x[1]
    if COMM.rank == 0:
        print(f"{points:,} points, {(n + 1) ** 2:,} vertices, {COMM.size} rank(s): seconds")
    for name, domain in (("grid", msh), ("triangles", bent)):
        V = fem.functionspace(domain, ("P", 1))
        network = fe_relu.network_from_function(fem.Function(V))
        u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
        smooth = 1e-6 * ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx
        jobs = {
            "interpolation matrix": lambda network=network: fe_relu.interpolation_matrix(
                network, x
            ),
            "fit, least squares": lambda network=network: fe_relu.fit_output(network, x, y),
            "fit, smoothness term": lambda network=network, smooth=smooth: fe_relu.fit_output(
                network, x, y, penalty=smooth
            ),
        }
        matrix = 0.0
        for what, job in jobs.items():
            took = seconds(job, 1 if "fit" in what else 3)
            matrix = matrix or took
            if COMM.rank == 0:
                print(f"{name:10} {what:24} {took:8.2f}   {took / matrix:6.1f} x the matrix")
    if COMM.size == 1:
        took = seconds(lambda: LinearNDInterpolator(x.T, y), 1)
        print(f"{'SciPy':10} {'LinearNDInterpolator':24} {took:8.2f}   made of the same points")


if __name__ == "__main__":
    main()
