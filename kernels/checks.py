"""What every op demands of its arguments, and the words of each refusal. Backends check nothing.

Ops let non-finite values through: NaN and infinities follow the arithmetic (see docs/numerics.md).
Labels, soft targets, row weights and orders that are on the GPU stay there: its backend looks
whether their values are good, and only what it refuses is read back, to be named.
"""

from typing import Any

import numpy as np

from softstep.kernels.arrays import (
    as_dtype,
    asarray,
    contiguous,
    gpu,
    is_on_gpu,
    on_host,
    row_length,
    rows,
    to_host,
)
from softstep.kernels.bundles import Bank, Data, SGDSteps
from softstep.kernels.csr import CSR
from softstep.kernels.losses import Loss, Targets, find
from softstep.kernels.scaled import Scaled

FEATURE_DTYPES = ("float32", "float64", "float16", "bfloat16", "uint8", "int8")
FLOAT_DTYPES = ("float32", "float64")
CSR_DTYPES = (*FLOAT_DTYPES, "uint8", "int8")
# Targets rounded to float16 sum to 1 within 2^-11.
SUM_TOLERANCE = 2**-10

Array = np.ndarray[Any, Any]
Features = Array | CSR | Scaled


def features(value: Any) -> Array:
    """X, (n, d), in the dtype it is stored in; its rows may lie apart, as those of `X[:, a:b]`."""
    for kind in (CSR, Scaled):
        if isinstance(value, kind):
            raise TypeError(f"X is {kind.__name__}, which this op does not read: give dense rows")
    X = asarray(value, "X")
    _dtype_in("X", X, FEATURE_DTYPES)
    _ndim("X", X, 2, "(n, d)")
    if X.shape[1] == 0:
        raise ValueError(f"X has no features: its shape is {X.shape}")
    return rows(X)


def features_of_any_form(value: Any) -> Features:
    """X, (n, d): as `features`, or CSR, or `Scaled`."""
    return _compressed(value) if isinstance(value, CSR) else features_or_scaled(value)


def features_or_scaled(value: Any) -> Array | Scaled:
    """X, (n, d): as `features`, or `Scaled`."""
    return _scaled(value) if isinstance(value, Scaled) else features(value)


def _scaled(given: Scaled) -> Array | Scaled:
    """Rows in host memory, and what they are scaled by in the dtype of their arithmetic; the rows
    alone, where that is nothing."""
    X, columns = features(given.X), given.columns
    if is_on_gpu(X):
        raise TypeError("X.X is on a GPU: Scaled rows are in host memory")
    if columns is not None:
        columns = on_host(columns, "X.columns")
        if columns.dtype != compute_dtype(X):
            raise TypeError(
                f"X.columns is {columns.dtype}, but {X.dtype} features take {compute_dtype(X)}"
            )
        if columns.shape != (3, X.shape[1]):
            raise ValueError(
                f"X.columns has shape {columns.shape}, but X.X has {X.shape[1]} features: it must "
                f"be {(3, X.shape[1])}"
            )
    unit, factors = flag("X.unit", given.unit), given.factors
    if factors is not None:
        factors = in_place("X.factors", factors)
        if (factors.shape, factors.dtype) != ((len(X),), compute_dtype(X)):
            raise ValueError(
                f"X.factors is {factors.dtype} of shape {factors.shape}: it must be "
                f"{compute_dtype(X)} of shape {(len(X),)}"
            )
    return Scaled(X, unit, columns, factors) if unit or columns is not None else X


def _compressed(X: CSR) -> CSR:
    """X in host memory, its numbers such that a kernel may follow them unseen."""
    data, indptr = on_host(X.data, "X.data"), on_host(X.indptr, "X.indptr")
    columns = on_host(X.indices, "X.indices")
    _dtype_in("X.data", data, CSR_DTYPES)
    for name, array in (("data", data), ("indices", columns), ("indptr", indptr)):
        _ndim(f"X.{name}", array, 1, "(m,)" if array is not indptr else "(n + 1,)")
        if array is not data and array.dtype.kind not in "iu":
            raise TypeError(f"X.{name} must hold integers, not {array.dtype}")
    d, count = positive_integer("X.n_features", X.n_features), len(data)
    if len(columns) != count:
        raise ValueError(f"X.indices has {len(columns)} entries, but X.data has {count}")
    if not len(indptr) or indptr[0] < 0 or indptr[-1] > count or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(
            f"X.indptr must be n + 1 numbers that never fall, from 0 to the {count} that are stored"
        )
    if count and (columns.min() < 0 or columns.max() >= d):
        indices("X.indices", columns, d)
    kinds = {columns.dtype, indptr.dtype}
    kind = np.dtype(np.int32 if kinds == {np.dtype(np.int32)} else np.int64)
    return CSR(contiguous(data), as_dtype(columns, kind), as_dtype(indptr, kind), d)


