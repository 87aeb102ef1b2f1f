"""How the functions of this folder are compiled: kernels, their parts, and what is inlined."""

import numba
import numpy as np
from numba.extending import register_jitable

from softstep.kernels._numba.compiling import cache, parts
from softstep.kernels.integers import ceil_div

# IEEE arithmetic: sums are taken in the order in which they are written, as compensated sums
# require. Where a product may be fused with a sum, the kernels say so (`fma`).
IEEE = {"nogil": True, "error_model": "numpy"}
# A kernel: Python calls it, and its machine code is kept between processes. Nobody needs it in C.
STRICT = {**IEEE, "no_cfunc_wrapper": True, "pipeline_class": parts.KernelCompiler}
# A part: kernels alone call it. It is compiled within them, and nowhere else.
PART = {**STRICT, "no_cpython_wrapper": True, "pipeline_class": parts.PartCompiler}
# A part that LLVM always puts in place of the call.
IN_PLACE = {**PART, "forceinline": True}
# The body replaces the call before types are inferred: no argument is passed, and functions may be
# arguments.
INLINE = {**IEEE, "inline": "always"}


def for_kernels_too(function):
    """Decorator: a function of numbers that Python calls as it is, and kernels compiled."""
    return register_jitable(**IEEE)(function)


for_kernels_too(ceil_div)


def jit(flags):
    """Decorator: compile as a kernel, as a part of kernels, or inline."""

    def decorate(py_func):
        dispatcher = numba.njit(**flags)(py_func)
        if flags is PART or flags is IN_PLACE:
            parts.ignore_literals(dispatcher)
        elif flags is STRICT:
            cache.keep(dispatcher)
        return dispatcher

    return decorate


def call(kernel, *arguments):
    """Call a kernel; read-only arrays pass as writable ones, so it is compiled once for both."""
    kernel(*map(as_writable, arguments))


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
