"""Processes that train."""

import pytest
from engines import client_of_two
from processes import pool_of


@pytest.fixture(scope="session")
def pool():
    """Two processes."""
    with pool_of(2) as executor:
        yield executor


@pytest.fixture
def own_pool():
    """Two processes of this test alone, which it may kill or interrupt."""
    with pool_of(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def client():
    """Of a Dask cluster of two processes."""
    with client_of_two() as client:
        yield client
