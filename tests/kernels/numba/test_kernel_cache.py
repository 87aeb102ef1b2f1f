"""Promise: compiled kernels are kept between processes, and a cache in any state never raises."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import softstep
from softstep.kernels._numba.compiling import cache as caching


def calling(op, file, kernel):
    """Code that calls the op, and says how often its kernel was found."""
    return (
        "import numpy as np; from softstep import kernels;"
        f"print(kernels.{op}, backend='numba'));"
        "from softstep.kernels import _numba; import sys;"
        f"kernel = sys.modules['softstep.kernels._numba.{file}'].{kernel};"
        "print('hits', sum(kernel.stats.cache_hits.values()))"
    )


# The gradient compiles in less than half of the time, and of the cache it says as much.
GRADIENT = calling("mse_backward(np.array([[1.5, 0.5, 0.5, 0.5]]), [0]", "mse", "_gradient_rows")
SOFTMAX = calling("softmax_forward(np.zeros((1, 4))", "softmax", "_softmax_rows")
SAYS_SO = "softstep: compiling CPU kernels"
UNREAD = "softstep: a cached kernel cannot be read"
NO_LOCATOR = "import numba.core.caching as c; c.CacheImpl._locator_classes = [];"


def run(folder, code=GRADIENT, path=Path(softstep.__file__).parents[1], **more):
    """Standard output and standard error of a process whose compiled kernels go to `folder`; more:
    variables of its environment."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(path), **more},
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


def test_a_second_process_does_not_compile_a_training_run_of_any_kind(tmp_path):
    code = (
        f"{GRADIENT}; X = np.ones((9, 3), np.float32); W = np.zeros((1, 3, 2), np.float32)\n"
        "from softstep.kernels import threads\n"
        "for columns, threads.FLOP_PER_CALL in ((1, 1e9), (1, 1), (1000, 1)):\n"
        "    b = np.zeros((1, 2), np.float32)\n"
        "    rows = np.arange(9)\n"
        "    kernels.train(X, rows % 2, rows, 4, W, b, loss='mse', learning_rate=0.1,"
        " columns=columns, backend='numba')\n"
        "alone = sys.modules['softstep.kernels._numba.train']._train_alone\n"
        "narrow = sys.modules['softstep.kernels._numba.train_narrow'].train_narrow\n"
        "wide = sys.modules['softstep.kernels._numba.train_wide'].train_wide\n"
        "print('trained', [sum(f.stats.cache_hits.values()) for f in (alone, narrow, wide)])"
    )
    out, err = run(tmp_path, code)
    assert "trained [0, 0, 0]" in out
    assert err.count(SAYS_SO) == 1
    read_only = code.replace("; W =", "; X.flags.writeable = False; W =", 1)
    for same in (code, read_only):
        out, err = run(tmp_path, same)
        assert "trained [1, 1, 1]" in out
        assert err == ""


def test_no_part_of_a_kernel_can_be_taken_for_one_of_another_process(tmp_path):
    # Numba's names of parts repeat from process to process: none may be seen from outside.
    out, _ = run(tmp_path, f"{SOFTMAX}; (text,) = kernel.inspect_llvm().values(); print(text)")
    defined = [line for line in out.splitlines() if line.startswith("define ")]
    assert len(defined) >= 2  # the kernel and its wrapper
    assert [line for line in defined if "linkonce" in line or "weak" in line] == []


@pytest.mark.parametrize("content", [b"not a cache", b"", None])
def test_a_broken_cache_is_compiled_anew_with_one_line_and_mended(cache, content):
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:-20] if content is None else content)
    out, err = run(cache)
    assert "hits 0" in out
    assert err.count(UNREAD) == 1
    assert err.count("\n") == 2  # the other says that it compiles
    out, err = run(cache)
    assert "hits 1" in out
    assert err == ""


def test_without_a_folder_to_write_to_kernels_are_compiled_with_one_line(tmp_path):
    _, err = run(tmp_path, NO_LOCATOR + GRADIENT)
    assert err.count("softstep: compiled kernels cannot be kept") == 1
    assert list(tmp_path.iterdir()) == []


def test_code_for_another_processor_is_not_run_but_compiled_anew_beside_it(cache):
    """As where machines share a home folder."""
    another = {"NUMBA_CPU_NAME": "generic"}
    out, err = run(cache, **another)
    assert "hits 0" in out
    assert err.startswith(SAYS_SO)
    assert err.count("\n") == 1
    for machine in (another, {}):
        out, err = run(cache, **machine)
        assert "hits 1" in out
        assert err == ""


def test_an_entry_with_one_wrong_bit_is_never_run(cache):
    (entry,) = cache.rglob("*.nbc")
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(content)
    out, err = run(cache)
    assert "hits 0" in out
    assert f"{UNREAD} (ValueError: it is damaged" in err
    assert "hits 1" in run(cache)[0]


def test_the_entry_of_another_kernel_is_never_run_in_its_place(cache):
    code = f"{GRADIENT}; print(kernels.softmax_backward(P := np.ones((1, 4)), P, backend='numba'))"
    right, _ = run(cache, code)
    entries = (next(cache.rglob(f"*_{name}_rows*.nbc")) for name in ("gradient", "jacobian"))
    gradient, jacobian = entries
    gradient.write_bytes(jacobian.read_bytes())
    out, err = run(cache, code)
    assert out.replace("hits 0", "hits 1") == right
    assert "(ValueError: it is that of another kernel" in err


