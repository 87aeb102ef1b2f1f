"""Processes that train."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from engines import engine


def processes(count):
    """A pool of so many, which import what they need."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))


@pytest.fixture(scope="session")
def pool():
    """Two processes."""
    with processes(2) as executor:
        yield executor


@pytest.fixture
def own_pool():
    """Two processes of this test alone, which it may kill."""
    with processes(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def client():
    """Of a Dask cluster of two processes."""
    distributed = engine("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client
