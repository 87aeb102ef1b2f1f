"""Whole numbers and powers of two in the bits of vectors; float32 to float64 and back."""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from softstep.kernels._numba.simd.vector.model import (
    PERMUTE,
    Vector,
    as_vector,
    call_named,
    call_overloaded,
    llvm_vector,
    vector_of,
)


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


@intrinsic(prefer_literal=True)
def times_power(typingctx, h, shifted, parts):
    """h 2^⌊n / parts⌋ for normal h and shifted = n + 1.5 · 2^23 (in float64, 2^52): from the bits.

    `parts` is a constant power of two.
    """

    def emit(context, builder, sig, args):
        bits, mantissa = (64, 52) if shifted.dtype == types.float64 else (32, 23)
        integers = ir.VectorType(ir.IntType(bits), shifted.lanes)

        def constant(number):
            return ir.Constant(integers, [number] * shifted.lanes)

        left = mantissa - (parts.literal_value.bit_length() - 1)
        power = builder.shl(builder.bitcast(args[1], integers), constant(left))
        power = builder.and_(power, constant(-(1 << mantissa)))
        factor = as_vector(context, builder, args[0], sig.args[0], sig.return_type)
        return builder.bitcast(builder.add(builder.bitcast(factor, integers), power), factor.type)

    return shifted(h, shifted, parts), emit


@intrinsic
def entry(typingctx, table, shifted):
    """table[n mod its length] in each lane, n in the lowest bits of shifted; 8 or 16 constants."""

    def emit(context, builder, sig, args):
        size, vector = sig.args[0].count, args[1].type
        values = ir.Constant(ir.VectorType(vector.element, size), ir.Undefined)
        for i in range(size):
            number = builder.fptrunc(builder.extract_value(args[0], i), vector.element)
            values = builder.insert_element(values, number, ir.Constant(ir.IntType(32), i))
        bits = 64 if shifted.dtype == types.float64 else 32
        integers = ir.VectorType(ir.IntType(bits), vector.count)
        index = builder.bitcast(args[1], integers)
        if PERMUTE and size == vector.count and bits == 32:
            return call_named(builder, PERMUTE, vector, values, index)
        index = builder.and_(index, ir.Constant(integers, [size - 1] * vector.count))
        found = ir.Constant(vector, ir.Undefined)
        for i in (ir.Constant(ir.IntType(32), lane) for lane in range(vector.count)):
            one = builder.extract_element(values, builder.extract_element(index, i))
            found = builder.insert_element(found, one, i)
        return found

    return shifted(table, shifted), emit


@intrinsic
def widened(typingctx, x):
    """A vector as one of float64, of as many lanes."""

    def emit(context, builder, sig, args):
        if x.dtype == types.float64:
            return args[0]
        return builder.fpext(args[0], llvm_vector(sig.return_type))

    return Vector(types.float64, x.lanes)(x), emit


@intrinsic
def rounded_for(typingctx, array, x):
    """A vector of float64 in the precision in which `load` reads the array."""
    vector = Vector(vector_of(array.dtype).dtype, x.lanes)

    def emit(context, builder, sig, args):
        narrow = llvm_vector(vector)
        return args[1] if narrow == args[1].type else builder.fptrunc(args[1], narrow)

    return vector(array, x), emit


@intrinsic
def rounded_as(typingctx, x, array):
    """x rounded to the precision in which `load` reads the array; a vector as before."""

    def emit(context, builder, sig, args):
        narrow = llvm_vector(Vector(vector_of(array.dtype).dtype, x.lanes))
        if narrow == args[0].type:
            return args[0]
        return builder.fpext(builder.fptrunc(args[0], narrow), args[0].type)

    return x(x, array), emit


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
