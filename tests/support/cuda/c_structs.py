"""The structs that kernels take by value: their fields are read from the source, their layout is
asked of the compiler.
"""

import ctypes
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """A kernel's parameter or a struct's field.

    code: such as "*f4" (float *), "cu2" (const unsigned short *), " i8" (long long), or " v0" for
    a struct.
    """

    code: str
    struct: "Struct | None" = None


@dataclass(frozen=True)
class Struct:
    """A struct of C++: its size and, by name and in their order, each field with its offset."""

    name: str
    size: int
    fields: dict[str, tuple[int, Parameter]]


def kernels(text):
    """Preprocessed source -> {kernel: the types of its parameters, as they are written}."""
    found = re.findall(r"__global__\s+void\s+(\w+)\s*\(([^)]*)\)", text)
    return {
        name: [_type(p) for p in parameters.split(",") if p.strip()] for name, parameters in found
    }


def _type(declaration):
    """ "const Targets targets" -> "Targets"."""
    return re.sub(r"\bconst\b", "", declaration).strip().rpartition(" ")[0].strip()


def fields(text, name):
    """The fields of a struct, {field: its type as it is written}; None if `name` is no struct.

    Raises:
        ValueError: it has something other than fields.
    """
    body = re.search(rf"\bstruct {name}\s*{{(.*?)}}\s*;", text, re.DOTALL) if name else None
    if body is None:
        return None
    found = {}
    for declaration in filter(None, map(str.strip, body[1].split(";"))):
        parts = re.fullmatch(r"((?:\w+\s+)*?\w+)\s*(\**\s*\w+(?:\s*,\s*\**\s*\w+)*)", declaration)
        if not parts:
            raise ValueError(f"a kernel's struct has fields alone, but {name} has: {declaration}")
        for declared in parts[2].split(","):
            pointer = "*" if "*" in declared else ""
            found[declared.strip("* \n")] = _type(f"{parts[1]}{pointer} _")
    return found


def reachable(text):
    """The structs that the kernels take, and those in them: {struct: its fields}."""
    found, todo = {}, {name for types in kernels(text).values() for name in types}
    while todo:
        name = todo.pop()
        if name not in found and (its_fields := fields(text, name)):
            found[name] = its_fields
            todo |= set(its_fields.values())
    return found


def description(text):
    """C++ that says how the compiler lays these structs out; `read` reads it."""
    parts = []
    for name, its_fields in reachable(text).items():
        offsets = ", ".join(f"__builtin_offsetof({name}, {field})" for field in its_fields)
        types = ", ".join(f"decltype({name}::{field})" for field in its_fields)
        parts.append(
            f'extern "C" const emulator::size_t emulator_offsets_{name}[] = '
            f"{{{offsets}, sizeof({name})}};\n"
            f'extern "C" const char *emulator_types_{name}() '
            f"{{ return emulator::signature((void (*)({types}))nullptr); }}\n"
        )
    return "".join(parts)


def read(library, function, types, structs):
    """The parameters whose codes `function` returns, with the structs among them."""
    codes = library[function]
    codes.restype = ctypes.c_char_p
    text = codes().decode()
    return [
        Parameter(text[3 * i : 3 * i + 3], _struct(library, type_, structs))
        for i, type_ in enumerate(types)
    ]


def _struct(library, name, structs):
    if name not in structs:
        return None
    names = structs[name]
    offsets = (ctypes.c_size_t * (len(names) + 1)).in_dll(library, f"emulator_offsets_{name}")
    parameters = read(library, f"emulator_types_{name}", names.values(), structs)
    pairs = zip(offsets, parameters, strict=False)
    return Struct(name, offsets[len(names)], dict(zip(names, pairs, strict=True)))
