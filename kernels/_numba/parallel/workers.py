"""Threads that wait for the next call, so that no call pays for starting one.

A worker that is asked begins when the system lets it. Whoever asked does not wait for that, and
cancels what has not begun. Starting a thread takes 100 µs of the caller's time, waking one a few.
"""

import os
import threading
from queue import SimpleQueue

from softstep.kernels.threads import MAX_PER_CORE

_idle: list["Worker"] = []  # those that wait; a list's pop and append need no lock
_all: list["Worker"] = []
MAX_WORKERS = MAX_PER_CORE * (os.cpu_count() or 1)  # however many threads of Python ask


class Worker:
    """One thread and its next piece of work: [function, arguments], or [] if it was cancelled."""

    def __init__(self):
        self.queue = SimpleQueue()
        threading.Thread(target=self._serve, daemon=True, name="softstep worker").start()

    def _serve(self):
        while True:
            work = self.queue.get()
            taken = tuple(work)  # in one step: it is cancelled before or not at all
            work.clear()
            if taken:
                function, arguments = taken
                function(*arguments)
                del function, arguments  # or their arrays would live until the next call
            del taken, work
            _idle.append(self)


def ask(function, arguments):
    """Have a worker call function(*arguments); returns a list, which when cleared cancels that.

    RuntimeError: none is idle, and no more may or can be started.
    """
    try:
        worker = _idle.pop()
    except IndexError:
        if len(_all) >= MAX_WORKERS:
            raise RuntimeError("all workers are busy") from None
        worker = Worker()
        _all.append(worker)
    work = [function, arguments]
    worker.queue.put(work)
    return work


if hasattr(os, "register_at_fork"):  # a child has none of the threads
    os.register_at_fork(after_in_child=_idle.clear)
    os.register_at_fork(after_in_child=_all.clear)
