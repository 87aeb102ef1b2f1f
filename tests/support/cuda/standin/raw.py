"""`cupy.RawModule`, streams and graphs: kernels run in the emulator, at once."""

import functools
import itertools
import math
import time
import weakref

import emulator
import numpy as np

from softstep.kernels._cupy.launch import Struct
from standin.array import ndarray
from standin.machine import CompileException, CUDADriverError, CUDARuntimeError, Misuse

DEFAULT_SHARED = 48 << 10
MAX_GRID, MAX_BLOCK = (2**31 - 1, 65_535, 65_535), (1024, 1024, 64)


@functools.cache
def compiled(code, options, check):
    # The emulator flushes subnormals of double and float alike, a GPU those of float only.
    flush = () if "-DREAL=double" in options else ("-ftz=true",)
    try:
        return emulator.compile_source(code, options + flush, check=check)
    except emulator.CompileError as error:
        raise CompileException(str(error)) from error


class RawModule:
    machine = None  # set by the class made for each installed machine

    def __init__(self, *, code, options=(), enable_cooperative_groups=False):
        if not isinstance(options, tuple) or not all(isinstance(o, str) for o in options):
            raise TypeError("options must be a tuple of strings")
        if enable_cooperative_groups:
            raise Misuse("CuPy links such a module with libcudadevrt.a, which CUDA 12 wheels lack")
        self.code, self.options = code, options

    def get_function(self, name):
        self.machine.forbid_in_capture("loads a module")
        self.code.encode("ascii")  # CuPy writes it to a file in the encoding of the locale
        module = compiled(self.code, self.options, self.machine.check)
        if name not in module.kernels:
            raise CUDADriverError("CUDA_ERROR_NOT_FOUND: named symbol not found")
        return RawKernel(self.machine, module[name])


class Function:
    """What RawKernel.kernel is: a handle, and a launch that may be cooperative."""

    handles = itertools.count(0x1000, 0x100)

    def __init__(self, raw):
        self.ptr = next(self.handles)
        self._raw = weakref.proxy(raw)

    def __call__(self, grid, block, args, shared_mem=0, *, enable_cooperative_groups=False):
        self._raw.launch(grid, block, args, shared_mem, enable_cooperative_groups)


class RawKernel:
    def __init__(self, machine, kernel):
        self.machine, self._kernel = machine, kernel
        self.kernel = Function(self)
        self._max_dynamic_shared = DEFAULT_SHARED
        machine.kernels[self.kernel.ptr] = self

    @property
    def max_dynamic_shared_size_bytes(self):
        return self._max_dynamic_shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size):
        if size > self.machine.shared_opt_in:
            raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        self._max_dynamic_shared = size
        self.machine.log.append(f"shared memory {size}")

    def occupancy(self, threads, shared):
        """Blocks a multiprocessor keeps alive; registers do not count here."""
        if shared > self._max_dynamic_shared:
            return 0
        by_threads = self.machine.threads_per_multiprocessor // threads
        by_shared = self.machine.shared_per_multiprocessor // (shared + 1024)
        return min(32, by_threads, by_shared)

    def launch(self, grid, block, args, shared, cooperative):
        self._check_size(grid, block, shared, cooperative)
        launch = Launch(self, grid, block, args, shared, cooperative)
        stream = self.machine.streams[-1]
        if stream.recorded is None:
            launch.run()
        else:
            stream.recorded.append(launch)

    def _check_size(self, grid, block, shared, cooperative):
        for size in (grid, block):
            if not isinstance(size, tuple) or not all(type(s) is int for s in size):
                raise Misuse(f"{self._kernel.name}: {size} is not a tuple of ints")
            if not 1 <= len(size) <= 3 or min(size) < 1:
                raise Misuse(f"{self._kernel.name}: {size}; CuPy would make it 1")
        if any(size > limit for size, limit in zip(grid, MAX_GRID, strict=False)):
            raise Misuse(f"{self._kernel.name}: grid {grid}; CuPy would launch another")
        too_long = any(size > limit for size, limit in zip(block, MAX_BLOCK, strict=False))
        if too_long or math.prod(block) > 1024 or shared > self._max_dynamic_shared:
            raise CUDADriverError("CUDA_ERROR_INVALID_VALUE: invalid argument")
        if cooperative and not self.machine.launches_cooperatively:
            raise CUDADriverError("CUDA_ERROR_NOT_SUPPORTED: operation not supported")
        resident = self.occupancy(math.prod(block), shared) * self.machine.multiprocessors
        if cooperative and math.prod(grid) > resident:
            raise Misuse(f"{self._kernel.name}: grid {grid}; CuPy would cut it to what is resident")


