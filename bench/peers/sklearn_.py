"""scikit-learn: LogisticRegression, its default solver, L-BFGS."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

# The fewest iterations after which 92% of MNIST's test rows are right (bench/studies/budgets.py).
ITERATIONS = 27


def predict(model):
    regression = LogisticRegression()
    regression.coef_, regression.intercept_ = np.ascontiguousarray(model.W.T), model.b
    regression.classes_ = np.arange(len(model.b))
    return lambda: (regression.predict(model.X),)


def fit(data, iterations=ITERATIONS):
    """Fit the pixels in [0, 1]; the accuracy on the test rows is not part of the time."""

    def call():
        regression = LogisticRegression(max_iter=iterations)
        X = data.X_train * np.float32(1 / 255)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped early on purpose
            return (regression.fit(X, data.y_train),)

    return call
