# SPDX-License-Identifier: MIT
"""Point evaluation on meshes of any kind: fe_relu beside dolfinx and others, in one run.

    python3 demos/benchmark_unstructured.py [SCALE] [POINTS]

`benchmark_peers.py` says which others there are, and how they are installed.

Where gmsh's Python module is there, it makes the meshes: A and B of the unit square, C of the unit
cube, by lengths of edges only. Where not, A and B are Delaunay meshes of points around a lattice,
C is a mesh of tetrahedra whose vertices are moved. SCALE, 1 by default, multiplies their numbers of
points along a side. Times are medians of repeated runs, next to those of copying the points as
(n, 3).

First one core, with Q1 and P2 functions and mesh B in onnxruntime; then it starts itself under
mpirun, on mesh B and for transfer between two meshes of 100 000 vertices. Figures that are held to
a bar are printed with it.
"""

import importlib.util
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import cycle
from statistics import median
from time import perf_counter

from mpi4py import MPI

import basix.ufl
import numpy as np
from benchmark_peers import peers
from dolfinx import fem, geometry, mesh
from scipy.spatial import Delaunay

from fe_relu import P1Network, interpolation_plan, network_from_function, to_onnx
from fe_relu.fenicsx import compat
from fe_relu.meshes.simplices.mesh import SimplexMesh

Job = tuple[str, Callable[[], object], int]
Arrays = tuple[np.ndarray, np.ndarray]  # points (n, dim), cells (m, dim + 1)

#: All ranks that there are: one, but in what `run_on` starts.
comm = MPI.COMM_WORLD
rng = np.random.default_rng(0)


def seconds(job: Callable[[], object], repeats: int) -> float:
    """Median time of a call on its slowest rank, after a first one that does not count."""
    times = []
    for _ in range(repeats + 1):
        comm.barrier()
        start = perf_counter()
        job()
        times.append(comm.allreduce(perf_counter() - start, op=MPI.MAX))
    return median(times[1:])


def delaunay(n: int) -> Arrays:
    """Of the unit square, of (n + 1)² points around those of a lattice."""
    lattice = np.stack(np.meshgrid(*2 * [np.arange(n + 1.0)]), axis=-1).reshape(-1, 2)
    inside = ((lattice > 0) & (lattice < n)).all(axis=1)
    points = (lattice + inside[:, None] * rng.uniform(-0.4, 0.4, lattice.shape)) / n
    return points, Delaunay(points).simplices.astype(np.int64)


def tetrahedra(n: int) -> Arrays:
    """Of the unit cube, with inner vertices moved."""
    msh = mesh.create_unit_cube(MPI.COMM_SELF, n, n, n)
    x = msh.geometry.x
    inside = ((x > 1e-9) & (x < 1 - 1e-9)).all(axis=1)
    moved = x + inside[:, None] * rng.uniform(-0.15, 0.15, x.shape) / n
    return moved, compat.geometry_dofmap(msh).astype(np.int64)


def by_gmsh(dim: int, n: int) -> Arrays:
    """Of the unit square or cube, by gmsh, edges of such a length that points are about n^dim."""
    import gmsh

    gmsh.initialize()
    gmsh.option.setNumber("General.Verbosity", 1)
    if dim == 2:
        gmsh.model.occ.addRectangle(0, 0, 0, 1, 1)
    else:
        gmsh.model.occ.addBox(0, 0, 0, 1, 1, 1)
    gmsh.model.occ.synchronize()
    gmsh.option.setNumber("Mesh.MeshSizeMax", {2: 1.077, 3: 0.91}[dim] / n)
    gmsh.model.mesh.generate(dim)
    tags, points, _ = gmsh.model.mesh.getNodes()
    _, _, (corners,) = gmsh.model.mesh.getElements(dim)
    gmsh.finalize()
    place = np.zeros(int(tags.max()) + 1, np.int64)
    place[tags.astype(np.int64)] = np.arange(tags.size)
    cells = place[corners.astype(np.int64)].reshape(-1, dim + 1)
    return points.reshape(-1, 3)[:, :dim], cells


def meshed(dim: int, n: int) -> mesh.Mesh:
    """On all ranks, by gmsh where it is there; made on the first."""
    points, cells = np.empty((0, dim)), np.empty((0, dim + 1), np.int64)
    if comm.rank == 0:
        makers = {2: delaunay, 3: tetrahedra}
        points, cells = by_gmsh(dim, n) if HAS_GMSH else makers[dim](n)
    kind = {2: "triangle", 3: "tetrahedron"}[dim]
    element = basix.ufl.element("Lagrange", kind, 1, shape=(dim,))
    return mesh.create_mesh(comm, cells, x=points, e=element)


