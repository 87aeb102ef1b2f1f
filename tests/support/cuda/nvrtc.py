"""Compiles the kernels with NVRTC, which needs no GPU and no driver, and reads what each one costs.

    python nvrtc.py          prints the table of docs/gpu.md (--full: all variants everywhere)

NVRTC comes with the wheel nvidia-cuda-nvrtc (CUDA 13) or nvidia-cuda-nvrtc-cu12. What is compiled
stands in variants.py.
"""

import collections
import ctypes
import functools
import hashlib
import importlib
import importlib.util
import multiprocessing
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import variants

from softstep.kernels._cupy import linear
from softstep.kernels._cupy.kernel import options, source

ARCHITECTURES = (75, 80, 90, 100, 120)
FULL = 80  # the architecture for which the tests compile every variant
FLAGS = ("-ftz=true", "--device-as-default-execution-space", "--ptxas-options=-v")
INSTALL = "pip install nvidia-cuda-nvrtc"
ON_TENSOR_CORES = ("linear_tensor.cu", "train_tensor.cu")


class CompileError(Exception):
    """NVRTC's log."""


@dataclass(frozen=True)
class Cost:
    """What a thread (registers, stack, spills) and a block (shared) take; the last three in bytes.

    stack: arrays kept in local memory, and spills. shared: the static part; CUDA itself takes
    another 1 KB of each block from sm_80 on.
    """

    registers: int
    stack: int
    spills: int
    shared: int


# ---- NVRTC


def library_path():
    """The newest installed libnvrtc, or None."""
    spec = importlib.util.find_spec("nvidia")
    found = [
        path
        for folder in (spec.submodule_search_locations if spec else ())
        for path in Path(folder).glob("*/lib/libnvrtc.so.*")
    ]
    return max(found, key=lambda path: int(path.suffix[1:]), default=None)


def missing():
    """Why nothing can be compiled here, or None."""
    if library_path() is None:
        return f"NVRTC is not installed: {INSTALL}"
    return None


@functools.cache
def _library():
    return ctypes.CDLL(str(library_path()))


def version():
    major, minor = ctypes.c_int(), ctypes.c_int()
    _library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def architectures():
    """Those of ARCHITECTURES that this NVRTC knows."""
    count = ctypes.c_int()
    _library().nvrtcGetNumSupportedArchs(ctypes.byref(count))
    known = (ctypes.c_int * count.value)()
    _library().nvrtcGetSupportedArchs(known)
    return tuple(architecture for architecture in ARCHITECTURES if architecture in known)


def _bytes(program, what):
    """The program's ProgramLog, PTX or CUBIN."""
    size = ctypes.c_size_t()
    getattr(_library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    content = ctypes.create_string_buffer(size.value)
    getattr(_library(), f"nvrtcGet{what}")(program, content)
    return content.raw


def compile_source(text, name, opts, architecture):
    """Source -> its log, with ptxas's account of each kernel, and its PTX; or CompileError."""
    log, ptx, _ = _compiled(text, name, opts, architecture)
    return log, ptx


def machine_code(text, name, opts, architecture):
    """Source -> the bytes that a GPU runs. CompileError if it is wrong."""
    return _kept(text, name, opts, architecture)[1]


def _kept(text, name, opts, architecture):
    """The log and the machine code, kept on disk: the whole set takes minutes."""
    given = [version(), str(architecture), name, text, *opts, *FLAGS]
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "softstep-nvrtc"
    key = hashlib.sha256("\0".join(given).encode()).hexdigest()
    code_file, log_file = folder / f"{key}.cubin", folder / f"{key}.log"
    if not log_file.exists():
        log, _, code = _compiled(text, name, opts, architecture)
        folder.mkdir(parents=True, exist_ok=True)
        _write(code_file, code)
        _write(log_file, log.encode())  # after the code, which then is there
    return log_file.read_text(), code_file.read_bytes()


def _write(path, content):
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _compiled(text, name, opts, architecture):
    """The log, the PTX and the machine code.

    CuPy 14 adds the same options (its compiler.py), but for the last, which logs the costs, and
    --device-c for modules that are declared cooperative, which it links: there are none here.
    """
    opts = (*opts, f"-arch=sm_{architecture}", *FLAGS)
    library, program = _library(), ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None)
    try:
        flags = (ctypes.c_char_p * len(opts))(*(option.encode() for option in opts))
        failed = library.nvrtcCompileProgram(program, len(opts), flags)
        log = _bytes(program, "ProgramLog").rstrip(b"\0").decode()
        if failed:
            raise CompileError(f"{name} with {' '.join(opts)}:\n{log}")
        return log, _bytes(program, "PTX").rstrip(b"\0").decode(), _bytes(program, "CUBIN")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def costs(log):
    """ptxas's account -> {kernel: Cost}."""
    found = {}
    for entry in log.split("Compiling entry function ")[1:]:
        name = re.match(r"'(\w+)'", entry).group(1)
        # A kernel may call functions that were not inlined; theirs come later in its part.
        stack, stores, loads = re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", entry
        ).groups()
        registers = re.search(r"Used (\d+) registers", entry).group(1)
        shared = re.search(r"(\d+) bytes smem", entry)
        found[name] = Cost(
            int(registers), int(stack), int(stores) + int(loads), int(shared[1]) if shared else 0
        )
    return found


