"""`softstep bench --isa avx2`: softstep and its peers limited to an instruction set of x86-64.

Each library knows a way of its own, an environment variable that it reads when it is loaded, so the
benchmark starts anew in a process that has them all. There each library says what it runs.
"""

import contextlib
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softstep.bench.peers import installed
from softstep.kernels.backend import probe

NATIVE = "native"


@dataclass(frozen=True)
class ISA:
    """An instruction set: what limits each library to it, and what each then says it runs.

    numba: the processor and its features; vector: the bytes of softstep's vectors. numpy: how the
    features begin that its own loops are not to use. mkl_says: in the line of MKL_VERBOSE.
    """

    numba: tuple[str, str]
    vector: int
    numpy: tuple[str, ...]
    openblas: str
    torch: str
    onednn: str
    mkl: str
    xla: str
    mkl_says: str

    def environment(self) -> dict[str, str]:
        """The variables that limit every library."""
        name, features = self.numba
        return {
            "NUMBA_CPU_NAME": name,
            "NUMBA_CPU_FEATURES": features,
            "NPY_DISABLE_CPU_FEATURES": " ".join(self._disabled_in_numpy()),
            "OPENBLAS_CORETYPE": self.openblas,
            "ATEN_CPU_CAPABILITY": self.torch,
            "ONEDNN_MAX_CPU_ISA": self.onednn,
            "MKL_ENABLE_INSTRUCTIONS": self.mkl,
            "XLA_FLAGS": f"--xla_cpu_max_isa={self.xla}",
        }

    def _disabled_in_numpy(self) -> list[str]:
        """Those that are there, of which NumPy would warn otherwise, and those disabled already."""
        before = os.environ.get("NPY_DISABLE_CPU_FEATURES", "").split()
        there = [f for f in _numpy_features() if f.startswith(self.numpy)]
        return sorted({*before, *there})


# The least that OpenBLAS, NumPy, MKL and XLA can be limited to is SSE4.2.
ISAS = {
    "avx2": ISA(
        numba=("haswell", "+sse2,+avx,+avx2,+fma,+f16c"),
        vector=32,
        numpy=("AVX512", "X86_V4"),
        openblas="Haswell",
        torch="avx2",
        onednn="AVX2",
        mkl="AVX2",
        xla="AVX2",
        mkl_says="(Intel(R) AVX2)",
    ),
    "sse2": ISA(
        numba=("x86-64", "+sse2"),
        vector=16,
        numpy=("",),
        openblas="Nehalem",
        torch="default",
        onednn="SSE41",
        mkl="SSE4_2",
        xla="SSE4_2",
        mkl_says="(Intel(R) SSE4.2)",
    ),
}


def is_limited_to(name: str) -> bool:
    """Whether this process was started with the environment of this instruction set."""
    return name == NATIVE or all(os.environ.get(k) == v for k, v in _environment(name).items())


def start_limited(name: str, options: list[str]) -> int:
    """Run `softstep bench` with these options in a process that is limited; its exit code."""
    command = [sys.executable, "-m", "softstep", "bench", *options, f"--isa={name}"]
    return subprocess.call(command, env={**os.environ, **_environment(name)})


def _environment(name: str) -> dict[str, str]:
    """Raises ValueError where the processor has none of these sets."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise ValueError(f"--isa {name}: this processor is no x86-64 but {platform.machine()}")
    if name == "avx2" and not {"AVX2", "X86_V3"} & {*_numpy_features()}:
        raise ValueError("--isa avx2: this processor has no AVX2")
    return ISAS[name].environment()


def _numpy_features() -> list[str]:
    found: list[str] = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return found


def obeyed(name: str) -> str:
    """What each library runs, as one line.

    Raises:
        ValueError: a library does not keep to the instruction set.
    """
    asked = ISAS[name]
    answers = {library: answer for library, *answer in _answers(asked)}
    for library, (says, is_obeyed) in answers.items():
        if not is_obeyed:
            raise ValueError(f"--isa {name}: {library} does not keep to it: it runs {says}")
    return f"{name}: " + ", ".join(f"{library} {says}" for library, (says, _) in answers.items())


def _answers(asked: ISA) -> Iterator[tuple[str, str, bool]]:
    """Each library, what it says it runs, and whether that is as asked."""
    if probe("numba").usable:
        from softstep.bench.peak import LANES

        size = 4 * LANES
        yield "softstep", f"vectors of {size} bytes", size == asked.vector
    features = _numpy_features()
    obeys = not any(feature.startswith(asked.numpy) for feature in features)
    yield "NumPy", " ".join(features) or "its baseline", obeys
    if installed("threadpoolctl"):
        from threadpoolctl import threadpool_info

        kernels = {p["architecture"] for p in threadpool_info() if p.get("architecture")}
        yield "OpenBLAS", " ".join(kernels), kernels <= {asked.openblas}
    if installed("torch"):
        yield from _torch_answers(asked)
    if installed("jax"):
        says = _jax_answer()
        yield "XLA", f"up to {says}", says == asked.xla


def _torch_answers(asked: ISA) -> Iterator[tuple[str, str, bool]]:
    """PyTorch's own loops, and its matrix products by MKL if it has it."""
    code = (
        "import torch; print('ATen', torch.backends.cpu.get_cpu_capability());"
        "a = torch.rand(64, 64); a @ a"
    )
    said = _output(code, MKL_VERBOSE="1")
    capability = re.search(r"^ATen (.*)$", said, re.MULTILINE)
    own = capability[1] if capability else "nothing that it tells"
    yield "ATen", own, own.lower() in (asked.torch, f"no {asked.torch}")
    mkl = re.search(r"^MKL_VERBOSE .* architecture (.*) enabled", said, re.MULTILINE)
    if mkl:
        yield "MKL", mkl[1], asked.mkl_says in mkl[1]


def _jax_answer() -> str:
    """The limit that XLA notes beside what it compiles."""
    with tempfile.TemporaryDirectory() as folder:
        code = "import jax, jax.numpy as jnp; jax.jit(jnp.exp)(jnp.ones(64))"
        _output(code, XLA_FLAGS=f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={folder}")
        for file in Path(folder).glob("*debug_options*"):
            with contextlib.suppress(OSError):
                found = re.search(r'xla_cpu_max_isa: "(\w+)"', file.read_text())
                if found:
                    return found[1]
    return "any"


def _output(code: str, **environment: str) -> str:
    """What a process prints that runs this code."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
