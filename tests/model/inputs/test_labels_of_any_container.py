"""Promise: labels and weights mean the same in whatever holds them; what would merge is refused."""

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model.landscape import loss_surface

N = 60
RNG = np.random.default_rng(0)
Y = np.arange(N) % 3
X = (RNG.standard_normal((N, 4)) + 2 * np.eye(4)[Y]).astype(np.float32)
W = np.arange(1.0, N + 1)
SOFT = np.full((N, 3), 0.2) + 0.4 * np.eye(3)[Y]


def model(**settings):
    return SoftmaxRegression(epochs=3, random_state=0, **settings)


def sweep(**settings):
    return SoftmaxSweep({}, **{"cv": 2, "epochs": 2, "random_state": 0, **settings})


class ByGroups:
    """A splitter that takes groups."""

    def split(self, X, y, groups):
        for group in np.unique(groups):
            yield np.flatnonzero(groups != group), np.flatnonzero(groups == group)


def frames():
    """A table by library, from columns by name."""
    yield "pandas", lambda p, columns: p.DataFrame(columns)
    yield "polars", lambda p, columns: p.DataFrame(columns)
    yield "pyarrow", lambda p, columns: p.table(columns)


@pytest.fixture(params=list(frames()), ids=[name for name, _ in frames()])
def frame(request):
    name, make = request.param
    module = pytest.importorskip(name)
    return lambda columns: make(module, columns)


# Tables of one column, of label sets, of soft targets.


def test_a_table_of_one_column_is_a_column_of_labels(frame):
    expected = model().fit(X, Y).coef_
    for labels in (Y, np.array(["a", "b", "c"])[Y]):
        table = frame({"label": labels.tolist()})
        with pytest.warns(UserWarning, match="A column-vector y was passed"):
            found = model().fit(X, table)
        assert np.array_equal(found.coef_, expected)
        assert found.classes_.tolist() == np.unique(labels).tolist()
        with pytest.warns(UserWarning, match="A column-vector y was passed"):
            assert found.score(X, table) == found.score(X, labels)
        with pytest.warns(UserWarning, match="A column-vector y was passed"):
            sweep().fit(X, table)


def test_a_table_of_one_column_is_weights(frame):
    weights = frame({"w": W.tolist()})
    for estimator in (model(), sweep()):
        expected = estimator.fit(X, Y, sample_weight=W).predict_proba(X)
        assert np.array_equal(estimator.fit(X, Y, sample_weight=weights).predict_proba(X), expected)


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_what_is_missing_in_a_table_of_labels_is_named(frame):
    labels = [*Y[:7].tolist(), None, *Y[8:].tolist()]
    with pytest.raises(ValueError, match=r"y\[7, 0\] is missing|y\[7\] = nan"):
        model().fit(X, frame({"label": labels}))


def test_label_sets_in_a_table_keep_their_kinds(frame):
    table = frame({"number": Y.tolist(), "text": np.array(["a", "b", "c"])[Y].tolist()})
    found = sweep().fit(X, table)
    assert [c.tolist() for c in found.classes_] == [[0, 1, 2], ["a", "b", "c"]]
    assert found.score(X, table) > 0.5


def test_soft_targets_in_a_table_are_those_of_the_class_that_a_column_names(frame):
    names = ["cat", "dog", "emu"]
    columns = dict(zip(names, SOFT.T.tolist(), strict=True))
    table, other = (
        frame({name: columns[name] for name in order}) for order in (names, names[::-1])
    )
    expected = model().fit(X, SOFT)
    for y in (table, other):
        found = model().fit(X, y, X_val=X, y_val=other)
        assert found.classes_.tolist() == names
        assert np.array_equal(found.coef_, expected.coef_)
        assert found.score(X, table) == found.score(X, other) == expected.score(X, SOFT)
        assert (
            found.history_[-1].val_loss
            == model().fit(X, SOFT, X_val=X, y_val=SOFT).history_[-1].val_loss
        )
        assert sweep().fit(X, y).classes_.tolist() == names
    with pytest.raises(ValueError, match=r"has the columns cat, dog, fox .*, but the classes are"):
        found.score(X, frame({"cat": SOFT[:, 0], "dog": SOFT[:, 1], "fox": SOFT[:, 2]}))


# Labels that would merge, or that stand for none.


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ([1, "1", 0] * 20, TypeError, r"y\[0\] is 1: labels must be all integers or all strings"),
        (["a", float("nan"), "b"] * 20, TypeError, r"y\[1\] is nan: labels must be all"),
        (["a", None, "b"] * 20, TypeError, r"y\[1\] is None: labels must be all"),
        (["a", True, "b"] * 20, TypeError, r"y\[1\] is True: labels must be all"),
        ([2**53 + 1, 2**53, -1.0] * 20, ValueError, r"y\[0\] = .* too large for float64 to tell"),
        ([2**63 + 1, 2**63 + 2, -1] * 20, ValueError, "too large for float64|beyond 64 bits"),
        ([2**70, 2**70 + 1, 0] * 20, ValueError, "y holds integers beyond 64 bits"),
        (np.float32([2**24, 1, 0] * 20), ValueError, "too large for float32 to tell it from"),
        (np.float16([2048, 1, 0] * 20), ValueError, "too large for float16 to tell it from"),
        ([0.0, float("nan"), 1.0] * 20, ValueError, r"y\[1\] = nan: fill it"),
        (np.array(["a", "a\0", "b"] * 20, object), ValueError, r"y\[1\] ends in NUL"),
    ],
)
def test_labels_that_would_merge_are_refused(labels, error, words):
    for estimator in (model(), sweep()):
        with pytest.raises(error, match=words):
            estimator.fit(X, labels)


