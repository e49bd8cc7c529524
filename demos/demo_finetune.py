# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # Training what finite elements began
#
# The Ritz method looks for the function of least energy among finite elements on a mesh that stays
# where it is. A network's lines can move. We start torch with the exact network of a coarse
# finite-element solution, train it further on the energy of the equation (the Deep Ritz method of
# E and Yu 2018), and bring it back as a finite-element function on a fine mesh.

# +
# SPDX-License-Identifier: MIT
import sys
from pathlib import Path
from time import perf_counter

from mpi4py import MPI

import numpy as np
import torch
import ufl
from dolfinx import fem, mesh
from tqdm import tqdm

from fe_relu import from_torch, function_from_network, network_from_function, to_torch
from fe_relu.fenicsx import compat

comm = MPI.COMM_SELF  # each rank trains alone
shown = MPI.COMM_WORLD.rank == 0
n_coarse, n_fine, num_steps = [int(n) for n in sys.argv[1:4]] or (8, 128, 1000)
torch.manual_seed(0)
# -

# ## The equation, on any mesh
#
# −Δu + u = f with the slope g given on the boundary: nothing has to be enforced there, and the
# minimum of the energy ½ ∫ |∇u|² + u² − ∫ f u − ∫ g u alone decides. The solution has a layer in
# the middle.


# +
def exact(x):
    return ufl.tanh(10 * (x[0] - 0.5)) * (1 + 0.5 * ufl.cos(np.pi * x[1]))


def space(n):
    return fem.functionspace(mesh.create_unit_square(comm, n, n), ("P", 1))


def energy_forms(V):
    """The bilinear and the linear form whose difference is the energy's derivative."""
    u, v, x = ufl.TrialFunction(V), ufl.TestFunction(V), ufl.SpatialCoordinate(V.mesh)
    precise = {"quadrature_degree": 8}
    f = exact(x) - ufl.div(ufl.grad(exact(x)))
    g = ufl.dot(ufl.grad(exact(x)), ufl.FacetNormal(V.mesh))
    bilinear = (ufl.inner(ufl.grad(u), ufl.grad(v)) + u * v) * ufl.dx
    linear = f * v * ufl.dx(metadata=precise) + g * v * ufl.ds(metadata=precise)
    return bilinear, linear


def energy_error(u):
    """The energy norm of u − exact solution."""
    x = ufl.SpatialCoordinate(u.function_space.mesh)
    e = u - exact(x)
    square = ufl.inner(ufl.grad(e), ufl.grad(e)) + e**2
    return np.sqrt(
        fem.assemble_scalar(fem.form(square * ufl.dx(metadata={"quadrature_degree": 8})))
    )


def solution(n):
    options = {"ksp_type": "cg", "pc_type": "jacobi", "ksp_rtol": 1e-12}
    return compat.linear_problem(*energy_forms(space(n)), [], prefix="fe_", options=options).solve()


# -

# ## An exact start
#
# The network of the coarse solution, as a torch module whose lines and hats may all change.

# +
coarse = solution(n_coarse)
module = to_torch(network_from_function(coarse), form="relu", trainable="all")
V = space(n_fine)
start, certificate = function_from_network(from_torch(module), V)
# -

# ## Training
#
# The energy of the function that the network gives on the fine mesh, not a sample of points: a
# network's slope jumps across its lines, so that the derivative of a sampled energy says nothing
# about moving them. On the fine mesh the energy is ½ vᵀA v − bᵀv in the network's values v at the
# vertices, and torch needs to differentiate v only.

# +
bilinear, linear = energy_forms(V)
A = fem.assemble_matrix(fem.form(bilinear)).to_scipy()
b = fem.assemble_vector(fem.form(linear)).array
vertices = torch.from_numpy(V.tabulate_dof_coordinates()[:, :2].copy())

optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=num_steps)
energies = []
began = perf_counter()
for _ in tqdm(range(num_steps), disable=not shown, unit="step"):
    optimizer.zero_grad()
    values = module(vertices)[:, 0]
    v = values.detach().numpy()
    values.backward(torch.from_numpy(A @ v - b))
    energies.append(0.5 * v @ (A @ v) - b @ v)
    optimizer.step()
    schedule.step()
seconds = perf_counter() - began
# -

# ## And back
#
# The trained network as a finite-element function on the fine mesh: `lower` and `upper` of the
# certificate bound how far the two are apart in between the vertices, where the network has kinks
# that the mesh does not have. Beside it, what finite elements on a uniform mesh need to be as good.

# +
trained_network = from_torch(module)
trained, distance = function_from_network(trained_network, V)
finer, _ = function_from_network(trained_network, space(2 * n_fine))
errors = {
    f"finite elements, {n_coarse} x {n_coarse}": energy_error(coarse),
    "the same as a torch module, before training": energy_error(start),
    f"trained, as a function on {n_fine} x {n_fine}": energy_error(trained),
    f"trained, on a mesh it has not seen, {2 * n_fine} x {2 * n_fine}": energy_error(finer),
    f"finite elements, {2 * n_coarse} x {2 * n_coarse}": energy_error(solution(2 * n_coarse)),
    f"finite elements, {n_fine} x {n_fine}": energy_error(solution(n_fine)),
}
if shown:
    neurons = trained_network.num_neurons
    print(f"{neurons} neurons, {num_steps} steps in {seconds:.0f} s")
    print(f"start: {'exact' if certificate.exact else 'NOT exact'}")
    print(f"{'error in the energy norm':52}{'error':>8}")
    for what, error in errors.items():
        print(f"{what:52}{error:8.4f}")
    better = errors[f"trained, as a function on {n_fine} x {n_fine}"] < energy_error(coarse)
    print(f"training {'lowered' if better else 'did NOT lower'} the error of the coarse solution")
    print(f"network and function are {distance.lower:.3f} to {distance.upper:.3f} apart at worst")
# -

# ## Look at it
#
# Before and after: the function, and the lines of the first layer where it bends.

# +
if shown:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    px, py = np.meshgrid(np.linspace(0, 1, 300), np.linspace(0, 1, 300))
    pixels = np.array([px.ravel(), py.ravel()])
    before = network_from_function(coarse).explicit()
    for network, ax, title in (
        (before, axes[0], "before: the coarse finite-element solution"),
        (trained_network, axes[1], "after training on the energy"),
    ):
        ax.imshow(network(pixels).reshape(px.shape), origin="lower", extent=(0, 1, 0, 1))
        for z in network.layers[0](pixels):
            if z.min() < 0 < z.max():
                ax.contour(px, py, z.reshape(px.shape), levels=[0], colors="white", linewidths=0.6)
        ax.set(title=title, xlabel="x", ylabel="y")
    axes[2].plot(np.array(energies) - energies[-1] + 1e-3)
    axes[2].set(
        title="energy above the last one", xlabel="step", yscale="log", ylabel="energy + 0.001"
    )
    picture = Path("pictures") / "finetune.png"
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, dpi=110)
    print(f"picture: {picture}")
