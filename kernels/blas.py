"""NumPy's BLAS on one thread, and threads of our own that use it.

How BLAS shares a product out among threads has a say in its bits. What is computed part by part,
each by one thread, has the same bits on any number of cores; and processes that share a machine,
each on the threads it was given, do not stand in each other's way.
"""

import contextlib
import ctypes
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

from softstep.kernels import threads

# What says how many threads a library uses, and sets it; OpenBLAS has names of many forms.
NAMES = [
    *(
        (f"{before}openblas_get_num_threads{after}", f"{before}openblas_set_num_threads{after}")
        for before in ("scipy_", "")
        for after in ("64_", "_64", "")
    ),
    ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
    ("bli_thread_get_num_threads", "bli_thread_set_num_threads"),
]
# Of OpenBLAS built on OpenMP, which up to 0.3.33 goes by this, whatever it was told itself.
OF_OPENMP = ("omp_get_max_threads", "omp_set_num_threads")


class Library(NamedTuple):
    """A library of BLAS: what says how many threads it uses, and what sets it.

    of_caller: each thread of Python's says so for itself; else one does for the whole process.
    """

    get: Callable[[], int]
    put: Callable[[int], Any]
    of_caller: bool


Counts = list[tuple[Library, int]]


class _Limit:
    """That of the process: who comes first sets it, who leaves last takes it off.

    That of threadpoolctl is for one thread of Python's alone to set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside: dict[object, int] = {}  # blocks that have it, and their threads
        self._before: Counts = []

    def enter(self, block: object) -> None:
        with self._lock:
            if not self._inside:
                self._before = _counts(of_caller=False)
            self._inside[block] = threading.get_ident()
            _put_one(self._before)

    def leave(self, block: object) -> None:
        """Also a block that did not come to enter, as at Ctrl-C."""
        with self._lock:
            if self._inside.pop(block, None) is not None and not self._inside:
                _put(self._before)

    def begin_in_child(self) -> None:
        """In a forked process, which has the thread that forked alone."""
        self._lock = threading.Lock()  # another may have held it
        gone = [block for block, thread in self._inside.items() if thread != threading.get_ident()]
        for block in gone:
            self.leave(block)


_limit = _Limit()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_limit.begin_in_child)


@functools.cache
def _libraries() -> list[Library]:
    """Those that are loaded, as NumPy's is."""
    from threadpoolctl import threadpool_info

    found = []
    for library in threadpool_info():
        loaded = ctypes.CDLL(library["filepath"])
        kind = library["internal_api"], library.get("threading_layer")
        names = [OF_OPENMP, *NAMES] if kind == ("openblas", "openmp") else NAMES
        for get, put in names:
            if hasattr(loaded, get):
                of_caller = (get, put) == OF_OPENMP
                found.append(Library(getattr(loaded, get), getattr(loaded, put), of_caller))
                break
    return found


def _counts(of_caller: bool) -> Counts:
    """How many threads libraries use, those that are told so."""
    return [(x, x.get()) for x in _libraries() if x.of_caller == of_caller]


def _put(counts: Counts) -> None:
    for library, count in counts:
        library.put(count)


def _put_one(counts: Counts) -> None:
    for library, _ in counts:
        library.put(1)


@contextlib.contextmanager
def on_one_thread() -> Iterator[None]:
    """Within this block each call of BLAS uses one thread, in all of the process; of OpenBLAS on
    OpenMP those of this thread, and of the threads of `each`."""
    block, before = object(), _counts(of_caller=True)
    try:
        _put_one(before)
        _limit.enter(block)
        yield
    finally:
        _limit.leave(block)
        _put(before)


def each(
    function: Callable[[Any], Any], items: Iterable[Any], n_threads: int | None, at_once: int
) -> Iterator[Any]:
    """function(item) of each, in their order, by as many threads as an op with this argument uses,
    but at most `at_once`, which bounds the memory that they take; by this one where no other is to
    be had.

    Raises: what the function raises, and as `threads.ask`.
    """
    count = min(threads.at_most(n_threads), at_once)
    if count == 1:
        yield from map(function, items)
        return
    as_here = partial(_put, _counts(of_caller=True))
    with ThreadPoolExecutor(count, initializer=as_here) as pool:
        ahead: deque[Callable[[], Any]] = deque()
        for item in items:
            try:
                ahead.append(pool.submit(copy_context().run, function, item).result)
            except RuntimeError:  # no thread can be started, or the main one has ended
                # Not in that context: a thread that is there may come to it all the same.
                ahead.append(partial(function, item))
            if len(ahead) == count:
                yield ahead.popleft()()
        while ahead:
            yield ahead.popleft()()
