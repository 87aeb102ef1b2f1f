"""Ctrl-C and SIGTERM as exit codes: 128 and the signal's number. Imports next to nothing."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

AGAIN = 2.0  # seconds, for the longest tidying up


class Terminated(BaseException):
    """SIGTERM has arrived."""


def at_once() -> contextlib.AbstractContextManager[Any]:
    """Within this block both end the process: nothing is to be tidied up while modules are
    imported, and whatever they raise may be caught there."""

    def leave(number: int, frame: object) -> None:
        os.write(2, b"\nsoftstep: interrupted\n")
        os._exit(128 + number)

    return _handled({signal.SIGINT: leave, signal.SIGTERM: leave})


@contextlib.contextmanager
def as_exceptions() -> Iterator[None]:
    """Within this block SIGTERM raises Terminated, as Ctrl-C does KeyboardInterrupt.

    Again after a while, if the block goes on: where C calls Python, exceptions are dropped, of
    which nothing is said then. By an alarm, unless the program has its own use for that.
    """
    arrived: list[int] = []
    ended, tell = False, sys.unraisablehook

    def tell_of_others(dropped: Any) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt | Terminated):
            tell(dropped)

    def raise_it(number: int, frame: object) -> None:
        arrived.append(number)
        if ended:
            return
        if alarm in taken:
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
        raise KeyboardInterrupt if arrived[0] == signal.SIGINT else Terminated

    alarm = getattr(signal, "SIGALRM", None)
    numbers = [signal.SIGINT, signal.SIGTERM] + ([] if alarm is None else [alarm])
    taken: Collection[int] = ()
    with _handled(dict.fromkeys(numbers, raise_it)) as handled:
        taken, sys.unraisablehook = handled, tell_of_others
        try:
            yield
        finally:
            ended = True  # before the alarm is given back, whose default ends the process
            sys.unraisablehook = tell
            if arrived and alarm in taken:
                signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def _handled(
    handlers: dict[signal.Signals, Callable[[int, object], Any]],
) -> Iterator[Collection[int]]:
    """Handles the signals that are not ignored or handled in another way, in the main thread; gives
    those that it handles."""
    usual = (signal.SIG_DFL, signal.default_int_handler)
    is_main = threading.current_thread() is threading.main_thread()
    found = {number: signal.getsignal(number) for number in handlers if is_main}
    before = {number: handler for number, handler in found.items() if handler in usual}
    try:
        for number in before:
            signal.signal(number, handlers[number])
        yield before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
