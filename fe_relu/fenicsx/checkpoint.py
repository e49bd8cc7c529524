# SPDX-License-Identifier: MIT
"""Functions in checkpoints that adios4dolfinx or io4dolfinx wrote, as networks."""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fe_relu.basics.refusals import needed
from fe_relu.fenicsx.conversion import network_from_function
from fe_relu.networks.p1 import P1Network

if TYPE_CHECKING:
    from mpi4py import MPI

#: ADIOS2's names of the types of numbers.
DTYPES = {"float": np.float32, "double": np.float64}


def network_from_checkpoint(
    path: str, *, name: str | None = None, time: float | None = None
) -> P1Network:
    """The network of a P1 function in a checkpoint, read by this process alone.

    Args:
        path: The folder, with suffix .bp.
        name: Which function; needed if there are several.
        time: When; needed if the function was written at several times.

    Raises:
        ImportError: dolfinx, or both packages that read checkpoints, are not installed.
        ValueError: There is no such function, at no such time, or it is not P1 and real; or as for
            `network_from_function`.
        OSError: There is no such folder.
    """
    if not os.path.isdir(path):
        raise FileNotFoundError(f"{path}: no such folder; a checkpoint is a folder")
    reader, comm_self = _reader()
    from dolfinx import fem

    variables = _variables(path)
    name = _chosen_name(path, variables, name)
    dtype, blocks = _numbers(path, variables, name)
    engine = _engine(path)
    times = reader.read_timestamps(path, comm_self, name, **engine)
    time = _chosen_time(path, name, [float(t) for t in times], time)
    mesh = reader.read_mesh(path, comm_self, **engine)
    V = fem.functionspace(mesh, ("Lagrange", 1) if blocks == 1 else ("Lagrange", 1, (blocks,)))
    u = fem.Function(V, dtype=dtype)
    reader.read_function(path, u, time=time, name=name, **engine)
    network = network_from_function(u)
    assert isinstance(network, P1Network)
    return network


def _reader() -> tuple[Any, MPI.Comm]:
    """The package that reads checkpoints, and the communicator of this process alone."""
    try:
        from mpi4py import MPI

        import dolfinx  # noqa: F401
    except ModuleNotFoundError as missing:
        raise ImportError(
            "reading a checkpoint needs dolfinx: conda install -c conda-forge fenics-dolfinx, "
            "or on Debian apt install python3-dolfinx"
        ) from missing
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.import_module("io4dolfinx"), MPI.COMM_SELF
    with needed("adios4dolfinx", "reading a checkpoint"):
        return importlib.import_module("adios4dolfinx"), MPI.COMM_SELF


def _engine(path: str) -> dict[str, str]:
    """The option for files of ADIOS2's newer format; readers expect the older one."""
    return {"engine": "BP5"} if (Path(path) / "mmd.0").exists() else {}


def _variables(path: str) -> dict[str, dict[str, str]]:
    """What the checkpoint holds, as ADIOS2 describes it."""
    adios2 = importlib.import_module("adios2")
    try:
        with adios2.FileReader(path) as file:
            return file.available_variables()
    except RuntimeError as error:
        raise ValueError(f"{path}: no checkpoint that ADIOS2 reads: {error}") from error


def _chosen_name(path: str, variables: dict[str, Any], name: str | None) -> str:
    names = sorted(
        v.removesuffix("_values")
        for v in variables
        if v.endswith("_values") and v.removesuffix("_values") + "_time" in variables
    )
    if not names:
        raise ValueError(f"{path}: holds no function")
    if name is None and len(names) > 1:
        raise ValueError(f"{path}: holds {', '.join(names)}; --name says which")
    if name is not None and name not in names:
        raise ValueError(f"{path}: holds no function {name!r}, but {', '.join(names)}")
    return names[0] if name is None else name


def _chosen_time(path: str, name: str, times: list[float], time: float | None) -> float:
    known = ", ".join(f"{t:g}" for t in times[:8]) + (", …" if len(times) > 8 else "")
    if time is None and len(set(times)) > 1:
        raise ValueError(f"{path}: holds {name} at the times {known}; --time says which")
    if time is not None and not np.isclose(times, time).any():
        raise ValueError(f"{path}: holds {name} at no time {time:g}, but at {known}")
    return times[0] if time is None else times[int(np.abs(np.array(times) - time).argmin())]


def _numbers(path: str, variables: dict[str, Any], name: str) -> tuple[type, int]:
    """The type of a function's numbers and how many it has at each vertex."""

    def count(variable: str) -> int:
        return int(variables[variable]["Shape"].split(",")[0])

    try:
        kind = variables[f"{name}_values"]["Type"]
        numbers, vertices = count(f"{name}_values"), count("Points")
        in_cells, cells = count(f"{name}_dofmap"), count(f"{name}_XDofmap") - 1
    except (KeyError, ValueError) as missing:
        raise ValueError(f"{path}: holds {name} in a form that is not known here") from missing
    if kind not in DTYPES:
        raise ValueError(f"{path}: {name} is of type {kind}; networks are real")
    blocks = max(1, numbers // vertices)
    if numbers != blocks * vertices or in_cells != 3 * blocks * cells:
        raise ValueError(
            f"{path}: {name} has {numbers} numbers for {vertices} vertices and {cells} cells, so "
            "it is not P1 on triangles; interpolate it into a P1 space first"
        )
    return DTYPES[kind], blocks
