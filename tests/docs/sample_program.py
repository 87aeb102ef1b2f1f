"""A program of a user, checked by mypy --strict: what the types of softstep say."""

from typing import Any

import numpy as np

from softstep import SoftmaxRegression, SoftmaxSweep, kernels, use_backend
from softstep.model import WeightPath
from softstep.model.datasets import Dataset, load_digits
from softstep.model.landscape import Surface, loss_surface

digits: Dataset = load_digits()
path = WeightPath()
model: SoftmaxRegression = SoftmaxRegression(loss="cross_entropy", schedule="cosine", epochs=2)
model = model.fit(digits.X_train, digits.y_train, path=path)
score: float = model.score(digits.X_test, digits.y_test)
settings: dict[str, Any] = model.set_params(l2=0.1).get_params()
steps: np.ndarray[Any, Any] = path.steps
surface: Surface = loss_surface(model, digits.X_train, digits.y_train, "pca", path=path)
with use_backend("numpy"):
    sweep: SoftmaxSweep = SoftmaxSweep({"learning_rate": [0.1, 1]}, cv=2, solver="sgd")
    loss, accuracy = kernels.evaluate(
        digits.X_train, digits.y_train, model.coef_.T[None], model.intercept_[None], loss="mse"
    )
again: SoftmaxRegression = SoftmaxRegression.from_sklearn(model.to_sklearn())
