"""Would the tests notice? A sample of small faults is put into the code, one at a time.

First all tests run once, and it is recorded which of them run each line. Then each fault (a
comparison, an operator, a constant, a condition or a statement changed) is put into a copy of the
checkout, and those that run its line go through it: one or two cases of each function before the
others, the quick ones first, until one fails or the time is over. A test counts only if it passes
without the fault. A fault that they let pass, a survivor, is listed. The sample is drawn from all
faults by a seed, and any first part of it is a sample too. POSIX, in a checkout, with what the
tests and `make coverage` need.
"""

import argparse
import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from softstep.bench.studies import parser
from softstep.bench.studies.mutants.faults import Fault, faults_of

ROOT = Path(__file__).parents[3]
COPIED = ("src", "kernels", "model", "bench", "tests", "pyproject.toml", "conftest.py", "docs")
ON_GPU = "tests/cuda/host/test_arguments_stay_on_the_gpu.py"
TESTS = ("tests/kernels", "tests/model", "tests/cli", ON_GPU)  # that judge, but for these:
LEFT_OUT = (
    *("tests/kernels/numba", "tests/kernels/test_random_differential.py", "tests/model/plots"),
    *("tests/model/test_mnist_recipe.py", "tests/model/test_landscape.py"),
    *("tests/cli/test_report_in_chromium.py", "tests/cli/test_cli_report.py"),
)
SECONDS = 40.0  # of the processor, that the tests of a fault may take
OWN_FIRST = 3  # so many cases of a test come before tests of other files than an area's own
COLD_TESTS = 150  # of a fault that takes a process of its own
JOB = "SOFTSTEP_MUTANTS"  # the variable with the path of what the plugin is to do
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not cupy")

MODEL = "tests/model/"
# Where faults are put, and the tests that are there for it: they come first.
AREAS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kernels/_numpy": (
        ("kernels/_numpy/*.py",),
        (
            "tests/kernels/test_gradients_complex_step.py",
            "tests/kernels/test_train_semantics.py",
            "tests/kernels/test_numerics_contract.py",
        ),
    ),
    "kernels/checks.py": (("kernels/checks.py",), ("tests/kernels/test_bad_input_ops.py", ON_GPU)),
    "trainer": (
        ("model/trainer.py", "model/schedules.py"),
        (MODEL + "test_regression.py", MODEL + "test_schedules.py"),
    ),
    "sweep": (
        ("model/sweep/*.py",),
        (MODEL + "sweep/test_sweep.py", MODEL + "sweep/test_sweep_heads_alone.py"),
    ),
    "files": (
        ("model/archive.py", "model/saved_model.py", "model/datasets/*.py"),
        (MODEL + "test_files_from_strangers.py", MODEL + "test_datasets.py"),
    ),
    "checkpoints": (
        ("model/checkpoint.py", "model/resume/*.py"),
        (MODEL + "test_checkpoints.py", MODEL + "test_files_from_strangers.py"),
    ),
}


