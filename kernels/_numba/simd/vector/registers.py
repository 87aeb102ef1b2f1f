"""Blocks of vectors that the compiler keeps in registers, if the loops over them are constant."""

import operator

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin
from numba.extending import intrinsic, type_callable

from softstep.kernels._numba.simd.vector.model import Registers, Vector, shuffled, vector_of


@intrinsic(prefer_literal=True)
def registers(typingctx, array, rows, columns):
    """rows × columns vectors of the array's dtype, all zero; both must be constants."""
    if not (isinstance(rows, types.Literal) and isinstance(columns, types.Literal)):
        return None
    vector = vector_of(array.dtype)
    block = Registers(vector, rows.literal_value, columns.literal_value)

    def emit(context, builder, sig, args):
        kind = context.get_value_type(vector)
        count = ir.Constant(ir.IntType(32), block.rows * block.columns)
        pointer = cgutils.alloca_once(builder, kind, size=count)
        for i in range(block.rows * block.columns):
            slot = builder.gep(pointer, [ir.Constant(ir.IntType(32), i)], source_etype=kind)
            builder.store(ir.Constant(kind, [0.0] * vector.lanes), slot)
        return pointer

    return block(array, rows, columns), emit


@intrinsic
def square(typingctx, array):
    """`lanes` × 1 vectors of the array's dtype, not set."""
    vector = vector_of(array.dtype)

    def emit(context, builder, sig, args):
        count = ir.Constant(ir.IntType(32), vector.lanes)
        return cgutils.alloca_once(builder, context.get_value_type(vector), size=count)

    return Registers(vector, vector.lanes, 1)(array), emit


def _slot(context, builder, sig, args):
    """The address of block[row, column], the first two arguments."""
    kind = sig.args[0]
    row, column = (
        context.cast(builder, i, t, types.int64)
        for i, t in zip(cgutils.unpack_tuple(builder, args[1]), sig.args[1], strict=True)
    )
    at = builder.add(builder.mul(row, ir.Constant(row.type, kind.columns)), column)
    return builder.gep(args[0], [at], source_etype=context.get_value_type(kind.vector))


@type_callable(operator.getitem)
def _registers_getitem(context):
    def typer(block, index):
        return block.vector if isinstance(block, Registers) else None

    return typer


@lower_builtin(operator.getitem, Registers, types.BaseTuple)
def _lower_getitem(context, builder, sig, args):
    return builder.load(_slot(context, builder, sig, args))


@type_callable(operator.setitem)
def _registers_setitem(context):
    def typer(block, index, value):
        return types.void if isinstance(block, Registers) else None

    return typer


@lower_builtin(operator.setitem, Registers, types.BaseTuple, Vector)
def _lower_setitem(context, builder, sig, args):
    builder.store(args[2], _slot(context, builder, sig, args))
    return context.get_dummy_value()


def _slots(context, builder, kind, pointer):
    """All vectors of a block."""
    vector = context.get_value_type(kind.vector)
    for i in range(kind.rows * kind.columns):
        at = ir.Constant(ir.IntType(32), i)
        yield builder.load(builder.gep(pointer, [at], source_etype=vector))


@intrinsic
def lane_sums(typingctx, block):
    """The vector of the sums of `lanes` × 1 vectors: lane i is the sum of the lanes of vector i.

    Pairs of vectors are folded into one, so that sixteen sums take fifteen additions; each sum is
    taken by halves, as by `lane_sum`.
    """

    def emit(context, builder, sig, args):
        lanes = width = block.vector.lanes
        group = list(_slots(context, builder, block, args[0]))
        while len(group) > 1:
            # each vector holds runs of `width` lanes, one run for each sum
            half = width // 2
            low = [i for i in range(2 * lanes) if i % width < half]
            high = [i for i in range(2 * lanes) if i % width >= half]
            group = [
                builder.fadd(shuffled(builder, a, b, low), shuffled(builder, a, b, high))
                for a, b in zip(group[::2], group[1::2], strict=True)
            ]
            width = half
        return group[0]

    return block.vector(block), emit


@intrinsic
def transpose(typingctx, block):
    """Exchange rows and lanes of `lanes` × 1 vectors, in place."""

    def emit(context, builder, sig, args):
        lanes = block.vector.lanes
        vectors = list(_slots(context, builder, block, args[0]))
        half = 1
        while half < lanes:
            # exchange the half × half blocks beside the diagonal
            low = [i if not i & half else i - half + lanes for i in range(lanes)]
            high = [i + half if not i & half else i + lanes for i in range(lanes)]
            exchanged = list(vectors)
            for i in range(lanes):
                if not i & half:
                    exchanged[i] = shuffled(builder, vectors[i], vectors[i + half], low)
                    exchanged[i + half] = shuffled(builder, vectors[i], vectors[i + half], high)
            vectors, half = exchanged, 2 * half
        for i, vector in enumerate(vectors):
            at = ir.Constant(ir.IntType(32), i)
            builder.store(vector, builder.gep(args[0], [at], source_etype=vector.type))
        return context.get_dummy_value()

    return types.void(block), emit
