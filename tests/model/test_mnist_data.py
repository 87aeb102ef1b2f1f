"""The real files: they are those of the published data sets, and are read in the right order."""

import os
from pathlib import Path

import numpy as np
import pytest

from softstep.model import datasets
from softstep.model.datasets import download


@pytest.fixture
def load(request, monkeypatch, tmp_path):
    """The loader of a data set whose files lie in SOFTSTEP_DATA; nothing else may supply them."""
    name, load = request.param
    given = os.environ.get("SOFTSTEP_DATA")
    if not given:
        pytest.skip(f"SOFTSTEP_DATA is not set: set it to a folder that holds {name}/")
    if not list(Path(given, name).glob("train-images-idx3-ubyte*")):
        pytest.skip(f"{name} is not there: SOFTSTEP_DATA={given} has no {name}/train-images-...")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(download.MIRRORS, name, ())
    return load


def assert_form(data):
    assert data.X_train.shape == (60000, 784)
    assert data.X_test.shape == (10000, 784)
    assert data.y_train.shape == (60000,)
    assert data.y_test.shape == (10000,)
    assert data.X_train.dtype == data.X_test.dtype == np.uint8
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    assert (data.X_train.max(), data.X_test.max()) == (255, 255)
    assert data.image_shape == (28, 28)


@pytest.mark.parametrize("load", [("mnist", datasets.load_mnist)], indirect=True)
def test_mnist_is_the_published_data_set(load):
    data = load()
    assert_form(data)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.y_train).tolist() == counts
    test_counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(data.y_test).tolist() == test_counts
    assert data.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.y_test[:5].tolist() == [7, 2, 1, 0, 4]
    # The mean and standard deviation that are in common use for MNIST: 0.1307 and 0.3081.
    assert round(data.X_train.mean() / 255, 4) == 0.1307
    assert round(data.X_train.std() / 255, 4) == 0.3081


@pytest.mark.parametrize("load", [("mnist", datasets.load_mnist)], indirect=True)
def test_the_first_image_is_upright(load):
    """The five has ink in rows 5 to 24 and columns 4 to 23; transposed it would be otherwise."""
    five = load().X_train[0].reshape(28, 28)
    inked_rows, inked_columns = np.flatnonzero(five.any(axis=1)), np.flatnonzero(five.any(axis=0))
    assert (inked_rows[0], inked_rows[-1]) == (5, 24)
    assert (inked_columns[0], inked_columns[-1]) == (4, 23)


@pytest.mark.parametrize("load", [("fashion-mnist", datasets.load_fashion_mnist)], indirect=True)
def test_fashion_mnist_is_the_published_data_set(load):
    data = load()
    assert_form(data)
    assert np.bincount(data.y_train).tolist() == [6000] * 10
    assert np.bincount(data.y_test).tolist() == [1000] * 10
