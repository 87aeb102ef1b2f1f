"""Which arrays and tables the estimators take, how often each operation copies them, and
which of scikit-learn's checks the estimators pass.

Copies are the memory that NumPy allocates at the peak of the operation, by tracemalloc, in sizes of
X as the kernels read it, rounded: what polars and pyarrow take for themselves is not in it.
The tables are those of docs/interop.md.
"""

import gc
import importlib
import os
import re
import tracemalloc
import warnings
from collections import Counter
from typing import Any

import numpy as np

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.bench.studies import parser
from softstep.model import inputs

ROWS, COLUMNS, CLASSES = 10_000, 400, 3
NAMES = [f"c{j}" for j in range(COLUMNS)]
# Bytes that checks of a sample of rows take, however many there are; a third of narrow features.
SCRATCH = 3 << 20
SHORT: dict[str, Any] = {"max_steps": 2, "random_state": 0}

FLOATS = np.random.default_rng(0).random((ROWS, COLUMNS), np.float32)
WHOLE = (FLOATS * 8).astype(np.int8)
LABELS = np.arange(ROWS) % CLASSES
TEXTS = np.array(["a", "b", "c"])[LABELS]


def of_frame(change: Any) -> Any:
    return lambda pandas: change(pandas.DataFrame(dict(zip(NAMES, FLOATS.T, strict=True))))


def with_column(make: Any) -> Any:
    """A frame whose column c1 is that of `make(pandas)`."""
    return lambda pandas: of_frame(lambda frame: frame.assign(c1=make(pandas)))(pandas)


def of_polars(values: Any, **more: Any) -> Any:
    return lambda polars: polars.DataFrame(dict(zip(NAMES, values.T, strict=True)) | more)


def of_arrow(values: Any, kind: Any = "table") -> Any:
    return lambda arrow: getattr(arrow, kind)(dict(zip(NAMES, values.T, strict=True)))


def one_column(library: Any) -> Any:
    return library.DataFrame({"kind": TEXTS})


def soft_targets(library: Any) -> Any:
    return library.DataFrame(dict(zip("abc", np.eye(CLASSES)[LABELS].T, strict=True)))