def memory_of(X: Features) -> dict[str, Array]:
    """The arrays that X is, by name."""
    if isinstance(X, CSR):
        return {f"X.{name}": getattr(X, name) for name in ("data", "indices", "indptr")}
    if isinstance(X, Scaled):
        arrays = {"X.X": X.X, "X.columns": X.columns, "X.factors": X.factors}
        return {name: array for name, array in arrays.items() if array is not None}
    return {"X": X}


def compute_dtype(X: Features) -> np.dtype[Any]:
    """The dtype of the arithmetic and the weights: float64 for float64 features, else float32."""
    return np.dtype(np.float64 if X.dtype == np.float64 else np.float32)


def rows_by_classes(name: str, value: Any) -> Array:
    """Logits, probabilities or a gradient of them: (n, c), float32 or float64, c >= 1."""
    array = asarray(value, name)
    _dtype_in(name, array, FLOAT_DTYPES)
    _ndim(name, array, 2, "(n, c)")
    if array.shape[1] == 0:
        raise ValueError(f"{name} has no classes: its shape is {array.shape}")
    return contiguous(array)


def same_shape_and_dtype(name: str, array: Array, other_name: str, other: Array) -> None:
    if array.shape != other.shape:
        raise ValueError(
            f"{name} has shape {array.shape}, but {other_name} has shape {other.shape}"
        )
    if array.dtype != other.dtype:
        raise TypeError(f"{name} is {array.dtype}, but {other_name} is {other.dtype}")


def out_array(
    value: Any, shape: tuple[int, ...], dtype: np.dtype[Any], *inputs: Array
) -> Array | None:
    """The array an in-place variant writes to: of the result's form, an input or none of it."""
    if value is None:
        return None
    array = in_place("out", value)
    if array.shape != shape:
        raise ValueError(f"out has shape {array.shape}, but the result has shape {shape}")
    if array.dtype != dtype:
        raise TypeError(f"out is {array.dtype}, but the result is {dtype}")
    begin, end = _addresses(array)
    for given in inputs:
        first, last = _addresses(given)
        is_given = (first, given.shape, given.dtype) == (begin, shape, dtype)
        is_given &= given.flags.c_contiguous
        if max(first, begin) < min(last, end) and not is_given:
            raise ValueError("out overlaps an input without being it")
    return array


def _addresses(array: Any) -> tuple[int, int]:
    """Where an array begins and ends; its rows may lie apart. No address on a GPU is one of the
    host's."""
    begin = gpu().address(array) if is_on_gpu(array) else array.__array_interface__["data"][0]
    if array.flags.c_contiguous or not array.size:
        return begin, begin + array.nbytes
    n, d = array.shape
    return begin, begin + ((n - 1) * row_length(array) + d) * array.dtype.itemsize


def apart(data: Data, bank: Bank, steps: SGDSteps) -> None:
    """Refuse what `train` updates where it is, in part, the memory of another of its arrays."""
    given = bank.W, bank.b, steps.active, data.y, steps.order, data.X
    more = data.sample_weight, steps.velocity, steps.decay
    if all(array is None for array in more) and _have_owners(given):
        return
    updated = {"W": bank.W, "b": bank.b, "active": steps.active}
    if steps.velocity is not None:
        updated |= {f"velocity[{i}]": array for i, array in enumerate(steps.velocity)}
    if steps.decay is not None:
        updated["decay"] = steps.decay
    read = {"y": data.y, "sample_weight": data.sample_weight, "order": steps.order}
    read |= memory_of(data.X)
    arrays = {**updated, **{name: array for name, array in read.items() if array is not None}}
    end, last = 0, ""
    for first, stop, name in sorted((*_addresses(array), name) for name, array in arrays.items()):
        if first < min(end, stop) and (name in updated or last in updated):
            raise ValueError(f"{name} overlaps {last}: what is updated needs memory of its own")
        if stop > end:
            end, last = stop, name


