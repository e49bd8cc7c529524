# SPDX-License-Identifier: MIT
"""Refusals that name a way on: what to install, and which other form of a network would do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: What to type for a package that only some functions need, by the name to import.
INSTALLS = {
    "adios4dolfinx": "pip install adios4dolfinx, or on Debian apt install python3-adios4dolfinx",
    "dolfinx": "conda install -c conda-forge fenics-dolfinx, or on Debian apt install "
    "python3-dolfinx",
    "matplotlib": "pip install matplotlib, or on Debian apt install python3-matplotlib",
    "mpi4py": "pip install mpi4py, or on Debian apt install python3-mpi4py",
    "onnx": "pip install onnx, or on Debian apt install python3-onnx",
    "torch": "pip install torch, or on Debian apt install python3-torch",
}

#: By a method that networks may have, what it makes of them.
FORMS = {
    "to_p1": "to_p1() is a P1Network with the same values on the mesh",
    "explicit": "explicit() is a ReLUNetwork, the same everywhere",
    "compress": "compress(tol=…) is a Surrogate near it",
}


@contextmanager
def needed(name: str, what: str) -> Iterator[None]:
    """Imports that `what` needs.

    Raises:
        ImportError: The package is not installed; the message says what to install.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != name:
            raise
        raise not_installed(name, what) from missing


def not_installed(name: str, what: str) -> ImportError:
    """The error that says what to install for something that needs it."""
    return ImportError(f"{what} needs {name}: {INSTALLS[name]}")


def wrong_kind(network: Any, taken: str, *forms: str) -> TypeError:
    """The error that names what is taken, and which of `FORMS` the network has among these.

    Networks say in `other_forms` which they have.
    """
    known = getattr(type(network), "other_forms", ())
    ways = [FORMS[form] for form in forms if form in known]
    remedy = f"; its {', its '.join(ways)}" if ways else ""
    return TypeError(f"{type(network).__name__} is not {taken}{remedy}")
