# SPDX-License-Identifier: MIT
"""Recognition: every create_rectangle mesh and its affine images, and nothing else."""

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import io, mesh

from cases import BOXES, DIAGONALS, MAPS, SHAPES, mapped, on_first_rank, rectangle
from fe_relu import NotStructuredError, grid_from_mesh
from fe_relu.fenicsx import compat
from fe_relu.fenicsx.meshes import located_mesh


def expected_name(diagonal, shape):
    """1 x 1 cell has one diagonal only, so it alternates with nothing."""
    if shape == (1, 1):
        return {"left_right": "right", "right_left": "left"}.get(diagonal, diagonal)
    return diagonal


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_rectangles_are_recognised(comm, diagonal, shape):
    for box, ((ax, ay), (bx, by)) in BOXES.items():
        grid = grid_from_mesh(rectangle(comm, diagonal, shape, box))
        assert (grid.diagonal, grid.shape) == (expected_name(diagonal, shape), shape)
        assert grid.origin.tolist() == [ax, ay]
        assert grid.axes == pytest.approx(np.diag([(bx - ax) / shape[0], (by - ay) / shape[1]]))


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_vertex_numbers_are_those_of_create_rectangle(comm, diagonal):
    msh = rectangle(comm, diagonal, (3, 5))
    assert (located_mesh(msh, 1e-8).vertex_of_node == msh.geometry.input_global_indices).all()


@pytest.mark.parametrize("ghosts", ["none", "shared_facet"])
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_grid_does_not_depend_on_the_partition(comm, diagonal, ghosts):
    alone = grid_from_mesh(rectangle(comm.Split(comm.rank), diagonal))
    assert grid_from_mesh(rectangle(comm, diagonal, ghosts=ghosts)) == alone


@pytest.mark.parametrize("image", MAPS)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_affine_images_are_recognised(comm, diagonal, image):
    for dtype in (np.float32, np.float64):
        msh = mapped(rectangle(comm, diagonal, (3, 5), "shifted", dtype=dtype), MAPS[image])
        located = located_mesh(msh, 1e-8)
        off = located.mesh.vertices()[:, located.vertex_of_node] - msh.geometry.x[:, :2].T
        assert np.abs(off).max(initial=0) < 1e2 * np.finfo(dtype).eps
        assert np.linalg.det(located.mesh.axes) > 0
        assert located.mesh.axes[0, 0] > 0


def test_axes_point_along_x_and_y_first(comm):
    turned = grid_from_mesh(mapped(rectangle(comm, "right", (3, 5)), MAPS["turned by 90"]))
    assert (turned.shape, turned.diagonal) == ((5, 3), "left")
    rotated = grid_from_mesh(mapped(rectangle(comm, "right", (3, 5)), MAPS["rotated"]))
    assert (rotated.shape, rotated.diagonal) == ((3, 5), "right")


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_renumbered_meshes_are_recognised(comm, rng, diagonal):
    """Cells, vertices and the corners of each cell in random order."""
    msh = shuffled(comm, rng, rectangle(comm.Split(comm.rank), diagonal, (3, 5)))
    grid = grid_from_mesh(msh)
    assert (grid.diagonal, grid.shape) == (diagonal, (3, 5))


def shuffled(comm, rng, alone, keep=lambda cells, x: cells):
    """The mesh built anew from rank 0's copy of a mesh of one process."""
    x, cells = alone.geometry.x[:, :2], compat.geometry_dofmap(alone)
    order = rng.permutation(len(x))
    cells = rng.permuted(np.argsort(order)[rng.permutation(cells)], axis=1)
    return built(comm, keep(cells, x[order]), np.ascontiguousarray(x[order]))


def built(comm, cells, x):
    """The mesh of rank 0's cells and vertices."""
    if comm.rank > 0:
        cells, x = cells[:0], x[:0]
    element = ufl.Mesh(basix.ufl.element("Lagrange", "triangle", 1, shape=(2,), dtype=x.dtype))
    return mesh.create_mesh(comm, cells=cells.astype(np.int64), x=x, e=element)


def test_meshes_read_back_from_xdmf_are_recognised(comm, tmp_path_factory):
    path = comm.bcast(str(tmp_path_factory.mktemp("xdmf") / "mesh.xdmf"))
    with io.XDMFFile(comm, path, "w") as file:
        file.write_mesh(rectangle(comm, "left_right", (6, 3), "far and flat"))
    with io.XDMFFile(comm, path, "r") as file:
        grid = grid_from_mesh(file.read_mesh())
    assert (grid.diagonal, grid.shape) == ("left_right", (6, 3))


def test_ranks_without_cells(comm):
    msh = rectangle(comm, "crossed", (2, 3), partitioner=on_first_rank)
    assert msh.topology.index_map(2).size_local == (24 if comm.rank == 0 else 0)
    assert grid_from_mesh(msh).shape == (2, 3)


