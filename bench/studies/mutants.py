"""Would the tests notice? A sample of small faults is put into the code, one at a time.

Each fault (a comparison, an operator, a constant, a condition or a statement changed) goes into a
copy of the checkout, where the test files that concern it run until the first failure. A fault
that they let pass, a survivor, is listed with its line. The sample is drawn from all faults by a
seed, and any first part of it is a sample too. POSIX, in a checkout, with the tests' requirements.
"""

import argparse
import ast
import copy
import importlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from softstep.bench.studies import parser

ROOT = Path(__file__).parents[2]
COPIED = ("src", "kernels", "model", "bench", "tests", "pyproject.toml", "conftest.py", "docs")
SLOWER, PATIENCE = (
    3,
    30,
)  # tests may take so many times as long with a fault, and seconds more
MEMORY = 4 << 30  # bytes that the tests may take
LOADED = ("numpy", "numba", "scipy.special", "sklearn", "mpmath", "pytest")  # once for all

OPS = "tests/kernels/"
MODEL = "tests/model/"
# Where faults are put, and which tests are to notice: those that are quickest to fail first.
AREAS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kernels/_numpy": (
        ("kernels/_numpy/*.py",),
        (
            OPS + "test_gradients_complex_step.py",
            OPS + "test_train_semantics.py",
            OPS + "test_surface_op.py",
            OPS + "test_numerics_contract.py",
            OPS + "test_backend_parity.py",
        ),
    ),
    "kernels/checks.py": (
        ("kernels/checks.py",),
        (OPS + "test_bad_input_ops.py", OPS + "test_train_semantics.py"),
    ),
    "trainer": (
        ("model/trainer.py", "model/schedules.py"),
        (
            MODEL + "test_regression.py",
            MODEL + "test_schedules.py",
            MODEL + "test_checkpoints.py",
            MODEL + "sweep/test_sweep.py",
        ),
    ),
    "sweep": (
        ("model/sweep/*.py",),
        (
            MODEL + "sweep/test_sweep.py",
            MODEL + "sweep/test_sweep_heads_alone.py",
            MODEL + "sweep/test_sweep_certificate.py",
            MODEL + "test_checkpoints.py",
            MODEL + "test_blocks.py",
        ),
    ),
    "files": (
        ("model/archive.py", "model/saved_model.py", "model/datasets/*.py"),
        (
            MODEL + "test_files_from_strangers.py",
            MODEL + "test_datasets.py",
            MODEL + "test_regression.py",
        ),
    ),
    "checkpoints": (
        ("model/checkpoint.py", "model/resume/*.py"),
        (MODEL + "test_checkpoints.py", MODEL + "test_files_from_strangers.py"),
    ),
}

_COMPARED = (
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn),
)
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    a: b for pair in _COMPARED for a, b in (pair, pair[::-1])
}
_COMPUTED = (
    (ast.Add, ast.Sub),
    (ast.Mult, ast.Div),
    (ast.BitAnd, ast.BitOr),
    (ast.LShift, ast.RShift),
)
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    a: b for pair in _COMPUTED for a, b in (pair, pair[::-1])
}
COMPUTED |= {ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult}


@dataclass(frozen=True)
class Fault:
    """A change of one place in a file: the characters from `start` to `end` become `text`."""

    area: str
    file: str
    line: int
    start: int
    end: int
    text: str
    was: str

    def __str__(self) -> str:
        before, after = (" ".join(t.split())[:60] for t in (self.was, self.text))
        return f"{self.file}:{self.line}: `{before}` → `{after}`"

    def source(self, whole: str) -> str:
        return whole[: self.start] + self.text + whole[self.end :]


def faults_of(area: str, file: str, source: str) -> Iterator[Fault]:
    """All faults that can be put into a file."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line.encode()))
    coded = source.encode()
    for node in _nodes(ast.parse(source)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[node.end_lineno - 1] + node.end_col_offset
        was = coded[first:last].decode()
        at, to = len(coded[:first].decode()), len(coded[:last].decode())
        for text in _changed(node):
            yield Fault(area, file, node.lineno, at, to, text, was)


def _nodes(tree: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    """The nodes of what is computed: no annotations, decorators, texts or messages of errors."""
    left_out = ("annotation", "returns", "decorator_list", "type_params")
    for name, value in ast.iter_fields(tree):
        children = value if isinstance(value, list) else [value]
        for child in children if name not in left_out else ():
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr):
                continue
            if isinstance(child, ast.stmt | ast.expr):
                yield child
            if not isinstance(child, ast.Raise):
                yield from _nodes(child)


def _changed(node: ast.AST) -> Iterator[str]:
    """What the node may become, as source text."""
    if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call):
        return  # a docstring, a yield
    if isinstance(node, ast.Expr | ast.AugAssign | ast.Raise):
        yield "pass"
    elif isinstance(node, ast.Assign):
        if not isinstance(node.targets[0], ast.Name | ast.Tuple):
            yield "pass"
    elif isinstance(node, ast.Break):
        yield "continue"
    elif isinstance(node, ast.Continue):
        yield "break"
    elif isinstance(node, ast.expr):
        for other in _other_expressions(node):
            yield f"({ast.unparse(other)})"


def _other_expressions(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.Compare):
        for k, op in enumerate(node.ops):
            if type(op) in COMPARED:
                other = copy.deepcopy(node)
                other.ops[k] = COMPARED[type(op)]()
                yield other
    elif isinstance(node, ast.BinOp) and type(node.op) in COMPUTED:
        if not any(_is_text(side) for side in (node.left, node.right)):
            yield ast.BinOp(node.left, COMPUTED[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        other_op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield ast.BoolOp(other_op, node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        value = node.value
        yield ast.Constant(not value if isinstance(value, bool) else value * 2 or 1)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def all_faults() -> list[Fault]:
    """Those of all areas, in the order of the files."""
    return [
        fault
        for area, (patterns, _) in AREAS.items()
        for pattern in patterns
        for path in sorted(ROOT.glob(pattern))
        for fault in faults_of(area, path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
    ]


def run_tests(checkout: Path, tests: tuple[str, ...], limit: float) -> str:
    """What the tests say in a process of its own: "passed", "failed" or "hung"."""
    process = os.fork()
    if process == 0:
        _test(checkout, tests)
    end = time.monotonic() + limit
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return "passed" if status == 0 else "failed"
        if time.monotonic() > end:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return "hung"
        time.sleep(0.02)


def _test(checkout: Path, tests: tuple[str, ...]) -> None:
    """Run the tests on the softstep of this checkout; this process ends with their exit code."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.chdir(checkout)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    for name in [name for name in sys.modules if name.partition(".")[0] == "softstep"]:
        del sys.modules[name]
    sys.path.insert(0, str(checkout / "src"))
    os.environ["PYTHONPATH"] = str(checkout / "src")
    options = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-k", "not cupy")
    code = 1
    try:
        code = int(importlib.import_module("pytest").main([*options, *tests]))
    finally:
        os._exit(code)


