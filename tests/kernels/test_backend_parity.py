"""Numba and CuPy compute what the oracle computes: every op, dtype, odd size, layout and setting.

Each result is held to a bound derived from its rounding errors (`softstep.kernels.verify.bounds`),
and each bound is shown to refuse zeros and NaN (`conftest.py`).
"""

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels.losses import LOSSES, Targets
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size
from softstep.model.datasets import load_digits

FLOATS = ("float64", "float32")
FEATURES = (*FLOATS, "float16", "uint8")
VALUES = (1, 2, 3, 17, 100, 785, 1000)
# A Latin square: every value of n, d and c with every value of each of the others.
SHAPES = [(VALUES[i], VALUES[j], VALUES[(i + j) % 7]) for i in range(7) for j in range(7)]
HEADS = dict(zip(VALUES, (7, 7, 3, 3, 2, 1, 1), strict=True))  # by classes
SIZES = [Size(n, d, c, HEADS[c]) for n, d, c in SHAPES]
EMULATED = 2_000_000  # operations that the emulator of cupy's kernels does quickly


def sizes_for(backend):
    """All sizes, for cupy the smaller ones. A row op takes up to c² operations a row."""
    if backend != "cupy":
        return SIZES
    return [size for size in SIZES if size.n * size.c * max(size.d, size.c) <= EMULATED]


ROW_OPS = ("softmax_forward", "softmax_backward")
LABEL_OPS = ("gce_forward", "gce_backward")
TARGET_OPS = (
    "mse_forward",
    "mse_backward",
    "cross_entropy_forward",
    "cross_entropy_backward",
    "softmax_mse_backward",
    *LABEL_OPS,
)
SOFT_LOSSES = [name for name, loss in LOSSES.items() if loss.targets is not Targets.LABELS]
OPS_WITH_OUT = (*ROW_OPS, *(op for op in TARGET_OPS if "backward" in op), "linear_forward")
LAYER_OPS = ("linear_forward", "linear_backward", "predict")


def arguments_of(op, size, dtype, seed=0):
    return cases.OPS[op].arguments(size, dtype, seed)


def soft_targets(size, dtype, seed=9):
    return cases.probabilities(size.n, size.c, cases.weight_dtype(dtype), seed)


@pytest.mark.parametrize("dtype", FEATURES)
@pytest.mark.parametrize("op", LAYER_OPS)
def test_layers_of_every_size(op, dtype, assert_parity, fused):
    for size in sizes_for(fused):
        assert_parity(op, arguments_of(op, size, dtype), fused)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ROW_OPS)
def test_rows_of_every_size(op, dtype, assert_parity, fused):
    for size in sizes_for(fused):
        assert_parity(op, arguments_of(op, size, dtype), fused)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", TARGET_OPS)
def test_labels_of_every_size(op, dtype, assert_parity, fused):
    for size in sizes_for(fused):
        assert_parity(op, arguments_of(op, size, dtype), fused)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", [op for op in TARGET_OPS if op not in LABEL_OPS])
def test_soft_targets_of_every_size(op, dtype, assert_parity, fused):
    for size in sizes_for(fused):
        (values, _), options = arguments_of(op, size, dtype)
        assert_parity(op, ((values, soft_targets(size, dtype)), options), fused)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_surfaces_of_every_size(dtype, loss, assert_parity):
    quick = [size for size in SIZES if size.n * size.c <= 100_000]  # the oracle takes its time
    for i, size in enumerate(quick):
        positional, _ = arguments_of("surface_forward", size, dtype)
        weights = np.random.default_rng(2).random(size.n).astype(dtype) if i % 2 else None
        options = {"loss": loss, "sample_weight": weights}
        assert_parity("surface_forward", (positional, options), "numba")


