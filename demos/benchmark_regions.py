# SPDX-License-Identifier: MIT
"""Linear regions, one thread: faces a second, memory, what comes after, and degenerate networks.

    python3 demos/benchmark_regions.py [LARGEST]

Networks are He-initialised, with uniform biases, on [−1, 1]². regioncam (single precision) and
affinitree are run as well, if they can be imported: pip install regioncam affinitree. Times are of
the processor, medians.
LARGEST, 1 by default, multiplies the widths of the network whose cost is compared with its faces.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from time import process_time

import numpy as np

from fe_relu import Affine, ReLUNetwork, integral, linear_regions

try:
    import affinitree
except ImportError:
    affinitree = None

try:
    import regioncam
except ImportError:
    regioncam = None

SQUARE = ((-1, 1), (-1, 1))


def random_network(widths: tuple[int, ...], seed: int = 0) -> ReLUNetwork:
    rng = np.random.default_rng(seed)
    layers = []
    for a, b in pairwise(widths):
        weight = rng.standard_normal((b, a)) * np.sqrt(2 / a)
        layers.append(Affine(weight, rng.uniform(-1, 1, b) / np.sqrt(a)))
    return ReLUNetwork(tuple(layers))


def with_regioncam(network: ReLUNetwork) -> int:
    """The number of faces that regioncam finds on [−1, 1]²."""
    plane = regioncam.Regioncam(size=1)
    for layer in network.layers[:-1]:
        weight = layer.weight.toarray().T.astype(np.float32)
        plane.linear(np.ascontiguousarray(weight), layer.bias.astype(np.float32))
        plane.relu()
    return plane.num_faces


def seconds(*jobs: Callable[[], object], repeats: int = 5) -> list[float]:
    """Median times of jobs that take turns, after first calls that do not count."""
    times: list[list[float]] = [[] for _ in jobs]
    for _ in range(repeats + 1):
        for job, found in zip(jobs, times, strict=True):
            start = process_time()
            job()
            found.append(process_time() - start)
    return [median(found[1:]) for found in times]


def peak_bytes(widths: tuple[int, ...]) -> int:
    """How far the memory of a process grows while it finds the regions, all results included."""
    command = [sys.executable, __file__, "memory", *map(str, widths)]
    return int(subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout)


def print_growth(widths: tuple[int, ...]) -> None:
    def status(name: str) -> int:
        with open("/proc/self/status") as lines:
            return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))

    network = random_network(widths)
    linear_regions(random_network((2, 8, 8, 8, 1)), SQUARE)
    before = status("VmRSS")
    linear_regions(network, SQUARE)
    print(status("VmHWM") - before)


#: What their authors report for networks in the plane, on their machines; in torch and Rust.
PUBLISHED = "450 to 20 000"


def speed() -> None:
    print("network                 faces    faces/s    regioncam: faces    faces/s    ratio")
    for widths in ((2, 64, 64, 1), (2, 128, 128, 128, 1), (2, 256, 256, 1)):
        network = random_network(widths)
        found = linear_regions(network, SQUARE)
        jobs: list[Callable[[], object]] = [lambda n=network: linear_regions(n, SQUARE)]
        if regioncam:
            jobs.append(lambda n=network: with_regioncam(n))
        own, *other = (seconds(job)[0] for job in jobs)
        line = f"{'→'.join(map(str, widths)):20} {found.num_regions:8}   {faces(found, own)}"
        for time in other:
            count = with_regioncam(network)
            rate = f"{count / time:.2g}"
            ratio = (found.num_regions / own) / (count / time)
            line += f"    {count:16}    {rate:>7}    {ratio:5.1f}"
        print(line)
    print(f"published of SplineCam, edge subdivision, affinitree: {PUBLISHED} faces/s")
    if affinitree:
        beside_affinitree()


def beside_affinitree() -> None:
    """On a network that its decision trees can take: they are built of linear programs."""
    widths = (2, 32, 32, 1)
    network = random_network(widths)
    box = affinitree.Polytope.hyperrectangle(2, list(SQUARE))
    inside = affinitree.AffTree.from_poly(box, affinitree.AffFunc.identity(2))

    def tree():
        layers = affinitree.Architecture(2)
        for k, layer in enumerate(network.layers):
            weight, bias = layer.weight.toarray(), layer.bias.astype(float)
            layers.linear(affinitree.AffFunc.from_mats(weight, bias))
            if k < len(network.layers) - 1:
                layers.relu()
        return affinitree.builder.from_layers(layers, inside, None)

    found, count = linear_regions(network, SQUARE), tree().num_terminals()
    own, other = seconds(lambda: linear_regions(network, SQUARE), tree)
    line = f"{'→'.join(map(str, widths)):20} {found.num_regions:8}   {faces(found, own)}"
    ratio = found.num_regions / own * other / count
    print(f"{line}    affinitree: {count:6} {count / other:10.2g}    {ratio:5.0f}")


def faces(found, time: float) -> str:
    return f"{found.num_regions / time:8.2g}"


def afterwards() -> None:
    print("\nafter the cutting, times of it        mesh, P1    pieces    integral    bytes a face")
    for widths in ((2, 64, 64, 1), (2, 128, 128, 128, 1), (2, 256, 256, 1)):
        network = random_network(widths)
        made = []

        def cut(network=network, made=made) -> None:
            made[:] = [linear_regions(network, SQUARE)]

        def whole(made=made) -> None:
            made[0].network()

        def pieces(made=made) -> None:
            made[0].slopes

        def total(made=made) -> None:
            integral(made[0])

        cutting, *others = seconds(cut, whole, pieces, total)
        memory = peak_bytes(widths)
        shares = "".join(f"{time / cutting:10.2f}" for time in others)
        print(f"{'→'.join(map(str, widths)):34} {shares}    {memory / made[0].num_regions:14.0f}")


def against_faces(factor: float) -> None:
    width = round(192 * factor)
    widths = (2, *6 * [width], 1)
    network = random_network(widths, seed=1)
    print(f"\n{'→'.join(map(str, widths))} on [−s, s]²        s     faces    µs a face")
    for half in (0.02, 0.06, 0.25, 2.0):
        box = ((-half, half), (-half, half))
        found = linear_regions(network, box)
        (time,) = seconds(lambda box=box: linear_regions(network, box), repeats=2)
        print(f"{half:41} {found.num_regions:9}    {1e6 * time / found.num_regions:9.2f}")


def degenerate() -> None:
    rng = np.random.default_rng(5)
    print("\ndegenerate networks                                    faces    least area")

    def show(name: str, network: ReLUNetwork, box=SQUARE) -> None:
        found = linear_regions(network, box)
        line = f"{name:50} {found.num_regions:9}    {found.sizes.min():10.2g}"
        if regioncam and box is SQUARE:
            line += f"    (regioncam: {with_regioncam(network)})"
        print(line)

    plain = random_network((2, 40, 30, 1), 3)
    first, second, last = plain.layers
    again, scale = rng.integers(0, 40, 60), rng.uniform(0.01, 100, 60) * rng.choice([1, -1], 60)
    weight = first.weight.toarray()
    wide = Affine(
        np.vstack([weight, weight[again] * scale[:, None]]),
        np.concatenate([first.bias, first.bias[again] * scale]),
    )
    # What is added to the second layer by neurons that are there twice takes nothing away.
    more = Affine(np.hstack([second.weight.toarray(), np.zeros((30, 60))]), second.bias)
    show("2→40→30→1", plain)
    show("the same, with 60 copies, negated and rescaled", ReLUNetwork((wide, more, last)))

    tenths = np.arange(1, 10) / 10
    lattice = Affine(
        np.vstack([[[1, 0]] * 9, [[0, 1]] * 9, [[1, -1]] * 19]),
        np.concatenate([-tenths, -tenths, np.arange(-9, 10) / 10]),
    )
    sum_of_all = Affine(rng.uniform(1, 2, (1, 37)), [0.0])
    show("three lines through each point of a lattice of tenths",
         ReLUNetwork((lattice, sum_of_all)), ((0, 1), (0, 1)))  # fmt: skip

    angle = np.pi * (np.arange(40) + rng.uniform(-0.3, 0.3, 40)) / 40
    weight = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.1, 10, (40, 1))
    through = Affine(weight, -weight @ (0.3, -0.2))
    layer = Affine(rng.standard_normal((20, 40)), rng.standard_normal(20))
    show("40 lines through one point, cut by a second layer",
         ReLUNetwork((through, layer, Affine(rng.standard_normal((1, 20)), [0.0]))))  # fmt: skip


def accuracy() -> None:
    print("\n                        area − 4    P1 network − network, of the range")
    for widths in ((2, 64, 64, 1), (2, 128, 128, 128, 1), (2, 256, 256, 1)):
        network = random_network(widths)
        found = linear_regions(network, SQUARE)
        x = np.random.default_rng(1).uniform(-1, 1, (2, 20_000))
        off = np.abs(found.network()(x) - network(x)).max() / np.ptp(found.values)
        print(f"{'→'.join(map(str, widths)):20} {abs(found.sizes.sum() - 4):11.1e}    {off:10.1e}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        print_growth(tuple(map(int, sys.argv[2:])))
        sys.exit()
    speed()
    afterwards()
    against_faces(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
    degenerate()
    accuracy()
