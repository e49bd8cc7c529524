# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # A trained network as a coefficient, on its own mesh
#
# A conductivity is known at scattered points only, and jumps. We train a small network on its
# logarithm, find the linear regions of the network, and solve −div(κ ∇w) = 1 on the mesh of these
# regions, on which the logarithm is exactly P1. Interpolating it on uniform meshes instead makes
# an error that falls slowly, as they do not know where the network bends.

# +
# SPDX-License-Identifier: MIT
import sys
from pathlib import Path

from mpi4py import MPI

import numpy as np
import torch
import ufl
from dolfinx import fem, mesh

from fe_relu import from_torch, linear_regions, mesh_from_network
from fe_relu.fenicsx import compat

comm = MPI.COMM_SELF  # each rank works alone
shown = MPI.COMM_WORLD.rank == 0
width, num_steps, refinements = [int(n) for n in sys.argv[1:4]] or (20, 3000, 4)
torch.manual_seed(0)
torch.set_num_threads(1)
square = ((0, 1), (0, 1))
# -

# ## Data and training
#
# Rock inside a disc conducts 40 times better than outside.


# +
def logarithm(x):
    inside = np.hypot(x[:, 0] - 0.45, x[:, 1] - 0.55) - 0.27
    return np.log(40) / 2 * (1 - np.tanh(40 * inside))


points = np.random.default_rng(0).random((4000, 2))
inputs = torch.from_numpy(points).float()
outputs = torch.from_numpy(logarithm(points)).float()[:, None]
module = torch.nn.Sequential(
    torch.nn.Linear(2, width), torch.nn.ReLU(),
    torch.nn.Linear(width, width), torch.nn.ReLU(),
    torch.nn.Linear(width, 1),
)  # fmt: skip
steps = torch.optim.Adam(module.parameters(), lr=1e-2)
slower = torch.optim.lr_scheduler.CosineAnnealingLR(steps, num_steps)
for _ in range(num_steps):
    steps.zero_grad()
    loss = torch.nn.functional.mse_loss(module(inputs), outputs)
    loss.backward()
    steps.step()
    slower.step()
network = from_torch(module)
# -

# ## Its mesh
#
# From here on the network is the coefficient; how near it is to the data is another question.

# +
regions = linear_regions(network, square)
own, log_kappa = mesh_from_network(network, comm, square)
if shown:
    print(f"trained to a mean square error of {loss.item():.3f} on {len(points)} points")
    print(f"{regions.num_regions} linear regions, {regions.mesh().num_cells} triangles")
# -

# ## The equation, with the coefficient exact and interpolated
#
# Quadratic elements and a fine rule for exp, so that what differs is the coefficient. The reference
# is on the network's own mesh, each triangle cut into four twice.


# +
def solve(exponent, V):
    """∫ w of −div(exp(exponent) ∇w) = 1 with w = 0 on the boundary."""
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    dx = ufl.dx(metadata={"quadrature_degree": 6})
    V.mesh.topology.create_connectivity(1, 2)
    facets = mesh.exterior_facet_indices(V.mesh.topology)
    walls = fem.dirichletbc(0.0, fem.locate_dofs_topological(V, 1, facets), V)
    a = ufl.exp(exponent) * ufl.inner(ufl.grad(u), ufl.grad(v)) * dx
    L = fem.Constant(V.mesh, 1.0) * v * dx
    options = {"ksp_type": "preonly", "pc_type": "lu"}
    w = compat.linear_problem(a, L, [walls], prefix="w_", options=options).solve()
    return fem.assemble_scalar(fem.form(w * dx))  # the heat that the plate holds: twice the energy


def refined(msh, times):
    for _ in range(times):
        msh.topology.create_entities(1)
        msh = mesh.refine(msh)[0]
    return msh


def held(msh):
    """∫ w with the exponent interpolated: on the network's mesh, refined or not, it is exact."""
    exponent = fem.Function(fem.functionspace(msh, ("P", 1)))
    exponent.interpolate(network)
    return solve(exponent, fem.functionspace(msh, ("P", 2)))


reference = held(refined(own, 2))
rows = [("exact coefficient", own), ("exact coefficient", refined(own, 1))]
sides = [round(np.sqrt(own.topology.index_map(2).size_global / 2) * 2 ** (k - 1)) for k in
         range(refinements)]  # fmt: skip
rows += [("uniform", mesh.create_unit_square(comm, n, n)) for n in sides]
found = []
for name, msh in rows:
    error = abs(held(msh) / reference - 1)
    found.append((name, msh.topology.index_map(2).size_global, error))
if shown:
    print(f"\n{'coefficient':20} {'triangles':>10} {'error of ∫ w':>14}")
    for name, cells, error in found:
        print(f"{name:20} {cells:10} {error:14.1e}")
# -

# ## Picture

# +
if shown:
    import matplotlib.pyplot as plt

    from fe_relu import plot

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    plot.regions(regions, left, label="log κ")
    for name, marker in (("exact coefficient", "s-"), ("uniform", "o--")):
        some = [(cells, error) for kind, cells, error in found if kind == name]
        right.loglog(*zip(*some, strict=True), marker, label=name)
    right.set(xlabel="triangles", ylabel="error of ∫ w")
    right.legend()
    Path("pictures").mkdir(exist_ok=True)
    figure.savefig("pictures/trained.png", dpi=150)
