"""Threads that share the work of one call, in phases of items, without a threading layer.

The leader (member 0, the calling thread) opens a phase of so many items; whoever is there claims
items until none is left; the leader closes the phase, which waits only for members still in the
middle of an item. Each member has a share of the items, and takes from the others' shares when its
own is done. So a member that the system has put aside costs nothing unless it holds an item; when
the leader has had to wait for one, it works alone for a while.

What an item computes does not depend on who computes it: results have the same bits for any team.
"""

import contextlib
import sys

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from softstep.kernels._numba import helpers
from softstep.kernels._numba.jit import STRICT, as_writable, jit

# A team is an int64 array. The words stand in groups a cache line apart.
LINE = 8
STATE, PHASE, STEP, GENERATION, PAUSE, SHARES = (LINE * i for i in range(6))
SOLO_UNTIL, SOLO_FACTOR, TOGETHER_SINCE = PAUSE, PAUSE + 1, PAUSE + 2
OPENED, CLAIMED = GENERATION + 1, GENERATION + 2  # when the phase began, the leader's items in it
MEMBERS = (1 << 16) - 1  # bits of the state: how many helpers are in the phase,
OPEN = 1 << 16  # whether more may join,
STOP = 1 << 17  # whether the work is over,
FIRST_GENERATION = 1 << 18  # and from here on, the number of the phase
OVER = -1  # instead of a number of items

SPINS = 2000  # before a wait yields the processor
YIELDS = 1000  # before a helper's wait sleeps
# A wait of the leader is long if it is LONG nanoseconds more than two items take. After it the
# leader works alone for as long as it had waited; for twice, four times ... as long if that happens
# again and again, within SOON times the wait.
LONG = 100_000
SOON, MAX_SOLO_FACTOR = 8, 32


def new(size):
    """A team of `size`, before its first phase."""
    return np.zeros(SHARES + LINE * size, np.int64)


def run(kernel, size, *arguments):
    """Call kernel(team, size, member, *arguments) in `size` threads, this one as member 0."""
    global _pause
    arguments = tuple(
        type(a)(*map(as_writable, a)) if isinstance(a, tuple) else a for a in arguments
    )
    team = new(size)
    team[PAUSE:SHARES] = _pause
    asked = []
    try:
        with contextlib.suppress(RuntimeError):  # no more threads to be had: those there are do
            for member in range(1, size):
                asked.append(helpers.ask(kernel, (team, size, member, *arguments)))
        kernel(team, size, 0, *arguments)
    finally:
        team[STATE] |= STOP
        for work in asked:
            work.clear()
        _pause = team[PAUSE:SHARES].copy()


_pause = np.zeros(LINE, np.int64)  # a busy machine stays busy from call to call


@jit(STRICT)
def enter(team, size, member, items, phase=0, step=0):
    """The leader opens a phase of `items` items, unless that is OVER; a helper joins an open one.

    False when there is no more work. Otherwise the items are claimed, and `leave` ends the phase.
    """
    if member > 0:
        return _join(team, member)
    if items == OVER:
        put(team, STATE, np.int64(STOP))
        return False
    _open(team, size, items, phase, step)
    return True


@jit(STRICT)
def _open(team, size, items, phase, step):
    """Leader: publish a phase."""
    for member in range(size):
        share = SHARES + LINE * member
        team[share] = member * items // size
        team[share + 1] = (member + 1) * items // size
    team[PHASE], team[STEP] = phase, step
    team[GENERATION] += FIRST_GENERATION
    if size > 1 and team[SOLO_UNTIL] != 0 and now() > team[SOLO_UNTIL]:
        team[SOLO_UNTIL], team[TOGETHER_SINCE] = 0, now()
    if size > 1 and team[SOLO_UNTIL] == 0:
        team[OPENED], team[CLAIMED] = now(), 0
        put(team, STATE, team[GENERATION] | OPEN)


@jit(STRICT)
def claim(team, size, member):
    """The next item for this member, or -1 when all are taken."""
    for k in range(size):
        share = SHARES + LINE * ((member + k) % size)
        if get(team, share) < team[share + 1]:
            item = add(team, share, 1)
            if item < team[share + 1]:
                if member == 0:
                    team[CLAIMED] += 1
                return item
    return -1


