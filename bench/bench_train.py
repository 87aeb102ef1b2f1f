"""pytest-benchmark: one epoch of the seed workload, `train` against its peers."""

import pytest

from softstep.bench.run import benchmark_checked, competitors
from softstep.bench.workloads import seed_workloads

WORKLOADS = seed_workloads()


@pytest.mark.parametrize("competitor", competitors(WORKLOADS[0]))
@pytest.mark.parametrize("workload", WORKLOADS, ids=str)
def test_epoch(benchmark, workload, competitor):
    benchmark_checked(benchmark, workload, competitor)
