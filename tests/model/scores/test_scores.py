"""Promise: the scores that are built in are those of scikit-learn, to 1e-12, and what it has not is
as its formula says."""

import numpy as np
import pytest

from softstep.kernels.losses import LOSSES
from softstep.model.scores import SCORES, Answers, Counts, asked, find, number

N, G = 403, 3
RNG = np.random.default_rng(0)
WEIGHTS = RNG.uniform(0.5, 2, N)
BY_NAME = pytest.mark.parametrize("weighted", [False, True])
CLASSES = pytest.mark.parametrize("c", [2, 3, 7])


def said(c, dtype=np.float64, ties=False):
    """What three heads say of rows of c classes, and the labels (n, g): each head has its own."""
    rng = np.random.default_rng(c)
    y = rng.integers(c, size=(N, G))
    V = rng.standard_normal((N, G, c)) + 1.5 * np.eye(c)[y]
    if ties:
        V = np.round(V)
    return Answers(V.astype(dtype), y, "cross_entropy", "numpy")


def of(name, answers, weights=None):
    """That score of each head, (g,), as a sweep takes it."""
    score = find(name)
    y = answers.targets if score.soft else answers.labels
    if score.kind == "mean":
        values = np.asarray(score.of(getattr(answers, score.needs), y), np.float64)
        assert values.shape == (N, G)
        return np.average(values, axis=0, weights=weights)
    if score.kind == "counts":
        half = N // 2
        parts = []
        for rows in (slice(half), slice(half, N)):
            w = None if weights is None else weights[rows]
            c = answers.logits.shape[2]
            parts.append(Counts.of(answers.predictions[rows], y[rows], w, c))
        return score.of(parts[0] + parts[1])
    P = getattr(answers, score.needs)
    return np.array([score.of(P[:, k], y[:, k], weights) for k in range(G)])


def theirs(name, P, y, w, c):
    """scikit-learn's, of one head."""
    metrics = pytest.importorskip("sklearn.metrics")
    labels, said, positive = np.arange(c), P.argmax(axis=1), P[:, 1] if c == 2 else P
    if name == "brier":
        return metrics.brier_score_loss(y, positive, sample_weight=w, labels=labels)
    return {
        "accuracy": lambda: metrics.accuracy_score(y, said, sample_weight=w),
        "balanced_accuracy": lambda: metrics.balanced_accuracy_score(y, said, sample_weight=w),
        "neg_log_loss": lambda: -metrics.log_loss(y, P, sample_weight=w, labels=labels),
        "macro_f1": lambda: metrics.f1_score(y, said, average="macro", sample_weight=w),
        "roc_auc_ovr": lambda: metrics.roc_auc_score(
            y, positive, multi_class="ovr", sample_weight=w
        ),
        "average_precision": lambda: metrics.average_precision_score(y, positive, sample_weight=w),
        "top_k_accuracy": lambda: metrics.top_k_accuracy_score(
            y, positive, k=2, labels=labels, sample_weight=w
        ),
        "top3": lambda: metrics.top_k_accuracy_score(y, P, k=3, labels=labels, sample_weight=w),
    }[name]()


SCIKIT_LEARNS = sorted({*SCORES, "top3"} - {"loss", "ece"})


@BY_NAME
@CLASSES
@pytest.mark.parametrize("name", SCIKIT_LEARNS)
def test_a_score_is_that_of_scikit_learn(name, c, weighted):
    if find(name).least_classes > c:
        pytest.skip("it is 1 for any model")
    answers, weights = said(c), WEIGHTS if weighted else None
    found = of(name, answers, weights)
    P = answers.probabilities
    expected = [theirs(name, P[:, k], answers.y[:, k], weights, c) for k in range(G)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert np.ptp(expected) > 1e-3  # heads are told apart
    assert not np.allclose(found, expected[::-1], atol=1e-6)


@BY_NAME
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["roc_auc_ovr", "average_precision"])
def test_rows_that_are_tied_count_as_in_scikit_learn(name, dtype, weighted):
    answers, weights = said(3, dtype, ties=True), WEIGHTS if weighted else None
    P = answers.probabilities.astype(dtype)
    assert len(np.unique(P[:, 0, 0])) < N / 2
    expected = [theirs(name, P[:, k], answers.y[:, k], weights, 3) for k in range(G)]
    np.testing.assert_allclose(of(name, answers, weights), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["roc_auc_ovr", "average_precision"])
