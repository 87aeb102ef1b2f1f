"""What `train`, `evaluate` and `predict` mean, against a reference of a few lines.

The reference is float64 and goes row by row with the written-out Jacobian. Results are held to the
error bounds of `softstep.kernels.verify.train_bounds`.
"""

import sys
import types

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels.losses import GCE_Q, LOSSES, Targets
from softstep.kernels.verify import cases, parity, train_bounds
from softstep.kernels.verify.bounds import Arithmetic

N, D, C, BATCH = 23, 5, 4, 10  # three steps, the last of 3 rows


def row_gradient(v, target, loss):
    """Loss and dv of one row."""
    p = np.exp(v - v.max()) / np.exp(v - v.max()).sum()
    jacobian = np.diag(p) - np.outer(p, p)
    match loss:
        case "mse":
            return np.mean((target - p) ** 2), jacobian @ (2 / len(p) * (p - target))
        case "cross_entropy":
            return -np.sum(target * np.log(p)), p - target
        case "gce":
            p_y = np.sum(target * p)
            return (1 - p_y**GCE_Q) / GCE_Q, jacobian @ (-(p_y ** (GCE_Q - 1)) * target)


def reference(
    X,
    Y,
    order,
    batch_size,
    W,
    b,
    *,
    loss,
    learning_rate,
    l2=0.0,
    l2_bias=False,
    momentum=0.0,
    velocity=None,
    fit_bias=True,
    w=None,
):
    """One head: losses, correct, W, b, MW, Mb. Targets Y (n, c), weights w (n,)."""
    W, b, losses, correct = W.copy(), b.copy(), [], []
    MW, Mb = (m.copy() for m in velocity or (np.zeros_like(W), np.zeros_like(b)))
    w = np.ones(len(X)) if w is None else w
    for step, start in enumerate(range(0, len(order), batch_size)):
        rows = order[start : start + batch_size]
        dW, db, L, right = np.zeros_like(W), np.zeros_like(b), 0.0, 0
        for r in rows:
            v = X[r] @ W + b
            loss_r, dv = row_gradient(v, Y[r], loss)
            dW += w[r] * np.outer(X[r], dv) / len(rows)
            db += w[r] * dv / len(rows)
            L += w[r] * loss_r / len(rows)
            right += w[r] != 0 and v.argmax() == Y[r].argmax()
        losses.append(L)
        correct.append(right)
        rate = learning_rate[step] if np.ndim(learning_rate) else learning_rate
        MW = momentum * MW + dW + l2 * W
        W = W - rate * MW
        if fit_bias:
            Mb = momentum * Mb + db + (l2 * b if l2_bias else 0)
            b = b - rate * Mb
    return np.array(losses), np.array(correct), W, b, MW, Mb


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    return request.param


def problem(dtype, h=1):
    """X, y, order and a bank, all of float64 numbers that `dtype` holds."""
    rng = np.random.default_rng(3)
    X = cases.features(N, D, dtype, 0)
    return X, rng.integers(0, C, N), rng.permutation(N), *cases.weights(h, D, C, dtype, 0)


def trained(arguments, backend, **options):
    """All that `train` leaves: losses, correct, W, b, MW, Mb."""
    *data, W, b = arguments
    velocity = options.pop("velocity", None) or (np.zeros_like(W), np.zeros_like(b))
    return parity.run("train", ((*data, W, b), {**options, "velocity": velocity}), backend)


def assert_close(found, expected, arguments, **options):
    """Every result within twice the bound of its arithmetic: the reference rounds too."""
    wide, wide_options = parity.wide((arguments, options))
    a = Arithmetic.of(arguments[-1].dtype)
    bounds = train_bounds.train(Arithmetic(2 * a.u, 2 * a.tiny), *wide, **wide_options)
    for f, e, bound in zip(found, expected, bounds, strict=True):
        assert parity.worst(f, np.asarray(e, float).reshape(f.shape), bound) <= 1


