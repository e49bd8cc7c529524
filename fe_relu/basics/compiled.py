# SPDX-License-Identifier: MIT
"""Compilation of loops over plain arrays: the one module that knows Numba."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from llvmlite import binding, ir
from numba import njit, types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic
from numba.np.arrayobj import make_array


def _has_avx512() -> bool:
    try:
        return bool(binding.get_host_cpu_features().get("avx512f"))
    except RuntimeError:  # a processor whose features LLVM does not list
        return False


#: Whether the processor looks up a whole vector of table entries well. Where it does not, a loop
#: that computes entries and one that looks them up are faster than one that does both.
GATHERS = _has_avx512()

#: Where the pointer to the numbers is among the fields that Numba passes for an array.
_DATA = ".4"


def compiled(function: Callable) -> Callable:
    """Compiles a function when it is first called, and keeps the result on disk.

    What is kept is used only while the source of the whole package is what it was, as compiled
    functions contain others. Where nothing can be kept, or what was kept is damaged, functions are
    compiled anew, and one warning says so.
    """
    dispatcher = njit(error_model="numpy", nogil=True)(function)
    try:
        dispatcher._cache = _Kept(function)
    except RuntimeError:  # nowhere to write: no home, a read-only installation
        _warn("there is no folder for it to write to")
    return dispatcher


class _Kept(FunctionCache):
    """Numba's cache of one function, none of whose failures is more than a loss of time."""

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = _source_mark()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # whatever pickle makes of a damaged file
            _warn(f"what was kept cannot be read ({type(error).__name__})")
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _warn(f"{self.cache_path} cannot be written ({error})")


@lru_cache
def _source_mark() -> str:
    """A hash of all source of the package."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_WARNED: list[str] = []


def _warn(why: str) -> None:
    """Says once in a process that compiled code is not kept, and what helps."""
    if not _WARNED:
        _WARNED.append(why)
        warnings.warn(
            f"compiled code is not kept for the next process: {why}; NUMBA_CACHE_DIR names another "
            "folder",
            RuntimeWarning,
            stacklevel=3,
        )


def inlined(function: Callable) -> Callable:
    """Compiles a function into its callers: constants that they pass are constants in it."""
    return njit(error_model="numpy", nogil=True, forceinline=True)(function)


@intrinsic
def vectorised(_context: Any) -> Any:
    """Called in a compiled function, has its loops made of vectors even if they look up tables.

    It promises that no array that the function writes shares memory with another one; else a store
    might change what is looked up next. And it asks for vectors as wide as the processor has, where
    LLVM by itself would stop at 256 bits; the more points are under way, the less look-ups cost.
    """

    def promise(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        for argument in builder.function.args:
            if isinstance(argument.type, ir.PointerType) and argument.name.endswith(_DATA):
                argument.add_attribute("noalias")
        # set.add, as llvmlite's own add knows no attributes of one target only
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), promise


@intrinsic
def prefetch(_context: Any, array: Any, index: Any) -> Any:
    """Asks the processor to bring array[index], of a contiguous array, near; it does not wait.

    Loops that look up entries which depend on each other ask for those of many points first.
    """

    def ask(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        name = "llvm.prefetch.p0"
        known = builder.module.globals.get(name)
        instruction = known or ir.Function(builder.module, kind, name)
        # To be read (not written), kept in all caches, and data (not code).
        builder.call(instruction, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), ask
