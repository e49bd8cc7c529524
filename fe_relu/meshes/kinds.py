# SPDX-License-Identifier: MIT
"""The kinds of mesh, a row each: what a file calls them, and how they are made and divided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fe_relu.meshes.grid.blocks import Blocks
from fe_relu.meshes.grid.grid import Grid
from fe_relu.meshes.mesh import Mesh
from fe_relu.meshes.quadrilaterals.lattice import QuadrilateralGrid
from fe_relu.meshes.quadrilaterals.mesh import QuadrilateralMesh
from fe_relu.meshes.simplices.mesh import SimplexMesh


@dataclass(frozen=True)
class Kind:
    """A kind of mesh.

    Args:
        mesh_type: The very type.
        of_facts: The mesh from its `facts` and `arrays`, read from a file; raises ValueError if
            they are none.
        arrays: For the name of each of `arrays`, whether it has integers (i) or reals (f), in
            two dimensions.
        divisions: Ways to divide a mesh among so many ranks, the best first, cut at multiples of a
            unit; None if it is held whole by every rank.
    """

    mesh_type: type
    of_facts: Callable[..., Mesh]
    arrays: Mapping[str, str]
    divisions: Callable[[Any, int, int], Sequence[Any]] | None


KINDS: dict[str, Kind] = {
    "grid": Kind(Grid, Grid.of_facts, {}, Blocks.layouts),
    "simplices": Kind(SimplexMesh, SimplexMesh.of_facts, {"vertices": "f", "cells": "i"}, None),
    "lattice": Kind(QuadrilateralGrid, QuadrilateralGrid.of_facts, {}, Blocks.layouts),
    "quadrilaterals": Kind(
        QuadrilateralMesh, QuadrilateralMesh.of_facts, {"vertices": "f", "cells": "i"}, None
    ),
}


def name_of(mesh: Mesh) -> str:
    """What files call this kind of mesh."""
    return next(name for name, kind in KINDS.items() if kind.mesh_type is type(mesh))


def divisions(mesh: Mesh, size: int, unit: int = 1) -> Sequence[Any]:
    """Ways to divide the mesh among so many ranks; see `Kind`."""
    found = KINDS[name_of(mesh)].divisions
    assert found is not None
    return found(mesh, size, unit)


def divided(mesh: Mesh, layout: str) -> str:
    """The word for a layout, of which "auto" is settled for meshes that are not divided.

    Raises:
        ValueError: Blocks are wanted of such a mesh.
    """
    if KINDS[name_of(mesh)].divisions is not None:
        return layout
    if layout == "blocks":
        raise ValueError(
            f'a {type(mesh).__name__} is not spread in blocks; layout="replicated" gives each rank '
            "the whole"
        )
    return "replicated"
