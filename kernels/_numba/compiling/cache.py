"""A cache of machine code that never raises, and never takes what it did not write."""

import functools
import hashlib
import logging
import pickle
import warnings
from pathlib import Path

from numba.core.caching import FunctionCache, IndexDataCacheFile

from softstep.kernels import integers, losses

DIGEST_BYTES = hashlib.sha256().digest_size

_compiled, _folder, _warned = 0, None, False


def keep(kernel):
    """Keep the machine code of a kernel between processes."""
    try:
        kernel._cache = PackageCache(kernel.py_func)
    except RuntimeError as error:  # no folder to write to
        _warn(f"compiled kernels cannot be kept ({error})")


class PackageCache(FunctionCache):
    """Numba's cache, valid for all sources at once: a kernel contains the kernels it calls.

    A cache that cannot be read or written costs a compilation and a warning, never an error.
    """

    def __init__(self, py_func):
        global _folder
        super().__init__(py_func)
        _folder = _folder or self._cache_path
        self._cache_file = _CheckedFile(self._cache_path, self._impl.filename_base, None)

    def load_overload(self, sig, target_context):
        global _compiled
        try:
            found = super().load_overload(sig, target_context)
        except (ImportError, AttributeError):  # of types that another version of softstep had
            self._discard()
            found = None
        except Exception as error:
            _warn(f"a cached kernel cannot be read ({type(error).__name__}: {error})")
            self._discard()
            found = None
        if found is None:
            _compiled += 1
            _say_once_that_it_compiles()
        return found

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _warn(f"a compiled kernel cannot be kept ({type(error).__name__}: {error})")

    def _discard(self):
        """Forget what is stored, so that the next save starts from an empty index."""
        try:
            self.flush()
        except OSError:
            self.disable()


class _CheckedFile(IndexDataCacheFile):
    """Numba's files of a function, each entry with its digest, and with what it is the entry of.

    So no damaged file is run, nor one that another takes the place of. It keeps nobody out: who may
    write there can write a digest too.
    """

    @property
    def _source_stamp(self):
        return stamp()

    @_source_stamp.setter
    def _source_stamp(self, of_one_file):
        pass  # where Numba puts a stamp of its own

    def save(self, key, data):
        super().save(key, (stamp(), key, data))

    def load(self, key):
        found = super().load(key)
        if found is None:
            return None
        sources, of, data = found
        if (sources, of) != (stamp(), key):
            raise ValueError("it is that of another kernel")
        return data

    def _save_data(self, name, data):
        content = self._dump(data)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def _load_data(self, name):
        stored = Path(self._data_path(name)).read_bytes()
        digest, content = stored[:DIGEST_BYTES], stored[DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("it is damaged")
        return pickle.loads(content)


@functools.cache
def stamp():
    """A digest of all sources that kernels are compiled from: `_numba`, and two files outside it.

    Of what is in them and of their names below `_numba`; when and where they were written does not
    count.
    """
    room = Path(__file__).parents[1]
    files = {path.relative_to(room).as_posix(): path for path in room.rglob("*.py")}
    files |= {module.__name__: Path(module.__file__) for module in (integers, losses)}
    digest = hashlib.sha256()
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
    # Without a handler, as by default, this comes out as a plain line on standard error.
    logging.getLogger("softstep").warning(
        "softstep: compiling CPU kernels, about ten seconds for each kind of work; they are kept"
    )


def _warn(what):
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(f"softstep: {what}; kernels are compiled anew", RuntimeWarning, stacklevel=2)
