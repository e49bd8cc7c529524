# SPDX-License-Identifier: MIT
"""Draws docs/pictures/matrices.png: interpolation matrices of a mesh network and of a random one.

python3 docs/draw_matrices.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np

import fe_relu

mpl.use("Agg")
import matplotlib.pyplot as plt

rng = np.random.default_rng(3)
grid = fe_relu.Grid((0, 0), np.diag([1 / 8, 1 / 6]), (8, 6), "right")
points = rng.random((2, 120))
points = points[:, np.argsort(points[1])]
hats = fe_relu.P1Network(grid, np.ones(grid.num_vertices))
weight = rng.standard_normal((grid.num_vertices, 2))
random = fe_relu.ReLUNetwork(
    (
        fe_relu.Affine(weight, -(weight * rng.random(weight.shape)).sum(axis=1)),
        fe_relu.Affine(np.ones((1, len(weight))), [0.0]),
    )
)
panels = (
    ("hats, second layer", hats, -1),
    ("lines, first layer", hats, 0),
    ("one random layer", random, 0),
)
figure, row = plt.subplots(1, 3, figsize=(11, 4.4), layout="constrained")
for axes, (name, network, layer) in zip(row, panels, strict=True):
    matrix = fe_relu.interpolation_matrix(network, points, layer)
    fe_relu.plot.sparsity(matrix, axes)
    axes.set_title(f"{name}: {axes.get_title()}", fontsize=9)
figure.savefig(Path(__file__).parent / "pictures" / "matrices.png", dpi=110)