def _bytes(field):
    """What a struct holds of a plain field: a number, or an address."""
    if isinstance(field, ndarray):
        field = np.uint64(field.data.ptr)
    return np.uint64(0).tobytes() if field is None else field.tobytes()


class Launch:
    """A launch, now or (from a graph) later. Like CUDA's it does not keep its arrays alive."""

    def __init__(self, raw, grid, block, args, shared, cooperative):
        self.raw, self.grid, self.block, self.shared = raw, grid, block, shared
        self.cooperative = cooperative
        self.owners = []
        self.args = [self._argument(i, value) for i, value in enumerate(args)]

    def _argument(self, i, value):
        """An argument as the emulator takes it."""
        where, parameters = f"argument {i} of {self.name}", self.raw._kernel.parameters
        struct = parameters[i].struct if i < len(parameters) else None
        if struct is None:
            return self._plain(where, value)
        if not isinstance(value, Struct) or value.shape != ():
            raise Misuse(f"{where} is of type {type(value).__name__}: give a Struct")
        record = value.view(np.ndarray).view(value.layout)
        return self._fields(where, value.fields, record, struct)

    def _plain(self, where, value):
        if isinstance(value, ndarray):
            if value._device != self.raw.machine.device:
                raise Misuse(f"{where} is on another GPU")
            self.owners.append(weakref.ref(value._owner))
            return value._values
        if value is None or (isinstance(value, np.generic) and not isinstance(value, np.void)):
            return value
        raise Misuse(
            f"{where} is of type {type(value).__name__}: give a device array, a NumPy scalar or "
            "None"
        )

    def _fields(self, where, fields, record, struct):
        """The fields of a Struct. `record` has its bytes, which are all that CuPy passes on."""
        layout = {name: at for name, (_, at, *_) in record.dtype.fields.items()}
        expected = {name: at for name, (at, _) in struct.fields.items()}
        if list(layout.items()) != list(expected.items()) or record.itemsize != struct.size:
            raise Misuse(
                f"{where} is laid out as {layout}, {record.itemsize} bytes, but {struct.name} as "
                f"{expected}, {struct.size} bytes"
            )
        found = {}
        for name, (_, parameter) in struct.fields.items():
            field, given, here = fields[name], record[name], f"{where}, {name}"
            if parameter.struct:
                if not isinstance(field, dict):
                    raise Misuse(f"{here} is of type {type(field).__name__}: give a dict")
                found[name] = self._fields(here, field, given, parameter.struct)
                continue
            found[name] = self._plain(here, field)
            if given.tobytes() != _bytes(field):
                raise Misuse(f"{here} was changed after the Struct was made")
        return found

    @property
    def name(self):
        return self.raw._kernel.name

    def run(self):
        if any(owner() is None for owner in self.owners):
            raise Misuse(f"{self.name} is replayed on an array that was freed")
        machine = self.raw.machine
        machine.log.append(f"launch {self.name}")
        try:
            emulator.launch(
                self.raw._kernel,
                self.grid,
                self.block,
                self.args,
                shared_bytes=self.shared,
                schedule=machine.schedule,
                seed=machine.seed,
                cooperative=self.cooperative,
            )
        except (TypeError, ValueError) as error:  # number and types of the arguments, contiguity
            raise Misuse(str(error)) from error


class Graph:
    def __init__(self, machine, launches):
        self._machine, self._launches = machine, launches

    def launch(self):
        self._machine.log.append("launch graph")
        for launch in self._launches:
            launch.run()


class Event:
    """A moment of a stream, whose work is done at once here."""

    machine = None

    def __init__(self):
        self.time = None

    def record(self, stream):
        self.machine.forbid_in_capture("records an event")
        if stream is not self.machine.streams[-1]:
            raise Misuse("an event of another stream than the launches")
        self.time = time.perf_counter()
        self.machine.unfinished.append(self)


def get_elapsed_time(start, stop):
    """Milliseconds between two events that were recorded and waited for."""
    for event in (start, stop):
        if event.time is None:
            raise CUDARuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")
        if event in event.machine.unfinished:
            raise CUDARuntimeError("cudaErrorNotReady: device not ready")
    return 1e3 * (stop.time - start.time)


class Stream:
    machine = None

    def __init__(self, *, non_blocking=False):
        self.ptr = id(self)
        self.recorded = None  # the launches of a graph while one is captured

    def __enter__(self):
        self.machine.streams.append(self)
        return self

    def __exit__(self, *_):
        self.machine.streams.pop()

    def begin_capture(self):
        if self is self.machine.streams[0]:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.recorded = []

    def end_capture(self):
        launches, self.recorded = self.recorded, None
        return Graph(self.machine, launches)

    def synchronize(self):
        self.machine.wait()
        self.machine.log.append("synchronize")
