"""Every op refuses bad arguments with the same error on every backend, before any kernel runs."""

import dataclasses

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels import losses
from softstep.kernels.errors import BackendError

N, D, C = 4, 3, 2
X = np.linspace(-1, 1, N * D, dtype="f4").reshape(N, D)
W, B = np.ones((D, C), "f4"), np.zeros(C, "f4")
V = np.linspace(-1, 1, N * C, dtype="f4").reshape(N, C)
Y = np.array([0, 1, 1, 0])
SOFT = np.full((N, C), 0.5, "f4")
ORDER = np.arange(N)
OPS = [
    name for name in kernels.__all__ if name not in ("BackendError", "CSR", "Scaled", "use_backend")
]


def arguments(op):
    """Valid ones, by name; arrays that are updated are new ones."""
    bank = {"W": W[None].copy(), "b": B[None].copy(), "loss": "cross_entropy"}
    return {
        "linear_forward": {"X": X, "W": W, "b": B},
        "linear_backward": {"dV": V, "X": X},
        "softmax_forward": {"V": V},
        "softmax_backward": {"dP": V, "P": V},
        "mse_forward": {"P": V, "Y": Y},
        "mse_backward": {"P": V, "Y": Y},
        "cross_entropy_forward": {"V": V, "y": Y},
        "cross_entropy_backward": {"V": V, "y": Y},
        "softmax_mse_backward": {"V": V, "y": Y},
        "gce_forward": {"V": V, "y": Y},
        "gce_backward": {"V": V, "y": Y},
        "surface_forward": {
            "V0": V,
            "V1": V,
            "V2": V,
            "y": Y,
            "x_offsets": [0, 1],
            "y_offsets": [0.5],
            "loss": "mse",
        },
        "predict": {"X": X, "W": W, "b": B},
        "evaluate": {"X": X, "y": Y, **bank},
        "gradient": {"X": X, "y": Y, **bank},
        "train": {"X": X, "y": Y, "order": ORDER, "batch_size": 2, "learning_rate": 0.1, **bank},
    }[op]


def call(op, backend, **changes):
    return getattr(kernels, op)(**{**arguments(op), "backend": backend, **changes})


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def fortran(*shape):
    return np.asfortranarray(np.ones(shape, "f4"))


IN_PLACE = "is updated in place, so it must be"
WRITABLE = f"{IN_PLACE} C-contiguous, aligned and writable"
FEATURES = "X must be float32 or float64 or float16 or bfloat16 or uint8 or int8, not"
TARGETS = "y must be labels of shape (n,) or float targets of shape (n, c), but it is"
DISTRIBUTION = "is not a distribution: cross-entropy needs targets >= 0 that sum to 1"
LABELS_ONLY = "y is float32 of shape (4, 2), but the loss 'gce' is defined for integer labels only"
CHOICES = "choose one of mse, cross_entropy, gce"

