"""What Numba lacks for threads: atomic words of an int64 array, and calls of the system."""

import sys

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_WORD_BYTES = 8


def _word(context, builder, sig, args):
    """The address of words[index], the first two arguments."""
    data = context.make_array(sig.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]], source_etype=ir.IntType(64))


@intrinsic
def atomic_load(typingctx, words, index):
    """Read a word, and see all that was written before it was stored."""

    def emit(context, builder, sig, args):
        word = _word(context, builder, sig, args)
        return builder.load_atomic(word, "acquire", _WORD_BYTES, typ=ir.IntType(64))

    return types.int64(words, types.int64), emit


@intrinsic
def atomic_store(typingctx, words, index, value):
    """Write a word, after all that was written before."""

    def emit(context, builder, sig, args):
        word = _word(context, builder, sig, args)
        builder.store_atomic(args[2], word, "release", _WORD_BYTES)
        return context.get_dummy_value()

    return types.void(words, types.int64, types.int64), emit


@intrinsic
def atomic_add(typingctx, words, index, value):
    """Add to a word; returns what it was before."""

    def emit(context, builder, sig, args):
        return builder.atomic_rmw("add", _word(context, builder, sig, args), args[2], "acq_rel")

    return types.int64(words, types.int64, types.int64), emit


@intrinsic
def compare_exchange(typingctx, words, index, old, new):
    """Replace `old` by `new`; returns whether the word was `old`."""

    def emit(context, builder, sig, args):
        word = _word(context, builder, sig, args)
        result = builder.cmpxchg(word, args[2], args[3], "acq_rel", "acquire")
        return builder.extract_value(result, 1)

    return types.boolean(words, types.int64, types.int64, types.int64), emit


def _system_call(builder, name, result, *arguments):
    fnty = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, fnty, name), arguments)


@intrinsic
def pause(typingctx):
    """Tell the processor that this is a waiting loop."""

    def emit(context, builder, sig, args):
        if "x86_64" in builder.module.triple:
            _system_call(builder, "llvm.x86.sse2.pause", ir.VoidType())
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def yield_processor(typingctx):
    """Let another thread run, if one wants to."""

    def emit(context, builder, sig, args):
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        _system_call(builder, name, ir.IntType(32))
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def rest(typingctx):
    """Sleep for a tenth of a millisecond (on Windows for a whole one)."""

    def emit(context, builder, sig, args):
        if sys.platform == "win32":
            _system_call(builder, "Sleep", ir.VoidType(), ir.Constant(ir.IntType(32), 1))
        else:
            _system_call(builder, "usleep", ir.IntType(32), ir.Constant(ir.IntType(32), 100))
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def now(typingctx):
    """A clock that never goes back, in nanoseconds (on Windows in a unit of its own)."""

    def emit(context, builder, sig, args):
        i64 = ir.IntType(64)
        if sys.platform == "win32":
            ticks = cgutils.alloca_once(builder, i64)
            _system_call(builder, "QueryPerformanceCounter", ir.IntType(32), ticks)
            return builder.load(ticks)
        both = ir.ArrayType(i64, 2)
        spec = cgutils.alloca_once(builder, both)
        monotonic = ir.Constant(ir.IntType(32), 6 if sys.platform == "darwin" else 1)
        _system_call(builder, "clock_gettime", ir.IntType(32), monotonic, spec)
        seconds, nanoseconds = (builder.extract_value(builder.load(spec), i) for i in (0, 1))
        return builder.add(builder.mul(seconds, ir.Constant(i64, 10**9)), nanoseconds)

    return types.int64(), emit
