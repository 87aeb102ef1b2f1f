"""Arithmetic, lane by lane (+, -, *, /, comparisons, with vectors or numbers) and across lanes."""

import operator

from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_builtin
from numba.extending import intrinsic, type_callable

from softstep.kernels._numba.simd.vector.model import (
    Vector,
    as_vector,
    call_overloaded,
    count_mask,
    shuffled,
    splat_lanes,
    vector_of,
)


def _arithmetic(op, emit, compares=False):
    """Give Numba the operator for a vector with a vector or a number."""

    @type_callable(op)
    def _typing(context):
        def typer(a, b):
            vectors = [t for t in (a, b) if isinstance(t, Vector)]
            if not vectors or not all(isinstance(t, Vector | types.Number) for t in (a, b)):
                return None
            return Vector(types.boolean, vectors[0].lanes) if compares else vectors[0]

        return typer

    def lower(context, builder, sig, args):
        vector = next(t for t in sig.args if isinstance(t, Vector))
        a, b = (
            as_vector(context, builder, v, t, vector) for v, t in zip(args, sig.args, strict=True)
        )
        return emit(builder, a, b)

    for kinds in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(op, *kinds)(lower)


_arithmetic(operator.add, lambda b, x, y: b.fadd(x, y))
_arithmetic(operator.sub, lambda b, x, y: b.fsub(x, y))
_arithmetic(operator.mul, lambda b, x, y: b.fmul(x, y))
_arithmetic(operator.truediv, lambda b, x, y: b.fdiv(x, y))
_arithmetic(operator.gt, lambda b, x, y: b.fcmp_ordered(">", x, y), compares=True)
_arithmetic(operator.lt, lambda b, x, y: b.fcmp_ordered("<", x, y), compares=True)
_arithmetic(operator.eq, lambda b, x, y: b.fcmp_ordered("==", x, y), compares=True)
_arithmetic(operator.and_, lambda b, x, y: b.and_(x, y))


@type_callable(operator.neg)
def _negation(context):
    return lambda x: x if isinstance(x, Vector) else None


@lower_builtin(operator.neg, Vector)
def _lower_negation(context, builder, sig, args):
    return builder.fneg(args[0])


@intrinsic
def fma(typingctx, a, b, c):
    """a·b + c, rounded once where the processor can, else twice."""

    def emit(context, builder, sig, args):
        vector = context.get_value_type(sig.return_type)
        a, b, c = (
            as_vector(context, builder, v, t, sig.return_type)
            for v, t in zip(args, sig.args, strict=True)
        )
        return call_overloaded(builder, "llvm.fmuladd", vector, a, b, c)

    vector = next(t for t in (a, b, c) if isinstance(t, Vector))
    return vector(a, b, c), emit


@intrinsic
def maximum(typingctx, a, b):
    """The larger of each lane; b where one is NaN."""

    def emit(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return a(a, b), emit


@intrinsic
def select(typingctx, mask, a, b):
    """a where the mask is true, b elsewhere."""

    def emit(context, builder, sig, args):
        a, b = (
            as_vector(context, builder, v, t, sig.return_type)
            for v, t in zip(args[1:], sig.args[1:], strict=True)
        )
        return builder.select(args[0], a, b)

    return (a if isinstance(a, Vector) else b)(mask, a, b), emit


@intrinsic
def filled(typingctx, array, value):
    """A number in every lane of a vector as `load` reads it from the array."""

    def emit(context, builder, sig, args):
        return as_vector(context, builder, args[1], sig.args[1], sig.return_type)

    return vector_of(array.dtype)(array, value), emit


@intrinsic
def splat(typingctx, value):
    """A float32 or float64 number in every lane."""

    def emit(context, builder, sig, args):
        return splat_lanes(builder, args[0], context.get_value_type(sig.return_type))

    return vector_of(value)(value), emit


@intrinsic
def first_lanes(typingctx, like, count):
    """The mask of the first `count` lanes of vectors as `like`."""

    def emit(context, builder, sig, args):
        return count_mask(builder, args[1], sig.return_type.lanes)

    return Vector(types.boolean, like.lanes)(like, types.int64), emit


@intrinsic
def is_lane(typingctx, like, number):
    """The mask of lane `number` of vectors as `like`; of none where there is no such lane."""

    def emit(context, builder, sig, args):
        integers = ir.VectorType(ir.IntType(64), like.lanes)
        lanes = ir.Constant(integers, list(range(like.lanes)))
        return builder.icmp_signed("==", lanes, splat_lanes(builder, args[1], integers))

    return Vector(types.boolean, like.lanes)(like, types.int64), emit


@intrinsic
def lanes_of(typingctx, array):
    """How many lanes the vectors have that `load` reads from the array: a constant."""
    lanes = vector_of(array.dtype).lanes

    def emit(context, builder, sig, args):
        return ir.Constant(ir.IntType(64), lanes)

    return types.int64(array), emit


@intrinsic
def is_double(typingctx, x):
    """Whether a vector is of float64: a constant, so that only one branch is compiled."""

    def emit(context, builder, sig, args):
        return ir.Constant(ir.IntType(1), int(x.dtype == types.float64))

    return types.boolean(x), emit


@intrinsic
def every(typingctx, mask):
    """Whether all lanes of a mask are true."""

    def emit(context, builder, sig, args):
        bits = ir.IntType(sig.args[0].lanes)
        return builder.icmp_unsigned("==", builder.bitcast(args[0], bits), ir.Constant(bits, -1))

    return types.boolean(mask), emit


def _halved(builder, value, combine):
    """One lane out of all, by halves: the same tree for every vector."""
    lanes = value.type.count
    while lanes > 1:
        lanes //= 2
        low = shuffled(builder, value, value, range(lanes))
        high = shuffled(builder, value, value, range(lanes, 2 * lanes))
        value = combine(low, high)
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


@intrinsic
def lane_sum(typingctx, x):
    """The sum of the lanes."""

    def emit(context, builder, sig, args):
        return _halved(builder, args[0], builder.fadd)

    return x.dtype(x), emit


@intrinsic
def lane_sum_in_two(typingctx, x, error):
    """The sum of the lanes of x, and its rounding errors with the lanes of `error` (TwoSum)."""

    def combine(builder, low, high):
        (a, a_error), (b, b_error) = low, high
        total = builder.fadd(a, b)
        part = builder.fsub(total, a)
        lost = builder.fadd(builder.fsub(a, builder.fsub(total, part)), builder.fsub(b, part))
        return total, builder.fadd(builder.fadd(a_error, b_error), lost)

    def emit(context, builder, sig, args):
        lanes, both = x.lanes, tuple(args)
        while lanes > 1:
            lanes //= 2
            low, high = (
                tuple(shuffled(builder, v, v, range(k, k + lanes)) for v in both)
                for k in (0, lanes)
            )
            both = combine(builder, low, high)
        zero = ir.Constant(ir.IntType(32), 0)
        parts = [builder.extract_element(v, zero) for v in both]
        return context.make_tuple(builder, sig.return_type, parts)

    return types.UniTuple(x.dtype, 2)(x, error), emit


@intrinsic
def lane_max(typingctx, x):
    """The largest of the lanes."""

    def emit(context, builder, sig, args):
        def larger(a, b):
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        return _halved(builder, args[0], larger)

    return x.dtype(x), emit
