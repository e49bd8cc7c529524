# SPDX-License-Identifier: MIT
"""Modules import in one direction, and third parties stay where they belong."""

import ast
import sys
from pathlib import Path

import pytest

import fe_relu

PACKAGE = Path(fe_relu.__file__).parent

#: Each module imports only from those before it.
ORDER = [
    "points", "remedies", "intervals", "network", "bubbles", "schemes", "polynomials", "deep",
    "grid", "hats", "blocks", "compiled", "kernels", "ownership", "threads", "tables", "parallel",
    "exchange", "redistribute", "routing", "overlay", "bounds", "fields", "p1", "quadratic",
    "p2_layers", "p2_kernels", "p2", "triangles", "surplus", "nesting", "levelsum", "surrogate",
    "certificate", "compat", "spaces", "mesh_cells", "lattices", "meshes", "nodal", "convert",
    "transfer", "vnnlib", "neurons", "hat_lattices", "recognise", "seminorm", "ranking",
    "hierarchical", "hierarchy", "safetensors", "stored", "stored_grid", "stored_layers", "kinds",
    "replacing", "files", "optional", "active", "active_p2", "pieces", "chain", "onnx_graph",
    "onnx_", "onnx_reader", "torch_modules", "torch_", "__init__",
]  # fmt: skip

#: The only modules that may import a third party, besides NumPy and SciPy.
PLACES = {
    "numba": {"compiled"},
    "mpi4py": {"exchange", "parallel"},
    "onnx": {"onnx_", "onnx_graph", "onnx_reader"},
    "torch": {"torch_", "torch_modules"},
    "dolfinx": {"compat", "convert", "spaces", "transfer"},
}


def imported(module):
    """Names of the modules that a file imports when it runs; those for type checkers are not."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_its_place():
    assert sorted(ORDER) == sorted(path.stem for path in PACKAGE.glob("*.py"))


@pytest.mark.parametrize("module", ORDER)
def test_imports_point_backward(module):
    own = {name.split(".")[1] for name in imported(module) if name.startswith("fe_relu.")}
    assert own & set(ORDER) <= set(ORDER[: ORDER.index(module)])


@pytest.mark.parametrize("module", ORDER)
def test_third_parties_stay_in_their_place(module):
    others = {name.split(".")[0] for name in imported(module)}
    others -= {"fe_relu", "numpy", "scipy", "__future__"} | set(sys.stdlib_module_names)
    assert others <= {name for name, places in PLACES.items() if module in places}
