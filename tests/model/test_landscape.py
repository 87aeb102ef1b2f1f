"""Promise: surfaces and lines hold the loss that single evaluations give, and its exact slope."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from softstep import SoftmaxRegression, kernels
from softstep.model import CheckpointError, NotFittedError, WeightPath, checkpoint
from softstep.model.datasets import load_digits
from softstep.model.landscape import (
    Line,
    Surface,
    loss_line,
    loss_surface,
    plane_slopes,
    sampling,
)
from softstep.model.landscape.directions import angles, refuse_parallel, steepest, weight_direction

LOSSES = ("mse", "cross_entropy")
DIGITS = load_digits()
X, Y = DIGITS.X_train[:400], DIGITS.y_train[:400]
STEPS = 21


def trained(loss, dtype=np.float32, **settings):
    path = WeightPath()
    given = {"learning_rate": 1.0, "epochs": 5, "random_state": 0, "loss": loss, **settings}
    return SoftmaxRegression(**given).fit(X.astype(dtype), Y, path=path), path


@pytest.fixture(scope="module")
def models():
    return {loss: trained(loss) for loss in LOSSES}


def at(model, *moves):
    """The model's weights, each direction added so many times, (1, d, c) and (1, c), float64."""
    W, b = model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)
    for offset, (dW, db) in moves:
        W, b = W + offset * dW, b + offset * db
    return W[None], b[None]


def single_evaluation(model, rows, labels, *moves):
    """The NumPy oracle in float64 at one point."""
    wide = rows.astype(np.float64)
    scale = 1 / 255 if rows.dtype == np.uint8 else 1.0
    figures = kernels.evaluate(
        wide, labels, *at(model, *moves), loss=model.loss, feature_scale=scale, backend="numpy"
    )
    return figures[0][0], figures[1][0]


