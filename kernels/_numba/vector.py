"""A vector register as a Numba type: kernels say in plain loops what the processor does.

`load` widens as it reads: float32 and float64 as they are, uint8 and float16 (as its bits, uint16)
to float32. Vectors take +, -, *, / with vectors and numbers, comparisons give masks. `registers`
is a block of vectors that the compiler keeps in registers, if the loops over it have constant
bounds. Nothing here checks bounds: buffers are padded to whole vectors.
"""

import operator
import platform

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_builtin
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model, type_callable

_CPU_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2].split(",")


def _has(feature):
    return f"+{feature}" in _CPU_FEATURES


# Bytes of a vector register, of the processor Numba compiles for (NUMBA_CPU_FEATURES counts).
BYTES = 64 if _has("avx512f") else 32 if _has("avx2") else 16
HAS_HALF = _has("f16c") or _has("avx512f") or _has("fullfp16")
LANES = BYTES // 4  # of float32; float64 has half as many
REGISTERS = 32 if _has("avx512f") or platform.machine() in ("arm64", "aarch64") else 16


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


def _llvm(dtype):
    bits = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
    return bits.get(dtype, ir.IntType(1))


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(_llvm(fe_type.dtype), fe_type.lanes))


@register_model(Registers)
class _RegistersModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        vector = ir.VectorType(_llvm(fe_type.vector.dtype), fe_type.vector.lanes)
        super().__init__(dmm, fe_type, vector.as_pointer())


def _vector_of(dtype):
    """The vector in which values of this dtype are computed."""
    wide = types.float64 if dtype == types.float64 else types.float32
    return Vector(wide, BYTES // (8 if wide == types.float64 else 4))


def _splat(builder, value, vector):
    first = builder.insert_element(
        ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
    )
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), mask)


def _call(builder, name, result, *arguments):
    """Call an LLVM intrinsic that is overloaded on its result."""
    return _call_named(builder, f"{name}.{_suffix(result)}", result, *arguments)


def _call_named(builder, name, result, *arguments):
    fnty = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, fnty, name), arguments)


def _suffix(vector):
    """How LLVM writes a vector type in an intrinsic's name."""
    element = vector.element
    bits = {ir.FloatType(): "f32", ir.DoubleType(): "f64"}.get(element) or f"i{element.width}"
    return f"v{vector.count}{bits}"


# Arithmetic: vector with vector, vector with number.


def _number(context, builder, value, kind, vector):
    """An operand as a vector: itself, or a number in every lane."""
    if isinstance(kind, Vector):
        return value
    scalar = context.cast(builder, value, kind, vector.dtype)
    return _splat(builder, scalar, context.get_value_type(vector))


def _arithmetic(op, emit, compares=False):
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
            _number(context, builder, v, t, vector) for v, t in zip(args, sig.args, strict=True)
        )
        return emit(builder, a, b, vector)

    for kinds in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(op, *kinds)(lower)


_arithmetic(operator.add, lambda b, x, y, _: b.fadd(x, y))
_arithmetic(operator.sub, lambda b, x, y, _: b.fsub(x, y))
_arithmetic(operator.mul, lambda b, x, y, _: b.fmul(x, y))
_arithmetic(operator.truediv, lambda b, x, y, _: b.fdiv(x, y))
_arithmetic(operator.gt, lambda b, x, y, _: b.fcmp_ordered(">", x, y), compares=True)
_arithmetic(operator.lt, lambda b, x, y, _: b.fcmp_ordered("<", x, y), compares=True)
_arithmetic(operator.eq, lambda b, x, y, _: b.fcmp_ordered("==", x, y), compares=True)
_arithmetic(operator.and_, lambda b, x, y, _: b.and_(x, y))


@intrinsic
def fma(typingctx, a, b, c):
    """a·b + c, rounded once where the processor can, else twice."""

    def emit(context, builder, sig, args):
        vector = context.get_value_type(sig.return_type)
        a, b, c = (
            _number(context, builder, v, t, sig.return_type)
            for v, t in zip(args, sig.args, strict=True)
        )
        return _call(builder, "llvm.fmuladd", vector, a, b, c)

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
            _number(context, builder, v, t, sig.return_type)
            for v, t in zip(args[1:], sig.args[1:], strict=True)
        )
        return builder.select(args[0], a, b)

    return (a if isinstance(a, Vector) else b)(mask, a, b), emit


@intrinsic
def filled(typingctx, array, value):
    """A number in every lane of a vector as `load` reads it from the array."""

    def emit(context, builder, sig, args):
        return _number(context, builder, args[1], sig.args[1], sig.return_type)

    return _vector_of(array.dtype)(array, value), emit


@intrinsic
def splat(typingctx, value):
    """A float32 or float64 number in every lane."""

    def emit(context, builder, sig, args):
        return _splat(builder, args[0], context.get_value_type(sig.return_type))

    return _vector_of(value)(value), emit


@intrinsic
def first_lanes(typingctx, like, count):
    """The mask of the first `count` lanes of vectors as `like`."""

    def emit(context, builder, sig, args):
        return _count_mask(builder, args[1], sig.return_type.lanes)

    return Vector(types.boolean, like.lanes)(like, types.int64), emit


@intrinsic
def lanes_of(typingctx, array):
    """How many lanes the vectors have that `load` reads from the array: a constant."""
    lanes = _vector_of(array.dtype).lanes

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


@intrinsic
def rint(typingctx, x):
    """The nearest whole number, the even one of two."""

    def emit(context, builder, sig, args):
        return _call(builder, "llvm.rint", args[0].type, args[0])

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
    """2^n for shifted = n + 1.5·2^52, in float32 n + 1.5·2^23: from the bits, not by conversion."""

    def emit(context, builder, sig, args):
        bits, mantissa, bias = (64, 52, 1023) if shifted.dtype == types.float64 else (32, 23, 127)
        integers = ir.VectorType(ir.IntType(bits), shifted.lanes)
        bias, mantissa = (ir.Constant(integers, [k] * shifted.lanes) for k in (bias, mantissa))
        exponent = builder.add(builder.bitcast(args[0], integers), bias)
        return builder.bitcast(builder.shl(exponent, mantissa), args[0].type)

    return shifted(shifted), emit


@intrinsic
def widened(typingctx, x):
    """A vector of float32 as one of float64, of as many lanes."""

    def emit(context, builder, sig, args):
        return builder.fpext(args[0], _type_of(sig.return_type))

    return Vector(types.float64, x.lanes)(x), emit


@intrinsic
def narrowed(typingctx, x):
    """A vector of float64 rounded to one of float32, of as many lanes."""

    def emit(context, builder, sig, args):
        return builder.fptrunc(args[0], _type_of(sig.return_type))

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


def _halved(builder, value, combine):
    """One lane out of all, by halves: the same tree for every vector."""
    lanes = value.type.count
    while lanes > 1:
        lanes //= 2
        low, high = (
            builder.shuffle_vector(
                value, value, ir.Constant(ir.VectorType(ir.IntType(32), lanes), range_)
            )
            for range_ in (list(range(lanes)), list(range(lanes, 2 * lanes)))
        )
        value = combine(low, high)
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


@intrinsic
def lane_sum(typingctx, x):
    """The sum of the lanes."""

    def emit(context, builder, sig, args):
        return _halved(builder, args[0], builder.fadd)

    return x.dtype(x), emit


@intrinsic
def lane_max(typingctx, x):
    """The largest of the lanes."""

    def emit(context, builder, sig, args):
        def larger(a, b):
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        return _halved(builder, args[0], larger)

    return x.dtype(x), emit


# Memory.


def _pointer(context, builder, kind, value, indices):
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


def _indices(builder, kind, value):
    return cgutils.unpack_tuple(builder, value) if isinstance(kind, types.BaseTuple) else [value]


def _raw(dtype, lanes):
    if dtype in (types.float32, types.float64):
        return ir.VectorType(_llvm(dtype), lanes)
    return ir.VectorType(ir.IntType(dtype.bitwidth), lanes)


def _widened(builder, raw, dtype, vector):
    """What was read, as float32."""
    if dtype == types.uint8:
        return builder.uitofp(raw, vector)
    if dtype == types.uint16 and HAS_HALF:
        half = ir.VectorType(ir.HalfType(), vector.count)
        return builder.fpext(builder.bitcast(raw, half), vector)
    if dtype == types.uint16:
        return _half_by_integers(builder, raw, vector)
    return raw


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

    def emit(context, builder, sig, args):
        kind, vector = sig.args[0], sig.return_type
        raw = _raw(kind.dtype, vector.lanes)
        at = _pointer(context, builder, kind, args[0], _indices(builder, sig.args[1], args[1]))
        read = builder.load(builder.bitcast(at, raw.as_pointer()), align=1)
        return _widened(builder, read, kind.dtype, context.get_value_type(vector))

    return _vector_of(array.dtype)(array, _index_types(index)), emit


@intrinsic
def load_first(typingctx, array, index, count):
    """The first `count` lanes from array[index]; nothing else is read; the others are 0."""

    def emit(context, builder, sig, args):
        kind, vector = sig.args[0], sig.return_type
        raw = _raw(kind.dtype, vector.lanes)
        at = _pointer(context, builder, kind, args[0], _indices(builder, sig.args[1], args[1]))
        got = _masked_load(builder, at, raw, args[2])
        return _widened(builder, got, kind.dtype, context.get_value_type(vector))

    return _vector_of(array.dtype)(array, _index_types(index), types.int64), emit


def _type_of(vector):
    return ir.VectorType(_llvm(vector.dtype), vector.lanes)


def _masked_load(builder, at, raw, count):
    mask, align = _count_mask(builder, count, raw.count), ir.Constant(ir.IntType(32), 1)
    zero = ir.Constant(raw, [0] * raw.count)
    name = f"llvm.masked.load.{_suffix(raw)}.p0"
    pointer = builder.bitcast(at, raw.as_pointer())
    return _call_named(builder, name, raw, pointer, align, mask, zero)


def _masked_store(builder, at, value, count):
    mask, align = _count_mask(builder, count, value.type.count), ir.Constant(ir.IntType(32), 1)
    name = f"llvm.masked.store.{_suffix(value.type)}.p0"
    pointer = builder.bitcast(at, value.type.as_pointer())
    _call_named(builder, name, ir.VoidType(), value, pointer, align, mask)


def _count_mask(builder, count, lanes):
    integers = ir.VectorType(ir.IntType(32), lanes)
    bound = _splat(builder, builder.trunc(count, ir.IntType(32)), integers)
    return builder.icmp_signed("<", ir.Constant(integers, list(range(lanes))), bound)


@intrinsic
def load_doubles(typingctx, array, index):
    """A vector of float64 from float32 or float64 numbers."""
    vector = _vector_of(types.float64)

    def emit(context, builder, sig, args):
        kind = sig.args[0]
        raw = _raw(kind.dtype, vector.lanes)
        at = _pointer(context, builder, kind, args[0], _indices(builder, sig.args[1], args[1]))
        got = builder.load(builder.bitcast(at, raw.as_pointer()), align=1)
        return got if raw.element == ir.DoubleType() else builder.fpext(got, _type_of(vector))

    return vector(array, _index_types(index)), emit


@intrinsic
def store(typingctx, array, index, vector):
    """Write a vector to array[index] and what follows, contiguous in memory."""

    def emit(context, builder, sig, args):
        at = _pointer(
            context, builder, sig.args[0], args[0], _indices(builder, sig.args[1], args[1])
        )
        builder.store(args[2], builder.bitcast(at, args[2].type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(array, _index_types(index), vector), emit


@intrinsic
def store_first(typingctx, array, index, vector, count):
    """Write the first `count` lanes only."""

    def emit(context, builder, sig, args):
        at = _pointer(
            context, builder, sig.args[0], args[0], _indices(builder, sig.args[1], args[1])
        )
        _masked_store(builder, at, args[2], args[3])
        return context.get_dummy_value()

    return types.void(array, _index_types(index), vector, types.int64), emit


@intrinsic
def prefetch(typingctx, array, index):
    """Ask for the cache line of array[index] in the second-level cache; any address is allowed.

    The first level has few places for lines on their way: measured, 20 GB/s against 9 from there.
    """

    def emit(context, builder, sig, args):
        at = _pointer(
            context, builder, sig.args[0], args[0], _indices(builder, sig.args[1], args[1])
        )
        at = builder.bitcast(at, ir.IntType(8).as_pointer())
        read, keep, data = (ir.Constant(ir.IntType(32), n) for n in (0, 2, 1))
        _call_named(builder, "llvm.prefetch.p0", ir.VoidType(), at, read, keep, data)
        return context.get_dummy_value()

    return types.void(array, _index_types(index)), emit


@intrinsic
def scalar(typingctx, array, index):
    """array[index] as the number it is computed in."""

    def emit(context, builder, sig, args):
        at = _pointer(
            context, builder, sig.args[0], args[0], _indices(builder, sig.args[1], args[1])
        )
        return builder.load(at)

    return array.dtype(array, _index_types(index)), emit


# Registers.


@intrinsic(prefer_literal=True)
def registers(typingctx, array, rows, columns):
    """rows × columns vectors of the array's dtype, all zero; both must be constants."""
    if not (isinstance(rows, types.Literal) and isinstance(columns, types.Literal)):
        return None
    vector = _vector_of(array.dtype)
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
    vector = _vector_of(array.dtype)

    def emit(context, builder, sig, args):
        count = ir.Constant(ir.IntType(32), vector.lanes)
        return cgutils.alloca_once(builder, context.get_value_type(vector), size=count)

    return Registers(vector, vector.lanes, 1)(array), emit


def _slot(context, builder, sig, args):
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


def _shuffled(builder, a, b, lanes):
    return builder.shuffle_vector(
        a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
    )


@intrinsic
def store_lane_sums(typingctx, block, array, index):
    """Write the sum of each vector of a block, row by row, from array[index] on.

    Writes whole vectors: up to a multiple of the lanes. Pairs of vectors are folded into one, so
    that sixteen sums take fifteen additions; each sum is taken by halves, as by `lane_sum`.
    """

    def emit(context, builder, sig, args):
        lanes = block.vector.lanes
        vectors = list(_slots(context, builder, block, args[0]))
        zero = ir.Constant(vectors[0].type, [0.0] * lanes)
        for start in range(0, len(vectors), lanes):
            group = vectors[start : start + lanes]
            group += [zero] * (lanes - len(group))
            width = lanes
            while len(group) > 1:
                # each vector holds runs of `width` lanes, one run for each sum
                half = width // 2
                low = [i for i in range(2 * lanes) if i % width < half]
                high = [i for i in range(2 * lanes) if i % width >= half]
                group = [
                    builder.fadd(_shuffled(builder, a, b, low), _shuffled(builder, a, b, high))
                    for a, b in zip(group[::2], group[1::2], strict=True)
                ]
                width = half
            at = builder.add(args[2], ir.Constant(ir.IntType(64), start))
            at = _pointer(context, builder, sig.args[1], args[1], [at])
            builder.store(group[0], builder.bitcast(at, group[0].type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(block, array, types.int64), emit


@intrinsic
def transpose(typingctx, block):
    """Exchange rows and lanes of `lanes` × 1 vectors, in place."""

    def emit(context, builder, sig, args):
        lanes = block.vector.lanes
        vectors = list(_slots(context, builder, block, args[0]))
        half = 1
        while half < lanes:
            # swap the blocks of half × half beside the diagonal
            low = [i if not i & half else i - half + lanes for i in range(lanes)]
            high = [i + half if not i & half else i + lanes for i in range(lanes)]
            swapped = list(vectors)
            for i in range(lanes):
                if not i & half:
                    swapped[i] = _shuffled(builder, vectors[i], vectors[i + half], low)
                    swapped[i + half] = _shuffled(builder, vectors[i], vectors[i + half], high)
            vectors, half = swapped, 2 * half
        for i, vector in enumerate(vectors):
            at = ir.Constant(ir.IntType(32), i)
            builder.store(vector, builder.gep(args[0], [at], source_etype=vector.type))
        return context.get_dummy_value()

    return types.void(block), emit
