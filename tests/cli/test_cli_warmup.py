"""Promise: after `softstep warmup`, train, sweep and predict compile nothing."""

import os
import subprocess
import sys

import numpy as np
from command import softstep

from softstep.model.datasets import load_digits


def run(folder, *arguments):
    """Standard output and standard error of the command, whose kernels are kept in `folder`."""
    done = subprocess.run(
        [sys.executable, "-m", "softstep", *(str(a) for a in arguments)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder), "SOFTSTEP_BACKEND": "numba"},
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_the_commands_compile_nothing_after_it(tmp_path):
    kept = tmp_path / "kernels"
    out, err = run(kept, "warmup", "--features", "float32")
    assert "float32  train, predict  4 kernels compiled (" in out
    assert "float32  sweep           6 kernels compiled (" in out
    assert "float32  lbfgs           3 kernels compiled (" in out
    assert f"kept in {kept}" in out
    assert err.startswith("softstep: compiling CPU kernels")
    files = {file: file.read_bytes() for file in kept.rglob("*.nb?")}
    assert len(files) == 13  # of machine code, one for each kernel

    np.save(tmp_path / "rows.npy", load_digits().X_test.astype(np.float32))
    sweep = ("sweep", "digits", "--lr", "0.1:1:log3", "--epochs", 1)
    for command in (
        ("train", "digits", "--epochs", 1, "--out", "model.npz"),
        ("predict", "model.npz", "rows.npy"),
        sweep,
        (*sweep, "--cv", 2, "--l2", 0.01, "--momentum", 0.9),
        ("sweep", "digits", "--solver", "lbfgs", "--C", "0.1:1:log2"),
        ("warmup", "--features", "float32"),
    ):
        out, err = run(kept, *command)
        assert "compil" not in err
    assert out.count("nothing to compile") == 3
    assert {file: file.read_bytes() for file in kept.rglob("*.nb?")} == files


def test_it_says_so_where_there_is_nothing_to_compile(capsys):
    code, out, err = softstep(capsys, "warmup", "--backend", "numpy")
    assert (code, err) == (0, "")
    assert "nothing to compile: the numpy backend has no kernels of its own" in out