def test_probabilities_of_exactly_0_and_1_are_ranked(name):
    y = np.arange(N) % 2
    P = np.stack([1.0 - y, y], axis=1).astype(np.float32)
    score = find(name)
    assert score.of(P, y, None) == 1
    assert score.of(P, y, WEIGHTS) == pytest.approx(1, rel=1e-15)
    assert score.of(P, 1 - y, None) < 0.51


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1"])
def test_a_class_without_rows_counts_as_in_scikit_learn(name):
    metrics = pytest.importorskip("sklearn.metrics")
    answers = said(3)
    y = np.where(answers.y == 2, 0, answers.y)
    found = of(name, Answers(answers.logits, y, "mse", "numpy"))
    expected = []
    for k in range(G):
        says = answers.predictions[:, k]
        if name == "macro_f1":
            expected.append(metrics.f1_score(y[:, k], says, average="macro"))
        else:
            shares = [np.mean(says[y[:, k] == j] == j) for j in (0, 1)]
            expected.append(np.mean(shares))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@BY_NAME
def test_the_calibration_error_is_as_its_formula_says(weighted):
    answers, weights = said(3), WEIGHTS if weighted else np.ones(N)
    found = of("ece", answers, WEIGHTS if weighted else None)
    for k in range(G):
        P, y = answers.probabilities[:, k], answers.y[:, k]
        bins, before = [[] for _ in range(15)], 0.0
        for row in sorted(range(N), key=lambda row: P[row].max()):
            middle = before + weights[row] / 2
            bins[int(15 * middle / weights.sum())].append(row)
            before += weights[row]
        assert max(map(len, bins)) - min(map(len, bins)) <= (20 if weighted else 1)
        error = 0.0
        for rows in bins:
            accuracy = np.average(P[rows].argmax(axis=1) == y[rows], weights=weights[rows])
            confidence = np.average(P[rows].max(axis=1), weights=weights[rows])
            error += weights[rows].sum() / weights.sum() * abs(accuracy - confidence)
        assert found[k] == pytest.approx(error, rel=1e-12)
    assert np.ptp(found) > 1e-4


