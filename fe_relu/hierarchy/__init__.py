# SPDX-License-Identifier: MIT
"""Nested meshes: the hierarchical basis, and small networks with a proven error."""

from fe_relu.hierarchy.basis import HierarchicalNetwork
from fe_relu.hierarchy.surrogate import Surrogate
from fe_relu.hierarchy.transform import hierarchical_from_network

__all__ = ["HierarchicalNetwork", "Surrogate", "hierarchical_from_network"]
