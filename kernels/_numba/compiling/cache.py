"""A cache of machine code that never raises, and never takes what it did not write."""

import contextlib
import functools
import hashlib
import logging
import pickle
import uuid
from pathlib import Path

import llvmlite
import numba
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

from softstep.kernels import csr, integers, losses, scaled

DIGEST_BYTES = hashlib.sha256().digest_size
LOG = logging.getLogger("softstep")  # without a handler, as by default: plain lines on stderr

_compiled, _folder, _warned = 0, None, False


def keep(kernel):
    """Keep the machine code of a kernel between processes."""
    try:
        kernel._cache = PackageCache(kernel.py_func)
    except RuntimeError as error:  # no folder to write to
        _warn(f"compiled kernels cannot be kept ({error})")


class PackageCache(FunctionCache):
    """Numba's cache, valid for all sources at once: a kernel contains the kernels it calls.

    A cache that cannot be read or written costs a compilation and a line, never an error.
    """

    def __init__(self, py_func):
        global _folder
        super().__init__(py_func)
        _folder = _folder or self._cache_path
        self._cache_file = Entries(Path(self._cache_path), self._impl.filename_base)

    def load_overload(self, sig, target_context):
        global _compiled
        found = None
        try:
            found = super().load_overload(sig, target_context)
        except Exception as error:
            _warn(f"a cached kernel cannot be read ({type(error).__name__}: {error})")
        if found is None:
            _compiled += 1
            _say_once_that_it_compiles()
        return found

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _warn(f"a compiled kernel cannot be kept ({type(error).__name__}: {error})")


class Entries:
    """The kept machine code of a function: a file for each key, in which Numba puts signature,
    processor and code of the function.

    A file has the digest of the rest, then what it was made from, what it is the entry of, and the
    entry, pickled. So nothing is unpickled or run that is damaged, stale or in another's place; and
    processes that compile at once do not get in each other's way. It keeps nobody out: who may
    write there can write a digest too.
    """

    def __init__(self, folder, name):
        self.folder, self.name = folder, name

    def load(self, key):
        """The entry, or None if there is none from these sources.

        Raises:
            ValueError: it is damaged, or another one. OSError: it cannot be read.
        """
        try:
            stored = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        digest, content = stored[:DIGEST_BYTES], stored[DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("it is damaged")
        sources, name, data = content.split(b"\n", 2)
        if sources != stamp().encode():
            return None
        if name != self._path(key).name.encode():
            raise ValueError("it is that of another kernel")
        return pickle.loads(data)

    def save(self, key, entry):
        """Keep an entry. OSError: it cannot be written."""
        path = self._path(key)
        content = b"\n".join([stamp().encode(), path.name.encode(), dumps(entry)])
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}")
        try:
            partial.write_bytes(hashlib.sha256(content).digest() + content)
            partial.replace(path)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()

    def flush(self):
        """Forget all entries of the function."""
        for path in self.folder.glob(f"{self.name}.*.nbc"):
            path.unlink(missing_ok=True)

    def _path(self, key):
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        return self.folder / f"{self.name}.{digest[:32]}.nbc"


@functools.cache
def stamp():
    """A digest of what kernels are compiled from and by: all sources of `_numba`, four files
    outside it, Numba and LLVM.

    Of what is in the sources and of their names below `_numba`; when and where they were written
    does not count.
    """
    room = Path(__file__).parents[1]
    files = {path.relative_to(room).as_posix(): path for path in room.rglob("*.py")}
    files |= {module.__name__: Path(module.__file__) for module in (csr, integers, losses, scaled)}
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}\n".encode())
    for name, path in sorted(files.items()):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def compiled_kernels():
    """How many kernels this process has compiled."""
    return _compiled


def kernel_folder():
    """Where they are kept; None where there is no folder to write to."""
    return _folder


@functools.cache
def _say_once_that_it_compiles():
    LOG.warning(
        "softstep: compiling CPU kernels, about ten seconds for each kind of work; they are kept"
    )


def _warn(what):
    """One line in each process. No warning of Python's: those may be errors."""
    global _warned
    if not _warned:
        _warned = True
        LOG.warning("softstep: %s; kernels are compiled anew", what)
