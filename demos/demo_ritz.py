# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # What a trained two-layer network is
#
# A network with one hidden layer and one input bends at the knots −b/w of its neurons, and is P1
# between them. Training moves knots; so an energy that is sampled at fixed points can fall without
# end while the true one does not (the Deep Ritz method of E and Yu 2018 samples). Here the energy
# is exact, as the knots are known, and so is its gradient: they move in it.

# +
# SPDX-License-Identifier: MIT
import copy
import sys
from pathlib import Path

from mpi4py import MPI

import numpy as np
import torch
import ufl
from dolfinx import fem, mesh

from fe_relu import from_torch, linear_regions, mesh_from_network, network_from_function, norm
from fe_relu.fenicsx import compat

comm = MPI.COMM_SELF  # each rank trains alone
shown = MPI.COMM_WORLD.rank == 0
intervals, num_steps = [int(n) for n in sys.argv[1:3]] or (8, 2000)
torch.manual_seed(0)
DOUBLE = {"dtype": torch.float64}
torch.set_num_threads(1)
# -

# ## The equation
#
# −u″ + u = f on (0, 1), with the slope of the solution tanh(12 (x − ½)) given at both ends: nothing
# is enforced, and the least energy ½ ∫ u′² + u² − ∫ f u − [u′(exact) u] decides.


# +
def solution(x):
    return np.tanh(12 * (x - 0.5))


def slope(x):
    return 12 * (1 - solution(x) ** 2)


def load(x):
    """In torch, as it moves with the points."""
    u = torch.tanh(12 * (x - 0.5))
    return u * (1 + 288 * (1 - u**2))


POINTS, WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(12))


def energy(x, u):
    """Of the P1 function with values u at sorted points x; only f is integrated by a rule."""
    length, first, last = x[1:] - x[:-1], u[:-1], u[1:]
    bend = ((last - first) ** 2 / length).sum()
    size = (length * (first**2 + first * last + last**2)).sum() / 3
    at = (x[1:] + x[:-1])[:, None] / 2 + length[:, None] / 2 * POINTS
    part = (POINTS + 1) / 2
    work = (
        (load(at) * (first[:, None] * (1 - part) + last[:, None] * part)) @ WEIGHTS * length / 2
    ).sum()
    ends = slope(np.array([0.0, 1.0]))
    return (bend + size) / 2 - work + ends[0] * u[0] - ends[1] * u[-1]


# -

# ## Finite elements, and the same function as a network
#
# The finite-element solution on a few intervals starts the training: a neuron for the slope at the
# left end, one for each inner knot. Four more add nothing yet: their outer weights are 0, and some
# of their knots lie outside the interval.

# +
V = fem.functionspace(mesh.create_interval(comm, intervals, [0.0, 1.0]), ("P", 1))
u, v, x = ufl.TrialFunction(V), ufl.TestFunction(V), ufl.SpatialCoordinate(V.mesh)
exact = ufl.tanh(12 * (x[0] - 0.5))
f = exact * (1 + 288 * (1 - exact**2))
g = ufl.grad(exact)[0] * ufl.FacetNormal(V.mesh)[0]
a = (ufl.inner(ufl.grad(u), ufl.grad(v)) + u * v) * ufl.dx
L = f * v * ufl.dx(metadata={"quadrature_degree": 20}) + g * v * ufl.ds
options = {"ksp_type": "preonly", "pc_type": "lu"}
coarse = compat.linear_problem(a, L, [], prefix="coarse_", options=options).solve()

start = network_from_function(coarse)
knots = np.linspace(0, 1, intervals + 1)
values = start(knots[None])
slopes = np.diff(values) / np.diff(knots)
more = np.array([0.5, 0.5, -0.4, 1.3])
hidden = torch.nn.Linear(1, intervals + 4, **DOUBLE)
outer = torch.nn.Linear(intervals + 4, 1, **DOUBLE)
with torch.no_grad():
    hidden.weight[:] = 1.0
    hidden.bias[:] = -torch.from_numpy(np.concatenate([knots[:-1], more]))
    outer.weight[0] = torch.from_numpy(np.concatenate([slopes[:1], np.diff(slopes), 0 * more]))
    outer.bias[:] = float(values[0])
module = torch.nn.Sequential(hidden, torch.nn.ReLU(), outer)
# -

# ## Training on the exact energy
#
# Knots that lie in the interval are sorted; the network is evaluated there, and the energy of the
# P1 function between them is that of the network. All of it is a function of the weights, also
# where the knots are.


