"""Ctrl-C and SIGTERM as exit codes: 128 and the signal's number. Imports next to nothing."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

AGAIN = 2.0  # seconds, for the longest tidying up


class Terminated(BaseException):
    """SIGTERM has arrived."""


def at_once() -> contextlib.AbstractContextManager[None]:
    """Within this block both end the process: nothing is to be tidied up while modules are
    imported, and whatever they raise may be caught there."""

    def leave(number: int, frame: object) -> None:
        os.write(2, b"\nsoftstep: interrupted\n")
        os._exit(128 + number)

    return _handled({signal.SIGINT: leave, signal.SIGTERM: leave})


@contextlib.contextmanager
def as_exceptions() -> Iterator[None]:
    """Within this block SIGTERM raises Terminated, as Ctrl-C does KeyboardInterrupt.

    Again after a while, if the block goes on: where C calls Python, exceptions are dropped.
    """
    arrived: list[int] = []

    def raise_it(number: int, frame: object) -> None:
        arrived.append(number)
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
        raise KeyboardInterrupt if arrived[0] == signal.SIGINT else Terminated

    handlers: dict[signal.Signals, Callable[[int, object], Any]]
    handlers = {signal.SIGINT: raise_it, signal.SIGTERM: raise_it}
    if hasattr(signal, "setitimer"):
        handlers[signal.SIGALRM] = raise_it
    try:
        with _handled(handlers):
            yield
    finally:
        if arrived and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def _handled(handlers: dict[signal.Signals, Callable[[int, object], Any]]) -> Iterator[None]:
    """Handles the signals that are not ignored or handled in another way; in the main thread."""
    usual = (signal.SIG_DFL, signal.default_int_handler)
    is_main = threading.current_thread() is threading.main_thread()
    found = {number: signal.getsignal(number) for number in handlers if is_main}
    before = {number: handler for number, handler in found.items() if handler in usual}
    for number in before:
        signal.signal(number, handlers[number])
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
