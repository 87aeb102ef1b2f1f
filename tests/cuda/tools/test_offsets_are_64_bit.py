"""Promise: no kernel uses a 32-bit number for a size or for the offset of an element."""

import re
from pathlib import Path

import c_structs
import pytest

from softstep.kernels._cupy import kernel

FILES = sorted(Path(kernel.__file__).parent.glob("*.cu*"))
NARROW = r"(unsigned|int|short|unsigned (int|short|char)|char)"


def without_comments(text):
    return re.sub(r"//.*", "", text)


def narrow_sizes(text):
    """The parameters of kernels that are whole numbers of 32 bits or fewer."""
    kernels = re.findall(r"__global__[^(]*(?:__launch_bounds__\([^)]*\))?[^(]*\(([^)]*)\)", text)
    parameters = (p.strip() for kernel in kernels for p in kernel.split(","))
    return [p for p in parameters if re.match(r"(const\s+)?(unsigned|int|short)\s+\w+$", p)]


def narrow_fields(text):
    """The same of the structs that the kernels take."""
    structs = c_structs.reachable(re.sub(r"__launch_bounds__\([^)]*\)", "", text))
    return [
        f"{struct}.{field}"
        for struct, fields in structs.items()
        for field, type_ in fields.items()
        if re.fullmatch(NARROW, type_)
    ]


def narrow_products(text):
    """Products with the number of a block or of all blocks that neither factor makes 64-bit."""
    found = re.finditer(r"(\(long long\))?(?:blockIdx|gridDim)\.[xyz] \* (\(long long\)|\w+)", text)
    products = [(m.group(), m.group(1), m.group(2)) for m in found]
    return [
        product
        for product, widened, factor in products
        if not (
            widened
            or factor == "(long long)"
            or re.fullmatch(r"\d+ll", factor)
            or re.search(rf"long long\b[^;(){{}}]*\b{factor}\b", text)
        )
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_sizes_and_offsets_are_long_long(file):
    text = without_comments(file.read_text())
    assert narrow_sizes(text) == []
    assert narrow_products(text) == []


@pytest.mark.parametrize("file", [file.name for file in FILES if file.suffix == ".cu"])
def test_sizes_in_structs_are_long_long(file):
    assert narrow_fields(without_comments(kernel.source(file))) == []


def test_the_check_sees_what_is_narrow():
    assert narrow_sizes('extern "C" __global__ void f(float *x, int n) {}') == ["int n"]
    assert narrow_products("x[blockIdx.x * blockDim + 1]") == ["blockIdx.x * blockDim"]
    assert narrow_products("const long long part = 3; x[blockIdx.x * part]") == []
    taken = "struct S { const long long *x; int n; }; struct T { S s; };"
    kernel_of_t = f'{taken} extern "C" __global__ void __launch_bounds__(8) f(const T t) {{}}'
    assert narrow_fields(kernel_of_t) == ["S.n"]
    assert narrow_fields("struct S { int n; };") == []
