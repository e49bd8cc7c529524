# SPDX-License-Identifier: MIT
"""Networks in files of several formats, told by the suffix, as tables."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fe_relu.fenicsx.checkpoint import network_from_checkpoint
from fe_relu.formats.files import load, metadata, save
from fe_relu.formats.onnx import to_onnx
from fe_relu.formats.onnx_reader import network_and_metadata
from fe_relu.parallel.agreement import together

if TYPE_CHECKING:
    from mpi4py import MPI


#: Where an ONNX file has the names and units of outputs, each as a JSON list.
NAMES, UNITS = "output names", "output units"


@dataclass(frozen=True)
class Named:
    """A network, with the names and units of its outputs if they are known."""

    network: Any
    names: list[str] | None = None
    units: list[str] | None = None

    @property
    def labels(self) -> list[str]:
        """A name for every output, u by default."""
        if self.names is not None:
            return self.names
        count = self.network.dim_out
        return ["u"] if count == 1 else [f"u{k}" for k in range(count)]


def _of_safetensors(path: str) -> Named:
    return _named(load(path), metadata(path))


def _of_onnx(path: str) -> Named:
    network, texts = network_and_metadata(path)
    names, units = (texts.get(key, "null") for key in (NAMES, UNITS))
    return Named(network, _texts(names, network.dim_out), _texts(units, network.dim_out))


def _texts(text: str, count: int) -> list[str] | None:
    """The list of so many texts that a JSON text is, if it is one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    known = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return found if known and len(found) == count else None


def _named(network: Any, facts: dict[str, Any]) -> Named:
    return Named(network, facts.get("names"), facts.get("units"))


#: How to read what a suffix stands for.
READERS: dict[str, Callable[..., Named]] = {
    ".safetensors": _of_safetensors,
    ".onnx": _of_onnx,
    ".bp": lambda path, **which: Named(network_from_checkpoint(path, **which)),
}


def _to_safetensors(named: Named, path: str) -> None:
    save(named.network, path, names=named.names, units=named.units)


def _to_onnx(named: Named, path: str, *, form: str = "relu") -> None:
    given = {NAMES: named.names, UNITS: named.units}
    extra = {key: json.dumps(texts) for key, texts in given.items() if texts is not None}
    to_onnx(named.network, path, form=form, metadata=extra)  # type: ignore[arg-type]


#: How to write what a suffix stands for.
WRITERS: dict[str, Callable[..., None]] = {
    ".safetensors": _to_safetensors,
    ".onnx": _to_onnx,
}


def read_network(path: str, comm: MPI.Comm | None = None, **which: Any) -> Named:
    """The network in a file. Collective over comm if it is given.

    A safetensors file may be spread over the ranks as `load` does it; of the others, each rank
    reads the whole.

    Args:
        path: The file, or the folder of a checkpoint.
        comm: The ranks that are to evaluate it together.
        which: What reading its format takes besides, as name and time of a checkpoint.

    Raises:
        ValueError: The suffix stands for no format that is read, or takes no such options; or the
            file holds no network.
        ImportError: A package that reads the format is not installed.
        OSError: There is no such file.
    """
    with together(comm):
        read = READERS[checked_suffix(path, READERS, which, {".bp": {"name", "time"}})]
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path}: no such file")
        if read is not _of_safetensors:
            return read(path, **which)
        facts = metadata(path)
    return _named(load(path, comm=comm), facts)


def write_network(named: Named, path: str, **how: Any) -> None:
    """Writes a network to a file, at once or not at all.

    Raises:
        ValueError: The suffix stands for no format that is written, or takes no such options.
        ImportError: A package that writes the format is not installed.
        OSError: The file cannot be written.
    """
    WRITERS[checked_suffix(path, WRITERS, how, {".onnx": {"form"}})](named, path, **how)


def checked_suffix(
    path: str, formats: dict[str, Any], given: dict[str, Any], options: dict[str, set[str]]
) -> str:
    """The suffix of a path, one of the formats', which takes the options that are given.

    Raises:
        ValueError: It is none, or takes no such options.
    """
    suffix = os.path.splitext(path.rstrip("/"))[1].lower()
    if suffix not in formats:
        raise ValueError(f"{path}: the suffix must be one of {', '.join(formats)}")
    for option in given.keys() - options.get(suffix, set()):
        raise ValueError(f"{path}: --{option} is not for {suffix} files")
    return suffix
