# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # A plate with holes, meshed by gmsh
#
# A plate is held at its left side and pulled at its right. Its mesh comes from gmsh, and is no
# grid. Displacements are a network with two outputs; its gradient gives the stress. The network
# leaves as an ONNX file, which runs where no finite-element software is. Run it alone or under
# `mpirun`.

# +
# SPDX-License-Identifier: MIT
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import fem, io, mesh

from fe_relu import function_from_network, network_from_function, to_onnx
from fe_relu.fenicsx import compat

comm = MPI.COMM_WORLD
halvings = int(sys.argv[1]) if len(sys.argv) > 1 else 2
num_points = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
# -

# ## Solve
#
# `plate.geo` is gmsh's script, `plate.xdmf` the mesh that it makes, as text. Its cells are halved
# twice along each side. Linear elasticity in plane stress, P1 elements.

# +
here = Path(__file__).parent if "__file__" in globals() else Path("demos")
text = io.XDMFFile.Encoding.ASCII
with io.XDMFFile(comm, here / "plate.xdmf", "r", encoding=text) as file:
    msh = file.read_mesh(name="plate")
for _ in range(halvings):
    msh.topology.create_entities(1)
    msh = mesh.refine(msh)[0]
msh.topology.create_connectivity(1, 2)

V = fem.functionspace(msh, ("P", 1, (2,)))
u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
young, poisson = 1.0, 0.3
mu, lam = young / (2 * (1 + poisson)), young * poisson / (1 - poisson**2)


def strain(u):
    return ufl.sym(ufl.grad(u))


stress = 2 * mu * strain(u) + lam * ufl.tr(strain(u)) * ufl.Identity(2)
right = mesh.locate_entities_boundary(msh, 1, lambda x: np.isclose(x[0], 2))
left = mesh.locate_entities_boundary(msh, 1, lambda x: np.isclose(x[0], 0))
pulled = ufl.Measure("ds", msh, subdomain_data=mesh.meshtags(msh, 1, np.sort(right), 1))
pull = fem.Constant(msh, np.array([0.01, 0.0]))
problem = compat.linear_problem(
    ufl.inner(stress, strain(v)) * ufl.dx,
    ufl.inner(pull, v) * pulled(1),
    [fem.dirichletbc(np.zeros(2), fem.locate_dofs_topological(V, 1, left), V)],
    prefix="plate_",
    options={"ksp_type": "preonly", "pc_type": "lu", "pc_factor_mat_solver_type": "mumps"},
)
uh = problem.solve()
uh.x.scatter_forward()
# -

# ## Convert, evaluate, convert back
#
# Each rank asks for points of the whole plate. In the holes the network goes to zero, as its layers
# do; where there should be no value, `outside="nan"` says so, and takes a search around each such
# point.

# +
network = network_from_function(uh)
back, certificate = function_from_network(network, V)