@pytest.mark.parametrize("op", ["evaluate", "gradient", "train"])
def test_banks_of_every_size(op, assert_parity, fused):
    for i, size in enumerate(sizes_for(fused)):
        (X, y, *rest), options = arguments_of(op, size, FEATURES[i % 4])
        loss = list(LOSSES)[i // 4 % len(LOSSES)]
        if op == "train":  # three steps, the last one short
            rest[1] = size.n // 3 + 1
        assert_parity(op, ((X, y, *rest), {**options, "loss": loss}), fused)


SMALL = Size(37, 17, 3, h=3)


def bank(h, dtype, **options):
    """Arguments of `train` for h heads: batches of 10, the last of 7."""
    size = Size(37, 17, 3, h)
    (X, y, order, _, W, b), rest = arguments_of("train", size, dtype)
    W[:] *= 3  # far enough from uniform for every term to count
    return (X, y, order, 10, W, b), {**rest, "learning_rate": 0.3, **options}


def velocity(h, dtype):
    return cases.weights(h, 17, 3, cases.weight_dtype(dtype), seed=5)


def sets(h):
    """Three label sets and two weight sets, distributed over the heads."""
    rng = np.random.default_rng(1)
    weights = rng.uniform(0, 2, (2, 37))
    weights[:, ::5] = 0
    return {
        "sample_weight": weights,
        "y_index": rng.integers(0, 3, h),
        "weight_index": rng.integers(0, 2, h),
    }


def losses_of(h):
    """Each loss in turn."""
    return [list(LOSSES)[k % len(LOSSES)] for k in range(h)]


def settings_of(h, dtype):
    each = np.linspace(0.05, 0.4, h)
    return {
        "mse": {},
        "cross-entropy": {"loss": "cross_entropy"},
        "generalised cross-entropy": {"loss": "gce"},
        "losses by head": {"loss": losses_of(h)},
        "settings by head": {"learning_rate": each, "l2": each / 2, "momentum": each},
        "schedule": {"learning_rate": np.outer([1, 0.5, 0.25, 0], each)},
        "l2": {"l2": 0.1, "loss": "cross_entropy"},
        "l2 on the bias": {"l2": 0.1, "l2_bias": True},
        "momentum": {"momentum": 0.9},
        "velocity": {"momentum": 0.9, "velocity": velocity(h, dtype)},
        "no bias": {"fit_bias": False, "momentum": 0.5, "velocity": velocity(h, dtype)},
        "a scale": {"feature_scale": 1 / 255},
        "sample weights": {"sample_weight": sets(h)["sample_weight"][0]},
        "sets": {**sets(h), "loss": "cross_entropy"},
    }


@pytest.mark.parametrize("setting", settings_of(1, "float64"))
@pytest.mark.parametrize("dtype", FLOATS)
def test_train_with_every_setting(setting, dtype, assert_parity, fused):
    for h in (1, 2, 3, 7):
        (X, y, *rest), options = bank(h, dtype, **settings_of(h, dtype)[setting])
        if setting == "sets":
            y = np.stack([y, (y + 1) % 3, (2 * y) % 3])
        arguments = ((X, y, *rest), options)
        assert_parity("train", arguments, fused)
        assert_a_step_is_more_than_its_bound(arguments)


def assert_a_step_is_more_than_its_bound(arguments):
    """Weights that were never trained are refused."""
    (*_, W, _), _ = arguments
    (_, _, after, *_), (_, _, bound, *_) = parity.truth_and_bounds("train", arguments)
    assert all(parity.worst(w, a, e) > 1 for w, a, e in zip(W, after, bound, strict=True))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("loss", SOFT_LOSSES)
@pytest.mark.parametrize("op", ["evaluate", "gradient", "train"])
def test_banks_with_soft_targets(op, loss, dtype, assert_parity, fused):
    for size in (Size(37, 17, 3, h=3), Size(20, 3, 100, h=2), Size(5, 2, 1, h=2)):
        (X, _, *rest), options = arguments_of(op, size, dtype)
        arguments = (X, soft_targets(size, dtype), *rest), {**options, "loss": loss}
        assert_parity(op, arguments, fused)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["evaluate", "gradient"])
