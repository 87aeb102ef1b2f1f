"""Ctrl-C and SIGTERM during a training that is checkpointed."""

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def caught() -> Iterator[list[int]]:
    """Within this block both signals raise KeyboardInterrupt; after it, the first goes to whoever
    handled it before.

    The block is given the list of those that arrived, to ask it now and then: where C calls Python,
    exceptions are dropped. Other threads than the main one get no signals, and none is caught that
    was ignored.
    """
    arrived: list[int] = []
    ended = False

    def handle(number: int, frame: object) -> None:
        arrived.append(number)
        if not ended:
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in SIGNALS}
        before = {n: h for n, h in found.items() if h not in (None, signal.SIG_IGN)}
    interrupted = False
    try:
        for number in before:
            signal.signal(number, handle)
        yield arrived
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        ended = True  # nothing is raised before all handlers are as they were
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            first = signal.Signals(arrived[0])
            if not (interrupted and before[first] is signal.default_int_handler):
                signal.raise_signal(first)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Within this block Ctrl-C is not answered, nor a signal that is `caught`; after it the first
    is, if one came."""
    arrived: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in SIGNALS}
        before = {number: handler for number, handler in found.items() if callable(handler)}
    try:
        for number in before:
            signal.signal(number, lambda number, frame: arrived.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(signal.Signals(arrived[0]))
