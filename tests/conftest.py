# SPDX-License-Identifier: MIT
"""Every test runs on any number of ranks, has a time limit, and leaves no rank behind."""

import faulthandler
import gc
import os

from mpi4py import MPI

import numpy as np
import pytest

#: Seconds after which a test is taken to hang: the process prints its stack and ends, and mpirun
#: ends the other ranks.
TIME_LIMIT = 100


def pytest_configure(config):
    """Keeps a standard error that no test captures, for the stacks of a test that hangs."""
    config.stderr_kept = os.fdopen(os.dup(2), "w")


@pytest.fixture(autouse=True)
def _time_limit_and_barrier(request):
    stderr = request.config.stderr_kept
    faulthandler.dump_traceback_later(TIME_LIMIT, exit=True, file=stderr)
    yield
    gc.collect()
    gc.freeze()  # what is left are imports and caches; later collections need not look at them
    MPI.COMM_WORLD.barrier()
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def comm():
    return MPI.COMM_WORLD


@pytest.fixture
def rng():
    """The same numbers on every rank."""
    return np.random.default_rng(20210504)
