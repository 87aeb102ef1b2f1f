"""Commands in processes of their own, forked children, Ctrl-C here, and what is waited for."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

# A job in the background ignores SIGINT; what it starts does too, unless it is told.
START = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from softstep.cli import main; print(flush=True); sys.exit(main())"
)


@contextlib.contextmanager
def started(*arguments, environment=None, **how):
    """`softstep` with these arguments, which has begun, in a process and a session of its own; at
    the end of this block it is ended, and all that it has started."""
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **how}
    with subprocess.Popen(
        [sys.executable, "-c", START, *map(str, arguments)],
        env=os.environ | {"PYTHONUNBUFFERED": "1", **(environment or {})},
        start_new_session=True,
        **given,
    ) as process:
        try:
            assert process.stdout.readline() == "\n"
            yield process
        finally:
            process.kill()
            with contextlib.suppress(AttributeError, ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def run(*command, **keywords):
    """Standard output of a command that succeeds, in eight minutes at most."""
    how = {"capture_output": True, "text": True, "check": False, "timeout": 480, **keywords}
    done = subprocess.run([str(part) for part in command], **how)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def pool_of(count):
    """A pool of so many processes, which import what they need; at the end no one waits for them
    for ever."""
    executor = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))
    try:
        yield executor
    finally:
        started = list((executor._processes or {}).values())
        executor.shutdown(wait=False, cancel_futures=True)
        for process in started:
            if not multiprocessing.connection.wait([process.sentinel], timeout=30):
                process.kill()


def comes_true(is_so, within=20.0):
    """Whether `is_so()` is true before so many seconds have passed."""
    until = time.monotonic() + within
    while not is_so():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def is_so_in_child(is_so, within=120.0):
    """Whether `is_so()` is true in a forked child, which is killed after so many seconds."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if is_so() else 2
        finally:
            os._exit(code)
    ended = []

    def has_ended():
        pid, status = os.waitpid(child, os.WNOHANG)
        ended.extend([status] if pid else [])
        return pid

    if not comes_true(has_ended, within):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return ended == [0]


@contextlib.contextmanager
def interrupted_when(is_time):
    """Ctrl-C comes within this block, half a second after `is_time()` was true first."""

    def interrupt():
        try:
            comes_true(is_time)
        finally:  # or the block would never end
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGINT)

    # A process that was started in the background may ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
