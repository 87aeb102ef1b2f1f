"""Promise: the command says what it does, and answers bad input with one sentence and code 2."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import softstep

from softstep import SoftmaxRegression, cli
from softstep.kernels._cupy.device import DeviceError, OutOfDeviceMemory
from softstep.kernels.backend import probe
from softstep.kernels.errors import BackendError
from softstep.kernels.losses import LOSSES
from softstep.model.datasets import load_digits
from softstep.runs import recipe


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOFTSTEP_BACKEND", raising=False)
    monkeypatch.delenv("SOFTSTEP_TRACEBACK", raising=False)


def test_train_says_the_backend_the_progress_the_accuracy_and_the_file(capsys, tmp_path):
    code, out, err = softstep(capsys, "train", "digits")
    lines = out.splitlines()
    assert code == 0
    assert err == ""
    assert lines[0].startswith("backend numba (auto")
    assert sum(line.startswith("epoch") for line in lines) == 10
    (accuracy,) = [line for line in lines if line.startswith("test accuracy ")]
    assert re.fullmatch(r"test accuracy \d\.\d{4}", accuracy)
    assert float(accuracy.split()[-1]) >= 0.94
    assert lines[-1] == "model saved to runs/digits.npz"
    model = SoftmaxRegression.load("runs/digits.npz")
    digits = load_digits()
    assert f"{model.score(digits.X_test, digits.y_test):.4f}" == accuracy.split()[-1]


def test_train_takes_its_settings(backend, capsys):
    code, out, _ = softstep(
        capsys,
        *("train", "digits", "--loss", "cross_entropy", "--lr", 0.5, "--batch-size", 50),
        *("--epochs", 3, "--max-steps", 60, "--seed", 4, "--backend", backend, "--out", "m.npz"),
    )
    assert code == 0
    assert out.startswith(f"backend {backend} (asked for")
    params = SoftmaxRegression.load("m.npz").get_params()
    assert (params["loss"], params["learning_rate"], params["batch_size"]) == (
        "cross_entropy",
        0.5,
        50,
    )
    assert (params["epochs"], params["max_steps"], params["random_state"]) == (3, 60, 4)
    assert SoftmaxRegression.load("m.npz").n_iter_ == 3


@pytest.mark.parametrize("loss", LOSSES)
def test_the_recipe_has_learning_rates_for_every_loss(loss, capsys):
    assert recipe.model_for("mnist", loss).learning_rate == recipe.RATES[loss]
    code, out, _ = softstep(capsys, "train", "digits", "--loss", loss, "--epochs", 40)
    assert code == 0
    assert float(re.search(r"^test accuracy (.*)$", out, re.M)[1]) > 0.9
    params = SoftmaxRegression.load("runs/digits.npz").get_params()
    assert (params["loss"], params["learning_rate"]) == (loss, recipe.DIGITS_RATES[loss])


def test_train_and_predict_a_file(capsys):
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=60)
    rows = rng.standard_normal((60, 3)) + 3 * y[:, None]
    names = np.array(["cat", "dog"])[y]
    with Path("pets.csv").open("w") as file:
        for row, name in zip(rows, names, strict=True):
            file.write(",".join(map(str, row)) + f",{name}\n")
    np.save("rows.npy", rows)
    code, out, _ = softstep(capsys, "train", "pets.csv", "--out", "pets.npz")
    assert code == 0
    assert "held out" in out
    assert "pets.csv: 60 rows of 3 features; no header; label in column 4, the last" in out
    code, out, _ = softstep(capsys, "predict", "pets.npz", "rows.npy")
    assert code == 0
    assert out.split() == SoftmaxRegression.load("pets.npz").predict(rows).tolist()
    code, out, err = softstep(capsys, "predict", "pets.npz", "pets.csv")
    assert (code, len(out.split())) == (0, 60)
    told, accuracy = err.splitlines()
    assert told == (
        "pets.csv: 60 rows of 3 features; no header; label in column 4, the last; "
        "2 classes: cat, dog"
    )
    assert re.fullmatch(r"accuracy \d\.\d{4}", accuracy)


def test_backends_prints_a_row_for_each(capsys):
    code, out, _ = softstep(capsys, "backends")
    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert rows[0] == ["backend", "usable", "reason", "install"]
    assert [row[:2] for row in rows[1:3]] == [["numpy", "yes"], ["numba", "yes"]]
    assert rows[3][:2] == ["cupy", "yes" if probe("cupy").usable else "no"]
    assert "runs now: numba (auto" in out


@pytest.fixture
def no_gpu(monkeypatch):
    """The cupy backend cannot run, also on a machine with a GPU."""
    probe.cache_clear()
    monkeypatch.setitem(sys.modules, "softstep.kernels._cupy", None)
    yield
    probe.cache_clear()


@pytest.mark.usefixtures("no_gpu")
def test_backends_still_prints_the_table_when_the_choice_cannot_run(capsys, monkeypatch):
    monkeypatch.setenv("SOFTSTEP_BACKEND", "cupy")
    code, out, err = softstep(capsys, "backends")
    assert code == 2
    assert "numpy" in out
    assert "SOFTSTEP_BACKEND=cupy" in err


BAD = {
    "a file that is not there": ("train", "absent.npz"),
    "a data set there is none of": ("train", "cifar"),
    "a rate of zero": ("train", "--lr", "0"),
    "a batch of none": ("train", "--batch-size", "0"),
    "no epochs": ("train", "--epochs", "0"),
    "a negative seed": ("train", "--seed", "-1"),
    "a model that is not there": ("predict", "absent.npz", "x.npy"),
    "a folder for a file": ("train", "--out", "."),
    "a place that cannot be written": ("train", "--epochs", "1", "--out", "taken/m.npz"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(case, capsys):
    Path("taken").write_text("a file")
    code, _, err = softstep(capsys, *BAD[case])
    assert code == 2
    assert err.startswith("softstep: ")
    assert err.count("\n") == 1


def test_a_variable_shows_where_an_error_comes_from(capsys, monkeypatch):
    sentence = softstep(capsys, "train", "absent.npz")[2]
    monkeypatch.setenv("SOFTSTEP_TRACEBACK", "1")
    code, _, err = softstep(capsys, "train", "absent.npz")
    assert code == 2
    assert err.startswith("Traceback (most recent call last):\n")
    assert "in load\n" in err
    assert err.endswith(sentence)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("command", [("train",), ("sweep", "digits", "--lr", "1"), ("check",)])
def test_a_backend_that_cannot_run_is_named_as_it_was_asked_for(command, capsys):
    code, _, err = softstep(capsys, *command, "--backend", "cupy")
    assert code == 2
    assert err.startswith("softstep: --backend cupy asks for the cupy backend, which cannot run")
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [DeviceError, OutOfDeviceMemory, MemoryError, BackendError])
def test_what_a_gpu_or_the_memory_lacks_is_one_sentence_too(error, capsys, monkeypatch):
    def fails(*args, **settings):
        raise error("2 GB were asked for")

    monkeypatch.setattr("softstep.kernels.train", fails)
    code, _, err = softstep(capsys, "train", "--out", "m.npz")
    assert (code, err) == (2, "softstep: 2 GB were asked for\n")


@pytest.mark.parametrize("arguments", [(), ("fly",), ("train", "--lr", "fast")])
def test_a_wrong_command_line_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_wrong_variable_is_exit_code_2(capsys, monkeypatch):
    monkeypatch.setenv("SOFTSTEP_BACKEND", "gpu")
    code, _, err = softstep(capsys, "train")
    assert code == 2
    assert "unknown backend 'gpu'" in err


def test_check_follows_the_variable(capsys, monkeypatch):
    def checked(backends):
        print(*backends)
        return 0

    monkeypatch.setattr("softstep.cli.check.check_command", checked)
    monkeypatch.setenv("SOFTSTEP_BACKEND", "numpy")
    assert softstep(capsys, "check") == (0, "numpy\n", "")
    assert softstep(capsys, "check", "--backend", "numba") == (0, "numba\n", "")
    monkeypatch.setenv("SOFTSTEP_BACKEND", "")
    code, out, _ = softstep(capsys, "check")
    assert code == 0
    assert out.startswith("numpy numba")
    monkeypatch.setenv("SOFTSTEP_BACKEND", "nonsense")
    code, out, err = softstep(capsys, "check")
    assert (code, out) == (2, "")
    assert "unknown backend 'nonsense'" in err


@pytest.mark.usefixtures("no_gpu")
def test_check_of_a_variable_that_cannot_run_is_exit_code_2(capsys, monkeypatch):
    monkeypatch.setenv("SOFTSTEP_BACKEND", "cupy")
    code, out, err = softstep(capsys, "check")
    assert (code, out) == (2, "")
    assert "SOFTSTEP_BACKEND=cupy asks for the cupy backend" in err


def test_an_interrupt_says_so_and_saves_nothing(capsys, monkeypatch, tmp_path):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(SoftmaxRegression, "fit", interrupted)
    code, _, err = softstep(capsys, "train", "--out", "m.npz")
    assert code == 130
    assert "interrupted" in err
    assert not (tmp_path / "m.npz").exists()


def test_a_terminal_sees_a_bar_and_a_file_sees_lines(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    _, out, err = softstep(capsys, "train", "digits", "--epochs", 4)
    assert "epoch" not in out
    assert err.count("\r") == 4
    assert "[####################]" in err


def test_the_installed_command_runs():
    done = subprocess.run(
        [sys.executable, "-m", "softstep", "--version"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert done.returncode == 0
    assert re.fullmatch(r"softstep \d+\.\d+\.\d+", done.stdout.splitlines()[0])
