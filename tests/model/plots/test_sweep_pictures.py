"""Promise: a sweep shows itself as a figure."""

import io

import numpy as np
import pytest

from softstep import SoftmaxSweep
from softstep.kernels.losses import LOSSES
from softstep.model import NotFittedError
from softstep.model.datasets import load_digits

DIGITS = load_digits()


@pytest.fixture(scope="module")
def fitted():
    rates = {"learning_rate": [0.1, 1.0, 1e39], "loss": ["mse", "cross_entropy"]}
    rows = DIGITS.X_train[:300], DIGITS.y_train[:300]
    return SoftmaxSweep(rates, epochs=3, random_state=0, cv=2).fit(*shuffled(*rows))


def shuffled(X, y):
    order = np.random.default_rng(0).permutation(len(y))
    return X[order], y[order]


def test_the_figure_shows_every_setting(fitted):
    pytest.importorskip("matplotlib")
    figure = fitted.plot()
    accuracy, curves, loss = figure.axes
    for axes, name in ((accuracy, "accuracy"), (loss, "loss")):
        shown = np.concatenate([line.get_ydata() for line in axes.lines])
        np.testing.assert_array_equal(np.sort(shown), np.sort(fitted.results_[f"mean_val_{name}"]))
        assert axes.get_ylabel() == f"held-out {name}"
        assert axes.get_xscale() == "log"
    assert loss.get_title(loc="left") == "2 diverged, not shown"
    best = np.nanargmax(fitted.results_["mean_val_accuracy"])
    name = LOSSES[fitted.results_["param_loss"][best]].title
    rate = fitted.results_["param_learning_rate"][best]
    highest = fitted.results_["mean_val_accuracy"][best]
    assert accuracy.get_title(loc="left") == f"best {highest:.4f}: {name}, rate {rate:g}"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["MSE", "cross-entropy (nats)"]
    marks = {line.get_marker() for line in accuracy.lines}
    assert len(marks) == 2  # not told apart by colour alone
    found = np.array([line.get_ydata() for line in curves.lines])
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(fitted.loss_curves_.T, axis=0))
    image = io.BytesIO()
    figure.savefig(image, format="png")
    assert image.getvalue().startswith(b"\x89PNG")


def test_every_loss_has_a_marker_and_a_colour_of_its_own_whatever_else_is_shown():
    pytest.importorskip("matplotlib")
    from softstep.model import plots

    count = len(LOSSES)
    results = {"rank": np.arange(count), "param_loss": np.array(sorted(LOSSES))}
    results |= {f"mean_val_{name}": np.linspace(0.5, 0.9, count) for name in ("accuracy", "loss")}
    accuracy, curves, _ = plots.sweep(results, np.ones((3, count))).axes
    looks = [(line.get_marker(), line.get_color()) for line in accuracy.lines]
    assert [len(set(kind)) for kind in zip(*looks, strict=True)] == [count, count]
    assert [line.get_label() for line in curves.lines] == [loss.axis for loss in LOSSES.values()]
    for number, loss in enumerate(LOSSES):
        chosen = results["param_loss"] == loss
        alone = {name: values[chosen] for name, values in results.items()}
        (line,) = plots.sweep(alone, np.ones((3, 1))).axes[0].lines
        assert (line.get_marker(), line.get_color()) == looks[number]


def test_there_is_no_figure_before_fit():
    with pytest.raises(NotFittedError, match="call fit first"):
        SoftmaxSweep({}).plot()


def test_the_best_is_the_one_that_is_ranked_first():
    """With refit="loss" that is not the one of most accuracy."""
    pytest.importorskip("matplotlib")
    rates = {"learning_rate": [0.5, 4.0, 8.0], "loss": ["cross_entropy"]}
    rows = shuffled(DIGITS.X_train[:300], DIGITS.y_train[:300])
    sweep = SoftmaxSweep(rates, epochs=3, random_state=0, cv=2).fit(*rows)
    results = dict(sweep.results_)
    results["rank"] = np.argsort(np.argsort(results["mean_val_accuracy"])) + 1  # the worst first
    first = int(np.argmin(results["rank"]))
    from softstep.model import plots

    said = plots.sweep(results, sweep.loss_curves_).axes[0].get_title(loc="left")
    rate = results["param_learning_rate"][first]
    assert said.endswith(f"cross-entropy, rate {rate:.3g}")
    assert said.startswith(f"best {results['mean_val_accuracy'][first]:.4f}:")


def test_one_epoch_can_be_seen_and_is_not_cut_into_parts():
    pytest.importorskip("matplotlib")
    rows = shuffled(DIGITS.X_train[:300], DIGITS.y_train[:300])
    sweep = SoftmaxSweep({"learning_rate": [0.1, 1.0]}, epochs=1, random_state=0, cv=2).fit(*rows)
    _, curves, _ = sweep.plot().axes
    assert [line.get_marker() for line in curves.lines] == ["o", "o"]
    assert (np.mod(curves.get_xticks(), 1) == 0).all()


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_losses_that_have_no_logarithm_are_drawn_on_a_plain_axis(value):
    pytest.importorskip("matplotlib")
    from softstep.model import plots

    results = {"rank": np.array([1, 2]), "param_learning_rate": np.array([0.1, 1.0])}
    results |= {f"mean_val_{name}": np.full(2, value) for name in ("accuracy", "loss")}
    figure = plots.sweep(results, np.full((3, 2), value))
    _, curves, loss = figure.axes
    assert curves.get_yscale() == loss.get_yscale() == "linear"
    figure.savefig(io.BytesIO(), format="png")
