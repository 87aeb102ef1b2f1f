"""Compiles a header-free CUDA C++ source for the CPU and launches its kernels on NumPy arrays.

    module = emulator.compile_source(text, options=("-DT=float",), name="softmax.cu")
    emulator.launch(module["softmax_forward"], grid=4, block=256, args=(V, P, np.int64(10)))

A struct that a kernel takes by value is given as a dict of its fields, in their order.

`emulator/` holds the header and the runtime, `checker/` what is added with `check=True`. The source
is used as it stands on disk. Between the preprocessor and the compiler three things are rewritten,
in place, so that line numbers hold:

    __global__ void f(         ->  void f(                     and an entry for f is appended
    extern __shared__ T s[];   ->  T *const s = ...;           the block's dynamic shared memory
    __shared__ T s[2][3];      ->  T (&s)[2][3] = ...;         an array in the block's static part

A `KernelError` is of kind "divergent barrier", "lane mask", "deadlock", "misaligned" (vectors),
"trap", "crash" or "time limit"; with `check=True` also "misaligned" (any type), "out of bounds",
"race", "race between blocks" or "uninitialised" (shared memory).

`emulator::mma` and `emulator::copy_async` (interface.h) stand beside inline PTX, for mma.sync and
cp.async: tensor cores cut their sums off as badly as on any GPU, copies come as late as they may.

Limits: kernels are `extern "C"`; one shared array per declaration, inside a function; no `__half`
and no `printf`. A thread that exits before a barrier of its block, or a lane that exits before it
is named in a mask, is an error, though some GPUs let it pass. `-ftz=true` flushes double as well as
float (the processor has one switch; ARM none here): leave it out for kernels that return float64.
Not checked: `__device__` variables, a thread's own arrays through pointers, global memory that is
read before it is written, and `volatile`, which orders nothing: use `__atomic_*`.
"""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import c_structs
import numpy as np

HERE = Path(__file__).parent
FOLDERS = (HERE / "emulator", HERE / "checker")
SCHEDULES = ("in_order", "reversed", "random", "greedy_warp")
TIME_LIMIT = 60  # seconds of processor time for one launch
# Room between the arrays of a checked launch: an index that is off does not reach a neighbour.
RED_ZONE = 1 << 20


class CompileError(Exception):
    """The source does not compile; the text is the compiler's."""


class KernelError(Exception):
    """What a kernel did wrong: its kind and its place; of a race, the other access's line too."""

    def __init__(self, kind, kernel, file, line, text, other_line=None):
        also = f" at line {other_line}" if other_line else ""
        super().__init__(f"{file}:{line}: {kind} in {kernel}: {text}{also}")
        self.kind, self.kernel, self.file = kind, kernel, file
        self.line, self.other_line = line, other_line


class _Dim3(ctypes.Structure):
    _fields_ = [(axis, ctypes.c_uint) for axis in "xyz"]


class _Buffer(ctypes.Structure):
    _fields_ = [("begin", ctypes.c_void_p), ("size", ctypes.c_uint64), ("item", ctypes.c_uint64)]


class _Launch(ctypes.Structure):
    _fields_ = [
        ("kernel", ctypes.c_void_p),
        ("arguments", ctypes.POINTER(ctypes.c_void_p)),
        ("buffers", ctypes.POINTER(_Buffer)),
        ("buffer_count", ctypes.c_uint64),
        ("shared_bytes", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("grid", _Dim3),
        ("block", _Dim3),
        ("schedule", ctypes.c_int),
        ("cooperative", ctypes.c_int),
        ("flush_denormals", ctypes.c_int),
        ("time_limit", ctypes.c_int),
    ]


class _Error(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_char_p),
        ("text", ctypes.c_char * 512),
        ("file", ctypes.c_char_p),
        ("line", ctypes.c_int),
        ("code", ctypes.c_uint64),
        ("other_code", ctypes.c_uint64),
    ]


def missing():
    """Why the emulator cannot run here, or None."""
    if sys.platform != "linux":
        return "the CUDA emulator runs on Linux only"
    if shutil.which("g++") is None:
        return "the CUDA emulator needs g++, which is not installed"
    return None


# ---- compile


def _run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise CompileError(done.stderr)
    return done.stdout


def _definitions(options):
    """NVRTC's options -> #define lines. The target and -ftz are no matter of the compiler's."""
    lines = []
    for option in options:
        if option.startswith("-D"):
            name, _, value = option[2:].partition("=")
            lines.append(f"#define {name} {value or 1}\n")
        elif not option.startswith(("-std=", "-ftz=", "--gpu-architecture=", "-arch=")):
            raise ValueError(f"the emulator does not know the option {option!r}")
    return "".join(lines)


