"""A strict stand-in for `cupy` on machines without a GPU; its kernels run in the emulator.

    with standin.install() as machine:
        machine.memory = 1 << 20
        softstep.kernels.softmax_forward(V, backend="cupy")

It offers what softstep.kernels._cupy uses and nothing else, and refuses (`Misuse`) what CuPy lets
pass and then gets wrong: Python numbers as arguments, arrays of another dtype or not contiguous,
NumPy arrays, structs that are laid out otherwise than in C, empty or too large grids, and, while a
graph is captured, anything but launches.
"""

import contextlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

from softstep.kernels import backend
from softstep.kernels._cupy import kernel
from standin import array, raw
from standin.array import Capsule
from standin.machine import (
    CompileException,
    CUDADriverError,
    CUDARuntimeError,
    Device,
    Machine,
    Misuse,
    OutOfMemoryError,
)

__all__ = [
    "CUDADriverError",
    "CUDARuntimeError",
    "Capsule",
    "CompileException",
    "Machine",
    "Misuse",
    "install",
]  # fmt: skip


@contextlib.contextmanager
def install():
    """Within this block `import cupy` finds the stand-in, and softstep has not been probed yet."""
    machine = Machine()
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = _cupy(machine)
    _forget()
    try:
        yield machine
    finally:
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before
        _forget()


def _forget():
    backend.probe.cache_clear()
    kernel.compiled.cache_clear()


def _cupy(machine):
    Stream = type("Stream", (raw.Stream,), {"machine": machine})
    machine.streams.append(Stream())
    machine.streams[0].ptr = 0

    def wait_for_all():
        machine.wait()
        machine.log.append("deviceSynchronize")

    def occupancy(kernel, threads, shared):
        return machine.kernels[kernel].occupancy(threads, shared)

    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        is_hip=False,
        getDevice=lambda: machine.device,
        getDeviceCount=lambda: machine.device_count,
        getDeviceProperties=lambda number: {"name": machine.name.encode()},
        deviceSynchronize=wait_for_all,
        memGetInfo=lambda: (machine.memory - machine.used - machine.pool_free, machine.memory),
    )
    cuda = SimpleNamespace(
        Device=type("Device", (Device,), {"machine": machine}),
        Event=type("Event", (raw.Event,), {"machine": machine}),
        MemoryPointer=array.MemoryPointer,
        Stream=Stream,
        UnownedMemory=type("UnownedMemory", (array.UnownedMemory,), {"machine": machine}),
        compiler=SimpleNamespace(CompileException=CompileException),
        driver=SimpleNamespace(
            CUDADriverError=CUDADriverError,
            occupancyMaxActiveBlocksPerMultiprocessor=occupancy,
        ),
        get_current_stream=lambda: machine.streams[-1],
        get_elapsed_time=raw.get_elapsed_time,
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        nvtx=SimpleNamespace(
            available=True, RangePush=machine.ranges.append, RangePop=machine.ranges.pop
        ),
        runtime=runtime,
    )
    pool = SimpleNamespace(
        free_bytes=lambda: machine.pool_free,
        get_limit=lambda: machine.pool_limit,
        used_bytes=lambda: machine.used,
    )
    module = ModuleType("cupy")
    vars(module).update(
        array.functions(machine),
        __spec__=ModuleSpec("cupy", loader=None),
        __version__="14.0 (stand-in)",
        ndarray=array.ndarray,
        RawModule=type("RawModule", (raw.RawModule,), {"machine": machine}),
        cuda=cuda,
        get_default_memory_pool=lambda: pool,
    )
    return module
