"""Processes that train."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from engines import client_of_two


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
    with client_of_two() as client:
        yield client