X_REFUSALS = [
    (X[0], ValueError, "X must have the form (n, d), but its shape is (3,)"),
    (X[None], ValueError, "X must have the form (n, d), but its shape is (1, 4, 3)"),
    (X[:, :0], ValueError, "X has no features: its shape is (4, 0)"),
    (X.astype("i8"), TypeError, f"{FEATURES} int64"),
    (X.astype("c16"), TypeError, f"{FEATURES} complex128"),
    (X.astype("O"), TypeError, f"{FEATURES} object"),
    (X.astype("?"), TypeError, f"{FEATURES} bool"),
    ("pixels", TypeError, f"{FEATURES} <U6"),
    (None, TypeError, f"{FEATURES} object"),
]
V_REFUSALS = [
    (V[0], ValueError, "V must have the form (n, c), but its shape is (2,)"),
    (V[:, :0], ValueError, "V has no classes: its shape is (4, 0)"),
    (V.astype("i8"), TypeError, "V must be float32 or float64, not int64"),
    (V.astype("f2"), TypeError, "V must be float32 or float64, not float16"),
    (V.astype("c8"), TypeError, "V must be float32 or float64, not complex64"),
]
LABEL_REFUSALS = [
    ([0, -1, 9, 0], ValueError, "y[1] = -1 is not in [0, 2)"),
    ([0, 1, 2, 2], ValueError, "y[2] = 2 is not in [0, 2)"),
    ([0, 1, 0.5, 9], ValueError, "y[2] = 0.5 is not a whole number"),
    ([0, np.nan, 1, 0], ValueError, "y[1] = nan is not a whole number"),
    ([np.inf, 0, 0, 0], ValueError, "y[0] = inf is not in [0, 2)"),
    ([0, 1], ValueError, "y has 2 labels, but there are 4 rows"),
    (Y == 1, TypeError, "y must hold integers, not bool"),
    (["a", "b", "a", "b"], TypeError, "y must hold integers, not <U1"),
    (Y.astype("c16"), TypeError, "y must hold integers, not complex128"),
    (Y.astype("O"), TypeError, "y must hold integers, not object"),
    (Y[None, None], ValueError, f"{TARGETS} int64 of shape (1, 1, 4)"),
    (1, ValueError, f"{TARGETS} int64 of shape ()"),
]
SOFT_REFUSALS = [
    (SOFT[:2], ValueError, "y has shape (2, 2), but there are 4 rows and 2 classes"),
    (SOFT[:, :1], ValueError, "y has shape (4, 1), but there are 4 rows and 2 classes"),
]
OUT_REFUSALS = [
    (SOFT[:2].copy(), ValueError, "out has shape (2, 2), but the result has shape (4, 2)"),
    (SOFT.astype("f8"), TypeError, "out is float64, but the result is float32"),
    (read_only(SOFT), ValueError, f"out {WRITABLE}"),
    (fortran(N, C), ValueError, f"out {WRITABLE}"),
    (SOFT.tolist(), TypeError, f"out {IN_PLACE} an array, not list"),
]


def refusals(op, name, table):
    return [(op, {name: value}, error, message) for value, error, message in table]


def train_refusals(name, table):
    return refusals("train", name, table)


