"""Processes that leave Ctrl-C to the command that started them, from their first moment on."""

import signal
import sys
from multiprocessing import context, resource_tracker


class Process(context.SpawnProcess):
    """One whose Ctrl-C waits until it can be ignored: otherwise its imports print a traceback."""

    def start(self) -> None:
        if sys.platform == "win32":
            super().start()
            return
        resource_tracker.ensure_running()  # to start it unblocks SIGINT
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Context(context.SpawnContext):
    """That of these processes."""

    Process = Process


def leave_interrupts() -> None:
    """Ignore Ctrl-C: the command ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