SETTINGS = {
    "plain": {},
    "schedule": {"learning_rate": np.array([[0.5], [0.1], [0.0]])},
    "l2": {"l2": 0.3},
    "l2 on the bias": {"l2": 0.3, "l2_bias": True},
    "momentum": {"momentum": 0.9},
    "momentum and l2": {"momentum": 0.5, "l2": 0.3, "l2_bias": True},
    "velocity": {"momentum": 0.9, "velocity": True},
    "velocity without momentum": {"velocity": True},
    "no bias": {"fit_bias": False, "l2": 0.3, "l2_bias": True, "velocity": True},
    "sample weights": {"sample_weight": True},
    "all": {
        "learning_rate": np.array([[0.5], [0.1], [0.2]]),
        "l2": 0.1,
        "l2_bias": True,
        "momentum": 0.7,
        "velocity": True,
        "sample_weight": True,
    },
}


# What each loss can learn from.
CASES = [
    (loss, kind)
    for loss, row in LOSSES.items()
    for kind in ("labels", "soft targets")
    if kind == "labels" or row.targets is not Targets.LABELS
]


@pytest.mark.parametrize(("loss", "targets"), CASES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_train_is_the_reference(setting, loss, targets, backend, dtype):
    X, y, order, W, b = problem(dtype)
    options = {"loss": loss, "learning_rate": 0.3, **SETTINGS[setting]}
    if "velocity" in options:
        options["velocity"] = cases.weights(1, D, C, dtype, 1)
    if "sample_weight" in options:
        options["sample_weight"] = np.arange(N) % 3 * np.float64(0.75)  # zeros among them
    if targets == "soft targets":
        y = cases.probabilities(N, C, dtype, 1)
    arguments = (X, y, order, BATCH, W, b)
    found = trained(arguments, backend, **options)

    (X, y, order, _, W, b), wide = parity.wide((arguments, options))
    velocity = wide.pop("velocity", None)
    w = wide.pop("sample_weight", None)
    rates = wide.pop("learning_rate")
    expected = reference(
        *(X, np.eye(C)[y] if y.ndim == 1 else y, order, BATCH, W[0], b[0]),
        **{**wide, "w": w, "learning_rate": rates if np.ndim(rates) == 0 else rates[:, 0]},
        velocity=velocity and (velocity[0][0], velocity[1][0]),
    )
    assert_close(found, expected, arguments, **options)


def test_w_b_velocity_and_active_are_updated_in_place_and_nothing_else(backend):
    X, y, order, W, b = problem("float32")
    copies = X.copy(), y.copy(), order.copy()
    W0, b0, velocity, active = W.copy(), b.copy(), (W * 0, b * 0), np.ones(1, bool)
    options = {"loss": "mse", "learning_rate": 0.3, "velocity": velocity, "active": active}
    kernels.train(X, y, order, BATCH, W, b, **options, backend=backend)
    for changed, start in ((W, W0), (b, b0), (velocity[0], W * 0), (velocity[1], b * 0)):
        assert (changed != start).all()
    for same, copy in zip((X, y, order), copies, strict=True):
        np.testing.assert_array_equal(same, copy)


def test_a_head_whose_logits_overflow_no_longer_trains_and_keeps_its_weights(backend):
    X, y, order, W, b = problem("float32")
    how = {"loss": "cross_entropy", "backend": backend}
    rates = np.full((3, 2), 0.3)
    rates[0, 1] = 1e37  # the second step sees infinite logits
    bank, one_step = [(np.repeat(W, 2, axis=0), np.repeat(b, 2, axis=0)) for _ in range(2)]
    kernels.train(10 * X, y, order[:BATCH], BATCH, *one_step, learning_rate=rates[:1], **how)
    active = np.ones(2, bool)
    how |= {"learning_rate": rates, "active": active}
    loss, correct = kernels.train(10 * X, y, order, BATCH, *bank, **how)
    assert active.tolist() == [True, False]
    assert np.isfinite(loss).tolist() == [[True, True], [True, False], [True, False]]
    assert not correct[1:, 1].any()
    for found, expected in zip(bank, one_step, strict=True):
        np.testing.assert_array_equal(found[1], expected[1])
        assert (found[0] != expected[0]).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_rate_of_zero_leaves_the_weights_and_still_measures(loss, backend, dtype):
    X, y, order, W, b = problem(dtype)
    options = {"loss": loss, "learning_rate": 0}
    losses, correct, W_after, b_after, *_ = trained((X, y, order, N, W, b), backend, **options)
    np.testing.assert_array_equal(W_after, W)
    np.testing.assert_array_equal(b_after, b)
    mean_loss, accuracy = kernels.evaluate(X, y, W, b, loss=loss, backend=backend)
    np.testing.assert_allclose(losses[0], mean_loss, rtol=1e-6 if dtype == "float32" else 1e-14)
    assert correct[0] == accuracy * N


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_of_mean_1_equal_repeated_rows_on_one_full_batch(loss, backend, dtype):
    X, y, _, W, b = problem(dtype)
    counts = np.arange(N) % 4
    options = {"loss": loss, "learning_rate": 0.5}
    weighted = (X, y, np.arange(N), N, W, b), {**options, "sample_weight": counts / counts.mean()}
    rows = np.repeat(np.arange(N), counts)
    repeated = (X[rows], y[rows], np.arange(len(rows)), len(rows), W, b)
    found, expected = (trained(a, backend, **o) for a, o in (weighted, (repeated, options)))
    pick = [0, 2, 3, 4, 5]  # all but the count of right rows
    bounds = train_bounds.train(Arithmetic.of(dtype), *parity.wide(weighted)[0], **weighted[1])
    for i in pick:
        assert parity.worst(found[i], expected[i].astype(float), 2 * bounds[i]) <= 1
    assert not np.array_equal(found[2], W)


def test_the_last_short_batch_is_divided_by_its_own_length(backend):
    X, y, _, W, b = problem("float64")
    options = {"loss": "cross_entropy", "learning_rate": 0.5}
    one_row = trained((X, y, np.array([7]), 10, W, b), backend, **options)
    batch_of_one = trained((X, y, np.array([7]), 1, W, b), backend, **options)
    for f, e in zip(one_row, batch_of_one, strict=True):
        np.testing.assert_array_equal(f, e)
    row = X[7:8], np.eye(C)[y[7:8]]
    expected = reference(*row, np.array([0]), 1, W[0], b[0], **options)
    assert_close(one_row, expected, (X, y, np.array([7]), 10, W, b), **options)


def test_rows_of_weight_zero_change_nothing_but_the_length_of_the_batch(backend):
    X, y, _, W, b = problem("float64")
    w = np.where(np.arange(N) < 12, 1.0, 0.0)
    half = {"loss": "mse", "learning_rate": 0.5, "sample_weight": w}
    losses, correct, W_after, *_ = trained((X, y, np.arange(N), N, W, b), backend, **half)
    options = {"loss": "mse", "learning_rate": 0.5 * 12 / N}
    arguments = (X, y, np.arange(12), 12, W, b)
    found = trained(arguments, backend, **options)
    bounds = train_bounds.train(Arithmetic(2.0**-52, 0.0), *arguments, **options)
    assert parity.worst(W_after, found[2], bounds[2]) <= 1
    assert parity.worst(losses * N / 12, found[0], bounds[0]) <= 1
    assert correct == found[1]


def test_heads_choose_their_label_set_and_weight_set(backend, dtype):
    X, y, order, W, b = problem(dtype, h=4)
    rng = np.random.default_rng(5)
    Y, w = np.stack([y, rng.permutation(y)]), rng.uniform(0, 2, (3, N))
    y_index, weight_index = np.array([0, 1, 1, 0]), np.array([2, 0, 1, 1])
    options = {"loss": "mse", "learning_rate": 0.3}
    sets = {"sample_weight": w, "y_index": y_index, "weight_index": weight_index}
    bank = trained((X, Y, order, BATCH, W, b), backend, **options, **sets)
    for k in range(4):
        one = (X, Y[y_index[k]], order, BATCH, W[k : k + 1], b[k : k + 1])
        alone = trained(one, backend, **options, sample_weight=w[weight_index[k]])
        for i, (together, single) in enumerate(zip(bank, alone, strict=True)):
            part = together[:, k : k + 1] if i < 2 else together[k : k + 1]
            np.testing.assert_array_equal(part, single)


@pytest.mark.parametrize("stored", ["uint8", "float16"])
@pytest.mark.parametrize(
    "op", ["linear_forward", "linear_backward", "predict", "evaluate", "train"]
)
def test_stored_features_are_read_as_the_same_numbers_in_float32(op, stored, backend):
    size = cases.Size(N, D, C, h=2)
    positional, options = cases.OPS[op].arguments(size, stored, 0)
    i = int(op == "linear_backward")
    as_float = (*positional[:i], positional[i].astype(np.float32), *positional[i + 1 :])
    options["feature_scale"] = 1 / 255
    found, expected = (parity.run(op, (p, options), backend) for p in (positional, as_float))
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e, strict=True)