# +
def pieces(module):
    """Sorted knots with the ends, and the network's values there."""
    knots = -module[0].bias / module[0].weight[:, 0]
    inside = torch.sort(knots[(knots > 1e-9) & (knots < 1 - 1e-9)]).values
    apart = torch.diff(inside, prepend=torch.zeros(1, **DOUBLE)) > 1e-9
    x = torch.cat([torch.zeros(1, **DOUBLE), inside[apart], torch.ones(1, **DOUBLE)])
    return x, module(x[:, None])[:, 0]


def train(module, loss):
    """Adam, with steps that shrink; the weights of the least loss seen are kept."""
    least, kept = np.inf, None
    steps = torch.optim.Adam(module.parameters(), lr=2e-3)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(steps, num_steps)
    for _ in range(num_steps):
        steps.zero_grad()
        now = loss(module)
        if now.item() < least:
            least = now.item()
            kept = {name: value.clone() for name, value in module.state_dict().items()}
        now.backward()
        steps.step()
        slower.step()
    module.load_state_dict(kept)
    return least


def true_energy(module):
    with torch.no_grad():
        return float(energy(*pieces(module)))


first = true_energy(module)
begun = copy.deepcopy(module)
trained = train(module, lambda net: energy(*pieces(net)))


def sampled_energy(net, samples):
    """At random points, once and for all."""
    x = samples.clone().requires_grad_()
    u = net(x)
    (du,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    ends = slope(np.array([0.0, 1.0]))
    inner = (du**2 + u**2) / 2 - load(x) * u
    return (
        inner.mean()
        + ends[0] * net(torch.zeros(1, 1, **DOUBLE))[0, 0]
        - (ends[1] * net(torch.ones(1, 1, **DOUBLE))[0, 0])
    )


rows = [("network, exact energy", trained, true_energy(module))]
for seed in range(3):
    sampled = copy.deepcopy(begun)
    points = torch.rand(64, 1, generator=torch.Generator().manual_seed(seed), **DOUBLE)
    believed = train(sampled, lambda net, points=points: sampled_energy(net, points))
    rows.append((f"network, 64 samples, seed {seed}", believed, true_energy(sampled)))
fine = torch.linspace(0, 1, 4001, **DOUBLE)
least = float(energy(fine, torch.tanh(12 * (fine - 0.5))))
if shown:
    print(f"{'energy above the least':40} {'trained on':>12} {'exact':>12}")
    print(f"{f'finite elements, {intervals} intervals':40} {'':12} {first - least:12.6f}")
    for name, training, true in rows:
        print(f"{name:40} {training - least:12.6f} {true - least:12.6f}")
# -

# ## Which neurons are there?
#
# Some have their knots outside and are 0 on the interval, or affine on it; two may have met. What
# is left is the least network: a knot for each bend.

# +
network = from_torch(module)
regions = linear_regions(network, (0, 1))
few = linear_regions(network, (0, 1), minimal=True)
weight, bias = module[0].weight[:, 0].detach().numpy(), module[0].bias.detach().numpy()
ends = np.stack([bias, weight + bias])
if shown:
    dead, affine = (ends <= 0).all(axis=0).sum(), (ends >= 0).all(axis=0).sum()
    print(f"\n{len(weight)} neurons: {dead} dead on the interval, {affine} affine on it, "
          f"{len(weight) - dead - affine} with a knot inside")  # fmt: skip
    print(f"{regions.num_vertices - 2} different knots, {few.num_vertices - 2} bends")
    print("knots", np.array2string(few.vertices[0, 1:-1], precision=4))

msh, w = mesh_from_network(network, comm, (0, 1), minimal=True)
back = network_from_function(w)
points = np.random.default_rng(0).random((1, 1000))
difference = abs(back(points) - network(points)).max()
size = norm(network, "H1", (0, 1)) ** 2
form = (ufl.inner(ufl.grad(w), ufl.grad(w)) + w * w) * ufl.dx
assembled = fem.assemble_scalar(fem.form(form))
if shown:
    print(f"as a P1 function on {msh.topology.index_map(1).size_global} intervals, and back: "
          f"{'to roundoff' if difference < 1e-12 else difference}")  # fmt: skip
    same = abs(size - assembled) < 1e-10 * size
    print(f"∫ u′² + u² of fe_relu and of DOLFINx: {'equal' if same else size - assembled}")
# -

# ## Picture

# +
if shown:
    import matplotlib.pyplot as plt

    x = np.linspace(0, 1, 1000)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(x, solution(x), "0.6", label="solution")
    axes.plot(knots, values, "o--", markersize=4, label=f"finite elements, {intervals} intervals")
    axes.plot(few.vertices[0], few.values, "s-", markersize=4, label="network, exact energy")
    axes.plot(x, from_torch(sampled)(x[None]), ":", label="network, energy of 64 samples")
    axes.legend()
    Path("pictures").mkdir(exist_ok=True)
    figure.savefig("pictures/ritz.png", dpi=150)