def _have_owners(arrays: tuple[Any, ...]) -> bool:
    """Whether each lies in a NumPy array of its own: quicker to see than where that is."""
    owners = set()
    for array in arrays:
        while isinstance(array, np.ndarray) and array.base is not None:
            array = array.base
        if type(array) is not np.ndarray or not array.flags.owndata:
            return False
        owners.add(id(array))
    return len(owners) == len(arrays)


def in_place(name: str, value: Any) -> Array:
    """An array that is updated: it must be given as memory that can be written to directly."""
    if not (hasattr(value, "__dlpack__") or is_on_gpu(value)):
        kind = type(value).__name__
        raise TypeError(f"{name} is updated in place, so it must be an array, not {kind}")
    if is_on_gpu(value):
        array = gpu().view(value)
        interface = getattr(value, "__cuda_array_interface__", {"data": (0, False)})
        as_given = array.flags.c_contiguous and not interface["data"][1]  # which is: read only
    else:
        array = asarray(value, name)
        as_given = array.flags.c_contiguous and array.flags.aligned and array.flags.writeable
    if not as_given:
        raise ValueError(
            f"{name} is updated in place, so it must be C-contiguous, aligned and writable"
        )
    updated: Array = array
    return updated


def weights(W: Any, b: Any, X: Features) -> tuple[Array, Array]:
    """One head: W (d, c) and b (c,)."""
    W, b = contiguous(asarray(W, "W")), contiguous(asarray(b, "b"))
    _ndim("W", W, 2, "(d, c)")
    _weights_fit(W, b, X, compute_dtype(X))
    return W, b


def bank(W: Any, b: Any, X: Features, *, may_be_wider: bool = False) -> tuple[Array, Array]:
    """A bank of heads: W (h, d, c) and b (h, c); one head, (d, c) and (c,), is a bank of one.

    may_be_wider: whether float64 will do for features of any dtype.
    """
    W, b = contiguous(asarray(W, "W")), contiguous(asarray(b, "b"))
    if W.ndim == 2 and b.ndim == 1:
        W, b = W[None], b[None]
    _ndim("W", W, 3, "(h, d, c), or (d, c) for one head")
    is_wider = may_be_wider and W.dtype == np.float64
    _weights_fit(W, b, X, W.dtype if is_wider else compute_dtype(X))
    return W, b


def bank_in_place(W: Any, b: Any, X: Features) -> tuple[Array, Array]:
    """A bank that is trained: W (h, d, c) and b (h, c)."""
    W, b = in_place("W", W), in_place("b", b)
    _ndim("W", W, 3, "(h, d, c)")
    _weights_fit(W, b, X, compute_dtype(X))
    return W, b


def _weights_fit(W: Array, b: Array, X: Features, dtype: np.dtype[Any]) -> None:
    for name, array in (("W", W), ("b", b)):
        if array.dtype != dtype:
            raise TypeError(f"{name} is {array.dtype}, but {X.dtype} features take {dtype} weights")
    if W.shape[-2] != X.shape[1]:
        raise ValueError(f"W has shape {W.shape}, but X has {X.shape[1]} features")
    if 0 in W.shape:
        raise ValueError(f"W has shape {W.shape}: no heads or no classes")
    if b.shape != (*W.shape[:-2], W.shape[-1]):
        raise ValueError(f"b has shape {b.shape}, but W has shape {W.shape}")


def targets(name: str, value: Any, n: int, c: int, *losses: Loss) -> Array:
    """Integer labels (n,) as int64, or soft targets (n, c) that all of `losses` take."""
    y: Array = asarray(value, name)
    if y.ndim == 2 and y.dtype.kind == "f":
        return soft_targets(name, y, n, c, *losses)
    if y.ndim != 1:
        raise ValueError(
            f"{name} must be labels of shape (n,) or float targets of shape (n, c), "
            f"but it is {y.dtype} of shape {y.shape}"
        )
    return labels(name, y, n, c)


def label_sets(value: Any, n: int, c: int, *losses: Loss) -> Array:
    """What `train` and `evaluate` learn from: label sets (t, n) as int64, or soft targets."""
    y: Array = asarray(value, "y")
    if y.ndim == 2 and y.dtype.kind != "f":
        if len(y) and y.shape[1] == n and _in_range_on_gpu(y, c):
            return as_dtype(y, np.int64)
        y = to_host(y)
        sets = [labels(f"y[{t}]", y[t], n, c) for t in range(len(y))]
        if not sets:
            raise ValueError("y holds no label set")
        return np.stack(sets)
    y = targets("y", y, n, c, *losses)
    return y[None] if y.ndim == 1 else y


