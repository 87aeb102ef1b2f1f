"""Promise: SoftmaxRegression trains as documented and behaves as scikit-learn's users expect."""

import copy
import os

import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.model import CheckpointError, NotFittedError, trainer


def blobs(n=240, d=6, c=3, seed=0, dtype=np.float32):
    """Rows around c centres: easy to tell apart, not to separate perfectly."""
    rng = np.random.default_rng(seed)
    y = rng.integers(c, size=n)
    X = rng.standard_normal((c, d))[y] * 2 + rng.standard_normal((n, d))
    return X.astype(dtype), y


def model(**settings):
    return SoftmaxRegression(**{"learning_rate": 1.0, "epochs": 5, "random_state": 0, **settings})


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_it_learns_rows_it_has_not_seen(backend, loss):
    X, y = blobs()
    fitted = model(loss=loss, backend=backend, epochs=20).fit(X[:180], y[:180])
    assert fitted.score(X[180:], y[180:]) > 0.9
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


def test_the_defaults_are_the_original_recipe():
    params = SoftmaxRegression().get_params()
    assert (params["loss"], params["learning_rate"], params["batch_size"]) == ("mse", 0.2, 100)
    assert (params["init"], params["momentum"], params["l2"]) == ("zeros", 0.0, 0.0)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(backend):
    X, y = blobs()
    first, again, other = (model(backend=backend, random_state=s).fit(X, y) for s in (1, 1, 2))
    assert np.array_equal(first.coef_, again.coef_)
    assert not np.array_equal(first.coef_, other.coef_)


def test_without_a_seed_one_is_drawn_and_kept():
    X, y = blobs()
    drawn = model(random_state=None).fit(X, y)
    assert np.array_equal(drawn.coef_, model(random_state=drawn.seed_).fit(X, y).coef_)


def test_the_order_of_an_epoch_is_the_documented_permutation():
    for seed in (7, 0, 2**32 - 1, 2**32, 2**70 + 5):
        expected = np.random.default_rng((seed, 1, 3)).permutation(50)
        assert np.array_equal(trainer.row_order(seed, 3, 50), expected)


def test_normal_init_is_drawn_in_float64_from_its_own_seed():
    expected = np.random.default_rng((9, 2)).standard_normal((4, 3)) / 2
    for dtype in (np.float32, np.float64):
        W = trainer.initial_weights(model(init="normal", init_seed=9), (4, 3), dtype)
        assert W.dtype == dtype
        assert np.array_equal(W, expected.astype(dtype))
    X, y = blobs()
    by_state = model(init="normal").fit(X, y)
    assert np.array_equal(by_state.coef_, model(init="normal", init_seed=0).fit(X, y).coef_)
    assert not np.array_equal(by_state.coef_, model(init="normal", init_seed=5).fit(X, y).coef_)


@pytest.mark.parametrize(
    "labels", [np.array([-1, 4, 7]), np.array(["bird", "cat", "dog"]), np.array([2.0, 3.0, 9.0])]
)
def test_any_labels_come_back_as_they_were(labels):
    X, y = blobs()
    fitted = model().fit(X, labels[y])
    assert np.array_equal(fitted.classes_, labels)
    assert set(fitted.predict(X)) <= set(labels.tolist())
    assert np.array_equal(fitted.coef_, model().fit(X, y).coef_)


def test_string_labels_in_an_object_array_are_strings():
    X, y = blobs()
    names = np.array(["a", "b", "c"], dtype=object)[y]
    assert model().fit(X, names).classes_.tolist() == ["a", "b", "c"]


def test_two_classes_have_two_columns_of_weights_and_one_decision_as_in_scikit_learn():
    X, y = blobs(c=2)
    fitted = model().fit(X, y)
    assert fitted.coef_.shape == (2, 6)
    assert fitted.intercept_.shape == (2,)
    assert fitted.predict_proba(X).shape == (len(X), 2)
    decision = fitted.decision_function(X)
    assert decision.shape == (len(X),)
    assert np.array_equal(decision > 0, fitted.predict(X) == 1)


def test_probabilities_sum_to_one_and_agree_with_predict():
    X, y = blobs()
    fitted = model().fit(X, y)
    P = fitted.predict_proba(X)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=0, atol=3 * 2**-24)
    assert np.array_equal(fitted.classes_[P.argmax(axis=1)], fitted.predict(X))