@pytest.mark.parametrize(("loss", "targets"), CASES)
def test_evaluate_gives_weighted_means(loss, targets, backend, dtype):
    X, y, _, W, b = problem(dtype)
    w = np.arange(N) % 3 * 0.5
    t = cases.probabilities(N, C, dtype, 1) if targets == "soft targets" else y
    Y = t.astype(float) if targets == "soft targets" else np.eye(C)[y]
    V = X.astype(float) @ W[0].astype(float) + b[0]
    rows = np.array([row_gradient(v, target, loss)[0] for v, target in zip(V, Y, strict=True)])
    right = V.argmax(axis=1) == Y.argmax(axis=1)
    for weights in (np.ones(N), w):
        options = {"loss": loss, "sample_weight": weights, "backend": backend}
        for one_or_bank in ((W, b), (W[0], b[0])):
            (mean_loss,), (accuracy,) = kernels.evaluate(X, t, *one_or_bank, **options)
            tolerance = 1e-6 if dtype == "float32" else 1e-14
            assert mean_loss == pytest.approx(np.average(rows, weights=weights), rel=tolerance)
            assert accuracy == pytest.approx(np.average(right, weights=weights), rel=1e-14)


def test_evaluate_without_weight_or_rows_is_nan(backend):
    X, y, _, W, b = problem("float32")
    for rows, weights in ((N, np.zeros(N)), (0, None)):
        options = {"loss": "mse", "sample_weight": weights, "backend": backend}
        loss, accuracy = kernels.evaluate(X[:rows], y[:rows], W, b, **options)
        assert np.isnan(loss).all()
        assert np.isnan(accuracy).all()