def random_direction(seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((64, 10)), rng.standard_normal(10)


def fifty(seed):
    return np.random.default_rng(seed).integers(STEPS, size=(50, 2))


# ---- values


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("directions", ["random", "pca", "given"])
def test_fifty_points_equal_single_evaluations_by_the_oracle(models, loss, directions, backend):
    model, path = models[loss]
    given = (random_direction(1), random_direction(2)[0])
    asked = given if directions == "given" else directions
    with kernels.use_backend(backend):
        surface = loss_surface(model, X, Y, asked, 1.5, STEPS, path=path)
    assert surface.loss.shape == surface.accuracy.shape == (STEPS, STEPS)
    assert (surface.directions, surface.loss_name, surface.rows) == (directions, loss, 400)
    for i, j in fifty(0):
        moves = (surface.x[j], surface.D1), (surface.y[i], surface.D2)
        expected, accuracy = single_evaluation(model, X, Y, *moves)
        assert surface.loss[i, j] == pytest.approx(expected, rel=1e-6)
        assert surface.accuracy[i, j] == pytest.approx(accuracy, abs=1e-12)


def test_test_rows_and_pixels_and_their_blocks_give_the_same_values(monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK_ROWS", 70)
    pixels = (X * 255).astype(np.uint8)
    model = SoftmaxRegression(epochs=3, random_state=0).fit(pixels, Y)
    rows, labels = pixels[:150], Y[:150]
    surface = loss_surface(model, rows, labels, steps=STEPS)
    for i, j in fifty(1):
        moves = (surface.x[j], surface.D1), (surface.y[i], surface.D2)
        expected, _ = single_evaluation(model, rows, labels, *moves)
        assert surface.loss[i, j] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_columns_go_with_the_first_direction_and_rows_with_the_second(models, loss):
    """Only the first direction changes the loss: each row is the same, and falls along x."""
    model, _ = models[loss]
    downhill = gradient(model)
    nothing = (np.zeros((64, 10)), np.ones(10))  # the same for all classes
    surface = loss_surface(model, X, Y, (downhill, nothing), 0.01, 5)
    np.testing.assert_allclose(surface.loss, np.tile(surface.loss[0], (5, 1)), rtol=1e-6)
    assert (np.diff(surface.loss, axis=1) > 0).all()
    turned = loss_surface(model, X, Y, (nothing, downhill), 0.01, 5)
    np.testing.assert_allclose(turned.loss, surface.loss.T, rtol=1e-6)


def gradient(model):
    """dL/dW, dL/db of the oracle in float64: the direction of steepest ascent."""
    wide = X.astype(np.float64)
    (W,), (b,) = at(model)
    V = kernels.linear_forward(wide, W, b, backend="numpy")
    is_mse = model.loss == "mse"
    backward = kernels.softmax_mse_backward if is_mse else kernels.cross_entropy_backward
    dV = backward(V, Y, backend="numpy") / len(X)
    return kernels.linear_backward(dV, wide, backend="numpy")


def test_the_middle_is_the_model(models):
    model, path = models["mse"]
    surface = loss_surface(model, X, Y, "pca", path=path)
    assert surface.x[25] == surface.y[25] == 0
    assert surface.accuracy[25, 25] == pytest.approx(model.score(X, Y))


# ---- slopes


@pytest.mark.parametrize("loss", LOSSES)
def test_the_slope_is_that_of_the_oracle_by_complex_step(models, loss, backend):
    model, _ = models[loss]
    D = random_direction(3)
    with kernels.use_backend(backend):
        line = loss_line(model, X, Y, D, 0.7, 9)
    for x, loss_at, slope in zip(line.x, line.loss, line.slope, strict=True):
        expected = complex_step(model, x, D)
        assert slope == pytest.approx(expected.imag, rel=1e-5, abs=1e-7)
        assert loss_at == pytest.approx(expected.real, rel=1e-6)


def complex_step(model, x, D, h=1e-30):
    """The loss at x, and its derivative as the imaginary part: L(x + ih) = L + ih L' - …"""
    (W,), (b,) = at(model)
    V = X.astype(np.float64) @ (W + (x + 1j * h) * D[0]) + (b + (x + 1j * h) * D[1])
    E = np.exp(V - V.real.max(axis=1, keepdims=True))
    P = E / E.sum(axis=1, keepdims=True)
    if model.loss == "mse":
        value = ((P - np.eye(10)[Y]) ** 2).mean()
    else:
        value = -np.log(P[np.arange(len(Y)), Y]).mean()
    return value.real + 1j * value.imag / h


@pytest.mark.parametrize("loss", LOSSES)
def test_float64_slopes_keep_their_figures(loss):
    model, _ = trained(loss, np.float64)
    D = random_direction(4)
    line = loss_line(model, X.astype(np.float64), Y, D, 0.5, 5)
    expected = [complex_step(model, x, D).imag for x in line.x]
    np.testing.assert_allclose(line.slope, expected, rtol=1e-11)


@pytest.mark.parametrize("loss", LOSSES)
def test_slopes_on_a_plane_are_those_of_the_lines_through_its_points(models, loss):
    model, path = models[loss]
    surface = loss_surface(model, X, Y, "pca", steps=3, path=path)
    slopes = plane_slopes(model, X, Y, surface, [[0, 0], [-0.5, 0], [0, 0.25]])
    for D, column, points in ((surface.D1, 0, (0, 1)), (surface.D2, 1, (0, 2))):
        for point, x in zip(points, ((0, -0.5), (0, 0.25))[column], strict=True):
            expected = complex_step(model, x, D).imag
            assert slopes[point, column] == pytest.approx(expected, rel=1e-5)


def test_steepest_ascent_in_the_plane_is_the_gradients_shadow(models):
    """For slanted, unequal directions too: the loss grows along it at the rate it says."""
    model, _ = models["mse"]
    D1, D2 = random_direction(5), tuple(a + 3 * b for a, b in zip(*map(random_direction, (5, 6)),
                                                                   strict=True))  # fmt: skip
    surface = loss_surface(model, X, Y, (D1, D2), steps=3)
    (ascent,) = steepest(D1, D2, plane_slopes(model, X, Y, surface, [[0, 0]]))
    shadow = [ascent[0] * a + ascent[1] * b for a, b in zip(D1, D2, strict=True)]
    full = gradient(model)
    for direction in (D1, D2):  # what is left of the gradient is at right angles to the plane
        rest = sum(((f - s) * d).sum() for f, s, d in zip(full, shadow, direction, strict=True))
        size = np.sqrt(sum((f**2).sum() for f in full) * sum((d**2).sum() for d in direction))
        assert abs(rest) < 1e-5 * size


# ---- directions


def test_random_directions_have_each_classs_length_and_are_reproducible(models):
    model, _ = models["mse"]
    surface = loss_surface(model, X, Y, steps=2, random_state=3)
    lengths = np.sqrt((model.coef_.astype(float) ** 2).sum(axis=1) + model.intercept_**2)
    for dW, db in (surface.D1, surface.D2):
        np.testing.assert_allclose(np.sqrt((dW**2).sum(axis=0) + db**2), lengths, rtol=1e-6)
    again = loss_surface(model, X, Y, steps=2, random_state=3)
    np.testing.assert_array_equal(again.D1[0], surface.D1[0])
    other = loss_surface(model, X, Y, steps=2, random_state=4)
    assert np.abs(other.D1[0] - surface.D1[0]).max() > 0.01
    plain = loss_surface(model, X, Y, steps=2, normalise=None)
    assert plain.D1[0].std() == pytest.approx(1, abs=0.1)


def test_a_model_without_bias_keeps_none():
    model, path = trained("mse", fit_intercept=False)
    for directions in ("random", "pca"):
        surface = loss_surface(model, X, Y, directions, steps=2, path=path)
        assert not surface.D1[1].any()
        assert surface.D1[0].any()


def test_principal_directions_hold_the_variance_that_they_say(models):
    model, path = models["mse"]
    surface = loss_surface(model, X, Y, "pca", steps=2, path=path)
    flat = np.concatenate([path.W.reshape(len(path), -1), path.b], axis=1).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    axes = [np.concatenate([dW.ravel(), db]) for dW, db in (surface.D1, surface.D2)]
    axes = [a / np.linalg.norm(a) for a in axes]
    total = (centred**2).sum()
    shares = [((centred @ a) ** 2).sum() / total for a in axes]
    np.testing.assert_allclose(surface.explained_variance, shares, rtol=1e-9)
    assert shares[0] > shares[1] > 0
    assert axes[0] @ axes[1] == pytest.approx(0, abs=1e-10)
    # no direction holds more than the first
    assert shares[0] * total == pytest.approx(np.linalg.norm(centred, 2) ** 2)


def test_the_path_lies_on_the_plane_where_its_points_are_nearest(models):
    model, path = models["mse"]
    for directions in ("pca", "random"):
        surface = loss_surface(model, X, Y, directions, steps=2, path=path)
        np.testing.assert_array_equal(surface.path_steps, path.steps)
        np.testing.assert_allclose(surface.path[-1], 0, atol=1e-12)
        start = path.W[0] - model.coef_.T, path.b[0] - model.intercept_
        rest = [s - surface.path[0, 0] * a - surface.path[0, 1] * b
                for s, a, b in zip(start, surface.D1, surface.D2, strict=True)]  # fmt: skip
        for D in (surface.D1, surface.D2):
            assert sum((r * d).sum() for r, d in zip(rest, D, strict=True)) == pytest.approx(
                0, abs=1e-6
            )
        for k in (0, 5, -1):
            moves = zip(surface.path[k], (surface.D1, surface.D2), strict=True)
            expected, _ = single_evaluation(model, X, Y, *moves)
            assert surface.path_loss[k] == pytest.approx(expected, rel=1e-6)
    pca = loss_surface(model, X, Y, "pca", steps=2, path=path)
    assert np.abs(pca.path).max() == pytest.approx(0.8)
    assert pca.path[0, 0] < 0


def test_angles_are_those_between_the_moves_of_all_weights():
    D1, D2 = random_direction(5), (3 * random_direction(5)[0] + random_direction(6)[0], np.ones(10))
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((2, 4, 2))
    for k, found in enumerate(angles(D1, D2, a, b)):
        u, v = (
            np.concatenate([(x * W1 + y * W2).ravel() for W1, W2 in zip(D1, D2, strict=True)])
            for x, y in (a[k], b[k])
        )
        cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
        assert found == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-6)


def test_very_long_and_short_directions_span_a_plane():
    model, path = trained("mse", dtype=np.float64)
    wide, (D1, D2) = X.astype(np.float64), (random_direction(1), random_direction(2))
    plain = loss_surface(model, wide, Y, (D1, D2), steps=3, path=path)
    for factor in (1e-200, 1e150):
        scaled = tuple(factor * part for part in D2)
        found = loss_surface(model, wide, Y, (D1, scaled), span=1e-150, steps=3, path=path)
        np.testing.assert_allclose(found.path * [1, factor], plain.path, rtol=1e-9)
        np.testing.assert_allclose(found.path_loss, plain.path_loss, rtol=1e-9)
        slopes = np.array([[0.3, 0.2]])
        up = steepest(D1, D2, slopes)
        np.testing.assert_allclose(
            steepest(D1, scaled, slopes * [1, factor]) * [1, factor], up, rtol=1e-9
        )
        off, same = (
            angles(D1, D2, up, slopes),
            angles(D1, scaled, up / [1, factor], slopes / [1, factor]),
        )
        np.testing.assert_allclose(same, off, rtol=1e-9)
        with pytest.raises(ValueError, match="are parallel"):
            refuse_parallel(random_direction(1), tuple(factor * d for d in random_direction(1)))


def test_a_path_where_the_loss_overflows_is_refused(models):
    model, path = models["mse"]
    far = WeightPath()
    for step, factor in enumerate((1, 1e42)):
        far.add(step, factor * path.W[2].astype(np.float64), factor * path.b[2].astype(np.float64))
    with pytest.raises(ValueError, match="the loss overflows at offsets up to"):
        loss_surface(model, X, Y, steps=3, path=far)


def test_one_weight_is_moved_alone(models):
    model, _ = models["mse"]
    pair = weight_direction(model, 20, 3), weight_direction(model, 36, 7)
    surface = loss_surface(model, X, Y, pair, 5, 3)
    W, b = at(model)
    W[0, 20, 3] += 5
    W[0, 36, 7] -= 5
    figures = kernels.evaluate(X.astype(np.float64), Y, W, b, loss="mse", backend="numpy")
    assert surface.loss[0, 2] == pytest.approx(figures[0][0], rel=1e-6)


# ---- the path


@pytest.mark.parametrize("max_steps", [None, 7])
def test_a_path_holds_the_weights_after_its_steps_and_changes_no_bit(max_steps):
    model, path = trained("mse", momentum=0.5, max_steps=max_steps)
    alone = SoftmaxRegression(**model.get_params()).fit(X, Y)
    np.testing.assert_array_equal(model.coef_, alone.coef_)
    np.testing.assert_array_equal(model.loss_curve_, alone.loss_curve_)
    assert [e.accuracy for e in model.history_] == [e.accuracy for e in alone.history_]
    assert path.steps[:4].tolist() == [0, 1, 2, 3]
    assert path.steps[-1] == (max_steps or 20)
    assert not path.W[0].any()
    np.testing.assert_array_equal(path.W[-1], model.coef_.T)
    np.testing.assert_array_equal(path.b[-1], model.intercept_)
    for k in (3, 5):
        settings = model.get_params() | {"max_steps": int(path.steps[k])}
        short = SoftmaxRegression(**settings).fit(X, Y)
        np.testing.assert_array_equal(path.W[k], short.coef_.T)


def test_a_long_path_has_few_points_and_a_second_fit_starts_it_anew():
    path = WeightPath()
    model = SoftmaxRegression(epochs=100, batch_size=10, random_state=0)
    for _ in range(2):
        model.fit(X, Y, path=path)
    assert path.steps[-1] == 4000
    assert 60 < len(path) < 90
    assert (np.diff(path.steps) > 0).all()


def test_a_path_ends_at_the_weights_that_early_stopping_went_back_to():
    path = WeightPath()
    model = SoftmaxRegression(epochs=9, batch_size=10, patience=3, random_state=0)
    wrong = (DIGITS.y_test + 1) % 10  # the better it learns, the worse their loss
    model.fit(X[:40], Y[:40], X_val=DIGITS.X_test, y_val=wrong, path=path)
    best = 1 + int(np.argmin([epoch.val_loss for epoch in model.history_]))
    assert best < model.n_iter_  # it went back
    assert path.steps[-1] == 4 * best
    np.testing.assert_array_equal(path.W[-1], model.coef_.T)
    np.testing.assert_array_equal(path.b[-1], model.intercept_)
    surface = loss_surface(model, X, Y, "pca", path=path, steps=3)
    np.testing.assert_allclose(surface.path[-1], 0, atol=1e-12)


def test_patience_counts_the_epoch_at_which_a_callback_stops():
    settings = {"epochs": 9, "batch_size": 10, "random_state": 0}
    rows = {"X_val": DIGITS.X_test, "y_val": DIGITS.y_test}
    path = WeightPath()
    model = SoftmaxRegression(patience=3, **settings)
    model.fit(X, Y, **rows, callback=lambda epoch: epoch.number == 4, path=path)
    assert model.history_[-1].val_loss == min(epoch.val_loss for epoch in model.history_)
    alone = SoftmaxRegression(**settings | {"epochs": 5}).fit(X, Y)
    np.testing.assert_array_equal(model.coef_, alone.coef_)
    np.testing.assert_array_equal(path.W[-1], alone.coef_.T)


def test_a_path_ends_where_the_callback_stopped():
    path = WeightPath()
    model = SoftmaxRegression(batch_size=10, epochs=30, random_state=0)
    model.fit(X, Y, path=path, callback=lambda epoch: epoch.number == 3)
    assert path.steps[-1] == 160
    np.testing.assert_array_equal(path.W[-1], model.coef_.T)


# ---- memory, progress, files


def test_memory_does_not_grow_with_the_rows(models):
    model, _ = models["mse"]
    peaks = []
    for times in (50, 100):  # 20000 and 40000 rows of 64 float32: 5 and 10 MB
        rows, labels = np.tile(X, (times, 1)), np.tile(Y, times)
        loss_surface(model, rows[:400], labels[:400], steps=3)
        tracemalloc.start()
        loss_surface(model, rows, labels, steps=3)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    labels_bytes = 8 * 20_000 * 3  # some copies of the labels
    assert peaks[1] - peaks[0] < labels_bytes
    assert peaks[1] < 12e6


def test_progress_is_told_after_each_block(models, monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK_ROWS", 150)
    model, _ = models["mse"]
    for run in (loss_surface, loss_line):
        seen = []
        run(model, X, Y, steps=2, callback=lambda *done, seen=seen: seen.append(done))
        assert seen == [(150, 400), (300, 400), (400, 400)]


@pytest.mark.parametrize("directions", ["random", "pca"])
def test_a_surface_comes_back_from_its_file(models, directions, tmp_path):
    model, path = models["mse"]
    path = path if directions == "pca" else None
    surface = loss_surface(model, X, Y, directions, steps=3, path=path)
    surface.save(tmp_path / "surface.npz")
    again = Surface.load(tmp_path / "surface.npz")
    for name, value in vars(surface).items():
        found = getattr(again, name)
        assert type(found) is type(value)
        np.testing.assert_equal(found, value)


def test_other_files_are_no_surfaces(models, tmp_path):
    with pytest.raises(FileNotFoundError):
        Surface.load(tmp_path / "none.npz")
    models["mse"][0].save(tmp_path / "model.npz")
    with pytest.raises(CheckpointError, match="another format"):
        Surface.load(tmp_path / "model.npz")
    header = {"format": Surface.FORMAT, "sha256": {}, "explained_variance": None}
    np.savez(tmp_path / "empty.npz", softstep=np.array(json.dumps(header)))
    with pytest.raises(CheckpointError, match="is not a surface, or damaged"):
        Surface.load(Path(tmp_path / "empty.npz"))


def test_a_line_comes_back_from_its_file(models, tmp_path):
    line = loss_line(models["mse"][0], X, Y, steps=3)
    line.save(tmp_path / "line.npz")
    again = Line.load(tmp_path / "line.npz")
    np.testing.assert_equal(vars(again), vars(line))
    with pytest.raises(CheckpointError, match="another format"):
        Surface.load(tmp_path / "line.npz")


def test_arrays_that_do_not_go_together_are_no_surface(models, tmp_path):
    file = tmp_path / "surface.npz"
    loss_surface(models["mse"][0], X, Y, steps=3, path=models["mse"][1]).save(file)
    with np.load(file) as saved:
        arrays = dict(saved)
    settings = json.loads(str(arrays.pop("softstep")))
    del settings["sha256"]  # written anew: it is not the digest that is to tell
    for name in arrays:
        for spoilt in (arrays[name][1:], arrays[name][None]):
            checkpoint.save(file, arrays | {name: spoilt}, settings)
            with pytest.raises(CheckpointError, match="is not a surface, or damaged"):
                Surface.load(file)


def test_surfaces_are_told_apart_and_share_no_memory(models):
    one, two = (loss_surface(models["mse"][0], X, Y, steps=3) for _ in range(2))
    assert one == one
    assert one != two
    assert len({one, two}) == 2
    assert not np.shares_memory(one.x, one.y)


# ---- refusals

GOOD, ZERO = np.ones((64, 10)), np.zeros((64, 10))
REFUSED = [
    ({"directions": "north"}, ValueError, "directions must be one of 'random', 'pca', not 'north'"),
    ({"directions": "pca"}, ValueError, '"pca" needs the path of the training'),
    ({"directions": "pca", "path": WeightPath()}, ValueError, "the path is empty"),
    ({"directions": "pca", "path": 3}, TypeError, "path must be a WeightPath, not 3"),
    ({"directions": GOOD}, ValueError, 'directions must be "random", "pca" or a pair'),
    ({"directions": (GOOD, GOOD[:3])}, ValueError, "D2 must be dW of shape (64, 10)"),
    ({"directions": (GOOD, (ZERO, np.ones(3)))}, ValueError, "its db has shape (3,)"),
    ({"directions": (ZERO, GOOD)}, ValueError, "D1 is zero throughout"),
    ({"directions": (GOOD, -2 * GOOD)}, ValueError, "the two directions are parallel"),
    ({"directions": (GOOD, np.nan * GOOD)}, ValueError, "D2 must be finite"),
    ({"directions": (GOOD, np.full((64, 10), "x"))}, TypeError, "D2 must hold numbers, not <U1"),
    ({"directions": (GOOD, [ZERO, np.ones(10)])}, ValueError, "D2 must be an array dW or a tuple"),
    ({"span": 1e308}, ValueError, "the loss overflows at offsets up to 1e+308"),
    ({"span": 0}, ValueError, "span must be above 0"),
    ({"span": "wide"}, TypeError, "span must be a number"),
    ({"steps": 1}, ValueError, "steps must be at least 2"),
    ({"steps": 2.5}, TypeError, "steps must be an integer"),
    ({"normalise": "layer"}, ValueError, "normalise must be one of 'filter', None, not 'layer'"),
    ({"random_state": -1}, ValueError, "random_state must be at least 0"),
    ({"X": X[:, :5]}, ValueError, "X has 5 features, but SoftmaxRegression is expecting 64"),
    ({"X": X + np.inf}, ValueError, "X must hold neither NaN nor inf"),
    ({"y": Y[:9]}, ValueError, "y has 9 labels, but there are 400 rows"),
    ({"y": Y + 1}, ValueError, "is not one of the classes"),
    ({"y": np.eye(10)[Y]}, ValueError, "y must be 1-D, one label per row"),
    ({"model": None}, TypeError, "model must be a SoftmaxRegression, not NoneType"),
    ({"model": SoftmaxRegression()}, NotFittedError, "call fit first"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED)
def test_a_wrong_argument_is_refused_and_named(models, change, error, message):
    arguments = {"model": models["mse"][0], "X": X, "y": Y, **change}
    with pytest.raises(error) as raised:
        loss_surface(**arguments)
    assert message in str(raised.value)


def test_a_line_and_slopes_refuse_wrong_arguments_too(models):
    model, _ = models["mse"]
    with pytest.raises(ValueError, match="direction is zero throughout"):
        loss_line(model, X, Y, ZERO)
    with pytest.raises(ValueError, match="'random', 'pca', not 'north'"):
        loss_line(model, X, Y, "north")
    surface = loss_surface(model, X, Y, steps=2)
    with pytest.raises(ValueError, match=r"points must be finite offsets of shape \(k, 2\)"):
        plane_slopes(model, X, Y, surface, [1, 2])
    with pytest.raises(ValueError, match=r"the loss overflows at offsets up to 1e\+40"):
        plane_slopes(model, X, Y, surface, [[1e40, 0]])
    for factor in (1e-50, 1e50):
        with pytest.raises(ValueError, match="a direction is too long or too short for float32"):
            loss_line(model, X, Y, factor * GOOD, span=1e50, steps=3)
    with pytest.raises(TypeError, match="path must be a WeightPath"):
        loss_line(model, X, Y, GOOD, path="junk")
    with pytest.raises(TypeError, match="model must be a SoftmaxRegression, not NoneType"):
        plane_slopes(None, X, Y, surface, [[1, 2]])
    with pytest.raises(TypeError, match="surface must be a Surface, not ndarray"):
        plane_slopes(model, X, Y, surface.loss, [[1, 2]])


def test_untrained_weights_and_paths_too_short_or_of_others_have_no_directions(models):
    path = WeightPath()
    model = SoftmaxRegression(max_steps=1, random_state=0, batch_size=400).fit(X, Y, path=path)
    with pytest.raises(ValueError, match="2 points do not reach into 2 dimensions"):
        loss_surface(model, X, Y, "pca", path=path)
    model.coef_[:], model.intercept_[:] = 0, 0
    with pytest.raises(ValueError, match="the model's weights are all zero"):
        loss_surface(model, X, Y)
    _, other = models["mse"]
    small = SoftmaxRegression(random_state=0, epochs=1).fit(X[:, :9], Y)
    with pytest.raises(ValueError, match=r"the path is of weights \(64, 10\), but the model's are"):
        loss_surface(small, X[:, :9], Y, "pca", path=other)
    with pytest.raises(TypeError, match="path must be a WeightPath"):
        small.fit(X, Y, path=[])


def test_weight_direction_refuses_what_the_model_has_not(models):
    model, _ = models["mse"]
    with pytest.raises(ValueError, match="feature must be below 64, not 64"):
        weight_direction(model, 64, 3)
    with pytest.raises(ValueError, match="is not one of the classes"):
        weight_direction(model, 6, 30)
    with pytest.raises(ValueError, match=r"label must be one label, not \[3, 4\]"):
        weight_direction(model, 6, [3, 4])
    with pytest.raises(TypeError, match="model must be a SoftmaxRegression, not str"):
        weight_direction("m", 6, 3)
