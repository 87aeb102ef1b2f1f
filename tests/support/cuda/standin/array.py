"""`cupy.ndarray` on NumPy memory: no arithmetic, no implicit way back to NumPy."""

import ctypes
from types import SimpleNamespace

import numpy as np

from standin.machine import Misuse

ALIGNMENT = 512  # bytes, that of CuPy's memory pool
DTYPES = "?bhilqBHILQefdFD"  # CuPy's, by their characters, beside bfloat16 of ml_dtypes


class Memory:
    """One allocation. Its bytes are 0xff at first: floats read before they are written are NaN."""

    def __init__(self, machine, size):
        machine.allocate(self, size)
        room = np.full(size + ALIGNMENT, 0xFF, np.uint8)
        start = -room.ctypes.data % ALIGNMENT
        self.bytes = room[start : start + size]


class ndarray:
    """A device array: `values` is the NumPy view of its memory, `owner` what keeps that alive."""

    __array_ufunc__ = None
    __iter__ = None

    def __init__(self, shape, dtype, memptr):
        lent = memptr.mem
        values = lent.bytes.view(dtype).reshape(shape)
        self._set(lent.machine, values, lent, lent.device_id)

    @classmethod
    def _made(cls, machine, values, owner, device=None):
        array = cls.__new__(cls)
        array._set(machine, values, owner, machine.device if device is None else device)
        return array

    def _set(self, machine, values, owner, device):
        self._machine, self._values, self._owner, self._device = machine, values, owner, device

    shape = property(lambda self: self._values.shape)
    dtype = property(lambda self: self._values.dtype)
    ndim = property(lambda self: self._values.ndim)
    size = property(lambda self: self._values.size)
    nbytes = property(lambda self: self._values.nbytes)
    strides = property(lambda self: self._values.strides)
    flags = property(lambda self: SimpleNamespace(c_contiguous=self._values.flags.c_contiguous))
    data = property(
        lambda self: SimpleNamespace(ptr=self._values.ctypes.data, memset_async=self._memset)
    )
    device = property(lambda self: SimpleNamespace(id=self._device))

    def _memset(self, value, size):
        self._machine.must_be_current(self._device, "memset")
        self._values.reshape(-1).view(np.uint8)[:size] = value

    @property
    def __cuda_array_interface__(self):
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.data.ptr, False),
            "strides": None if self.flags.c_contiguous else self._values.strides,
            "version": 3,
            "stream": 1,
        }

    def __len__(self):
        return len(self._values)

    def __bool__(self):
        raise Misuse("the truth of a device array is on the device")

    def __array__(self, *args, **kwargs):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def _view(self, values):
        return ndarray._made(self._machine, values, self._owner, self._device)

    def __getitem__(self, key):
        if isinstance(key, ndarray):
            return self._gathered(key)
        parts = key if isinstance(key, tuple) else (key,)
        for part in parts:
            if not isinstance(part, int | slice | None | type(Ellipsis)):
                raise Misuse(f"an index of type {type(part).__name__}: views, or device numbers")
        return self._view(self._values[parts if Ellipsis in parts else (*parts, ...)])

    def _gathered(self, index):
        at = self._numbers(index)
        memory = Memory(self._machine, len(at) * self._values[:1].nbytes)
        values = memory.bytes.view(self.dtype).reshape(len(at), *self.shape[1:])
        values[...] = self._values[at]
        return ndarray._made(self._machine, values, memory, self._device)

    def _numbers(self, index):
        """Whole numbers along the first axis, from an array on the same device."""
        self._machine.must_be_current(self._device, "an index")
        self._machine.must_be_current(index._device, "an index")
        at = index._values
        if at.ndim != 1 or at.dtype != np.int64 or len(set(at.tolist())) < len(at):
            raise Misuse(f"an index of {at.dtype}{at.shape}: one row of int64, each once")
        if len(at) and not 0 <= at.min() <= at.max() < len(self):
            raise Misuse(f"an index beyond {len(self)}: CuPy would wrap it around")
        return at

    def __setitem__(self, key, value):
        if not (key is Ellipsis or isinstance(key, ndarray)) or not isinstance(value, ndarray):
            raise Misuse("only `array[... or numbers] = array of the device` is offered")
        at = key if key is Ellipsis else self._numbers(key)
        shape = self.shape if key is Ellipsis else (len(at), *self.shape[1:])
        if (shape, self.dtype) != (value.shape, value.dtype):
            raise Misuse(f"{value.dtype}{value.shape} copied into {self.dtype}{shape}")
        self._machine.must_be_current(self._device, "a copy")
        self._machine.must_be_current(value._device, "a copy")
        self._machine.report_error()
        self._machine.log.append(f"on device {value.nbytes}")
        self._values[at] = value._values

    def astype(self, dtype):
        self._machine.must_be_current(self._device, "astype")
        memory = Memory(self._machine, self.size * np.dtype(dtype).itemsize)
        values = memory.bytes.view(dtype).reshape(self.shape)
        values[...] = self._values
        return ndarray._made(self._machine, values, memory, self._device)

    def copy(self):
        return self.astype(self.dtype)

    def reshape(self, *shape):
        if not self._values.flags.c_contiguous:
            raise Misuse("reshaping an array that is not contiguous copies it")
        return self._view(self._values.reshape(*shape))

    def get(self, out=None):
        self._machine.must_be_current(self._device, "a copy to the host")
        self._machine.wait()
        self._machine.log.append(f"to host {self.nbytes}")
        if out is None:
            return self._values.copy()
        if not isinstance(out, np.ndarray) or out.dtype != self.dtype:
            raise TypeError(f"out must be a NumPy array of {self.dtype}")
        if out.shape != self.shape:
            raise ValueError(f"Shape mismatch. Expected shape: {self.shape}, actual: {out.shape}")
        if not out.flags.c_contiguous:
            raise RuntimeError("`out` cannot be specified when copying to non-contiguous ndarray")
        out[...] = self._values
        return out

    def set(self, value):
        self._machine.forbid_in_capture("copies from the host")
        self._machine.must_be_current(self._device, "a copy from the host")
        if not isinstance(value, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if value.dtype != self.dtype or value.shape != self.shape:
            raise ValueError(f"{value.dtype}{value.shape} set to {self.dtype}{self.shape}")
        self._machine.report_error()
        self._machine.log.append(f"to device {self.nbytes}")
        self._values[...] = value


class UnownedMemory:
    """`size` bytes that somebody else allocated, and `owner` keeps."""

    machine = None  # set by the class made for each installed machine

    def __init__(self, ptr, size, owner, device_id=-1):
        if device_id < 0:
            raise Misuse("a null pointer has no device: give its number")
        self.ptr, self.size, self._owner, self.device_id = ptr, size, owner, device_id
        content = (ctypes.c_uint8 * size).from_address(ptr)
        self.bytes = np.frombuffer(content, np.uint8) if size else np.empty(0, np.uint8)


class MemoryPointer:
    def __init__(self, mem, offset):
        if offset:
            raise Misuse("only whole memories are offered")
        self.mem = mem
        self.ptr = mem.ptr


class Capsule:
    """What a foreign array's __dlpack__ returns here: `values` are its memory."""

    def __init__(self, values, owner, device=0):
        self.values, self.owner, self.device = values, owner, device


def functions(machine):
    """The functions of `cupy` that make arrays."""

    def empty(shape, dtype):
        dtype = np.dtype(dtype)
        if dtype.char not in DTYPES and dtype.name != "bfloat16":
            raise ValueError(f"Unsupported dtype {dtype}")
        if not dtype.isnative:
            raise KeyError(dtype)
        memory = Memory(machine, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        return ndarray._made(machine, memory.bytes.view(dtype).reshape(shape), memory)

    def zeros(shape, dtype):
        array = empty(shape, dtype)
        array._values[...] = 0
        return array

    def ascontiguousarray(array):
        copy = empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def from_dlpack(value):
        if value.__dlpack_device__()[0] not in (2, 13):
            raise TypeError("CPU arrays cannot be directly imported to CuPy.")
        capsule = value.__dlpack__(stream=machine.streams[-1].ptr or 1)
        return ndarray._made(machine, capsule.values, capsule.owner, capsule.device)

    def asarray(value):
        interface = SimpleNamespace(__array_interface__=value.__cuda_array_interface__)
        return ndarray._made(machine, np.asarray(interface), value)

    made = (empty, zeros, ascontiguousarray, from_dlpack, asarray)
    return {function.__name__: function for function in made}
