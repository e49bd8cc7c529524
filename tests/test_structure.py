# SPDX-License-Identifier: MIT
"""Packages import downward, and third parties, ranks and messages stay where they belong."""

import ast
import sys
from pathlib import Path

import pytest

import fe_relu

ROOT = Path(fe_relu.__file__).parent

#: Packages, and modules at the top, floor by floor: each imports from itself and from floors below.
FLOORS = [
    {"basics"},
    {"layers", "parallel"},
    {"meshes"},
    {"networks"},
    {"cpwl", "hierarchy"},
    {"regions"},
    {"analysis"},
    {"fenicsx", "formats", "sizes"},
    {"deep", "fitting", "plot"},
    {"cli"},
    {"__init__", "__main__"},
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}

#: No package has more modules than one can hold in mind.
MOST_MODULES = 12

#: Where a third party may be imported, besides NumPy and SciPy.
PLACES = {
    "adios2": "fenicsx",
    "adios4dolfinx": "fenicsx",
    "basix": "fenicsx",
    "dolfinx": "fenicsx",
    "io4dolfinx": "fenicsx",
    "llvmlite": "basics",
    "matplotlib": "plot cli",
    "mpi4py": "parallel fenicsx",
    "numba": "basics",
    "onnx": "formats",
    "petsc4py": "fenicsx fitting",
    "safetensors": "formats",
    "torch": "formats",
    "tqdm": "cli",
    "ufl": "fenicsx",
}

#: What only `parallel` does with a communicator.
MESSAGES = {
    "allgather", "allreduce", "barrier", "bcast", "gather", "recv", "reduce", "scatter", "send",
    "Allgather", "Allgatherv", "Allreduce", "Barrier", "Bcast", "Gather", "Gatherv", "Iallreduce",
    "Ibarrier", "Improbe", "Irecv", "Isend", "Issend", "Recv", "Send", "Dup", "Split", "Abort",
}  # fmt: skip

MODULES = sorted(path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py"))


def tree(module):
    """The module without what is for type checkers only."""
    parsed = ast.parse((ROOT / module).with_suffix(".py").read_text())
    for node in ast.walk(parsed):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return parsed


def imported(module):
    """The dotted names of what a module imports when it runs, also inside functions."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_modules(names):
    """The modules of this package among dotted names, or what their names lead to."""
    for name in names:
        parts = name.split(".")[1:] if name.startswith("fe_relu.") else []
        for length in range(len(parts), 0, -1):
            module = Path(*parts[:length])
            if module in MODULES or module / "__init__" in MODULES:
                yield module if module in MODULES else module / "__init__"
                break


def package(module):
    return module.parts[0]


def test_public_names_come_from_where_type_checkers_see_them():
    parsed = ast.parse((ROOT / "__init__.py").read_text())
    (seen,) = (node.body for node in parsed.body if isinstance(node, ast.If))
    homes = {alias.name: node.module for node in seen for alias in node.names}
    assert {name for name, home in homes.items() if home == "fe_relu"} == {"cpwl", "deep", "plot"}
    assert homes.keys() == {*fe_relu.__all__, "cpwl", "deep", "plot"}
    for name in fe_relu.__all__:
        assert getattr(fe_relu, name).__module__ == homes[name]
    with pytest.raises(AttributeError, match="no attribute 'networks_of_functions'"):
        fe_relu.networks_of_functions  # noqa: B018


def test_every_package_has_its_floor():
    assert {package(module) for module in MODULES} == FLOOR.keys()


def test_imports_point_downward():
    for module in MODULES:
        floor = FLOOR[package(module)]
        for other in own_modules(imported(module)):
            assert package(other) == package(module) or FLOOR[package(other)] < floor, (
                module,
                other,
            )


def test_no_imports_go_in_a_circle():
    below = {module: set(own_modules(imported(module))) - {module} for module in MODULES}
    while free := [module for module, others in below.items() if not others & below.keys()]:
        for module in free:
            del below[module]
    assert not below


def test_packages_are_small():
    for folder in {module.parent for module in MODULES}:
        inside = [m for m in MODULES if m.parent == folder and m.name != "__init__"]
        assert len(inside) <= MOST_MODULES, folder


def test_third_parties_stay_in_their_place():
    for module in MODULES:
        others = {name.split(".")[0] for name in imported(module)}
        others -= {"fe_relu", "numpy", "scipy", "__future__"} | set(sys.stdlib_module_names)
        assert {o for o in others if package(module) not in PLACES.get(o, "").split()} == set(), (
            module
        )


def test_only_parallel_sends_messages_and_asks_whether_there_are_ranks():
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if package(module) == "parallel" or not isinstance(node, ast.Compare | ast.Attribute):
                continue
            assert ast.unparse(node) not in ("comm is None", "comm is not None"), module
            if isinstance(node, ast.Attribute) and node.attr in MESSAGES:
                assert "comm" not in ast.unparse(node.value).split("."), (module, node.attr)


def test_no_module_but_compat_asks_what_attributes_a_thing_has():
    for module in MODULES:
        calls = (node for node in ast.walk(tree(module)) if isinstance(node, ast.Call))
        names = {ast.unparse(call.func) for call in calls}
        assert "hasattr" not in names or module == Path("fenicsx/compat"), module