def labels(name: str, y: Array, n: int, c: int) -> Array:
    """Integer labels (n,), each in [0, c), as int64."""
    if y.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold integers, not {y.dtype}")
    if len(y) != n:
        raise ValueError(f"{name} has {len(y)} labels, but there are {n} rows")
    if y.dtype.kind == "f":
        y = to_host(y)
        bad = ~(y == np.trunc(y))
        if bad.any():
            i = int(bad.argmax())
            raise ValueError(f"{name}[{i}] = {y[i]} is not a whole number")
    return indices(name, y, c)


def indices(name: str, values: Array, count: int) -> Array:
    """Whole numbers in [0, count) as contiguous int64; the first bad one is named."""
    if _in_range_on_gpu(values, count):
        return as_dtype(values, np.int64)
    values = to_host(values)
    if are_beyond(values, count):
        i = int(((values < 0) | (values >= count)).argmax())
        raise ValueError(f"{name}[{i}] = {values[i]} is not in [0, {count})")
    return np.ascontiguousarray(values, dtype=np.int64)


def are_beyond(values: Array, count: int) -> bool:
    """Whether some of these numbers, in host memory, are not in [0, count)."""
    if values.dtype == np.int64:  # those below 0 are large without a sign
        return bool(np.count_nonzero(values.view(np.uint64) >= count))
    return bool(((values < 0) | (values >= count)).any())


def _in_range_on_gpu(values: Array, count: int) -> bool:
    """Whether this is an array on the GPU of whole numbers in [0, count)."""
    if not is_on_gpu(values) or values.dtype.kind not in "iu":
        return False
    return gpu().in_range(as_dtype(values, np.int64), count)


def soft_targets(name: str, Y: Array, n: int, c: int, *losses: Loss) -> Array:
    """Soft targets (n, c), float32 or float64, of the kind that each of `losses` takes."""
    for loss in losses:
        if loss.targets is Targets.LABELS:
            raise TypeError(
                f"{name} is {Y.dtype} of shape {Y.shape}, but the loss {loss.name!r} is defined "
                "for integer labels only"
            )
    if Y.shape != (n, c):
        raise ValueError(f"{name} has shape {Y.shape}, but there are {n} rows and {c} classes")
    Y = as_dtype(Y, np.float64 if Y.dtype == np.float64 else np.float32)
    strict = next((loss for loss in losses if loss.targets is Targets.DISTRIBUTIONS), None)
    if strict is not None and not _distributions_on_gpu(Y):
        rows = to_host(Y)  # NaN passes on to the arithmetic
        off = np.abs(rows.sum(axis=1, dtype=np.float64) - 1) > SUM_TOLERANCE
        bad = (rows < 0).any(axis=1) | off
        if bad.any():
            i = int(bad.argmax())
            raise ValueError(
                f"{name}[{i}] is not a distribution: {strict.title} needs targets >= 0 that sum "
                "to 1"
            )
    return Y


def _distributions_on_gpu(Y: Array) -> bool:
    """Whether this is an array on the GPU whose rows are >= 0 and sum to 1."""
    return is_on_gpu(Y) and gpu().are_distributions(Y)


def row_order(value: Any, n: int) -> Array:
    """Row numbers in the order they are visited, (m,), each in [0, n)."""
    order: Array = asarray(value, "order")
    _ndim("order", order, 1, "(m,)")
    if order.dtype.kind not in "iu":
        raise TypeError(f"order must hold integers, not {order.dtype}")
    return indices("order", order, n)


def offsets(name: str, value: Any) -> Array:
    """Offsets along a direction: (k,) finite numbers, as float64."""
    array = on_host(value, name)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold numbers, not {array.dtype}")
    _ndim(name, array, 1, "(k,)")
    array = np.ascontiguousarray(array, dtype=np.float64)
    bad = ~np.isfinite(array)
    if bad.any():
        i = int(bad.argmax())
        raise ValueError(f"{name}[{i}] = {array[i]} is not finite")
    return array


def positive_integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return int(value)


def scale(value: Any) -> float:
    return float(_number("feature_scale", value))


