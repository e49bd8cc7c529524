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
    "grid", "hats", "blocks", "compiled", "kernels", "ownership", "threads", "tables",
    "parallel", "exchange", "redistribute", "routing", "overlay", "bounds", "fields", "p1",
    "quadratic", "p2_layers", "p2_kernels", "p2", "triangles", "surplus", "nesting", "levelsum",
    "surrogate", "patches", "certificate", "compat", "spaces", "mesh_cells", "lattices",
    "meshes", "nodal", "convert", "transfer", "safetensors", "stored", "seminorm", "ranking",
    "aims", "hierarchical", "hierarchy", "stored_grid", "stored_layers", "kinds", "replacing",
    "files", "vnnlib", "neurons", "hat_lattices", "recognise", "optional", "active",
    "active_p2", "pieces", "chain", "onnx_graph", "onnx_", "onnx_reader", "torch_modules",
    "torch_", "cli.npz", "cli.checkpoint", "cli.network_files", "cli.summary", "segments",
    "plot", "cli.picture", "cli.value_files", "cli.npy_points", "cli.text_points",
    "cli.streaming", "cli.commands", "cli.launched", "cli.arguments", "cli.main", "__init__",
    "__main__", "cli.__init__",
]  # fmt: skip

#: The only modules that may import a third party, besides NumPy and SciPy.
PLACES = {
    "numba": {"compiled"},
    "matplotlib": {"cli.picture", "plot"},
    "mpi4py": {"cli.checkpoint", "exchange", "cli.launched", "parallel"},
    "onnx": {"onnx_", "onnx_graph", "onnx_reader"},
    "torch": {"torch_", "torch_modules"},
    "tqdm": {"cli.streaming"},
    "dolfinx": {"cli.checkpoint", "compat", "convert", "spaces", "transfer"},
}


def imported(module):
    """Names of the modules that a file imports when it runs; those for type checkers are not."""
    tree = ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules_in(names):
    """The modules of this package that dotted names lead to."""
    for name in names:
        parts = name.split(".")[1:] if name.startswith("fe_relu.") else []
        yield from {".".join(parts[:k]) for k in range(1, len(parts) + 1)} & set(ORDER)


def test_every_module_has_its_place():
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    assert sorted(ORDER) == sorted(".".join(path.parts) for path in paths)


@pytest.mark.parametrize("module", ORDER)
def test_imports_point_backward(module):
    assert set(modules_in(imported(module))) <= set(ORDER[: ORDER.index(module)])


@pytest.mark.parametrize("module", ORDER)
def test_third_parties_stay_in_their_place(module):
    others = {name.split(".")[0] for name in imported(module)}
    others -= {"fe_relu", "numpy", "scipy", "__future__"} | set(sys.stdlib_module_names)
    assert others <= {name for name, places in PLACES.items() if module in places}
