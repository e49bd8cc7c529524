# SPDX-License-Identifier: MIT
"""Threads: as many as decided, the same bits with any number of them."""

import os

import numpy as np
import pytest

from fe_relu import Grid, P1Network
from fe_relu.basics import threads

#: Environment → threads on four cores.
DECISIONS = [
    ({}, 4),
    ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 2),
    ({"MPI_LOCALNRANKS": "3"}, 1),
    ({"SLURM_NTASKS_PER_NODE": "9"}, 1),
    ({"OMP_NUM_THREADS": "3", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 3),
    ({"OMP_NUM_THREADS": "2,4"}, 2),
    ({"FE_RELU_NUM_THREADS": "7", "OMP_NUM_THREADS": "1"}, 7),
]


@pytest.fixture
def environment(monkeypatch):
    """Four cores and no word on threads or ranks."""
    for name in ("FE_RELU_NUM_THREADS", "OMP_NUM_THREADS", *threads.LOCAL_RANKS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
    return monkeypatch.setenv


@pytest.mark.parametrize(("variables", "number"), DECISIONS)
def test_number_of_threads(environment, variables, number):
    for name, value in variables.items():
        environment(name, value)
    assert threads.num_threads() == number


@pytest.mark.parametrize("value", ["0", "-1", "many", ""])
def test_impossible_numbers_are_refused(environment, value):
    environment("FE_RELU_NUM_THREADS", value)
    with pytest.raises(ValueError, match="FE_RELU_NUM_THREADS must be a whole number from 1 on"):
        threads.num_threads()


@pytest.mark.parametrize("number", ["1", "2", "3"])
def test_values_do_not_depend_on_the_number_of_threads(environment, monkeypatch, rng, number):
    monkeypatch.setattr(threads, "POINTS_PER_THREAD", 1000)
    grid = Grid((0, 0), np.eye(2), (9, 7), "crossed")
    network = P1Network(grid, rng.standard_normal((2, grid.num_vertices)))
    x = rng.uniform(-2, 11, (20_001, 3)).T
    environment("FE_RELU_NUM_THREADS", number)
    assert len(threads.parts(x.shape[1])) == int(number)
    pieces = np.concatenate([network(x[:, k : k + 999]) for k in range(0, 20_001, 999)], axis=1)
    assert network(x).tobytes() == pieces.tobytes()
    bad = x.copy()
    bad[0, -1] = np.nan
    with pytest.raises(ValueError, match="1 of 20001 points are NaN or infinite, the first at in"):
        network(bad)