def bank_losses(value: Any, h: int) -> tuple[Loss, ...]:
    """One name for all heads, or one for each, as h rows of the table of losses."""
    if not isinstance(value, str | list | tuple | np.ndarray):
        raise TypeError(f"loss must be a name, or one name for each head, not {value!r}")
    names = (value,) * h if isinstance(value, str) else tuple(value)
    if len(names) != h:
        raise ValueError(f"loss names {len(names)} heads, but W has {h}")
    return tuple(map(find, names))


def setting(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """A number, (h,) numbers or (for a schedule) (steps, h) numbers, broadcast to `shape`."""
    if type(value) is float:  # which is what most of them are
        everywhere = np.empty(shape)
        everywhere.fill(value)
        return everywhere
    array = on_host(value, name)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be a number or an array of numbers, not {array.dtype}")
    allowed = [shape[k:] for k in range(len(shape))]
    if array.shape != () and array.shape not in allowed:
        forms = " or ".join(str(form) for form in reversed(allowed))
        raise ValueError(
            f"{name} has shape {array.shape}; it must be a number or have shape {forms}"
        )
    return np.ascontiguousarray(np.broadcast_to(array.astype(np.float64), shape))


def row_weights(value: Any, n: int, dtype: np.dtype[Any]) -> Array | None:
    """Weight sets (s, n); one set may be given as (n,)."""
    if value is None:
        return None
    array: Array = asarray(value, "sample_weight")
    if array.dtype.kind not in "iuf":
        raise TypeError(f"sample_weight must hold numbers, not {array.dtype}")
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != n or array.shape[0] == 0:
        raise ValueError(f"sample_weight has shape {array.shape}, but there are {n} rows")
    return as_dtype(array, dtype)


def set_index(name: str, value: Any, h: int, count: int) -> Array:
    """Which of `count` sets each head uses, (h,); None means the first for all."""
    if value is None:
        return np.zeros(h, dtype=np.int64)
    array = on_host(value, name)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, not {array.dtype}")
    if array.shape != (h,):
        raise ValueError(f"{name} has shape {array.shape}, but W has {h} heads")
    return indices(name, array, count)


def velocities(value: Any, W: Array, b: Array) -> tuple[Array, Array] | None:
    """(MW, Mb), updated in place, of the forms of W and b."""
    if value is None:
        return None
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError("velocity must be a pair (MW, Mb)")
    MW, Mb = in_place("velocity[0]", value[0]), in_place("velocity[1]", value[1])
    if not is_on_gpu(W) and (is_on_gpu(MW) or is_on_gpu(Mb)):
        raise TypeError("velocity is on a GPU, but W is in host memory")
    same_shape_and_dtype("velocity[0]", MW, "W", W)
    same_shape_and_dtype("velocity[1]", Mb, "b", b)
    return MW, Mb


def active_heads(value: Any, h: int) -> Array:
    """Which heads still train, (h,) bool, updated in place; None means all."""
    if value is None:
        return np.ones(h, dtype=np.bool_)
    array = in_place("active", value)
    if array.dtype != np.bool_:
        raise TypeError(f"active must be bool, not {array.dtype}")
    if array.shape != (h,):
        raise ValueError(f"active has shape {array.shape}, but W has {h} heads")
    return array


def decays(value: Any, X: Features, momentum: Array, velocity: Any) -> Array | None:
    """What the weights of each head are multiplied by, (h,) float64; None for dense rows."""
    if not isinstance(X, CSR):
        if value is not None:
            raise ValueError("decay is for CSR: on dense rows every step applies l2 at once")
        return None
    if momentum.any() or velocity is not None:
        raise ValueError(
            "CSR is trained without momentum and velocity, by which a step changes every weight: "
            "give dense rows"
        )
    if value is None:
        return np.ones(len(momentum))
    array = in_place("decay", value)
    same_shape_and_dtype("decay", array, "momentum", momentum)
    return array


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def _number(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    return value


def _dtype_in(name: str, array: Array, names: tuple[str, ...]) -> None:
    if array.dtype.type.__name__ not in names:  # `dtype.name` takes microseconds
        raise TypeError(f"{name} must be {' or '.join(names)}, not {array.dtype}")


def _ndim(name: str, array: Array, ndim: int, form: str) -> None:
    if array.ndim != ndim:
        raise ValueError(f"{name} must have the form {form}, but its shape is {array.shape}")
