# SPDX-License-Identifier: MIT
"""P1 finite-element functions are two-hidden-layer ReLU networks; fe_relu converts both ways."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fe_relu import deep as deep
    from fe_relu.certificate import Certificate
    from fe_relu.convert import function_from_network, network_from_function
    from fe_relu.files import FileFormatError, load, save
    from fe_relu.grid import Grid
    from fe_relu.hierarchy import HierarchicalNetwork, hierarchical_from_function
    from fe_relu.mesh_cells import NotStructuredError
    from fe_relu.meshes import grid_from_mesh
    from fe_relu.network import Affine, ReLUNetwork, concatenate
    from fe_relu.neurons import NotP1Error
    from fe_relu.onnx_ import to_onnx
    from fe_relu.onnx_reader import from_onnx
    from fe_relu.p1 import P1Network
    from fe_relu.recognise import p1_from_relu
    from fe_relu.spaces import UnsupportedFunctionError
    from fe_relu.torch_ import from_torch, to_torch
    from fe_relu.transfer import interpolation_plan

__version__ = "0.1.0"

__all__ = [
    "Affine",
    "Certificate",
    "FileFormatError",
    "Grid",
    "HierarchicalNetwork",
    "NotP1Error",
    "NotStructuredError",
    "P1Network",
    "ReLUNetwork",
    "UnsupportedFunctionError",
    "concatenate",
    "from_onnx",
    "from_torch",
    "function_from_network",
    "grid_from_mesh",
    "hierarchical_from_function",
    "interpolation_plan",
    "load",
    "network_from_function",
    "p1_from_relu",
    "save",
    "to_onnx",
    "to_torch",
]

#: The modules of public names, imported when first asked for: nobody waits for what is not used.
PLACES = {
    "Affine": "network",
    "Certificate": "certificate",
    "FileFormatError": "files",
    "Grid": "grid",
    "HierarchicalNetwork": "hierarchy",
    "NotP1Error": "neurons",
    "NotStructuredError": "mesh_cells",
    "P1Network": "p1",
    "ReLUNetwork": "network",
    "UnsupportedFunctionError": "spaces",
    "concatenate": "network",
    "from_onnx": "onnx_reader",
    "from_torch": "torch_",
    "function_from_network": "convert",
    "grid_from_mesh": "meshes",
    "hierarchical_from_function": "hierarchy",
    "interpolation_plan": "transfer",
    "load": "files",
    "network_from_function": "convert",
    "p1_from_relu": "recognise",
    "save": "files",
    "to_onnx": "onnx_",
    "to_torch": "torch_",
}


def __getattr__(name: str) -> Any:
    """A public name, or a module of the package."""
    if name in PLACES:
        return getattr(importlib.import_module(f"fe_relu.{PLACES[name]}"), name)
    try:
        return importlib.import_module(f"fe_relu.{name}")
    except ModuleNotFoundError as missing:
        if missing.name != f"fe_relu.{name}":
            raise
        raise AttributeError(f"module 'fe_relu' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *PLACES})
