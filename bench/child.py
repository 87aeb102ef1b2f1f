"""A peer in its own process: libraries whose threads cannot be limited, or that read variables.

    python -m softstep.bench.child CORES

When they are loaded, XLA and TensorFlow start as many threads as the process has cores; the child
gives up the other cores first. It takes its own times, so passing the results adds nothing to them.
"""

import os
import pickle
import subprocess
import sys
from time import perf_counter
from typing import Any


class InChild:
    """The call of a peer, run in a child process, which starts at the first call.

    Raises:
        RuntimeError: what the peer raised, as text.
    """

    peer: Any
    problem: Any
    cores: int

    def __init__(self, peer: Any, problem: Any, cores: int) -> None:
        self.peer, self.problem, self.cores = peer, problem, cores
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self) -> tuple[Any, ...]:
        """The results."""
        results: tuple[Any, ...] = self._ask("results")
        return results

    def seconds(self, repeats: int) -> float:
        """Seconds of a call: the mean of so many in a row."""
        seconds: float = self._ask(repeats)
        return seconds

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _ask(self, what: Any) -> Any:
        if self._child is None:
            command = [sys.executable, "-m", __name__, str(self.cores)]
            environment = {**os.environ, **dict(self.peer.environment)}
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
            self._send((self.peer, self.problem))
        self._send(what)
        answer = pickle.load(self._child.stdout)  # type: ignore[arg-type]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _send(self, what: Any) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        pickle.dump(what, self._child.stdin, pickle.HIGHEST_PROTOCOL)
        self._child.stdin.flush()


def serve(cores: int) -> None:
    """Answer the parent until it is gone: with the results, or the mean seconds of a call."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print there
    peer, problem = pickle.load(sys.stdin.buffer)
    call = None
    while True:
        try:
            what = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            call = call or peer.load()(problem)
            answer: Any = call() if what == "results" else _seconds(call, what)
        except Exception as error:
            answer = RuntimeError(f"{type(error).__name__}: {error}")
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


def _seconds(call: Any, repeats: int) -> float:
    start = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - start) / repeats


if __name__ == "__main__":
    serve(int(sys.argv[1]))
