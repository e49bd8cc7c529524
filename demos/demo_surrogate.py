# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # How small can the network of a solution be?
#
# A P1 solution on a mesh with N vertices is a ReLU network with about N neurons. Few of them are
# needed where the solution is smooth. We solve three problems, make the network of each smaller in
# three ways, and count the neurons that each way needs for the same error:
#
# - **thresholding**: `compress` keeps the largest hierarchical coefficients;
# - **truncation**: `truncate` keeps all coefficients of the coarser levels, and no others;
# - a **uniform mesh**: solve with fewer cells in the first place.
#
# Run it alone or under `mpirun`.

# +
# SPDX-License-Identifier: MIT
import sys
from functools import cache
from math import ceil, log
from pathlib import Path
from time import perf_counter

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import ufl
from dolfinx import default_scalar_type, fem, mesh

from fe_relu import hierarchical_from_function, plot
from fe_relu.fenicsx import compat

comm = MPI.COMM_WORLD
n = int(sys.argv[1]) if len(sys.argv) > 1 else 2048  # cells along a side, for the boundary layer
target = float(sys.argv[2]) if len(sys.argv) > 2 else 1e-3  # relative error to compare at
# -

# ## Three problems
#
# −div(κ grad u) + c u = f on the unit square, u = 0 on the boundary. The load is 1 on the middle
# of every side and falls to 0 at the corners, where else the boundary layers of two sides would
# meet in a singularity, which makes a uniform mesh fare worse still.

# +
DISC = ((0.45, 0.55), 0.3)  # centre and radius


def jumping(x):
    (a, b), radius = DISC
    return ufl.conditional(ufl.lt((x[0] - a) ** 2 + (x[1] - b) ** 2, radius**2), 1000.0, 1.0)