def test_the_bins_of_the_calibration_error_hold_as_many_rows():
    confidence = np.linspace(0.51, 1, 150)
    P = np.stack([1 - confidence, confidence], axis=1)
    y = np.ones(150, int)
    expected = np.mean(1 - P[:, 1])  # always right: the gap of every bin
    assert find("ece").of(P, y, None) == pytest.approx(expected, rel=1e-12)
    half_right = np.where(np.arange(150) < 10, 0, 1)  # the first bin alone is all wrong
    error = P[:10, 1].sum() + (1 - P[10:, 1]).sum()
    assert find("ece").of(P, half_right, None) == pytest.approx(error / 150, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_is_that_of_the_heads(loss):
    from softstep import kernels

    answers = said(3)
    answers = Answers(answers.logits, answers.y, loss, "numpy")
    W = np.eye(3)[None]
    for k in range(G):
        expected, accuracy = kernels.evaluate(
            answers.logits[:, k], answers.y[:, k], W, np.zeros((1, 3)), loss=loss, backend="numpy"
        )
        assert of("loss", answers)[k] == pytest.approx(expected[0], rel=1e-12)
        assert of("accuracy", answers)[k] == accuracy[0]


def test_soft_targets_are_scored_as_they_are_or_by_their_largest():
    answers = said(3)
    Y = RNG.dirichlet(np.ones(3), N)
    soft = Answers(answers.logits, Y, "mse", "numpy")
    P = soft.probabilities
    best = Y.argmax(axis=1)
    for k in range(G):
        squares = ((P[:, k] - Y) ** 2).sum(axis=1).mean()
        assert of("brier", soft)[k] == pytest.approx(squares, rel=1e-12)
        entropy = (Y * np.log(P[:, k])).sum(axis=1).mean()
        assert of("neg_log_loss", soft)[k] == pytest.approx(entropy, rel=1e-12)
        assert of("accuracy", soft)[k] == np.mean(P[:, k].argmax(axis=1) == best)
        mse = ((P[:, k] - Y) ** 2).mean()
        assert of("loss", soft)[k] == pytest.approx(mse, rel=1e-12)


def test_the_first_of_equal_logits_is_ahead():
    V = np.zeros((2, 1, 4))
    y = np.array([[1], [3]])
    assert find("top2").of(V, y).tolist() == [[True], [False]]
    assert np.array_equal(find("top1").of(V, y), V.argmax(axis=2) == y)


def test_a_row_whose_logits_are_no_numbers_is_among_the_first_of_nothing():
    nan, inf = np.nan, np.inf
    V = np.array([[[nan, nan, nan]], [[nan, 1, 2]], [[inf, 1, 2]], [[-inf, 1, 2]]])
    for label, expected in ((0, [False, False, True, False]), (1, [False, False, False, True])):
        found = find("top2").of(V, np.full((4, 1), label))
        assert found[:, 0].tolist() == expected


def test_a_likelihood_too_small_for_a_probability_is_exact():
    V = np.array([[[0.0, 1000.0]]], np.float32)
    answers = Answers(V, np.array([[0]]), "mse", "numpy")
    assert answers.probabilities[0, 0, 0] == 0
    assert find("neg_log_loss").of(answers.cross_entropy, answers.y)[0, 0] == -1000


# what is asked for


def test_each_form_of_scoring_names_scores():
    def mine(estimator, X, y):
        return 1.0

    assert list(asked(None, None, {"mse"}).scores) == []
    assert list(asked("brier", None, {"mse"}).scores) == ["brier"]
    assert list(asked(["ece", "top5"], None, {"mse"}).scores) == ["ece", "top5"]
    both = asked({"calibration": "ece", "mine": mine}, "mine", {"mse"}).scores
    assert (both["calibration"].name, both["calibration"].of) == ("calibration", SCORES["ece"].of)
    assert (both["mine"].kind, both["mine"].of) == ("estimator", mine)
    assert asked(mine, None, {"mse"}).refit.name == "score"


@pytest.mark.parametrize(
    ("scoring", "refit", "ranked", "patience"),
    [
        (None, None, ["accuracy", "loss"], "loss"),
        (None, "loss", ["loss", "accuracy"], "loss"),
        ("brier", None, ["brier", "accuracy", "loss"], "brier"),
        (["brier", "ece"], "ece", ["ece", "accuracy", "loss"], "ece"),
        ("brier", "accuracy", ["accuracy", "loss"], "accuracy"),
    ],
)
def test_settings_are_ranked_by_refit_then_by_accuracy_and_loss(scoring, refit, ranked, patience):
    found = asked(scoring, refit, {"mse"})
    assert [score.name for score in found.ranked] == ranked
    assert found.patience.name == patience
    several = asked(scoring, refit, {"mse", "gce"}) if refit != "loss" else None
    if several is not None:
        assert [s.name for s in several.ranked] == [name for name in ranked if name != "loss"]


def test_scorers_of_scikit_learn_are_found_where_it_is_installed(monkeypatch):
    metrics = pytest.importorskip("sklearn.metrics")
    found = asked(["f1_weighted"], None, {"mse"}).refit
    assert (found.kind, found.greater_is_better) == ("estimator", True)

    class Model(pytest.importorskip("sklearn.dummy").DummyClassifier):
        def predict(self, X):
            return X[:, 0]

    said, y = np.array([0, 1, 2, 2, 1, 0]), np.array([0, 1, 1, 2, 1, 2])
    model = Model().fit(said[:, None], y)
    assert found.of(model, said[:, None], y) == metrics.f1_score(y, said, average="weighted")
    monkeypatch.setitem(__import__("sys").modules, "sklearn.metrics", None)
    with pytest.raises(ValueError, match=r"is not built in: choose accuracy, .*softstep\[sklearn"):
        asked("f1_weighted", None, {"mse"})


@pytest.mark.parametrize(
    ("scoring", "refit", "error", "message"),
    [
        ("auc", None, ValueError, "scoring has 'auc', which is no scorer of scikit-learn.*choose"),
        (["ece", "auc"], None, ValueError, "roc_auc_ovr, average_precision or topK, such as top5"),
        (5, None, TypeError, "scoring must be a name, a list of names, a dict"),
        ([print], None, TypeError, "scoring must be a name, a list of names, a dict"),
        (
            ["ece", "brier", "ece"],
            None,
            ValueError,
            "scoring names 'ece' twice: name each score once",
        ),
        ([], None, ValueError, "scoring is empty"),
        ({}, None, ValueError, "scoring is empty"),
        ({"mine": 3}, None, TypeError, r"scoring\['mine'\] must be a name or a function, not 3"),
        ({3: "ece"}, None, TypeError, "scoring names a score 3: names must be text"),
        ({"accuracy": print}, None, ValueError, "computes anyway: give it another name"),
        ({"loss": "ece"}, None, ValueError, "computes anyway: give it another name"),
        ("ece", "brier", ValueError, "refit='brier' is not computed: name it in scoring too"),
        ("ece", "mine", ValueError, "refit must be one of 'accuracy', 'loss', 'ece', not 'mine'"),
        (None, True, ValueError, "refit must be one of 'accuracy', 'loss', not True"),
    ],
)
def test_what_is_no_score_is_refused(scoring, refit, error, message):
    pytest.importorskip("sklearn")
    with pytest.raises(error, match=message):
        asked(scoring, refit, {"mse"})


@pytest.mark.parametrize("value", [None, "1", [0.5], {"a": 1}, True, 1j, np.ones(2)])
def test_a_function_must_return_a_number(value):
    score = asked(print, None, {"mse"}).refit
    with pytest.raises(TypeError, match=r"scoring='score' gave .*must return a number"):
        number(score, value)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.array(0.5), np.int64(2)])
def test_numbers_of_any_kind_are_taken(value):
    assert number(find("ece"), value) == float(value)
