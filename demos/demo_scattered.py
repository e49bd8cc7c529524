# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # Scattered data become a finite-element function, and a network
#
# Sensors measure a field here and there, with noise. Which P1 function on a mesh is nearest to what
# they say? Its nodal values are the output weights of a ReLU network whose hidden layers the mesh
# fixes: training the last layer is a linear least-squares problem, and a smoothness term from UFL
# says what holds where there are no sensors. Interpolation through the data, and a smoothing
# spline, are what one would do without.

# +
# SPDX-License-Identifier: MIT
import sys
from pathlib import Path

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import fem, mesh
from scipy.interpolate import LinearNDInterpolator, SmoothBivariateSpline

from fe_relu import fit_output, network_from_function

comm = MPI.COMM_WORLD
n, count = (int(number) for number in sys.argv[1:3]) if len(sys.argv) > 2 else (48, 3000)
noise = 0.1
# -

# ## The field and the data
#
# A front and a bump. Each rank has sensors of its own; few are in the upper right corner.


# +
def field(x):
    front = np.tanh(12 * (x[0] + 0.5 * x[1] - 0.7))
    return front + np.exp(-40 * ((x[0] - 0.3) ** 2 + (x[1] - 0.7) ** 2))


rng = np.random.default_rng([7, comm.rank])
x = rng.random((2, count // comm.size))
x = x[:, rng.random(x.shape[1]) < np.where((x > 0.6).all(axis=0), 0.1, 1)]
data = field(x) + noise * rng.standard_normal(x.shape[1])
# -

# ## The nearest function
#
# The penalty is a weight times the square of the Laplacian, as P1 functions have it: jumps of the
# normal derivative across facets.

# +
msh = mesh.create_unit_square(comm, n, n)
V = fem.functionspace(msh, ("P", 1))
u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
normal = ufl.FacetNormal(msh)
jumps = ufl.jump(ufl.grad(u), normal) * ufl.jump(ufl.grad(v), normal)
network = network_from_function(fem.Function(V))
fits = {
    "nearest": fit_output(network, x, data, regularisation=1e-6),
    "nearest and smooth": fit_output(network, x, data, penalty=2 / n * jumps * ufl.dS),
}
# -

# ## Errors
#
# At random points of the square, most of which are no sensors.

# +
everyone = [
    np.concatenate(parts, axis=-1) for parts in zip(*comm.allgather((x, data)), strict=True)
]
probes = np.random.default_rng(1).random((2, 20000))
found = {name: fit(probes) for name, fit in fits.items()}
through = LinearNDInterpolator(everyone[0].T, everyone[1])(probes.T)
spline = SmoothBivariateSpline(*everyone[0], everyone[1], w=np.full(everyone[1].size, 1 / noise))
found["SciPy LinearNDInterpolator"] = through
found["SciPy SmoothBivariateSpline"] = spline.ev(*probes)
exact = field(probes)
if comm.rank == 0:
    print(f"{everyone[1].size} data, noise {noise}, {(n + 1) ** 2} vertices: error, in the mean")
    for name, values in found.items():
        inside = np.isfinite(values)
        error = np.sqrt(np.mean((values - exact)[inside] ** 2))
        print(f"{name:30}{error:8.4f}   at {100 * inside.mean():.1f} % of the points")
# -

# ## The picture

if comm.rank == 0:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 4, figsize=(13, 3.2), sharey=True, layout="constrained")
    pictures = {"data": (everyone[0], everyone[1]), "the field": (probes, exact)}
    pictures["nearest and smooth"] = (probes, found["nearest and smooth"])
    pictures["SciPy LinearNDInterpolator"] = (probes, through)
    for panel, (name, (where, values)) in zip(panels, pictures.items(), strict=True):
        drawn = panel.scatter(*where, c=values, s=2, vmin=-1.2, vmax=1.2, cmap="RdBu_r")
        panel.set(title=name, aspect="equal")
    figure.colorbar(drawn, ax=panels, shrink=0.8)
    Path("pictures").mkdir(exist_ok=True)
    figure.savefig("pictures/scattered.png", dpi=90)