def test_predict_takes_the_first_of_equals_and_the_first_nan(backend):
    nan, inf = np.nan, np.inf
    largest = [
        (1, [1, 3, 3, 2]),
        (0, [5, 5, 5, 5]),
        (2, [0, 9, nan, nan]),
        (1, [inf, nan, inf, 0]),
        (3, [-inf, -inf, -1, 7]),
        (0, [-inf, -inf, -inf, -inf]),
    ]
    expected = [label for label, _ in largest]
    b = np.array([logits for _, logits in largest], "f4")  # a head for each; the features are 0
    X, W = np.zeros((2, 1), "f4"), np.zeros((len(b), 1, 4), "f4")
    labels = kernels.predict(X, W, b, backend=backend)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, np.array([expected, expected]).T)
    for k, label in enumerate(expected):
        assert kernels.predict(X, W[k], b[k], backend=backend).tolist() == [label, label]


def test_the_largest_soft_target_is_found_before_it_is_rounded(backend):
    X, W = np.zeros((6, 1), "f4"), np.zeros((1, 1, 3), "f4")
    b = np.array([[0, 2, 1]], "f4")  # the second class is chosen
    Y = np.tile([1 / 3, 1 / 3 + 1e-12, 1 / 3 - 1e-12], (6, 1))  # and right, but not in float32
    Y[4:] = Y[4:, [1, 0, 2]]
    options = {"loss": "mse", "backend": backend}
    _, accuracy = kernels.evaluate(X, Y, W, b, **options)
    assert accuracy.tolist() == [4 / 6]
    _, correct = kernels.train(X, Y, np.arange(6), 3, W, b, learning_rate=0.1, **options)
    assert correct.tolist() == [[3], [1]]


