# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: light
# ---

# # The hottest admissible point, by mixed-integer programming
#
# Where should a sensor go? As hot as possible, inside a polygon that keeps its distance from the
# walls and from the burner, and every metre of cable costs. The temperature is the solution of a
# PDE; as a ReLU network it becomes linear constraints and binary variables, and a solver finds the
# best point of all, with proof. Exact bounds of every neuron keep the model small. The P1 function
# can also be searched by hand, and the answers agree.

# +
# SPDX-License-Identifier: MIT
import sys
from pathlib import Path
from time import perf_counter

from mpi4py import MPI

import highspy
import numpy as np
import ufl
from dolfinx import default_scalar_type, fem, mesh
from scipy import sparse

from fe_relu import bounds, network_from_function
from fe_relu.fenicsx import compat
from fe_relu.meshes.grid.overlay import overlay_points

comm = MPI.COMM_WORLD
nx, ny = (int(n) for n in sys.argv[1:3]) if len(sys.argv) > 2 else (28, 14)
# -

# ## The temperature
#
# −Δu = f on [0, 2] × [0, 1], cold walls, a burner at (1.35, 0.55).

# +
msh = mesh.create_rectangle(comm, [[0, 0], [2, 1]], (nx, ny))
V = fem.functionspace(msh, ("P", 1))
x = ufl.SpatialCoordinate(msh)
u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
load = 80 * ufl.exp(-30 * ((x[0] - 1.35) ** 2 + (x[1] - 0.55) ** 2)) + 3 + 2 * ufl.sin(9 * x[0])

msh.topology.create_connectivity(1, 2)
boundary = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(msh.topology))
problem = compat.linear_problem(
    ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx,
    ufl.inner(load, v) * ufl.dx,
    [fem.dirichletbc(default_scalar_type(0), boundary, V)],
    prefix="optimise_",
    options={"ksp_type": "cg", "ksp_rtol": 1e-10, "pc_type": "gamg"},
)
uh = problem.solve()
uh.x.scatter_forward()
network = network_from_function(uh)
# -

# ## The admissible points
#
# A polygon, its corners counter-clockwise; each edge is one linear constraint. Temperature counts 1
# per degree, cable 0.8 per metre from the wall at the left.

# +
polygon = np.array([[0.15, 1.05, 1.22, 1.00, 0.30], [0.12, 0.15, 0.47, 0.86, 0.80]])
edges = np.roll(polygon, -1, axis=1) - polygon
outward = np.array([edges[1], -edges[0]]).T
reach = np.einsum("ed,de->e", outward, polygon)  # outward @ point ≤ reach
cable = np.array([0.8, 0.0])
box = np.array([polygon.min(axis=1), polygon.max(axis=1)]).T
# -

# ## By hand
#
# Temperature minus cost is P1 on the overlay of mesh and polygon, so the best point is a vertex of
# the overlay: a mesh vertex inside, or a cut of a mesh line with an edge of the polygon.

# +
fan = np.array([[polygon[:, 0], b, c] for b, c in zip(polygon.T[1:], polygon.T[2:], strict=False)])
triangles = fan.transpose(2, 1, 0)
cell, weights = overlay_points(network.mesh, triangles)
candidates = np.einsum("dvn,vn->dn", triangles[:, :, cell], weights)
scores = network(candidates) - cable @ candidates
best = candidates[:, scores.argmax()]
# -

# ## As a mixed-integer program
#
# A neuron h = relu(z) with L ≤ z ≤ U is h ≥ 0, h ≥ z, h ≤ z − L(1 − δ), h ≤ U δ with a binary δ:
# the tighter L and U, the tighter the model. With U ≤ 0 the neuron is dead and left out; with
# L ≥ 0 it is linear and needs no δ. One row is known from the structure: hats sum to 1 at most;
# without it the search takes far longer.


class Program:
    """max score · columns, such that rows hold; some columns are 0 or 1."""

    def __init__(self, sides):
        self.score, self.binary, self.limits, self.rows = [], [], [], []
        for low, high in sides:
            self.column(low, high)

    def column(self, low, high, binary=False):
        self.limits.append((low, high))
        self.binary.append(binary)
        self.score.append(0.0)
        return len(self.limits) - 1

    def row(self, columns, factors, low=-np.inf, high=np.inf):
        self.rows.append((columns, factors, low, high))

    def relu(self, columns, factors, bias, low, high):
        """The column that is relu(factors · columns + bias), low ≤ its argument ≤ high."""
        if high <= 0:
            return -1
        h = self.column(max(low, 0), high)
        if low >= 0:
            self.row([h, *columns], [1, *-factors], bias, bias)
            return h
        on = self.column(0, 1, binary=True)
        self.row([h, *columns], [1, *-factors], low=bias)
        self.row([h, *columns, on], [1, *-factors, -low], high=bias - low)
        self.row([h, on], [1, -high], high=0)
        return h

    def solve(self):
        lengths = [len(columns) for columns, *_ in self.rows]
        rows = np.repeat(np.arange(len(lengths)), lengths)
        columns = np.concatenate([columns for columns, *_ in self.rows])
        factors = np.concatenate([factors for _, factors, *_ in self.rows])
        shape = (len(lengths), len(self.limits))
        matrix = sparse.csr_array((factors, (rows, columns)), shape=shape)
        model = highspy.HighsLp()
        model.num_row_, model.num_col_ = shape
        model.col_cost_ = -np.array(self.score)
        model.col_lower_, model.col_upper_ = np.array(self.limits, float).T.copy()
        model.row_lower_ = np.array([low for *_, low, _ in self.rows])
        model.row_upper_ = np.array([high for *_, high in self.rows])
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_, model.a_matrix_.index_ = matrix.indptr, matrix.indices
        model.a_matrix_.value_ = matrix.data
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        model.integrality_ = [kinds[binary] for binary in self.binary]
        solver = highspy.Highs()
        for option, value in {"output_flag": False, "threads": 1, "mip_rel_gap": 1e-9}.items():
            solver.setOptionValue(option, value)
        for option in ("mip_feasibility_tolerance", "primal_feasibility_tolerance"):
            solver.setOptionValue(option, 1e-9)
        solver.passModel(model)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise RuntimeError(f"HiGHS: {solver.modelStatusToString(solver.getModelStatus())}")
        return -solver.getInfo().objective_function_value, solver.getSolution().col_value[:2]


