"""Every backend has every op, in the form of the interface; importing softstep costs little."""

import dataclasses
import importlib
import inspect
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels import _numpy, bundles, losses, ops
from softstep.kernels.registry import BACKENDS

NO_OPS = {"BackendError", "CSR", "Scaled", "use_backend"}
NAMES = [name for name in kernels.__all__ if name not in NO_OPS]
BY_OPS = ("backend", "n_threads")
DESIGNED = {
    "linear_forward",
    "linear_backward",
    "softmax_forward",
    "softmax_backward",
    "mse_forward",
    "mse_backward",
    "cross_entropy_forward",
    "cross_entropy_backward",
    "softmax_mse_backward",
    "gce_forward",
    "gce_backward",
    "surface_forward",
    "predict",
    "evaluate",
    "gradient",
    "train",
}


# Backends take these as bundles of checked arguments.
BUNDLED = {
    "evaluate": {"data": bundles.Data, "bank": bundles.Bank},
    "gradient": {"data": bundles.Data, "bank": bundles.Bank},
    "train": {"data": bundles.Data, "bank": bundles.Bank, "steps": bundles.SGDSteps},
}


def parameters(function):
    """Name, kind and default of each parameter, except those that `ops` deals with itself."""
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in found if p.name not in BY_OPS]


def test_the_interface_has_the_ops_of_the_design():
    assert set(NAMES) == DESIGNED
    assert set(kernels.__all__) - DESIGNED == NO_OPS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_backend_has_the_signature_of_the_oracle_and_of_the_interface(name, backend):
    package = importlib.import_module(BACKENDS[backend].package)
    assert name in package.__all__
    found = parameters(getattr(package, name))
    assert found == parameters(getattr(_numpy, name))
    if name in BUNDLED:
        assert [parameter for parameter, _, _ in found] == list(BUNDLED[name])
    else:
        assert found == parameters(getattr(kernels, name))


@pytest.mark.parametrize("name", BUNDLED)
def test_the_fields_of_the_bundles_are_the_parameters_of_the_interface(name):
    fields = [f.name for bundle in BUNDLED[name].values() for f in dataclasses.fields(bundle)]
    assert sorted(fields) == sorted(parameter for parameter, _, _ in parameters(getattr(ops, name)))


def every_argument_of_train():
    """No two alike, and none of them the default."""
    X = np.arange(1.0, 13.0).reshape(4, 3)
    W, b = np.full((2, 3, 2), 0.5), np.full((2, 2), 0.25)
    return {
        "X": X,
        "y": np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 0]]),
        "order": np.array([3, 1, 0]),
        "batch_size": 2,
        "W": W,
        "b": b,
        "loss": ["gce", "mse"],
        "learning_rate": np.array([[0.1, 0.2], [0.3, 0.4]]),
        "l2": np.array([0.01, 0.02]),
        "l2_bias": True,
        "momentum": np.array([0.8, 0.9]),
        "velocity": (W + 1, b + 1),
        "fit_bias": False,
        "sample_weight": np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]),
        "y_index": np.array([2, 1]),
        "weight_index": np.array([1, 0]),
        "feature_scale": 0.125,
        "active": np.array([True, False]),
        "columns": 77,
        "decay": None,  # for CSR alone
    }


@pytest.mark.parametrize("name", BUNDLED)
def test_every_argument_reaches_the_backend_in_its_own_field(name, monkeypatch):
    received = {}

    def recorded(*given):
        for bundle in given:
            received.update({f.name: getattr(bundle, f.name) for f in dataclasses.fields(bundle)})
        return (np.zeros(2),) * (3 if name == "gradient" else 2)

    monkeypatch.setattr(_numpy, name, recorded)
    names = [parameter for parameter, _, _ in parameters(getattr(ops, name))]
    given = {name: every_argument_of_train()[name] for name in names}
    getattr(kernels, name)(**given, backend="numpy")
    given["loss"] = [losses.find(loss) for loss in given["loss"]]
    assert received.keys() == given.keys()
    for field, value in given.items():
        if field == "velocity":
            assert all(map(np.array_equal, received[field], value))
        else:
            assert np.array_equal(received[field], value), field


@pytest.mark.parametrize("name", NAMES)
def test_every_op_takes_its_backend_by_keyword_and_has_its_contract_written(name):
    op = getattr(kernels, name)
    assert op is getattr(ops, name)
    backend = inspect.signature(op).parameters["backend"]
    assert (backend.kind, backend.default) == (inspect.Parameter.KEYWORD_ONLY, None)
    for part in ("Args:", "Returns:"):
        assert part in op.__doc__
    for parameter in inspect.signature(op).parameters:
        if parameter not in (*BY_OPS, "out"):  # common to all: the module's docstring
            assert parameter in op.__doc__


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_file_per_op_with_the_same_name_in_every_backend(backend):
    package = importlib.import_module(BACKENDS[backend].package)
    for name in NAMES:
        oracle = getattr(importlib.import_module(BACKENDS["numpy"].package), name)
        file = oracle.__module__.rpartition(".")[2]
        assert getattr(package, name).__module__ == f"{BACKENDS[backend].package}.{file}"


def run_python(code, cwd):
    """What a new interpreter prints, read as JSON; its environment has none of our settings."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SOFTSTEP_BACKEND")
    }
    command = [sys.executable, "-c", code]
    out = subprocess.run(
        command, cwd=cwd, env=environment, check=True, capture_output=True, text=True
    ).stdout
    return json.loads(out)


def test_import_loads_neither_numba_nor_anything_optional(tmp_path):
    code = """
import json, sys
import softstep, softstep.kernels, softstep.model
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    optional = {"numba", "llvmlite", "cupy", "torch", "jax", "sklearn", "scipy", "matplotlib"}
    loaded = set(run_python(code, tmp_path))
    assert "numpy" in loaded
    assert not loaded & (optional | {"mpi4py", "mpmath", "pytest", "hypothesis", "tqdm"})


def test_import_takes_at_most_300_ms(tmp_path):
    code = """
import json, time
start = time.perf_counter()
import softstep
print(json.dumps(time.perf_counter() - start))
"""
    assert min(run_python(code, tmp_path) for _ in range(7)) <= 0.3


@pytest.mark.parametrize("folder", ["kernels", "model", "bench"])
def test_folders_are_no_top_level_packages(folder, tmp_path):
    code = f"""
import importlib.util, json
print(json.dumps(importlib.util.find_spec({folder!r}) is None))
"""
    assert run_python(code, tmp_path)


@pytest.mark.parametrize("folder", ["kernels", "model", "bench"])
def test_folders_refuse_to_be_top_level_packages_inside_the_repository(folder, pytestconfig):
    code = f"""
import json
try:
    import {folder}
except ImportError as error:
    print(json.dumps(str(error)))
"""
    assert f"import softstep.{folder}" in run_python(code, pytestconfig.rootpath)
