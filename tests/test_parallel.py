# SPDX-License-Identifier: MIT
"""Ranks that decide together: one error for all, on any communicator."""

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import fem

from cases import random_function, rectangle
from fe_relu import function_from_network, network_from_function
from fe_relu.parallel.agreement import each_once, gather_columns, largest, together


def network_on(comm):
    V = fem.functionspace(rectangle(comm, "crossed", (6, 5)), ("P", 1))
    return network_from_function(random_function(V, np.random.default_rng(1)), layout="blocks")


def test_errors_of_several_ranks_are_told_as_one(comm):
    with pytest.raises(ValueError, match="failed on 0") as caught, together(comm):
        raise ValueError(f"failed on {comm.rank}")
    assert str(caught.value) == ("" if comm.rank == 0 else "on rank 0: ") + "failed on 0"


def test_errors_of_a_local_class_are_told_all_the_same(comm):
    class LocalError(Exception):
        pass

    def fail_on_first_rank():
        with together(comm):
            if comm.rank == 0:
                raise LocalError("here")

    with pytest.raises(LocalError if comm.rank == 0 else RuntimeError, match="here"):
        fail_on_first_rank()


def test_columns_are_gathered_in_rank_order(comm):
    local = np.array([[1.0, 2.0], [3.0, 4.0]])[:, : comm.rank % 3] + 10 * comm.rank
    expected = [np.array([[1.0, 2.0], [3.0, 4.0]])[:, : r % 3] + 10 * r for r in range(comm.size)]
    assert gather_columns(comm, local).tolist() == np.concatenate(expected, axis=1).tolist()


def test_a_network_of_other_ranks_is_refused(comm):
    network, V = network_on(comm), fem.functionspace(rectangle(MPI.COMM_SELF), ("P", 1))
    if comm.size > 1:
        with pytest.raises(ValueError, match="on different ranks"):
            function_from_network(network, V)
    assert function_from_network(network.gather(), V)[1].lower >= 0


def test_numbers_of_all_ranks(comm):
    assert largest(comm, -float(comm.rank)) == 0
    assert np.isnan(largest(comm, np.nan if comm.rank == comm.size - 1 else 1.0))
    mine = np.arange(comm.rank, 100, comm.size)
    assert each_once(comm, mine, 100)
    for wrong in (np.where(mine == 99, 98, mine), mine[mine != 99], np.append(mine, 0)):
        assert not each_once(comm, wrong, 100)


def test_other_communicators_at_once(comm):
    """A half of the ranks, a duplicate, and each rank alone, with a network at the same time."""
    half, copy = comm.Split(comm.rank % 2), comm.Dup()
    x = np.random.default_rng(comm.rank).random((2, 50))
    assert len({network_on(group)(x).tobytes() for group in (half, copy, MPI.COMM_SELF)}) == 1
    half.Free()
    copy.Free()
