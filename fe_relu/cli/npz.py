# SPDX-License-Identifier: MIT
"""The arrays and metadata of a network's file as NumPy's npz, for readers that know nothing else.

An npz file has the arrays of the safetensors file by the same names, and its metadata, in JSON, as
the text `__metadata__`. What is read goes through all checks of a safetensors file.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from io import BufferedReader
from typing import Any

import numpy as np
import numpy.typing as npt

from fe_relu import safetensors
from fe_relu.files import FileFormatError, load, metadata, save
from fe_relu.replacing import replacing, require_replaceable
from fe_relu.safetensors import Header

METADATA = "__metadata__"

#: What arrays may take in memory: so many bytes, or as many times what they take in the file.
MOST_BYTES, MOST_TIMES = 1 << 26, 32


def save_npz(network: Any, path: str, **described: Any) -> None:
    """Writes the network as an npz file; arguments and errors are those of `save`."""
    target = os.path.realpath(path)
    require_replaceable(target)
    with tempfile.TemporaryDirectory() as folder:
        same = os.path.join(folder, "network.safetensors")
        save(network, same, **described)
        arrays = _safetensors_arrays(same)
    with replacing(target, b"", 0, None) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def load_npz(path: str) -> tuple[Any, dict[str, Any]]:
    """The network of an npz file, and the facts that `metadata` gives of a safetensors file.

    Raises:
        FileFormatError: The file is no such network.
        OSError: The file cannot be opened.
    """
    arrays = _npz_arrays(path)
    with tempfile.TemporaryDirectory() as folder:
        same = os.path.join(folder, "network.safetensors")
        try:
            _write_safetensors(same, arrays)
            return load(same), metadata(same)
        except (ValueError, TypeError) as error:
            message = str(error).replace(same, path)
            raise FileFormatError(message if path in message else f"{path}: {message}") from error


def _safetensors_arrays(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        header = Header.read(file)
        arrays: dict[str, Any] = {METADATA: np.array(json.dumps(header.metadata))}
        for name, tensor in header.tensors.items():
            arrays[name] = np.empty(tensor.shape, tensor.dtype.newbyteorder("="))
            safetensors.read(file, tensor, 0, arrays[name])
    return arrays


def _npz_arrays(path: str) -> dict[str, npt.NDArray]:
    """What zipfile and NumPy raise about a damaged file is of many types, and becomes one."""
    with open(path, "rb") as file:
        try:
            _require_modest(file)
            with np.load(file, allow_pickle=False) as stored:
                return {name: np.asarray(stored[name]) for name in stored.files}
        except Exception as error:
            raise FileFormatError(f"{path}: no npz file of numbers: {error}") from error


def _require_modest(file: BufferedReader) -> None:
    """Raises if a file is no zip archive, or one that is a few bytes of very many."""
    if not zipfile.is_zipfile(file):
        raise ValueError("no zip archive, which npz files are")
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        claimed = sum(member.file_size for member in archive.infolist())
    if claimed > max(MOST_BYTES, MOST_TIMES * size):
        raise ValueError(
            f"{size} bytes would take {claimed >> 20} MiB; np.savez instead of "
            "np.savez_compressed writes arrays that are known not to fill the memory"
        )
    file.seek(0)


def _write_safetensors(path: str, arrays: dict[str, npt.NDArray]) -> None:
    described = arrays.pop(METADATA, np.array(""))
    if described.dtype.kind != "U" or described.ndim:
        raise ValueError(f"{METADATA!r} is no text")
    metadata = safetensors.parsed(str(described), METADATA)
    if not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError(f"{METADATA!r} does not hold texts by name")
    header = Header.of({name: (a.dtype, a.shape) for name, a in arrays.items()}, metadata)
    with open(path, "w+b") as file:
        file.write(header.encoded)
        file.truncate(header.size)
        for name, array in arrays.items():
            safetensors.write(file, header.tensors[name], 0, array)