rng = np.random.default_rng(comm.rank)
points = np.array([[2.0], [1.0]]) * rng.random((2, num_points // comm.size))
seconds = {}
for outside in ("extend", "nan"):
    network(points[:, :10], outside=outside)  # compiles, or loads what was compiled before
    comm.barrier()
    start = perf_counter()
    values = network(points, outside=outside)
    comm.barrier()
    seconds[outside] = perf_counter() - start
in_holes = comm.allreduce(np.count_nonzero(np.isnan(values[0])))
# -

# Is it right? Beside DOLFINx's own values at random points of each rank's own cells, where no
# search can go wrong.

# +
own_cells = msh.topology.index_map(2).size_local
cells = rng.integers(0, max(own_cells, 1), 50_000 if own_cells else 0).astype(np.int32)
weights = rng.dirichlet(np.ones(3), len(cells))
inside = np.einsum("nv,nvd->nd", weights, msh.geometry.x[compat.geometry_dofmap(msh)[cells]])
off = np.abs(network(inside[:, :2].T) - uh.eval(inside, cells).reshape(-1, 2).T)
size = comm.allreduce(np.abs(uh.x.array).max(initial=0), op=MPI.MAX)
error = comm.allreduce(off.max(initial=0), op=MPI.MAX) / size
identical = comm.allreduce(back.x.array.tobytes() == uh.x.array.tobytes(), op=MPI.LAND)
# -

# ## Lines, and the stress
#
# Along a line through two holes, the displacement, and from the gradient the von Mises stress.

# +
across = np.linspace(0, 2, 2001)
line = np.array([across, np.full_like(across, 0.5)])


def von_mises(x):
    """From the network's gradient, (component, axis, n); NaN in holes."""
    gradient = network.gradient(x, outside="nan")
    sheared = mu * (gradient[0, 1] + gradient[1, 0])
    xx, yy = gradient[0, 0], gradient[1, 1]
    volume = lam * (xx + yy)
    xx, yy = 2 * mu * xx + volume, 2 * mu * yy + volume
    return np.sqrt(xx**2 - xx * yy + yy**2 + 3 * sheared**2)


along, stress_along = network(line, outside="nan"), von_mises(line)
px, py = np.meshgrid(np.linspace(0, 2, 801), np.linspace(0, 1, 401))
pixels = np.array([px.ravel(), py.ravel()])
stress_map = von_mises(pixels).reshape(px.shape)
# -

# ## Out, and in again
#
# One file, one lookup a point: bucket, candidates, the cell with the largest least barycentric
# coordinate. onnxruntime reads it and knows nothing of finite elements.

# +
folder = Path("pictures")
whole = network.gather(root=0)


@contextmanager
def silent_stderr():
    """Debian's onnx and onnxruntime share a library; the second used prints a thousand lines."""
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


if whole is not None:
    folder.mkdir(exist_ok=True)
    to_onnx(whole, folder / "plate.onnx", form="active")
    with silent_stderr():
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            folder / "plate.onnx", options, providers=["CPUExecutionProvider"]
        )
    few = np.ascontiguousarray(points[:, : len(points[0]) // 10].T)
    start = perf_counter()
    (by_file,) = session.run(["u"], {"x": few})
    onnx_seconds = perf_counter() - start
    apart = np.abs(by_file.T - whole(few.T)).max() / size
    ours = {word: 1e9 * took / (len(points[0]) * comm.size) for word, took in seconds.items()}
    rows = {
        "ranks": f"{comm.size}",
        "vertices, cells": f"{whole.mesh.num_vertices:,}, {whole.mesh.num_cells:,}",
        "points in holes": f"{in_holes:,} of {len(points[0]) * comm.size:,}",
        "ns per point": f"{ours['extend']:.0f}, and {ours['nan']:.0f} with NaN in holes",
        "max |network − u.eval| / max |u|": f"{error:.1e}",
        "function → network → function": "identical" if identical else "NOT identical",
        "certificate": "exact" if certificate.exact else "NOT exact",
        "stress at its largest": f"{np.nanmax(stress_map) / 0.01:.2f} times the pull",
        "ONNX file": f"{(folder / 'plate.onnx').stat().st_size / 2**20:.1f} MiB",
        "onnxruntime, µs per point": f"{1e6 * onnx_seconds / len(few):.2f}",
        "max |file − network| / max |u|": f"{apart:.1e}",
    }
    for name, value in rows.items():
        print(f"{name:34}{value}")
# -

# ## Look at it

# +
if whole is not None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(15, 3.6), layout="constrained")
    image = axes[0].imshow(
        stress_map / 0.01, origin="lower", extent=(0, 2, 0, 1), cmap="magma", vmin=0
    )
    figure.colorbar(image, ax=axes[0], shrink=0.8)
    axes[0].axhline(0.5, color="w", linewidth=0.8, linestyle="--")
    axes[0].set_title("stress over pull, from the network's gradient")
    lines = axes[1].plot(across, along[0], color="#2a7ab8", label="displacement along x")
    axes[1].set(xlabel="x, at y = 0.5", title="along the line; gaps are holes")
    twin = axes[1].twinx()
    style = {"color": "#c8442f", "linewidth": 0.8, "label": "stress over pull (right scale)"}
    lines += twin.plot(across, stress_along / 0.01, **style)
    axes[1].legend(handles=lines, loc="upper left", frameon=False)
    some = slice(0, 30_000)
    dots = axes[2].scatter(
        *few[some].T, c=np.abs(by_file - whole(few.T).T).max(axis=1)[some] / size, s=1, cmap="magma"
    )
    figure.colorbar(dots, ax=axes[2], shrink=0.8)
    axes[2].set(title="|onnxruntime − network| / max |u|", xlim=(0, 2), ylim=(0, 1))
    axes[2].set_aspect("equal")
    figure.savefig(folder / "gmsh.png", dpi=110)
    print(f"{'picture':34}{folder / 'gmsh.png'}")
