# SPDX-License-Identifier: MIT
"""Programs that others wrote find in our files what we say is in them; see `tests/run_readers`."""

import sys
import warnings
from types import ModuleType

import numpy as np
import pytest
import torch
from test_simplices import mesh_of

import fe_relu
from fe_relu import Grid, P1Network, P2Network, to_onnx
from fe_relu.meshes.quadrilaterals.lattice import QuadrilateralGrid

torch.set_num_threads(1)


def reader(name):
    """A package, or the reason why it is not tried here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        return pytest.importorskip(name, reason=f"no {name} here; tests/run_readers installs it")


def on_grid(rng, shape=(3, 2), diagonal="left_right", **options):
    grid = Grid((0.2, -1), [[0.4, 0.1], [-0.1, 0.5]], shape, diagonal)
    return P1Network(grid, rng.standard_normal(grid.num_vertices), **options)


def on_simplices(name, rng):
    found = mesh_of(name)
    return P1Network(found, rng.standard_normal((2, found.num_vertices)))


def quadratic(name, rng):
    found = mesh_of(name)
    return P2Network(found, rng.standard_normal(found.nodes.num_vertices), levels=4)


def bilinear(rng):
    grid = QuadrilateralGrid((0, 0), [[0.5, 0.1], [0, 0.4]], (3, 4))
    return fe_relu.Q1Network(grid, rng.standard_normal(grid.num_vertices))


#: Networks, and the forms that they have.
NETWORKS = {
    "grid": (on_grid, ("relu", "active")),
    "crossed": (lambda rng: on_grid(rng, diagonal="crossed"), ("relu", "active")),
    "intervals": (lambda rng: on_simplices("interval", rng), ("relu", "active")),
    "triangles": (lambda rng: on_simplices("holes", rng), ("relu", "active")),
    "tetrahedra": (lambda rng: on_simplices("tetrahedra", rng), ("active",)),
    "graded": (lambda rng: on_simplices("graded", rng), ("active",)),
    "P2 on triangles": (lambda rng: quadratic("triangles", rng), ("relu", "active")),
    "P2 on tetrahedra": (lambda rng: quadratic("tetrahedra", rng), ("active",)),
    "Q1": (bilinear, ("active",)),
}


@pytest.fixture
def onnx2torch(monkeypatch):
    """It asks for torchvision, of whose operators our files have none."""
    operators = ModuleType("torchvision.ops")
    operators.__getattr__ = lambda name: None
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.ops", operators)
    return reader("onnx2torch")


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx2torch_computes_the_network(onnx2torch, tmp_path, rng, name):
    make, forms = NETWORKS[name]
    network = make(rng)
    vertices = network.mesh.vertices()
    low, high = vertices.min(axis=1, keepdims=True), vertices.max(axis=1, keepdims=True)
    x = np.hstack([vertices, low + (high - low) * rng.uniform(-0.5, 1.5, (len(low), 300))])
    for form in forms:
        path = tmp_path / f"{form}.onnx"
        to_onnx(network, path, form=form)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = onnx2torch.convert(str(path))
            found = module(torch.from_numpy(x.T.copy())).detach().numpy().T
        off = np.abs(found - np.atleast_2d(network(x))).max(axis=0)
        if network.mesh.dim == 3:  # on the boundary, where the function ends, roundoff decides
            off = off[vertices.shape[1] :]
        assert off.max() <= 1e-9 * network.size


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_omlt_and_highs_find_the_extreme_values(tmp_path, rng, dtype):
    """As mixed-integer programs, with our bounds of every neuron."""
    pyo, omlt, formats = (reader(name) for name in ("pyomo.environ", "omlt", "omlt.io"))
    import onnx
    from omlt.neuralnet import ReluBigMFormulation

    network = on_grid(rng)
    bounds = fe_relu.bounds(network, ((0, 1), (-1, 0)))
    to_onnx(network, tmp_path / "u.onnx", dtype=dtype, bounds=bounds)
    box = [tuple(side) for side in bounds.box.tolist()]
    layers = formats.load_onnx_neural_network(onnx.load(tmp_path / "u.onnx"), input_bounds=box)
    for sense, expected in ((pyo.minimize, bounds.lower), (pyo.maximize, bounds.upper)):
        model = pyo.ConcreteModel()
        model.network = omlt.OmltBlock()
        model.network.build_formulation(ReluBigMFormulation(layers))
        model.value = pyo.Objective(expr=model.network.outputs[0], sense=sense)
        pyo.SolverFactory("appsi_highs").solve(model)
        assert pyo.value(model.value) == pytest.approx(expected[0], abs=1e-5)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_scip_finds_the_extreme_values(tmp_path, rng):
    pyscipopt, readers = reader("pyscipopt"), reader("pyscipopt_ml")
    import onnx

    network = on_grid(rng)
    to_onnx(network, tmp_path / "u.onnx")
    bounds = fe_relu.bounds(network, ((0, 1), (-1, 0)))
    for sense, expected in (("minimize", bounds.lower), ("maximize", bounds.upper)):
        model = pyscipopt.Model()
        model.hideOutput()
        sides = bounds.box.tolist()
        inputs = np.array([[model.addVar(lb=low, ub=high) for low, high in sides]])
        output = np.array([[model.addVar(lb=None)]])
        readers.add_predictor_constr(model, onnx.load(tmp_path / "u.onnx"), inputs, output)
        model.setObjective(output[0, 0], sense)
        model.optimize()
        assert model.getObjVal() == pytest.approx(expected[0], abs=1e-5)
