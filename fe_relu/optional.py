# SPDX-License-Identifier: MIT
"""Third parties that only some functions need, and what to install where they are missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

#: The name to import, that of the package in PyPI, and that in Debian.
PACKAGES = {
    "adios4dolfinx": ("adios4dolfinx", "python3-adios4dolfinx"),
    "matplotlib": ("matplotlib", "python3-matplotlib"),
    "mpi4py": ("mpi4py", "python3-mpi4py"),
    "onnx": ("onnx", "python3-onnx"),
    "torch": ("torch", "python3-torch"),
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
        pip, debian = PACKAGES[name]
        raise ImportError(
            f"{what} needs {name}: pip install {pip}, or on Debian apt install {debian}"
        ) from missing