def test_sums_with_label_and_weight_sets(op, dtype, assert_parity, fused):
    for h in (1, 2, 3, 7):
        (X, y, W, b), options = arguments_of(op, Size(37, 17, 3, h), dtype)
        y = np.stack([y, (y + 1) % 3, (2 * y) % 3])
        options = {**options, **sets(h), "loss": losses_of(h)}
        assert_parity(op, ((X, y, W, b), options), fused)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", [*LAYER_OPS, "evaluate", "gradient", "train"])
def test_features_shifted_by_100(op, dtype, assert_parity, fused):
    positional, options = arguments_of(op, SMALL, dtype)
    i = int(op == "linear_backward")
    X = positional[i] + positional[i].dtype.type(100)
    if op == "train":
        options = {**options, "learning_rate": 1e-5}
    assert_parity(op, ((*positional[:i], X, *positional[i + 1 :]), options), fused)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["softmax_forward", *TARGET_OPS[2:]])
def test_logits_shifted_by_100(op, dtype, assert_parity, fused):
    (V, *rest), options = arguments_of(op, SMALL, dtype)
    assert_parity(op, ((V + V.dtype.type(100), *rest), options), fused)


# Memory: however the numbers are stored, results have the same bits.


def layouts(array, folder):
    """The same numbers in other forms of memory."""
    twice = np.repeat(array, 2, axis=0) if array.ndim == 1 else array.repeat(2, 0).repeat(2, 1)
    strided = twice[::2] if array.ndim == 1 else twice[::2, ::2]
    read_only = array.copy()
    read_only.flags.writeable = False
    np.save(folder / "array.npy", array)
    return {
        "F": np.asfortranarray(array),
        "strided": strided,
        "reversed": array[::-1].copy()[::-1],
        "read-only": read_only,
        "memory-mapped": np.load(folder / "array.npy", mmap_mode="r"),
        "other byte order": array.astype(array.dtype.newbyteorder()),
    }


@pytest.mark.parametrize("op", cases.OPS)
def test_memory_layout_makes_no_difference(op, backend, tmp_path):
    positional, options = arguments_of(op, SMALL, "float32")
    expected = parity.run(op, (positional, options), backend)
    count = 1 if op != "linear_backward" else 2
    for i in range(count):
        for name, same in layouts(positional[i], tmp_path).items():
            changed = (*positional[:i], same, *positional[i + 1 :])
            for f, e in zip(parity.run(op, (changed, options), backend), expected, strict=True):
                np.testing.assert_array_equal(f, e, err_msg=name, strict=True)


def test_labels_of_any_integer_dtype_and_layout_are_the_same(backend, tmp_path):
    (V, y), _ = arguments_of("cross_entropy_forward", SMALL, "float32")
    expected = kernels.cross_entropy_forward(V, y, backend=backend)
    forms = [y.astype(dtype) for dtype in ("int8", "uint8", "int32", "uint64", "float32")]
    for same in (*forms, *layouts(y, tmp_path).values(), y.tolist()):
        found = kernels.cross_entropy_forward(V, same, backend=backend)
        np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", OPS_WITH_OUT)
def test_out_gets_the_same_bits_also_over_the_input(op, dtype, backend):
    size = Size(37, 3, 3) if op == "linear_forward" else SMALL
    positional, options = arguments_of(op, size, dtype)
    run = getattr(kernels, op)
    expected = run(*positional, **options, backend=backend)
    inputs = [a for a in positional if a.shape == expected.shape and a.dtype == expected.dtype]
    assert inputs
    for i in range(-1, len(inputs)):
        copies = [a.copy() for a in positional]
        out = np.full_like(expected, np.nan)
        if i >= 0:
            (out,) = (c for c, a in zip(copies, positional, strict=True) if a is inputs[i])
        assert run(*copies, **options, out=out, backend=backend) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", FEATURES)
