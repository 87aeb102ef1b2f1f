"""Ctrl-C and SIGTERM during a training that is checkpointed."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN = 0.5  # seconds: what comes sooner is the first, which a launcher passes on too


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

    before = _handlers()
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
def deferred() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Within this block neither signal is answered, by its default neither; after it the first is,
    if one came. One that comes `AGAIN` seconds after the first is answered at once: who sends it
    sees that the block does not end.

    The block is given another, to have within it, where signals are answered as before; those that
    would end the process raise KeyboardInterrupt there, and end it after all.
    """
    arrived: list[tuple[int, float]] = []
    before = _handlers()

    def put_off(number: int, frame: object) -> None:
        arrived.append((number, time.monotonic()))
        if arrived[-1][1] - arrived[0][1] >= AGAIN:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(signal.Signals(number))

    def interrupt(number: int, frame: object) -> None:
        arrived.append((number, time.monotonic()))
        raise KeyboardInterrupt

    def answer(handlers: dict[signal.Signals, Any]) -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if arrived:
            first, _ = arrived[0]
            arrived.clear()
            signal.raise_signal(signal.Signals(first))

    @contextlib.contextmanager
    def answered() -> Iterator[None]:
        try:
            answer({n: h if callable(h) else interrupt for n, h in before.items()})
            yield
        finally:
            for number in before:
                signal.signal(number, put_off)

    try:
        for number in before:
            signal.signal(number, put_off)
        yield answered
    finally:
        answer(before)


def _handlers() -> dict[signal.Signals, Any]:
    """Those of the signals that are not ignored; none but in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {number: signal.getsignal(number) for number in SIGNALS}
    return {n: h for n, h in found.items() if h not in (None, signal.SIG_IGN)}
