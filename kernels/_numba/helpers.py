"""Threads that wait for the next call, so that no call pays for starting one.

A helper that is asked for gets work; whoever asked does not wait for it to begin, and cancels what
it has not begun. Starting a thread takes 100 µs of the caller's time, waking one a few.
"""

import os
import threading
from queue import SimpleQueue

_idle: list["Helper"] = []  # those that wait; a list's pop and append need no lock


class Helper:
    """One thread and its next piece of work: [function, arguments], or [] if it was cancelled."""

    def __init__(self):
        self.queue = SimpleQueue()
        threading.Thread(target=self._serve, daemon=True, name="softstep helper").start()

    def _serve(self):
        while True:
            work = self.queue.get()
            taken = tuple(work)  # one step: it is cancelled before or not at all
            work.clear()
            if taken:
                function, arguments = taken
                function(*arguments)
                del function, arguments  # or their arrays would live until the next call
            del taken, work
            _idle.append(self)


def ask(function, arguments):
    """Have a helper call function(*arguments), and a list: emptied, it cancels what has not begun.

    RuntimeError: no thread waits, and no more can be started.
    """
    try:
        helper = _idle.pop()
    except IndexError:
        helper = Helper()
    work = [function, arguments]
    helper.queue.put(work)
    return work


if hasattr(os, "register_at_fork"):  # a child has none of the threads
    os.register_at_fork(after_in_child=_idle.clear)