def all_faults() -> list[Fault]:
    """Those of all areas, in the order of the files."""
    return [
        fault
        for area, (patterns, _) in AREAS.items()
        for pattern in patterns
        for path in sorted(ROOT.glob(pattern))
        for fault in faults_of(area, path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
    ]


class Checkout:
    """A copy of the checkout, whose files faults are put into, and what its tests say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve() / "checkout"
        for name in COPIED:
            if (ROOT / name).is_dir():
                leave_out = shutil.ignore_patterns("*.pyc")  # but not compiled kernels
                shutil.copytree(ROOT / name, self.folder / name, symlinks=True, ignore=leave_out)
            else:
                shutil.copy(ROOT / name, self.folder / name)
        self.environment = os.environ | {"PYTHONPATH": str(self.folder / "src")}

    def profile(self, files: set[str], tests: list[str]) -> dict[str, Any]:
        """Which of the tests run each line of the files, and how long they take.

        "tests": their names. "seconds": by name. "lines": by file and line the tests' places.
        """
        wanted = [str(self.folder / file) for file in sorted(files)]
        (found,) = self._plugged({"kind": "profile", "files": wanted}, tests)
        lines = {str(Path(f).relative_to(self.folder)): at for f, at in found["lines"].items()}
        return found | {"lines": lines}

    def judged(
        self, faults: list[Fault], tests: list[list[str]], seconds: dict[str, float], budget: float
    ) -> list[tuple[str, str]]:
        """What becomes of each fault and by which test; tests: for each fault, in order."""
        about = [dataclasses.asdict(fault) for fault in faults]
        self.environment["PYTHONDONTWRITEBYTECODE"] = "1"
        of_all = sorted({test.partition("::")[0] for each in tests for test in each})
        job = {"kind": "judge", "faults": about, "tests": tests}
        found = self._plugged(job | {"seconds": seconds, "budget": budget}, of_all)
        for k, fault in enumerate(faults):
            if found[k][0] == "cold":
                found[k] = self._judged_cold(fault, tests[k], seconds, budget)
                print(f"{found[k][0]:8} {fault}  {found[k][1]}", flush=True)
        return found

    def _plugged(self, job: dict[str, Any], tests: list[str]) -> list[Any]:
        """What the plugin says of a job, line by line; it collects these tests."""
        asked, told = (self.folder.parent / name for name in ("job.json", "told.json"))
        asked.write_text(json.dumps(job | {"result": str(told)}), "utf-8")
        left_out = [f"--ignore={path}" for path in LEFT_OUT]
        plugin = ("-s", "-p", "softstep.bench.studies.mutants.judging")
        environment = self.environment | {JOB: str(asked)}
        command = (*PYTEST, *plugin, *left_out, *tests)
        done = subprocess.run(command, cwd=self.folder, env=environment, check=False)
        if not told.exists():
            raise SystemExit(f"pytest ended with {done.returncode}")
        text = told.read_text("utf-8")
        told.unlink()
        return [json.loads(line) for line in text.splitlines()]

    def _judged_cold(
        self, fault: Fault, tests: list[str], seconds: dict[str, float], budget: float
    ) -> tuple[str, str]:
        """As `judged`, of one fault, in processes that import it."""
        chosen, total = [], 0.0
        for test in tests[:COLD_TESTS]:
            chosen.append(test)
            total += seconds[test]
            if total > budget:
                break
        path = self.folder / fault.file
        whole = path.read_text("utf-8")
        path.write_text(fault.source(whole), "utf-8")
        try:
            code = self._run_alone(chosen, 5 * budget)
        finally:
            path.write_text(whole, "utf-8")
        if code == 0:
            return "survived", ""
        if self._run_alone(chosen, 5 * budget) != 0:
            return "survived", "(its tests fail without it too)"
        return "killed", "on import"

    def _run_alone(self, tests: list[str], limit: float) -> int:
        names = self.folder.parent / "names.txt"
        names.write_text("\n".join(tests), "utf-8")
        command = (*PYTEST, "-x", f"@{names}")
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                check=False,
                timeout=limit,
            )
        except subprocess.TimeoutExpired:
            return 1
        return done.returncode


def tests_of(fault: Fault, profile: dict[str, Any]) -> list[str]:
    """The tests that run the statement with the fault; of one that is run on import, its file."""
    lines = profile["lines"].get(fault.file, {})
    first, last = fault.lines
    numbers = set()
    for line, tests in lines.items():
        if not fault.function or first <= int(line) <= last:
            numbers.update(tests)
    names = [profile["tests"][k] for k in numbers]
    return in_order({name: profile["seconds"][name] for name in names}, AREAS[fault.area][1])


def in_order(tests: dict[str, float], own: tuple[str, ...]) -> list[str]:
    """Tests by their seconds, but some cases of each test before more of any, and first those of
    the files `own`. tests: their seconds by name."""
    of_function: dict[str, list[str]] = {}
    for test in sorted(tests, key=tests.__getitem__):
        of_function.setdefault(test.partition("[")[0], []).append(test)
    rank = {test: k for alike in of_function.values() for k, test in enumerate(alike)}

    def key(test: str) -> tuple[int, float]:
        is_own = test.partition("::")[0] in own
        return rank[test] + (0 if is_own else OWN_FIRST), tests[test]

    return sorted(tests, key=key)


def table(found: dict[Fault, str]) -> str:
    """Killed of those tried, by area, and the survivors."""
    lines = ["| faults in | tried | killed |", "|---|---|---|"]
    for area in AREAS:
        verdicts = [verdict for fault, verdict in found.items() if fault.area == area]
        if verdicts:
            lines.append(f"| {area} | {len(verdicts)} | {verdicts.count('killed')} |")
    killed = list(found.values()).count("killed")
    lines.append(f"| all | {len(found)} | {killed} ({killed / max(1, len(found)):.1%}) |")
    survivors = [f"- {fault}" for fault, verdict in found.items() if verdict != "killed"]
    return "\n".join([*lines, "", *survivors])


def main(argv: list[str] | None = None) -> int:
    """Print a line for each fault, and a table; 1 if fewer than nine of ten are killed."""
    options = parser("mutants", __doc__)
    options.add_argument("--sample", type=int, default=300)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--first", type=int, default=0, help="leave out so many of the sample")
    options.add_argument("--area", choices=AREAS, help="faults in this area alone")
    options.add_argument("--only", metavar="FILE:LINE", help="all faults of this line")
    options.add_argument(
        "--tests", nargs="+", default=TESTS, metavar="PATH", help="files and folders of tests"
    )
    options.add_argument(
        "--seconds", type=float, default=SECONDS, help="that the tests of a fault may take"
    )
    given = options.parse_args(argv)
    faults = _sampled(given)
    if not faults:
        print(table({}))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        checkout = Checkout(Path(folder))
        profile = checkout.profile({fault.file for fault in faults}, list(given.tests))
        tests = [tests_of(fault, profile) for fault in faults]
        judged = checkout.judged(faults, tests, profile["seconds"], given.seconds)
    found = {fault: verdict for fault, (verdict, _) in zip(faults, judged, strict=True)}
    print("\n" + table(found))
    return int(10 * list(found.values()).count("killed") < 9 * len(found))


def _sampled(given: argparse.Namespace) -> list[Fault]:
    faults = [fault for fault in all_faults() if given.area in (None, fault.area)]
    if given.only:
        return [fault for fault in faults if f"{fault.file}:{fault.line}" == given.only]
    return random.Random(given.seed).sample(faults, min(given.sample, len(faults)))[given.first :]
