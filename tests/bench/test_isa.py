"""Promise: `softstep bench --isa` limits every library, in a new process, or refuses.

NumPy, Numba and OpenBLAS stand for all here; those that are installed beside them take part.
"""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from softstep.bench import isa, peak
from softstep.cli import bench as command
from softstep.cli.commands import parser
from softstep.cli.main import main

X86 = platform.machine() == "x86_64"
HAS_AVX2 = X86 and bool({"AVX2", "X86_V3"} & {*isa._numpy_features()})
needs_avx2 = pytest.mark.skipif(not HAS_AVX2, reason="limits a processor that has AVX2")


@needs_avx2
@pytest.mark.parametrize(("name", "bytes_"), [("avx2", 32), ("sse2", 16)])
def test_every_library_of_the_new_process_says_that_it_obeys(name, bytes_):
    code = (
        f"from softstep.bench import isa; print(isa.is_limited_to({name!r}), isa.obeyed({name!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **isa._environment(name)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"True {name}: softstep vectors of {bytes_} bytes, NumPy ")
    assert "X86_V4" not in done.stdout


@needs_avx2
def test_a_library_that_does_not_obey_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setattr(peak, "LANES", 16)
    with pytest.raises(ValueError, match=r"--isa avx2: softstep does not keep to it: .* 64 bytes"):
        isa.obeyed("avx2")


@needs_avx2
def test_this_process_is_not_limited_and_the_command_starts_one_that_is(monkeypatch):
    started = []
    monkeypatch.setattr(
        subprocess, "call", lambda command, env: started.append((command, env)) or 3
    )
    assert main(["bench", "--quick", "--only", "a,e", "--json", "f.json", "--isa", "avx2"]) == 3
    [(words, environment)] = started
    assert words[1:4] == ["-m", "softstep", "bench"]
    assert parser().parse_args(words[3:]) == parser().parse_args(
        ["bench", "--quick", "--only", "a,e", "--json", "f.json", "--isa", "avx2"]
    )
    assert environment["NUMBA_CPU_NAME"] == "haswell"
    assert "max_isa=AVX2" in environment["XLA_FLAGS"]


def test_native_limits_nothing():
    assert isa.is_limited_to("native")
    assert command._options(parser().parse_args(["bench"])) == []


def test_another_kind_of_processor_is_refused_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert main(["bench", "--isa", "avx2"]) == 2
    assert "--isa avx2: this processor is no x86-64 but aarch64" in capsys.readouterr().err


@pytest.mark.skipif(not X86, reason="asks for a set of x86-64")
def test_a_processor_without_avx2_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(np, "show_config", lambda mode: {"SIMD Extensions": {"found": []}})
    assert main(["bench", "--isa", "avx2"]) == 2
    assert "this processor has no AVX2" in capsys.readouterr().err


def test_the_gpu_has_no_such_instruction_set():
    arguments = parser().parse_args(["bench", "--backend", "cupy", "--isa", "avx2"])
    with pytest.raises(ValueError, match="--isa cannot be used with --backend cupy"):
        command.run(arguments)
