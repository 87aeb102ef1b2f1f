"""Structs as kernels take them: laid out as in C, with their arrays kept alive, checked by the
stand-in field by field.
"""

import gc
import itertools

import emulator
import numpy as np
import pytest
import standin

from softstep.kernels._cupy import kernel as kernel_module
from softstep.kernels._cupy.arrays import asarray, to_host, zeros
from softstep.kernels._cupy.kernel import capture, load_kernel
from softstep.kernels._cupy.launch import Struct

SOURCE = """
struct Line {
  const REAL *x;  // (n,)
  REAL slope, *y;
  bool is_added;
  long long n;
};
struct Job {
  bool is_on;
  Line line;
  unsigned char times;
};
extern "C" __global__ void apply(const Job job, long long first) {
  // y <- slope x, or is added to y
  const long long i = first + threadIdx.x;
  if (!job.is_on || i >= job.line.n) return;
  for (int k = 0; k < job.times; ++k)
    job.line.y[i] = job.line.slope * job.line.x[i] + (job.line.is_added ? job.line.y[i] : 0);
}
"""


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(kernel_module, "source", lambda file: SOURCE)
    with standin.install() as machine:
        yield machine


def job(x, y, /, **change):
    """A job; `change` has other values for fields of its line, or more fields."""
    line = {
        "x": x,
        "slope": np.float32(2),
        "y": y,
        "is_added": np.bool_(True),
        "n": np.int64(x.size),
        **change,
    }
    return Struct(is_on=np.bool_(True), line=line, times=np.uint8(3))


def apply(job, first=0):
    load_kernel("apply.cu", "apply", REAL="float")((1,), (32,), (job, np.int64(first)))


def ones(n=5):
    return asarray(np.ones(n, np.float32))


def test_a_kernel_reads_every_field_of_a_struct_and_of_the_struct_in_it(machine):
    y = ones()
    apply(job(ones(), y), first=2)
    assert to_host(y).tolist() == [1, 1, 7, 7, 7]
    apply(job(ones(), y, is_added=np.bool_(False)))
    assert to_host(y).tolist() == [2] * 5


def test_none_is_a_null_pointer(machine):
    with pytest.raises(emulator.KernelError, match="crash"):
        apply(job(ones(), None))


def test_the_checker_watches_what_a_struct_points_to(machine):
    machine.check = True
    y = ones()
    apply(job(ones(), y))
    assert to_host(y).tolist() == [7] * 5
    with pytest.raises(emulator.KernelError, match="out of bounds"):
        apply(job(ones(), y, n=np.int64(6)))


def test_a_struct_keeps_its_arrays_alive(machine):
    y = zeros((5,), np.float32)
    given = job(asarray(np.arange(5, dtype=np.float32)), y)
    gc.collect()
    capture(lambda: apply(given), 3)
    assert to_host(y).tolist() == [0, 18, 36, 54, 72]


def test_a_graph_that_outlives_the_arrays_of_a_struct_is_refused(machine):
    y = zeros((5,), np.float32)
    jobs = [job(ones(), y), job(ones(), y)]
    with pytest.raises(standin.Misuse, match="on an array that was freed"):
        capture(lambda: apply(jobs.pop()), 3)


# ---- the layout


TYPES = {
    "bool": np.bool_,
    "unsigned char": np.uint8,
    "float": np.float32,
    "long long": np.int64,
    "double": np.float64,
}


@pytest.mark.parametrize("number", range(8))
def test_numpy_lays_a_struct_out_as_the_compiler_does(number):
    orders = list(itertools.permutations(TYPES))[number::8]
    text = "".join(
        f"struct S{i} {{ {' '.join(f'{t} f{k};' for k, t in enumerate(order))} }};\n"
        f"struct T{i} {{ {order[0]} a; S{i} s; {order[1]} b; }};\n"
        f'extern "C" __global__ void k{i}(const T{i} t) {{}}\n'
        for i, order in enumerate(orders)
    )
    module = emulator.compile_source(text)
    for i, order in enumerate(orders):
        values = [TYPES[type_](1) for type_ in order]
        inner = {f"f{k}": value for k, value in enumerate(values)}
        outer = Struct(a=values[0], s=inner, b=values[1]).layout
        expected = module[f"k{i}"].parameters[0].struct
        for found, struct in ((outer, expected), (outer["s"], expected.fields["s"][1].struct)):
            assert found.itemsize == struct.size
            offsets = {name: at for name, (at, _) in struct.fields.items()}
            assert {name: at for name, (_, at) in found.fields.items()} == offsets


