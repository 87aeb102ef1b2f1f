"""How the kernels of this folder are compiled, and a cache of machine code that never raises."""

import functools
import logging
import warnings
from pathlib import Path

import numba
import numpy as np
from numba.core.caching import FunctionCache
from numba.extending import register_jitable

from softstep.kernels import integers, losses
from softstep.kernels.integers import ceil_div

# IEEE arithmetic: sums are taken in the order in which they are written, as compensated sums
# require. Where a product may be fused with a sum, the kernels say so (`fma`).
STRICT = {"nogil": True, "error_model": "numpy"}
# The body replaces the call before types are inferred: nothing is compiled twice, no argument
# passed, and functions may be arguments.
INLINE = {**STRICT, "inline": "always"}
# LLVM puts the body in place of the call: for functions of arrays and vectors. (INLINE would count
# the references to the arrays, by calls between which vectors cannot stay in registers.)
IN_PLACE = {**STRICT, "forceinline": True}


def for_kernels_too(function):
    """Decorator: a function of numbers that Python calls as it is, and kernels compiled."""
    return register_jitable(**STRICT)(function)


for_kernels_too(ceil_div)


class PackageCache(FunctionCache):
    """Numba's cache, valid for all sources at once: a kernel contains the kernels it calls.

    A cache that cannot be read or written costs a compilation and a warning, never an error.
    """

    def __init__(self, py_func):
        super().__init__(py_func)
        self._cache_file._source_stamp = _STAMP

    def load_overload(self, sig, target_context):
        try:
            found = super().load_overload(sig, target_context)
        except Exception as error:
            _warn(f"a cached kernel cannot be read ({type(error).__name__}: {error})")
            self._discard()
            found = None
        if found is None:
            _say_once_that_it_compiles()
        return found

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _warn(f"a compiled kernel cannot be kept ({type(error).__name__}: {error})")

    def _discard(self):
        """Forget what is stored, so that the next save starts from an empty index."""
        try:
            self.flush()
        except OSError:
            self.disable()


def jit(flags):
    """Decorator: compile with `flags` at first call, keep the machine code between processes."""

    def decorate(py_func):
        dispatcher = numba.njit(**flags)(py_func)
        try:
            dispatcher._cache = PackageCache(py_func)
        except RuntimeError as error:  # no folder to write to
            _warn(f"compiled kernels cannot be kept ({error})")
        return dispatcher

    return decorate


def as_writable(value):
    """A read-only array, or those in a bundle, as one that Numba takes for writable."""
    if isinstance(value, tuple):
        return type(value)(*map(as_writable, value))
    if not isinstance(value, np.ndarray) or value.flags.writeable:
        return value
    return np.asarray(_Writable(value))


class _Writable:
    def __init__(self, array):
        self.array = array  # keeps the memory alive
        about = array.__array_interface__
        self.__array_interface__ = {**about, "data": (about["data"][0], False)}


@functools.cache
def _say_once_that_it_compiles():
    # Without a handler, as by default, this comes out as a plain line on standard error.
    logging.getLogger("softstep").warning(
        "softstep: compiling CPU kernels, about ten seconds for each kind of work; they are kept"
    )


def _stamp():
    """Changes with every file that kernels are compiled from: this folder, and two outside it."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    files += [Path(module.__file__) for module in (integers, losses)]
    return tuple((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in files)


def _warn(what):
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(f"softstep: {what}; kernels are compiled anew", RuntimeWarning, stacklevel=2)


_STAMP = _stamp()
_warned = False
