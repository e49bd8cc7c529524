# SPDX-License-Identifier: MIT
"""What others do with points on a mesh, for `benchmark_unstructured.py`: a row each.

None of them is needed: those that can be imported are run. A command that installs all, for Python
3.13 on Linux, and lets them be seen:

    pip install --no-deps --target .readers/bench --python-version 3.13 --only-binary=:all: \
        embreex numba_celltree vtk
    PYTHONPATH=$PWD:$PWD/.readers/bench python3 demos/benchmark_unstructured.py
"""

import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
from numba import njit
from scipy.interpolate import LinearNDInterpolator

#: From vertices (dim, n), cells (dim + 1, m), their nodal values and points (k, dim): a function
#: that gives values there, NaN where none is found.
Maker = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], Callable[[], np.ndarray]]


def scipy_job(
    vertices: np.ndarray, cells: np.ndarray, values: np.ndarray, points: np.ndarray
) -> Callable[[], np.ndarray]:
    """On SciPy's own Delaunay mesh of the vertices, points sorted by strips first."""
    linear = LinearNDInterpolator(vertices.T, values)

    def call() -> np.ndarray:
        strips = np.floor(points * 300)
        order = np.lexsort((points[:, 0], *strips.T[1:]))
        found = np.empty(len(points))
        found[order] = linear(points[order])
        return found

    return call


def embree_job(
    vertices: np.ndarray, cells: np.ndarray, values: np.ndarray, points: np.ndarray
) -> Callable[[], np.ndarray]:
    """Upward rays to the lids of cells, in single precision; then the cell in double."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    dim, low = len(vertices), vertices.min(axis=1)
    space = np.zeros((vertices.shape[1], 3))
    space[:, :dim] = vertices.T - low
    facets, owner = (cells.T, np.arange(cells.shape[1])) if dim == 2 else _lids(space, cells)
    scene = EmbreeScene()
    TriangleMesh(scene, space.astype(np.float32), facets.astype(np.int32))
    up = np.tile(np.array([0, 0, 1], np.float32), (len(points), 1))

    def call() -> np.ndarray:
        start = np.full((len(points), 3), -1, np.float32)
        start[:, :dim] = points - low
        hit = scene.run(start, up)
        return _in_cells(vertices, cells, values, points, np.where(hit < 0, -1, owner[hit]))

    return call


def _lids(space: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The facets of tetrahedra that these are below, and whose they are."""
    facets, owner = [], []
    for i in range(4):
        corners = np.delete(cells, i, axis=0)
        p, q, r = space[corners]
        normal = np.cross(q - p, r - p)
        side = np.einsum("md,md->m", space[cells[i]] - p, normal)
        chosen = np.flatnonzero(side * normal[:, 2] < 0)
        facets.append(corners[:, chosen].T)
        owner.append(chosen)
    return np.concatenate(facets), np.concatenate(owner)


@njit
def _in_cells(
    vertices: np.ndarray, cells: np.ndarray, values: np.ndarray, points: np.ndarray, at: np.ndarray
) -> np.ndarray:
    """Values by barycentric coordinates in the cells that points are in, NaN for −1."""
    found = np.full(len(points), np.nan)
    dim = len(vertices)
    for k in range(len(points)):
        cell = at[k]
        if cell < 0:
            continue
        o, a, b, c = cells[0, cell], cells[1, cell], cells[2, cell], cells[dim, cell]
        x, y = points[k, 0] - vertices[0, o], points[k, 1] - vertices[1, o]
        ax, ay = vertices[0, a] - vertices[0, o], vertices[1, a] - vertices[1, o]
        bx, by = vertices[0, b] - vertices[0, o], vertices[1, b] - vertices[1, o]
        if dim == 2:
            size = ax * by - ay * bx
            s, t, r = (x * by - y * bx) / size, (ax * y - ay * x) / size, 0.0
        else:
            z, az = points[k, 2] - vertices[2, o], vertices[2, a] - vertices[2, o]
            bz, cz = vertices[2, b] - vertices[2, o], vertices[2, c] - vertices[2, o]
            cx, cy = vertices[0, c] - vertices[0, o], vertices[1, c] - vertices[1, o]
            u, v, w = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
            size = ax * u + ay * v + az * w
            s = (x * u + y * v + z * w) / size
            u, v, w = y * cz - z * cy, z * cx - x * cz, x * cy - y * cx
            t = (ax * u + ay * v + az * w) / size
            u, v, w = by * z - bz * y, bz * x - bx * z, bx * y - by * x
            r = (ax * u + ay * v + az * w) / size
        first = values[o]
        found[k] = first + s * (values[a] - first) + t * (values[b] - first)
        if dim == 3:
            found[k] += r * (values[c] - first)
    return found