def rewrite(text):
    """Preprocessed source -> C++ for g++."""
    kernels = c_structs.kernels(text)
    try:
        structs = c_structs.description(text)
    except ValueError as error:
        raise CompileError(str(error)) from error

    def declare(match):
        extern, type_, name, dims = match.group(1, 2, 3, 4)
        type_ = re.sub(r"alignas\(\w+\)", "", type_)  # every array is aligned to 128 bytes
        if text.count("{", 0, match.start()) == text.count("}", 0, match.start()):
            raise CompileError(f"declare {name} inside the function that uses it")
        if extern:
            return f"{type_} *const {name} = ({type_} *)emulator::dynamic_shared();"
        return (
            f"static const emulator::size_t {name}_at = emulator::reserve_shared("
            f"sizeof({type_} {dims})); {type_} (&{name}){dims} = "
            f"*({type_} (*){dims})emulator::static_shared({name}_at);"
        )

    shared = r"(extern\s+)?__shared__\s+([^;=,\[\]]+?)\s*\b(\w+)\s*((?:\[[^;=\[\]]*\]\s*)*);"
    text = re.sub(shared, declare, text)
    text = text.replace("__global__", "")
    if "__shared__" in text:
        raise CompileError("one shared array per declaration, without an initial value, please")
    for name in kernels:
        text += (
            f'extern "C" void emulator_run_{name}(void **a) {{ emulator::call({name}, a); }}\n'
            f'extern "C" const char *emulator_signature_{name}() '
            f"{{ return emulator::signature({name}); }}\n"
        )
    return text + structs


def _cached(suffix, parts, build):
    """The file build(path) makes, unless one made from the same parts is there."""
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "softstep-emulator"
    path = folder / (key + suffix)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{key}.{os.getpid()}{suffix}")
        build(unfinished)
        unfinished.replace(path)
    return path


def _compiler():
    """g++, and -mfma where the processor has it: nvcc too contracts a * b + c."""
    cpuinfo = Path("/proc/cpuinfo")
    has_fma = cpuinfo.exists() and " fma " in cpuinfo.read_text()
    return ["g++", "-std=gnu++17", "-fPIC", *(["-mfma"] if has_fma else [])]