def program_of(layers, limits):
    """The network as a program over the box, the polygon and the cost included."""
    *hidden, output = layers
    program = Program(box)
    program.score[:2] = -cable
    for normal, limit in zip(outward, reach, strict=True):
        program.row([0, 1], normal, high=limit)
    before = np.array([0, 1])
    for affine, pairs in zip(hidden, limits, strict=True):
        weight, here = affine.weight, []
        for k, (low, high) in enumerate(zip(*pairs, strict=True)):
            entries = slice(*weight.indptr[k : k + 2])
            columns, factors = before[weight.indices[entries]], weight.data[entries]
            alive = columns >= 0
            here.append(
                program.relu(columns[alive], factors[alive], affine.bias[k], low, high),
            )
        before = np.array(here)
    hats = before[before >= 0]
    program.row(hats, np.ones(hats.size), high=1)
    for column, value in zip(before[output.weight.indices], output.weight.data, strict=True):
        if column >= 0:
            program.score[column] = value
    return program


# -

# ## Three sets of bounds
#
# Exact ones from `bounds(network, box)`; interval arithmetic over the layers; and a number that is
# large enough, which is what one writes without bounds.

# +
exact = bounds(network, box)
whole = network.gather(root=0)
if whole is not None:
    network_layers = whole.explicit()
    by_intervals = bounds(network_layers, box)
    large = [(np.full(low.size, -1e3), np.full(low.size, 1e3)) for low, _ in exact.layers]
    ways = {"exact": exact.layers, "intervals": by_intervals.layers, "1000": large}

    print(f"{'mesh, vertices':26}{nx} x {ny}, {whole.mesh.num_vertices}")
    print(f"{'by hand':26}{scores.max():.9f} at ({best[0]:.4f}, {best[1]:.4f})")
    print(f"{'candidates by hand':26}{scores.size}")
    print(f"\n{'bounds':12}{'variables':>10}{'binaries':>10}{'rows':>8}{'seconds':>9}  best point")
    for way, layers in ways.items():
        program = program_of(network_layers.layers, layers)
        start = perf_counter()
        value, point = program.solve()
        seconds = perf_counter() - start
        sizes = f"{len(program.limits):10}{sum(program.binary):10}{len(program.rows):8}"
        off = abs(value - scores.max())
        print(
            f"{way:12}{sizes}{seconds:9.1f}  ({point[0]:.4f}, {point[1]:.4f}), "
            + ("agrees" if off < 1e-6 else "does NOT agree")
            + f": {off:.0e} apart"
        )
# -

# ## Look at it
#
# The temperature, the polygon, and the best point; then the hats that stay in the program.

if whole is not None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(13, 3.6), layout="constrained")
    px, py = np.meshgrid(np.linspace(0, 2, 600), np.linspace(0, 1, 300))
    values = whole(np.array([px.ravel(), py.ravel()])).reshape(px.shape)
    image = axes[0].imshow(values, origin="lower", extent=(0, 2, 0, 1), cmap="inferno")
    axes[0].plot(*candidates, ".", color="white", markersize=1)
    axes[0].plot(*best, "*", color="cyan", markersize=14)
    axes[0].set_title("temperature, overlay vertices by hand, best point")
    figure.colorbar(image, ax=axes[0], shrink=0.8)
    vertices = whole.mesh.vertices()
    for way, style in (("intervals", "o"), ("exact", "*")):
        alive = ways[way][1][1] > 0
        axes[1].plot(*vertices[:, alive], style, markersize=5, label=f"{way}: {alive.sum()} hats")
    axes[1].set(title="hats left in the program", xlim=(0, 2), ylim=(0, 1), aspect="equal")
    axes[1].legend(loc="right")
    for axis in axes:
        axis.fill(*polygon, fill=False, edgecolor="limegreen")

    picture = Path("pictures") / "optimise.png"
    picture.parent.mkdir(exist_ok=True)
    figure.savefig(picture, dpi=110)
    print(f"\n{'picture':26}{picture}")
