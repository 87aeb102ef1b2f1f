"""Promise: a model leaves for other libraries and comes back with the same probabilities."""

import functools

import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.model import NotFittedError, extras
from softstep.model.datasets import load_digits
from softstep.model.extras import MissingExtraError

WITHIN = 1e-6
NAMES = [f"pixel {j}" for j in range(64)]
LIBRARIES = {"torch": "torch", "sklearn": "sklearn", "onnx": "onnx", "safetensors": "safetensors"}
FORMATS = tuple(LIBRARIES)
DIGITS = load_digits()


def rows(kind):
    """Digits as they are given to `fit`."""
    if kind == "uint8":
        return np.rint(DIGITS.X_test * 255).astype(np.uint8)
    if kind == "names":
        return named(DIGITS.X_test.astype(np.float64))
    if kind == "int64":
        return np.rint(DIGITS.X_test * 16).astype(np.int64)
    return DIGITS.X_test.astype(kind)


def named(X):
    return pytest.importorskip("pandas").DataFrame(X, columns=NAMES)


def labels(kind):
    y = DIGITS.y_test
    if kind == "text":
        return np.array([f"digit {i}" for i in y])
    return {"two": y > 4, "floats": y.astype(float), "negative": y - 5}.get(kind, y)


@functools.cache
def fitted(x="float32", y="integers", **settings):
    rate = 0.003 if x == "int64" else 0.5
    settings = {"loss": "cross_entropy", "learning_rate": rate, "batch_size": 20, **settings}
    model = SoftmaxRegression(epochs=10, random_state=0, backend="numpy", **settings)
    return model.fit(rows(x), labels(y))


def there_and_back(model, name, folder):
    if name == "torch":
        names = getattr(model, "feature_names_in_", None)
        back = SoftmaxRegression.from_torch(model.to_torch(), model.classes_, names)
    elif name == "sklearn":
        back = SoftmaxRegression.from_sklearn(model.to_sklearn())
    else:
        path = folder / f"model.{name}"
        getattr(model, f"to_{name}")(path)
        back = getattr(SoftmaxRegression, f"from_{name}")(path)
    return back.set_params(backend="numpy")


KINDS = [
    {"x": "float32"},
    {"x": "float64"},
    {"x": "float16"},
    {"x": "uint8"},
    {"x": "int64"},
    {"x": "names"},
    {"y": "text"},
    {"y": "two"},
    {"y": "floats"},
    {"y": "negative"},
    {"x": "float64", "feature_scale": 0.3},
    {"x": "uint8", "feature_scale": 0.01},
    {"fit_intercept": False},
]


@pytest.mark.filterwarnings("ignore:the columns")
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(map(str, kind.values())))
def test_there_and_back_is_the_same_model(kind, name, tmp_path):
    model, X = fitted(**kind), rows(kind.get("x", "float32"))
    pytest.importorskip(LIBRARIES[name])
    back = there_and_back(model, name, tmp_path)
    expected = model.predict_proba(X)
    assert np.abs(back.predict_proba(X) - expected).max() <= WITHIN
    assert expected.max() > 0.5  # and not all alike
    assert (back.predict(X) == model.predict(X)).all()
    assert back.classes_.dtype == model.classes_.dtype
    names = [list(getattr(each, "feature_names_in_", [])) for each in (back, model)]
    assert names[0] == names[1] == (NAMES if kind.get("x") == "names" else [])


