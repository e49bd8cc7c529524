# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # Which material is at a point?
#
# Cell tags of a mesh, here three materials on gmsh's mesh of a plate with holes, become a network
# with one output a material. The largest output names the material, in every cell; the ONNX file
# needs no finite elements to be read. Run it alone or under `mpirun`.

# +
# SPDX-License-Identifier: MIT
import sys
from pathlib import Path

from mpi4py import MPI

import numpy as np
from dolfinx import io, mesh

from fe_relu import classifier_from_meshtags, to_onnx
from fe_relu.fenicsx import compat

comm = MPI.COMM_WORLD
num_points = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
here = Path(__file__).parent if "__file__" in globals() else Path("demos")
text = io.XDMFFile.Encoding.ASCII
with io.XDMFFile(comm, here / "plate.xdmf", "r", encoding=text) as file:
    msh = file.read_mesh(name="plate")

cells = np.arange(msh.topology.index_map(2).size_local, dtype=np.int32)
x, y, _ = mesh.compute_midpoints(msh, 2, cells).T
steel, glue, wood = 11, 5, 20
material = np.where(np.hypot(x - 1, y - 0.5) < 0.35, steel, np.where(x + 0.3 * y < 1, glue, wood))
tags = mesh.meshtags(msh, 2, cells, material.astype(np.int32))
# -

# ## Tags to a network, to a file

# +
classifier = classifier_from_meshtags(tags, msh)
network, classes = classifier.network, classifier.classes
folder = Path("pictures")
whole = network.gather(root=0)
if whole is not None:
    folder.mkdir(exist_ok=True)
    to_onnx(whole, folder / "materials.onnx", form="active")
# -

# Is it right? At random points of each rank's own cells. Away from interfaces one output is 1.

# +
rng = np.random.default_rng(comm.rank)
some = rng.integers(0, max(cells.size, 1), num_points // comm.size if cells.size else 0)
weights = rng.dirichlet(np.ones(3), some.size)
corners = msh.geometry.x[compat.geometry_dofmap(msh)[: cells.size]][some]
points = np.einsum("nv,nvd->dn", weights, corners)[:2]
outputs = network(points)
told = classes[outputs.argmax(axis=0)]
wrong = comm.allreduce(np.count_nonzero(told != tags.values[some]))
sure = comm.allreduce(np.count_nonzero(outputs.max(axis=0) > 1 - 1e-9))
total = comm.allreduce(some.size)
if whole is not None:
    layers = whole.explicit()
    apart = np.abs(layers(points[:, :1000]) - outputs[:, :1000]).max()
    size = (folder / "materials.onnx").stat().st_size / 2**20
    print(f"{'materials':34}{', '.join(map(str, classes))}")
    print(f"{'cells, of the network':34}{network.mesh.num_cells:,}")
    print(f"{'vertices, of the network':34}{network.mesh.num_vertices:,}")
    print(f"{'points with the wrong material':34}{wrong} of {total:,}")
    print(f"{'points where one output is 1':34}{100 * sure / total:.0f} %")
    print(f"{'explicit layers':34}{' → '.join(map(str, layers.widths))}")
    print(f"{'max |layers − network|':34}{apart:.1e}")
    print(f"{'ONNX file':34}{size:.1f} MiB")
# -

# ## Look at it

# +
px, py = np.meshgrid(np.linspace(0, 2, 801), np.linspace(0, 1, 401))
pixels = network(np.array([px.ravel(), py.ravel()]), outside="nan")
if comm.rank == 0:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 3.4), layout="constrained")
    names = pixels.argmax(axis=0).astype(float)
    names[np.isnan(pixels[0])] = np.nan
    for ax, values, title in (
        (axes[0], names, "the largest output"),
        (axes[1], pixels.max(axis=0), "how large it is"),
    ):
        image = ax.imshow(
            values.reshape(px.shape), origin="lower", extent=(0, 2, 0, 1), cmap="viridis"
        )
        figure.colorbar(image, ax=ax, shrink=0.8)
        ax.set_title(title)
    figure.savefig(folder / "materials.png", dpi=110)
    print(f"{'picture':34}{folder / 'materials.png'}")