def test_fine_meshes_far_away_are_recognised_as_long_as_coordinates_tell_vertices_apart(comm):
    msh = mesh.create_rectangle(comm, [[1e6, 1e6], [1e6 + 1e-3, 1e6 + 1]], (200, 2))
    assert grid_from_mesh(msh).shape == (200, 2)


def disturbed(comm):
    msh = rectangle(comm, "right", (6, 6), "unit")
    inner = np.abs(msh.geometry.x[:, :2] - 0.5).max(axis=1) < 0.1
    msh.geometry.x[inner, 0] += 1e-3
    return msh


def graded(comm):
    msh = rectangle(comm, "right", (6, 6), "unit")
    msh.geometry.x[:, 0] **= 2
    return msh


def with_hole(comm):
    msh = rectangle(comm, "right", (6, 6), "unit")
    middle = mesh.compute_midpoints(msh, 2, np.arange(msh.topology.index_map(2).size_local))
    keep = np.flatnonzero(np.abs(middle[:, :2] - 0.5).max(axis=1) > 1 / 6).astype(np.int32)
    return mesh.create_submesh(msh, 2, keep)[0]


def with_other_diagonals(comm):
    """Right diagonals but for one cell: the corner cell is cut the other way."""
    alone = rectangle(comm.Split(comm.rank), "right", (3, 3))

    def turn(cells, x):
        in_corner = (x[cells].max(axis=1) < 0.34).all(axis=1)
        lattice = np.rint(3 * x).astype(int)
        at = {tuple(p): k for k, p in enumerate(lattice)}
        turned = [[at[0, 0], at[1, 0], at[0, 1]], [at[1, 1], at[1, 0], at[0, 1]]]
        return np.concatenate([cells[~in_corner], turned])

    return shuffled(comm, np.random.default_rng(0), alone, turn)


def quadrilaterals(comm):
    return mesh.create_unit_square(comm, 3, 3, mesh.CellType.quadrilateral)


def tetrahedra(comm):
    return mesh.create_unit_cube(comm, 2, 2, 2)


def intervals(comm):
    return mesh.create_unit_interval(comm, 5)


def crossed_without_a_cell(comm):
    msh = rectangle(comm, "crossed", (5, 4), "unit")
    middle = mesh.compute_midpoints(msh, 2, np.arange(msh.topology.index_map(2).size_local))
    keep = np.flatnonzero(np.abs(middle[:, :2] - [0.5, 0.53]).max(axis=1) > 0.07)
    return mesh.create_submesh(msh, 2, keep.astype(np.int32))[0]


def empty(comm):
    return mesh.create_submesh(rectangle(comm), 2, np.empty(0, np.int32))[0]


NOT_STRUCTURED = {
    crossed_without_a_cell: "the (5 x 4|4 x 5) grid around them has 80: 1 are missing",
    empty: "0 cells: the mesh is empty",
    disturbed: r"vertices lie up to 0\.006 of a step off the lattice, .* rtol=0\.01 accepts",
    graded: r"\d+ of 72 cells are not halves of a .* graded",
    with_hole: r"64 cells are halves .* the 6 x 6 grid around them has 72: 8 are missing .*holes",
    with_other_diagonals: "18 cells are halves .* diagonals follow none of the patterns",
    quadrilaterals: "9 of 9 cells are not plane triangles: they are quadrilaterals",
    tetrahedra: "48 of 48 cells are not plane triangles: they are tetrahedrons in 3-D",
    intervals: "5 of 5 cells are not plane triangles: they are intervals in 1-D",
}


@pytest.mark.parametrize("make", NOT_STRUCTURED, ids=lambda make: make.__name__)
def test_other_meshes_are_refused_on_every_rank_with_the_reason(comm, make):
    with pytest.raises(NotStructuredError, match=NOT_STRUCTURED[make]) as caught:
        grid_from_mesh(make(comm))
    assert len(set(comm.allgather(str(caught.value).removeprefix("on rank 0: ")))) == 1


def test_a_slit_is_refused(comm):
    """Every cell fits, but one inner vertex is there twice."""
    alone = rectangle(comm.Split(comm.rank), "right", (4, 4))
    x, cells = alone.geometry.x[:, :2], compat.geometry_dofmap(alone).copy()
    middle = np.flatnonzero(np.abs(x - 0.5).max(axis=1) < 1e-9)[0]
    above = x[cells].mean(axis=1)[:, 1] > 0.5
    cells[(cells == middle) & above[:, None]] = len(x)
    with pytest.raises(NotStructuredError, match="slits"):
        grid_from_mesh(built(comm, cells, np.concatenate([x, [[0.5, 0.5]]])))


@pytest.mark.parametrize("rtol", [-1, 0.5, np.nan])
def test_unusable_rtol_is_refused(comm, rtol):
    with pytest.raises(ValueError, match=r"rtol must be between 0 and 0\.1"):
        grid_from_mesh(rectangle(comm), rtol=rtol)


def test_rtol_widens_what_counts_as_structured(comm):
    msh = disturbed(comm)
    assert grid_from_mesh(msh, rtol=0.01).shape == (6, 6)