HAS_GMSH = importlib.util.find_spec("gmsh") is not None


def function_on(msh: mesh.Mesh) -> fem.Function:
    u = fem.Function(fem.functionspace(msh, ("P", 1)))
    u.interpolate(lambda x: np.sin(7 * x[0]) * np.cos(5 * x[1]) + x[2])
    u.x.scatter_forward()
    return u


def in_order(points: np.ndarray) -> np.ndarray:
    """Points (n, 3) along lines, each near the one before."""
    strips = np.floor(points * 300)
    return points[np.lexsort((points[:, 0], strips[:, 1], strips[:, 2]))]


def graded() -> Arrays:
    """A quarter of a disc, edges 2 % of the distance from its middle: from 1e-7 to 0.02."""
    radius = np.append(0, np.geomspace(5e-6, 1, 612))
    angle = np.linspace(0, np.pi / 2, 80)
    points = radius[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    lattice = np.arange(radius.size * angle.size).reshape(radius.size, angle.size)
    lattice[0] = 0
    a, b, c, d = lattice[:-1, :-1], lattice[:-1, 1:], lattice[1:, :-1], lattice[1:, 1:]
    cells = np.concatenate([np.stack([a, c, d], axis=-1), np.stack([a, d, b], axis=-1)])
    cells = cells.reshape(-1, 3)
    cells = cells[(cells[:, 1] != cells[:, 2]) & (cells[:, 0] != cells[:, 2])]
    used, cells = np.unique(cells, return_inverse=True)
    return points.reshape(-1, 2)[used], cells.reshape(-1, 3)


def dolfinx_job(u: fem.Function, points: np.ndarray) -> Callable[[], np.ndarray]:
    msh = u.function_space.mesh
    tree = geometry.bb_tree(msh, msh.topology.dim)

    def search_and_eval() -> np.ndarray:
        candidates = geometry.compute_collisions_points(tree, points)
        links = geometry.compute_colliding_cells(msh, candidates, points)
        found = np.diff(links.offsets) > 0
        values = np.full(len(points), np.nan)
        values[found] = u.eval(points[found], links.array[links.offsets[:-1][found]])[:, 0]
        return values

    return search_and_eval


def linear_on(msh: mesh.Mesh) -> fem.Function:
    u = fem.Function(fem.functionspace(msh, ("P", 1)))
    u.interpolate(linear)
    return u


def linear(x: np.ndarray) -> np.ndarray:
    """From 1 to 7 on the meshes here, so that errors are relative ones, or larger."""
    return 3 + x[0] - 2 * x[1] + 3 * x[2]


def num_off(values: np.ndarray, right: np.ndarray, limit: float = 1e-12) -> int:
    return int(np.count_nonzero(~(np.abs(values - right) <= limit)))


def wrong(msh: mesh.Mesh, points: np.ndarray, rounds: int) -> list[tuple[str, str]]:
    """How many values of a linear function are off, by more than 1e-12: ours and dolfinx's.

    At vertices, middles of edges, and so many times as many random points; dolfinx's at the points.
    """
    dim, x = msh.geometry.dim, msh.geometry.x
    u, cells = linear_on(msh), compat.geometry_dofmap(msh)
    network, off, count = network_from_function(u), 0, 0
    middles = [(x[cells[:, i]] + x[cells[:, j]]) / 2 for j in range(dim + 1) for i in range(j)]
    for k, some in enumerate([np.concatenate([x, *middles]), *rounds * [points]]):
        shifted = some.copy()
        if k > 1:  # other points each time
            shifted[:, :dim] = (some[:, :dim] + rng.random(dim)) % 1
        off += num_off(network(np.ascontiguousarray(shifted.T[:dim])), linear(shifted.T))
        count += len(shifted)
    theirs = num_off(dolfinx_job(u, points)(), linear(points.T))
    nodal = function_on(msh)
    at_vertices = nodal.x.array[_dof_of_node(nodal)]
    ours = np.count_nonzero(network_from_function(nodal)(x.T[:dim]) != at_vertices)
    return [
        (f"wrong values of {count:,}, vertices and middles of edges among them", f"{off}"),
        (f"  dolfinx's of {len(points):,}", f"{theirs}"),
        (f"nodal values with other bits, of {len(x):,}", f"{ours}"),
        ("  dolfinx's", f"{np.count_nonzero(dolfinx_job(nodal, x)() != at_vertices)}"),
    ]


def _dof_of_node(u: fem.Function) -> np.ndarray:
    msh, V = u.function_space.mesh, u.function_space
    dofs = np.empty(len(msh.geometry.x), np.int32)
    dofs[compat.geometry_dofmap(msh)] = V.dofmap.list
    return dofs


def jobs_of(network: P1Network, points: np.ndarray) -> list[Job]:
    x, ordered = (np.ascontiguousarray(p.T[: network.dim_in]) for p in (points, in_order(points)))
    plan, copy = network.plan(x), np.empty_like(points)
    steps = cycle([network, replace(network, values=2 * network.values)])  # of a time series
    return [
        ("copying the points, (n, 3)", lambda: np.copyto(copy, points), len(points)),
        ("fe_relu, random points", lambda: network(x), len(points)),
        ("fe_relu, points along lines", lambda: network(ordered), len(points)),
        ("fe_relu, gradient", lambda: network.gradient(x), len(points)),
        ("fe_relu, planned", lambda: plan(next(steps)), len(points)),
    ]


def rivals_of(
    network: P1Network, u: fem.Function, points: np.ndarray
) -> Iterator[tuple[str, float, int, bool]]:
    """What dolfinx and others take for a point, in seconds, how many values are other ones.

    And whether those are less than the part `RIGHT` of the points that it was asked for.
    """
    dim, mesh = network.dim_in, network.mesh
    few = points[: len(points) // 10]
    job = dolfinx_job(u, few)
    yield "dolfinx: collisions + eval", seconds(job, 2) / len(few), -1, False
    for name, maker, part in peers(dim):
        some = np.ascontiguousarray(points[: len(points) // part, :dim])
        job = maker(mesh.vertices(), mesh.cells(), network.values, some)
        other = num_off(job(), network(some.T))
        yield name, seconds(job, 2) / len(some), other, other < RIGHT * len(some)


#: Dimension of the meshes, and points along a side.
MESHES = {"A": (2, 160), "B": (2, 508), "C": (3, 45)}

#: Others are right if less than this part of their values are not ours.
RIGHT = 1e-4

#: Of random points over copying them, of points along lines, dolfinx over random points, the same
#: of the fastest other whose values are right, planned ones; microseconds and bytes a cell.
BARS = {
    "A": (10, 8, 60, 8, 4, 1.5, 100),
    "B": (22, 10, 80, 8, 4, 1.5, 100),
    "C": (42, 20, 100, 8, 4, 6, 150),
}


def located_again(network: P1Network) -> tuple[float, float]:
    """Seconds for making the structure of location, and its bytes; both for each cell."""
    vertices, cells = network.mesh.vertices(), network.mesh.cells()

    def build() -> None:
        _ = SimplexMesh.conforming(vertices, cells).locator.search

    count = network.mesh.num_cells
    return seconds(build, 3) / count, network.mesh.locator.num_bytes / count


def serial(scale: float, count: int) -> float:
    """Prints what points cost on each mesh; seconds a random point on B."""
    on_b = 0.0
    for name, (dim, n) in MESHES.items():
        msh = meshed(dim, round(n * scale))
        u = function_on(msh)
        network = network_from_function(u)
        points = np.zeros((count, 3))
        points[:, : network.dim_in] = rng.random((count, network.dim_in))
        rows = [
            (what, seconds(job, 7) / size, -1, False)
            for what, job, size in jobs_of(network, points)
        ]
        rows += rivals_of(network, u, points)
        copying, ours = rows[0][1], rows[1][1]
        on_b = ours if name == "B" else on_b
        print(f"{name}: {network.mesh.num_vertices:,} vertices, {network.mesh.num_cells:,} cells")
        print(f"{'':36}{'ns/point':>10}{'/ fe_relu':>11}{'/ copying':>11}  other values")
        for what, time, other, _ in rows:
            print(
                f"{what:36}{1e9 * time:10.1f}{time / ours:11.2f}{time / copying:11.1f}"
                f"{'' if other < 0 else other:>14}"
            )
        right = min((time for _, time, _, is_right in rows if is_right), default=np.nan)
        building, size = located_again(network)
        figures = [
            ("random points over copying them", ours / copying, "≤"),
            ("points along lines over copying them", rows[2][1] / copying, "≤"),
            ("dolfinx over random points", rows[5][1] / ours, "≥"),
            ("the fastest of others with less than 1e-4 other values", right / ours, "≥"),
            ("unplanned over planned", ours / rows[4][1], "≥"),
            ("making the structure of location, µs a cell", 1e6 * building, "≤"),
            ("  its bytes a cell", size, "≤"),
        ]
        for (what, figure, sense), bar in zip(figures, BARS[name], strict=True):
            print(f"{what:66}{figure:10.2f}   {sense} {bar}")
        for what, number in wrong(msh, points, 10):
            print(f"{what:66}{number:>10}")
    return on_b


def on_graded(count: int, on_b: float) -> None:
    """Uniform points where cells differ by five powers of ten."""
    vertices, cells = graded()
    element = basix.ufl.element("Lagrange", "triangle", 1, shape=(2,))
    msh = mesh.create_mesh(MPI.COMM_SELF, cells, x=vertices, e=element)
    network, points = network_from_function(linear_on(msh)), np.zeros((2 * count, 3))
    points[:, :2] = rng.random((2 * count, 2))
    points = points[np.hypot(*points.T[:2]) < np.cos(np.pi / 316)][:count]
    x = np.ascontiguousarray(points.T[:2])
    time = seconds(lambda: network(x), 7) / len(points)
    print(f"graded: {network.mesh.num_vertices:,} vertices, edges from 1e-7 to 0.02")
    for what, figure, bar in (
        ("uniform points, ns per point", 1e9 * time, ""),
        ("  over random points on B", time / on_b, "≤ 1.5"),
        (f"wrong values of {len(points):,}", num_off(network(x), linear(points.T)), "0"),
        (
            f"  dolfinx's of {len(points) // 10:,}",
            num_off(dolfinx_job(linear_on(msh), points[::10])(), linear(points[::10].T)),
            "",
        ),
    ):
        print(f"{what:66}{figure:10.2f}   {bar}")


# ---- other elements, and another form ------------------------------------------------------------


def forms(scale: float, count: int) -> None:
    """Q1 beside P1 on the triangles of its grid, P2 beside P1, and mesh B in onnxruntime."""
    x = rng.random((2, count))
    n = round(512 * scale)
    cells = {"P1": mesh.CellType.triangle, "Q1": mesh.CellType.quadrilateral}
    grids = {
        name: mesh.create_unit_square(MPI.COMM_SELF, n, n, kind) for name, kind in cells.items()
    }
    p1, q1 = (network_from_function(function_on(msh)) for msh in grids.values())
    linear, bilinear = (seconds(partial(network, x), 7) / count for network in (p1, q1))
    msh = meshed(*MESHES["B"][:1], round(MESHES["B"][1] * scale))
    u, quadratic = function_on(msh), fem.Function(fem.functionspace(msh, ("P", 2)))
    quadratic.x.array[:] = rng.standard_normal(quadratic.x.array.size)
    network, deep = network_from_function(u), network_from_function(quadratic)
    times = [seconds(partial(each, x), 7) / count for each in (network, deep)]
    rows = [
        (f"Q1 on {n} x {n} quadrilaterals, ns per point", 1e9 * bilinear, ""),
        ("  over P1 on the triangles of that grid", bilinear / linear, "≤ 2"),
        ("B, P2, ns per point", 1e9 * times[1], ""),
        ("  over P1 there", times[1] / times[0], ""),
    ]
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        rows += _in_onnxruntime(network, x[:, : count // 5])
    print("other elements, and another form")
    for what, figure, bar in rows:
        print(f"{what:66}{figure:10.2f}   {bar}")


def _in_onnxruntime(network: P1Network, x: np.ndarray) -> list[tuple[str, float, str]]:
    """Time and size of the active form, in microseconds and in bytes of what it looks up."""
    with tempfile.TemporaryDirectory() as folder, silent_stderr():
        path = f"{folder}/u.onnx"
        to_onnx(network, path, form="active")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        rows = np.ascontiguousarray(x.T)
        time = seconds(lambda: session.run(["u"], {"x": rows}), 3) / x.shape[1]
        lists = network.mesh.piece(network.values).candidates
        arrays = network.mesh.vertices(), network.mesh.cells(), *lists[1:4]
        size = os.path.getsize(path) / sum(array.nbytes for array in arrays)
    return [
        ("B, active form in onnxruntime, µs per point", 1e6 * time, "≤ 3"),
        ("  bytes of the file over those of vertices, cells and buckets", size, "≤ 1.5"),
    ]


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


# ---- on ranks ------------------------------------------------------------------------------------


def measure_points(n: int, count: int) -> dict[str, float]:
    """Nanoseconds per point of a rank, each cell on the rank that dolfinx gave it to."""
    u = function_on(meshed(2, n))
    msh, rng = u.function_space.mesh, np.random.default_rng(comm.rank)
    network = network_from_function(u, layout="blocks")
    anywhere, padded = rng.random((2, count)), np.zeros((count // 4, 3))
    padded[:, :2] = anywhere[:, : len(padded)].T
    cells = rng.integers(0, msh.topology.index_map(2).size_local, count)
    corners = msh.geometry.x[compat.geometry_dofmap(msh)[cells]][:, :, :2]
    own = np.einsum("nv,nvd->dn", rng.dirichlet(np.ones(3), count), corners)
    whole = network.gather()
    return {
        "own cells": 1e9 * seconds(lambda: network(own), 9) / count,
        "own cells, whole mesh": 1e9 * seconds(lambda: whole(own), 9) / count,
        "anywhere": 1e9 * seconds(lambda: network(anywhere), 9) / count,
        "dolfinx": 1e9
        * seconds(lambda: u.eval(*compat.point_owners(msh, padded, 1e-14)), 1)
        / len(padded),
    }


def measure_transfer(n: int) -> dict[str, float]:
    """Seconds for a transfer between two meshes of about as many vertices."""
    u = function_on(meshed(2, n))
    W = fem.functionspace(meshed(2, n + 1), ("P", 1))
    w = fem.Function(W)
    cells = np.arange(W.mesh.topology.index_map(2).size_local, dtype=np.int32)
    data = fem.create_interpolation_data(W, u.function_space, cells, padding=1e-6)
    network = network_from_function(u, layout="blocks")
    plan = interpolation_plan(network, W)

    def ours_first() -> None:
        found = network_from_function(u, layout="blocks")
        interpolation_plan(found, W)(found, w)

    def theirs_first() -> None:
        found = fem.create_interpolation_data(W, u.function_space, cells, padding=1e-6)
        w.interpolate_nonmatching(u, cells, found)

    return {
        "dolfinx, first": seconds(theirs_first, 1),
        "dolfinx, repeated": seconds(lambda: w.interpolate_nonmatching(u, cells, data), 3),
        "fe_relu, first": seconds(ours_first, 3),
        "fe_relu, repeated": seconds(lambda: plan(network, w), 9),
    }


def run_on(ranks: int, scale: float, count: int) -> dict[str, float]:
    command = ["mpirun", "-n", str(ranks), "--oversubscribe", sys.executable, __file__]
    variables = os.environ | {"FE_RELU_BENCHMARK_CHILD": "1"}
    done = subprocess.run(
        [*command, str(scale), str(count)],
        env=variables,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def child(scale: float, count: int) -> None:
    found = measure_points(round(MESHES["B"][1] * scale), count)
    found |= measure_transfer(round(316 * scale))
    if comm.rank == 0:
        print(json.dumps(found))


def parallel(scale: float, count: int) -> None:
    one, two = (run_on(ranks, scale, count // ranks) for ranks in (1, 2))
    own, alone, anywhere = two["own cells"], two["own cells, whole mesh"], two["anywhere"]
    rows = [
        ("B, 2 ranks, points in own cells, ns per point of a rank", own, ""),
        ("  over each rank alone with the whole mesh, at the same time", own / alone, "≤ 1.3"),
        ("  over 1 rank", own / one["own cells"], ""),
        ("B, 2 ranks, random points anywhere, ns per point of a rank", anywhere, ""),
        ("  determine_point_ownership + eval over it", two["dolfinx"] / anywhere, "≥ 40"),
    ]
    for ranks, found in ((1, one), (2, two)):
        for kind, bar in (("first", 8), ("repeated", 50)):
            ratio = found[f"dolfinx, {kind}"] / found[f"fe_relu, {kind}"]
            what = f"transfer on {ranks} rank(s), {kind}: interpolate_nonmatching over it"
            rows.append((what, ratio, f"≥ {bar}"))
    print("on ranks, each with the cells that dolfinx gave it")
    for what, figure, bar in rows:
        print(f"{what:66}{figure:10.2f}   {bar}")


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    if "FE_RELU_BENCHMARK_CHILD" in os.environ:
        child(scale, count)
        return
    print(
        f"meshes by {'gmsh' if HAS_GMSH else 'SciPy and by moving vertices, as gmsh is not there'}"
    )
    on_graded(count, serial(scale, count))
    forms(scale, count)
    parallel(scale, count)


if __name__ == "__main__":
    main()
