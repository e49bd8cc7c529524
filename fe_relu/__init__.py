# SPDX-License-Identifier: MIT
"""P1 finite-element functions are two-hidden-layer ReLU networks; fe_relu converts both ways."""

from fe_relu import deep as deep
from fe_relu import plot as plot
from fe_relu.analysis.bounds import bounds
from fe_relu.analysis.certificate import Certificate
from fe_relu.analysis.intervals import NetworkBounds
from fe_relu.analysis.neurons import NotP1Error
from fe_relu.analysis.weights import p1_from_relu
from fe_relu.fenicsx.conversion import (
    Conversion,
    hierarchical_from_function,
    network_from_function,
)
from fe_relu.fenicsx.interpolation import function_from_network, interpolation_plan
from fe_relu.fenicsx.meshes import grid_from_mesh
from fe_relu.fenicsx.spaces import UnsupportedFunctionError
from fe_relu.formats.files import FileFormatError, load, save
from fe_relu.formats.onnx import to_onnx
from fe_relu.formats.onnx_reader import from_onnx
from fe_relu.formats.torch import from_torch, to_torch
from fe_relu.formats.vnnlib import write_vnnlib
from fe_relu.hierarchy.basis import HierarchicalNetwork
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.layers.network import Affine, ReLUNetwork, concatenate
from fe_relu.meshes.grid.grid import Grid
from fe_relu.meshes.recognition.recognise import NotStructuredError
from fe_relu.networks.p1 import P1Network
from fe_relu.networks.p2 import P2Network

__version__ = "0.1.0"

__all__ = [
    "Affine",
    "Certificate",
    "Conversion",
    "FileFormatError",
    "Grid",
    "HierarchicalNetwork",
    "NetworkBounds",
    "NotP1Error",
    "NotStructuredError",
    "P1Network",
    "P2Network",
    "ReLUNetwork",
    "Surrogate",
    "UnsupportedFunctionError",
    "bounds",
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
    "write_vnnlib",
]
