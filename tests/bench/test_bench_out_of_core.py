"""Promise: the out-of-core benchmark measures a sweep that learns, within the memory given."""

import re
import subprocess
import sys

import numpy as np
import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_small_file(tmp_path):
    file = tmp_path / "X.npy"
    command = [sys.executable, "-m", "softstep.bench.studies.out_of_core", str(file)]
    options = ["--gb", "0.1", "--memory", "60MB", "--heads", "2"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    X = np.load(file, mmap_mode="r")
    assert (X.dtype, X.shape) == (np.float16, (65104, 768))
    used = float(re.search(r"given 0\.06 GB, used (.*) GB", done.stdout)[1])
    assert 0.01 < used <= 0.06
    for line in ("reading alone", "sweep"):
        assert float(re.search(rf"^{line}: .*, (.*) GB/s$", done.stdout, re.M)[1]) > 0
    accuracy = float(re.search(r"^best held-out accuracy: (.*)$", done.stdout, re.M)[1])
    assert accuracy > 0.5  # guessing has 0.1
