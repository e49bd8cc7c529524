# SPDX-License-Identifier: MIT
"""What must work with NumPy, SciPy and Numba alone: import, load, evaluate, save.

    python3 tests/bare.py            where nothing else is installed, as tests/run_bare does
    python3 tests/bare.py --blocked  anywhere: what else is installed cannot be imported
    python3 tests/bare.py --write    writes the files in tests/files that are not there yet

The files in tests/files stay as they are: whatever was saved once can be loaded for good.
"""

import importlib
import sys
import tempfile
from pathlib import Path

ABSENT = (
    "dolfinx", "mpi4py", "petsc4py", "ufl", "torch", "onnx", "onnxruntime", "matplotlib", "highspy",
)  # fmt: skip
FILES = Path(__file__).parent / "files"


class Blocked:
    """Finds no module that is to be absent."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)


def examples():
    """Networks of all kinds by file name, from numbers that are written down here."""
    import numpy as np

    from fe_relu import (
        Affine,
        Grid,
        HierarchicalNetwork,
        P1Network,
        P2Network,
        ReLUNetwork,
        Surrogate,
    )
    from fe_relu.deep import DeepNetwork

    grid = Grid((-0.25, 1), [[0.5, 0.125], [0, 0.25]], (3, 2), "left_right")
    values = np.arange(-12, 12).reshape(2, 12) / 8
    nested = Grid((-0.25, 1), [[0.5, 0.125], [0, 0.25]], (4, 2), "crossed")
    kept = ([0, 2, 6, 14, 20], np.array([[1, -0.5, 0.25, 2, -1], [0, 3, 0.125, 1, 0.5]]), (4, 1))
    layers = (
        Affine([[1, 0.5], [0, -3], [0, 0]], [0.25, 0, 1]),
        Affine(np.array([[1, 0, -2], [0.5, 4, 0]], np.float32), np.array([-1, 0], np.float32)),
    )
    return {
        "p1": P1Network(grid, values),
        "p1_scalar_float32": P1Network(grid, values[0].astype(np.float32)),
        "p2": P2Network(nested, np.arange(-77, 77).reshape(2, 77) / 8, levels=3),
        "hierarchical": HierarchicalNetwork(nested, 1, np.arange(-23, 23).reshape(2, 23) / 8),
        "surrogate": Surrogate(nested, 1, *kept, 0.5, 0.625, 1 / 3, 5.5),
        "relu": ReLUNetwork(layers),
        "deep": DeepNetwork(layers, 0.125),
    }


def values(network, x):
    return (network if callable(network) else network.to_p1())(x)


def check():
    import numpy as np

    import fe_relu

    x = np.array([[-0.25, 0.4, 0.7, 9.0], [1.0, 1.2, 1.4, 9.0]])
    for name, network in examples().items():
        known = FILES / f"{name}.safetensors"
        loaded = fe_relu.load(known)
        assert type(loaded) is type(network)
        assert values(loaded, x).tobytes() == values(network, x).tobytes()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "again.safetensors"
            for each in (network, loaded):
                fe_relu.save(each, path, names=["ü", "v"][: network.dim_out])
                assert path.read_bytes() == known.read_bytes()


def write():
    import fe_relu

    FILES.mkdir(exist_ok=True)
    for name, network in examples().items():
        path = FILES / f"{name}.safetensors"
        if not path.exists():
            fe_relu.save(network, path, names=["ü", "v"][: network.dim_out])


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
        sys.exit()
    if "--blocked" in sys.argv:
        sys.meta_path.insert(0, Blocked())
    for name in ABSENT:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        sys.exit(f"{name} is there; this is to run without it, or with --blocked")
    check()
    place = sys.modules["fe_relu"].__file__
    if "--blocked" not in sys.argv and "site-packages" not in place:
        sys.exit(f"{place} is not what pip installed")
    print("loaded, evaluated and saved with", place)
