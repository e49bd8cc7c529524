# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # Where a function is zero, and which networks know it
#
# A bump is zero outside a disc. Networks with ReLU can be zero there too, exactly; a network with
# an analytic activation, such as tanh or GELU, is zero on an open set only if it is zero
# everywhere. So both kinds come near the bump in the mean, and only the first finds where it lives
# ([Kratsios, Zamanlooy, arXiv:2204.11231](https://arxiv.org/abs/2204.11231)).

# +
# SPDX-License-Identifier: MIT
import sys
from pathlib import Path

from mpi4py import MPI

import numpy as np
import torch
from dolfinx import fem, mesh

import fe_relu

sizes = (6, 12, 24)[: int(sys.argv[1])] if len(sys.argv) > 1 else (6, 12, 24)
num_steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1500
torch.manual_seed(0)
torch.set_num_threads(1)
# -

# ## The bump and its support
#
# The support is a disc; a polygon with 96 corners on its rim stands for it, which is 0.0003 off.

# +
radius = 0.6


def bump(x):
    return np.maximum(0, 1 - (x[0] ** 2 + x[1] ** 2) / radius**2) ** 2


angles = 2 * np.pi * np.arange(96) / 96
disc = fe_relu.Support.of_polygon(radius * np.array([np.cos(angles), np.sin(angles)]))
square = fe_relu.Support.of_polygon([[-1, 1, 1, -1], [-1, -1, 1, 1]])
middles = (np.arange(300) + 0.5) / 150 - 1
points = np.array(np.meshgrid(middles, middles)).reshape(2, -1)
area = 4.0
# -

# ## Networks of equal size
#
# The P1 interpolant on n x n cells has one number a vertex. The others have two hidden layers of as
# many numbers together, and are trained on values at 4,000 points.


# +
def interpolated(n):
    corners = [[-1, -1], [1, 1]]
    V = fem.functionspace(mesh.create_rectangle(MPI.COMM_SELF, corners, (n, n)), ("P", 1))
    u = fem.Function(V)
    u.interpolate(bump)
    return fe_relu.network_from_function(u)


def trained(activation, numbers):
    width = int(np.sqrt(numbers + 5.25) - 2.5)  # width² + 5 width + 1 of them
    module = torch.nn.Sequential(
        torch.nn.Linear(2, width),
        activation(),
        torch.nn.Linear(width, width),
        activation(),
        torch.nn.Linear(width, 1),
    )
    x = 2 * torch.rand(4000, 2) - 1
    values = torch.from_numpy(bump(x.numpy().T))[:, None]
    steps = torch.optim.Adam(module.parameters(), lr=1e-2)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(steps, num_steps)
    for _ in range(num_steps):
        steps.zero_grad()
        torch.nn.functional.mse_loss(module(x), values).backward()
        steps.step()
        slower.step()
    return lambda x: module(torch.from_numpy(x.T).float()).detach().numpy()[:, 0]


# -

# ## Errors
#
# The support of a network with an analytic activation that is not constant is the whole square,
# whatever its weights are: its zeros have no interior. So it is as far off as a corner is from the
# disc.

# +
found = {}
for n in sizes:
    network = interpolated(n)
    support = fe_relu.support_error(network, disc)
    found["P1", n] = network, support
    for name, activation in (("tanh", torch.nn.Tanh), ("GELU", torch.nn.GELU)):
        found[name, n] = trained(activation, (n + 1) ** 2), fe_relu.support_error(square, disc)
errors = {
    key: area * np.abs(network(points) - bump(points)).mean() for key, (network, _) in found.items()
}
if MPI.COMM_WORLD.rank == 0:
    print("numbers   activation   L1 error   support error")
    for (name, n), (_, support) in found.items():
        row = f"{(n + 1) ** 2:7}   {name.replace('P1', 'ReLU'):10}{errors[name, n]:11.5f}"
        print(f"{row}   {support.lower:.4f} to {support.upper:.4f}")
    beyond = {n: support.beyond[1] for (name, n), (_, support) in found.items() if name == "P1"}
    within = all(far <= np.sqrt(8) / n for n, far in beyond.items())
    print(f"ReLU: {'within' if within else 'NOT within'} one cell of the disc")
# -

# ## The picture

if MPI.COMM_WORLD.rank == 0:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 4, figsize=(14, 3.4), layout="constrained")
    numbers = [(n + 1) ** 2 for n in sizes]
    for name in ("P1", "tanh", "GELU"):
        label = name.replace("P1", "ReLU (P1)")
        panels[0].loglog(numbers, [errors[name, n] for n in sizes], "o-", label=label)
        far = [found[name, n][1].upper for n in sizes]
        panels[1].loglog(numbers, far, "o-" if name != "GELU" else "s--", label=label)
    panels[0].set(title="L¹ error", xlabel="numbers")
    panels[1].set(title="distance of the supports", xlabel="numbers")
    panels[0].legend()
    for panel, name in zip(panels[2:], ("P1", "GELU"), strict=True):
        network = found[name, sizes[-1]][0]
        values = np.abs(network(points)).reshape(300, 300)
        with np.errstate(divide="ignore"):
            shown = panel.imshow(
                np.ma.masked_invalid(np.log10(values)),
                extent=(-1, 1, -1, 1),
                origin="lower",
                vmin=-6,
                vmax=0,
                cmap="viridis",
            )
        panel.plot(radius * np.cos(angles), radius * np.sin(angles), "w--", linewidth=1)
        panel.set_title(f"log₁₀ |network|, {name.replace('P1', 'ReLU')}; white: 0")
    for loop in fe_relu.support(found["P1", sizes[-1]][0]).boundary():
        panels[2].plot(*np.append(loop, loop[:, :1], axis=1), color="#d1495b", linewidth=1.2)
    figure.colorbar(shown, ax=panels[2:], shrink=0.8)
    Path("pictures").mkdir(exist_ok=True)
    figure.savefig("pictures/support.png", dpi=90)