@jit(STRICT)
def leave(team, size, member):
    """No item is left: a helper leaves; the leader lets nobody join, and waits for the others."""
    if member > 0:
        add(team, STATE, -1)
    elif size > 1 and get(team, STATE) & OPEN and (add(team, STATE, -OPEN) - OPEN) & MEMBERS:
        _wait_for_members(team)


@jit(STRICT)
def _wait_for_members(team):
    spins, since = 0, now()
    while get(team, STATE) & MEMBERS:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            yield_processor()
    waited, two_items = now() - since, 2 * (since - team[OPENED]) // max(team[CLAIMED], 1)
    if waited > LONG + two_items:
        soon = since - team[TOGETHER_SINCE] < SOON * waited
        factor = min(2 * team[SOLO_FACTOR], MAX_SOLO_FACTOR) if soon else 1
        team[SOLO_FACTOR] = factor
        team[SOLO_UNTIL] = now() + factor * waited


@jit(STRICT)
def _join(team, member):
    """Helper: wait for a phase it has not been in, and join it; False when the work is over."""
    seen = SHARES + LINE * member + 2
    waits = 0
    while True:
        state = get(team, STATE)
        if state & STOP:
            return False
        if state & OPEN and state // FIRST_GENERATION != team[seen]:
            if swap(team, STATE, state, state + 1):
                team[seen] = state // FIRST_GENERATION
                return True
            continue
        waits += 1
        if waits < SPINS:
            pause()
        elif waits < SPINS + YIELDS:
            yield_processor()
        else:
            rest()


@intrinsic
def borrowed(typingctx, arrays):
    """A tuple of arrays and numbers, its arrays without owners, so that nobody counts references.

    Counting is atomic, and for arrays that all members read it costs as much as the arithmetic.
    Whoever calls the kernel keeps the arrays alive.
    """

    def emit(context, builder, sig, args):
        members = []
        for i, kind in enumerate(arrays):
            value = builder.extract_value(args[0], i)
            if isinstance(kind, types.Array):
                array = context.make_array(kind)(context, builder, value)
                array.meminfo = cgutils.get_null_value(array.meminfo.type)
                array.parent = cgutils.get_null_value(array.parent.type)
                value = array._getvalue()
            members.append(value)
        return context.make_tuple(builder, arrays, members)

    return arrays(arrays), emit


# What Numba lacks: atomic words, and the system's calls.


def _word(context, builder, sig, args):
    data = context.make_array(sig.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]], source_etype=ir.IntType(64))


@intrinsic
def get(typingctx, team, index):
    """Read a word; what was written before it was put is seen."""

    def emit(context, builder, sig, args):
        return builder.load_atomic(
            _word(context, builder, sig, args), "acquire", 8, typ=ir.IntType(64)
        )

    return types.int64(team, types.int64), emit


@intrinsic
def put(typingctx, team, index, value):
    """Write a word, after all that was written before."""

    def emit(context, builder, sig, args):
        builder.store_atomic(args[2], _word(context, builder, sig, args), "release", 8)
        return context.get_dummy_value()

    return types.void(team, types.int64, types.int64), emit


@intrinsic
def add(typingctx, team, index, value):
    """Add to a word; what it was before."""

    def emit(context, builder, sig, args):
        word = _word(context, builder, sig, args)
        return builder.atomic_rmw("add", word, args[2], "acq_rel")

    return types.int64(team, types.int64, types.int64), emit


@intrinsic
def swap(typingctx, team, index, old, new):
    """Replace `old` by `new`; whether it was `old`."""

    def emit(context, builder, sig, args):
        word = _word(context, builder, sig, args)
        both = builder.cmpxchg(word, args[2], args[3], "acq_rel", "acquire")
        return builder.extract_value(both, 1)

    return types.boolean(team, types.int64, types.int64, types.int64), emit


def _system_call(builder, name, result, *arguments):
    fnty = ir.FunctionType(result, [a.type for a in arguments])
    function = cgutils.get_or_insert_function(builder.module, fnty, name)
    return builder.call(function, arguments)


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
    """Sleep for a tenth of a millisecond (on Windows a whole one)."""

    def emit(context, builder, sig, args):
        if sys.platform == "win32":
            _system_call(builder, "Sleep", ir.VoidType(), ir.Constant(ir.IntType(32), 1))
        else:
            _system_call(builder, "usleep", ir.IntType(32), ir.Constant(ir.IntType(32), 100))
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def now(typingctx):
    """A clock that only goes forward, in nanoseconds (on Windows in its own unit)."""

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