def test_bytes_are_pixels_and_floats_are_not():
    X, y = blobs()
    pixels = np.clip(X * 20 + 128, 0, 255).astype(np.uint8)
    as_floats = pixels.astype(np.float32) * np.float32(1 / 255)
    by_bytes, by_floats = model().fit(pixels, y), model().fit(as_floats, y)
    # the same arithmetic but for the rounding of the products
    np.testing.assert_allclose(by_bytes.coef_, by_floats.coef_, rtol=1e-4, atol=1e-5)
    assert np.abs(by_bytes.coef_).max() > 0.1
    assert np.array_equal(by_bytes.predict(pixels), by_bytes.predict(as_floats))
    with pytest.warns(UserWarning, match="standard deviations up to"):
        raw = model(feature_scale=1.0, learning_rate=1e-4).fit(pixels, y)
    assert not np.allclose(raw.coef_, by_bytes.coef_, rtol=0.1)


def test_other_integers_are_read_as_float64():
    X, y = blobs()
    counts = np.round(X * 3).astype(np.int64)
    fitted = model().fit(counts, y)
    assert fitted.coef_.dtype == np.float64
    assert np.array_equal(fitted.coef_, model().fit(counts.astype(np.float64), y).coef_)


def test_a_model_predicts_rows_of_another_float_dtype():
    X, y = blobs()
    fitted = model().fit(X, y)
    for dtype in (np.float64, np.float16):
        agree = fitted.predict(X.astype(dtype)) == fitted.predict(X)
        assert agree.mean() > 0.98


def test_soft_targets_train_like_the_labels_they_stand_for():
    X, y = blobs()
    hard, soft = model().fit(X, y), model().fit(X, np.eye(3, dtype=np.float32)[y])
    np.testing.assert_allclose(hard.coef_, soft.coef_, rtol=1e-4, atol=1e-6)
    assert np.abs(soft.coef_).max() > 0.1


def test_weights_are_scaled_to_mean_one():
    X, y = blobs()
    w = np.random.default_rng(1).uniform(0.5, 2, len(X))
    once, doubled = model().fit(X, y, sample_weight=w), model().fit(X, y, sample_weight=2 * w)
    np.testing.assert_allclose(once.coef_, doubled.coef_, rtol=1e-5, atol=1e-6)
    assert not np.allclose(once.coef_, model().fit(X, y).coef_, rtol=1e-2)


def test_rows_of_weight_zero_count_for_nothing():
    X, y = blobs()
    w = (np.arange(len(X)) < 200).astype(float)
    spoilt = X.copy()
    spoilt[200:] *= -3
    clean, same = model().fit(X, y, sample_weight=w), model().fit(spoilt, y, sample_weight=w)
    np.testing.assert_allclose(clean.coef_, same.coef_, rtol=1e-5, atol=1e-6)
    assert clean.history_[-1].accuracy == same.history_[-1].accuracy


def test_balanced_class_weights_are_those_of_the_formula():
    X, y = blobs()
    counts = np.bincount(y)
    by_name = model(class_weight="balanced").fit(X, y)
    by_hand = model(class_weight={k: len(y) / (3 * counts[k]) for k in range(3)}).fit(X, y)
    np.testing.assert_allclose(by_name.coef_, by_hand.coef_, rtol=1e-6, atol=1e-7)
    assert not np.array_equal(by_name.coef_, model().fit(X, y).coef_)


def test_without_intercept_the_bias_stays_zero():
    X, y = blobs()
    assert not model(fit_intercept=False).fit(X, y).intercept_.any()
    assert model().fit(X, y).intercept_.any()


def test_max_steps_stops_inside_an_epoch():
    X, y = blobs()
    fitted = model(batch_size=50, max_steps=7).fit(X, y)
    assert [e.steps for e in fitted.history_] == [5, 2]
    assert fitted.n_iter_ == 2


def test_held_out_rows_are_evaluated_at_the_end_or_every_so_often():
    X, y = blobs()
    held_out = {"X_val": X[180:], "y_val": y[180:]}

    def evaluated(**settings):
        history = model(**settings).fit(X[:180], y[:180], **held_out).history_
        return [e.number for e in history if e.val_loss is not None]

    assert evaluated() == [4]
    assert evaluated(eval_every=2) == [1, 3, 4]
    last = model().fit(X[:180], y[:180], **held_out)
    assert last.history_[-1].val_accuracy == pytest.approx(last.score(X[180:], y[180:]))