LABEL_OPS = ("gce_forward", "gce_backward")
BY_LOSS = ("cross_entropy_forward", "cross_entropy_backward", "evaluate", "gradient", "train")
OFFSET_REFUSALS = [
    ([0, np.inf, np.nan], ValueError, "[1] = inf is not finite"),
    ([[0, 1]], ValueError, " must have the form (k,), but its shape is (1, 2)"),
    (1.0, ValueError, " must have the form (k,), but its shape is ()"),
    (["left"], TypeError, " must hold numbers, not <U4"),
    ([1j], TypeError, " must hold numbers, not complex128"),
]
SURFACE_REFUSALS = [
    *refusals("surface_forward", "V0", [(v, e, m.replace("V ", "V0 ")) for v, e, m in V_REFUSALS]),
    *refusals(
        "surface_forward",
        "V2",
        [
            (V[:3], ValueError, "V2 has shape (3, 2), but V0 has shape (4, 2)"),
            (V.astype("f8"), TypeError, "V2 is float64, but V0 is float32"),
        ],
    ),
    *(
        (op, change, error, f"{name}{message}")
        for name in ("x_offsets", "y_offsets")
        for op, change, error, message in refusals("surface_forward", name, OFFSET_REFUSALS)
    ),
    *refusals(
        "surface_forward",
        "y",
        [(SOFT, ValueError, "y must be labels of shape (n,), but its shape is (4, 2)")],
    ),
    *refusals(
        "surface_forward",
        "loss",
        [
            (
                "hinge",
                ValueError,
                f"unknown loss 'hinge': {CHOICES}",
            ),
            (("mse", "mse"), ValueError, "loss names 2 heads, but W has 1"),
        ],
    ),
    *refusals(
        "surface_forward",
        "sample_weight",
        [(np.ones((2, 4)), ValueError, "sample_weight has shape (2, 4): one weight set only")],
    ),
]
REFUSALS = [
    *SURFACE_REFUSALS,
    *(r for op in OPS if "X" in arguments(op) for r in refusals(op, "X", X_REFUSALS)),
    *(r for op in OPS if "V" in arguments(op) for r in refusals(op, "V", V_REFUSALS)),
    *(r for op in OPS if "y" in arguments(op) for r in refusals(op, "y", LABEL_REFUSALS)),
    *(
        r
        for op in OPS
        if "y" in arguments(op) and op not in LABEL_OPS
        for r in refusals(op, "y", SOFT_REFUSALS)
    ),
    *(r for op in LABEL_OPS for r in refusals(op, "y", [(SOFT, TypeError, LABELS_ONLY)])),
    *(
        (op, {"y": SOFT, "loss": loss}, TypeError, LABELS_ONLY)
        for op in ("evaluate", "gradient", "train")
        for loss in ("gce", ["gce"])
    ),
    *(
        r
        for op in (
            "softmax_forward",
            "softmax_backward",
            "mse_backward",
            "gce_backward",
            "linear_forward",
        )
        for r in refusals(op, "out", OUT_REFUSALS)
    ),
    *(
        r
        for op in BY_LOSS
        for r in refusals(
            op,
            "y",
            [
                (SOFT * [[1], [1], [3], [4]], ValueError, f"y[2] {DISTRIBUTION}"),
                ([[0.5, 0.5], [1.5, -0.5]] * 2, ValueError, f"y[1] {DISTRIBUTION}"),
            ],
        )
    ),
    *refusals("mse_forward", "Y", [([0, 9, 0, 0], ValueError, "Y[1] = 9 is not in [0, 2)")]),
    *refusals(
        "mse_backward", "Y", [([0, 0.1, 0, 0], ValueError, "Y[1] = 0.1 is not a whole number")]
    ),
    *refusals(
        "softmax_backward",
        "dP",
        [
            (V[:2], ValueError, "dP has shape (2, 2), but P has shape (4, 2)"),
            (V.astype("f8"), TypeError, "dP is float64, but P is float32"),
        ],
    ),
    *refusals(
        "linear_backward",
        "dV",
        [
            (V[:2], ValueError, "dV has 2 rows, but X has 4"),
            (V[0], ValueError, "dV must have the form (n, c), but its shape is (2,)"),
            (
                V.astype("f8"),
                TypeError,
                "dV is float64, but float32 features take a float32 gradient",
            ),
        ],
    ),
    *refusals(
        "linear_forward",
        "W",
        [
            (W.astype("f8"), TypeError, "W is float64, but float32 features take float32 weights"),
            (
                W.astype("c8"),
                TypeError,
                "W is complex64, but float32 features take float32 weights",
            ),
            (W[:2], ValueError, "W has shape (2, 2), but X has 3 features"),
            (W[0], ValueError, "W must have the form (d, c), but its shape is (2,)"),
            (W[None], ValueError, "W must have the form (d, c), but its shape is (1, 3, 2)"),
            (W[:, :0], ValueError, "W has shape (3, 0): no heads or no classes"),
            (W[:, :1], ValueError, "b has shape (2,), but W has shape (3, 1)"),
        ],
    ),
    *refusals(
        "linear_forward",
        "b",
        [
            (B.astype("f8"), TypeError, "b is float64, but float32 features take float32 weights"),
            (B[:1], ValueError, "b has shape (1,), but W has shape (3, 2)"),
        ],
    ),
    *refusals(
        "predict",
        "W",
        [
            (W[None], ValueError, "b has shape (2,), but W has shape (1, 3, 2)"),
            (W[None][:0], ValueError, "W has shape (0, 3, 2): no heads or no classes"),
            (
                W[0],
                ValueError,
                "W must have the form (h, d, c), or (d, c) for one head, but its shape is (2,)",
            ),
        ],
    ),
    *refusals("evaluate", "b", [(B, ValueError, "b has shape (2,), but W has shape (1, 3, 2)")]),
    *train_refusals(
        "W",
        [
            (W, ValueError, "W must have the form (h, d, c), but its shape is (3, 2)"),
            (
                W[None].astype("f8"),
                TypeError,
                "W is float64, but float32 features take float32 weights",
            ),
            (W[None].tolist(), TypeError, f"W {IN_PLACE} an array, not list"),
            (read_only(W[None]), ValueError, f"W {WRITABLE}"),
            (fortran(2, D, C), ValueError, f"W {WRITABLE}"),
        ],
    ),
    *train_refusals(
        "b",
        [
            (np.zeros((1, 3), "f4"), ValueError, "b has shape (1, 3), but W has shape (1, 3, 2)"),
            (read_only(B[None]), ValueError, f"b {WRITABLE}"),
            (np.zeros((1, 4), "f4")[:, ::2], ValueError, f"b {WRITABLE}"),
        ],
    ),
    *train_refusals(
        "y",
        [
            (np.array([Y, [0, 1, 5, 0]]), ValueError, "y[1][2] = 5 is not in [0, 2)"),
            (np.zeros((0, N), int), ValueError, "y holds no label set"),
            (np.zeros((2, 3), int), ValueError, "y[0] has 3 labels, but there are 4 rows"),
        ],
    ),
    *train_refusals(
        "order",
        [
            (ORDER * 1.0, TypeError, "order must hold integers, not float64"),
            (ORDER[None], ValueError, "order must have the form (m,), but its shape is (1, 4)"),
            (ORDER + 1, ValueError, "order[3] = 4 is not in [0, 4)"),
            (ORDER - 1, ValueError, "order[0] = -1 is not in [0, 4)"),
        ],
    ),
    *train_refusals(
        "batch_size",
        [
            (0, ValueError, "batch_size must be at least 1, not 0"),
            (-3, ValueError, "batch_size must be at least 1, not -3"),
            (True, TypeError, "batch_size must be an integer, not bool"),
            (1.5, TypeError, "batch_size must be an integer, not float"),
            ("3", TypeError, "batch_size must be an integer, not str"),
        ],
    ),
    *(
        r
        for op in ("train", "evaluate", "gradient")
        for r in refusals(
            op,
            "loss",
            [
                ("hinge", ValueError, f"unknown loss 'hinge': {CHOICES}"),
                ([None], ValueError, f"unknown loss None: {CHOICES}"),
                (["mse", "mse"], ValueError, "loss names 2 heads, but W has 1"),
            ],
        )
    ),
    *train_refusals(
        "learning_rate",
        [
            ("fast", TypeError, "learning_rate must be a number or an array of numbers, not <U4"),
            (
                1j,
                TypeError,
                "learning_rate must be a number or an array of numbers, not complex128",
            ),
            (
                [0.1, 0.1],
                ValueError,
                "learning_rate has shape (2,); it must be a number or have shape (1,) or (2, 1)",
            ),
        ],
    ),
    *train_refusals(
        "l2",
        [([0.1, 0.1], ValueError, "l2 has shape (2,); it must be a number or have shape (1,)")],
    ),
    *train_refusals(
        "momentum",
        [(None, TypeError, "momentum must be a number or an array of numbers, not object")],
    ),
    *train_refusals("l2_bias", [(1, TypeError, "l2_bias must be True or False, not 1")]),
    *train_refusals("fit_bias", [("no", TypeError, "fit_bias must be True or False, not 'no'")]),
    *(
        r
        for op in OPS
        if "X" in arguments(op)
        for r in refusals(
            op,
            "feature_scale",
            [
                ("1", TypeError, "feature_scale must be a number, not str"),
                (True, TypeError, "feature_scale must be a number, not bool"),
                (None, TypeError, "feature_scale must be a number, not NoneType"),
            ],
        )
    ),
    *(
        r
        for op in ("train", "evaluate", "gradient")
        for r in refusals(
            op,
            "sample_weight",
            [
                (np.ones(3), ValueError, "sample_weight has shape (1, 3), but there are 4 rows"),
                (
                    np.ones((0, 4)),
                    ValueError,
                    "sample_weight has shape (0, 4), but there are 4 rows",
                ),
                (np.ones(4) * 1j, TypeError, "sample_weight must hold numbers, not complex128"),
            ],
        )
    ),
    *(
        r
        for op in ("train", "evaluate", "gradient")
        for name in ("y_index", "weight_index")
        for r in refusals(
            op,
            name,
            [
                ([0, 0], ValueError, f"{name} has shape (2,), but W has 1 heads"),
                ([1], ValueError, f"{name}[0] = 1 is not in [0, 1)"),
                ([-1], ValueError, f"{name}[0] = -1 is not in [0, 1)"),
                ([0.0], TypeError, f"{name} must hold integers, not float64"),
            ],
        )
    ),
    *train_refusals(
        "velocity",
        [
            (W, TypeError, "velocity must be a pair (MW, Mb)"),
            ((W, B), ValueError, "velocity[0] has shape (3, 2), but W has shape (1, 3, 2)"),
            (
                (W[None].astype("f8"), B[None].copy()),
                TypeError,
                "velocity[0] is float64, but W is float32",
            ),
            ((W[None].copy(), read_only(B[None])), ValueError, f"velocity[1] {WRITABLE}"),
        ],
    ),
    *train_refusals(
        "active",
        [
            ([True], TypeError, f"active {IN_PLACE} an array, not list"),
            (np.ones(2, bool), ValueError, "active has shape (2,), but W has 1 heads"),
            (np.ones(1), TypeError, "active must be bool, not float64"),
            (read_only(np.ones(1, bool)), ValueError, f"active {WRITABLE}"),
        ],
    ),
]


