"""Whole numbers and powers of two in the bits of vectors; float32 to float64 and back."""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from softstep.kernels._numba.simd.vector.model import Vector, call_overloaded, llvm_vector


@intrinsic
def rint(typingctx, x):
    """The nearest whole number, the even one of two."""

    def emit(context, builder, sig, args):
        return call_overloaded(builder, "llvm.rint", args[0].type, args[0])

    return x(x), emit


@intrinsic
def power_of_two(typingctx, n):
    """2^n for whole n within the exponents of normal numbers."""

    def emit(context, builder, sig, args):
        bits, mantissa, bias = (64, 52, 1023) if n.dtype == types.float64 else (32, 23, 127)
        integers = ir.VectorType(ir.IntType(bits), n.lanes)

        def constant(number):
            return ir.Constant(integers, [number] * n.lanes)

        exponent = builder.add(builder.fptosi(args[0], integers), constant(bias))
        return builder.bitcast(builder.shl(exponent, constant(mantissa)), args[0].type)

    return n(n), emit


@intrinsic
def power_of_rounded(typingctx, shifted):
    """2^n for shifted = n + 1.5·2^23 in float32: from the bits, without a conversion."""

    def emit(context, builder, sig, args):
        integers = ir.VectorType(ir.IntType(32), shifted.lanes)
        bias, mantissa = (ir.Constant(integers, [k] * shifted.lanes) for k in (127, 23))
        exponent = builder.add(builder.bitcast(args[0], integers), bias)
        return builder.bitcast(builder.shl(exponent, mantissa), args[0].type)

    return shifted(shifted), emit


@intrinsic
def widened(typingctx, x):
    """A vector of float32 as one of float64, of as many lanes."""

    def emit(context, builder, sig, args):
        return builder.fpext(args[0], llvm_vector(sig.return_type))

    return Vector(types.float64, x.lanes)(x), emit


@intrinsic
def narrowed(typingctx, x):
    """A vector of float64 rounded to one of float32, of as many lanes."""

    def emit(context, builder, sig, args):
        return builder.fptrunc(args[0], llvm_vector(sig.return_type))

    return Vector(types.float32, x.lanes)(x), emit


@intrinsic
def exponent_and_fraction(typingctx, x):
    """(n, f) with x = 2^n f and 1 <= f < 2, for normal x > 0."""

    def emit(context, builder, sig, args):
        bits, mantissa, bias = (64, 52, 1023) if x.dtype == types.float64 else (32, 23, 127)
        integers = ir.VectorType(ir.IntType(bits), x.lanes)

        def constant(number):
            return ir.Constant(integers, [number] * x.lanes)

        raw = builder.bitcast(args[0], integers)
        exponent = builder.sub(builder.lshr(raw, constant(mantissa)), constant(bias))
        fraction = builder.and_(raw, constant((1 << mantissa) - 1))
        fraction = builder.or_(fraction, constant(bias << mantissa))
        pair = builder.sitofp(exponent, args[0].type), builder.bitcast(fraction, args[0].type)
        return context.make_tuple(builder, sig.return_type, pair)

    return types.UniTuple(x, 2)(x), emit
