# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # Tetrahedra
#
# Heat flows through a slanted block. `create_box` cuts it into tetrahedra; their hats are five
# neurons each, so that the solution is a network with two hidden layers, exactly, in space. Run it
# alone or under `mpirun`.

# +
# SPDX-License-Identifier: MIT
import sys
from pathlib import Path
from time import perf_counter

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import default_scalar_type, fem, mesh

from fe_relu import function_from_network, network_from_function
from fe_relu.fenicsx import compat

comm = MPI.COMM_WORLD
n = int(sys.argv[1]) if len(sys.argv) > 1 else 16
num_points = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
# -

# ## Solve
#
# A box of 2n x n x n cubes, moved so that it is none any more. Its foot is cold, and a hot spot is
# inside.

# +
msh = mesh.create_box(comm, [[0, 0, 0], [2, 1, 1]], (2 * n, n, n))
slant = np.array([[1.0, 0.3, 0.2], [0.0, 1.0, 0.1], [0.0, 0.0, 0.8]])
msh.geometry.x[:] = msh.geometry.x @ slant.T
V = fem.functionspace(msh, ("P", 1))
x = ufl.SpatialCoordinate(msh)
u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
centre = slant @ [1.3, 0.5, 0.6]
spot = 50 * ufl.exp(-30 * sum((x[k] - centre[k]) ** 2 for k in range(3)))
foot = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[2], 0))
problem = compat.linear_problem(
    ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx,
    ufl.inner(spot, v) * ufl.dx,
    [fem.dirichletbc(default_scalar_type(0), foot, V)],
    prefix="block_",
    options={"ksp_type": "cg", "ksp_rtol": 1e-10, "pc_type": "gamg"},
)
uh = problem.solve()
uh.x.scatter_forward()
# -

# ## Convert, evaluate, convert back

# +
network = network_from_function(uh)
back, certificate = function_from_network(network, V)

rng = np.random.default_rng(comm.rank)
points = slant @ (np.array([[2.0], [1.0], [1.0]]) * rng.random((3, num_points // comm.size)))
network(points[:, :10])  # compiles, or loads what was compiled before
comm.barrier()
start = perf_counter()
network(points)
comm.barrier()
seconds = perf_counter() - start
# -

# On another mesh, the certificate is the sup itself: all vertices of the overlay of both meshes are
# looked at.

# +
coarse = mesh.create_box(comm, [[0.3, 0.2, 0.1], [1.7, 0.9, 0.7]], (7, 5, 4))
W = fem.functionspace(coarse, ("P", 1))
_, apart = function_from_network(network, W)
# -

# ## The layers
#
# All neurons, at points inside and around the block: where the network ends in space, evaluation
# ends as well.

# +
own_cells = msh.topology.index_map(3).size_local
cells = rng.integers(0, max(own_cells, 1), 50_000 if own_cells else 0).astype(np.int32)
weights = rng.dirichlet(np.ones(4), len(cells))
inside = np.einsum("nv,nvd->nd", weights, msh.geometry.x[compat.geometry_dofmap(msh)[cells]])
off = np.abs(network(inside.T) - uh.eval(inside, cells).reshape(-1))
error = comm.allreduce(off.max(initial=0), op=MPI.MAX)
identical = comm.allreduce(back.x.array.tobytes() == uh.x.array.tobytes(), op=MPI.LAND)
whole = network.gather(root=0)
if whole is not None:
    explicit = whole.explicit()
    around = slant @ (np.array([[2.4], [1.4], [1.4]]) * rng.random((3, 1000)) - 0.2)
    start = perf_counter()
    by_layers = explicit(around)
    layers_seconds = perf_counter() - start
    layers_off = np.abs(by_layers - whole(around)).max()
    ours = 1e9 * seconds / (len(points[0]) * comm.size)
    rows = {
        "ranks": f"{comm.size}",
        "vertices, tetrahedra": f"{whole.mesh.num_vertices:,}, {whole.mesh.num_cells:,}",
        "widths of the layers": " → ".join(f"{width:,}" for width in explicit.widths),
        "non-zero weights": f"{explicit.num_nonzeros:,}",
        "max |layers − network|, around": f"{layers_off:.1e}",
        "max |network − u.eval|": f"{error:.1e}",
        "function → network → function": "identical" if identical else "NOT identical",
        "certificate": "exact" if certificate.exact else "NOT exact",
        "on another mesh": f"{apart.lower:.6f} ≤ sup |difference| ≤ {apart.upper:.6f}",
        "ns per point": f"{ours:.0f}, all neurons {1e9 * layers_seconds / 1000:,.0f}",
    }
    for name, value in rows.items():
        print(f"{name:34}{value}")
# -

# ## Look at it
#
# A cut through the hot spot, as the network goes on around the block; the first layer's planes in
# that cut; and where evaluation and all neurons differ, in the last bits only.

# +
if whole is not None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(15, 3.6), layout="constrained")
    px, pz = np.meshgrid(np.linspace(-0.2, 2.7, 580), np.linspace(-0.15, 0.95, 220))
    extent = (-0.2, 2.7, -0.15, 0.95)
    pixels = np.array([px.ravel(), np.full(px.size, centre[1]), pz.ravel()])
    values = whole(pixels).reshape(px.shape)
    image = axes[0].imshow(values, origin="lower", extent=extent, cmap="inferno", vmin=0)
    figure.colorbar(image, ax=axes[0], shrink=0.8)
    axes[0].set_title("temperature in a cut, and the ring around")

    planes, reach = explicit.layers[0], 3 / n
    px, pz = np.meshgrid(*(np.linspace(c - reach, c + reach, 200) for c in centre[[0, 2]]))
    pixels = np.array([px.ravel(), np.full(px.size, centre[1]), pz.ravel()])
    level = planes.weight @ pixels + planes.bias[:, None]
    bends = np.flatnonzero((level.min(axis=1) < 0) & (level.max(axis=1) > 0))
    axes[1].pcolormesh(px, pz, whole(pixels).reshape(px.shape), cmap="inferno")
    for neuron in bends:
        line = level[neuron].reshape(px.shape)
        axes[1].contour(px, pz, line, levels=[0], colors="w", linewidths=0.4)
    axes[1].set(title="close-up: where the first layer's planes meet it", aspect="equal")

    few = slant @ (np.array([[2.4], [0], [1.4]]) * rng.random((3, 3000)) - 0.2)
    few[1] = centre[1]
    difference = np.abs(explicit(few) - whole(few))
    dots = axes[2].scatter(few[0], few[2], c=difference, s=3, cmap="magma")
    figure.colorbar(dots, ax=axes[2], shrink=0.8)
    axes[2].set(title="|layers − network| in the cut", aspect="equal")

    picture = Path("pictures") / "box.png"
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, dpi=110)
    print(f"{'picture':34}{picture}")
