"""Promise: the estimator, the command and the choice of backend work on the GPU's launchers."""

import numpy as np
import pytest
import standin

from softstep import SoftmaxRegression, kernels
from softstep.kernels import backend
from softstep.kernels._cupy.arrays import asarray


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((90, 6)).astype(np.float32)
    return X, X[:, :3].argmax(axis=1)


@pytest.fixture
def on_gpu(machine):
    """Moves an array to the emulated GPU."""
    return asarray


def fitted(backend, X, y, **settings):
    settings = {"learning_rate": 1.0, "epochs": 3, "random_state": 0, "batch_size": 20, **settings}
    return SoftmaxRegression(backend=backend, **settings).fit(X, y, X_val=X, y_val=y)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_the_estimator_trains_as_on_numpy(machine, rows, loss):
    settings = {"loss": loss, "momentum": 0.5, "l2": 0.01}
    found, expected = (fitted(name, *rows, **settings) for name in ("cupy", "numpy"))
    # 15 steps of float32 in another order
    np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-5)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-4, atol=1e-5)
    assert np.abs(found.coef_).max() > 0.1
    assert found.history_[-1].val_loss == pytest.approx(expected.history_[-1].val_loss, rel=1e-5)
    assert np.array_equal(found.predict(rows[0]), expected.predict(rows[0]))


def test_features_of_the_other_byte_order_train_as_the_native_ones(machine, rows):
    X, y = rows
    expected = fitted("cupy", X, y).coef_
    assert np.array_equal(fitted("cupy", X.astype(">f4"), y).coef_, expected)


def test_features_from_the_host_move_once_in_a_fit(machine, rows):
    X, y = rows
    SoftmaxRegression(backend="cupy", epochs=4, random_state=0).fit(X, y)
    assert machine.log.count(f"to device {X.nbytes}") == 1


def test_arrays_on_the_gpu_choose_it_and_results_stay_there(on_gpu, rows):
    X = on_gpu(rows[0])
    W, b = np.ones((6, 3), np.float32), np.zeros(3, np.float32)
    V = kernels.linear_forward(X, W, b)
    assert type(V) is type(X)
    np.testing.assert_allclose(V.get(), rows[0] @ W, rtol=1e-5, atol=1e-6)
    assert isinstance(kernels.softmax_forward(rows[0], backend="cupy"), np.ndarray)


def test_a_fit_on_the_gpu_predicts_there_and_on_the_host(on_gpu, rows):
    X, y = rows
    model = fitted(None, on_gpu(X), y)
    assert np.array_equal(model.predict(on_gpu(X)).get(), model.predict(X))
    assert model.score(on_gpu(X), y) == model.score(X, y)


def test_weights_on_the_gpu_are_updated_in_place(on_gpu, rows):
    X, y = rows
    W, b = (on_gpu(np.zeros(s, np.float32)) for s in ((1, 6, 3), (1, 3)))
    kernels.train(on_gpu(X), y, np.arange(90), 10, W, b, loss="mse", learning_rate=0.5)
    host_W, host_b = np.zeros((1, 6, 3), np.float32), np.zeros((1, 3), np.float32)
    kernels.train(X, y, np.arange(90), 10, host_W, host_b, loss="mse", learning_rate=0.5)
    np.testing.assert_allclose(W.get(), host_W, rtol=1e-4, atol=1e-6)
    assert np.abs(W.get()).max() > 0.01


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_a_cpu_backend_refuses_arrays_on_the_gpu(on_gpu, rows, name):
    with pytest.raises(TypeError, match=f"X is on a GPU, but the {name} backend runs"):
        kernels.predict(on_gpu(rows[0]), np.ones((6, 2), np.float32), np.zeros(2), backend=name)


def test_auto_stays_on_the_cpu_for_arrays_on_the_host(machine):
    assert backend.choose()[0].name == "numba"
    assert backend.choose(on_gpu=True)[0].name == "cupy"


def test_without_a_gpu_asking_for_it_says_why_and_not_to_install_what_is_there():
    with standin.install() as machine:
        machine.device_count = 0
        with pytest.raises(kernels.BackendError) as error:
            kernels.softmax_forward(np.ones((1, 2)), backend="cupy")
    assert "there is no NVIDIA GPU" in str(error.value)
    assert "softstep[cuda12]" not in str(error.value)