# What is given, the library it needs, and what makes it.
FEATURES: list[tuple[str, str, Any]] = [
    ("NumPy, float32", "numpy", lambda _: FLOATS),
    ("NumPy, float64", "numpy", lambda _: FLOATS.astype(np.float64)),
    ("NumPy, float16", "numpy", lambda _: FLOATS.astype(np.float16)),
    ("NumPy, uint8", "numpy", lambda _: WHOLE.view(np.uint8)),
    ("NumPy, by columns (Fortran order)", "numpy", lambda _: np.asfortranarray(FLOATS)),
    ("NumPy, a slice of columns", "numpy", lambda _: np.tile(FLOATS, 2)[:, :COLUMNS]),
    ("NumPy, the other byte order", "numpy", lambda _: FLOATS.astype(">f4")),
    ("NumPy, int64", "numpy", lambda _: WHOLE.astype(np.int64)),
    ("NumPy, int8", "numpy", lambda _: WHOLE),
    ("NumPy, bfloat16 of ml_dtypes", "ml_dtypes", lambda kinds: FLOATS.astype(kinds.bfloat16)),
    ("NumPy, bool", "numpy", lambda _: WHOLE > 3),
    ("NumPy, objects that are numbers", "numpy", lambda _: FLOATS.astype(object)),
    ("NumPy, masked values", "numpy", lambda _: np.ma.masked_less(FLOATS, 0.5)),
    ("pandas, float32", "pandas", of_frame(lambda frame: frame)),
    ("pandas, float32 beside float64", "pandas", with_column(lambda _: FLOATS[:, 1].astype(float))),
    ("pandas, bool beside float32", "pandas", with_column(lambda _: WHOLE[:, 1] > 3)),
    ("pandas, int64", "pandas", of_frame(lambda frame: (8 * frame).astype(np.int64))),
    ("pandas, nullable Float32", "pandas", of_frame(lambda frame: frame.astype("Float32"))),
    ("pandas, nullable Int64", "pandas", of_frame(lambda f: (8 * f).astype(int).astype("Int64"))),
    ("pandas, nullable boolean", "pandas", of_frame(lambda f: (f > 0.5).astype("boolean"))),
    ("pandas, from Arrow", "pandas", of_frame(lambda frame: frame.astype("float32[pyarrow]"))),
    (
        "pandas, with pd.NA",
        "pandas",
        with_column(lambda pandas: pandas.array([1.0, None] * (ROWS // 2), "Float64")),
    ),
    ("pandas, a column of text", "pandas", with_column(lambda _: TEXTS)),
    ("polars, float32", "polars", of_polars(FLOATS)),
    ("polars, Float32 beside Float64", "polars", of_polars(FLOATS, c1=FLOATS[:, 1].astype(float))),
    ("polars, Int8", "polars", of_polars(WHOLE)),
    ("polars, Boolean", "polars", of_polars(WHOLE > 3)),
    ("polars, with nulls", "polars", of_polars(FLOATS, c1=[1.0, None] * (ROWS // 2))),
    ("polars, lazy", "polars", lambda polars: of_polars(FLOATS)(polars).lazy()),
    ("pyarrow, a Table of float32", "pyarrow", of_arrow(FLOATS)),
    ("pyarrow, a RecordBatch of int8", "pyarrow", of_arrow(WHOLE, "record_batch")),
    ("PyTorch, float16", "torch", lambda torch: torch.from_numpy(FLOATS).half()),
    (
        "PyTorch, float32 that requires a gradient",
        "torch",
        lambda torch: torch.from_numpy(FLOATS).requires_grad_(),
    ),
    ("PyTorch, int8", "torch", lambda torch: torch.from_numpy(WHOLE)),
    ("PyTorch, bfloat16", "torch", lambda torch: torch.from_numpy(FLOATS).bfloat16()),
    ("JAX, float32", "jax", lambda jax: jax.numpy.asarray(FLOATS)),
    ("JAX, bfloat16", "jax", lambda jax: jax.numpy.asarray(FLOATS, jax.numpy.bfloat16)),
]
TARGETS: list[tuple[str, str, Any]] = [
    ("NumPy, integers", "numpy", lambda _: LABELS),
    ("NumPy, whole floats", "numpy", lambda _: LABELS.astype(np.float32)),
    ("NumPy, bool", "numpy", lambda _: LABELS > 0),
    ("NumPy, text", "numpy", lambda _: TEXTS),
    ("NumPy, StringDType", "numpy", lambda _: TEXTS.astype(np.dtypes.StringDType())),
    ("NumPy, objects that are text", "numpy", lambda _: TEXTS.astype(object)),
    ("NumPy, bytes", "numpy", lambda _: TEXTS.astype("S1")),
    ("pandas, nullable Int64", "pandas", lambda p: p.Series(LABELS, dtype="Int64")),
    ("pandas, string", "pandas", lambda pandas: pandas.Series(TEXTS, dtype="string")),
    ("pandas, categories", "pandas", lambda pandas: pandas.Series(TEXTS, dtype="category")),
    (
        "pandas, with pd.NA",
        "pandas",
        lambda pandas: pandas.Series([0, 1, None, 1] * (ROWS // 4), dtype="Int64"),
    ),
    ("polars, integers", "polars", lambda polars: polars.Series(LABELS)),
    ("polars, String", "polars", lambda polars: polars.Series(TEXTS)),
    (
        "polars, Categorical",
        "polars",
        lambda polars: polars.Series(TEXTS, dtype=polars.Categorical),
    ),
    (
        "polars, with nulls",
        "polars",
        lambda polars: polars.Series(["a", "b", None, "c"] * (ROWS // 4)),
    ),
    ("pyarrow, integers", "pyarrow", lambda arrow: arrow.array(LABELS)),
    ("pyarrow, string", "pyarrow", lambda arrow: arrow.array(TEXTS)),
    ("pyarrow, dictionary", "pyarrow", lambda arrow: arrow.array(TEXTS).dictionary_encode()),
    ("PyTorch, integers", "torch", lambda torch: torch.from_numpy(LABELS)),
    *((f"{name}, a table of one column", name, one_column) for name in ("pandas", "polars")),
    *((f"{name}, soft targets with names", name, soft_targets) for name in ("pandas", "polars")),
]

# As they are checked: of a small rate and many epochs, for one check has rows of standard deviation
# 20 that it does not scale.
CHECKED = (
    SoftmaxRegression("cross_entropy", 0.01, epochs=200),
    SoftmaxSweep({"loss": "cross_entropy", "learning_rate": 0.01}, cv=2, epochs=200),
)


def operations(X: Any) -> Any:
    """What is done with X, by name; the models are fitted before they are asked."""
    model = SoftmaxRegression(**SHORT)
    sweep = SoftmaxSweep({"l2": [0.0, 0.1]}, cv=5, **SHORT)
    return {
        "fit": lambda: model.fit(X, LABELS),
        "partial_fit": lambda: SoftmaxRegression(random_state=0).partial_fit(X, LABELS),
        "predict_proba": lambda: model.predict_proba(X),
        "score": lambda: model.score(X, LABELS),
        "sweep": lambda: sweep.fit(X, LABELS),
    }


OPERATIONS: tuple[str, ...] = tuple(operations(None))


def library(name: Any) -> Any:
    """The module of that name; None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def refused(error: Any) -> Any:
    """The refusal, for a cell of a table."""
    return "refused: " + str(error).replace("|", r"\|")


def copies(operation: Any, size: Any) -> Any:
    """How often `size` bytes fit into what NumPy allocates at the operation's peak, rounded."""
    gc.collect()  # what the operation before has left in circles
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    operation()
    _, peak = tracemalloc.get_traced_memory()
    return round(max(0, peak - before - min(SCRATCH, size // 3)) / size)


def of_features(make: Any, module: Any) -> Any:
    """For features of a kind: the dtype they are read in, or the refusal; copies by operation.

    Of the second run of each: the first may compile. Memory is traced until all are done: JAX
    copies what predict_proba returns in a thread of its own, and Python before 3.12.9 and 3.13.2
    crashes if tracing ends meanwhile.
    """
    X = make(module)
    try:
        read = inputs.features(X).X
        todo = operations(X).values()
        for operation in todo:
            operation()
        tracemalloc.start()
        found = [copies(operation, read.nbytes) for operation in todo]
    except (TypeError, ValueError) as error:
        return refused(error), [""] * len(OPERATIONS)
    finally:
        tracemalloc.stop()
    return read.dtype.name, found


def of_targets(make: Any, module: Any) -> Any:
    """For labels of a kind: the dtype of the classes, or the refusal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a column of labels
            model = SoftmaxRegression(**SHORT).fit(FLOATS[:, :2], make(module))
        return model.classes_.dtype.name
    except (TypeError, ValueError) as error:
        return refused(error)


def check_name(check: Any) -> Any:
    """What a check of scikit-learn's is called."""
    return getattr(check, "func", check).__name__


def outcomes(estimator: Any, checks: Any) -> Any:
    """The outcomes of each check by its name; some run several times, with different data."""
    found: dict[str, Any] = {}
    for result in checks.check_estimator(estimator, on_fail=None, on_skip=None):
        found.setdefault(result["check_name"], []).append(result["status"])
    return found


def counted(statuses: Any) -> Any:
    """Outcomes for a cell: "passed", or "3 passed", or "2 passed, 1 failed"."""
    counts = Counter(statuses)
    if len(statuses) == 1:
        return statuses[0]
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def total(cell: Any) -> Any:
    """How many outcomes a cell of `counted` tells of."""
    return sum(map(int, re.findall(r"\d+", cell))) if cell[:1].isdigit() else int(cell != "")


def check_lines(sklearn: Any, checks: Any) -> Any:
    """The list of scikit-learn's checks, line by line."""
    names = (type(estimator).__name__ for estimator in CHECKED)
    yield f"| check of scikit-learn {sklearn.__version__} | {' | '.join(names)} |"
    yield "|---|" + "---|" * len(CHECKED)
    found = [outcomes(estimator, checks) for estimator in CHECKED]
    for name in sorted(set().union(*found)):
        cells = [counted(of_one[name]) if name in of_one else "" for of_one in found]
        yield f"| `{name}` | {' | '.join(cells)} |"


def lines() -> Any:
    """The tables, line by line; kinds whose library is not installed are left out."""
    warnings.simplefilter("ignore")  # of names that come or go, of columns that are not scaled
    yield f"| X | read as | {' | '.join(OPERATIONS)} |"
    yield "|---|---|" + "---|" * len(OPERATIONS)
    for title, name, make in FEATURES:
        if module := library(name):
            read, found = of_features(make, module)
            yield f"| {title} | {read} | {' | '.join(map(str, found))} |"
    yield ""
    yield "| y | classes |"
    yield "|---|---|"
    for title, name, make in TARGETS:
        if module := library(name):
            found = of_targets(make, module)
            yield f"| {title} | {found} |"
    if sklearn := library("sklearn"):
        yield ""
        yield from check_lines(sklearn, library("sklearn.utils.estimator_checks"))


def main(argv: Any = None) -> Any:
    """Print the tables."""
    parser("interop", __doc__).parse_args(argv)
    os.environ["SCIPY_ARRAY_API"] = "1"  # which SciPy reads as it is imported: one check needs it
    for line in lines():
        print(line, flush=True)


if __name__ == "__main__":
    main()
