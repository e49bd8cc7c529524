# SPDX-License-Identifier: MIT
"""What each subcommand of the command line does with its arguments."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from fe_relu.analysis.weights import p1_from_relu
from fe_relu.cli.evaluation import evaluate_file
from fe_relu.cli.networks import box_of, read_network, require_other_file, writer
from fe_relu.cli.picture import save_picture
from fe_relu.cli.summary import aligned, file_size, in_bytes, summary, surrogate_rows
from fe_relu.cli.text import say
from fe_relu.hierarchy.basis import HierarchicalNetwork
from fe_relu.hierarchy.transform import hierarchical_from_network
from fe_relu.layers.network import ReLUNetwork
from fe_relu.networks.nodal import mesh_of
from fe_relu.networks.p1 import P1Network
from fe_relu.parallel.agreement import together
from fe_relu.regions.regions import linear_regions
from fe_relu.sizes.explicit import explicit_size

if TYPE_CHECKING:
    from mpi4py import MPI


def info(given: Namespace, comm: MPI.Comm | None) -> None:
    named = read_network(given.file)
    rows = summary(named, box_of(given.box))
    say(aligned([("file", f"{given.file}, {in_bytes(file_size(given.file))}"), *rows]))


def convert(given: Namespace, comm: MPI.Comm | None) -> None:
    write = writer(given.out, given.file, **_given(given, "form", "box"))
    named = read_network(given.file, **_given(given, "name", "time"))
    if given.p1:
        named = dataclasses.replace(named, network=_as_p1(named.network))
    write(named)


def evaluate(given: Namespace, comm: MPI.Comm | None) -> None:
    with together(comm):
        require_other_file(given.output, given.file, given.points)
    named = read_network(given.file, comm)
    evaluate_file(named, given.points, given.output, outside=given.outside, comm=comm)


def compress(given: Namespace, comm: MPI.Comm | None) -> None:
    write = None if given.output is None else writer(given.output, given.file)
    named = read_network(given.file)
    surrogate = _hierarchical(named.network, given.levels).compress(
        tol=given.tol, max_neurons=given.max_neurons, relative=given.relative, norm=given.norm
    )
    if write is not None:
        write(dataclasses.replace(named, network=surrogate))
    kept, *errors = surrogate_rows(surrogate)
    say(aligned([kept, ("neurons", str(explicit_size(surrogate).neurons)), *errors]))


def plot(given: Namespace, comm: MPI.Comm | None) -> None:
    require_other_file(given.output, given.file)
    named = read_network(given.file)
    box = box_of(given.box)
    if box is not None:
        save_picture(linear_regions(named.network, box), named.labels, given.output)
        return
    network = named.network if mesh_of(named.network) is not None else _as_p1(named.network)
    save_picture(network, named.labels, given.output)


def _given(given: Namespace, *names: str) -> dict[str, Any]:
    """The options that are there."""
    return {name: value for name in names if (value := getattr(given, name)) is not None}


@singledispatch
def _as_p1(network: Any) -> P1Network:
    """The network as a P1 function, recognised from its weights if it is given by layers.

    Raises:
        ValueError: It is none.
    """
    raise ValueError(
        f"a {type(network).__name__} is no P1 function given by its nodal values; "
        "those of a P1Network, a hierarchy, or layers that are one can be taken"
    )


@_as_p1.register
def _(network: P1Network) -> P1Network:
    return network


@_as_p1.register
def _(network: ReLUNetwork) -> P1Network:
    return p1_from_relu(network)


@_as_p1.register
def _(network: HierarchicalNetwork) -> P1Network:
    return network.to_p1()


@singledispatch
def _hierarchical(network: Any, levels: int | None) -> HierarchicalNetwork:
    """The network in the hierarchical basis of so many levels."""
    return hierarchical_from_network(_as_p1(network), levels=levels)


@_hierarchical.register
def _(network: HierarchicalNetwork, levels: int | None) -> HierarchicalNetwork:
    if levels in (None, network.levels):
        return network
    return hierarchical_from_network(network.to_p1(), levels=levels)
