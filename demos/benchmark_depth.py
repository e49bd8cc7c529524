# SPDX-License-Identifier: MIT
"""What theorems about depth cost here: maxima, sums of maxima, fans, sizes, neurons awake.

    python3 demos/benchmark_depth.py [maxima] [sums] [fans] [sizes] [awake]

Without names, all of them. Counts are exact; times are of one core, the second of two calls where
that is not said otherwise.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import itertools
import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np
from scipy.spatial import Delaunay

import fe_relu
from fe_relu import cpwl, deep
from fe_relu.hierarchy import hierarchical_from_network
from fe_relu.meshes.simplices.mesh import SimplexMesh

EPS = np.finfo(np.float64).eps


def seconds(job: Callable[[], object]) -> float:
    """Time of a second call."""
    job()
    start = perf_counter()
    job()
    return perf_counter() - start


def delaunay(count: int, dim: int = 2) -> SimplexMesh:
    points = np.random.default_rng(0).random((count, dim))
    return SimplexMesh(points.T, Delaunay(points).simplices.T)


def bump(x: np.ndarray) -> np.ndarray:
    return np.sin(6 * x[0]) * np.exp(-8 * (x[1] - 0.4) ** 2)


def maxima() -> None:
    print("maximum of n numbers       by pairs           by fives")
    print("      n                layers  neurons     layers  neurons")
    for n in (2, 3, 4, 5, 8, 10, 16, 25, 64, 125, 256, 625, 1024):
        pairs, fives = (deep.maximum_network(n, by=by) for by in ("pairs", "fives"))
        print(
            f"{n:7d}               {pairs.hidden_layers:7d}  {pairs.num_neurons:7d}    "
            f"{fives.hidden_layers:7d}  {fives.num_neurons:7d}"
        )


def sums() -> None:
    rng = np.random.default_rng(1)
    print("sums of maxima of dim + 1 functions, random nodal values, then smooth ones")
    print("dim  vertices     cells      terms   a vertex   seconds      worst error / max |u|")
    rows = [(2, 100), (2, 1_000), (2, 10_000), (2, 50_100), (3, 100), (3, 1_000), (3, 10_000)]
    for dim, count in rows:
        mesh = delaunay(count, dim)
        corners = mesh.vertices()[:, mesh.cells()[:, rng.integers(0, mesh.num_cells, 100)]]
        x = corners.mean(axis=1)
        worst = []
        for values in (rng.standard_normal(count), bump(mesh.vertices())):
            found = cpwl.max_decomposition(mesh, values)
            exact = fe_relu.P1Network(mesh, values)(x)
            worst.append(np.abs(found(x) - exact).max() / np.abs(values).max())
        time = seconds(lambda: cpwl.max_decomposition(mesh, values))  # noqa: B023
        print(
            f"{dim:3d}  {count:8d}  {mesh.num_cells:8d}  {found.num_terms:9d}  "
            f"{found.num_terms / count:9.2f}  {time:8.2f}      {worst[0]:.0e}   {worst[1]:.0e}"
        )


def fans() -> None:
    print("max(0, x_1, …, x_n) on its fan     one layer            two conforming layers")
    print("  n   planes   rays            dimension   is it?   dimension   is it?   seconds")
    for n in (2, 3, 4):
        fan = cpwl.braid_fan(n)
        start = perf_counter()
        dimensions = [cpwl.conforming_space(fan, layers).dimension for layers in (1, 2)]
        time = perf_counter() - start
        answers = [
            cpwl.represent(fan, lambda x: np.maximum(0, x.max(axis=0)), hidden_layers=layers)
            for layers in (1, 2)
        ]
        words = ["yes" if answer else "no" for answer in answers]
        print(
            f"{n:3d}  {len(fan.normals):7d}  {fan.rays.shape[1]:5d}            {dimensions[0]:9d}"
            f"  {words[0]:>7s}   {dimensions[1]:9d}  {words[1]:>7s}  {time:8.2f}"
        )
    weights = np.array(answers[1].certificate)
    print(f"certificate for n = 4: entries {set(weights.tolist())}, one for each of 30 rays")


def sizes() -> None:
    grid = fe_relu.Grid((0, 0), np.eye(2) / 32, (32, 32), "right")
    p1 = fe_relu.P1Network(grid, bump(grid.vertices()))
    mesh = delaunay(1089)
    line = SimplexMesh([np.linspace(0, 1, 101)], [np.arange(100), np.arange(1, 101)])
    quarter = fe_relu.Grid((0, 0), np.eye(2) / 16, (16, 16), "right")
    nodes = quarter.refined(2).vertices()
    triangles = fe_relu.P1Network(mesh, bump(mesh.vertices()))
    networks = {
        "P1, 32 x 32, right": p1,
        "P1, 1089 vertices, Delaunay": triangles,
        "the same as a sum of maxima": cpwl.max_decomposition(mesh, triangles.values).explicit(),
        "P1, 101 vertices of a line": fe_relu.P1Network(line, np.sin(9 * line.vertices()[0])),
        "surrogate of the first, 1e-2": hierarchical_from_network(p1).compress(tol=1e-2),
        "P2, 16 x 16, 10 levels": fe_relu.P2Network(quarter, bump(nodes), levels=10),
        "x y, 10 levels": deep.product_network(10),
        "maximum of 32 numbers": deep.maximum_network(32),
    }
    print("                               layers: are, needed, enough   neurons   weights + biases")
    print(
        "                                                                      are, needed     bits"
    )
    for name, network in networks.items():
        report = fe_relu.size_report(network)
        needed = ["–" if n is None else n for n in (report.layers_needed, report.numbers_needed)]
        print(
            f"{name:<31s}        {report.hidden_layers:7d}  {needed[0]!s:>5s}  "
            f"{report.layers_enough:5d}  {report.neurons:8d}  {report.numbers:7d}  "
            f"{needed[1]!s:>6s}  {report.bits:8d}"
        )


def trained() -> fe_relu.ReLUNetwork:
    """Four layers of 64 neurons, fitted to a function by gradient descent."""
    import torch

    torch.manual_seed(0)
    widths = (2, 64, 64, 64, 64, 1)
    layers: list[torch.nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    x = torch.rand(4096, 2)
    y = torch.from_numpy(bump(x.T.numpy()))[:, None]
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(1500):
        optimiser.zero_grad()
        loss = torch.mean((model(x) - y) ** 2)
        loss.backward()
        optimiser.step()
    return fe_relu.from_torch(model)


def networks_awake() -> dict[str, object]:
    grid = fe_relu.Grid((0, 0), np.eye(2) / 32, (32, 32), "right")
    mesh = delaunay(1000)
    return {
        "P1 on 32 x 32 squares, halved": fe_relu.P1Network(grid, bump(grid.vertices())),
        f"P1 on {mesh.num_cells} triangles": fe_relu.P1Network(mesh, bump(mesh.vertices())),
        "x y with 6 levels": deep.product_network(6),
        "maximum of 32 numbers": deep.maximum_network(32),
        "trained, 4 layers of 64": trained(),
    }


def awake() -> None:
    x = np.random.default_rng(2).random((32, 2000))
    for name, network in networks_awake().items():
        print(name)
        print(fe_relu.activation_statistics(network, x[: network.dim_in]), end="\n\n")


PARTS = {"maxima": maxima, "sums": sums, "fans": fans, "sizes": sizes, "awake": awake}

if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()
