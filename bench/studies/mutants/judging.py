"""A plugin of pytest by which tests judge faults: which of them run a line, and what they notice.

In one process all tests are collected once. To judge a fault that process forks: in the child the
function with the fault gets its new code, the file on disk too, for what starts processes of its
own, and the tests that run its lines go through it, until one fails. A fault outside functions
takes effect on import only: it is left to a process of its own (`cold`).
"""

import contextlib
import functools
import gc
import json
import mmap
import os
import resource
import signal
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from softstep.bench.studies.mutants import JOB
from softstep.bench.studies.mutants.faults import Fault

MEMORY = 4 << 30  # bytes of addresses that a child may take more than its parent has
# With a fault a test may take so many times as long, and seconds more, of the processor's time; all
# tests of a fault together so many times the time for them, by the clock, if they wait.
SLOWER, PATIENCE, LONGEST = 5, 10, 6


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    job = json.loads(Path(os.environ[JOB]).read_text("utf-8"))
    kinds = {"profile": Profile, "judge": Judge}
    config.pluginmanager.register(kinds[job["kind"]](job), "softstep-mutants")


class Profile:
    """Runs all tests, and writes which run each line of the files, and how long they take."""

    def __init__(self, job: dict[str, Any]) -> None:
        from coverage import Coverage

        self.result = Path(job["result"])
        self.coverage = Coverage(data_file=None, config_file=False, include=job["files"])
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.coverage.start()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        start = _processor_time()
        self.coverage.switch_context(item.nodeid)
        found = yield
        self.coverage.switch_context("between")
        self.seconds[item.nodeid] = _processor_time() - start
        return found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or report.skipped:
            self.failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        data = self.coverage.get_data()
        numbers = {test: k for k, test in enumerate(self.seconds)}
        lines: dict[str, dict[int, list[int]]] = {}
        for file in data.measured_files():
            lines[file] = {
                line: [numbers[c] for c in contexts if c in numbers and c not in self.failed]
                for line, contexts in data.contexts_by_lineno(file).items()
            }
        found = {"tests": list(self.seconds), "seconds": self.seconds, "lines": lines}
        self.result.write_text(json.dumps(found), "utf-8")


