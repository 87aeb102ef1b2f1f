"""The vector as a Numba type, as wide as the registers of the processor Numba compiles for."""

import platform

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import models, register_model

_CPU_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")


def _has(feature):
    return f"+{feature}" in _CPU_FEATURES


# Bytes of a vector register, of the processor Numba compiles for (NUMBA_CPU_FEATURES counts).
BYTES = 64 if _has("avx512f") else 32 if _has("avx2") else 16
HAS_HALF = _has("f16c") or _has("avx512f") or _has("fullfp16")
LANES = BYTES // 4  # of float32; float64 has half as many
# The instruction that moves float32 lanes by numbers in a vector.
PERMUTE = {64: "llvm.x86.avx512.permvar.sf.512", 32: "llvm.x86.avx2.permps"}.get(BYTES)
_IS_ARM = platform.machine() in ("arm64", "aarch64")
HAS_FMA = _IS_ARM or _has("fma") or _has("avx512f")
REGISTERS = 32 if _IS_ARM or _has("avx512f") else 16


class Vector(types.Type):
    """`lanes` numbers of `dtype`; dtype boolean: a mask."""

    def __init__(self, dtype, lanes):
        self.dtype, self.lanes = dtype, lanes
        super().__init__(f"Vector({dtype}, {lanes})")


class Registers(types.Type):
    """rows × columns vectors."""

    def __init__(self, vector, rows, columns):
        self.vector, self.rows, self.columns = vector, rows, columns
        super().__init__(f"Registers({vector}, {rows}, {columns})")


def vector_of(dtype):
    """The vector in which values of this dtype are computed."""
    computed = types.float64 if dtype == types.float64 else types.float32
    return Vector(computed, BYTES // (computed.bitwidth // 8))


# What LLVM calls them, and what several files emit.


def llvm_number(dtype):
    """A lane: float, double, or one bit of a mask."""
    numbers = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
    return numbers.get(dtype, ir.IntType(1))


def llvm_vector(vector):
    return ir.VectorType(llvm_number(vector.dtype), vector.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, llvm_vector(fe_type))


@register_model(Registers)
class _RegistersModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, llvm_vector(fe_type.vector).as_pointer())


def splat_lanes(builder, value, vector):
    """A number in every lane of an LLVM vector."""
    first = builder.insert_element(
        ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
    )
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), mask)


def call_overloaded(builder, name, result, *arguments):
    """Call an LLVM intrinsic that is overloaded on its result."""
    return call_named(builder, f"{name}.{suffix(result)}", result, *arguments)


def call_named(builder, name, result, *arguments):
    """Call the LLVM intrinsic of this name."""
    fnty = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, fnty, name), arguments)


def suffix(vector):
    """How LLVM writes a vector type in an intrinsic's name."""
    element = vector.element
    bits = {ir.FloatType(): "f32", ir.DoubleType(): "f64"}.get(element) or f"i{element.width}"
    return f"v{vector.count}{bits}"


def as_vector(context, builder, value, kind, vector):
    """An operand as a vector: itself, or a number in every lane."""
    if isinstance(kind, Vector):
        return value
    number = context.cast(builder, value, kind, vector.dtype)
    return splat_lanes(builder, number, context.get_value_type(vector))


def count_mask(builder, count, lanes):
    """The mask of the first `count` of so many lanes."""
    integers = ir.VectorType(ir.IntType(32), lanes)
    bound = splat_lanes(builder, builder.trunc(count, ir.IntType(32)), integers)
    return builder.icmp_signed("<", ir.Constant(integers, list(range(lanes))), bound)


def shuffled(builder, a, b, lanes):
    """The lanes of a, and after them those of b, in the order of `lanes`."""
    order = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
    return builder.shuffle_vector(a, b, order)