def test_text_that_ends_in_nul_is_told_apart_in_every_library():
    labels = ["a", "a\0", "b"] * 20
    for name, make in {
        "polars": lambda p: p.Series(labels),
        "pyarrow": lambda p: p.array(labels),
        "pandas": lambda p: p.Series(labels).astype("category"),
    }.items():
        y = make(pytest.importorskip(name))
        for estimator in (model(), sweep()):
            with pytest.raises(ValueError, match=r"y\[1\] ends in NUL"):
                estimator.fit(X, y)


@pytest.mark.parametrize("least", [2**53, 2**62, 2**63, 2**64 - 3])
def test_long_whole_numbers_are_told_apart(least):
    labels = [least + int(code) for code in Y]
    for given in (labels, np.array(labels, object), np.array(labels, np.uint64)):
        found = model().fit(X, given)
        assert found.classes_.tolist() == [least, least + 1, least + 2]
        assert found.score(X, given) == model().fit(X, Y).score(X, Y)
        assert sweep().fit(X, given).classes_.tolist() == [least, least + 1, least + 2]
    if least < 2**63 - 3:
        found = model().fit(X, np.array(labels, np.int64))
        found.partial_fit(X, np.array(labels, np.uint64))


def test_lists_of_one_kind_are_what_they_were():
    for labels in (["a", "b", "c"], [True, False, True], [np.str_("a"), "b", "c"], [3, 1, 2]):
        given = [labels[code] for code in Y]
        assert model().fit(X, given).classes_.tolist() == sorted(set(labels))


# Numbers of which few come again.


def test_labels_that_look_like_numbers_to_predict_are_called_that():
    for y in (np.arange(N), np.arange(N) * 1.0, np.floor(np.arange(N) / 1.5)):
        with pytest.warns(UserWarning, match="greater than 50% of the number of samples"):
            model().fit(X, y)
        with pytest.warns(UserWarning, match="greater than 50% of the number of samples"):
            SoftmaxSweep({}, epochs=1).fit(X, y, X_val=X, y_val=y)
    model().fit(X[:12], np.arange(12))


def test_rows_with_a_single_one_are_hardly_label_sets():
    with pytest.warns(UserWarning, match="each row of y has a single 1: its 3 columns are read as"):
        sweep().fit(X, np.eye(3, dtype=int)[Y])


# Classes that are told at first.


def test_classes_come_in_any_container():
    torch = pytest.importorskip("torch")
    polars = pytest.importorskip("polars")
    expected = model().partial_fit(X, Y, classes=[0, 1, 2]).coef_
    for classes in (torch.arange(3), polars.Series([0, 1, 2]), (0, 1, 2), range(3)):
        found = model().partial_fit(X, Y, classes=classes)
        assert np.array_equal(found.coef_, expected)
        found.partial_fit(X, Y, classes=classes)


# Rows have names too.


def test_rows_in_another_order_than_their_labels_are_said():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, index=[f"r{i}" for i in range(N)])
    labels = pandas.Series(Y, index=table.index)
    shuffled = table.sample(frac=1, random_state=0)
    fitted = model().fit(table, labels)
    both = pandas.DataFrame({"a": labels, "b": labels % 2})
    of_sets = sweep().fit(table, both)
    for call in (
        lambda: model().fit(shuffled, labels),
        lambda: sweep().fit(shuffled, labels),
        lambda: fitted.score(shuffled, labels),
        lambda: fitted.partial_fit(shuffled, labels),
        lambda: loss_surface(fitted, shuffled, labels, steps=2),
        lambda: of_sets.score(shuffled, both),
    ):
        with pytest.warns(UserWarning, match=r"same index in another order: .*y\.loc\[X\.index\]"):
            call()
    own = labels[shuffled.index]
    for name, call in {
        "sample_weight": lambda: model().fit(shuffled, own, labels + 1),
        "sample_weight in a sweep": lambda: sweep().fit(shuffled, own, labels + 1),
        "sample_weight of a score": lambda: fitted.score(shuffled, own, labels + 1),
        "sample_weight in parts": lambda: fitted.partial_fit(
            shuffled, own, sample_weight=labels + 1
        ),
        "groups": lambda: sweep(cv=ByGroups()).fit(shuffled, own, groups=labels),
    }.items():
        cure = rf"X and {name.split()[0]} have .* give {name.split()[0]}\.loc\[X\.index\]"
        with pytest.warns(UserWarning, match=cure):
            call()
    for fit, more in (
        (model().fit, {"y_val": labels}),
        (sweep(cv=None).fit, {"y_val": labels}),
        (sweep(cv=None).fit, {"y_val": own, "sample_weight_val": labels + 1}),
    ):
        cure = rf"X_val and {list(more)[-1]} have .*\.loc\[X_val\.index\]"
        with pytest.warns(UserWarning, match=cure):
            fit(shuffled, own, X_val=shuffled, **more)
    model().fit(shuffled, labels[shuffled.index])
    model().fit(shuffled, labels.reset_index(drop=True))  # nothing is known of them


def test_whole_numbers_with_a_single_one_in_a_row_get_the_cure():
    with pytest.raises(ValueError, match=r"each row of y has a single 1: give y\.argmax\(axis=1\)"):
        model().fit(X, np.eye(3, dtype=int)[Y])