class Judge:
    """Judges each fault, and writes a line of JSON on it."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.faults = [Fault(**about) for about in job["faults"]]
        self.seconds: dict[str, float] = job["seconds"]
        self.said = mmap.mmap(-1, 1 << 16)  # by a child: the test that it runs
        self.sound: set[tuple[str, ...]] = (
            set()
        )  # tests that pass one after another, without faults
        self.unsound: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        self.functions = functions_of({fault.file for fault in self.faults})
        with Path(self.job["result"]).open("w", encoding="utf-8") as file:
            for fault, tests in zip(self.faults, self.job["tests"], strict=True):
                chosen = [items[test] for test in tests if test in items]
                verdict, by = self._judged(fault, chosen)
                print(json.dumps([verdict, by]), file=file, flush=True)
                print(f"{verdict:8} {fault}  {by}", flush=True)
        return True

    def _judged(self, fault: Fault, items: list[pytest.Item]) -> tuple[str, str]:
        """ "killed" and by which test, "survived", or "cold"."""
        if not fault.function:
            return "cold", ""
        while True:
            items = [item for item in items if item.nodeid not in self.unsound]
            if not items:
                return "survived", "no test runs it"
            with _on_disk(fault) as source:
                code, test = self._run(items, fault, source)
            if code == COLD:
                return "cold", ""
            if code == 0:
                return "survived", ""
            ran = [item.nodeid for item in items]
            before = tuple(ran[: ran.index(test) + 1])
            if before in self.sound or self._run(items[: len(before)])[0] == 0:
                self.sound.add(before)
                return "killed", test
            self.unsound.add(test)  # it fails, after these, without the fault too

    def _run(
        self, items: list[pytest.Item], fault: Fault | None = None, source: str = ""
    ) -> tuple[int, str]:
        """The exit code of a child that runs these, and the last one that it ran."""
        self._say(items[0].nodeid)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = self._in_child(items, fault, source)
            finally:
                os._exit(code)
        limit = time.monotonic() + LONGEST * self.job["budget"] + 60  # others may have the cores
        while True:
            found, status = os.waitpid(child, os.WNOHANG)
            if found or time.monotonic() > limit:
                break
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):  # with what its tests have started
            os.killpg(child, signal.SIGKILL)
        if not found:
            _, status = os.waitpid(child, 0)
        test = self.said[:].split(b"\0")[0].decode()
        return os.waitstatus_to_exitcode(status), test

    def _in_child(self, items: list[pytest.Item], fault: Fault | None, source: str) -> int:
        """0: all pass, or those that there is time for; 1: one does not."""
        os.setsid()
        bound = _addresses() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        if fault is not None and not self._swap(fault, source):
            return COLD
        items[0].session.testsfailed = 0
        end = _processor_time() + self.job["budget"]
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        for item, after in zip(items, [*items[1:], None], strict=True):
            self._say(item.nodeid)
            allowed = SLOWER * self.seconds.get(item.nodeid, 1.0) + PATIENCE
            limit = int(time.process_time() + allowed)  # a signal ends the process then
            resource.setrlimit(resource.RLIMIT_CPU, (limit, most))
            item.ihook.pytest_runtest_protocol(item=item, nextitem=after)
            if item.session.testsfailed:
                return 1
            if _processor_time() > end:
                break
        return 0

    def _swap(self, fault: Fault, source: str) -> bool:
        """Give the function of a fault the code that `source` has for it; False: there is none."""
        mine = self.functions[fault.file]
        if not mine:
            return True  # its module is not imported yet
        found = False
        for code in _codes(compile(source, fault.file, "exec", dont_inherit=True)):
            if code.co_qualname != fault.function:
                continue
            for function in mine.get((code.co_qualname, code.co_firstlineno), []):
                try:
                    function.__code__ = code.replace(co_filename=function.__code__.co_filename)
                except ValueError:  # it has other free variables
                    return False
                found = True
        return found

    def _say(self, test: str) -> None:
        self.said.seek(0)
        self.said.write(test.encode() + b"\0")


COLD = 77  # the exit code of a child in which the fault cannot take effect


@contextlib.contextmanager
def _on_disk(fault: Fault) -> Iterator[str]:
    """Within this block its file has the fault; gives the source."""
    path = Path(fault.file)
    whole, before = path.read_text("utf-8"), path.stat()
    source = fault.source(whole)
    path.write_text(source, "utf-8")
    try:
        yield source
    finally:
        path.write_text(whole, "utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


Key = tuple[str, int]  # the qualified name and the first line of a function


def functions_of(files: set[str]) -> dict[str, dict[Key, list[types.FunctionType]]]:
    """The functions that there are of these files."""
    paths = {os.path.realpath(file): file for file in files}
    found: dict[str, dict[Key, list[types.FunctionType]]] = {file: {} for file in files}
    resolved = functools.cache(os.path.realpath)
    for function in gc.get_objects():
        if type(function) is not types.FunctionType:
            continue
        code = function.__code__
        file = paths.get(resolved(code.co_filename))
        if file is not None:
            key = code.co_qualname, code.co_firstlineno
            found[file].setdefault(key, []).append(function)
    return found


def _processor_time() -> float:
    """The seconds of all threads of this process, and of processes that it has waited for."""
    return sum(os.times()[:4])


def _addresses() -> int:
    """The bytes of addresses that this process has."""
    with contextlib.suppress(OSError):
        pages = Path("/proc/self/statm").read_text("ascii").split()[0]
        return int(pages) * resource.getpagesize()
    return 4 * MEMORY


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)
