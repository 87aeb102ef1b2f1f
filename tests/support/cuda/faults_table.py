"""Prints the planted faults, each of which a test requires to be found: the table of docs/gpu.md.

python tests/support/cuda/faults_table.py
"""

import runpy
from pathlib import Path

TESTS = Path(__file__).parents[2] / "cuda"


def rows():
    """What is planted where, and the findings that count; which it is depends on the schedule."""
    for name, fault in _faults("ops/test_cuda_op_faults.py").items():
        yield name, fault.op, fault.kinds
    for name, (path, *_, kinds) in _faults("train/test_train_faults.py").items():
        yield name, f"train, {path}", kinds


def _faults(file):
    return runpy.run_path(str(TESTS / file), run_name=file)["FAULTS"]


def table():
    """Markdown: a line for each fault."""
    lines = [f"| {name} | {op} | {' or '.join(sorted(kinds))} |" for name, op, kinds in rows()]
    return "\n".join(["| fault | op | found as |", "|---|---|---|", *lines])


if __name__ == "__main__":
    print(table())
