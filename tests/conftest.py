# SPDX-License-Identifier: MIT
"""Every test has a time limit, and those with a communicator run on any number of ranks."""

import faulthandler
import gc
import os
import sys

from mpi4py import MPI

import numpy as np
import pytest

#: Seconds after which a test is taken to hang: the process prints its stack and ends, and mpirun
#: ends the other ranks. In a fresh clone the first tests compile, on all ranks at once.
TIME_LIMIT = 300


def pytest_configure(config):
    """Keeps a standard error that no test captures, for the stacks of a test that hangs."""
    config.stderr_kept = os.fdopen(os.dup(2), "w")


def pytest_collection_modifyitems(config, items):
    """On several ranks, a test that does not use `comm` would do on each what it does on one."""
    if MPI.COMM_WORLD.size > 1:
        alone = [item for item in items if "comm" not in item.fixturenames]
        config.hook.pytest_deselected(items=alone)
        items[:] = [item for item in items if "comm" in item.fixturenames]


def pytest_sessionfinish(session, exitstatus):
    """That none of the tests asked for is for several ranks is no failure."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and MPI.COMM_WORLD.size > 1:
        session.exitstatus = pytest.ExitCode.OK


def pytest_unconfigure(config):
    config.stderr_kept.close()


@pytest.fixture(autouse=True)
def _time_limit_and_barrier(request):
    stderr = request.config.stderr_kept
    faulthandler.dump_traceback_later(TIME_LIMIT, exit=True, file=stderr)
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    gc.collect()
    gc.freeze()  # what is left are imports and caches; later collections need not look at them
    MPI.COMM_WORLD.barrier()
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def comm():
    return MPI.COMM_WORLD


@pytest.fixture
def rng():
    """The same numbers on every rank."""
    return np.random.default_rng(20210504)