@pytest.mark.filterwarnings("ignore:the columns")
@pytest.mark.parametrize("name", ["onnx", "safetensors"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(map(str, kind.values())))
def test_files_keep_how_later_rows_are_read(kind, name, tmp_path):
    model = fitted(**kind)
    pytest.importorskip(LIBRARIES[name])
    back = there_and_back(model, name, tmp_path)
    assert (back.learned_from_, back.feature_scale_) == (model.learned_from_, model.feature_scale_)
    assert back.feature_scale == model.feature_scale


def in_torch(model, X, folder):
    torch = pytest.importorskip("torch")
    layer = model.to_torch()
    assert type(layer) is torch.nn.Linear
    with torch.no_grad():
        V = layer(torch.from_numpy(np.asarray(X).astype(model.coef_.dtype)))
    return V.softmax(1).numpy(), model.classes_[V.argmax(1).numpy()]


def in_sklearn(model, X, folder):
    estimator = model.to_sklearn()
    return estimator.predict_proba(X), estimator.predict(X)


def in_onnxruntime(model, X, folder):
    runtime = pytest.importorskip("onnxruntime")
    model.to_onnx(folder / "model.onnx")
    session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    X = np.asarray(X)
    dtype = np.uint8 if model.learned_from_ == "uint8 pixels" else model.coef_.dtype
    labels, P = session.run(["label", "probabilities"], {"X": X.astype(dtype)})
    return P, labels


def in_a_state_dict(model, X, folder):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    model.to_safetensors(folder / "model.safetensors")
    c, d = model.coef_.shape
    layer = torch.nn.Linear(d, c, dtype=model.to_torch().weight.dtype)
    layer.load_state_dict(load_file(folder / "model.safetensors"))
    with torch.no_grad():
        V = layer(torch.from_numpy(np.asarray(X).astype(model.coef_.dtype)))
    return V.softmax(1).numpy(), model.classes_[V.argmax(1).numpy()]


@pytest.mark.filterwarnings("ignore:the columns")
@pytest.mark.parametrize("there", [in_torch, in_sklearn, in_onnxruntime, in_a_state_dict])
@pytest.mark.parametrize("kind", KINDS[:10], ids=lambda kind: " ".join(map(str, kind.values())))
def test_others_compute_the_same(kind, there, tmp_path):
    model, X = fitted(**kind), rows(kind.get("x", "float32"))
    if there is in_sklearn and kind.get("x") == "float16":
        pytest.skip("scikit-learn computes float16 rows in float16")
    P, predicted = there(model, X, tmp_path)
    assert np.abs(P - model.predict_proba(X)).max() <= WITHIN
    assert (np.asarray(predicted) == model.predict(X)).all()


def test_two_classes_are_the_difference_of_their_weights_in_sklearn():
    model = fitted(y="two")
    estimator = model.to_sklearn()
    assert estimator.coef_.shape == (1, 64)
    assert estimator.intercept_.shape == (1,)
    logits = estimator.decision_function(rows("float32"))
    expected = model.decision_function(rows("float32"))
    assert np.abs(logits - expected).max() <= WITHIN * np.abs(expected).max()


@pytest.mark.parametrize("classes", [2, 10])
def test_what_sklearn_fitted_predicts_the_same_here(classes):
    from sklearn.linear_model import LogisticRegression

    X, y = named(DIGITS.X_test), DIGITS.y_test * classes // 10
    estimator = LogisticRegression(C=0.1, max_iter=1000).fit(X, y)
    model = SoftmaxRegression.from_sklearn(estimator)
    assert np.abs(model.predict_proba(X) - estimator.predict_proba(X)).max() <= WITHIN
    assert model.feature_names_in_.tolist() == NAMES


def test_labels_of_a_layer_may_come_in_any_order():
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(64, 3, bias=False)
    model = SoftmaxRegression.from_torch(layer, classes=["c", "a", "b"])
    X = rows("float32")
    expected = np.array(["c", "a", "b"])[layer(torch.from_numpy(X)).argmax(1).numpy()]
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert (model.predict(X) == expected).all()


def test_a_half_precision_layer_is_widened():
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(4, 3).bfloat16()
    model = SoftmaxRegression.from_torch(layer)
    assert model.coef_.dtype == np.float32
    assert (model.coef_ == layer.weight.detach().float().numpy()).all()


def test_what_came_back_learns_on_and_is_saved(tmp_path):
    model = there_and_back(fitted(), "safetensors", tmp_path)
    model.save(tmp_path / "model.npz")
    again = SoftmaxRegression.load(tmp_path / "model.npz")
    for each in (model, again):
        each.partial_fit(rows("float32"), labels("integers"))
    assert (again.coef_ == model.coef_).all()


@pytest.mark.parametrize("name", FORMATS)
def test_a_model_must_be_fitted(name, tmp_path):
    arguments = [tmp_path / "model"] if name == "safetensors" else []
    with pytest.raises(NotFittedError):
        getattr(SoftmaxRegression(), f"to_{name}")(*arguments)


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_library_is_named_with_its_extra(name, tmp_path, monkeypatch):
    def missing(module):
        raise ImportError(f"No module named {module!r}")

    model = fitted()
    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=rf"softstep\[{name}\]"):
        there_and_back(model, name, tmp_path)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda torch: torch.nn.ReLU(), TypeError, "ReLU"),
        (lambda torch: torch.nn.Linear(4, 1), ValueError, "1 columns"),
        (lambda torch: torch.nn.Linear(4, 3, dtype=torch.complex64), ValueError, "complex64"),
    ],
)
def test_other_layers_are_refused(make, error, words):
    torch = pytest.importorskip("torch")
    with pytest.raises(error, match=words):
        SoftmaxRegression.from_torch(make(torch))


def test_classes_and_names_of_another_length_are_refused():
    layer = pytest.importorskip("torch").nn.Linear(4, 3)
    with pytest.raises(ValueError, match="2 labels"):
        SoftmaxRegression.from_torch(layer, classes=[0, 1])
    with pytest.raises(ValueError, match="names must be 4"):
        SoftmaxRegression.from_torch(layer, names=["a"])
    with pytest.raises(ValueError, match="each once"):
        SoftmaxRegression.from_torch(layer, classes=[0, 1, 1])


def test_one_against_the_rest_is_no_softmax():
    from sklearn.linear_model import LogisticRegression, SGDClassifier

    estimator = LogisticRegression().fit(DIGITS.X_test, DIGITS.y_test)
    estimator.solver = "liblinear"
    with pytest.raises(ValueError, match="against the rest"):
        SoftmaxRegression.from_sklearn(estimator)
    with pytest.raises(TypeError, match="SGDClassifier"):
        SoftmaxRegression.from_sklearn(SGDClassifier())
    with pytest.raises(NotFittedError):
        SoftmaxRegression.from_sklearn(LogisticRegression())
