"""Promise: the study of protocols compares loops that end alike, on features made on the spot."""

import json

import numpy as np
import pytest

from softstep.bench.measure import limited
from softstep.bench.studies import protocols
from softstep.bench.studies.protocols import (
    attributes,
    choosing,
    clip_benchmark,
    dinov2_linear,
    dinov2_logreg,
)
from softstep.bench.studies.protocols.features import Images
from softstep.bench.studies.protocols.results import MODULES, OURS, STACKED, Results
from softstep.model.datasets import load_digits


@pytest.fixture(autouse=True)
def digits_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTSTEP_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with limited(1):
        yield


@pytest.fixture
def images():
    return Images.found(300)


def test_without_mnist_the_images_are_digits_and_nothing_is_fetched(images, monkeypatch):
    assert images.name == "digits"
    assert images.pixels.shape == (300, 8, 8)
    pixels = load_digits().X_train
    assert (pixels == images.pixels[0].ravel()).all(axis=1).sum() <= 1
    assert len(Images.found(10**6).digits) == 1797


def test_blocks_are_unlike_and_each_row_of_them_is_normed(images):
    X = images.blocks(16, np.random.default_rng(0))
    assert X.shape == (300, 80)
    assert X.dtype == np.float32
    blocks = X.reshape(300, 5, 16)
    np.testing.assert_allclose(blocks.mean(axis=2), 0, atol=1e-5)
    np.testing.assert_allclose(blocks.std(axis=2), 1, atol=1e-3)
    assert np.abs(blocks[:, 1:] - blocks[:, :-1]).max(axis=(0, 2)).min() > 0.1


def test_52_heads_in_torch_end_where_ours_do():
    pytest.importorskip("torch")
    from softstep.bench.studies.protocols import torch_

    probe, work = dinov2_linear.probe(1_000, 16, 256, 2)
    assert work == "52 heads, digits 1000x80->100, 2 epochs"
    assert probe.steps == sum(1 for _ in probe.batches()) == 8
    ours = dinov2_linear.sweep(probe)
    assert ours.shape == (52,)
    assert ours.max() > 3 / 100  # three times what chance gives
    assert len(set(ours.tolist())) > 3
    few = 2 / len(probe.y_val)  # rows on the border, which rounding takes to its other side
    for train in (torch_.modules, torch_.banks):
        assert np.abs(train(probe) - ours).max() <= few
        assert np.abs(train(probe.few()) - ours).max() > few


def test_each_C_is_as_good_as_scikit_learns():
    pytest.importorskip("sklearn.linear_model")
    rows = choosing.Rows.of_digits(300, 16, choosing=0.1, test=0.25)
    assert (len(rows.X), len(rows.X_test), rows.choosing) == (300, 75, 30)
    ours, sweep = choosing.chosen(rows, "C", {"C": [1e-3, 1.0]})
    theirs, accuracies = dinov2_logreg.loop(rows, np.array([1e-3, 1.0]))
    np.testing.assert_array_equal(accuracies, sweep.results_["mean_val_accuracy"])
    assert ours == theirs
    assert ours.test > 0.5
    assert choosing.proven(sweep) == "2 of 2 proven to be at their optimum"


def test_the_search_takes_19_trainings_and_finds_the_peak():
    for peak in (0, 37, 50, 96):
        tried = []
        found = clip_benchmark.searched(lambda k, p=peak, t=tried: t.append(k) or -abs(k - p))
        assert found == peak
        assert len(tried) == 19


def test_attributes_score_as_in_scikit_learn():
    pytest.importorskip("sklearn.linear_model")
    rows = attributes.problem(600, 16)
    assert rows.Y.shape == (600, 40)
    assert rows.Y[:, :10].sum() == 600
    assert rows.Y[:, 10:].mean(axis=0).min() == pytest.approx(attributes.RARE, abs=0.01)
    ours, theirs = attributes.sweep(rows), attributes.loop(rows).mean(axis=0)
    assert np.abs(ours - theirs).max() < 5e-3  # theirs end at a tolerance of 1e-4
    assert ours[0].mean() > 0.6


@pytest.mark.parametrize("key", protocols.PROTOCOLS)
def test_a_quick_run_is_kept_and_told(key, tmp_path, capsys):
    file = tmp_path / "protocols.json"
    assert protocols.main(["--quick", "--only", key, "--out", str(file)]) == 0
    kept = json.loads(file.read_text(encoding="utf-8"))["parts"][key]
    assert all(figures["seconds"] > 0 for figures in kept.values())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(kept)
    assert lines[2].startswith(f"| {key}: ")
    assert f"| {OURS} |" in lines[2]


def test_the_ratio_is_that_of_the_times_beside_the_aim():
    results = Results(None)
    for who, seconds in ((OURS, 2.0), (STACKED, 3.0), (MODULES, 8.0)):
        results.take("dinov2_linear", lambda line: None, who, seconds, "alike", work="52 heads")
    *_, stacked, modules = results.table().splitlines()
    assert stacked == f"|  | {STACKED} | 3 | 1.5 | 1.2 to 1.5 | alike |"
    assert modules == f"|  | {MODULES} | 8 | 4.0 | 3 to 6 | alike |"