def described(refusal):
    op, changes, _, message = refusal
    return f"{op}({next(iter(changes))}): {message}"


@pytest.mark.parametrize("refusal", REFUSALS, ids=described)
def test_refused_in_the_same_words_on_every_backend(refusal, backend):
    op, changes, error, message = refusal
    with pytest.raises((TypeError, ValueError)) as caught:
        call(op, backend, **changes)
    assert (type(caught.value), str(caught.value)) == (error, message)


def test_what_is_no_array_is_named(backend):
    with pytest.raises(TypeError, match=r"^X \(list\) cannot be read as a NumPy array: "):
        call("linear_forward", backend, X=[[1.0], [1.0, 2.0]])


@pytest.mark.parametrize("op", OPS)
def test_unknown_backends_are_refused_by_every_op(op):
    with pytest.raises(ValueError, match=r"^unknown backend 'tpu': choose one of auto, numpy, "):
        call(op, "tpu")
    with pytest.raises(TypeError, match=r"^backend must be a string, not int$"):
        call(op, 7)


@pytest.mark.parametrize("op", OPS)
def test_the_arguments_that_the_refusals_change_are_good(op, backend):
    call(op, backend)


def test_a_refused_call_changes_nothing(backend):
    good = arguments("train")
    velocity = np.ones_like(good["W"]), np.ones_like(good["b"])
    for bad in ({"active": np.ones(2, bool)}, {"y": [0, 1, 2, 0]}, {"weight_index": [1]}):
        with pytest.raises(ValueError, match=r"active|y\[2\]|weight_index"):
            kernels.train(**{**good, "velocity": velocity, "backend": backend, **bad})
    np.testing.assert_array_equal(good["W"], W[None])
    np.testing.assert_array_equal(good["b"], B[None])
    assert (velocity[0] == 1).all()
    assert (velocity[1] == 1).all()


