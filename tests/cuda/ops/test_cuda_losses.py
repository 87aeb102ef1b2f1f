"""The losses on the GPU: codes from the table, one place that looks at them, no other loss."""

import dataclasses
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels._cupy import losses
from softstep.kernels.errors import BackendError
from softstep.kernels.losses import GCE_Q, LOSSES
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

TEXTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in Path(losses.__file__).parent.glob("*.cu*")
}
FUSED = ("evaluate", "gradient", "surface_forward", "train")
# Modules: `train` and so on of the package are the ops.
LAUNCHERS = {
    "evaluate": importlib.import_module("softstep.kernels._cupy.evaluate"),
    "surface_forward": importlib.import_module("softstep.kernels._cupy.surface"),
    "gradient": importlib.import_module("softstep.kernels._cupy.evaluate"),
    "train": importlib.import_module("softstep.kernels._cupy.evaluate"),
}
HINGE = dataclasses.replace(LOSSES["mse"], name="hinge", code=77)


def test_every_loss_of_the_table_has_a_case_and_its_code_from_the_table():
    for name, loss in LOSSES.items():
        assert losses.DEFINES[f"LOSS_{name.upper()}"] == loss.code
    assert set(losses.COMPUTED) == set(LOSSES)
    assert float(losses.DEFINES["GCE_Q"]) == GCE_Q
    found = re.findall(r"case LOSS_(\w+):", TEXTS["losses.cuh"])
    assert sorted(found) == sorted(name.upper() for name in losses.COMPUTED)


def test_only_one_file_looks_at_a_code():
    looking = {
        name for name, text in TEXTS.items() if re.search(r"\bswitch\b|code\w*(\[\w+\])? *==", text)
    }
    assert looking == {"losses.cuh"}


@pytest.mark.parametrize(
    "loss",
    [
        HINGE,
        dataclasses.replace(HINGE, code=LOSSES["mse"].code),
        dataclasses.replace(LOSSES["mse"], code=77),
        dataclasses.replace(LOSSES["mse"], code=LOSSES["gce"].code),
    ],
    ids=lambda loss: f"{loss.name} {loss.code}",
)
def test_a_loss_that_the_kernels_do_not_compute_has_no_code(loss):
    with pytest.raises(
        BackendError, match=f"^the cupy backend does not compute the loss '{loss.name}'"
    ):
        losses.codes([LOSSES["mse"], loss])


def test_codes_are_those_of_the_table():
    codes = losses.codes(LOSSES.values())
    assert codes.dtype == np.uint8
    assert codes.tolist() == [loss.code for loss in LOSSES.values()]


@pytest.mark.parametrize("op", FUSED)
def test_an_unknown_loss_is_refused_before_anything_runs(op, machine, monkeypatch):
    monkeypatch.setitem(LOSSES, "hinge", HINGE)
    positional, options = cases.OPS[op].arguments(Size(9, 3, 4), np.float32, 1)
    before = [np.copy(a) for a in positional]
    with pytest.raises(BackendError, match="does not compute the loss 'hinge'"):
        getattr(kernels, op)(*positional, **{**options, "loss": "hinge"}, backend="cupy")
    launched = {line for line in machine.log if line.startswith("launch ")}
    assert launched == {"launch softmax_forward"}  # the probe
    for a, b in zip(positional, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("op", FUSED)
def test_a_code_that_slips_through_gives_nan_and_no_other_loss(op, machine, monkeypatch):
    monkeypatch.setattr(LAUNCHERS[op], "codes", lambda losses: np.full(len(losses), 77, np.uint8))
    arguments = cases.OPS[op].arguments(Size(9, 3, 4), np.float32, 1)
    assert np.isnan(parity.run(op, arguments, "cupy")[0]).all()
