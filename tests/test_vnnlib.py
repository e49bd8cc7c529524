# SPDX-License-Identifier: MIT
"""Property files claim what cannot be, also of the layers that are exported, roundoff and all."""

import re

import numpy as np
import pytest
from dolfinx import fem
from test_export import network_on, p2_on

from cases import random_function, rectangle
from fe_relu import (
    Affine,
    Grid,
    P1Network,
    ReLUNetwork,
    bounds,
    network_from_function,
    to_onnx,
    write_vnnlib,
)
from fe_relu.formats.forms import in_dtype
from fe_relu.hierarchy import hierarchical_from_network
from runtime import run_file


def parsed(text):
    """Statements as nested lists, without comments."""
    stack = [[]]
    for token in re.findall(r"[()]|[^\s()]+", re.sub(r";.*", "", text)):
        if token == "(":
            stack.append([])
        elif token == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    (statements,) = stack
    return statements


def claim(path, dim_in, dim_out):
    """The box, and the limits that some output is to be beyond, of a file of either version."""
    statements = parsed(path.read_text())
    modern = statements[0] == ["vnnlib-version", "<2.0>"]
    pattern = "{}[0,{}]" if modern else "{}_{}"
    inputs, outputs = (
        [pattern.format(letter, k) for k in range(n)]
        for letter, n in (("X", dim_in), ("Y", dim_out))
    )
    if modern:
        (_, _, *tensors), *statements = statements[1:]
        assert {tensor[2] for tensor in tensors} in ({"float32"}, {"float64"})
        assert [tensor[:2] + tensor[3:] for tensor in tensors] == [
            ["declare-input", "X", f"[1,{dim_in}]"],
            ["declare-output", "Y", f"[1,{dim_out}]"],
        ]
    else:
        declared, statements = statements[: dim_in + dim_out], statements[dim_in + dim_out :]
        assert declared == [["declare-const", name, "Real"] for name in inputs + outputs]
    *sides, (_, (either, *beyond)) = statements
    assert either == "or"
    terms = [term for _, term in sides] + [term for _, term in beyond]
    relations = [">="] * dim_in + ["<="] * dim_in + ["<="] * dim_out + [">="] * dim_out
    assert [term[0] for term in terms] == relations
    assert [term[1] for term in terms] == 2 * inputs + 2 * outputs
    assert all(re.fullmatch(r"-?\d+\.\d+", limit) for _, _, limit in terms)
    numbers = np.array([float(limit) for _, _, limit in terms])
    sides, limits = np.split(numbers, [2 * dim_in])
    return sides.reshape(2, -1).T, *limits.reshape(2, -1)


#: Networks on meshes where single precision loses much, or little; by name.
NETWORKS = {
    "far": lambda rng: on_grid((10, 20), np.eye(2) / 8, (8, 8), "right", rng),
    "many crossed cells": lambda rng: on_grid((0, 0), np.eye(2) / 20, (20, 20), "crossed", rng),
    "turned": lambda rng: on_grid((0, 0), turned(np.pi / 6) / 24, (24, 24), "left_right", rng),
    "very far": lambda rng: on_grid((1e3, 1e3), np.eye(2) / 4, (4, 4), "left", rng),
    "flat": lambda rng: network_on("flat", (5, 4), "right_left", rng, outputs=(2,)),
    "P2": lambda rng: p2_on("rotated", (3, 3), "crossed", rng, outputs=(2,), levels=5),
    "surrogate": lambda rng: hierarchical_from_network(
        network_on("rotated", (8, 8), "left", rng, outputs=(2,))
    ).compress(max_neurons=60),
    "layers": lambda rng: ReLUNetwork(
        (
            Affine(rng.standard_normal((9, 2)), rng.standard_normal(9)),
            Affine(rng.standard_normal((2, 9)), rng.standard_normal(2)),
        )
    ),
}


