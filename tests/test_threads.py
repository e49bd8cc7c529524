# SPDX-License-Identifier: MIT
"""Threads: as many as decided, and points shared out among them."""

import os

import numpy as np
import pytest

from cases import each
from fe_relu import Grid, P1Network
from fe_relu.basics import threads

#: Environment → threads on four cores.
DECISIONS = (
    ({}, 4),
    ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 2),
    ({"MPI_LOCALNRANKS": "3"}, 1),
    ({"SLURM_NTASKS_PER_NODE": "9"}, 1),
    ({"SLURM_NTASKS_PER_NODE": "2(x3)"}, 2),
    ({"OMP_NUM_THREADS": "3", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 3),
    ({"OMP_NUM_THREADS": "2,4"}, 2),
    ({"OMP_NUM_THREADS": "many", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 2),
    ({"FE_RELU_NUM_THREADS": "7", "OMP_NUM_THREADS": "1"}, 7),
)


@pytest.fixture
def environment(monkeypatch):
    """Four cores and no word on threads or ranks."""
    names = ("FE_RELU_NUM_THREADS", "OMP_NUM_THREADS", *threads.LOCAL_RANKS)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))

    def speak(**variables):
        for name in names:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return speak


def test_number_of_threads(environment):
    for ((variables, number),) in each(DECISIONS):
        environment(**variables)
        assert threads.num_threads() == number
    for (value,) in each(("0", "-1", "many", "")):
        environment(FE_RELU_NUM_THREADS=value)
        with pytest.raises(ValueError, match="FE_RELU_NUM_THREADS must be a whole number from 1"):
            threads.num_threads()


def test_points_are_shared_out_and_bad_ones_found_by_any_thread(environment, monkeypatch):
    monkeypatch.setattr(threads, "POINTS_PER_THREAD", 1000)
    network = P1Network(Grid((0, 0), np.eye(2), (9, 7), "right"), np.ones(80))
    for number, bad in each((1, 2, 3), (0, 10_000, -1)):
        environment(FE_RELU_NUM_THREADS=str(number))
        parts = threads.parts(20_001)
        assert [part.stop for part in parts[:-1]] == [part.start for part in parts[1:]]
        assert (len(parts), parts[0].start, parts[-1].stop) == (number, 0, 20_001)
        x = np.ones((2, 20_001))
        x[1, bad] = np.nan
        with pytest.raises(ValueError, match=f"1 of 20001 points .* index {bad % 20_001}$"):
            network(x)
    assert len(threads.parts(1999)) == 1
