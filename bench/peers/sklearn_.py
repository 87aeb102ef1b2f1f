"""scikit-learn: LogisticRegression, its default solver, L-BFGS, and SGDClassifier."""

import warnings
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, SGDClassifier

# The fewest iterations after which 92% of MNIST's test rows are right (bench/studies/budgets.py).
ITERATIONS = 27


def predict(model: Any) -> Any:
    regression = LogisticRegression()
    regression.coef_, regression.intercept_ = np.ascontiguousarray(model.W.T), model.b
    regression.classes_ = np.arange(len(model.b))
    return lambda: (regression.predict(model.X),)


def partial_fit(model: Any) -> Any:
    regression = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05)
    classes = np.arange(len(model.b))

    def call():
        regression.partial_fit(model.X, model.y, classes)
        return regression.coef_.T, regression.intercept_

    return call


def fit(data: Any, iterations: Any = ITERATIONS) -> Any:
    """Fit the pixels in [0, 1]; the accuracy on the test rows is not part of the time."""

    def call():
        X = data.X_train * np.float32(1 / 255)
        return (_fitted(LogisticRegression(max_iter=iterations), X, data.y_train),)

    return call


def fit_on_torch(data):
    """The same through the array API: the products are torch's."""
    import torch

    pixels, y = torch.from_numpy(data.X_train), torch.from_numpy(data.y_train)

    def call():
        with sklearn.config_context(array_api_dispatch=True):
            regression = _fitted(LogisticRegression(max_iter=ITERATIONS), pixels / 255, y)
        for name in ("coef_", "intercept_", "classes_"):
            setattr(regression, name, getattr(regression, name).numpy())
        return (regression,)

    return call


def fit_by_onedal(data):
    """The same by scikit-learn-intelex."""
    from sklearnex.linear_model import LogisticRegression as OneDal

    def call():
        X = data.X_train * np.float32(1 / 255)
        return (_fitted(OneDal(max_iter=ITERATIONS), X, data.y_train),)

    return call


def _fitted(regression, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped early on purpose
        return regression.fit(X, y)