def test_early_stopping_keeps_the_best_weights():
    X, y = blobs(n=120, d=60, seed=3)
    wrong = y.copy()
    wrong[::3] = (wrong[::3] + 1) % 3  # labels that are learnt by heart, and hurt
    fitted = model(loss="cross_entropy", epochs=400, patience=5, batch_size=10).fit(
        X[:60], wrong[:60], X_val=X[60:], y_val=y[60:]
    )
    losses = [e.val_loss for e in fitted.history_]
    assert fitted.n_iter_ < 400
    assert int(np.argmin(losses)) == len(losses) - 1 - 5
    P = fitted.predict_proba(X[60:])
    np.testing.assert_allclose(-np.log(P[np.arange(60), y[60:]]).mean(), min(losses), rtol=1e-5)


def test_a_callback_sees_every_epoch_and_can_stop():
    X, y = blobs()
    seen = []
    fitted = model().fit(X, y, callback=lambda e: seen.append(e.number) or e.number == 2)
    assert seen == [0, 1, 2]
    assert fitted.n_iter_ == 3


def test_partial_fit_goes_on_where_fit_would(backend):
    X, y = blobs()
    settings = {"momentum": 0.9, "backend": backend, "learning_rate": 0.1}
    whole = model(epochs=3, **settings).fit(X, y)
    parts = model(**settings)
    for _ in range(3):
        parts.partial_fit(X, y)
    assert np.array_equal(whole.coef_, parts.coef_)
    assert np.array_equal(whole.loss_curve_, parts.loss_curve_)


def test_partial_fit_takes_classes_that_come_later():
    X, y = blobs()
    first = y < 2
    fitted = model().partial_fit(X[first], y[first], classes=[0, 1, 2]).partial_fit(X, y)
    assert fitted.coef_.shape == (3, 6)
    with pytest.raises(ValueError, match=r"y\[0\] = 5 is not one of the classes"):
        fitted.partial_fit(X[:1], [5])


@pytest.mark.parametrize("labels", [[0, 1, 2], ["bird", "cat", "dog"]])
def test_a_saved_model_predicts_and_trains_on_as_the_one_in_memory(labels, tmp_path):
    X, y = blobs()
    y = np.array(labels)[y]
    fitted = model(momentum=0.5, class_weight={labels[0]: 2.0}).fit(X, y)
    fitted.save(tmp_path / "model.npz")
    loaded = SoftmaxRegression.load(tmp_path / "model.npz")
    assert loaded.get_params() == fitted.get_params()
    assert np.array_equal(loaded.predict(X), fitted.predict(X))
    assert np.array_equal(loaded.loss_curve_, fitted.loss_curve_)
    assert np.array_equal(loaded.partial_fit(X, y).coef_, fitted.partial_fit(X, y).coef_)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "text").write_text("not a model")
    np.savez(tmp_path / "other.npz", x=np.ones(2))
    for name in ("text", "other.npz"):
        with pytest.raises(CheckpointError, match="not a model saved by softstep"):
            SoftmaxRegression.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        SoftmaxRegression.load(tmp_path / "absent.npz")


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    X, y = blobs()
    path = tmp_path / "model.npz"
    fitted = model().fit(X, y)
    fitted.save(path)
    before = path.read_bytes()

    def disk_full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", disk_full)
    with pytest.raises(OSError, match="No space"):
        fitted.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


def test_an_unfitted_model_says_so():
    for call in (lambda m: m.predict(np.ones((1, 2))), lambda m: m.save("nowhere.npz")):
        with pytest.raises(NotFittedError, match="call fit first"):
            call(SoftmaxRegression())


def test_divergence_is_an_error_and_not_a_bad_model(backend):
    X, y = blobs()
    with pytest.raises(FloatingPointError, match=r"diverged in epoch \d+"):
        model(backend=backend, l2=10.0, learning_rate=1e6, epochs=50).fit(X, y)


def test_scikit_learn_can_clone_search_and_cross_validate_it():
    base = pytest.importorskip("sklearn.base")
    selection = pytest.importorskip("sklearn.model_selection")
    X, y = blobs()
    estimator = model(l2=0.25)
    assert base.clone(estimator).get_params() == estimator.get_params()
    assert base.is_classifier(estimator)
    search = selection.GridSearchCV(estimator, {"learning_rate": [0.01, 1.0]}, cv=3).fit(X, y)
    assert search.best_score_ > 0.8
    assert len(selection.cross_val_score(estimator, X, y, cv=3)) == 3


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(SoftmaxRegression(l2=0.1, loss="mse")) == "SoftmaxRegression(l2=0.1)"


def test_set_params_refuses_an_unknown_setting():
    assert SoftmaxRegression().set_params(l2=1.0).l2 == 1.0
    with pytest.raises(ValueError, match="no setting 'lr'"):
        SoftmaxRegression().set_params(lr=1.0)


