"""Promise: the backend that runs is the one asked for; only "auto" falls back, and says so."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from softstep import kernels, use_backend
from softstep.kernels import BackendError, backend

X = np.ones((2, 3), np.float32)
W, b = np.ones((3, 2), np.float32), np.zeros(2, np.float32)


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv("SOFTSTEP_BACKEND", raising=False)


@pytest.fixture
def without_numba(monkeypatch):
    """A machine on which Numba cannot be imported."""
    real = backend.probe

    def probe(name):
        if name == "numba":
            return backend.Status(
                backend.BACKENDS["numba"], False, "numba is not installed", installed=False
            )
        return real(name)

    monkeypatch.setattr(backend, "probe", probe)


def chosen(argument=None):
    return backend.choose(argument)[0].name


def test_auto_takes_numba_and_says_so():
    assert backend.choose()[0].name == "numba"
    assert backend.choose()[1].startswith("auto")


def test_the_argument_wins_over_the_block_and_the_block_over_the_variable(monkeypatch):
    monkeypatch.setenv("SOFTSTEP_BACKEND", "numba")
    assert chosen() == "numba"
    with use_backend("numpy"):
        assert chosen() == "numpy"
        assert chosen("numba") == "numba"
        with use_backend("numba"):
            assert chosen() == "numba"
        assert chosen() == "numpy"
    assert chosen() == "numba"


def test_the_variable_is_read_at_call_time_and_empty_is_unset(monkeypatch):
    monkeypatch.setenv("SOFTSTEP_BACKEND", "numpy")
    assert chosen() == "numpy"
    monkeypatch.setenv("SOFTSTEP_BACKEND", "")
    assert chosen() == "numba"


def test_a_block_holds_for_its_own_thread_only():
    seen = []
    with use_backend("numpy"):
        thread = threading.Thread(target=lambda: seen.append(chosen()))
        thread.start()
        thread.join()
    assert seen == ["numba"]


def test_a_block_that_raises_restores_the_choice():
    with pytest.raises(KeyError), use_backend("numpy"):
        raise KeyError
    assert chosen() == "numba"


def test_auto_falls_back_to_numpy_and_gives_the_reason(without_numba):
    found, why = backend.choose()
    assert found.name == "numpy"
    assert "numba is not installed" in why


def test_an_explicit_choice_never_falls_back(without_numba, monkeypatch):
    with pytest.raises(BackendError):
        kernels.softmax_forward(np.ones((1, 2)), backend="numba")
    with pytest.raises(BackendError), use_backend("numba"):
        pass
    monkeypatch.setenv("SOFTSTEP_BACKEND", "numba")
    with pytest.raises(BackendError):
        kernels.softmax_forward(np.ones((1, 2)))


def test_the_error_says_what_was_asked_why_not_what_is_there_and_the_command(
    without_numba, monkeypatch
):
    monkeypatch.setenv("SOFTSTEP_BACKEND", "numba")
    with pytest.raises(BackendError) as error:
        kernels.softmax_forward(np.ones((1, 2)))
    text = str(error.value)
    assert "SOFTSTEP_BACKEND=numba" in text
    assert "numba is not installed" in text
    assert "Usable here: numpy" in text
    assert "pip install numba" in text


def test_what_is_installed_and_does_not_run_is_not_told_to_be_installed(monkeypatch):
    def fails():
        raise OSError("libllvm is broken")

    monkeypatch.setattr("softstep.kernels._numba.probe", fails)
    backend.probe.cache_clear()
    with pytest.raises(BackendError) as error:
        kernels.softmax_forward(np.ones((1, 2)), backend="numba")
    backend.probe.cache_clear()
    assert "cannot run here: OSError: libllvm is broken. Usable here: numpy" in str(error.value)
    assert "install" not in str(error.value)


def test_an_unknown_name_is_refused_with_the_names_there_are(monkeypatch):
    refused = r"unknown backend 'cuda': .*auto, numpy, numba, cupy"
    with pytest.raises(ValueError, match=refused):
        kernels.linear_forward(X, W, b, backend="cuda")
    with pytest.raises(ValueError, match=refused), use_backend("cuda"):
        pass
    monkeypatch.setenv("SOFTSTEP_BACKEND", "cuda")
    with pytest.raises(ValueError, match=refused):
        kernels.linear_forward(X, W, b)


def test_a_name_that_is_no_string_is_a_type_error():
    with pytest.raises(TypeError, match="backend must be a string"):
        kernels.linear_forward(X, W, b, backend=1)


def test_the_backend_asked_for_is_the_one_that_computes(monkeypatch):
    from softstep.kernels import _numpy

    calls = []
    monkeypatch.setattr(_numpy, "softmax_forward", lambda V, out=None: calls.append(1) or V)
    kernels.softmax_forward(np.ones((1, 2)), backend="numpy")
    assert calls == [1]


def test_numpy_alone_never_imports_numba():
    code = (
        "import sys, numpy as np; from softstep import kernels;"
        "kernels.softmax_forward(np.ones((1, 2)), backend='numpy');"
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_variable_that_names_no_backend_is_named(monkeypatch):
    monkeypatch.setenv("SOFTSTEP_BACKEND", "zzz")
    with pytest.raises(ValueError, match="SOFTSTEP_BACKEND: unknown backend 'zzz'"):
        kernels.softmax_forward([[1.0, 2.0]])


def test_where_numba_may_not_compile_numpy_computes_and_the_reason_is_told():
    code = (
        "from softstep.kernels import backend; from softstep import SoftmaxRegression; "
        "print(backend.choose()[1]); print(SoftmaxRegression(epochs=1).fit([[0.0], [1.0]], [0, 1])"
        ".origin_['backend'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "SOFTSTEP_BACKEND": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    why, name = done.stdout.splitlines()
    assert "NUMBA_DISABLE_JIT is set: these kernels exist as machine code only" in why
    assert name == "numpy"
