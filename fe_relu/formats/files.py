# SPDX-License-Identifier: MIT
"""A network in a file is the same network, bit for bit, wherever it is loaded.

See docs/files.md for what is in a file. `save` replaces the file at once or not at all, and each
rank writes what it holds; `load` believes nothing that the file does not bear out.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from io import BufferedReader
from typing import TYPE_CHECKING, Any

import numpy as np

from fe_relu.formats import stored
from fe_relu.formats.kinds import KINDS, Kind
from fe_relu.formats.replacing import replacing, require_replaceable
from fe_relu.formats.stored import Contents, Header, Stored, parsed
from fe_relu.networks.nodal import layout_of
from fe_relu.parallel.agreement import together
from fe_relu.parallel.layouts import LayoutName, checked_layout

if TYPE_CHECKING:
    from mpi4py import MPI

FORMAT = "fe_relu"

#: Raised by one with every change that an older reader would not understand.
VERSION = 1


class FileFormatError(ValueError):
    """The file is no network, or not a whole one; the message names file and cause."""


def save(
    network: Any,
    path: str | os.PathLike[str],
    *,
    names: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
) -> None:
    """The file at path becomes this network, or stays what it was if anything fails.

    Collective over `network.comm` if it has one; all ranks then name one file on a file system that
    they share. Values spread in blocks are written by the ranks that hold them, but for those of a
    `Surrogate`, which are few and gathered first. The file is the same, byte for byte, on any
    number of ranks and in any layout. An explicit network has no communicator: one process saves
    it.

    Args:
        network: Of one of the kinds in `fe_relu.formats.kinds`.
        path: The file; a link is followed, a folder must exist.
        names: What each output is called.
        units: The unit of each output.

    Raises:
        TypeError: Files do not hold such networks, or names or units are not texts.
        ValueError: There are not as many names or units as outputs, the header would be too long,
            or there is something at path that is no regular file.
        OSError: The file cannot be written; on every rank.

    Examples:
        >>> import tempfile, numpy as np, fe_relu
        >>> grid = fe_relu.Grid((0, 0), np.eye(2), (2, 2), "right")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fe_relu.save(fe_relu.P1Network(grid, np.arange(9.0)), f"{folder}/u.safetensors")
        ...     fe_relu.load(f"{folder}/u.safetensors").mesh == grid
        True
    """
    layout = layout_of(network)
    with together(layout.comm) as terms:
        target = os.path.realpath(os.fsdecode(path))
        require_replaceable(target)
        name = _kind_name(network)
        terms.alike("paths", target)
        terms.alike("kinds of network", name)
        terms.alike("layouts", type(layout).__name__)
    network = KINDS[name].prepared(network)
    with together(layout.comm) as terms:
        contents, header = _contents_and_header(name, network, names, units)
        terms.alike("networks, names or units", header.encoded)
    with (
        replacing(target, header.encoded, header.size, layout.comm) as temporary,
        open(temporary, "r+b") as file,
    ):
        for name, array in contents.arrays.items():
            for first, numbers in array.parts:
                stored.write(file, header.tensors[name], first, numbers)
        file.flush()
        os.fsync(file.fileno())


def load(
    path: str | os.PathLike[str], *, comm: MPI.Comm | None = None, layout: LayoutName = "auto"
) -> Any:
    """The network that was saved, bit for bit. Collective over comm if it is given.

    The file is not needed any more afterwards. Nothing in it is executed, and no more memory is
    used than a few times its size.

    Args:
        path: A file that `save` wrote.
        comm: The communicator whose ranks are to hold the network together; each reads what it is
            to hold. None: each process that calls has a network of its own.
        layout: Where nodal values live on the ranks of comm, as for `network_from_function`.

    Raises:
        FileFormatError: The file is no network, or not a whole one; on every rank of comm.
        OSError: The file cannot be opened, for example because there is none.
        ValueError: layout is another word, or "blocks" for a network that cannot be spread.
        TypeError: Ranks pass different files.

    Examples:
        >>> import tempfile, numpy as np, fe_relu
        >>> layers = (fe_relu.Affine([[1]], [0]), fe_relu.Affine([[2]], [1]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fe_relu.save(fe_relu.ReLUNetwork(layers), f"{folder}/f.safetensors")
        ...     fe_relu.load(f"{folder}/f.safetensors")([[3.0, -1.0]])
        array([7., 1.])
    """
    with contextlib.ExitStack() as stack:
        with together(comm) as terms:
            file = stack.enter_context(_opened(path))
            with _cause_named(path):
                header, kind, facts = _described(file)
            _require_spreading(kind, checked_layout(layout))
            terms.alike("files", header.encoded)
            terms.alike("layouts", layout)
        with together(comm), _cause_named(path):
            network = kind.network(Stored(file, facts, header.tensors), comm, layout)
            _require_consistent(facts, network)
            return network


def metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the header of a file says of its network: kind, dtype, names, units, grid or widths.

    Raises:
        FileFormatError: The file is no network, as far as the header tells.
        OSError: The file cannot be opened.
    """
    with _opened(path) as file, _cause_named(path):
        return _described(file)[2]


def _kind_name(network: Any) -> str:
    name = next((name for name, kind in KINDS.items() if kind.network_type is type(network)), None)
    if name is None:
        kinds = ", ".join(kind.network_type.__name__ for kind in KINDS.values())
        raise TypeError(f"a file holds a {kinds}, not a {type(network).__name__}")
    return name


def _contents_and_header(
    name: str, network: Any, names: Sequence[str] | None, units: Sequence[str] | None
) -> tuple[Contents, Header]:
    for given, what in ((names, "names"), (units, "units")):
        _require_texts(given, what, network.dim_out)
    contents = KINDS[name].contents(network)
    facts = {
        "kind": name,
        "dtype": np.dtype(network.dtype).name,
        "names": None if names is None else list(names),
        "units": None if units is None else list(units),
    }
    described = {
        "format": FORMAT,
        "version": str(VERSION),
        "network": json.dumps(facts | contents.facts, allow_nan=False),
    }
    arrays = {name: (array.dtype, array.shape) for name, array in contents.arrays.items()}
    return contents, Header.of(arrays, described)


def _require_texts(given: Any, what: str, count: int) -> None:
    if given is None:
        return
    if not isinstance(given, list | tuple) or not all(isinstance(text, str) for text in given):
        raise TypeError(f"{what} must be a list of texts, one for each output, not {given!r:.80}")
    if len(given) != count:
        raise ValueError(f"{len(given)} {what} for {count} outputs; there must be as many")
    if any("\ud800" <= sign <= "\udfff" for text in given for sign in text):
        raise ValueError(f"{what} hold half of a surrogate pair, which is no Unicode text")


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    path = os.fsdecode(path)
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FileFormatError(f"{path}: not a regular file")
    with open(path, "rb") as file:
        yield file


@contextlib.contextmanager
def _cause_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Whatever is wrong with what was read is a FileFormatError of this path."""
    try:
        yield
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise FileFormatError(f"{os.fsdecode(path)}: {error}") from error


def _described(file: BufferedReader) -> tuple[Header, Kind, dict[str, Any]]:
    """The header, the kind of network that it describes, and all facts about it."""
    header = Header.read(file)
    described = header.metadata
    if described.get("format") != FORMAT:
        raise ValueError(f"metadata name the format {described.get('format')!r}, not {FORMAT!r}")
    version = described.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10 and int(version) > 0):
        raise ValueError(f"{version!r:.40} is no version")
    if int(version) > VERSION:
        raise ValueError(
            f"version {version} of the format is newer than {VERSION}, the newest that this "
            "fe_relu reads"
        )
    facts = parsed(described.get("network", ""), "the description of the network")
    name = facts.get("kind")
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"the kind of network is {name!r:.40}, not one of {', '.join(KINDS)}")
    return header, KINDS[name], {"version": int(version)} | facts


def _require_spreading(kind: Kind, layout: str) -> None:
    if layout == "blocks" and not kind.spreads:
        raise ValueError(
            f"a {kind.network_type.__name__} is not spread in blocks; "
            'layout="replicated" gives each rank the whole'
        )


def _require_consistent(facts: dict[str, Any], network: Any) -> None:
    """Raises unless what the file says besides the numbers is true of the network."""
    if facts.get("dtype") != network.dtype.name:
        raise ValueError(f"dtype is {facts.get('dtype')!r:.40}, but numbers are {network.dtype}")
    for what in ("names", "units"):
        _require_texts(facts.get(what), what, network.dim_out)
