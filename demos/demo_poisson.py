# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # A Poisson solution is a ReLU network
#
# We solve −Δu = f on a rectangle, hold the solution as a ReLU network with two hidden layers,
# evaluate it at a million points, and turn it back into the same finite-element function. Run it
# alone or under `mpirun`; nothing changes but the speed.

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
nx, ny = (int(n) for n in sys.argv[1:3]) if len(sys.argv) > 2 else (256, 128)
num_points = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
# -

# ## Solve
#
# P1 elements on `create_rectangle`; the load has a peak in one corner.

# +
msh = mesh.create_rectangle(comm, [[0, 0], [2, 1]], (nx, ny), diagonal=mesh.DiagonalType.crossed)
V = fem.functionspace(msh, ("P", 1))
x = ufl.SpatialCoordinate(msh)
u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
load = 100 * ufl.exp(-40 * ((x[0] - 1.5) ** 2 + (x[1] - 0.6) ** 2)) + ufl.sin(5 * x[0])

msh.topology.create_connectivity(1, 2)
boundary = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(msh.topology))
problem = compat.linear_problem(
    ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx,
    ufl.inner(load, v) * ufl.dx,
    [fem.dirichletbc(default_scalar_type(0), boundary, V)],
    prefix="poisson_",
    options={"ksp_type": "cg", "ksp_rtol": 1e-10, "pc_type": "gamg"},
)
uh = problem.solve()
uh.x.scatter_forward()
# -

# ## Convert, evaluate, convert back
#
# One call each. `network(points)` is collective: each rank passes any points of the domain, whoever
# owns them, and gets their values in its own order.

# +
network = network_from_function(uh)
back, certificate = function_from_network(network, V)

rng = np.random.default_rng(comm.rank)
points = np.array([[2.0], [1.0]]) * rng.random((2, num_points // comm.size))
network(points[:, :10])  # compiles, or loads what was compiled before

comm.barrier()
start = perf_counter()
values = network(points)
comm.barrier()
seconds = perf_counter() - start
# -

# ## Compare with dolfinx
#
# The values: at random points of each rank's own cells, where no search can go wrong. (dolfinx's
# search takes a point up to 1e-5 of a cell outside for one inside, and `eval` then extrapolates.)

# +
own_cells = msh.topology.index_map(2).size_local
cells = rng.integers(0, max(own_cells, 1), 100_000 if own_cells else 0).astype(np.int32)
weights = rng.dirichlet(np.ones(3), len(cells))
inside = np.einsum("nv,nvd->nd", weights, msh.geometry.x[compat.geometry_dofmap(msh)[cells]])
own_error = np.abs(network(inside.T) - uh.eval(inside, cells).reshape(-1))
error = comm.allreduce(own_error.max(initial=0), op=MPI.MAX)
identical = comm.allreduce(back.x.array.tobytes() == uh.x.array.tobytes(), op=MPI.LAND)
# -

# The time: dolfinx finds the owner and the cell of each point, then evaluates there. A tenth of
# the points is enough to see.

# +
some = np.zeros((points.shape[1] // 10, 3))
some[:, :2] = points[:, ::10].T[: len(some)]
comm.barrier()
start = perf_counter()
owned, cells = compat.point_owners(msh, some, 1e-14)
uh.eval(owned, cells)
comm.barrier()
dolfinx_seconds = perf_counter() - start

whole = network.gather(root=0)
if whole is not None:
    explicit = whole.explicit()
    ours = 1e9 * seconds / (len(points[0]) * comm.size)
    theirs = 1e9 * dolfinx_seconds / (len(some) * comm.size)
    rows = {
        "ranks": f"{comm.size}",
        "vertices": f"{network.mesh.num_vertices:,}",
        "widths of the layers": " → ".join(f"{width:,}" for width in explicit.widths),
        "neurons": f"{explicit.num_neurons:,}",
        "non-zero weights": f"{explicit.num_nonzeros:,}",
        "max |network − u.eval|": f"{error:.1e}",
        "function → network → function": "identical" if identical else "NOT identical",
        "certificate": f"exact, error ≤ {certificate.upper:.1e}"
        if certificate.exact
        else "NOT exact",
        "fe_relu, ns per point": f"{ours:.1f}",
        "dolfinx, ns per point": f"{theirs:.0f}   ({theirs / ours:.0f} times as long)",
    }
    for name, value in rows.items():
        print(f"{name:32}{value}")
# -

# ## Look at it
#
# The solution; a close-up of the lines where first-layer neurons bend, and three second-layer
# hats; and where the network differs from `u.eval`: in the last bits only.

# +
shown = slice(None, 20_000 // comm.size)
samples = comm.gather((inside[shown, :2], own_error[shown]))
if whole is not None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(15, 3.4), layout="constrained")
    px, py = np.meshgrid(np.linspace(0, 2, 600), np.linspace(0, 1, 300))
    pixels = np.array([px.ravel(), py.ravel()])
    image = axes[0].imshow(whole(pixels).reshape(px.shape), origin="lower", extent=(0, 2, 0, 1))
    axes[0].set_title("solution, drawn from the network")
    figure.colorbar(image, ax=axes[0], shrink=0.8)

    lines, hats, _ = whole.explicit().layers
    left, bottom = whole.mesh.origin + whole.mesh.axes @ (nx // 2, ny // 2)
    right, top = left + 4 * whole.mesh.axes[0, 0], bottom + 3 * whole.mesh.axes[1, 1]
    px, py = np.meshgrid(np.linspace(left, right, 400), np.linspace(bottom, top, 300))
    pixels = np.array([px.ravel(), py.ravel()])
    corner = (ny // 2) * (nx + 1) + nx // 2
    centre = (nx + 1) * (ny + 1) + (ny // 2) * nx + nx // 2
    chosen = hats.weight[[corner + nx + 2, corner + 2 * (nx + 1) + 3, centre + 2]]
    used = np.unique(chosen.indices)
    first = np.maximum(lines.weight[used] @ pixels + lines.bias[used, None], 0)
    active = np.maximum(chosen[:, used] @ first + 1, 0).max(axis=0)
    axes[1].imshow(
        active.reshape(px.shape),
        origin="lower",
        extent=(left, right, bottom, top),
        aspect="auto",
        cmap="Oranges",
    )
    ends = lines(np.array([[left, right, left, right], [bottom, bottom, top, top]]))
    for neuron in np.flatnonzero((ends.min(axis=1) < 0) & (ends.max(axis=1) > 0)):
        (slope,) = lines.weight[[neuron]].toarray()
        kink = (slope @ pixels + lines.bias[neuron]).reshape(px.shape)
        axes[1].contour(px, py, kink, levels=[0], colors="0.4", linewidths=0.7)
    axes[1].set_title("close-up: first-layer lines, three second-layer hats")

    where = np.concatenate([place for place, _ in samples])
    size = np.concatenate([value for _, value in samples])
    dots = axes[2].scatter(*where.T, c=size, s=1, cmap="magma")
    axes[2].set(title="|network − u.eval|", xlim=(0, 2), ylim=(0, 1), aspect="equal")
    figure.colorbar(dots, ax=axes[2], shrink=0.8)

    picture = Path("pictures") / "poisson.png"
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, dpi=110)
    print(f"{'picture':32}{picture}")