#: Name, equation, cells along a side, κ and c.
PROBLEMS = (
    ("smooth", "−Δu = f", n // 2, lambda x: 1.0, 0.0),
    ("boundary layer", "−10⁻⁴ Δu + u = f", n, lambda x: 1e-4, 1.0),
    ("jump", "−div(κ grad u) = f, κ = 1000 on a disc, else 1", n // 2, jumping, 0.0),
)


@cache
def space(cells):
    return fem.functionspace(mesh.create_unit_square(comm, cells, cells), ("P", 1))


def solve(cells, kappa, c):
    V = space(cells)
    x = ufl.SpatialCoordinate(V.mesh)
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    load = 1 - ((2 * x[0] - 1) * (2 * x[1] - 1)) ** 2
    boundary = fem.locate_dofs_geometrical(
        V, lambda x: np.isclose(x[:2] * (1 - x[:2]), 0, atol=1e-9).any(axis=0)
    )
    hypre = PETSc.Sys.hasExternalPackage("hypre")
    problem = compat.linear_problem(
        (kappa(x) * ufl.inner(ufl.grad(u), ufl.grad(v)) + c * u * v) * ufl.dx,
        load * v * ufl.dx,
        [fem.dirichletbc(default_scalar_type(0), boundary, V)],
        prefix="surrogate_",
        options={"ksp_type": "cg", "ksp_rtol": 1e-9, "pc_type": "hypre" if hypre else "gamg"},
    )
    u = problem.solve()
    u.x.scatter_forward()
    return u


# -

# ## What is compared
#
# Errors are the largest difference to the fine solution at the fine mesh's vertices, over max |u|;
# for a surrogate that is the sup over the whole mesh. Neurons are all ReLUs of the explicit
# network, in both hidden layers. No network has neurons for coefficients that are zero, such as
# those on the boundary. On a uniform mesh there are two ways, to solve there and to interpolate the
# fine solution, and the one with the smaller error counts.


# +
class Fine:
    """The fine solution, and what other networks have to do with it."""

    def __init__(self, cells, kappa, c):
        self.cells, self.coefficients = cells, (kappa, c)
        self.u = solve(cells, kappa, c)
        start = perf_counter()
        self.h = hierarchical_from_function(self.u)
        self.seconds = perf_counter() - start
        owned = self.u.function_space.dofmap.index_map.size_local
        self.points = self.u.function_space.tabulate_dof_coordinates()[:owned].T
        self.values = self.u.x.array[:owned]
        self.network = self.h.to_p1()

    def surrogate(self, surrogate):
        """(neurons, error)."""
        return surrogate.explicit().num_neurons, surrogate.error / self.network.size

    def compressed(self, tol):
        return self.surrogate(self.h.compress(tol=tol, relative=True))

    def truncated(self, level):
        return self.surrogate(self.h.truncate(levels=level))

    def uniform(self, cells):
        """(neurons, error) of the better network on a uniform mesh."""
        solved = solve(cells, *self.coefficients)
        interpolated = fem.Function(solved.function_space)
        interpolated.interpolate(self.network)
        roundoff = np.abs(interpolated.x.array) < 1e-12 * self.network.size
        interpolated.x.array[roundoff] = 0  # on the boundary, where it would cost neurons
        return min((self._measured(w) for w in (solved, interpolated)), key=lambda pair: pair[1])

    def _measured(self, w):
        rival = hierarchical_from_function(w, levels=0).truncate(levels=0)
        off = np.abs(rival(self.points) - self.values).max(initial=0)
        error = comm.allreduce(off, op=MPI.MAX) / self.network.size
        return rival.explicit().num_neurons, error

    def uniform_for(self, tol, sizes, errors):
        """The cells of about the coarsest uniform mesh with error at most tol, and its pair.

        Guessed from the last of the sizes and their errors, then refined by steps of a hundredth.
        """
        rate = log(errors[-2] / errors[-1]) / log(sizes[-1] / sizes[-2])
        cells = int(sizes[-1] * (errors[-1] / tol) ** (1 / rate))
        while (pair := self.uniform(cells))[1] > tol:
            cells = ceil(1.01 * cells)
        return cells, pair


def say(*lines):
    if comm.rank == 0:
        print(*lines, sep="\n", flush=True)


solve(4, jumping, 1.0)  # compiles, or loads what was compiled before
# -

# ## Error against neurons
#
# Each line: a uniform mesh; the truncation to the same level; and the surrogate that `compress`
# makes when it is asked for the error of the uniform mesh. The last line of the boundary layer goes
# the other way: the surrogate for relative error 10⁻³, and the coarsest uniform mesh as good as it.

# +
results = {}
for name, equation, cells, kappa, c in PROBLEMS:
    fine = Fine(cells, kappa, c)
    sizes = [cells >> k for k in range(5, 0, -1)]
    rows = []
    for k, size in zip(range(5, 0, -1), sizes, strict=True):
        pair = fine.uniform(size)
        truncated = fine.truncated(fine.h.levels - k)
        rows.append((size, pair, truncated, fine.compressed(pair[1])))
    start = perf_counter()
    small = fine.h.compress(tol=target, relative=True)
    seconds = perf_counter() - start
    found = fine.surrogate(small)
    if name == "boundary layer":
        size, pair = fine.uniform_for(found[1], sizes, [error for _, (_, error), _, _ in rows])
        rows.append((size, pair, (), found))
        (neurons, error), (kept, reached) = pair, found
    say(
        f"{name}: {equation}",
        f"  {cells} x {cells} cells, {fine.network.mesh.num_vertices:,} vertices, "
        f"{fine.h.levels} levels; to the basis {fine.seconds:.2f} s, compress {seconds:.2f} s",
        "             uniform mesh          truncation        thresholding    uniform /",
        "  cells    error    neurons    error    neurons    error    neurons  thresholding",
    )
    for size, *pairs in rows:
        columns = "".join(f"  {pair[1]:.1e} {pair[0]:10,}" if pair else 20 * " " for pair in pairs)
        say(f"  {size:5}{columns}  {pairs[0][0] / pairs[-1][0]:9.1f}")
    uniform, truncation, thresholding = list(zip(*rows, strict=True))[1:]
    results[name] = (
        small,
        {
            "uniform mesh": uniform,
            "truncation": [pair for pair in truncation if pair],
            "thresholding": {*thresholding, found},
        },
    )
    say("")

say(
    f"boundary layer, relative error {error:.2e} (uniform), {reached:.2e} (surrogate):",
    f"  neurons of the uniform mesh over the surrogate's   {neurons / kept:.1f}   ≥ 10",
)
# -

# ## Look at it
#
# Above, the neurons that the surrogates keep: evenly spread where the solution is smooth, and
# crowded in the layers and along the circle where the coefficient jumps. Below, what they cost.

# +
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

figure, panels = plt.subplots(2, 3, figsize=(13, 8), layout="constrained")
for (name, (small, curves)), (above, below) in zip(results.items(), panels.T, strict=True):
    plot.kept(small, above)
    above.set_title(f"{name}\n{small.num_kept:,} coefficients kept for error {target:g}")
    plot.error_against_neurons(curves, below, label="sup error / max |u|")
if comm.rank == 0:
    picture = Path("pictures") / "surrogate.png"
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, dpi=110)
    print(f"picture: {picture}")