def test_a_struct_is_one_item_of_bare_bytes():
    """CuPy takes arrays of one item by value, but numpy.void scalars only below 64 bytes.

    Without fields in its dtype, since NumPy would describe each of them at every launch.
    """
    struct = Struct(n=np.int64(1), x=None)
    assert isinstance(struct, np.ndarray)
    assert (struct.shape, struct.size, struct.dtype) == ((), 1, np.dtype("V16"))
    assert struct.__array_interface__["descr"] == [("", "|V16")]


# ---- what the stand-in refuses


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n": np.int32(5)}, "laid out as"),
        ({"n": np.float64(5)}, "line, n:  i8 wanted, not float64"),
        ({"n": np.uint64(5)}, "line, n:  i8 wanted, not uint64"),
        ({"slope": np.float64(2)}, "line, slope:  f4 wanted, not float64"),
        ({"slope": np.int32(2)}, "line, slope:  f4 wanted, not int32"),
        ({"slope": None}, "line, slope:  f4 wanted, not <class 'NoneType'>"),
        ({"more": np.int64(1)}, "laid out as"),
        ({"x": np.uint64(8)}, "line, x: cf4 wanted, not <class 'numpy.uint64'>"),
    ],
    ids=str,
)
def test_a_field_of_another_type_is_refused(change, words, machine):
    with pytest.raises(standin.Misuse, match=words):
        apply(job(ones(), ones(), **change))


@pytest.mark.parametrize("value", [2.0, 2, True, np.zeros(5, np.float32), [1]], ids=repr)
def test_what_is_neither_a_number_of_numpy_nor_on_the_gpu_makes_no_struct(value, machine):
    with pytest.raises(AttributeError):
        Struct(x=value)


def test_fields_in_another_order_are_refused(machine):
    line = job(ones(), ones()).fields["line"]
    swapped = {name: line[name] for name in ("x", "slope", "y", "n", "is_added")}
    with pytest.raises(standin.Misuse, match="laid out as"):
        apply(Struct(is_on=np.bool_(True), line=swapped, times=np.uint8(1)))


def test_fields_of_other_names_are_refused(machine):
    line = job(ones(), ones()).fields["line"]
    renamed = {{"x": "y", "y": "x"}.get(name, name): value for name, value in line.items()}
    with pytest.raises(standin.Misuse, match="laid out as"):
        apply(Struct(is_on=np.bool_(True), line=renamed, times=np.uint8(1)))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (lambda: zeros((5,), np.float64), "line, x: cf4 wanted, not float64"),
        (lambda: zeros((10,), np.float32)[::2], "line, x is not contiguous"),
    ],
)
def test_a_pointer_to_another_kind_of_array_is_refused(array, words, machine):
    with pytest.raises(standin.Misuse, match=words):
        apply(job(array(), ones()))


def test_a_pointer_to_another_gpu_is_refused(machine):
    given = job(ones(), ones())
    machine.device = 1
    with pytest.raises(standin.Misuse, match="line, x is on another GPU"):
        apply(given)


def test_a_struct_that_was_changed_is_refused(machine):
    given = job(ones(), ones())
    given.view(np.ndarray).view(given.layout)["line"]["n"] = 4
    with pytest.raises(standin.Misuse, match="line, n was changed after"):
        apply(given)


def test_a_struct_in_the_place_of_a_number_and_the_other_way_round_are_refused(machine):
    kernel = load_kernel("apply.cu", "apply", REAL="float")
    given = job(ones(), ones())
    for args in ((given, given), (np.int64(0), np.int64(0)), (ones(), np.int64(0))):
        with pytest.raises(standin.Misuse, match=r"argument \d of apply is of type"):
            kernel((1,), (32,), args)
    bare = np.array(given)  # as CuPy would take it, but nothing says what is in it
    with pytest.raises(standin.Misuse, match="is of type ndarray: give a Struct"):
        kernel((1,), (32,), (bare, np.int64(0)))


def test_a_struct_with_more_than_fields_does_not_compile_in_the_emulator():
    text = """struct S { int a; int twice() const { return 2 * a; } };
    extern "C" __global__ void k(const S s) {}"""
    with pytest.raises(emulator.CompileError, match="fields alone, but S has: int twice"):
        emulator.compile_source(text)
