"""Promise: int8 and bfloat16 features of a file come as stored, or are refused with a cure."""

import sys

import ml_dtypes
import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.model.archive import DataError
from softstep.model.datasets import load_features, load_file

N, D = 30, 4
RNG = np.random.default_rng(0)
Y = np.arange(N) % 3
HALVES = RNG.standard_normal((N, D)).astype(ml_dtypes.bfloat16)
BYTES = RNG.integers(-128, 128, (N, D), dtype=np.int8)


def saved(path, X):
    """A file of X and y, written by PyTorch."""
    torch = pytest.importorskip("torch")
    if X.dtype == np.int8:
        tensor = torch.from_numpy(X)
    else:
        tensor = torch.from_numpy(X.view(np.int16)).view(torch.bfloat16)
    tensors = {"X": tensor, "y": torch.from_numpy(Y)}
    if path.suffix == ".pt":
        torch.save(tensors, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(tensors, path)
    return path


@pytest.mark.parametrize("X", [HALVES, BYTES], ids=["bfloat16", "int8"])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_tensors_come_as_they_are_stored(ending, X, tmp_path):
    path = saved(tmp_path / f"rows.{ending}", X)
    found = load_file(path).X_train
    assert found.dtype == X.dtype
    assert found.tobytes() == X.tobytes()
    rows, labels = load_features(path)
    assert rows.tobytes() == X.tobytes()
    assert np.array_equal(labels, Y)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_without_the_library_bfloat16_is_refused_with_the_cure(ending, tmp_path, monkeypatch):
    path = saved(tmp_path / f"rows.{ending}", HALVES)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(DataError, match=r"rows\..* X holds .*bfloat16.*: pip install ml_dtypes"):
        load_file(path)


@pytest.mark.parametrize("several", [False, True])
def test_what_numpy_saves_of_bfloat16_no_longer_says_so_and_is_refused(several, tmp_path):
    path = tmp_path / ("rows.npz" if several else "rows.npy")
    if several:
        np.savez(path, X=HALVES, y=Y)
    else:
        np.save(path, HALVES)
    with pytest.raises(DataError, match=r"V2, as np\.save leaves of bfloat16: save it"):
        load_file(path)


def test_int8_of_numpy_is_int8(tmp_path):
    np.savez(tmp_path / "rows.npz", X=BYTES, y=Y)
    np.save(tmp_path / "X.npy", BYTES)
    for found in (load_file(tmp_path / "rows.npz").X_train, load_features(tmp_path / "X.npy")[0]):
        assert found.dtype == np.int8
        assert np.array_equal(found, BYTES)


def test_a_layer_of_bfloat16_is_widened(tmp_path):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(D, 3).bfloat16()
    path = tmp_path / "layer.safetensors"
    pytest.importorskip("safetensors.torch").save_file(layer.state_dict(), path)
    model = SoftmaxRegression.from_safetensors(path)
    assert model.coef_.dtype == np.float32
    assert (model.coef_ == layer.weight.detach().float().numpy()).all()