@pytest.mark.parametrize("op", cases.OPS)
def test_no_rows_give_empty_results_and_change_nothing(op, dtype, backend):
    size = Size(0, 17, 3, h=2)
    positional, options = arguments_of(op, size, dtype)
    found = parity.run(op, (positional, options), backend)
    weight = cases.weight_dtype(dtype)
    expected = {
        "linear_backward": (np.zeros((17, 3), weight), np.zeros(3, weight)),
        "mse_forward": (np.zeros(0, weight),),
        "cross_entropy_forward": (np.zeros(0, weight),),
        "gce_forward": (np.zeros(0, weight),),
        "predict": (np.zeros((2, 0), np.int64),),
        "evaluate": (np.full(2, np.nan), np.full(2, np.nan)),
        "gradient": (np.zeros(2), np.zeros((2, 17, 3)), np.zeros((2, 3))),
        "surface_forward": (np.zeros(cases.SURFACE), np.zeros(cases.SURFACE)),
        "train": (np.zeros((0, 2)), np.zeros((0, 2), np.int64), *positional[-2:]),
    }.get(op, (np.zeros((0, 3), weight),))
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e, strict=True)


def test_every_float16_is_read_exactly(backend):
    X = np.arange(2**16, dtype=np.uint16).view(np.float16)[:, None]
    V = kernels.linear_forward(X, np.ones((1, 1), "f4"), np.zeros(1, "f4"), backend=backend)
    np.testing.assert_array_equal(V, X.astype(np.float32))


@pytest.mark.parametrize("loss", LOSSES)
def test_one_class_has_no_gradient(loss, backend):
    (X, _, order, _, W, b), options = arguments_of("train", Size(37, 17, 1, h=2), "float32")
    arguments = (X, np.zeros(37, int), order, 10, W, b), {**options, "loss": loss}
    losses, correct, W_after, b_after = parity.run("train", arguments, backend)
    np.testing.assert_array_equal(W_after, W)
    np.testing.assert_array_equal(b_after, b)
    assert not losses.any()
    assert correct[:, 0].tolist() == [10, 10, 10, 7]


# Convergence: 3 epochs of the digits, step by step.

RATES = {"mse": 2.0, "cross_entropy": 0.5, "gce": 1.0}


def three_epochs(loss, dtype, backend):
    """Losses of all steps, weights and bias, from zeros."""
    digits = load_digits()
    X, n = digits.X_train.astype(dtype), len(digits.X_train)
    W, b = np.zeros((1, X.shape[1], 10), dtype), np.zeros((1, 10), dtype)
    losses = []
    for epoch in range(3):
        order = np.random.default_rng((0, 1, epoch)).permutation(n)
        options = {"loss": loss, "learning_rate": RATES[loss], "backend": backend}
        losses.append(kernels.train(X, digits.y_train, order, 100, W, b, **options)[0])
    return np.concatenate(losses), W, b


def relative(found, truth):
    """The largest error, in units of the largest entry; inf for NaN."""
    error = np.abs(found - truth).max() / np.abs(truth).max()
    return np.inf if np.isnan(error) else error


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("loss", RATES)
def test_three_epochs_of_digits_give_the_same_losses_and_weights(loss, dtype, fused):
    losses, W, b = three_epochs(loss, dtype, fused)
    truth, W_truth, b_truth = three_epochs(loss, dtype, "numpy")
    assert len(losses) == 45
    assert parity.worst(losses, truth, 1e-5 * truth) <= 1
    assert relative(W, W_truth) <= 1e-5
    assert relative(b, b_truth) <= 1e-5
    assert truth[-1] < 0.95 * truth[0]  # it learns
    for wrong in (0, np.nan):
        assert parity.worst(wrong * losses, truth, 1e-5 * truth) > 1
        assert relative(wrong * W, W_truth) > 1e-5


@pytest.mark.parametrize("loss", RATES)
def test_three_epochs_in_float32_stay_close_to_float64(loss, backend):
    """The error cannot be bounded over so many steps; the docs give measured figures."""
    losses, W, b = three_epochs(loss, "float32", backend)
    truth, W_truth, b_truth = three_epochs(loss, "float64", "numpy")
    errors = relative(losses, truth), relative(W, W_truth), relative(b, b_truth)
    print(f"{loss}, {backend}: losses {errors[0]:.1e}, W {errors[1]:.1e}, b {errors[2]:.1e}")
    assert max(errors) <= 1e-5
