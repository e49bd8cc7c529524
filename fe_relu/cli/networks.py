# SPDX-License-Identifier: MIT
"""Networks in files of several formats, told by the suffix, as tables."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from fe_relu.fenicsx.checkpoint import network_from_checkpoint
from fe_relu.fenicsx.regions import write_regions
from fe_relu.formats.files import load, metadata, save
from fe_relu.formats.onnx import to_onnx
from fe_relu.formats.onnx_reader import network_and_metadata
from fe_relu.networks.nodal import output_names
from fe_relu.parallel.agreement import together

if TYPE_CHECKING:
    from mpi4py import MPI


#: Where an ONNX file has the names and units of outputs, each as a JSON list.
NAMES, UNITS = "output names", "output units"


class Format(NamedTuple):
    """How files of a suffix are read or written, and the options that this takes."""

    act: Callable[..., Any]
    options: Collection[str] = ()


@dataclass(frozen=True)
class Named:
    """A network, with the names and units of its outputs if they are known."""

    network: Any
    names: list[str] | None = None
    units: list[str] | None = None

    @property
    def labels(self) -> list[str]:
        """A name for every output, u by default."""
        return output_names(self.network) if self.names is None else self.names


def _of_safetensors(path: str, comm: MPI.Comm | None) -> Named:
    with together(comm):
        facts = metadata(path)
    return Named(load(path, comm=comm), facts.get("names"), facts.get("units"))


def _of_onnx(path: str, comm: MPI.Comm | None) -> Named:
    with together(comm):
        network, texts = network_and_metadata(path)
        names, units = (texts.get(key, "null") for key in (NAMES, UNITS))
        return Named(network, _texts(names, network.dim_out), _texts(units, network.dim_out))


def _of_checkpoint(path: str, comm: MPI.Comm | None, **which: Any) -> Named:
    with together(comm):
        return Named(network_from_checkpoint(path, **which))


def _texts(text: str, count: int) -> list[str] | None:
    """The list of so many texts that a JSON text is, if it is one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    known = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return found if known and len(found) == count else None


#: How to read what a suffix stands for. Collective.
READERS = {
    ".safetensors": Format(_of_safetensors),
    ".onnx": Format(_of_onnx),
    ".bp": Format(_of_checkpoint, ("name", "time")),
}


def _to_safetensors(named: Named, path: str) -> None:
    save(named.network, path, names=named.names, units=named.units)


def _to_onnx(named: Named, path: str, *, form: str = "relu") -> None:
    given = {NAMES: named.names, UNITS: named.units}
    extra = {key: json.dumps(texts) for key, texts in given.items() if texts is not None}
    to_onnx(named.network, path, form=form, metadata=extra)  # type: ignore[arg-type]


def _to_xdmf(named: Named, path: str, *, box: list[float] | None = None) -> None:
    domain = box_of(box)
    if domain is None:
        raise ValueError(f"{path}: a mesh of the network needs a domain, --box X0 X1 Y0 Y1")
    write_regions(named.network, domain, path, names=named.labels)


#: How to write what a suffix stands for.
WRITERS = {
    ".safetensors": Format(_to_safetensors),
    ".onnx": Format(_to_onnx, ("form",)),
    ".xdmf": Format(_to_xdmf, ("box",)),
}


def box_of(ends: list[float] | None) -> list[list[float]] | None:
    """The box from its ends, x0 x1 y0 y1.

    Raises:
        ValueError: They are not two for each coordinate.
    """
    if ends is None:
        return None
    if len(ends) % 2:
        raise ValueError(f"--box needs two numbers for each coordinate, not {len(ends)}")
    return [ends[i : i + 2] for i in range(0, len(ends), 2)]


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
        read = _chosen(path, READERS, which)
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path}: no such file")
    return read(path, comm, **which)


def writer(path: str, source: str, **how: Any) -> Callable[[Named], None]:
    """What writes a network to a file, at once or not at all.

    Args:
        path: The file.
        source: Another file, which the network comes from.
        how: What writing the format takes besides, as form of an ONNX file.

    Raises:
        ValueError: The suffix stands for no format that is written, or takes no such options; or
            path is the source.
    """
    write = _chosen(path, WRITERS, how)
    require_other_file(path, source)
    return lambda named: write(named, path, **how)


def _chosen(path: str, formats: Mapping[str, Format], options: Iterable[str]) -> Callable[..., Any]:
    suffix = checked_suffix(path, formats)
    for option in set(options) - set(formats[suffix].options):
        raise ValueError(f"{path}: --{option} is not for {suffix} files")
    return formats[suffix].act


def checked_suffix(path: str, suffixes: Collection[str]) -> str:
    """The suffix of a path, one of those.

    Raises:
        ValueError: It is none.
    """
    suffix = os.path.splitext(path.rstrip("/"))[1].lower()
    if suffix not in suffixes:
        raise ValueError(f"{path}: the suffix must be one of {', '.join(suffixes)}")
    return suffix


def require_other_file(path: str, *sources: str) -> None:
    """Raises if a file to be written is one of those that are read, by whatever name."""
    for source in sources:
        if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
            raise ValueError(f"{path}: the same file as {source}, which is read; name another one")
