# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # Quadratic elements as deep networks, and when they pay
#
# A P1 function is a network with two hidden layers and one hat for each vertex. A P2 function is
# one too, up to an error that falls fourfold with every further layer; but each of these layers is
# some eight times as wide as the layer of hats. Here both solve the same Poisson problem with a
# smooth, known solution, and we compare networks of equal size: −Δu = f on the unit square,
# u = sin(2πx) sin(πy).

# +
# SPDX-License-Identifier: MIT
import sys
from pathlib import Path

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import default_scalar_type, fem, mesh

from fe_relu import network_from_function
from fe_relu.fenicsx import compat

comm = MPI.COMM_WORLD
largest = int(sys.argv[1]) if len(sys.argv) > 1 else 64
points = np.random.default_rng(comm.rank).random((2, 200_000 // comm.size))


def exact(x):
    return np.sin(2 * np.pi * x[0]) * np.sin(np.pi * x[1])


# -


# ## Solve, with either element
#
# The load is interpolated with degree 4, so that it limits neither element.


# +
def solution(n, degree):
    msh = mesh.create_unit_square(comm, n, n)
    V = fem.functionspace(msh, ("P", degree))
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    load = fem.Function(fem.functionspace(msh, ("P", 4)))
    load.interpolate(lambda x: 5 * np.pi**2 * exact(x))
    msh.topology.create_connectivity(1, 2)
    boundary = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(msh.topology))
    problem = compat.linear_problem(
        ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx,
        ufl.inner(load, v) * ufl.dx,
        [fem.dirichletbc(default_scalar_type(0), boundary, V)],
        prefix=f"p{degree}_",
        options={"ksp_type": "cg", "ksp_rtol": 1e-11, "pc_type": "gamg"},
    )
    found = problem.solve()
    found.x.scatter_forward()
    return found


def sup_error(network):
    own = np.abs(network(points) - exact(points)).max(initial=0)
    return comm.allreduce(float(own), op=MPI.MAX)


# -

# ## As many levels as the element deserves
#
# More levels than the element's own error asks for are wasted, fewer spoil it. The bound of what
# the levels leave out is known without evaluating anything, so we take the fewest levels at which
# it is a quarter of the element's error. The P1 mesh is then the finest whose network has no more
# neurons than that.


# +
def compared(n):
    """One row: a P2 network, and the P1 network of as many neurons."""
    u2 = solution(n, 2)
    own_error = sup_error(network_from_function(u2, levels=26))
    levels = 1
    while network_from_function(u2, levels=levels).error_bound > own_error / 4:
        levels += 1
    deep = network_from_function(u2, levels=levels)
    neurons = (n + 1) ** 2 + 4 * n + 3 + (levels + 1) * (2 * (2 * n + 1) ** 2 + 2)
    m = int(np.sqrt(neurons + 5)) - 3  # (m + 1)² hats and 4m + 3 lines
    shallow = network_from_function(solution(m, 1))
    if neurons < 100_000:  # the formulas above, against the layers themselves
        assert deep.explicit().num_neurons == neurons
        assert shallow.explicit().num_neurons <= neurons
    return {
        "neurons": neurons,
        "cells of P2": n,
        "levels": levels,
        "bound": deep.error_bound,
        "error of P2": sup_error(deep),
        "cells of P1": m,
        "error of P1": sup_error(shallow),
        "unknowns P2": (2 * n + 1) ** 2,
        "unknowns P1": (m + 1) ** 2,
    }


rows = [compared(n) for n in (2, 4, 8, 16, 32, 64, 128) if n <= largest]
u2 = solution(min(16, largest), 2)
ladder = [network_from_function(u2, levels=levels) for levels in range(1, 11)]
ladder_errors = [sup_error(network) for network in ladder]
# -

# ## What comes out
#
# Small networks are better spent on P1: the same neurons make a mesh several times as fine. From
# some size on P2 wins, because its error falls with h³ and not with h². And at any size it has far
# fewer unknowns to solve for, which counts before there is a network at all.

# +
if comm.rank == 0:
    print(
        f"{'neurons':>10}{'P2 mesh':>11}{'levels':>8}{'left out ≤':>12}{'P2 error':>11}"
        f"{'P1 mesh':>12}{'P1 error':>11}{'better':>8}{'unknowns P2 / P1':>22}"
    )
    for row in rows:
        n, m = row["cells of P2"], row["cells of P1"]
        ratio = row["error of P1"] / row["error of P2"]
        better = f"P2 {ratio:.1f}x" if ratio > 1 else f"P1 {1 / ratio:.1f}x"
        print(
            f"{row['neurons']:10,}{f'{n} x {n}':>11}{row['levels']:8}{row['bound']:12.1e}"
            f"{row['error of P2']:11.1e}{f'{m} x {m}':>12}{row['error of P1']:11.1e}{better:>8}"
            f"{row['unknowns P2']:11,} / {row['unknowns P1']:,}"
        )

    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    neurons = [row["neurons"] for row in rows]
    for degree in (1, 2):
        errors = [row[f"error of P{degree}"] for row in rows]
        axes[0].loglog(neurons, errors, "o-", label=f"P{degree} network")
    axes[0].set(title="equal numbers of neurons", xlabel="neurons", ylabel="sup error against u")
    axes[0].legend()
    levels = range(1, 11)
    axes[1].semilogy(levels, ladder_errors, "o-", label="error against u")
    bounds = [network.error_bound for network in ladder]
    axes[1].semilogy(levels, bounds, "k--", label="error_bound: network against P2 function")
    axes[1].set(title="one P2 function, more and more levels", xlabel="levels")
    axes[1].legend()
    picture = Path("pictures") / "p1_p2.png"
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, dpi=110)
    print(f"picture: {picture}")
# -
