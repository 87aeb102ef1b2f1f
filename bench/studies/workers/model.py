"""A model of what a fit costs, fitted to what was measured, and what it says of a thousand workers.

By p workers on m cores in all, n rows × d features, read in e passes, and K columns:

    seconds  =  fixed  +  task · p  +  e n d (read · p  +  compute · K) / min(p, m)

A worker reads all rows, however few heads it has. Where rows are split, it reads its own.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from softstep.bench.studies.workers.curves import Curves, Point

# Assumed: of a 10 Gbit Ethernet.
BYTES_A_SECOND, LATENCY = 1.25e9, 50e-6
FAN_IN = 8  # of a tree in which Dask adds gradients
LARGEST = 10**7  # workers, up to which a crossing is looked for


@dataclass(frozen=True)
class Costs:
    """Seconds, as above. read: of a feature of a row; compute: of that and a column."""

    fixed: float
    task: float
    read: float
    compute: float

    def of(self, point: Point, cores: int) -> float:
        """What such a fit takes."""
        return float(_terms(point, cores) @ (self.fixed, self.task, self.read, self.compute))


def _terms(point: Point, cores: int) -> np.ndarray:
    p = point.workers
    work = point.passes * point.rows * point.features / min(p, cores)
    return np.array([1.0, p, work * p, work * point.columns])


def fitted(points: list[Point], cores: int) -> Costs:
    """The costs, none below 0, that are nearest to these points, each relative to its seconds."""
    terms = np.array([_terms(p, cores) / p.seconds for p in points])
    scale = terms.max(axis=0)  # from 1 to billions
    terms /= scale
    best, least = np.zeros(4), math.inf
    for count in range(1, 5):
        for some in map(list, itertools.combinations(range(4), count)):
            found = np.zeros(4)
            found[some] = np.linalg.lstsq(terms[:, some], np.ones(len(points)))[0]
            error = float(np.sum((terms @ found - 1) ** 2))
            if (found >= 0).all() and error < least:
                best, least = found, error
    return Costs(*(best / scale).tolist())


def furthest(costs: Costs, points: list[Point], cores: int) -> float:
    """How far the costs are from a point at most, relative to its seconds."""
    return max(abs(costs.of(point, cores) / point.seconds - 1) for point in points)


@dataclass(frozen=True)
class Job:
    """Rows × features of so many bytes each, and the heads of so many settings, each with a head on
    all rows and on each fold."""

    rows: int = 10**9
    features: int = 1024
    itemsize: int = 2
    settings: int = 45
    folds: int = 5
    classes: int = 10

    @property
    def columns(self) -> int:
        return self.settings * (1 + self.folds) * self.classes


Terms = dict[str, float]  # seconds of a pass over the rows, by what they go to
WORK, PACERS = "work", ("slowest worker", "network", "scheduler")


def largest_of(p: int) -> float:
    """How many standard deviations above their mean the largest of p normal numbers is expected."""
    return NormalDist().inv_cdf((p - 0.375) / (p + 0.25))


def by_heads(job: Job, costs: Costs, curves: Curves, p: int, engine: str) -> Terms:
    """Settings are dealt whole; each worker is one machine, and reads all rows over the network.

    A task is sent once for all passes: the scheduler has nothing to do in one.
    """
    busy = min(p, job.settings)
    work = job.rows * job.features / curves.cores
    mine = work * (costs.read + costs.compute * job.columns / busy)
    most = math.ceil(job.settings / busy) * busy / job.settings  # settings of the fullest worker
    slow = 1 + curves.spread * largest_of(busy)
    extra = work * costs.compute * job.columns / busy * (most - 1)
    return {
        WORK: mine,
        "slowest worker": (mine + extra) * slow - mine,
        "network": job.rows * job.features * job.itemsize / BYTES_A_SECOND,
        "scheduler": 0.0,
    }


def by_rows(job: Job, costs: Costs, curves: Curves, p: int, engine: str) -> Terms:
    """Each worker holds its rows: weights come down a tree, gradients go up one, in float64.

    Of Dask's tree a task adds `FAN_IN` of them, each sent to its worker.
    """
    mine = job.rows / p * job.features / curves.cores * (costs.read + costs.compute * job.columns)
    message = LATENCY + 8 * job.features * job.columns / BYTES_A_SECOND
    down = up = math.ceil(math.log2(p))
    scheduler = 0.0
    if engine == "dask":
        up = FAN_IN * math.ceil(math.log(p, FAN_IN)) if p > 1 else 0
        scheduler = curves.empty[engine] * (p + (p - 1) / (FAN_IN - 1))
    return {
        WORK: mine,
        "slowest worker": mine * curves.spread * largest_of(p),
        "network": (down + up) * message,
        "scheduler": scheduler,
    }


Split = Callable[[Job, Costs, Curves, int, str], Terms]


def crossing(split: Split, job: Job, costs: Costs, curves: Curves, engine: str, name: str) -> int:
    """The fewest workers from which on this takes as long as the work itself; 0: however many."""
    found, p = 0, 1
    while p <= LARGEST:
        terms = split(job, costs, curves, p, engine)
        if terms[name] < terms[WORK]:
            found = 0
        elif not found:
            found = p
        p = max(p + 1, p * 101 // 100)
    return found
