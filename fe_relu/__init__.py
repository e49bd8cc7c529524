# SPDX-License-Identifier: MIT
"""P1 finite-element functions are two-hidden-layer ReLU networks; fe_relu converts both ways."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fe_relu import cpwl as cpwl
    from fe_relu import deep as deep
    from fe_relu import plot as plot
    from fe_relu.analysis.bounds import bounds
    from fe_relu.analysis.certificate import Certificate
    from fe_relu.analysis.intervals import NetworkBounds
    from fe_relu.analysis.neurons import NotP1Error
    from fe_relu.analysis.weights import p1_from_relu
    from fe_relu.fenicsx.classifier import Classifier, classifier_from_meshtags
    from fe_relu.fenicsx.conversion import (
        Conversion,
        hierarchical_from_function,
        network_from_function,
    )
    from fe_relu.fenicsx.interpolation import function_from_network, interpolation_plan
    from fe_relu.fenicsx.meshes import grid_from_mesh
    from fe_relu.fenicsx.refinement import ExactCertificate, project
    from fe_relu.fenicsx.regions import mesh_from_network
    from fe_relu.fenicsx.spaces import UnsupportedFunctionError
    from fe_relu.fenicsx.supports import support_error
    from fe_relu.fitting.matrix import MatrixFacts, interpolation_matrix, matrix_facts
    from fe_relu.fitting.output import fit_output
    from fe_relu.formats.files import FileFormatError, load, save
    from fe_relu.formats.onnx import to_onnx
    from fe_relu.formats.onnx_reader import from_onnx
    from fe_relu.formats.torch import from_torch, to_torch
    from fe_relu.formats.vnnlib import write_vnnlib
    from fe_relu.hierarchy.basis import HierarchicalNetwork
    from fe_relu.hierarchy.surrogate import Surrogate
    from fe_relu.layers.affine import Affine
    from fe_relu.layers.network import PoolingNetwork, ReLUNetwork, concatenate
    from fe_relu.layers.pooling import Pooling
    from fe_relu.meshes.grid.grid import Grid
    from fe_relu.meshes.recognition.recognise import NotStructuredError
    from fe_relu.networks.p1 import P1Network
    from fe_relu.networks.p2 import P2Network
    from fe_relu.networks.q1 import Q1Network
    from fe_relu.regions.contours import contours
    from fe_relu.regions.functionals import argmax, argmin, integral, norm
    from fe_relu.regions.regions import LinearRegions, linear_regions
    from fe_relu.regions.supports.hausdorff import SupportError
    from fe_relu.regions.supports.support import Support, support
    from fe_relu.sizes.activations import ActivationStatistics, activation_statistics
    from fe_relu.sizes.report import SizeReport, size_report
    from fe_relu.sizes.simplify import simplify

__version__ = "0.1.0"

__all__ = [
    "ActivationStatistics",
    "Affine",
    "Certificate",
    "Classifier",
    "Conversion",
    "ExactCertificate",
    "FileFormatError",
    "Grid",
    "HierarchicalNetwork",
    "LinearRegions",
    "MatrixFacts",
    "NetworkBounds",
    "NotP1Error",
    "NotStructuredError",
    "P1Network",
    "P2Network",
    "Pooling",
    "PoolingNetwork",
    "Q1Network",
    "ReLUNetwork",
    "SizeReport",
    "Support",
    "SupportError",
    "Surrogate",
    "UnsupportedFunctionError",
    "activation_statistics",
    "argmax",
    "argmin",
    "bounds",
    "classifier_from_meshtags",
    "concatenate",
    "contours",
    "fit_output",
    "from_onnx",
    "from_torch",
    "function_from_network",
    "grid_from_mesh",
    "hierarchical_from_function",
    "integral",
    "interpolation_matrix",
    "interpolation_plan",
    "linear_regions",
    "load",
    "matrix_facts",
    "mesh_from_network",
    "network_from_function",
    "norm",
    "p1_from_relu",
    "project",
    "save",
    "simplify",
    "size_report",
    "support",
    "support_error",
    "to_onnx",
    "to_torch",
    "write_vnnlib",
]

#: The module of each public name. It is imported when the name is first asked for, so that the
#: command line starts at once.
_HOMES = {
    "bounds": "analysis.bounds",
    "Certificate": "analysis.certificate",
    "NetworkBounds": "analysis.intervals",
    "NotP1Error": "analysis.neurons",
    "p1_from_relu": "analysis.weights",
    "Conversion": "fenicsx.conversion",
    "hierarchical_from_function": "fenicsx.conversion",
    "network_from_function": "fenicsx.conversion",
    "function_from_network": "fenicsx.interpolation",
    "interpolation_plan": "fenicsx.interpolation",
    "grid_from_mesh": "fenicsx.meshes",
    "mesh_from_network": "fenicsx.regions",
    "ExactCertificate": "fenicsx.refinement",
    "project": "fenicsx.refinement",
    "UnsupportedFunctionError": "fenicsx.spaces",
    "Classifier": "fenicsx.classifier",
    "classifier_from_meshtags": "fenicsx.classifier",
    "MatrixFacts": "fitting.matrix",
    "interpolation_matrix": "fitting.matrix",
    "matrix_facts": "fitting.matrix",
    "fit_output": "fitting.output",
    "FileFormatError": "formats.files",
    "load": "formats.files",
    "save": "formats.files",
    "to_onnx": "formats.onnx",
    "from_onnx": "formats.onnx_reader",
    "from_torch": "formats.torch",
    "to_torch": "formats.torch",
    "write_vnnlib": "formats.vnnlib",
    "HierarchicalNetwork": "hierarchy.basis",
    "Surrogate": "hierarchy.surrogate",
    "Affine": "layers.affine",
    "Pooling": "layers.pooling",
    "PoolingNetwork": "layers.network",
    "ReLUNetwork": "layers.network",
    "concatenate": "layers.network",
    "Grid": "meshes.grid.grid",
    "NotStructuredError": "meshes.recognition.recognise",
    "P1Network": "networks.p1",
    "P2Network": "networks.p2",
    "ActivationStatistics": "sizes.activations",
    "activation_statistics": "sizes.activations",
    "SizeReport": "sizes.report",
    "size_report": "sizes.report",
    "simplify": "sizes.simplify",
    "Q1Network": "networks.q1",
    "contours": "regions.contours",
    "argmax": "regions.functionals",
    "argmin": "regions.functionals",
    "integral": "regions.functionals",
    "norm": "regions.functionals",
    "LinearRegions": "regions.regions",
    "linear_regions": "regions.regions",
    "Support": "regions.supports.support",
    "SupportError": "regions.supports.hausdorff",
    "support": "regions.supports.support",
    "support_error": "fenicsx.supports",
}


def __getattr__(name: str) -> Any:
    if name in ("cpwl", "deep", "plot"):
        return import_module(f"fe_relu.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'fe_relu' has no attribute {name!r}")
    found = getattr(import_module(f"fe_relu.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__, "cpwl", "deep", "plot"]
