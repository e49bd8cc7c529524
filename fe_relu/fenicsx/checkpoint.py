# SPDX-License-Identifier: MIT
"""Functions in checkpoints that adios4dolfinx or io4dolfinx wrote, as networks."""

from __future__ import annotations

import importlib
import math
import os
from importlib.util import find_spec

import numpy as np

from fe_relu.basics.refusals import needed
from fe_relu.fenicsx.conversion import network_from_function
from fe_relu.networks.p1 import P1Network

#: ADIOS2's names of the types of numbers.
DTYPES = {"float": np.float32, "double": np.float64}

#: What stands for the mesh among the names of functions.
MESH = ""

#: How far a time is off that is meant all the same: sums of thousands of steps are off by less.
ROUNDOFF = 1e-12


def network_from_checkpoint(
    path: str, *, name: str | None = None, time: float | None = None
) -> P1Network:
    """The network of a P1 function in a checkpoint, read by this process alone.

    Args:
        path: The folder, with suffix .bp.
        name: Which function; needed if there are several.
        time: When; needed if the function was written at several times. The mesh is that of this
            time too, if it was written at several.

    Raises:
        ImportError: dolfinx, or both packages that read checkpoints, are not installed.
        ValueError: There is no such function, at no such time, or it is not P1 and real; or as for
            `network_from_function`.
        OSError: There is no such folder.
    """
    if not os.path.isdir(path):
        raise FileNotFoundError(f"{path}: no such folder; a checkpoint is a folder")
    with needed("dolfinx", "reading a checkpoint"):
        from dolfinx import fem
    from mpi4py import MPI

    package = "io4dolfinx" if find_spec("io4dolfinx") else "adios4dolfinx"
    with needed("adios4dolfinx", "reading a checkpoint"):
        reader = importlib.import_module(package)  # before adios2, of which it chooses a build
    variables, times = _contents(path)
    name = _chosen_name(path, times.keys() - {MESH}, name)
    dtype, blocks = _numbers(path, variables, name)
    time = _chosen_time(f"{path}: holds {name}", times[name], time)
    moves = len(times[MESH]) > 1
    mesh_time = _chosen_time(f"{path}: holds the mesh", times[MESH], time if moves else None)
    try:
        mesh = reader.read_mesh(path, MPI.COMM_SELF, time=mesh_time)
        V = fem.functionspace(mesh, ("Lagrange", 1) if blocks == 1 else ("Lagrange", 1, (blocks,)))
        u = fem.Function(V, dtype=dtype)
        reader.read_function(path, u, time=time, name=name)
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"{path}: {package} cannot read it: {error}; it reads what its default engine wrote"
        ) from error
    network = network_from_function(u)
    assert isinstance(network, P1Network)
    return network


def _contents(path: str) -> tuple[dict[str, dict[str, str]], dict[str, list[float]]]:
    """What a checkpoint holds, as ADIOS2 describes it; when mesh and functions were written."""
    adios2 = importlib.import_module("adios2")
    try:
        with adios2.FileReader(path) as file:
            variables = file.available_variables()
            names = [v.removesuffix("_values") for v in variables if v.endswith("_values")]
            stamps = {MESH: "MeshTime"} | {name: f"{name}_time" for name in names}
            steps = {v: int(variables[v]["AvailableStepsCount"]) for v in variables}
            times = {
                name: file.read(stamp, step_selection=[0, steps[stamp]]).tolist()
                for name, stamp in stamps.items()
                if stamp in variables
            }
    except RuntimeError as error:
        raise ValueError(f"{path}: no checkpoint that ADIOS2 reads: {error}") from error
    if MESH not in times:
        raise ValueError(f"{path}: holds no mesh")
    return variables, times


def _chosen_name(path: str, names: set[str], name: str | None) -> str:
    known = ", ".join(sorted(names))
    if not names:
        raise ValueError(f"{path}: holds no function")
    if name is None and len(names) > 1:
        raise ValueError(f"{path}: holds {known}; --name says which")
    if name is not None and name not in names:
        raise ValueError(f"{path}: holds no function {name!r}, but {known}")
    return min(names) if name is None else name


def _chosen_time(what: str, times: list[float], time: float | None) -> float:
    """The time that nothing but roundoff separates from the one that is asked for, if any is."""
    nearest = sorted(set(times), key=lambda t: abs(t - (time or 0)))
    known = ", ".join(map(str, sorted(nearest[:8]))) + (", …" if len(nearest) > 8 else "")
    if time is None and len(nearest) > 1:
        raise ValueError(f"{what} at the times {known}; --time says which")
    if time is not None and not math.isclose(nearest[0], time, rel_tol=ROUNDOFF):
        raise ValueError(f"{what} at no time {time}, but at {known}")
    if times.count(nearest[0]) > 1:
        raise ValueError(f"{what} more than once at time {nearest[0]}; which, nothing can say")
    return nearest[0]


def _numbers(path: str, variables: dict[str, dict[str, str]], name: str) -> tuple[type, int]:
    """The type of a function's numbers and how many it has at each vertex."""
    parts = ("Points", f"{name}_values", f"{name}_dofmap", f"{name}_XDofmap")
    try:
        kind = variables[f"{name}_values"]["Type"]
        counts = (int(variables[part]["Shape"].split(",")[0]) for part in parts)
        vertices, numbers, in_cells, ends = counts
    except (KeyError, ValueError) as missing:
        raise ValueError(f"{path}: holds {name} in a form that is not known here") from missing
    if kind not in DTYPES:
        raise ValueError(f"{path}: {name} is of type {kind}; networks are real")
    cells, blocks = ends - 1, max(1, numbers // vertices)
    if numbers != blocks * vertices or in_cells != 3 * blocks * cells:
        raise ValueError(
            f"{path}: {name} has {numbers} numbers for {vertices} vertices and {cells} cells, so "
            "it is not P1 on triangles; interpolate it into a P1 space first"
        )
    return DTYPES[kind], blocks