@pytest.mark.parametrize("n", [1, 127, 128, 129, 1023, 1024, 1025, 3000])
def test_predict_and_evaluate_go_through_all_blocks_of_rows(n, backend):
    X, y = cases.features(n, D, "float64", 0), cases.labels(n, C, 0)
    W, b = cases.weights(2, D, C, "float64", 0)
    V = X @ W + b[:, None]
    np.testing.assert_array_equal(kernels.predict(X, W, b, backend=backend), V.argmax(axis=2))
    _, accuracy = kernels.evaluate(X, y, W, b, loss="mse", backend=backend)
    np.testing.assert_allclose(accuracy, (V.argmax(axis=2) == y).mean(axis=1), rtol=1e-14)


class Tensor:
    """An array of some library that speaks DLPack and nothing else."""

    def __init__(self, array):
        self.array = np.from_dlpack(array)

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.fixture
def tensors(monkeypatch):
    """The library of `Tensor`."""
    library = types.ModuleType("tensors")
    library.from_dlpack = Tensor
    monkeypatch.setitem(sys.modules, "tensors", library)
    monkeypatch.setattr(Tensor, "__module__", "tensors")


@pytest.mark.usefixtures("tensors")
def test_arrays_of_other_libraries_come_in_are_updated_and_go_back(backend):
    X, y, order, W, b = problem("float32", h=2)
    expected = trained((X, y, order, BATCH, W, b), backend, loss="mse", learning_rate=0.3)
    tX, ty, torder, tW, tb = (Tensor(a.copy()) for a in (X, y, order, W, b))
    options = {"loss": "mse", "learning_rate": 0.3, "backend": backend}
    losses, correct = kernels.train(tX, ty, torder, BATCH, tW, tb, **options)
    for found, e in zip((losses, correct, tW, tb), expected[:4], strict=True):
        assert isinstance(found, Tensor)
        np.testing.assert_array_equal(found.array, e)
    assert isinstance(kernels.predict(tX, tW, tb, backend=backend), Tensor)


def test_jax_arrays_come_in_and_go_back(backend):
    jnp = pytest.importorskip("jax.numpy")
    X, _, _, W, b = problem("float32", h=2)
    for op, arguments in (("predict", (X, W, b)), ("softmax_forward", (X,))):
        found = getattr(kernels, op)(*map(jnp.asarray, arguments), backend=backend)
        assert isinstance(found, jnp.ndarray)
        expected = getattr(kernels, op)(*map(np.asarray, arguments), backend=backend)
        np.testing.assert_array_equal(np.asarray(found), expected)


def test_torch_tensors_come_in_are_updated_and_go_back(backend):
    torch = pytest.importorskip("torch")
    X, y, order, W, b = problem("float32", h=2)
    expected = trained((X, y, order, BATCH, W, b), backend, loss="mse", learning_rate=0.3)
    tX, ty, torder, tW, tb = (torch.from_numpy(a.copy()) for a in (X, y, order, W, b))
    options = {"loss": "mse", "learning_rate": 0.3, "backend": backend}
    losses, correct = kernels.train(tX, ty, torder, BATCH, tW, tb, **options)
    for found, e in zip((losses, correct, tW, tb), expected[:4], strict=True):
        assert isinstance(found, torch.Tensor)
        np.testing.assert_array_equal(found.numpy(), e)
    assert isinstance(kernels.predict(tX, tW, tb, backend=backend), torch.Tensor)


def test_a_batch_may_visit_rows_more_often_than_there_are_rows(backend):
    X, y, _, W, b = problem("float64")
    order = np.random.default_rng(0).integers(0, N, 5 * N)
    options = {"loss": "mse", "learning_rate": 0.3}
    for batch_size in (4 * N, 5 * N, 10**9):
        arguments = (X, y, order, batch_size, W, b)
        expected = reference(X, np.eye(C)[y], order, batch_size, W[0], b[0], **options)
        assert_close(trained(arguments, backend, **options), expected, arguments, **options)