def test_scikit_learn_can_score_two_classes_by_their_decisions():
    selection = pytest.importorskip("sklearn.model_selection")
    X, y = blobs(c=2)
    assert selection.cross_val_score(model(), X, y, cv=3, scoring="roc_auc").min() > 0.9


def spoilt(X):
    bad = X.copy()
    bad[5, 2] = np.nan
    return bad


def test_a_refused_row_leaves_the_model_as_it_was_and_able_to_go_on(backend):
    X, y = blobs()
    settings = {"momentum": 0.5, "backend": backend}
    one, other = (model(**settings).fit(X, y) for _ in range(2))
    with pytest.raises(ValueError, match=r"X\[5, 2\] is nan"):
        one.partial_fit(spoilt(X), y)
    assert len(one.history_) == one.n_iter_ == other.n_iter_
    assert np.array_equal(one.partial_fit(X, y).coef_, other.partial_fit(X, y).coef_)


def test_a_refused_fit_changes_nothing():
    X, y = blobs()
    fitted = model().fit(X, y)
    before = fitted.coef_.copy()
    with pytest.raises(ValueError, match="epochs"):
        fitted.set_params(epochs=0).fit(X, y)
    assert np.array_equal(fitted.coef_, before)
    unfitted = model(class_weight="even")
    with pytest.raises(ValueError, match="class_weight"):
        unfitted.fit(X, y)
    with pytest.raises(NotFittedError):
        unfitted.predict(X)


def test_weights_that_overflow_in_the_last_step_are_an_error_too():
    X, y = blobs()
    with pytest.raises(FloatingPointError, match="diverged"):
        model(l2=1e10, learning_rate=1e30, init="normal", max_steps=1).fit(X, y)


def test_weights_set_by_hand_are_saved_and_trained_on(tmp_path):
    X, y = blobs()
    fitted = model().fit(X, y)
    fitted.coef_, fitted.intercept_ = np.zeros_like(fitted.coef_), np.array([0, 0, 9.0])
    fitted.save(tmp_path / "model.npz")
    loaded = SoftmaxRegression.load(tmp_path / "model.npz")
    assert set(loaded.predict(X)) == {2}
    assert np.abs(fitted.partial_fit(X, y).coef_).max() < np.abs(model().fit(X, y).coef_).max()


def test_a_copy_trains_apart_from_the_original():
    X, y = blobs()
    fitted, untouched = model().fit(X, y), model().fit(X, y)
    copy.copy(fitted).partial_fit(X, y)
    assert np.array_equal(fitted.partial_fit(X, y).coef_, untouched.partial_fit(X, y).coef_)


def test_soft_targets_may_go_with_named_classes():
    X, y = blobs()
    soft = np.eye(3, dtype=np.float32)[y]
    fitted = model().partial_fit(X, soft, classes=["a", "b", "c"])
    assert set(fitted.predict(X)) <= {"a", "b", "c"}
    with pytest.raises(ValueError, match="y has targets for 3 classes, but there are 2"):
        model().partial_fit(X, soft, classes=["a", "b"])
    with pytest.raises(ValueError, match="one class"):
        model().fit(X, np.ones(len(X)))
    soft[4, 1] = np.nan
    with pytest.raises(ValueError, match=r"y\[4, 1\] is nan"):
        model().fit(X, soft)
    with pytest.raises(ValueError, match="y_val has targets for 2 classes"):
        model().fit(X, y, X_val=X, y_val=soft[:, :2])


def test_bytes_given_as_floats_to_a_model_of_pixels_are_refused():
    X, y = blobs()
    pixels = np.clip(X * 20 + 128, 0, 255).astype(np.uint8)
    fitted = model().fit(pixels, y)
    with pytest.raises(ValueError, match="fitted on uint8 pixels"):
        fitted.predict(pixels.astype(np.float32))
    fitted.predict(pixels.astype(np.float32) / 255)


def test_only_an_ordinary_file_is_written_to_and_links_are_followed(tmp_path):
    X, y = blobs()
    fitted = model().fit(X, y)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ValueError, match="not an ordinary file"):
            fitted.save(path)
    (tmp_path / "link").symlink_to(tmp_path / "model.npz")
    fitted.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert np.array_equal(SoftmaxRegression.load(tmp_path / "model.npz").coef_, fitted.coef_)


def test_labels_of_another_kind_cannot_be_scored():
    X, y = blobs()
    with pytest.raises(ValueError, match="the classes are int64"):
        model().fit(X, y).score(X, y.astype(str))