def celltree_job(
    vertices: np.ndarray, cells: np.ndarray, values: np.ndarray, points: np.ndarray
) -> Callable[[], np.ndarray]:
    """Of triangles, which it wants counter-clockwise."""
    from numba_celltree import CellTree2d

    (ax, bx, cx), (ay, by, cy) = vertices[:, cells]
    clockwise = (bx - ax) * (cy - ay) < (by - ay) * (cx - ax)
    cells = np.where(clockwise, cells[::-1], cells)
    tree = CellTree2d(np.ascontiguousarray(vertices.T), np.ascontiguousarray(cells.T), -1)

    def call() -> np.ndarray:
        faces, weights = tree.compute_barycentric_weights(points)
        found = np.einsum("kc,kc->k", weights, values[cells.T[faces]])
        return np.where(faces < 0, np.nan, found)

    return call


def vtk_job(
    vertices: np.ndarray, cells: np.ndarray, values: np.ndarray, points: np.ndarray
) -> Callable[[], np.ndarray]:
    """A probe filter with a static cell locator, tolerance 0."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import (
        VTK_TETRA,
        VTK_TRIANGLE,
        vtkCellArray,
        vtkPolyData,
        vtkStaticCellLocator,
        vtkUnstructuredGrid,
    )
    from vtkmodules.vtkFiltersCore import vtkProbeFilter

    def placed(x: np.ndarray) -> vtkPoints:
        padded = np.zeros((len(x), 3))
        padded[:, : x.shape[1]] = x
        found = vtkPoints()
        found.SetData(numpy_to_vtk(padded, deep=True))
        return found

    corners, count = cells.shape
    lists = vtkCellArray()
    offsets = np.arange(0, corners * count + 1, corners)
    lists.SetData(
        numpy_to_vtkIdTypeArray(offsets, deep=True),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(cells.T).ravel(), deep=True),
    )
    grid, asked, probe = vtkUnstructuredGrid(), vtkPolyData(), vtkProbeFilter()
    grid.SetPoints(placed(vertices.T))
    grid.SetCells(VTK_TRIANGLE if corners == 3 else VTK_TETRA, lists)
    nodal = numpy_to_vtk(values, deep=True)
    nodal.SetName("u")
    grid.GetPointData().AddArray(nodal)
    asked.SetPoints(placed(points))
    probe.SetInputData(asked)
    probe.SetSourceData(grid)
    probe.SetCellLocatorPrototype(vtkStaticCellLocator())
    probe.ComputeToleranceOff()
    probe.SetTolerance(0)

    def call() -> np.ndarray:
        asked.Modified()
        probe.Update()
        data = probe.GetOutput().GetPointData()
        found = vtk_to_numpy(data.GetArray("u"))
        return np.where(vtk_to_numpy(data.GetArray("vtkValidPointMask")) == 0, np.nan, found)

    return call


#: What is printed, the module that is needed, dimensions, what makes a job, and by what part of
#: the points its time is measured.
PEERS: list[tuple[str, str, tuple[int, ...], Maker, int]] = [
    ("SciPy's own Delaunay, points sorted", "scipy", (2, 3), scipy_job, 4),
    ("Embree's rays, then in double", "embreex", (2, 3), embree_job, 1),
    ("numba_celltree", "numba_celltree", (2,), celltree_job, 2),
    ("VTK's static locator", "vtkmodules", (2, 3), vtk_job, 4),
]


def peers(dim: int) -> Iterator[tuple[str, Maker, int]]:
    """Those of this dimension that can be imported here."""
    for name, module, dims, maker, part in PEERS:
        if dim in dims and importlib.util.find_spec(module):
            yield name, maker, part
