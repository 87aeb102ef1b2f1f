"""Promise: kernels compile under any locale, and what stands in their way is told with its cure."""

import sys
from pathlib import Path

import numpy as np
import pytest
import standin

from softstep import kernels
from softstep.kernels import backend
from softstep.kernels._cupy import kernel

SOURCES = sorted(Path(kernel.__file__).parent.glob("*.cu*"))
NO_ROOM = OSError(28, "No space left on device")
READ_ONLY = PermissionError(13, "Permission denied", "kernel_cache")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_a_source_is_ascii(path):
    assert path.read_bytes().isascii()


def test_the_kernel_in_a_python_file_is_ascii():
    assert kernel.HOLD.isascii()


@pytest.fixture
def with_compiler(machine, monkeypatch):
    """with_compiler(error): CuPy raises it when it compiles."""

    def fail(error):
        def get_function(self, name):
            raise error

        monkeypatch.setattr(standin.raw.RawModule, "get_function", get_function)

    return fail


@pytest.mark.parametrize("error", [NO_ROOM, READ_ONLY])
def test_a_folder_that_cannot_be_written_is_named_with_its_cure(error, with_compiler, monkeypatch):
    monkeypatch.setenv("CUPY_CACHE_DIR", "/cache/of/kernels")
    with_compiler(error)
    with pytest.raises(kernels.BackendError, match=error.strerror) as found:
        kernel.load_kernel("softmax.cu", "softmax_forward", **kernel.PROBED)
    text = str(found.value)
    assert text.startswith("softmax.cu: softmax_forward could not be compiled or loaded: ")
    assert "machine code in /cache/of/kernels" in text
    assert text.endswith("Set CUPY_CACHE_DIR to a folder that can be written to, or TMPDIR")


def test_a_name_that_the_locale_cannot_write_is_told_with_its_cure(machine, monkeypatch):
    monkeypatch.setattr(kernel, "source", lambda file: "// Σ")
    with pytest.raises(kernels.BackendError, match=r"encoding of the locale: .*Set PYTHONUTF8=1$"):
        kernel.load_kernel("softmax.cu", "softmax_forward", **kernel.PROBED)


def test_a_backend_whose_kernels_do_not_compile_is_not_usable(with_compiler):
    with_compiler(READ_ONLY)
    status = backend.probe("cupy")
    assert not status.usable
    assert "Permission denied" in status.reason
    with pytest.raises(kernels.BackendError, match="CUPY_CACHE_DIR"):
        kernels.softmax_forward(np.ones((1, 2)), backend="cupy")


def test_a_cupy_that_cannot_make_its_cache_is_told_with_its_cure(monkeypatch):
    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "cupy":
                raise READ_ONLY

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(kernels.BackendError, match=r"cannot be imported: .*Set CUPY_CACHE_DIR"):
        kernel.probe()
