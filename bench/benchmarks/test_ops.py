"""`pytest bench`: pytest-benchmark of every op on every usable backend, and of the recipe's epoch.

Only results within bounds of the oracle's are timed, and there is a group for each workload. With
--benchmark-disable each runs once, at the small sizes.
"""

from typing import Any

import pytest

from softstep.bench import peak, suites
from softstep.bench.measure import OURS
from softstep.bench.problems import SEED
from softstep.kernels.verify import cases

FULL = [*cases.seed_workloads(), *cases.op_workloads(cases.FULL)]
SMALL = [*cases.seed_workloads(cases.Size(3_000, 784, 10)), *cases.op_workloads(cases.QUICK)]


def pytest_generate_tests(metafunc: Any) -> None:
    disabled = metafunc.config.getoption("benchmark_disable")
    workloads = SMALL if disabled else FULL
    metafunc.parametrize("backend", suites.usable_backends())
    metafunc.parametrize("workload", workloads, ids=str)


@pytest.fixture(scope="session")
def peak_flop_per_s():
    """Of all cores."""
    return 1e9 * peak.of_machine({suites.cores()}).gflop_per_s[suites.cores()]


def test_workload(workload: Any, backend: Any, benchmark: Any, request: Any) -> None:
    case = suites.backends_case(workload)
    call = case.calls[OURS if backend == suites.BACKEND else backend]
    results = call()
    error, agrees = case.check(results)
    assert agrees, f"the error is {error:.0e}: what is wrong is not timed"
    moved = _bytes(workload.arguments(SEED)[0]) + _bytes(results)
    benchmark.group = str(workload)
    benchmark(call)
    benchmark.extra_info.update({"parity error": error, "bytes": moved})
    if benchmark.enabled:
        seconds, peak_rate = (
            benchmark.stats.stats.median,
            request.getfixturevalue("peak_flop_per_s"),
        )
        benchmark.extra_info["GFLOP/s"] = case.flop / seconds / 1e9
        benchmark.extra_info["GB/s"] = moved / seconds / 1e9
        benchmark.extra_info["share of the peak"] = case.flop / seconds / peak_rate


def _bytes(arrays):
    """Of the arrays that are read or written."""
    return sum(array.nbytes for array in arrays if hasattr(array, "nbytes"))
