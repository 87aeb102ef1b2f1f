"""Promise: compiled kernels are kept between processes, and a cache in any state never raises."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import softstep

SOFTMAX = (
    "import numpy as np; from softstep import kernels;"
    "print(kernels.softmax_forward(np.zeros((1, 4)), backend='numba'));"
    "from softstep.kernels import _numba; import sys;"
    "softmax = sys.modules['softstep.kernels._numba.softmax']._softmax_rows;"
    "print('hits', sum(softmax.stats.cache_hits.values()))"
)
SAYS_SO = "softstep: compiling CPU kernels"
NO_LOCATOR = "import numba.core.caching as c; c.CacheImpl._locator_classes = [];"


def run(folder, code=SOFTMAX, path=Path(softstep.__file__).parents[1]):
    """Standard output and standard error of a process whose compiled kernels go to `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "[[0.25 0.25 0.25 0.25]]" in done.stdout
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder with the kernels one process has compiled."""
    folder = tmp_path_factory.mktemp("compiled")
    out, err = run(folder)
    assert "hits 0" in out
    assert err.startswith(SAYS_SO)
    assert err.count("\n") == 1
    return folder


@pytest.fixture
def cache(compiled, tmp_path):
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(compiled, tmp_path / "cache"))


def test_a_second_process_does_not_compile(cache):
    out, err = run(cache)
    assert "hits 1" in out
    assert err == ""


def test_a_second_process_does_not_compile_a_training_run_of_either_kind(tmp_path):
    code = (
        f"{SOFTMAX}; X = np.ones((9, 3), np.float32); W = np.zeros((1, 3, 2), np.float32)\n"
        "for columns in (1, 1000):\n"
        "    b = np.zeros((1, 2), np.float32)\n"
        "    rows = np.arange(9)\n"
        "    kernels.train(X, rows % 2, rows, 4, W, b, loss='mse', learning_rate=0.1,"
        " columns=columns, backend='numba')\n"
        "narrow = sys.modules['softstep.kernels._numba.train_narrow'].train_narrow\n"
        "wide = sys.modules['softstep.kernels._numba.train_wide'].train_wide\n"
        "print('trained', [sum(f.stats.cache_hits.values()) for f in (narrow, wide)])"
    )
    out, err = run(tmp_path, code)
    assert "trained [0, 0]" in out
    assert err.count(SAYS_SO) == 1
    read_only = code.replace("; W =", "; X.flags.writeable = False; W =", 1)
    for same in (code, read_only):
        out, err = run(tmp_path, same)
        assert "trained [1, 1]" in out
        assert err == ""


@pytest.mark.parametrize("kind", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("content", [b"not a cache", None])
def test_a_broken_cache_is_compiled_anew_with_one_warning_and_mended(cache, kind, content):
    files = list(cache.rglob(kind))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:-20] if content is None else content)
    out, err = run(cache)
    assert "hits 0" in out
    assert err.count("RuntimeWarning: softstep: ") == 1
    out, err = run(cache)
    assert "hits 1" in out
    assert err == ""


def test_without_a_folder_to_write_to_kernels_are_compiled_with_one_warning(tmp_path):
    _, err = run(tmp_path, NO_LOCATOR + SOFTMAX)
    assert err.count("RuntimeWarning: softstep: compiled kernels cannot be kept") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_change_in_any_file_that_kernels_are_made_of_makes_all_stale(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(
        Path(softstep.__file__).parent,
        copy / "softstep",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    caching = tmp_path / "cache"
    run(caching, path=copy)
    for file in ("_numba/linear.py", "_numba/simd/vector/memory.py", "losses.py", "integers.py"):
        assert "hits 1" in run(caching, path=copy)[0]
        with (copy / "softstep/kernels" / file).open("a") as source:
            source.write("# edited\n")
        assert "hits 0" in run(caching, path=copy)[0]