def test_no_file_with_a_wrong_bit_is_unpickled(tmp_path, monkeypatch):
    def never(content):
        raise AssertionError("it was unpickled")

    entries = caching.Entries(tmp_path, "kernel")
    entries.save(("key",), {"code": b"0123456789"})
    assert entries.load(("key",)) == {"code": b"0123456789"}
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    monkeypatch.setattr(caching.pickle, "loads", never)
    for at in range(8 * len(whole)):
        content = bytearray(whole)
        content[at // 8] ^= 1 << at % 8
        path.write_bytes(content)
        with pytest.raises(ValueError, match="it is damaged"):
            entries.load(("key",))


def test_each_key_has_a_file_of_its_own_that_stale_entries_leave(tmp_path, monkeypatch):
    entries = caching.Entries(tmp_path, "kernel")
    for key in ("a", "b"):
        assert entries.load(key) is None
        entries.save(key, f"of {key}")
    assert [entries.load(key) for key in ("a", "b")] == ["of a", "of b"]
    a, b = sorted(tmp_path.iterdir())
    swapped = a.read_bytes(), b.read_bytes()
    b.write_bytes(swapped[0])
    with pytest.raises(ValueError, match="that of another kernel"):
        [entries.load(key) for key in ("a", "b")]
    monkeypatch.setattr(caching, "stamp", lambda: "of other sources")
    assert entries.load("a") is None
    entries.save("a", "anew")
    assert entries.load("a") == "anew"
    assert len(list(tmp_path.iterdir())) == 2


def test_processes_that_compile_at_once_keep_what_each_compiled(tmp_path):
    codes = [GRADIENT.replace("0.5]]", f"0.5]], np.{kind}") for kind in ("float32", "float64")]
    command = [sys.executable, "-c"]
    package = str(Path(softstep.__file__).parents[1])
    env = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": package}
    started = [
        subprocess.Popen([*command, code], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for code in codes
    ]
    for process in started:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert err.decode().count("\n") <= 1
    for code in codes:
        out, err = run(tmp_path, code)
        assert "hits 1" in out
        assert err == ""


@pytest.mark.parametrize("spoil", ["damage", "no folder"])
def test_where_warnings_are_errors_it_does_not_raise_either(spoil, cache):
    errors = "import warnings; warnings.filterwarnings('error', message='softstep');"
    code = errors + GRADIENT
    if spoil == "no folder":
        code = NO_LOCATOR + code
    for file in cache.rglob("*.nbc"):
        file.write_bytes(b"not a cache")
    out, err = run(cache, code)
    assert "hits 0" in out
    assert "kernels are compiled anew" in err


def test_a_cache_that_cannot_be_written_costs_one_line(cache, tmp_path):
    code = (
        "from pathlib import Path\n"
        "def full(*given):\n"
        "    raise OSError(28, 'No space left on device')\n"
        "Path.write_bytes = full\n"
    )
    for file in cache.rglob("*.nbc"):
        file.unlink()
    _, err = run(cache, code + GRADIENT)
    assert err.count("a compiled kernel cannot be kept (OSError: [Errno 28] No space left") == 1
    assert not list(cache.rglob("*.nbc*"))


@pytest.fixture
def copy(tmp_path):
    """A copy of the package, without machine code, in a folder of its own."""
    folder = tmp_path / "copy"
    shutil.copytree(
        Path(softstep.__file__).parent,
        folder / "softstep",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return folder


MADE_OF = ("_numba/linear.py", "_numba/simd/vector/memory.py", "losses.py", "integers.py")
STAMPS = f"""
from pathlib import Path
from softstep.kernels._numba.compiling import cache
stamps = [cache.stamp.__wrapped__()]
for file in {MADE_OF}:
    with (Path(cache.__file__).parents[2] / file).open("a") as source:
        source.write("# edited\\n")
    stamps.append(cache.stamp.__wrapped__())
print("stamps", len(set(stamps)))
"""


def test_a_change_in_any_file_that_kernels_are_made_of_makes_all_stale(tmp_path, copy):
    caching = tmp_path / "cache"
    out, _ = run(caching, GRADIENT + STAMPS, copy)
    assert "hits 0" in out
    assert f"stamps {1 + len(MADE_OF)}" in out
    assert "hits 0" in run(caching, path=copy)[0]
    assert "hits 1" in run(caching, path=copy)[0]


def test_what_another_version_kept_is_compiled_anew_without_a_warning(tmp_path, copy):
    caching, source = tmp_path / "cache", copy / "softstep/kernels/_numba/rows/vectors.py"
    run(caching, SOFTMAX, copy)
    source.write_text(source.read_text().replace("Rows(", "Lines("))  # a type that is gone
    out, err = run(caching, SOFTMAX, copy)
    assert "hits 0" in out
    assert "Warning" not in err
    assert "hits 1" in run(caching, SOFTMAX, copy)[0]


def test_files_that_are_as_they_were_but_for_their_times_and_place_are_not_compiled_anew(
    tmp_path, copy
):
    beside_the_sources = ""
    assert "hits 0" in run(beside_the_sources, path=copy)[0]
    moved = copy.rename(tmp_path / "moved")
    for file in moved.rglob("*.py"):
        os.utime(file, (1, 1))
    out, err = run(beside_the_sources, path=moved)
    assert "hits 1" in out
    assert err == ""
