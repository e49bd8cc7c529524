# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # Following the heat: a network in every time step
#
# The heat equation on a square with a wandering source; each rank follows its own moving points
# and a few sensors that stay where they are, and reads the temperature there in every step. A
# `Conversion` locates the space once; then the network of a step costs the copy of its values. A
# plan does the same for the sensors: their cells are found once, for the networks of all steps.

# +
# SPDX-License-Identifier: MIT
import sys
from pathlib import Path
from time import perf_counter

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import default_scalar_type, fem, mesh
from tqdm import tqdm

from fe_relu import Conversion
from fe_relu.fenicsx import compat

comm = MPI.COMM_WORLD
n = int(sys.argv[1]) if len(sys.argv) > 1 else 64
num_steps = int(sys.argv[2]) if len(sys.argv) > 2 else 100
num_points = 10_000  # on each rank
dt = 1.0 / num_steps
# -

# ## The equation
#
# Implicit Euler: (u − u_old) / dt − 0.02 Δu = f(t), zero on the boundary.

# +
msh = mesh.create_unit_square(comm, n, n)
V = fem.functionspace(msh, ("P", 1))
u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
old = fem.Function(V)
source = fem.Constant(msh, np.zeros(2, default_scalar_type))
x = ufl.SpatialCoordinate(msh)
load = 20 * ufl.exp(-100 * ((x[0] - source[0]) ** 2 + (x[1] - source[1]) ** 2))

msh.topology.create_connectivity(1, 2)
boundary = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(msh.topology))
problem = compat.linear_problem(
    (u * v / dt + 0.02 * ufl.inner(ufl.grad(u), ufl.grad(v))) * ufl.dx,
    (old / dt + load) * v * ufl.dx,
    [fem.dirichletbc(default_scalar_type(0), boundary, V)],
    prefix="heat_",
    options={"ksp_type": "cg", "pc_type": "jacobi", "ksp_rtol": 1e-8},
)
# -

# ## Time steps
#
# The points drift around the middle, from rank to rank; no rank needs to know who owns them.

# +
rng = np.random.default_rng(comm.rank)
radius, angle = 0.45 * np.sqrt(rng.random(num_points)), 2 * np.pi * rng.random(num_points)
conversion = Conversion(V)
sensors = conversion(old).plan(np.array([[0.2, 0.5, 0.8], [0.5, 0.5, 0.5]]))
history, measured = np.empty((num_steps, num_points)), np.empty((num_steps, 3))
spent = {"solve": 0.0, "convert": 0.0, "evaluate": 0.0}

for step in tqdm(range(num_steps), disable=comm.rank > 0, unit="step"):
    t = (step + 1) * dt
    source.value[:] = 0.5 + 0.3 * np.array([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)])
    start = perf_counter()
    new = problem.solve()
    new.x.scatter_forward()
    old.x.array[:] = new.x.array
    solved = perf_counter()
    network = conversion(old)
    converted = perf_counter()
    points = 0.5 + radius * np.array([np.cos(angle + 3 * t), np.sin(angle + 3 * t)])
    history[step], measured[step] = network(points), sensors(network)
    spent["solve"] += solved - start
    spent["convert"] += converted - solved
    spent["evaluate"] += perf_counter() - converted
# -

# ## What it took, and what the points felt

# +
hottest = comm.allreduce(history.max(), op=MPI.MAX)
final = comm.allreduce(old.x.array.max(initial=0), op=MPI.MAX)
whole = network.gather(root=0)
if whole is not None:
    print(f"{num_steps} steps, {num_points * comm.size:,} moving points, {comm.size} ranks")
    for name, seconds in spent.items():
        print(f"  {name:10}{1e3 * seconds / num_steps:8.2f} ms a step")
    print(f"  hottest point met {hottest:.4f}; hottest vertex at the end {final:.4f}")

    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    px, py = np.meshgrid(np.linspace(0, 1, 300), np.linspace(0, 1, 300))
    values = whole(np.array([px.ravel(), py.ravel()])).reshape(px.shape)
    image = axes[0].imshow(values, origin="lower", extent=(0, 1, 0, 1), cmap="inferno")
    axes[0].scatter(*points[:, :300], s=3, color="white", alpha=0.6)
    axes[0].set_title("temperature at the end, and some of the points")
    figure.colorbar(image, ax=axes[0], shrink=0.9)
    times = dt * np.arange(1, num_steps + 1)
    axes[1].plot(times, history[:, :12], linewidth=1)
    axes[1].plot(times, measured, "--", color="black", linewidth=1.5)
    axes[1].set(title="twelve paths, and three sensors (dashed)", xlabel="time")
    axes[1].set_ylabel("temperature")
    picture = Path("pictures") / "heat.png"
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, dpi=110)
    print(f"  picture: {picture}")
