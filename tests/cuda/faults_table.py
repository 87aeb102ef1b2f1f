"""Prints the planted faults, each of which a test requires to be found: the table of docs/gpu.md.

python tests/cuda/faults_table.py
"""

import test_cuda_op_faults
import test_train_faults


def rows():
    """What is planted where, and the findings that count; which it is depends on the schedule."""
    for name, fault in test_cuda_op_faults.FAULTS.items():
        yield name, fault.op, fault.kinds
    for name, (path, *_, kinds) in test_train_faults.FAULTS.items():
        yield name, f"train, {path}", kinds


if __name__ == "__main__":
    print("| fault | op | found as |\n|---|---|---|")
    for name, op, kinds in rows():
        print(f"| {name} | {op} | {' or '.join(sorted(kinds))} |")
