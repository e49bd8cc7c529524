# SPDX-License-Identifier: MIT
"""Demos run as they are, on small meshes, and print what they promise."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).parent.parent / "demos"

#: Demo, its arguments, words it must print on rank 0, and the picture it saves.
CASES = {
    "demo_poisson": (
        ["16", "12", "4000"],
        ["→ 413 → 1", "identical", "exact, error ≤", "times as long"],
        "poisson.png",
    ),
    "demo_optimise": (["12", "6"], ["12 x 6, 91", "binaries", "exact  ", "agrees"], "optimise.png"),
    "demo_finetune": (
        ["4", "16", "40"],
        ["start: exact", "training lowered the error"],
        "finetune.png",
    ),
    "demo_ritz": (
        ["6", "60"],
        ["exact energy", "64 samples", "dead on the interval", "to roundoff", "equal"],
        "ritz.png",
    ),
    "demo_trained": (
        ["10", "60", "2"],
        ["linear regions", "uniform", "exact coefficient"],
        "trained.png",
    ),
    "demo_surrogate": (
        ["128", "0.1"],
        ["smooth: −Δu = f", "thresholding", "jump: −div", "over the surrogate's", "≥ 10"],
        "surrogate.png",
    ),
    "demo_heat": (["8", "5"], ["5 steps", "ms a step", "hottest point"], "heat.png"),
    "demo_gmsh": (
        ["0", "3000"],
        ["1,443, 2,580", "points in holes", "identical", "exact", "onnxruntime, µs"],
        "gmsh.png",
    ),
    "demo_box": (
        ["3", "3000"],
        ["112, 324", "→ 560 → 1", "identical", "exact", "sup |difference|"],
        "box.png",
    ),
    "demo_materials": (["3000"], ["5, 11, 20", "0 of 3,000", "MiB"], "materials.png"),
    "demo_scattered": (
        ["12", "600"],
        ["169 vertices", "nearest and smooth", "LinearNDInterpolator", "SmoothBivariateSpline"],
        "scattered.png",
    ),
    "demo_support": (
        ["2", "40"],
        ["L1 error", "169   GELU", "0.8142 to 0.8142", "ReLU: within one cell"],
        "support.png",
    ),
    "demo_p1_p2": (["4"], ["2 x 2", "10 x 10", "4 x 4", "better", "81 / 576"], "p1_p2.png"),
}


@pytest.mark.parametrize("name", CASES)
def test_demo(comm, name, monkeypatch, tmp_path, capsys):
    arguments, words, picture = CASES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(DEMOS / f"{name}.py"))
    printed = capsys.readouterr().out
    if comm.rank == 0:
        assert [word for word in words if word not in printed] == []
        assert "NOT" not in printed
        assert (tmp_path / "pictures" / picture).stat().st_size > 10_000
    else:
        assert printed == ""


def test_parallel_benchmark_measures_every_figure(comm, monkeypatch, capsys):
    """What it starts under mpirun, here on the ranks that there are; then its table."""
    path = str(DEMOS / "benchmark_parallel.py")
    monkeypatch.setattr(sys, "argv", ["benchmark_parallel", "32", "2000"])
    monkeypatch.setenv("FE_RELU_BENCHMARK_CHILD", "1")
    runpy.run_path(path, run_name="__main__")
    printed = capsys.readouterr().out
    if comm.rank == 0:
        module = runpy.run_path(path)
        module["table"].__globals__["run_on"] = lambda ranks, n, count: json.loads(printed)
        rows = module["table"](32, 2000)
        assert len(rows) == 30
        assert all(figure > 0 for _, figure, _ in rows)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf, which onnx imports
def test_benchmark_prints_its_table(comm, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark_evaluate", "16", "20000"])
    runpy.run_path(str(DEMOS / "benchmark_evaluate.py"), run_name="__main__")
    printed = capsys.readouterr().out
    for words in (
        "copying the points",
        "fe_relu, points as (2, n)",
        "dolfinx: bb_tree",
        "explicit",
    ):
        assert words in printed


def test_unstructured_benchmark_prints_its_tables(comm, monkeypatch, capsys):
    """On one core; what it starts under mpirun, here on the ranks that there are; that table."""
    path = str(DEMOS / "benchmark_unstructured.py")
    monkeypatch.setattr(sys, "argv", ["benchmark_unstructured", "0.05", "5000"])
    monkeypatch.syspath_prepend(str(DEMOS))
    module = runpy.run_path(path)
    if comm.size == 1:
        on_b = module["serial"](0.05, 5000)
        printed = capsys.readouterr().out
        assert len(re.findall(r"wrong values of [\d,]+, vertices .* 0\n", printed)) == 3
        assert len(re.findall(r"nodal values with other bits, of [\d,]+ +0\n", printed)) == 3
        assert printed.count("SciPy's own Delaunay, points sorted") == 3
        module["on_graded"](5000, on_b)
        assert "wrong values of 5,000 " in capsys.readouterr().out
        module["forms"](0.05, 5000)
        printed = capsys.readouterr().out
        assert printed.count("≤") == 3
        assert "Q1 on 26 x 26" in printed
    module["child"](0.05, 5000)
    printed = capsys.readouterr().out
    if comm.rank == 0:
        module["parallel"].__globals__["run_on"] = lambda ranks, scale, count: json.loads(printed)
        module["parallel"](0.05, 5000)
        assert capsys.readouterr().out.count("≥ 50") == 2


def test_p2_benchmark_prints_its_table(comm, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark_p2", "8", "20000"])
    runpy.run_path(str(DEMOS / "benchmark_p2.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "crossed: P2 network" in printed
    assert "dolfinx: eval of P2" in printed


def test_surrogate_benchmark_prints_its_tables(comm, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark_surrogate", "16", "2000"])
    runpy.run_path(str(DEMOS / "benchmark_surrogate.py"), run_name="__main__")
    printed = capsys.readouterr().out
    for words in ("transform in place", "crossed", "tol=0.001", "points outside", "dolfinx eval"):
        assert words in printed


def test_model_of_scaling_prints_and_draws(comm, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["model_scaling", "16", str(tmp_path / "scaling.png")])
    if comm.rank == 0:  # it simulates ranks, and needs no others
        runpy.run_path(str(DEMOS / "model_scaling.py"), run_name="__main__")
        printed = capsys.readouterr().out
        assert "strong, N = P = 10^8: evaluation" in printed
        assert "what the routing code takes here" in printed
        assert (tmp_path / "scaling.png").stat().st_size > 10_000


def test_model_of_partitions_misses_no_rank(comm, monkeypatch, capsys):
    """It asserts of every point that the rank that has it is asked."""
    monkeypatch.setattr(sys, "argv", ["model_partitions", "16"])
    if comm.rank == 0:  # it simulates ranks, and needs no others
        runpy.run_path(str(DEMOS / "model_partitions.py"), run_name="__main__")
        printed = capsys.readouterr().out
        assert "triangles, 2,048 cells" in printed
        assert "tetrahedra, 2,058 cells" in printed
        assert "as much as" in printed


def test_official_fields_are_counted(comm, monkeypatch, capsys):
    runpy.run_path(str(DEMOS / "official_fields.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "66 fields become networks" in printed
    for words in ("P2Network on a Grid", "P1Network on a SimplexMesh", "Q1Network", "refused"):
        assert words in printed


def test_export_benchmark_prints_its_table(comm, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmark_export", "8", "500"])
    runpy.run_path(str(DEMOS / "benchmark_export.py"), run_name="__main__")
    printed = capsys.readouterr().out
    for words in ("network(x)", "onnxruntime, active", "torch, relu, sparse", "≥ 20"):
        assert words in printed


def test_regions_benchmark_prints_its_tables(capsys):
    module = runpy.run_path(str(DEMOS / "benchmark_regions.py"))
    module["against_faces"](0.03)
    module["degenerate"]()
    printed = capsys.readouterr().out
    assert "µs a face" in printed
    copies, lattice = (
        next(line for line in printed.splitlines() if line.startswith(start))
        for start in ("the same, with 60 copies", "three lines through each")
    )
    assert " 1876 " in copies
    assert " 200 " in lattice
