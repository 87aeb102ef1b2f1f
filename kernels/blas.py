"""NumPy's BLAS on one thread, and threads of our own that use it.

How BLAS shares a product out among threads has a say in its bits. What is computed part by part,
each by one thread, has the same bits on any number of cores; and processes that share a machine,
each on the threads it was given, do not stand in each other's way.
"""

import contextlib
import ctypes
import functools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import Any

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


class _Limit:
    """That of the process: who comes first sets it, who leaves last takes it off.

    That of threadpoolctl is for one thread of Python's alone to set.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before: list[int] = []

    def enter(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = counts()
                for _, put in _libraries():
                    put(1)

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for (_, put), count in zip(_libraries(), self._before, strict=True):
                    put(count)


_limit = _Limit()


@functools.cache
def _libraries() -> list[tuple[Callable[[], int], Callable[[int], Any]]]:
    """How BLAS is asked for its threads and told, as NumPy has loaded it."""
    from threadpoolctl import threadpool_info

    found = []
    for library in threadpool_info():
        loaded = ctypes.CDLL(library["filepath"])
        names = (pair for pair in NAMES if hasattr(loaded, pair[0]))
        found += [(getattr(loaded, get), getattr(loaded, put)) for get, put in islice(names, 1)]
    return found


def counts() -> list[int]:
    """How many threads each library of BLAS uses."""
    return [get() for get, _ in _libraries()]


@contextlib.contextmanager
def on_one_thread() -> Iterator[None]:
    """Within this block each call of BLAS uses one thread, in all of the process."""
    _limit.enter()
    try:
        yield
    finally:
        _limit.leave()


def each(
    function: Callable[[Any], Any], items: Iterable[Any], n_threads: int | None, at_once: int
) -> Iterator[Any]:
    """function(item) of each, in their order, by as many threads as an op with this argument uses,
    but at most `at_once`, which bounds the memory that they take.

    Raises: what the function raises, and as `threads.ask`.
    """
    count = min(threads.at_most(n_threads), at_once)
    if count == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(count) as pool:
        ahead: deque[Any] = deque()
        for item in items:
            ahead.append(pool.submit(copy_context().run, function, item))
            if len(ahead) == count:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
