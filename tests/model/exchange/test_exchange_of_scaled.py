"""Promise: a model that scales leaves with its probabilities, or a warning says what is lost."""

import warnings

import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.model.archive import DataError

pytestmark = pytest.mark.filterwarnings("ignore:the columns of X have")

WITHIN = 1e-6
N, D, C = 200, 8, 3
RNG = np.random.default_rng(0)
Y = np.arange(N) % C
NAMES = [f"column {j}" for j in range(D)]


def rows(away, dtype=np.float32):
    """Columns whose means are so many deviations from 0."""
    return (RNG.standard_normal((N, D)) + np.eye(D)[Y] + away).astype(dtype)


def pixels():
    return RNG.integers(0, 256, (N, D)).astype(np.uint8) // (1 + Y[:, None].astype(np.uint8))


def fitted(X, **settings):
    settings = {"scaling": "standard", "loss": "cross_entropy", "learning_rate": 0.5, **settings}
    return SoftmaxRegression(epochs=10, batch_size=20, random_state=0, **settings).fit(X, Y)


def in_torch(model, X, folder):
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        V = model.to_torch()(torch.from_numpy(X.astype(model.coef_.dtype)))
    return V.softmax(1).numpy()


def in_a_state_dict(model, X, folder):
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    model.to_safetensors(folder / "model.safetensors")
    c, d = len(model.classes_), X.shape[1]
    layer = torch.nn.Linear(d, c, dtype=torch.from_numpy(model.intercept_).dtype)
    layer.load_state_dict(load_file(folder / "model.safetensors"))
    with torch.no_grad():
        V = layer(torch.from_numpy(X.astype(model.coef_.dtype)))
    return V.softmax(1).numpy()


def in_onnxruntime(model, X, folder):
    runtime = pytest.importorskip("onnxruntime")
    model.to_onnx(folder / "model.onnx")
    session = runtime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    X = X if X.dtype == np.uint8 else X.astype(model.coef_.dtype)
    return session.run(["probabilities"], {"X": X})[0]


def in_sklearn(model, X, folder):
    return model.to_sklearn().predict_proba(X)


def out_of_onnx(model, X, folder):
    pytest.importorskip("onnx")
    model.to_onnx(folder / "model.onnx")
    back = SoftmaxRegression.from_onnx(folder / "model.onnx")
    assert back.scaling == "standard"
    back.save(folder / "model.npz")
    return SoftmaxRegression.load(folder / "model.npz").predict_proba(X)


EXACT = [in_onnxruntime, in_sklearn, out_of_onnx]
FOLDED = [in_torch, in_a_state_dict]


KINDS = ["float32", "float64", "uint8", "scaled", "turned", "part", "not centred"]


@pytest.mark.parametrize("there", EXACT + FOLDED)
@pytest.mark.parametrize("kind", KINDS)
def test_others_compute_the_same(kind, there, tmp_path):
    X, settings = rows(1), {}
    if kind == "float64":
        X = rows(1e4, np.float64)
    elif kind == "uint8":
        X = pixels()
    elif kind in ("scaled", "turned"):
        settings["feature_scale"] = 0.3 if kind == "scaled" else -0.3
    elif kind == "part":
        settings["features"] = (2, 6)
        X[:, 3] = 5  # constant
    elif kind == "not centred":
        settings["fit_intercept"] = False
    model = fitted(X, **settings)
    if there is in_sklearn and kind == "uint8":
        pytest.skip("scikit-learn takes uint8 for numbers")
    expected = model.predict_proba(X)
    assert expected.max() > 0.6
    assert np.abs(there(model, X, tmp_path) - expected).max() <= WITHIN


@pytest.mark.parametrize("there", EXACT)
def test_no_figures_are_lost_far_from_0(there, tmp_path):
    X = rows(1e4)
    model = fitted(X)
    expected = model.predict_proba(X)
    assert expected.max() > 0.6
    assert np.abs(there(model, X, tmp_path) - expected).max() <= WITHIN


@pytest.mark.parametrize("there", FOLDED)
def test_figures_that_are_lost_are_told(there, tmp_path):
    X = rows(1e4)
    model = fitted(X)
    with pytest.warns(UserWarning, match=r"up to .*e\+0[34] deviations from 0, .* off by about"):
        found = there(model, X, tmp_path)
    off = np.abs(found - model.predict_proba(X)).max()
    assert WITHIN < off < 1e-2  # the warning is needed, and the layer still the model
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        there(fitted(rows(2)), X, tmp_path)


@pytest.mark.parametrize("scaling", ["l2", "l2+standard"])
def test_a_pipeline_knows_the_columns(scaling):
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(rows(1, np.float64), columns=NAMES)
    model = fitted(X, scaling=scaling)
    pipeline = model.to_sklearn()
    assert np.abs(pipeline.predict_proba(X) - model.predict_proba(X)).max() <= WITHIN
    assert pipeline.n_features_in_ == D
    assert pipeline.feature_names_in_.tolist() == NAMES
    with pytest.raises(ValueError, match="feature names"):
        pipeline.predict(X[NAMES[::-1]])


def with_node(model, change):
    """The ONNX model after `change(onnx, graph)`."""
    onnx = pytest.importorskip("onnx")
    made = model.to_onnx()
    change(onnx, made.graph)
    return made


def node(graph, name):
    (found,) = (node for node in graph.node if node.output[0] == name)
    return found


def put(onnx, graph, name, values):
    (tensor,) = (tensor for tensor in graph.initializer if tensor.name == name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(values, np.float32), name))


HOSTILE = {
    "another order": lambda onnx, g: setattr(node(g, "centred"), "op_type", "Mul"),
    "one input": lambda onnx, g: node(g, "centred").input.pop(),
    "after the layer": lambda onnx, g: g.node.append(
        onnx.helper.make_node("Mul", ["logits", "bias"], ["more"])
    ),
    "0": lambda onnx, g: put(onnx, g, "inverse", np.zeros(D)),
    "infinite": lambda onnx, g: put(onnx, g, "inverse", np.full(D, np.inf)),
    "no mean": lambda onnx, g: put(onnx, g, "mean", np.full(D, np.nan)),
    "another width": lambda onnx, g: put(onnx, g, "mean", np.zeros(D + 1)),
    "a factor": lambda onnx, g: put(onnx, g, "inverse", 2.0),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_scales_otherwise_is_refused(name):
    model = fitted(rows(1), feature_scale=-0.3)
    with pytest.raises(DataError):
        SoftmaxRegression.from_onnx(with_node(model, HOSTILE[name]))
    SoftmaxRegression.from_onnx(with_node(model, lambda onnx, graph: None))