@pytest.mark.parametrize("op", [op for op in OPS if "loss" in arguments(op)])
def test_a_loss_that_a_backend_does_not_compute_is_an_error_and_never_another_loss(
    op, backend, monkeypatch
):
    """As when someone adds a row to the table of losses and forgets a backend."""
    hinge = dataclasses.replace(losses.LOSSES["mse"], name="hinge", code=77)
    monkeypatch.setitem(losses.LOSSES, "hinge", hinge)
    good = arguments(op)
    before = {name: np.copy(good[name]) for name in ("W", "b") if name in good}
    with pytest.raises(BackendError, match="does not compute the loss 'hinge'"):
        getattr(kernels, op)(**{**good, "loss": "hinge", "backend": backend})
    for name, array in before.items():
        np.testing.assert_array_equal(good[name], array)


# Non-finite values are no error: they follow the arithmetic.


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("op", [op for op in OPS if op != "train"])
def test_non_finite_values_pass_and_stay_in_their_row(op, bad, backend):
    good = arguments(op)
    name = next(name for name in ("dP", "P", "V", "V0", "X") if name in good)
    values = good[name].copy()
    values[1, 0] = bad
    found, usual = call(op, backend, **{name: values}), call(op, backend)
    if op == "linear_backward":
        assert not np.isfinite(found[0][0]).any()  # the feature's weights
        np.testing.assert_array_equal(found[0][1:], usual[0][1:])
    elif op == "gradient":
        assert all(np.isnan(f).all() for f in found)
    elif op in ("evaluate", "surface_forward"):
        assert np.isnan(found[0]).all()
        assert np.isfinite(found[1]).all()
    else:
        rows = [0, 2, 3]
        np.testing.assert_array_equal(found[rows], usual[rows])
        assert op == "predict" or not np.isfinite(found[1]).all() or bad == -np.inf


