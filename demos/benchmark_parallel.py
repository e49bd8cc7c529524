# SPDX-License-Identifier: MIT
"""Evaluation, transfer and conversion on 1, 2 and 4 ranks, beside dolfinx, in this one run.

    python3 demos/benchmark_parallel.py [CELLS_PER_SIDE] [POINTS]

Run it without mpirun: it starts itself under mpirun on 1, 2 and 4 ranks, one thread each, and
prints every figure with the bar it is held to. Times are medians of repeated runs, the slowest
rank's.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

START = perf_counter()

from mpi4py import MPI

import numpy as np
from dolfinx import fem, mesh

LOADED = perf_counter()

from fe_relu import Conversion, P1Network, interpolation_plan, network_from_function
from fe_relu.fenicsx import compat

comm = MPI.COMM_WORLD
LAYOUTS = ("replicated", "blocks")


def seconds(job: Callable[[], object], repeats: int = 9) -> float:
    """Median time of a collective call on its slowest rank; the first is not counted."""
    times = []
    for _ in range(repeats + 1):
        comm.barrier()
        start = perf_counter()
        job()
        times.append(comm.allreduce(perf_counter() - start, op=MPI.MAX))
    return median(times[1:])


def function(n: int) -> fem.Function:
    V = fem.functionspace(mesh.create_unit_square(comm, n, n), ("P", 1))
    u = fem.Function(V)
    u.interpolate(lambda x: np.sin(7 * x[0]) * np.cos(5 * x[1]) + x[0])
    u.x.scatter_forward()
    return u


def points_in_own_cells(msh: mesh.Mesh, count: int, rng: np.random.Generator) -> np.ndarray:
    cells = rng.integers(0, msh.topology.index_map(2).size_local, count)
    corners = msh.geometry.x[compat.geometry_dofmap(msh)[cells]][:, :, :2]
    return np.einsum("nv,nvd->dn", rng.dirichlet(np.ones(3), count), corners)


def measure_points(n: int, count: int) -> dict[str, float]:
    """Nanoseconds per point of a rank."""
    u = function(n)
    rng = np.random.default_rng(comm.rank)
    anywhere, own = rng.random((2, count)), points_in_own_cells(u.function_space.mesh, count, rng)
    padded = np.zeros((count, 3))
    padded[:, :2] = anywhere.T
    copy = np.empty_like(padded)
    jobs = {
        "copy": lambda: np.copyto(copy, padded),
        "dolfinx": lambda: u.eval(*compat.point_owners(u.function_space.mesh, padded, 1e-14)),
    }
    for layout in LAYOUTS:
        network = network_from_function(u, layout=layout)
        jobs |= jobs_of(layout, network, anywhere, own, padded)
    slow = {"dolfinx": 1}
    return {name: 1e9 * seconds(job, slow.get(name, 9)) / count for name, job in jobs.items()}


def jobs_of(
    layout: str, network: P1Network, anywhere: np.ndarray, own: np.ndarray, padded: np.ndarray
) -> dict[str, Callable[[], object]]:
    plan = network.plan(anywhere)
    return {
        f"{layout}: anywhere": lambda: network(anywhere),
        f"{layout}: anywhere, (n, 3).T": lambda: network(padded.T),
        f"{layout}: own cells": lambda: network(own),
        f"{layout}: planned": lambda: plan(network),
        f"{layout}: gradient": lambda: network.gradient(anywhere),
    }


def measure_transfer(source: int, target: int) -> dict[str, float]:
    """Seconds for one transfer to a mesh that does not match."""
    u = function(source)
    W = fem.functionspace(mesh.create_unit_square(comm, target, target), ("P", 1))
    w = fem.Function(W)
    cells = np.arange(W.mesh.topology.index_map(2).size_local, dtype=np.int32)
    data = fem.create_interpolation_data(W, u.function_space, cells, padding=1e-6)
    network = network_from_function(u)
    plan = interpolation_plan(network, W)

    def ours_first() -> None:
        found = network_from_function(u)
        interpolation_plan(found, W)(found, w)

    def theirs_first() -> None:
        found = fem.create_interpolation_data(W, u.function_space, cells, padding=1e-6)
        w.interpolate_nonmatching(u, cells, found)

    return {
        "dolfinx, first": seconds(theirs_first, 1),
        "dolfinx, repeated": seconds(lambda: w.interpolate_nonmatching(u, cells, data), 3),
        "fe_relu, first": seconds(ours_first, 5),
        "fe_relu, repeated": seconds(lambda: plan(network, w)),
    }


def measure_conversion(n: int) -> dict[str, float]:
    u = function(n)
    found = {}
    for layout in LAYOUTS:
        convert = partial(network_from_function, u, layout=layout)
        found[f"{layout}: conversion"] = seconds(convert, 3)
        again = partial(Conversion(u.function_space, layout=layout), u)
        found[f"{layout}: again"] = seconds(again)
    return found


def measure_start() -> dict[str, float]:
    """Seconds from after importing dolfinx to the first value, in this process."""
    network_from_function(function(16))(np.full((2, 10), 0.5))
    return {"start": perf_counter() - LOADED}


def child(n: int, count: int) -> None:
    found = measure_start()
    found |= measure_points(n, count)
    found |= measure_transfer(n // 2, n * 400 // 512)
    found |= measure_conversion(2 * n - 24)
    if comm.rank == 0:
        print(json.dumps(found))


def run_on(ranks: int, n: int, count: int) -> dict[str, float]:
    command = ["mpirun", "-n", str(ranks), "--oversubscribe", sys.executable, __file__]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "FE_RELU_BENCHMARK_CHILD": "1"}
    done = subprocess.run(
        [*command, str(n), str(count)], env=variables, stdout=subprocess.PIPE, check=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


Row = tuple[str, float, str]


def table(n: int, count: int) -> list[Row]:
    """(what, figure, bar): all points on 1 rank, half on each of 2, a quarter on each of 4."""
    one, two, four = (run_on(ranks, n, count // ranks) for ranks in (1, 2, 4))
    rows = serial_rows(one)
    for layout in LAYOUTS:
        rows += parallel_rows(layout, one, two, four)
    for ranks, found in ((1, one), (2, two)):
        rows += transfer_rows(f"{n // 2}² → {n * 400 // 512}², {ranks} rank(s)", found)
    for ranks, found, bar in ((1, one, 20), (2, two, 60)):
        for layout in LAYOUTS:
            what = f"{layout}, {2 * n - 24}², {ranks} rank(s)"
            rows.append((f"{what}: conversion, s", found[f"{layout}: conversion"], "≤ 1"))
            rows.append((f"{what}: next step, ms", 1e3 * found[f"{layout}: again"], f"≤ {bar}"))
    rows.append(("import and first value, beyond importing dolfinx, s", one["start"], "≤ 1.5"))
    return rows


def serial_rows(one: dict[str, float]) -> list[Row]:
    ours = one["replicated: anywhere"]
    return [
        ("serial, random points (2, n), ns per point", ours, ""),
        ("  over copying the points", ours / one["copy"], "≤ 2.2"),
        ("  dolfinx over it", one["dolfinx"] / ours, "≥ 300"),
        ("  (n, 3).T over it", one["replicated: anywhere, (n, 3).T"] / ours, "≤ 2.5"),
        ("  gradient over it", one["replicated: gradient"] / ours, "≤ 2"),
    ]


def parallel_rows(
    layout: str, one: dict[str, float], two: dict[str, float], four: dict[str, float]
) -> list[Row]:
    anywhere, own = two[f"{layout}: anywhere"], two[f"{layout}: own cells"]
    alone = one["replicated: own cells"]
    return [
        (f"{layout}, 2 ranks, anywhere, ns per point of a rank", anywhere, "≤ 60"),
        ("  dolfinx over it", two["dolfinx"] / anywhere, "≥ 200"),
        ("  unplanned over planned", anywhere / two[f"{layout}: planned"], "≥ 1.5"),
        (
            "  4 ranks on 2 cores over it, per core",
            four[f"{layout}: anywhere"] / anywhere / 2,
            "≤ 1.5",
        ),
        ("  own cells over the serial kernel", own / alone, "≤ 1.25"),
        ("  own cells, throughput over 1 rank", 2 * alone / own, "≥ 1.7"),
    ]


def transfer_rows(what: str, found: dict[str, float]) -> list[Row]:
    first, repeated = (
        found[f"dolfinx, {kind}"] / found[f"fe_relu, {kind}"] for kind in ("first", "repeated")
    )
    return [
        (f"transfer {what}: dolfinx over fe_relu, first", first, "≥ 10"),
        ("  repeated", repeated, "≥ 30"),
    ]


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    if "FE_RELU_BENCHMARK_CHILD" in os.environ:
        child(n, count)
        return
    print(f"{n} x {n} mesh, {count:,} points in all, one thread per rank")
    for what, figure, bar in table(n, count):
        print(f"{what:64}{figure:10.2f}   {bar}")


if __name__ == "__main__":
    main()