def _runtime(check):
    """The object files that a library of kernels is linked with."""
    names = ["emulator/runtime.cpp", *(["checker/checker.cpp"] if check else [])]
    texts = [path.read_text() for folder in FOLDERS for path in sorted(folder.iterdir())]
    command = [*_compiler(), "-O2", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-c"]

    def build(name):
        source = str(HERE / name)
        return _cached(
            ".o", [name, *command, *texts], lambda path: _run(*command, source, "-o", str(path))
        )

    return [str(build(name)) for name in names]


KERNEL_FLAGS = [
    "-gdwarf-4",  # of DWARF 5 files, addr2line (binutils 2.40) takes one for another
    "-g1",  # where an instruction comes from, and nothing of variables, which takes longer
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-strict-aliasing",
    "-fno-threadsafe-statics",
    "-fno-gnu-unique",  # statics of inline functions belong to one library, not to the process
    "-w",
]
# -O1: a load that a later pass moves or drops is a load the checker does not see.
CHECK_FLAGS = ["-O1", "-fsanitize=thread,bounds"]


def compile_source(source, options=(), name="kernel.cu", check=False):
    """Source text and NVRTC's options (-D..., -ftz=true) -> Module. CompileError if it is wrong."""
    options = tuple(options)
    # The definitions come after the header, which they could break.
    text = f'#include "{HERE}/emulator/cuda_emulator.h"\n{_definitions(options)}#line 1 "{name}"\n'
    preprocessed = _run(*_compiler(), "-E", "-x", "c++", "-", text=text + source)
    preprocessed = preprocessed.replace(f"{HERE}/", "")  # the same in every checkout
    text = rewrite(preprocessed)
    flags = [*KERNEL_FLAGS, *(CHECK_FLAGS if check else ["-O2"])]
    runtime = _runtime(check)

    def build(path):
        kernel = str(path.with_suffix(".o"))
        _run(*_compiler(), *flags, "-c", "-x", "c++-cpp-output", "-", "-o", kernel, text=text)
        _run("g++", "-shared", "-Wl,-Bsymbolic,-z,defs", kernel, *runtime, "-o", str(path))
        Path(kernel).unlink()

    library = _cached(".so", [text, *_compiler(), *flags, *runtime], build)
    return Module(library, preprocessed, check, "-ftz=true" in options)


class Module:
    """The kernels of one source: module["name"] is what launch() takes."""

    def __init__(self, path, preprocessed, check, flush_denormals):
        self.path, self.check, self.flush_denormals = path, check, flush_denormals
        self.library = ctypes.PyDLL(str(path))  # keeps the GIL: the runtime runs one launch a time
        structs = c_structs.reachable(preprocessed)
        self.kernels = {
            name: Kernel(self, name, types, structs)
            for name, types in c_structs.kernels(preprocessed).items()
        }

    def __getitem__(self, name):
        return self.kernels[name]

    def place(self, offset):
        """Offset of an instruction -> (file, line) in the source, past what was inlined into it."""
        found = _run("addr2line", "-i", "-e", str(self.path), hex(offset - 1)).splitlines()
        places = [place.split(" ")[0].rsplit(":", 1) for place in found]
        for file, line in places:
            if line.isdigit() and not file.endswith(".h"):
                return Path(file).name, int(line)
        return "?", 0


class Kernel:
    def __init__(self, module, name, types, structs):
        self.module, self.name = module, name
        self.entry = ctypes.cast(module.library[f"emulator_run_{name}"], ctypes.c_void_p)
        signature = f"emulator_signature_{name}"
        self.parameters = c_structs.read(module.library, signature, types, structs)


# ---- launch


def _matches(code, dtype):
    """Does a dtype fit a parameter such as "*f4" (float *), "cu2" (const unsigned short *)?"""
    kind = code[1:]
    given = f"{dtype.kind}{dtype.itemsize}"
    # float16 and bfloat16 (V2) are read as bits; one-byte truth values are bool or unsigned char.
    read_as = {"f2": "u2", "V2": "u2"}.get(given, given)
    return kind[0] == "v" or kind == read_as or {kind, given} == {"b1", "u1"}


@dataclass(frozen=True)
class _Value:
    """A plain value of a launch: an argument, or a field of one at some offset."""

    where: str
    code: str
    value: object
    offset: int

    def check(self):
        is_pointer = self.code[0] != " "
        if is_pointer and self.value is None:
            return
        wanted = f"{self.where}: {self.code} wanted, not"
        if not isinstance(self.value, np.ndarray if is_pointer else np.generic):
            raise TypeError(f"{wanted} {type(self.value)}")
        if not _matches(self.code, self.value.dtype):
            raise TypeError(f"{wanted} {self.value.dtype}")
        if is_pointer and not (self.value.flags.c_contiguous or self._is_in_rows()):
            raise ValueError(f"{self.where} is not contiguous")
        if self.code[0] == "*" and not self.value.flags.writeable:
            raise ValueError(f"{self.where} is read-only")

    def _is_in_rows(self):
        """Whether it is a matrix to read whose rows lie apart, as features may."""
        if self.code[0] != "c" or self.value.ndim != 2:
            return False
        apart, step = self.value.strides
        return step == self.value.itemsize and apart >= self.value.shape[1] * step


def _values(where, parameter, value, offset=0):
    """The plain values that an argument consists of."""
    if parameter.struct is None:
        return [_Value(where, parameter.code, value, offset)]
    fields = parameter.struct.fields
    if not isinstance(value, Mapping) or list(value) != list(fields):
        raise TypeError(f"{where}: a dict of {', '.join(fields)} wanted, not {value!r}")
    return [
        plain
        for name, (at, field) in fields.items()
        for plain in _values(f"{where}, {name}", field, value[name], offset + at)
    ]


def _checked_values(kernel, args):
    """The plain values of each argument."""
    if len(args) != len(kernel.parameters):
        raise TypeError(f"{kernel.name} takes {len(kernel.parameters)} arguments, not {len(args)}")
    values = [
        _values(f"argument {i} of {kernel.name}", parameter, value)
        for i, (parameter, value) in enumerate(zip(kernel.parameters, args, strict=True))
    ]
    for plain in (plain for argument in values for plain in argument):
        plain.check()
    return values


@dataclass
class _Span:
    """Memory that one or more of a launch's arrays cover; `item` is the smallest of their items."""

    begin: int
    end: int
    item: int
    writeable: bool
    copy: int = 0


def _end(array):
    """Where the memory that an array covers ends; its rows may lie apart."""
    steps = zip(array.shape, array.strides, strict=True)
    last = sum((count - 1) * step for count, step in steps) if array.size else -array.itemsize
    return array.ctypes.data + last + array.itemsize


class _CheckedMemory:
    """The arrays of a launch, copied so that none has a neighbour."""

    def __init__(self, arrays):
        self.spans = []
        for array in sorted(arrays, key=lambda array: array.ctypes.data):
            begin = array.ctypes.data
            span = _Span(begin, _end(array), array.itemsize, array.flags.writeable)
            last = self.spans[-1] if self.spans else None
            if last and begin < last.end:
                last.end, last.item = max(last.end, span.end), min(last.item, span.item)
                last.writeable |= span.writeable
            else:
                self.spans.append(span)
        room = sum(span.end - span.begin + RED_ZONE for span in self.spans) + RED_ZONE
        self.memory = np.empty(room, np.uint8)
        at = self.memory.ctypes.data + RED_ZONE
        for span in self.spans:
            span.copy = at // 512 * 512 + span.begin % 16  # as CuPy aligns; an odd slice stays odd
            ctypes.memmove(span.copy, span.begin, span.end - span.begin)
            at = span.copy + span.end - span.begin + RED_ZONE

    def address(self, array):
        begin = array.ctypes.data
        span = next(s for s in reversed(self.spans) if s.begin <= begin)
        return span.copy + begin - span.begin

    def copy_back(self):
        for span in self.spans:
            if span.writeable:
                ctypes.memmove(span.begin, span.copy, span.end - span.begin)

    def buffers(self):
        return [_Buffer(s.copy, s.end - s.begin, s.item) for s in self.spans]


def _packed(parameter, values, checked):
    """An argument's bytes as the kernel reads them."""
    size = parameter.struct.size if parameter.struct else 8
    memory = (ctypes.c_uint64 * -(-size // 8))()
    for plain in values:
        content = plain.value
        if content is None:
            continue
        if isinstance(content, np.ndarray):
            content = np.uint64(checked.address(content) if checked else content.ctypes.data)
        ctypes.memmove(ctypes.addressof(memory) + plain.offset, content.tobytes(), content.nbytes)
    return memory


def _dim3(size):
    size = (size,) if isinstance(size, int) else tuple(size)
    return _Dim3(*size, *(1,) * (3 - len(size)))


def launch(
    kernel, grid, block, args, shared_bytes=0, schedule="in_order", seed=0, cooperative=False
):
    """Runs a kernel to its end; KernelError if it does something wrong.

    grid, block: an int or up to three. args: arrays and NumPy scalars of the kernel's own types.
    schedule: which thread goes on, "in_order", "reversed", "random" (by seed) or "greedy_warp",
    where a warp runs ahead of the others as far as it can. cooperative: all blocks are alive at
    once; else one runs after the other.
    """
    grid, block = _dim3(grid), _dim3(block)
    if not 0 < block.x * block.y * block.z <= 1024 or not 0 < grid.x * grid.y * grid.z < 2**31:
        raise ValueError("a grid has 1 or more blocks, and a block 1 to 1024 threads")
    values = _checked_values(kernel, args)
    arrays = [
        plain.value
        for argument in values
        for plain in argument
        if isinstance(plain.value, np.ndarray)
    ]
    checked = _CheckedMemory(arrays) if kernel.module.check else None
    packed = [
        _packed(parameter, argument, checked)
        for parameter, argument in zip(kernel.parameters, values, strict=True)
    ]
    pointers = (ctypes.c_void_p * max(len(packed), 1))(*map(ctypes.addressof, packed))
    buffers = checked.buffers() if checked else []
    request = _Launch(
        kernel.entry, pointers, (_Buffer * len(buffers))(*buffers), len(buffers), shared_bytes,
        seed, grid, block, SCHEDULES.index(schedule), cooperative, kernel.module.flush_denormals,
        TIME_LIMIT,
    )  # fmt: skip
    failed = kernel.module.library.emulator_launch(ctypes.byref(request))
    if checked:
        checked.copy_back()
    if failed:
        raise _error(kernel)


def _error(kernel):
    error = _Error.in_dll(kernel.module.library, "emulator_error")
    file, line, other_line = Path((error.file or b"?").decode()).name, error.line, None
    if not error.file and error.code:
        file, line = kernel.module.place(error.code)
    if error.other_code:
        other_line = kernel.module.place(error.other_code)[1]
    text = error.text.decode()
    return KernelError(error.kind.decode(), kernel.name, file, line, text, other_line)
