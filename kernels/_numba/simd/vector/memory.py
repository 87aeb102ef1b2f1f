"""Loads and stores of vectors. Nothing here checks bounds: buffers are padded to whole vectors."""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from softstep.kernels._numba.simd.vector.model import (
    HAS_HALF,
    call_named,
    count_mask,
    llvm_number,
    suffix,
    vector_of,
)


def address(context, builder, kind, value, indices):
    """The address of an entry, by the array's strides: leading indices may be left out."""
    array = context.make_array(kind)(context, builder, value)
    strides = cgutils.unpack_tuple(builder, array.strides, kind.ndim)
    offset = ir.Constant(ir.IntType(64), 0)
    for axis, index in enumerate(indices):
        last = axis == kind.ndim - 1 and kind.layout == "C"
        stride = ir.Constant(ir.IntType(64), kind.dtype.bitwidth // 8) if last else strides[axis]
        offset = builder.add(offset, builder.mul(index, stride))
    return cgutils.pointer_add(builder, array.data, offset, array.data.type)


def _index_types(index):
    count = len(index) if isinstance(index, types.BaseTuple) else 1
    return types.UniTuple(types.int64, count) if count > 1 else types.int64


def _entry(context, builder, sig, args, pointee=None):
    """The address of array[index], the first two arguments; as that of a `pointee`."""
    index = args[1]
    indices = (
        cgutils.unpack_tuple(builder, index)
        if isinstance(sig.args[1], types.BaseTuple)
        else [index]
    )
    at = address(context, builder, sig.args[0], args[0], indices)
    return at if pointee is None else builder.bitcast(at, pointee.as_pointer())


def _raw(dtype, lanes):
    if dtype in (types.float32, types.float64):
        return ir.VectorType(llvm_number(dtype), lanes)
    return ir.VectorType(ir.IntType(dtype.bitwidth), lanes)


def _widened(builder, raw, dtype, vector):
    """What was read, as a vector of float32 or of float64."""
    if vector.element == ir.DoubleType() and dtype != types.float64:
        single = ir.VectorType(ir.FloatType(), vector.count)
        return builder.fpext(_widened(builder, raw, dtype, single), vector)
    if dtype == types.uint8:
        return builder.uitofp(raw, vector)
    if dtype == types.int8:
        return builder.sitofp(raw, vector)
    if dtype == types.int16:
        return _bfloat_by_integers(builder, raw, vector)
    if dtype == types.uint16 and HAS_HALF:
        half = ir.VectorType(ir.HalfType(), vector.count)
        return builder.fpext(builder.bitcast(raw, half), vector)
    if dtype == types.uint16:
        return _half_by_integers(builder, raw, vector)
    return raw


def _bfloat_by_integers(builder, raw, vector):
    """bfloat16 to float32, of which it is the first half."""
    integers = ir.VectorType(ir.IntType(32), vector.count)
    half = ir.Constant(integers, [16] * vector.count)
    return builder.bitcast(builder.shl(builder.zext(raw, integers), half), vector)


def _half_by_integers(builder, raw, vector):
    """float16 to float32: move the fields into place, scale the exponent; inf and NaN apart."""
    integers = ir.VectorType(ir.IntType(32), vector.count)

    def constant(number, kind=integers):
        return ir.Constant(kind, [number] * vector.count)

    bits = builder.zext(raw, integers)
    magnitude = builder.shl(builder.and_(bits, constant(0x7FFF)), constant(13))
    sign = builder.shl(builder.and_(bits, constant(0x8000)), constant(16))
    scaled = builder.fmul(builder.bitcast(magnitude, vector), constant(2.0**112, vector))
    special = builder.bitcast(builder.or_(magnitude, constant(0x7F800000)), vector)
    is_special = builder.icmp_unsigned(">=", magnitude, constant(0x0F800000))
    value = builder.select(is_special, special, scaled)
    return builder.bitcast(builder.or_(builder.bitcast(value, integers), sign), vector)


@intrinsic
def load(typingctx, array, index):
    """The vector that begins at array[index], contiguous in memory."""
    vector = vector_of(array.dtype)

    def emit(context, builder, sig, args):
        return _loaded(context, builder, sig, args, vector)

    return vector(array, _index_types(index)), emit


@intrinsic
def load_first(typingctx, array, index, count):
    """The first `count` lanes from array[index]; nothing else is read; the others are 0."""
    vector = vector_of(array.dtype)

    def emit(context, builder, sig, args):
        return _loaded(context, builder, sig, args, vector, args[2])

    return vector(array, _index_types(index), types.int64), emit


@intrinsic
def load_for(typingctx, array, index, out):
    """As `load`, in the lanes of the array `out`."""
    vector = vector_of(out.dtype)

    def emit(context, builder, sig, args):
        return _loaded(context, builder, sig, args, vector)

    return vector(array, _index_types(index), out), emit


@intrinsic
def load_first_for(typingctx, array, index, count, out):
    """As `load_first`, in the lanes of the array `out`."""
    vector = vector_of(out.dtype)

    def emit(context, builder, sig, args):
        return _loaded(context, builder, sig, args, vector, args[2])

    return vector(array, _index_types(index), types.int64, out), emit


def _loaded(context, builder, sig, args, vector, count=None):
    """A vector from array[index], the first two arguments; of its first `count` lanes."""
    dtype = sig.args[0].dtype
    raw = _raw(dtype, vector.lanes)
    at = _entry(context, builder, sig, args, raw)
    read = builder.load(at, align=1) if count is None else _masked_load(builder, at, raw, count)
    return _widened(builder, read, dtype, context.get_value_type(vector))


def _masked_load(builder, at, raw, count):
    mask, align = count_mask(builder, count, raw.count), ir.Constant(ir.IntType(32), 1)
    zero = ir.Constant(raw, [0] * raw.count)
    name = f"llvm.masked.load.{suffix(raw)}.p0"
    return call_named(builder, name, raw, at, align, mask, zero)


def _masked_store(builder, at, value, count):
    mask, align = count_mask(builder, count, value.type.count), ir.Constant(ir.IntType(32), 1)
    name = f"llvm.masked.store.{suffix(value.type)}.p0"
    call_named(builder, name, ir.VoidType(), value, at, align, mask)


@intrinsic
def load_doubles(typingctx, array, index):
    """A vector of float64."""
    vector = vector_of(types.float64)

    def emit(context, builder, sig, args):
        return _loaded(context, builder, sig, args, vector)

    return vector(array, _index_types(index)), emit


@intrinsic
def store(typingctx, array, index, vector):
    """Write a vector to array[index] and what follows, contiguous in memory."""

    def emit(context, builder, sig, args):
        builder.store(args[2], _entry(context, builder, sig, args, args[2].type), align=1)
        return context.get_dummy_value()

    return types.void(array, _index_types(index), vector), emit


@intrinsic
def store_first(typingctx, array, index, vector, count):
    """Write the first `count` lanes only."""

    def emit(context, builder, sig, args):
        at = _entry(context, builder, sig, args, args[2].type)
        _masked_store(builder, at, args[2], args[3])
        return context.get_dummy_value()

    return types.void(array, _index_types(index), vector, types.int64), emit


@intrinsic
def prefetch(typingctx, array, index):
    """Ask for the cache line of array[index] in the second-level cache; any address is allowed.

    The first level has few places for lines on their way: measured, 20 GB/s against 9 from there.
    """

    def emit(context, builder, sig, args):
        at = _entry(context, builder, sig, args, ir.IntType(8))
        read, keep, data = (ir.Constant(ir.IntType(32), n) for n in (0, 2, 1))
        call_named(builder, "llvm.prefetch.p0", ir.VoidType(), at, read, keep, data)
        return context.get_dummy_value()

    return types.void(array, _index_types(index)), emit


@intrinsic
def keep_order(typingctx):
    """What is read before this is read before what is read after it.

    LLVM would read as early as it can, and then has no registers left for sums.
    """

    def emit(context, builder, sig, args):
        nothing = ir.FunctionType(ir.VoidType(), [])
        builder.call(ir.InlineAsm(nothing, "", "~{memory}", side_effect=True), [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def scalar(typingctx, array, index):
    """array[index] as the number it is computed in."""

    def emit(context, builder, sig, args):
        return builder.load(_entry(context, builder, sig, args))

    return array.dtype(array, _index_types(index)), emit
