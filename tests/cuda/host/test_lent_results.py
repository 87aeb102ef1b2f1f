"""Promise: memory that another library may still read is given to nobody else."""

import gc
import sys
from types import ModuleType

import numpy as np
import pytest
import standin

from softstep import kernels
from softstep.kernels._cupy.arrays import asarray, lend

V = np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5)


class Tensor:
    """An array of a library that has DLPack and a stream of its own."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return 2, self.array.device.id

    def __dlpack__(self, **options):
        return standin.Capsule(self.array._values, self.array._owner, self.array.device.id)


@pytest.fixture
def library(monkeypatch):
    """Makes `tensors` the library of Tensor."""
    found = ModuleType("tensors")
    found.from_dlpack = Tensor
    monkeypatch.setitem(sys.modules, "tensors", found)
    monkeypatch.setattr(Tensor, "__module__", "tensors")


def test_a_result_is_waited_for_before_its_memory_goes_back(machine, library):
    given = Tensor(asarray(V))
    before = machine.used
    result = kernels.softmax_forward(given)
    assert isinstance(result, Tensor)
    assert machine.used == before + V.nbytes
    machine.log.clear()
    seen = []
    machine.on_release = lambda: seen.append(list(machine.log))
    del result
    gc.collect()
    assert machine.used == before
    assert seen == [["deviceSynchronize"]]


def test_cupys_own_results_are_not_waited_for(machine):
    given = asarray(V)
    result = kernels.softmax_forward(given)
    machine.log.clear()
    del result
    gc.collect()
    assert machine.log == []


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (1,)])
def test_what_is_lent_is_the_same_memory(shape, machine):
    array = asarray(np.arange(np.prod(shape), dtype=np.float64).reshape(shape))
    lent = lend(array)
    assert (lent.shape, lent.dtype, lent.device.id) == (array.shape, array.dtype, 0)
    assert lent.data.ptr == array.data.ptr or not array.size
    assert np.array_equal(lent.get(), array.get())


def test_a_kernel_that_failed_raises_nothing_where_memory_goes_back(machine):
    lent = lend(asarray(V))
    machine.pending_error = standin.CUDARuntimeError("cudaErrorIllegalAddress: ...")
    del lent
    gc.collect()  # pytest would report what is raised there