def turned(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def on_grid(origin, axes, shape, diagonal, rng):
    grid = Grid(origin, axes, shape, diagonal)
    return P1Network(grid, rng.standard_normal((2, grid.num_vertices)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_claim_comes_true_where_the_file_is_run(tmp_path, name, dtype, rng):
    """At no vertex, corner of the box or random point; and margins are no larger than they need."""
    network = NETWORKS[name](rng)
    path, given = tmp_path / "claim.vnnlib", None if name != "layers" else ((-1, 2), (0, 1))
    write_vnnlib(path, network, given, dtype=dtype)
    box, lower, upper = claim(path, 2, 2)
    places = [rng.random((2, 5000)), np.indices((2, 2)).reshape(2, 4)]
    x = np.hstack([box[:, :1] + np.diff(box) * place for place in places])
    if name != "layers":
        outline = network.mesh.outline
        assert (box == np.array([outline.min(axis=1), outline.max(axis=1)]).T).all()
        x = np.hstack([x, network.mesh.refined(2).vertices()])
    x = x.clip(*box.T[:, :, None]).astype(dtype)
    to_onnx(network, tmp_path / "u.onnx", dtype=dtype)
    values = run_file(tmp_path / "u.onnx", x)
    assert (values > np.c_[lower]).all()
    assert (values < np.c_[upper]).all()
    found = bounds(in_dtype(network, dtype), box)
    margins = np.array([found.lower - lower, upper - found.upper]) / (found.upper - found.lower)
    assert (margins >= 0.99e-4).all()
    most = {"P2": 0.2, "very far": 0.2}.get(name, 0.01) if dtype == "float32" else 1.01e-4
    assert (margins <= most).all()


def test_versions_claim_the_same(tmp_path, rng):
    network = network_on("rotated", (3, 5), "left", rng, outputs=(2,))
    found = []
    for version in ("1.0", "2.0"):
        write_vnnlib(tmp_path / version, network, ((0, 1), (-1, 1)), version=version)
        found.append(claim(tmp_path / version, 2, 2))
    for one, other in zip(*found, strict=True):
        assert (one == other).all()
    with pytest.raises(ValueError, match=r'version must be "1\.0" or "2\.0", not 2'):
        write_vnnlib(tmp_path / "3", network, version=2)
    vnnlib = pytest.importorskip("vnnlib", reason="the package vnnlib is not installed")
    assert vnnlib.parse_query_file(str(tmp_path / "2.0"))


def test_property_files_of_networks_on_many_ranks(comm, rng, tmp_path):
    """Rank 0 writes what is true of the whole; errors are raised on every rank."""
    V = fem.functionspace(rectangle(comm), ("P", 1))
    network = network_from_function(random_function(V, rng), layout="blocks")
    path = tmp_path / "many.vnnlib"
    write_vnnlib(path, network, margin=0.5)
    whole = network.gather()
    if comm.rank == 0:
        _, lower, upper = claim(path, 2, 1)
        assert (lower, upper) == pytest.approx((whole.values.min() - 0.5, whole.values.max() + 0.5))
    else:
        assert not path.exists()
    for wrong in ({"margin": 0.0}, {"margin": np.nan}, {"box": ((0, 1), (1, 1))}):
        with pytest.raises(ValueError, match=r"margin must be positive|lower < upper"):
            write_vnnlib(path, network, **wrong if comm.rank == comm.size - 1 else {})
    with pytest.raises(ValueError, match="need a box"):
        write_vnnlib(path, whole.explicit())


def test_property_files_are_replaced_as_all_files(tmp_path):
    network = P1Network(Grid((0, 0), np.eye(2), (1, 1), "right"), np.arange(4.0))
    (tmp_path / "link").symlink_to("claim.vnnlib")
    write_vnnlib(tmp_path / "link", network)
    assert (tmp_path / "link").is_symlink()
    assert "declare-const" in (tmp_path / "claim.vnnlib").read_text()
    with pytest.raises(FileNotFoundError, match="no such folder to save in"):
        write_vnnlib(tmp_path / "none" / "claim.vnnlib", network)
    with pytest.raises(ValueError, match="no regular file"):
        write_vnnlib(tmp_path, network)
    assert len(list(tmp_path.iterdir())) == 2
