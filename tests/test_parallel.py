# SPDX-License-Identifier: MIT
"""Many ranks: the serial network's bits for everyone's points, one error for all, no deadlock."""

import time

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import fem

from cases import DIAGONALS, on_first_rank, random_function, rectangle
from fe_relu import P1Network, function_from_network, network_from_function
from fe_relu.parallel.agreement import gather_columns, together


@pytest.fixture
def network(comm, rng):
    return network_from_function(
        random_function(fem.functionspace(rectangle(comm, "crossed", (6, 5)), ("P", 1)), rng)
    )


#: How many points each rank asks for.
COUNTS = {
    "as many": lambda rank, size: 1000,
    "different numbers": lambda rank, size: 1 + 700 * rank,
    "none on the first rank": lambda rank, size: 0 if rank == 0 else 500,
    "all on the last rank": lambda rank, size: 900 if rank == size - 1 else 0,
    "none": lambda rank, size: 0,
}


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_values_are_the_serial_bits(comm, rng, diagonal, counts):
    """Compared with the same mesh on this rank alone; points anywhere, also outside."""
    values, networks = [], []
    for group in (comm, comm.Split(comm.rank)):
        V = fem.functionspace(rectangle(group, diagonal, (6, 5)), ("P", 1, (2,)))
        networks.append(network_from_function(random_function(V, np.random.default_rng(3))))
    count = COUNTS[counts](comm.rank, comm.size)
    points = np.random.default_rng(comm.rank).uniform(-0.3, 1.3, (2, count))
    values = [network(points) for network in networks]
    assert values[0].shape == (2, count)
    assert values[0].tobytes() == values[1].tobytes()
    assert networks[0].values.tobytes() == networks[1].values.tobytes()
    assert networks[0].gather()(points).tobytes() == values[1].tobytes()


@pytest.mark.parametrize("diagonal", DIAGONALS)
def test_a_mesh_smaller_than_the_number_of_ranks(comm, rng, diagonal):
    V = fem.functionspace(rectangle(comm, diagonal, (1, 1), partitioner=on_first_rank), ("P", 1))
    u = random_function(V, rng)
    network = network_from_function(u)
    assert network(network.mesh.vertices()) == pytest.approx(network.values, abs=1e-14)
    back, certificate = function_from_network(network, V)
    assert back.x.array.tobytes() == u.x.array.tobytes()
    assert certificate.exact


def bad_points(kind, comm):
    """A bad argument on the last rank, a good one elsewhere."""
    if comm.rank < comm.size - 1:
        return np.full((2, 3), 0.5)
    return {
        "NaN": np.array([[0.1, np.nan], [0.2, 0.3]]),
        "infinite": np.array([[0.1, 0.2], [0.2, -np.inf]]),
        "shape": np.zeros((5, 2)),
        "text": np.array([["a", "b"], ["c", "d"]]),
        "outside": np.array([[0.1, 7.0], [0.2, 0.3]]),
    }[kind]


ERRORS = {
    "NaN": (ValueError, "1 of 2 points are NaN or infinite, the first at index 1"),
    "infinite": (ValueError, "1 of 2 points are NaN or infinite, the first at index 1"),
    "shape": (ValueError, "points.T"),
    "text": (TypeError, "real numbers"),
    "outside": (ValueError, r"1 of 2 points are outside the mesh, the first at index 1: \(7"),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_a_bad_argument_on_one_rank_raises_on_all_within_a_second(comm, network, kind):
    error, message = ERRORS[kind]
    network(np.full((2, 3), 0.5), outside="raise")
    comm.barrier()
    start = time.perf_counter()
    with pytest.raises(error, match=message) as caught:
        network(bad_points(kind, comm), outside="raise")
    assert time.perf_counter() - start < 1
    if comm.rank < comm.size - 1:
        assert f"on rank {comm.size - 1}: " in str(caught.value)
    assert network(np.full((2, 3), 0.5)).shape == (3,)


def test_errors_of_several_ranks_are_told_as_one(comm):
    with pytest.raises(ValueError, match="failed on 0") as caught, together(comm):
        raise ValueError(f"failed on {comm.rank}")
    assert str(caught.value) == ("" if comm.rank == 0 else "on rank 0: ") + "failed on 0"


def test_errors_that_need_more_than_a_message_are_told_all_the_same(comm):
    """UnicodeDecodeError takes five arguments, so other ranks raise a RuntimeError."""

    def decode_on_first_rank():
        with together(comm):
            return b"\xff".decode() if comm.rank == 0 else ""

    with pytest.raises(UnicodeDecodeError if comm.rank == 0 else RuntimeError, match="0xff"):
        decode_on_first_rank()


def test_errors_of_a_local_class_are_told_all_the_same(comm):
    class LocalError(Exception):
        pass

    def fail_on_first_rank():
        with together(comm):
            if comm.rank == 0:
                raise LocalError("here")

    with pytest.raises(LocalError if comm.rank == 0 else RuntimeError, match="here"):
        fail_on_first_rank()


def test_ranks_that_disagree_on_what_they_convert_raise(comm, network):
    V = network.source.V
    others = fem.functionspace(V.mesh, ("P", 1))
    functions = [fem.Function(V), fem.Function(others)]
    explicit = network.gather().explicit()
    if comm.size > 1:
        with pytest.raises(TypeError, match="ranks pass different function spaces"):
            network.update(functions[comm.rank % 2])
        with pytest.raises(TypeError, match="ranks pass different kinds of network"):
            function_from_network(network if comm.rank == 0 else explicit, V)
    with pytest.raises(TypeError, match="not NoneType"):
        function_from_network(network, V if comm.rank < comm.size - 1 else None)


def test_a_network_of_other_ranks_is_refused(comm, network):
    V = fem.functionspace(rectangle(MPI.COMM_SELF), ("P", 1))
    if comm.size > 1:
        with pytest.raises(ValueError, match="on different ranks"):
            function_from_network(network, V)
    assert function_from_network(network.gather(), V)[1].lower >= 0


def test_columns_are_gathered_in_rank_order(comm):
    local = np.array([[1.0, 2.0], [3.0, 4.0]])[:, : comm.rank % 3] + 10 * comm.rank
    expected = [np.array([[1.0, 2.0], [3.0, 4.0]])[:, : r % 3] + 10 * r for r in range(comm.size)]
    assert gather_columns(comm, local).tolist() == np.concatenate(expected, axis=1).tolist()


def test_gather_gives_the_whole_network(comm, network):
    everywhere = network.gather()
    assert everywhere.comm is None
    assert everywhere.values.tobytes() == network.values.tobytes()
    last = comm.size - 1
    assert isinstance(network.gather(last), P1Network if comm.rank == last else type(None))
    with pytest.raises(ValueError, match="root must be a rank"):
        network.gather(comm.size)


def test_other_communicators(comm, rng):
    """A half of the ranks, and a duplicate, each with its own network at the same time."""
    half = comm.Split(comm.rank % 2)
    copy = comm.Dup()
    points = rng.random((2, 50))
    networks = [
        network_from_function(
            random_function(fem.functionspace(rectangle(group), ("P", 1)), np.random.default_rng(1))
        )
        for group in (half, copy, MPI.COMM_SELF)
    ]
    assert len({network(points).tobytes() for network in networks}) == 1
    for group in (half, copy):
        group.Free()