def copied(folder: Path) -> Path:
    """A copy of the checkout, whose files faults are put into."""
    checkout = folder / "checkout"
    for name in COPIED:
        if (ROOT / name).is_dir():
            leave_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, checkout / name, symlinks=True, ignore=leave_out)
        else:
            shutil.copy(ROOT / name, checkout / name)
    return checkout


def judge(faults: list[Fault], limit: float | None) -> dict[Fault, str]:
    """What became of each fault; told one by one, for it takes hours.

    limit: seconds for the tests of each; None: by how long they take without a fault.
    """
    found: dict[Fault, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        checkout = copied(Path(folder))
        areas = {fault.area for fault in faults}
        limits = dict.fromkeys(areas, limit)
        for area in sorted(areas) if limit is None else ():
            start = time.monotonic()
            if run_tests(checkout, AREAS[area][1], 3600) != "passed":
                raise SystemExit(f"the tests of {area} do not pass as they are")
            limits[area] = SLOWER * (time.monotonic() - start) + PATIENCE
            print(f"{area}: tests allowed {limits[area]:.0f} s", flush=True)
        for k, fault in enumerate(faults, 1):
            path = checkout / fault.file
            whole = path.read_text("utf-8")
            path.write_text(fault.source(whole), "utf-8")
            try:
                allowed = limits[fault.area]
                assert allowed is not None
                found[fault] = run_tests(checkout, AREAS[fault.area][1], allowed)
            finally:
                path.write_text(whole, "utf-8")
            verdict = "SURVIVED" if found[fault] == "passed" else f"killed ({found[fault]})"
            print(f"{k}/{len(faults)} {verdict} {fault}", flush=True)
    return found


def table(found: dict[Fault, str]) -> str:
    """Killed of those tried, by area, and the survivors."""
    lines = ["| faults in | tried | killed |", "|---|---|---|"]
    for area in AREAS:
        verdicts = [verdict for fault, verdict in found.items() if fault.area == area]
        if verdicts:
            killed = sum(verdict != "passed" for verdict in verdicts)
            lines.append(f"| {area} | {len(verdicts)} | {killed} |")
    killed = sum(verdict != "passed" for verdict in found.values())
    lines.append(f"| all | {len(found)} | {killed} ({killed / max(1, len(found)):.1%}) |")
    survivors = [f"- {fault}" for fault, verdict in found.items() if verdict == "passed"]
    return "\n".join([*lines, "", *survivors])


def main(argv: list[str] | None = None) -> int:
    """Print a line for each fault, and a table; 1 if fewer than nine of ten are killed."""
    options = parser("mutants", __doc__)
    options.add_argument("--sample", type=int, default=300)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--first", type=int, default=0, help="leave out so many of the sample")
    options.add_argument("--area", choices=AREAS, help="faults in this area alone")
    options.add_argument(
        "--limit",
        type=float,
        metavar="SECONDS",
        help="for the tests of each fault; else they are run without a fault first, and timed",
    )
    options.add_argument("--only", metavar="FILE:LINE", help="all faults of this line")
    given = options.parse_args(argv)
    sample = _sampled(given)
    sys.dont_write_bytecode = True  # a file of the same size and second would be taken as it was
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    for name in LOADED:
        importlib.import_module(name)
    found = judge(sample, given.limit)
    print("\n" + table(found))
    return int(10 * sum(verdict != "passed" for verdict in found.values()) < 9 * len(found))


def _sampled(given: argparse.Namespace) -> list[Fault]:
    faults = [fault for fault in all_faults() if given.area in (None, fault.area)]
    if given.only:
        return [fault for fault in faults if f"{fault.file}:{fault.line}" == given.only]
    return random.Random(given.seed).sample(faults, min(given.sample, len(faults)))[given.first :]


if __name__ == "__main__":
    raise SystemExit(main())
