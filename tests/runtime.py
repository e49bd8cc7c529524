# SPDX-License-Identifier: MIT
"""Files in onnxruntime, modules in torch, and Python without one of its packages."""

import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np


@contextmanager
def silent_stderr():
    """Debian's onnx and onnxruntime share a library; the second used prints a thousand lines."""
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def session(path):
    """An onnxruntime session on one thread."""
    with silent_stderr():
        import onnx
        import onnxruntime

        onnx.checker.check_model(os.fspath(path), full_check=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(
            os.fspath(path), options, providers=["CPUExecutionProvider"]
        )


def run_file(path, points):
    """What a valid file gives at points (2, n), shape (k, n)."""
    (values,) = session(path).run(["u"], {"x": np.ascontiguousarray(points.T)})
    return values.T


def rows(x):
    """Points (2, n) as torch takes them."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(x.T))


def run(module, x):
    """What a torch module gives at points (2, n), shape (k, n)."""
    import torch

    with torch.no_grad():
        return module(rows(x)).numpy().T


def without(package, code):
    """What a new process writes that runs code where a package is missing."""
    blocked = f"import sys; sys.modules[{package!r}] = None\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", blocked], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout
