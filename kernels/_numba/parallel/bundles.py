"""Bundles of arrays as the workers read them: in memory, without owners.

A tuple of arrays is some hundred numbers, which Numba hands on one by one, and LLVM moves as a
whole. Behind an address, a kernel reads the member it needs. And counting references to arrays that
all workers read costs as much as the arithmetic, as it is atomic: these have no owner to count for.
Whoever calls the kernel keeps the arrays alive.
"""

import hashlib

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, models, register_model

_ALIGNED = 8  # bytes: every member begins at a multiple


class Bundle(types.Type):
    """The address of the members of a named tuple."""

    def __init__(self, kind):
        self.kind = kind
        # short: it is part of the name of every function that takes one
        digest = hashlib.sha256(str(kind).encode()).hexdigest()[:16]
        super().__init__(f"{kind.instance_class.__name__}({digest})")

    def member(self, name):
        """Where a member stands in the tuple, and its type; that of a tuple is a bundle again."""
        position = self.kind.fields.index(name)
        kind = self.kind[position]
        return position, Bundle(kind) if isinstance(kind, types.BaseTuple) else kind


@register_model(Bundle)
class _BundleModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.IntType(8).as_pointer())


@infer_getattr
class _Members(AttributeTemplate):
    key = Bundle

    def generic_resolve(self, bundle, name):
        return bundle.member(name)[1] if name in bundle.kind.fields else None


@lower_getattr_generic(Bundle)
def _lower_member(context, builder, bundle, address, name):
    position, kind = bundle.member(name)
    at = cgutils.pointer_add(builder, address, _offsets(context, bundle.kind)[position])
    if isinstance(kind, Bundle):
        return at
    value = context.unpack_value(builder, kind, _as_pointer(context, builder, kind, at))
    return _without_owner(context, builder, kind, value)


@intrinsic
def in_memory(typingctx, kind):
    """A named tuple as a bundle, which lasts as long as the function that calls this."""

    def emit(context, builder, sig, args):
        size = ir.Constant(ir.IntType(32), _offsets(context, kind)[-1])
        address = cgutils.alloca_once(builder, ir.IntType(8), size=size)
        address.align = _ALIGNED
        _store(context, builder, kind, args[0], address)
        return address

    return Bundle(kind)(kind), emit


def _store(context, builder, kind, value, address):
    for position, inner in enumerate(kind):
        member = builder.extract_value(value, position)
        at = cgutils.pointer_add(builder, address, _offsets(context, kind)[position])
        if isinstance(inner, types.BaseTuple):
            _store(context, builder, inner, member, at)
        else:
            member = _without_owner(context, builder, inner, member)
            context.pack_value(builder, inner, member, _as_pointer(context, builder, inner, at))


def _offsets(context, kind):
    """Where each member of a named tuple begins, in bytes, and at last where the tuple ends."""
    offsets = [0]
    for inner in kind:
        if isinstance(inner, types.BaseTuple):
            size = _offsets(context, inner)[-1]
        else:
            size = context.get_abi_sizeof(context.get_data_type(inner))
        offsets.append(offsets[-1] + -(-size // _ALIGNED) * _ALIGNED)
    return offsets


def _as_pointer(context, builder, kind, address):
    return builder.bitcast(address, context.get_data_type(kind).as_pointer())


def _without_owner(context, builder, kind, value):
    if isinstance(kind, types.Array):
        model = context.data_model_manager[kind]
        for field in ("meminfo", "parent"):
            none = cgutils.get_null_value(ir.IntType(8).as_pointer())
            value = builder.insert_value(value, none, model.get_field_position(field))
    return value
