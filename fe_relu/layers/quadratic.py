# SPDX-License-Identifier: MIT
"""The layers of a P2 network: hats, then one sawtooth a layer for each vertex and each edge.

With S the interpolant of t² on 2^(levels + 1) cells of [0, 1], t_v = φ_v / 2, t_e = (φᵢ + φⱼ) / 2,

    u = Σ u_v φ_v + 8 Σ_e s_e (S(t_e) − S(tᵢ) − S(tⱼ)),    S(t) = t − Σ_ℓ 4^−ℓ g_ℓ(t),

and the linear parts of S cancel. The sawtooth g_ℓ is g ∘ g_(ℓ−1), where g(t) = 2R(t) − 4R(t − ½) on
[0, 1]; its third neuron R(t − 1) is dead there. What is summed so far travels as R(z) − R(−z).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fe_relu.layers.affine import Affine
from fe_relu.layers.network import ReLUNetwork
from fe_relu.layers.pooling import Pooling

#: `quadratic_network` makes no more neurons than this after the hats: enough for 64 x 64 cells of
#: any grid at any depth.
MAX_NEURONS = 1 << 21


def quadratic_network(
    hidden: tuple[Affine, Affine, sparse.csr_array],
    nodal: npt.NDArray,
    ends: npt.NDArray[np.int64],
    surplus: npt.NDArray,
    levels: int,
) -> ReLUNetwork:
    """The network of a P2 function: two layers of hats, and levels + 1 layers of constant width.

    Args:
        hidden: Two layers, and hats (vertices, neurons) as sums of what comes out of them.
        nodal: Values at the vertices, shape (k, vertices).
        ends: The vertices that each edge joins, shape (2, edges).
        surplus: Of each edge the value at its middle less the mean of its ends', (k, edges).
        levels: How often triangles are halved.
    """
    first, second, hats = hidden
    vertices = nodal.shape[1]
    incidence = _incidence(ends, vertices)
    arguments = sparse.vstack([sparse.eye_array(vertices), incidence]) / 2
    # 8 s_e for an edge, and minus the sum of those of its edges for a vertex.
    factors = 8 * np.concatenate([-(surplus @ incidence), surplus], axis=1)
    opening = _opening(arguments, nodal)
    layers = [first, second, Affine(opening.weight @ hats, opening.bias)]
    layers += [_tooth(factors * 4.0**-level) for level in range(1, levels + 1)]
    layers.append(_sums(factors * 4.0 ** -(levels + 1)))
    return ReLUNetwork(tuple(layer.astype(nodal.dtype) for layer in layers))


def pooled_layers(
    hidden: tuple[Affine, Affine, sparse.csr_array], ends: npt.NDArray[np.int64]
) -> tuple[Affine, Affine, Affine, Pooling]:
    """Layers after which there are the basis functions of P2: of all vertices, then of all edges.

    That of a vertex is φ_v (1 − 2 Σ φ_w) over its neighbours w, which is φ_v (2 φ_v − 1) on the
    mesh; that of an edge is 4 φᵢ · φⱼ. So the coefficient of each is the value at its node.

    Args:
        hidden: As for `quadratic_network`.
        ends: The vertices that each edge joins, shape (2, edges).
    """
    first, second, hats = hidden
    count, own = hats.shape[0], np.arange(hats.shape[0])
    incidence = _incidence(ends, count)
    neighbours = sparse.csr_array(incidence.T @ incidence)
    neighbours.setdiag(0)
    neighbours.eliminate_zeros()
    factors = [hats, -2 * (neighbours @ hats), 4 * hats]
    bias = np.repeat([0.0, 1.0, 0.0], count)
    pairs = np.concatenate([[own, count + own], [2 * count + ends[0], ends[1]]], axis=1)
    third = Affine(sparse.vstack(factors), bias).astype(first.bias.dtype)
    return first, second, third, Pooling(pairs, 3 * count)


def require_size(nodes: int, outputs: int, levels: int) -> None:
    """Raises if a network of so many nodes would have more than `MAX_NEURONS` after the hats.

    Raises:
        ValueError: It would.
    """
    neurons = 2 * (nodes + outputs) * (levels + 1)
    if neurons > MAX_NEURONS:
        raise ValueError(
            f"the explicit network of {nodes} nodes at {levels} levels would have {neurons} "
            f"neurons after the hats, more than {MAX_NEURONS}; evaluation needs no layers, and "
            "fewer levels or a coarser mesh make fewer"
        )


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
