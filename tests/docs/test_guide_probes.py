"""Promise: the programs in docs/guide-probes.md run as they stand."""

import re

import numpy as np
import pytest
from repository import DOCS

from softstep import SoftmaxRegression
from softstep.model.datasets import load_digits

GUIDE = (DOCS / "guide-probes.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
NPY, SAFETENSORS, TORCH, SCORES, VIEWS, SCALED, OPTIMUM, MAPPED, OVERNIGHT = PROGRAMS


@pytest.fixture(autouse=True)
def embeddings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.y_train))
    X, y = digits.X_train[order], digits.y_train[order]
    np.save("embeddings.npy", X)
    np.save("labels.npy", y)
    return X


def test_from_npy_to_a_probe(capsys):
    exec(NPY, {})
    accuracy = float(re.search(r"(0\.\d+)\)?$", capsys.readouterr().out.strip())[1])
    assert accuracy > 0.93
    digits = load_digits()
    probe = SoftmaxRegression.load("probe.npz")
    assert probe.score(digits.X_test, digits.y_test) > 0.93
    assert len(NPY.strip().splitlines()) <= 12


def test_from_safetensors(embeddings):
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({"embeddings": embeddings}, "embeddings.safetensors")
    assert np.array_equal(run(SAFETENSORS)["X"], embeddings)


def test_from_torch(embeddings):
    torch = pytest.importorskip("torch")
    torch.save(torch.from_numpy(embeddings), "embeddings.pt")
    X = run(TORCH)["X"]
    y = np.load("labels.npy")
    settings = {"epochs": 2, "random_state": 0}
    found = SoftmaxRegression(**settings).fit(X, y)
    assert np.array_equal(found.coef_, SoftmaxRegression(**settings).fit(embeddings, y).coef_)


def test_other_scores(capsys):
    sweep = run(SCORES)["sweep"]
    assert sweep.best_score_ > -0.3
    assert sweep.results_["mean_val_roc_auc_ovr"].max() > 0.99
    assert capsys.readouterr().out.count("learning_rate") == 1


def test_several_feature_sets():
    names = run(VIEWS)
    assert names["best"] in names["views"]
    assert len(names["sweep"].results_["features_name"]) == 52


def test_scaled_features():
    sweep = run(SCALED)["sweep"]
    assert sweep.results_["mean_val_accuracy"].max() > 0.9


def test_from_a_file_that_is_mapped():
    names = {"grid": {"loss": ["mse"]}, "y": np.load("labels.npy")}
    sweep = run("import numpy as np\nfrom softstep import SoftmaxSweep\n" + MAPPED, names)["sweep"]
    assert sweep.results_["mean_val_accuracy"][0] > 0.7


def test_to_the_optimum():
    sweep = run(OPTIMUM.replace("log13", "log3").replace("1e2, 13", "1, 3"))["sweep"]
    assert sweep.results_["converged"].all()
    assert sweep.results_["mean_val_accuracy"].max() > 0.93


def test_overnight(embeddings, capsys):
    names = {"grid": {"loss": ["mse"]}, "X": embeddings, "y": np.load("labels.npy")}
    program = "from softstep import SoftmaxSweep\n" + OVERNIGHT
    first, again = (run(program, dict(names))["sweep"].best_estimator_ for _ in range(2))
    assert "starts from the beginning" in capsys.readouterr().err
    assert np.array_equal(first.coef_, again.coef_)


def run(program, names=None):
    names = names or {}
    exec(program, names)
    return names
