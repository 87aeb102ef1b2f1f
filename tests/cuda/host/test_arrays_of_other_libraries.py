"""Arrays on the GPU of other libraries than CuPy come in, are complete, and get results back."""

import sys
from types import ModuleType

import ml_dtypes
import numpy as np
import pytest
import standin

from softstep import kernels
from softstep.kernels._cupy.arrays import asarray

V = np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5)
P = kernels.softmax_forward(V, backend="numpy")


class DLPackOnly:
    """An array that has nothing but DLPack."""

    def __init__(self, array, where=(2, 0)):
        self.array, self.where = array, where

    def __dlpack_device__(self):
        return self.where

    def __dlpack__(self, **options):
        if isinstance(self.array, np.ndarray):
            return self.array.__dlpack__(**options)
        return standin.Capsule(self.array._values, self.array._owner)


class InterfaceOnly:
    """An array that has nothing but __cuda_array_interface__, as numba.cuda's."""

    def __init__(self, array, read_only=False):
        self.array = array
        interface = array.__cuda_array_interface__
        where = (interface["data"][0], read_only)
        self.__cuda_array_interface__ = {**interface, "data": where}


class NeedsGradient(DLPackOnly):
    """As a torch tensor that requires a gradient."""

    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")

    def __dlpack__(self, **options):
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")


@pytest.fixture
def on_gpu(machine):
    return asarray


@pytest.fixture
def library(monkeypatch):
    """Makes a module the library of DLPackOnly: `name` its own, `from_dlpack` its function."""

    def make(name, module="tensors"):
        found = ModuleType(name)
        found.from_dlpack = DLPackOnly
        monkeypatch.setitem(sys.modules, name, found)
        monkeypatch.setattr(DLPackOnly, "__module__", module)

    return make


def assert_softmax(found):
    assert np.allclose(found.get(), P, rtol=1e-6)


@pytest.mark.parametrize("kind", [DLPackOnly, InterfaceOnly])
def test_results_for_a_library_without_from_dlpack_are_cupy_arrays(kind, on_gpu):
    found = kernels.softmax_forward(kind(on_gpu(V)))
    assert type(found) is type(on_gpu(V))
    assert_softmax(found)


@pytest.mark.parametrize("names", [("tensors", "tensors"), ("jax.numpy", "jaxlib._jax")])
def test_results_go_back_to_a_library_with_from_dlpack(names, on_gpu, library):
    library(*names)
    found = kernels.softmax_forward(DLPackOnly(on_gpu(V)))
    assert isinstance(found, DLPackOnly)
    assert_softmax(found.array)


@pytest.mark.parametrize("kind", [DLPackOnly, InterfaceOnly])
def test_an_array_that_is_written_is_complete_when_the_op_returns(kind, machine, on_gpu):
    out, rows = on_gpu(np.zeros_like(V)), on_gpu(V)
    machine.log.clear()
    kernels.softmax_forward(rows, out=kind(out))
    assert machine.log[-2:] == ["launch softmax_forward", "synchronize"]
    assert_softmax(out)


def test_cupys_own_arrays_are_not_waited_for(machine, on_gpu):
    out, rows = on_gpu(np.zeros_like(V)), on_gpu(V)
    machine.log.clear()
    kernels.softmax_forward(rows, out=out)
    assert machine.log[-1] == "launch softmax_forward"


@pytest.mark.parametrize("kind", [DLPackOnly, InterfaceOnly])
@pytest.mark.parametrize("foreign", ["W", "b", "active", "velocity"])
def test_a_bank_that_is_trained_is_complete_when_train_returns(foreign, kind, machine, on_gpu):
    y, order = np.arange(4), np.arange(4)
    given = {
        "W": on_gpu(np.zeros((1, 5, 4), np.float32)),
        "b": on_gpu(np.zeros((1, 4), np.float32)),
        "active": on_gpu(np.ones(1, np.bool_)),
        "velocity": [on_gpu(np.zeros(s, np.float32)) for s in ((1, 5, 4), (1, 4))],
    }
    W = given["W"]
    if foreign == "velocity":
        given["velocity"][1] = kind(given["velocity"][1])
    else:
        given[foreign] = kind(given[foreign])
    rows = on_gpu(V)
    kernels.train(rows, y, order, 4, **given, loss="mse", learning_rate=1.0, momentum=0.5)
    assert machine.log[-1] == "synchronize"
    assert W.get().any()


def test_an_array_that_is_not_contiguous_or_read_only_is_not_updated(on_gpu):
    room = on_gpu(np.zeros((4, 10), np.float32))
    refused = pytest.raises(ValueError, match="out is updated in place, so it must be")
    for out in (DLPackOnly(room[:, ::2]), room[:, ::2], InterfaceOnly(room[:, 5:])):
        with refused:
            kernels.softmax_forward(on_gpu(V), out=out)
    with refused:
        kernels.softmax_forward(on_gpu(V), out=InterfaceOnly(on_gpu(V), read_only=True))


@pytest.mark.parametrize("where", [(2, 0), (1, 0)])
def test_a_tensor_that_requires_a_gradient_is_a_type_error(where, on_gpu):
    tensor = NeedsGradient(V, where)
    with pytest.raises(TypeError, match="require gradient"):
        kernels.softmax_forward(tensor)
    with pytest.raises(TypeError, match="require gradient"):
        kernels.softmax_forward(on_gpu(V) if where[0] == 2 else V, out=tensor)


@pytest.mark.parametrize("kind", ["int8", "bfloat16"])
def test_narrow_features_are_read_where_they_are(kind, machine, on_gpu, library):
    library("tensors")
    X = np.rint(20 * V).astype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
    W, b = np.ones((5, 3), np.float32), np.zeros(3, np.float32)
    machine.log.clear()
    found = kernels.linear_forward(DLPackOnly(on_gpu(X)), W, b)
    assert isinstance(found, DLPackOnly)
    assert machine.log.count(f"to device {X.nbytes}") == 1  # where the test put it
    np.testing.assert_array_equal(found.array.get(), X.astype(np.float32) @ W)


def test_bfloat16_that_cupy_does_not_know_is_refused_with_its_cure(on_gpu, monkeypatch):
    def without_ml_dtypes(value):
        raise NotImplementedError("CuPy does not support bfloat16. Please install ml_dtypes")

    tensor = DLPackOnly(on_gpu(V))
    monkeypatch.setattr(sys.modules["cupy"], "from_dlpack", without_ml_dtypes)
    with pytest.raises(TypeError, match=r"a CuPy array: .*DLPackOnly: .* install ml_dtypes"):
        kernels.linear_forward(tensor, np.ones((5, 2), "f4"), np.zeros(2, "f4"))