def test_non_finite_weights_and_settings_pass(backend):
    for change in ({"sample_weight": [1, np.nan, 1, 1]}, {"learning_rate": np.nan}, {"l2": np.inf}):
        _, correct = call("train", backend, **change)
        assert correct.shape == (2, 1)


def test_settings_of_any_size_mean_the_same_on_every_backend(backend):
    X, y = np.ones((3, 2), np.float32), [0, 1, 0]

    def trained(batch_size, **options):
        W, b = np.zeros((1, 2, 2), np.float32), np.zeros((1, 2), np.float32)
        options = {"loss": "mse", "learning_rate": 0.5, **options}
        kernels.train(X, y, np.arange(3), batch_size, W, b, backend=backend, **options)
        return W

    assert np.array_equal(trained(2**70), trained(3))
    assert np.isinf(trained(3, learning_rate=1e39)).any()
    for loss in (None, 3):
        with pytest.raises(TypeError, match="loss must be a name"):
            trained(3, loss=loss)


@pytest.mark.parametrize("op", [op for op in OPS if "X" in arguments(op)])
def test_a_scale_that_float32_does_not_hold_is_infinite_without_a_warning(op, backend):
    call(op, backend, feature_scale=1e39)


# Each op that has `out` and each of its inputs, all of the result's form.
OUT_INPUTS = [
    ("linear_forward", "X"), ("linear_forward", "W"), ("softmax_forward", "V"),
    ("softmax_backward", "dP"), ("softmax_backward", "P"), ("mse_backward", "P"),
    ("mse_backward", "Y"), ("cross_entropy_backward", "V"), ("cross_entropy_backward", "y"),
    ("softmax_mse_backward", "V"), ("softmax_mse_backward", "y"), ("gce_backward", "V"),
]  # fmt: skip


def square_arguments(op):
    """Valid ones, each (4, 4) except the bias and gce's labels; the targets are distributions."""
    rows = np.random.default_rng(5).dirichlet(np.ones(4), (4, 4))
    names = [name for name in arguments(op) if name != "b"]
    square = dict(zip(names, rows, strict=False))
    if op in LABEL_OPS:
        return {**square, "y": np.arange(4)}
    return {**square, "b": np.ones(4)} if op == "linear_forward" else square


@pytest.mark.parametrize(("op", "name"), OUT_INPUTS)
def test_an_out_that_overlaps_an_input_in_part_is_refused(op, name, backend):
    given = square_arguments(op)
    expected = getattr(kernels, op)(**given, backend=backend)
    room = np.zeros((6, 4))
    room[1:5] = given[name]
    given[name] = room[1:5]
    for out in (room[:4], room[2:]):
        with pytest.raises(ValueError, match=r"^out overlaps an input without being it$"):
            getattr(kernels, op)(**given, out=out, backend=backend)
    assert getattr(kernels, op)(**given, out=room[1:5], backend=backend) is not None
    assert np.array_equal(room[1:5], expected)
    assert not room[0].any()
    assert not room[5].any()


def test_an_out_that_begins_as_the_features_and_is_narrower_is_refused(backend):
    X, W, b = np.ones((4, 3)), np.ones((3, 2)), np.ones(2)
    out = X.reshape(-1)[:8].reshape(4, 2)
    with pytest.raises(ValueError, match=r"^out overlaps an input without being it$"):
        kernels.linear_forward(X, W, b, out=out, backend=backend)
    b = X.reshape(-1)[:2]
    with pytest.raises(ValueError, match=r"^out overlaps an input without being it$"):
        kernels.linear_forward(np.ones((4, 3)), W, b, out=out, backend=backend)


