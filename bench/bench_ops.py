"""pytest-benchmark: every op on every usable backend. `make bench` runs it."""

import pytest

from softstep.bench.run import benchmark_checked, usable_backends
from softstep.bench.workloads import FULL, op_workloads


@pytest.mark.parametrize("backend", usable_backends())
@pytest.mark.parametrize("workload", op_workloads(FULL), ids=str)
def test_op(benchmark, workload, backend):
    benchmark_checked(benchmark, workload, backend)
