"""Threads that share the work of one call, in phases of items, without a threading layer.

The leader (worker 0, the calling thread) opens a phase of so many items; whoever is there claims
items until none is left; the leader closes the phase, and waits only for workers still in the
middle of an item. Each worker has a share of the items, and takes from the others' shares when its
own is done. So a worker that the system has put aside costs nothing unless it holds an item; when
the leader has had to wait for one, it works alone for a while.

What an item computes does not depend on who computes it: a pool of any size gives the same bits.
"""

import contextlib

import numpy as np

from softstep.kernels._numba.jit import INLINE, PART, as_writable, jit
from softstep.kernels._numba.parallel import workers
from softstep.kernels._numba.parallel.atomics import (
    atomic_add,
    atomic_load,
    atomic_store,
    compare_exchange,
    now,
    pause,
    rest,
    yield_processor,
)
from softstep.kernels._numba.parallel.bundles import in_memory

# A pool is an int64 array. Its words stand in groups a cache line apart.
LINE = 8
STATE, PHASE, STEP, GENERATION, SOLO, SHARES = (LINE * i for i in range(6))
SOLO_UNTIL, SOLO_FACTOR, TOGETHER_SINCE = SOLO, SOLO + 1, SOLO + 2
OPENED, CLAIMED = GENERATION + 1, GENERATION + 2  # when the phase began, the leader's items in it
INSIDE = (1 << 16) - 1  # bits of the state: how many workers have joined the phase,
OPEN = 1 << 16  # whether more may join,
STOP = 1 << 17  # whether the work is over,
FIRST_GENERATION = 1 << 18  # and from here on, the number of the phase
OVER = -1  # instead of a number of items

SPINS = 2000  # before a wait yields the processor
YIELDS = 1000  # before a worker's wait sleeps
# A wait of the leader is long if it is LONG nanoseconds more than two items take. After it the
# leader works alone for as long as it has waited; for twice, four times ... as long if that happens
# again and again, within SOON times the wait.
LONG = 100_000
SOON, MAX_SOLO_FACTOR = 8, 32


def new(size):
    """A pool of `size` workers, before its first phase."""
    return np.zeros(SHARES + LINE * size, np.int64)


def run(kernel, size, job, scratch):
    """Call kernel(pool, size, worker, job, scratch) in `size` threads, this one as worker 0."""
    global _solo
    job, scratch = as_writable(job), as_writable(scratch)
    pool = new(size)
    if size == 1:
        kernel(pool, size, 0, job, scratch)
        return
    pool[SOLO:SHARES] = _solo
    asked = []
    try:
        with contextlib.suppress(RuntimeError):  # no more threads to be had: these will do
            for worker in range(1, size):
                asked.append(workers.ask(kernel, (pool, size, worker, job, scratch)))
        kernel(pool, size, 0, job, scratch)
    finally:
        pool[STATE] |= STOP
        for work in asked:
            work.clear()
        _solo = pool[SOLO:SHARES].copy()


_solo = np.zeros(LINE, np.int64)  # a busy machine stays busy from call to call


@jit(INLINE)
def work_through(pool, size, worker, job, scratch, phases, begin, do):
    """The loop of every kernel: steps of so many phases, each with its items.

    begin(job, scratch, step, phase): the leader alone calls it before each phase; the number of
        items, or OVER.
    do(job, scratch, step, phase, item, worker): one item.
    """
    job, scratch = in_memory(job), in_memory(scratch)
    done = 0
    while True:
        if worker > 0:
            if not _join(pool, worker):
                break
        else:
            items = begin(job, scratch, done // phases, done % phases)
            if items == OVER:
                atomic_store(pool, STATE, np.int64(STOP))
                break
            _open(pool, size, items, done // phases, done % phases)
        item = _claim(pool, size, worker)
        while item >= 0:
            do(job, scratch, pool[STEP], pool[PHASE], item, worker)
            item = _claim(pool, size, worker)
        _leave(pool, size, worker)
        done += 1


@jit(PART)
def _open(pool, size, items, step, phase):
    """Leader: publish a phase."""
    for worker in range(size):
        share = SHARES + LINE * worker
        pool[share] = worker * items // size
        pool[share + 1] = (worker + 1) * items // size
    pool[PHASE], pool[STEP] = phase, step
    pool[GENERATION] += FIRST_GENERATION
    if size > 1 and pool[SOLO_UNTIL] != 0 and now() > pool[SOLO_UNTIL]:
        pool[SOLO_UNTIL], pool[TOGETHER_SINCE] = 0, now()
    if size > 1 and pool[SOLO_UNTIL] == 0:
        pool[OPENED], pool[CLAIMED] = now(), 0
        atomic_store(pool, STATE, pool[GENERATION] | OPEN)


@jit(PART)
def _join(pool, worker):
    """Not the leader: wait for a phase it has not been in, and join it; False: the work is over."""
    seen = SHARES + LINE * worker + 2
    waits = 0
    while True:
        state = atomic_load(pool, STATE)
        if state & STOP:
            return False
        if state & OPEN and state // FIRST_GENERATION != pool[seen]:
            if compare_exchange(pool, STATE, state, state + 1):
                pool[seen] = state // FIRST_GENERATION
                return True
            continue
        waits += 1
        if waits < SPINS:
            pause()
        elif waits < SPINS + YIELDS:
            yield_processor()
        else:
            rest()


@jit(PART)
def _claim(pool, size, worker):
    """The next item for this worker, or -1 when all are taken."""
    for k in range(size):  # its own share, then those of the others
        share = SHARES + LINE * ((worker + k) % size)
        if atomic_load(pool, share) < pool[share + 1]:
            item = atomic_add(pool, share, 1)
            if item < pool[share + 1]:
                if worker == 0:
                    pool[CLAIMED] += 1
                return item
    return -1


@jit(PART)
def _leave(pool, size, worker):
    """No item is left. The leader lets nobody join any more, and waits for those inside."""
    if worker > 0:
        atomic_add(pool, STATE, -1)
    elif size > 1 and atomic_load(pool, STATE) & OPEN:
        state = atomic_add(pool, STATE, -OPEN) - OPEN
        if state & INSIDE:
            _wait_for_workers(pool)


@jit(PART)
def _wait_for_workers(pool):
    """Leader: wait until nobody is inside. After a long wait, work alone for a while."""
    spins, since = 0, now()
    while atomic_load(pool, STATE) & INSIDE:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            yield_processor()
    waited, two_items = now() - since, 2 * (since - pool[OPENED]) // max(pool[CLAIMED], 1)
    if waited > LONG + two_items:
        soon = since - pool[TOGETHER_SINCE] < SOON * waited
        factor = min(2 * pool[SOLO_FACTOR], MAX_SOLO_FACTOR) if soon else 1
        pool[SOLO_FACTOR] = factor
        pool[SOLO_UNTIL] = now() + factor * waited