def test_an_out_next_to_an_input_in_the_same_memory_is_accepted(backend):
    room = np.zeros((8, 3))
    kernels.softmax_forward(room[:4], out=room[4:], backend=backend)
    assert np.allclose(room[4:], 1 / 3, rtol=1e-15)
    assert not room[:4].any()


def overlaps():
    """What is updated, in part in the memory of something else."""
    n, d, c = 6, 5, 3
    memory = np.zeros(2 * d * c + 2 * c, np.float32)
    W, b = memory[: d * c].reshape(1, d, c), memory[d * c :][:c].reshape(1, c)
    own = np.zeros((1, d, c), np.float32), np.zeros((1, c), np.float32)
    X = np.zeros((n, d), np.float32)
    yield "velocity", {"W": W, "b": b, "velocity": (W, np.zeros_like(b))}
    yield "velocity", {"W": W, "b": b, "velocity": (np.zeros_like(W), b)}
    yield "velocity", {"W": own[0], "b": own[1], "velocity": (W, memory[c : 2 * c].reshape(1, c))}
    yield "overlaps", {"W": W, "b": memory[2:][:c].reshape(1, c)}
    yield "overlaps", {"W": W, "b": own[1], "X": memory[: n * d].reshape(n, d)}
    yield "overlaps", {"W": X[:3].reshape(1, d, c), "b": own[1], "X": X, "momentum": 0.5}


@pytest.mark.parametrize(("text", "arguments"), list(overlaps()))
def test_what_is_trained_in_the_memory_of_another_array_is_refused(text, arguments, backend):
    given = {"X": np.zeros((6, 5), np.float32), "learning_rate": 0.1, **arguments}
    positional = (given.pop("X"), np.arange(6) % 3, np.arange(6), 2, given.pop("W"), given.pop("b"))
    with pytest.raises(ValueError, match=text):
        kernels.train(*positional, loss="mse", backend=backend, **given)


def test_neighbours_in_one_memory_are_no_overlap(backend):
    memory = np.zeros(18, np.float32)
    W, b = memory[:15].reshape(1, 5, 3), memory[15:].reshape(1, 3)
    X = np.ones((6, 5), np.float32)
    kernels.train(
        *(X, np.arange(6) % 3, np.arange(6), 2, W, b),
        loss="mse",
        learning_rate=0.1,
        backend=backend,
    )
    assert W.any()
    assert b.any()


def test_of_rows_that_lie_apart_what_is_between_is_free(backend):
    """Of the columns of a wider array the last row ends where its columns do."""
    n, d, c = 6, 5, 3
    memory = np.zeros(n * 30, np.float32)
    X, end = memory.reshape(n, 30)[:, :d], (n - 1) * 30 + d
    for start in (end, end - 1):
        W, b = memory[start:][: d * c].reshape(1, d, c), np.zeros((1, c), np.float32)
        given = (X, np.arange(n) % c, np.arange(n), 2, W, b)
        how = {"loss": "mse", "learning_rate": 0.1, "backend": backend}
        if start == end:
            kernels.train(*given, **how)
            continue
        with pytest.raises(ValueError, match="overlaps"):
            kernels.train(*given, **how)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_targets_that_were_rounded_to_float16_are_distributions_and_others_are_not(backend):
    rng = np.random.default_rng(0)
    rounded = rng.dirichlet(np.ones(40), size=500).astype(np.float16).astype(np.float32)
    off = np.abs(rounded.sum(axis=1, dtype=np.float64) - 1).max()
    assert 2**-14 < off < 2**-11  # what rounding 40 of them makes of 1
    logits = rng.standard_normal(rounded.shape).astype(np.float32)
    loss = kernels.cross_entropy_forward(logits, rounded, backend=backend)
    assert np.isfinite(loss).all()
    for wrong in (1 + 2**-9, 1 - 2**-9):
        with pytest.raises(ValueError, match=r"y\[0\] is not a distribution"):
            kernels.cross_entropy_forward(logits, rounded * np.float32(wrong), backend=backend)
