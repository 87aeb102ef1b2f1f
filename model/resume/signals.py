"""Ctrl-C and SIGTERM during a training that is checkpointed."""

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def caught() -> Iterator[None]:
    """Within this block both signals raise KeyboardInterrupt; after it, the first goes to whoever
    handled it before.

    Other threads than the main one get no signals, and none is caught that was ignored.
    """
    arrived: list[int] = []

    def handle(number: int, frame: object) -> None:
        arrived.append(number)
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in SIGNALS}
        before = {n: h for n, h in found.items() if h not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived and before[signal.Signals(arrived[0])] is not signal.default_int_handler:
            signal.raise_signal(arrived[0])