# ---- the kernels of the package


def files():
    """The package's files with kernels."""
    folder = Path(importlib.import_module("softstep.kernels._cupy").__file__).parent
    return sorted(path.name for path in folder.glob("*.cu"))


def programs(architecture=FULL):
    """What is compiled: (file, options) -> the names of the kernels that run with these options."""
    found = collections.defaultdict(set)
    for file, name, defines in variants.everything():
        if architecture >= linear.LEAST_TF32 or file not in ON_TENSOR_CORES:
            found[file, options(defines)].add(name)
    return dict(found)


def fewer_programs(architecture):
    """Of `programs` all for sm_80; else, to keep within a minute, each kernel once.

    Which of its variants that is differs from one architecture to the next.
    """
    everything = programs(architecture)
    if architecture == FULL:
        return everything
    order = list(everything.items())
    chosen, seen = {}, set()
    for program, names in order if architecture == 90 else reversed(order):
        if not names <= seen:
            chosen[program] = names
            seen |= names
    return chosen


def _compile(job):
    """A program -> its costs."""
    file, opts, architecture = job
    return costs(_kept(source(file), file, opts, architecture)[0])


def compile_all(in_full=False):
    """(kernel, options, architecture) -> Cost; `in_full`: of all programs on all architectures."""
    choose = programs if in_full else fewer_programs
    wanted = {arch: choose(arch) for arch in architectures()}
    jobs = [(file, opts, arch) for arch in wanted for file, opts in wanted[arch]]
    # Processes: NVRTC compiles one program at a time in each.
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        results = pool.map(_compile, jobs, chunksize=1)
    return {
        (name, opts, arch): found[name]
        for (file, opts, arch), found in zip(jobs, results, strict=True)
        for name in wanted[arch][file, opts]
    }


# ---- the table


def largest(measured):
    """(kernel, architecture) -> the largest Cost, number by number, over the kernel's variants."""
    groups = collections.defaultdict(list)
    for (name, _, arch), cost in measured.items():
        groups[name, arch].append(cost)
    fields = Cost.__dataclass_fields__
    return {
        key: Cost(**{field: max(getattr(cost, field) for cost in group) for field in fields})
        for key, group in groups.items()
    }


def table(measured):
    """Markdown: a row for each kernel, the largest numbers of its variants."""
    top = largest(measured)
    archs = sorted({arch for _, arch in top})
    compiled = collections.Counter(name for name, _, arch in measured if arch == FULL)
    rows = [
        ["kernel", "variants", *(f"registers sm_{arch}" for arch in archs), "shared, bytes",
         "stack, bytes", "spills, bytes"]
    ]  # fmt: skip
    rows.append(["---", *["--:"] * (len(rows[0]) - 1)])
    for name in sorted(compiled):
        of_kernel = {arch: top[name, arch] for arch in archs if (name, arch) in top}
        registers = [of_kernel[arch].registers if arch in of_kernel else "" for arch in archs]
        rows.append([f"`{name}`", compiled[name], *registers])
        for field in ("shared", "stack", "spills"):
            rows[-1].append(max(getattr(cost, field) for cost in of_kernel.values()))
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


if __name__ == "__main__":
    print(f"NVRTC {version()}, the largest numbers over what was compiled of each kernel:\n")
    print(table(compile_all(in_full="--full" in sys.argv)))
