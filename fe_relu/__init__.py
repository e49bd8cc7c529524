# SPDX-License-Identifier: MIT
"""P1 finite-element functions are two-hidden-layer ReLU networks; fe_relu converts both ways."""

from fe_relu import deep as deep
from fe_relu import plot as plot
from fe_relu.certificate import Certificate
from fe_relu.convert import function_from_network, network_from_function
from fe_relu.files import FileFormatError, load, save
from fe_relu.grid import Grid
from fe_relu.hierarchy import HierarchicalNetwork, hierarchical_from_function
from fe_relu.intervals import NetworkBounds
from fe_relu.meshes import NotStructuredError, grid_from_mesh
from fe_relu.network import Affine, ReLUNetwork, concatenate
from fe_relu.neurons import NotP1Error
from fe_relu.onnx_ import to_onnx
from fe_relu.onnx_reader import from_onnx
from fe_relu.p1 import P1Network
from fe_relu.p2 import P2Network
from fe_relu.recognise import p1_from_relu
from fe_relu.spaces import UnsupportedFunctionError
from fe_relu.torch_ import from_torch, to_torch
from fe_relu.transfer import interpolation_plan
from fe_relu.vnnlib import write_vnnlib

__version__ = "0.1.0"

__all__ = [
    "Affine",
    "Certificate",
    "FileFormatError",
    "Grid",
    "HierarchicalNetwork",
    "NetworkBounds",
    "NotP1Error",
    "NotStructuredError",
    "P1Network",
    "P2Network",
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
    "write_vnnlib",
]
