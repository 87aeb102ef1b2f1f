"""The machine and the software that the figures depend on."""

import contextlib
import datetime
import importlib.metadata
import os
import platform
from typing import Any

import numpy as np

from softstep import __version__
from softstep.bench import isa
from softstep.bench.peers import installed
from softstep.kernels import processor
from softstep.kernels.threads import available_cores

LIBRARIES = ("numpy", "numba", "torch", "jax", "scipy", "scikit-learn")


def machine(instructions: str = isa.NATIVE) -> dict[str, str]:
    """Date, processor, versions, BLAS, threads, and what each library runs of `instructions`.

    Raises:
        ValueError: a library does not keep to them.
    """
    limits = [f"{key}={value}" for key, value in os.environ.items() if key.endswith("_NUM_THREADS")]
    about = {
        "date": datetime.date.today().isoformat(),
        "processor": processor.name(),
        "cores": str(available_cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "softstep": __version__,
        **{name: version for name in LIBRARIES if (version := _version(name))},
        "blas": _blas(),
        "thread limits": " ".join(limits) or "none set",
    }
    if instructions != isa.NATIVE:
        about["instruction set"] = isa.obeyed(instructions)
    elif "OPENBLAS_CORETYPE" in os.environ:
        about["WARNING"] = (
            f"OPENBLAS_CORETYPE={os.environ['OPENBLAS_CORETYPE']} is set: "
            "NumPy's matrix products may not run the kernel made for this processor"
        )
    return about


def _version(name: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


def _blas() -> str:
    """NumPy's BLAS, and the kernel it chose for this processor if that can be found out."""
    blas: Any = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    name = f"{blas['name']} {blas['version']}"
    if not installed("threadpoolctl"):
        return name
    from threadpoolctl import threadpool_info

    kernels = {pool.get("architecture") for pool in threadpool_info()} - {None}
    return f"{name}, kernel {', '.join(sorted(kernels))}" if kernels else name
