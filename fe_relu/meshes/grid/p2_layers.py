# SPDX-License-Identifier: MIT
"""The layers of a P2 network: hats, then one sawtooth a layer for each vertex and each edge.

With S the interpolant of t² on 2^(levels + 1) cells of [0, 1], t_v = φ_v / 2, t_e = (φᵢ + φⱼ) / 2,

    u = Σ u_v φ_v + 8 Σ_e s_e (S(t_e) − S(tᵢ) − S(tⱼ)),    S(t) = t − Σ_ℓ 4^−ℓ g_ℓ(t),

and the linear parts of S cancel. The sawtooth g_ℓ is g ∘ g_(ℓ−1), where g(t) = 2R(t) − 4R(t − ½) on
[0, 1]; its third neuron R(t − 1) is dead there. What is summed so far travels as R(z) − R(−z).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.layers.network import Affine, ReLUNetwork
from fe_relu.meshes.grid.hats import hidden_layers, lines_in_use, mesh_hats
from fe_relu.meshes.grid.midpoints import Nodes, edge_nodes

if TYPE_CHECKING:
    from fe_relu.meshes.grid.grid import Grid

#: `explicit_layers` makes no more neurons than this: enough for 64 x 64 cells at any depth.
MAX_NEURONS = 1 << 21


def explicit_layers(grid: Grid, values: npt.NDArray, levels: int) -> ReLUNetwork:
    """The network of nodal values (k, n): lines, hats, and levels + 1 layers of constant width.

    Raises:
        ValueError: It would have more than `MAX_NEURONS` neurons.
    """
    neurons = sum(hidden_widths(grid, len(values), levels))
    if neurons > MAX_NEURONS:
        raise ValueError(
            f"the explicit network of {grid.shape[0]} x {grid.shape[1]} cells at {levels} levels "
            f"would have {neurons} neurons, more than {MAX_NEURONS}; evaluation needs no layers, "
            "and fewer levels or a coarser mesh make fewer"
        )
    lines, hats = hidden_layers(grid, values.dtype, mesh_hats(grid))
    vertices, ends, middles = numbered_edges(grid)
    nodal, at_middles = values[:, vertices], values[:, middles]
    surplus = at_middles - (nodal[:, ends[0]] + nodal[:, ends[1]]) / 2
    incidence = _incidence(ends, grid.num_vertices)
    arguments = sparse.vstack([sparse.eye_array(grid.num_vertices), incidence]) / 2
    # 8 s_e for an edge, and minus the sum of those of its edges for a vertex.
    factors = 8 * np.concatenate([-(surplus @ incidence), surplus], axis=1)
    layers = [lines, hats, _opening(arguments, nodal)]
    layers += [_tooth(factors * 4.0**-level) for level in range(1, levels + 1)]
    layers.append(_sums(factors * 4.0 ** -(levels + 1)))
    return ReLUNetwork(tuple(_typed(layer, values.dtype) for layer in layers))


def hidden_widths(grid: Grid, dim_out: int, levels: int) -> list[int]:
    """Of the hidden layers; from the third on, two neurons for each vertex, edge and output."""
    lines = np.count_nonzero(lines_in_use(grid, mesh_hats(grid)))
    chains = grid.refined(2).num_vertices
    return [lines, grid.num_vertices, *[2 * (chains + dim_out)] * (levels + 1)]


def _incidence(ends: npt.NDArray[np.int64], num_vertices: int) -> sparse.csr_array:
    """1 where a vertex is an end of an edge, shape (edges, vertices)."""
    number = ends.shape[1]
    places = (np.tile(np.arange(number), 2), ends.ravel())
    return sparse.csr_array((np.ones(2 * number), places), shape=(number, num_vertices))


def _opening(arguments: sparse.sparray, nodal: npt.NDArray) -> Affine:
    """From the hats to t, t − ½, z, −z: the arguments of the chains, and the P1 part."""
    weight = sparse.vstack([arguments, arguments, nodal, -nodal])
    return Affine(weight, _biases(arguments.shape[0], 2 * len(nodal)))


def _tooth(factors: npt.NDArray) -> Affine:
    """From R(t), R(t − ½), R(z), R(−z) to the same of g(t) and of z − Σ factors · g(t)."""
    outputs, chains = factors.shape
    eye = sparse.eye_array(chains)
    tooth = sparse.hstack([2 * eye, -4 * eye, sparse.csr_array((chains, 2 * outputs))])
    sums = _sums(factors).weight
    return Affine(sparse.vstack([tooth, tooth, sums, -sums]), _biases(chains, 2 * outputs))


def _sums(factors: npt.NDArray) -> Affine:
    """From R(t), R(t − ½), R(z), R(−z) to z − Σ factors · g(t)."""
    eye = np.eye(len(factors))
    return Affine(np.hstack([-2 * factors, 4 * factors, eye, -eye]), np.zeros(len(factors)))


def _biases(chains: int, others: int) -> npt.NDArray:
    return np.concatenate([np.zeros(chains), np.full(chains, -0.5), np.zeros(others)])


def _typed(layer: Affine, dtype: np.dtype) -> Affine:
    return Affine(layer.weight.astype(dtype), layer.bias.astype(dtype))


def numbered_edges(
    grid: Grid,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Nodes of the vertices; vertices of the edges, shape (2, m); nodes of their midpoints."""
    nodes = np.arange(grid.refined(2).num_vertices)[None]
    numbers = Nodes.of(grid.whole, nodes)
    vertices = numbers.vertices.ravel()
    if grid.has_centres:
        vertices = np.concatenate([vertices, numbers.middle.ravel()])
    vertex_of_node = np.full(nodes.size, -1)
    vertex_of_node[vertices] = np.arange(vertices.size)
    columns = [[part.ravel() for part in kind] for kind in edge_nodes(grid.whole, numbers)]
    middles, one, other = (np.concatenate(part) for part in zip(*columns, strict=True))
    return vertices, vertex_of_node[np.array([one, other])], middles
