"""Values of any library as arrays, before anything is asked of them, and results as they were."""

import numbers
from typing import Any

import numpy as np

from softstep.kernels.arrays import asarray, to_caller, to_device_of, to_host
from softstep.kernels.checks import Array

UNREAD = ("float8", "float4")  # what tensors may hold and no array of NumPy's


def is_plain(value: Any) -> bool:
    """Whether this is an array of NumPy's own, of numbers: there is nothing more to ask."""
    return type(value) is np.ndarray and value.dtype.kind in "biuf" and value.dtype.isnative


def array(value: Any, name: str, *, takes_bfloat16: bool = False) -> Array:
    """`value` as an array in native byte order; on the GPU it stays there.

    Raises:
        TypeError: no array, a sparse one, or one of records.
        ValueError: a masked array that hides values.
    """
    if is_plain(value):
        plain: Array = value
        return plain
    if hasattr(value, "tocsr"):
        raise TypeError(
            f"{name} is a sparse {type(value).__name__}, but dense data is required: "
            f"give {name}.toarray()"
        )
    if isinstance(value, list | tuple) and any(isinstance(v, np.ma.MaskedArray) for v in value):
        value = np.ma.array(value)  # np.asarray would show what they hide
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        first = [int(i) for i in np.argwhere(np.ma.getmaskarray(value))[0]]
        raise ValueError(f"{name}{first} is masked: fill it, or leave its row out")
    if hasattr(value, "__arrow_c_array__") and hasattr(value, "__array__"):
        value = np.asarray(value)  # its DLPack has numbers alone
    if getattr(value, "requires_grad", False):
        value = value.detach()
    refuse_unread(value, name, takes_bfloat16=takes_bfloat16)
    found: Array = asarray(value, name)
    if getattr(found.dtype, "names", None) is not None:
        raise TypeError(
            f"{name} holds records with the fields {', '.join(found.dtype.names)}: give them as "
            f"columns, by numpy.lib.recfunctions.structured_to_unstructured({name})"
        )
    if isinstance(found, np.ndarray) and not found.dtype.isnative:
        return found.astype(found.dtype.newbyteorder("="), order="C")
    return found


def refuse_unread(value: Any, name: str, *, takes_bfloat16: bool = False) -> None:
    """Raise TypeError for what has no values yet, or of a kind that is not read, as float8.

    takes_bfloat16: as features do, and targets and weights do not.
    """
    if type(value).__name__ == "LazyFrame":
        raise TypeError(f"{name} is a LazyFrame, which has no values yet: give {name}.collect()")
    kind = str(getattr(value, "dtype", "")).rpartition(".")[2]
    if kind.startswith(UNREAD if takes_bfloat16 else ("bfloat16", *UNREAD)):
        cure = f"{name}.float()" if hasattr(value, "float") else f"{name}.astype('float32')"
        raise TypeError(f"{name} is {kind}, which is not read as it is stored: give {cure}")


def cure_of_void(dtype: np.dtype[Any], name: str) -> str:
    """What to say beside the refusal of a dtype: np.load makes this one of a file of bfloat16."""
    is_it = dtype.name == "void16" and dtype.names is None
    return f": if they are bfloat16, give {name}.view(ml_dtypes.bfloat16)" if is_it else ""


def refuse_missing(column: Any, where: str) -> None:
    """Raise ValueError if a column of pandas, polars or pyarrow lacks a value.

    NaN in a float column of pandas is a value here. where: the place, {} standing for the row.
    """
    if isinstance(getattr(column, "dtype", None), np.dtype) and column.dtype.kind != "O":
        return
    if hasattr(column, "null_count"):  # polars, pyarrow
        count = column.null_count
        missing = column.is_null() if (count() if callable(count) else count) else ()
    elif hasattr(column, "isna"):  # pandas
        missing = column.isna()
    else:
        return
    bad = np.flatnonzero(np.asarray(missing))
    if bad.size:
        raise ValueError(f"{where.format(bad[0])} is missing (null): fill it, or leave its row out")


def numbers_of(values: Array, where: str) -> tuple[Array, np.dtype[Any]]:
    """Objects as float64, and the dtype that would have held them: int64 or float64.

    where: the place, {} standing for the row, and a further {} for the column if there are two.

    Raises:
        TypeError: one is no number.
    """
    kinds = {type(value) for value in values.flat}
    whole = {kind for kind in kinds if issubclass(kind, numbers.Integral | np.bool_)}
    strange = {kind for kind in kinds - whole if not issubclass(kind, numbers.Real)}
    if strange:
        place = next(p for p, value in np.ndenumerate(values) if type(value) in strange)
        value = values[place]
        value = value.item() if isinstance(value, np.generic) else value
        raise TypeError(
            f"{where.format(*place)} is {value!r}: an argument must be neither a string "
            "nor anything else but a number"
        )
    return values.astype(np.float64), np.dtype(np.int64 if kinds == whole else np.float64)


def host_array(value: Any, name: str, *, takes_bfloat16: bool = False) -> Array:
    """As `array`, but always a NumPy array: a copy of what is on the GPU."""
    return to_host(array(value, name, takes_bfloat16=takes_bfloat16))


def as_given(result: Array, given: Any) -> Any:
    """`result` in the library and on the device of `given`; text, which NumPy alone has, stays."""
    if result.dtype.kind == "U":
        return result
    return to_caller(to_device_of(result, given), given)
