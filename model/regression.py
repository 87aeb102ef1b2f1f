"""Softmax regression: one linear layer and a softmax, trained by minibatch gradient descent."""

import contextlib
import dataclasses
from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Any, Literal, Self

import numpy as np

from softstep import kernels
from softstep.kernels.arrays import on_host
from softstep.kernels.checks import Array, compute_dtype
from softstep.kernels.integers import ceil_div
from softstep.kernels.names import Backend, Loss
from softstep.model import checkpoint as files
from softstep.model import inputs, trainer, views
from softstep.model import resume as resuming
from softstep.model.exchange import Exchange
from softstep.model.fitted import Fitted
from softstep.model.inputs import Features, Kind, Schema
from softstep.model.optimum.absent import brought_back
from softstep.model.optimum.kept import keeping
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.settings import Optimum, l2_of, refuse_of_sgd
from softstep.model.optimum.shortfall import say_what_fell_short
from softstep.model.optimum.solve import Solution, solve
from softstep.model.params import Params
from softstep.model.path import WeightPath
from softstep.model.saved_model import (
    OF_OPTIMUM,
    optimum_for_json,
    put_optimum_on,
    state_of,
    take_over,
)
from softstep.model.settings import Settings
from softstep.model.shards import door
from softstep.model.shards.ranks import fit_over


class SoftmaxRegression(Params, Exchange):
    """Softmax regression by minibatch gradient descent; the defaults are the original recipe.

    With `solver="lbfgs"` it is solved to its optimum instead, and that is proven
    (docs/derivation.md): the mean of w L over the rows, plus (l2/2)·‖W‖², is within `tol` of the
    least there is.

    p = softmax(s xᵀW + b); the loss of a row is L = (1/c) Σ_i (y_i - p_i)² ("mse"),
    L = -log p_y ("cross_entropy") or L = (1 - p_y^0.7)/0.7 ("gce", for labels only).
    A step on a batch takes g = mean gradient + l2·W,
    M ← momentum·M + g, W ← W - learning_rate·M. docs/derivation.md derives it.

    >>> from softstep.model.datasets import load_digits
    >>> digits = load_digits()
    >>> model = SoftmaxRegression(learning_rate=2, epochs=20, random_state=0)
    >>> model.fit(digits.X_train, digits.y_train).score(digits.X_test, digits.y_test) > 0.9
    True

    Args:
        loss: "mse", "cross_entropy" or "gce".
        learning_rate: the step size, above 0.
        batch_size: rows per step; the last batch of an epoch may be shorter.
        epochs: passes over the rows.
        max_steps: stop after this many steps, even in mid-epoch.
        l2: weight of (l2/2)·‖W‖² in the objective.
        l2_bias: whether l2 also applies to the bias.
        momentum: in [0, 1).
        schedule: how the rate changes over the T steps of `fit`: "constant"; "cosine", by the
            factor ½(1 + cos(π t/T)) at step t; "step", by 1 in the first half, 0.1 in the third
            quarter, 0.01 in the last. `partial_fit` always uses the constant rate.
        fit_intercept: False keeps the bias at 0.
        init: "zeros", or "normal": mean 0, standard deviation 1/√d.
        init_seed: seed of the "normal" draw; None means `random_state`.
        random_state: seed of the row order; None draws one, and a RandomState gives one, stored as
            `seed_`.
        class_weight: None, "balanced" (Σ w / (c · Σ w of the class), w the weight of a row) or a
            dict label → weight.
        feature_scale: a factor for the features; "auto" is 1/255 for uint8, taken as pixels, and
            1 for all other dtypes: int8 are numbers. The coefficients apply to the scaled features.
            Later rows of another kind are read accordingly: uint8 are pixels for a model of floats
            within [0, 1], and plain numbers for one of integers or booleans; what is in doubt is
            refused.
        eval_every: evaluate the held-out rows every `eval_every` epochs; None: only after the last
            epoch or, with `patience`, after each.
        patience: stop after this many evaluations without an improvement of the held-out loss, and
            restore the best weights; None: no early stopping.
        solver: "sgd", or "lbfgs": to the optimum, by all rows at once. All settings of the descent
            (learning_rate, batch_size, epochs, max_steps, momentum, schedule, eval_every, patience)
            go with "sgd" alone.
        tol: of "lbfgs": it ends when the objective is proven to be within `tol`, relative, of the
            least, what float64 rounds included. Where no proof exists (l2=0, or a loss that is not
            convex) it goes to a stationary point: until the gradient norm is √tol of that at zero
            weights.
        max_iter: of "lbfgs": at most so many steps.
        C: of "lbfgs": l2 as scikit-learn's LogisticRegression has it, in place of `l2`, which is
            then 1/(C Σw), for two classes 2/(C Σw); Σw is the sum of the row weights, class weights
            included.
        features: which columns of X the model sees, `slice(a, b)` or (a, b); None: all. They are
            read where they are, without a copy, in `fit` and in all predictions, which are given
            rows with all columns.
        scaling: None; "standard": columns to mean 0 and variance 1, by the statistics of the rows,
            their weights counted; "l2": rows to unit length, that of the columns the model sees;
            "l2+standard": these, then the columns. Rows are scaled some at a time when they are
            computed on, X is not copied. L2 acts on the weights of scaled rows. Without an
            intercept the mean stays. The first call of `partial_fit` sets the statistics.
        warm_start: True: `fit` begins with the weights of the last fit, if there was one, instead
            of `init`; columns and classes must be the same. After Ctrl-C the model has the weights
            that it had come to, to go on from; else it is as it was before `fit`.
        backend: "auto", "numpy", "numba" or "cupy"; None: as `softstep.kernels` chooses.
        n_threads: the maximum number of threads, which does not affect the result; None: as
            SOFTSTEP_NUM_THREADS says, or all cores.

    Attributes:
        coef_: weights, (c, d), of the d columns that it sees; for two classes too:
            LogisticRegression's (1, d) is the difference coef_[1] - coef_[0]. intercept_: bias,
            (c,). Both float64 for float64 features, else float32.
        classes_: the labels, (c,), sorted.
        loss_curve_: mean training loss of each epoch, without the l2 term.
        history_: a `trainer.Epoch` for each epoch; of a loaded model, for each since loading. With
            solver="lbfgs" one, of the end.
        seed_: the seed used. n_iter_: epochs run. n_features_in_: the number of columns of X.
            features_: (start, stop), those that the model sees.
        mean_, scale_: with scaling="standard" or "l2+standard": mean and standard deviation of the
            columns that it sees, (d,) float64, read-only. `scale_` is 0 for a constant column,
            which is not divided, and whose weight `fit` leaves at 0; without an intercept it is 1,
            unless the column is 0. `coef_` and `intercept_` belong to the columns as they are
            given, with "l2" to those of rows of unit length.
        feature_names_in_: the names of the columns of X, if it was a table whose names are strings;
            later tables must have the same columns in the same order. Where names are numbers,
            tuples or dates, tables that have the same ones in another order are refused.
        feature_scale_: the factor applied to the features in training.
        learned_from_: what the features were, a kind by which later rows are read.
        origin_: how the model came to be, a dict: `versions`, `processor`, `backend`, `threads`,
            `seed`, `data` (the fingerprint of the rows; None after `partial_fit`), `command` (the
            softstep command that it was) and `seconds`. `save` keeps it.
        objective_, gradient_norm_, bound_, converged_: with solver="lbfgs": what was minimised, the
            norm of its gradient, how far it is above its least at most (NaN where no proof exists),
            and whether `tol` was reached; `n_iter_` and `loss_curve_` are of its steps.
    """

    def __init__(
        self,
        loss: Loss = "mse",
        learning_rate: float = 0.2,
        batch_size: int = 100,
        epochs: int = 20,
        max_steps: int | None = None,
        l2: float = 0.0,
        l2_bias: bool = False,
        momentum: float = 0.0,
        schedule: Literal["constant", "cosine", "step"] = "constant",
        fit_intercept: bool = True,
        init: Literal["zeros", "normal"] = "zeros",
        init_seed: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        feature_scale: float | Literal["auto"] = "auto",
        eval_every: int | None = None,
        patience: int | None = None,
        warm_start: bool = False,
        backend: Backend | None = None,
        n_threads: int | None = None,
        solver: Literal["sgd", "lbfgs"] = "sgd",
        tol: float = 1e-6,
        max_iter: int = 1000,
        C: float | None = None,
        features: slice | tuple[int, int] | None = None,
        scaling: Literal["standard", "l2", "l2+standard"] | None = None,
    ) -> None:
        self.loss = loss
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.max_steps = max_steps
        self.l2 = l2
        self.l2_bias = l2_bias
        self.momentum = momentum
        self.schedule = schedule
        self.fit_intercept = fit_intercept
        self.init = init
        self.init_seed = init_seed
        self.random_state = random_state
        self.class_weight = class_weight
        self.feature_scale = feature_scale
        self.eval_every = eval_every
        self.patience = patience
        self.warm_start = warm_start
        self.backend = backend
        self.n_threads = n_threads
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.C = C
        self.features = features
        self.scaling = scaling

    _bank: trainer.BankState
    _feature_scale: float | str
    _feature_keys: tuple[Any, ...] | None
    history_: list[trainer.Epoch]
    loss_curve_: np.ndarray
    n_iter_: int
    n_features_in_: int
    features_: views.Range
    mean_: np.ndarray
    scale_: np.ndarray
    seed_: int
    _scaler: views.Scaler | None
    _folded: tuple[np.ndarray, np.ndarray]  # what coef_ and intercept_ were published from
    feature_scale_: float
    learned_from_: Kind | None
    origin_: dict[str, Any]
    objective_: float
    gradient_norm_: float
    bound_: float
    converged_: bool

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        callback: Callable[[Any], Any] | None = None,
        path: WeightPath | None = None,
        checkpoint: str | PathLike[str] | None = None,
        checkpoint_every: float = 60.0,
        resume: bool = False,
        fingerprint: str = "sample",
        comm: Any = None,
    ) -> Self:
        """Train from scratch, or from the weights there are with `warm_start`.

        Args:
            X: features, (n, d): float32, float64, float16, bfloat16, uint8 and int8 are used as
                stored; other integers and booleans are converted to float64. A sparse matrix of
                SciPy's is read as it is stored, or in blocks of rows that are made dense
                (docs/interop.md). With solver="lbfgs" a Dask array in chunks of rows, which stay on
                its workers; y and the weights come here.
            y: labels (n,), integers or strings; or soft targets (n, c), floats that are >= 0 and
                sum to 1 in each row, whose classes are 0…c-1 or, of a table, the names of its
                columns, by which later ones are found.
            sample_weight: row weights, (n,), >= 0; scaled to mean 1.
            X_val, y_val: held-out rows, in the form of X and y.
            callback: called with a `trainer.Epoch` after each epoch, with solver="lbfgs" with a
                `Round` (model/optimum/solve.py) after each round; returning True stops training.
            path: a WeightPath that records the weights during training.
            checkpoint: a folder in which the state of the training is saved, for `resume`: every
                so often, at Ctrl-C and SIGTERM, and at the end; the last two states stay. If one
                cannot be written, training goes on, and a line on stderr says so. The state of
                solver="lbfgs" are the weights on their way, from which it goes on when resumed.
            checkpoint_every: seconds between two checkpoints.
            resume: go on from the last checkpoint in that folder, to the bits of a training without
                a break; from the beginning if there is none. Rows, settings, version and backend
                must be the same, `n_threads` need not; with `random_state=None` the seed is that of
                the checkpoint. Callbacks are called from the epoch on in which it was made.
            fingerprint: by which of the features it is told whether the rows are the same:
                "sample", 256 rows drawn by a fixed seed, or "whole", all rows, which are read once.
            comm: of solver="lbfgs": a communicator of mpi4py, each rank of which calls `fit` with
                rows of its own (docs/scaling.md). They are those of one matrix, in the order of the
                ranks; all settings and other arguments are those of rank 0. All ranks end with the
                same model, or the same error.

        Returns:
            self.

        Raises:
            TypeError, ValueError: X, y, the weights or a setting are not as described; `checkpoint`
                holds a checkpoint, but `resume` is False.
            CheckpointError: no checkpoint is sound, or it is of another run: the field is named.
            OSError: the folder of checkpoints cannot be written to, or another training holds it.
            FloatingPointError: training diverged.
            BackendError: the backend requested by name cannot run.
            WorkerError: workers of Dask's died, and there are none left; a RuntimeError.
            MemoryError: a GPU has no room for the rows and the weights, which stay there for the
                whole fit.
        """
        if comm is not None:
            how: dict[str, Any] = {"callback": callback, "path": path, "checkpoint": checkpoint}
            how |= {"checkpoint_every": checkpoint_every, "resume": resume}
            fit = partial(self.fit, **how, fingerprint=fingerprint)
            own = {"X": X, "y": y, "sample_weight": sample_weight, "X_val": X_val, "y_val": y_val}
            fit_over(comm, self, fit, **own)
            return self
        settings = Settings.of(self)
        inputs.choice("fingerprint", fingerprint, resuming.KINDS)
        inputs.function("callback", callback)
        if not isinstance(path, WeightPath | None):
            raise TypeError(f"path must be a WeightPath, not {path!r}")
        if settings.optimum is not None:
            refuse_of_sgd(path=path)
        for some in (X, X_val):
            door.check(some, self.solver)
        inputs.warn_of_other_rows(X, {"y": y, "sample_weight": sample_weight})
        inputs.warn_of_other_rows(X_val, {"y_val": y_val}, "X_val")
        opened = resuming.opened(checkpoint, checkpoint_every, resume)
        with _Unchanged(self), opened as keeper, door.opened(X=X, X_val=X_val) as rows:
            y, sample_weight, y_val = map(door.here, (y, sample_weight, y_val))
            given = rows["X"], y, sample_weight, rows["X_val"], y_val
            if settings.optimum is None:
                interrupted = self._fit(settings, given, callback, path, keeper, fingerprint)
            else:
                found = self._solve(
                    settings, settings.optimum, given, callback, keeper, fingerprint
                )
                interrupted = found.interrupted
        if interrupted:
            raise KeyboardInterrupt
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one more epoch, on these rows.

        Weights of rows and classes count as they are, so that they mean the same in each call.

        Args:
            X, y: as for `fit`.
            classes: at the first call, all labels that will ever occur; None: those in y. Later
                None, or the same again.
            sample_weight: row weights, (n,), >= 0.

        Returns:
            self.

        Raises as `fit`; ValueError for a label that is not one of the classes, for other classes
        than before, and for class_weight="balanced", which needs all rows.
        """
        with _Unchanged(self):
            self._partial_fit(X, y, classes, sample_weight)
        return self

    def decision_function(self, X: Any) -> Any:
        """Logits, (n, c); for two classes, as in scikit-learn, the difference v₁ - v₀, (n,).

        Like all predictions, they are arrays of the library that X is from (torch, JAX, CuPy), on
        its device; NumPy arrays for tables and lists, and where labels are strings.

        Raises:
            NotFittedError: before `fit`. TypeError, ValueError: X is not as `fit` describes.
        """
        V = self._logits(X)
        return inputs.as_given(V[:, 1] - V[:, 0] if len(self.classes_) == 2 else V, X)

    def predict_proba(self, X: Any) -> Any:
        """Class probabilities, (n, c), float32 or float64. Raises as `decision_function`."""
        P = kernels.softmax_forward(self._logits(X), backend=self.backend, n_threads=self.n_threads)
        return inputs.as_given(P, X)

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the class probabilities, (n, c), finite where the probability underflows.

        Raises as `decision_function`.
        """
        V = self._logits(X)
        V = V - V.max(axis=1, keepdims=True)
        return inputs.as_given(V - np.log(np.exp(V).sum(axis=1, keepdims=True)), X)

    def predict(self, X: Any) -> Any:
        """The most probable label of each row, (n,). Raises as `decision_function`."""
        return inputs.as_given(self._labels(X), X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy: the (weighted) share of rows whose predicted label equals y.

        Of soft targets the most probable class counts, the first of several.

        Raises as `decision_function`; TypeError or ValueError for y or weights of another form.
        """
        inputs.warn_of_other_rows(X, {"y": y, "sample_weight": sample_weight})
        predicted = self._labels(X)
        y = inputs.target_array(y)
        if inputs.is_soft(y):
            soft, _ = inputs.soft_target_rows(y, len(predicted), self.classes_)
            y = self.classes_[on_host(soft, "y").argmax(axis=1)]
        y = inputs.label_values(y, len(predicted))
        if (y.dtype.kind == "U") != (self.classes_.dtype.kind == "U"):
            raise ValueError(f"y holds {y.dtype} labels, but the classes are {self.classes_.dtype}")
        weights = inputs.row_weights(sample_weight, None, None, None, len(predicted))
        weights = inputs.of_mean_one(weights)
        return float(np.average(predicted == y, weights=weights))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the fitted model to `path`: an .npz without pickles, whole or not at all.

        Raises:
            NotFittedError: before `fit`.
            ValueError: weights or settings were changed by hand to something `load` would refuse.
            OSError: the file cannot be written.
        """
        Fitted.of(self)
        self._adopt_weights()
        MW, Mb = self._bank.velocity
        arrays = {
            "W": self._bank.W,
            "b": self._bank.b,
            "MW": MW,
            "Mb": Mb,
            "classes": self.classes_,
            "loss_curve": self.loss_curve_,
        }
        settings: dict[str, Any] = {
            "params": self.get_params(),
            "seed": self.seed_,
            "feature_scale": self.feature_scale_,
            "learned_from": self.learned_from_,
            "origin": self.origin_,
            "n_features": self.n_features_in_,
            "features": list(self.features_),
            "optimum": optimum_for_json(self),
        }
        if self._scaler is not None:
            settings["scaling"] = self._scaler.scaling
            arrays |= self._scaler.all_arrays()
        if self.features is not None:
            settings["params"]["features"] = list(views.resolve(self.features, self.n_features_in_))
        if hasattr(self, "feature_names_in_"):
            settings["feature_names"] = self.feature_names_in_.tolist()
        settings |= inputs.keys_for_json(Schema.of_model(self).keys)
        if isinstance(self.random_state, np.random.RandomState):
            settings["params"]["random_state"] = self.seed_
        if isinstance(self.class_weight, dict):
            settings["params"]["class_weight"] = [
                [_plain(label), _plain(weight)] for label, weight in self.class_weight.items()
            ]
        settings["params"]["feature_scale"] = Schema.of_model(self).setting
        settings["params"] = {name: _plain(v) for name, v in settings["params"].items()}
        try:
            Settings.of(self)
            state_of(arrays, settings, self)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: this model cannot be saved: {error}") from error
        files.save(path, arrays, settings)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """The model that `save` wrote to `path`.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file is not such a model.
        """
        arrays, settings = files.load(path)
        try:
            params = settings["params"]
            if isinstance(params["class_weight"], list):
                params["class_weight"] = dict(params["class_weight"])
            if isinstance(params.get("features"), list):
                params["features"] = tuple(params["features"])
            model = cls(**params)
            Settings.of(model)
            take_over(model, state_of(arrays, settings, model))
        except (KeyError, TypeError, ValueError) as error:
            raise files.CheckpointError(
                f"{path} is not a SoftmaxRegression, or damaged: {error}"
            ) from error
        return model

    def _fit(
        self,
        settings: Settings,
        given: tuple[Any, ...],
        callback: Any,
        path: WeightPath | None,
        keeper: resuming.Keeper | None,
        fingerprint: str,
    ) -> bool:
        """Descend; True: until Ctrl-C. given: X, y, sample_weight, X_val and y_val of `fit`."""
        clock = resuming.Clock() if keeper is None else keeper.clock
        prepared = self._prepared(*given, seed=resuming.seed(self.random_state, keeper))
        data, held_out = prepared.data, prepared.held_out
        if settings.patience is not None and held_out is None:
            raise ValueError("patience needs held-out rows: give X_val and y_val")
        stop = None if settings.patience is None else trainer.EarlyStop(settings.patience)
        if path is not None:
            path.begin()
        prints = resuming.of_rows(prepared.unscaled, fingerprint)
        judges: dict[str, str] = {}
        if held_out is not None and keeper is not None:
            judges = resuming.of_rows(held_out, fingerprint, "_val")
        bank = self._bank.beside(data.X, self.backend)
        descent = _Descent(self, bank, ceil_div(len(data.X), self.batch_size), stop, path)
        began = interrupted = False
        try:
            with _keeping(descent, keeper, data.X, prints | judges):
                began = True
                self._descend(settings, prepared.placed(), descent, callback, keeper)
        except KeyboardInterrupt:
            if not (began and self.warm_start and bank.sound().all()):
                raise
            interrupted = True
            bank.settle()  # it may have come in the middle of an epoch
        done = sum(epoch.steps for epoch in self.history_)
        if stop is not None and stop.best is not None:
            stop.put_back(bank)
            done = stop.best_steps
        self._have(bank)
        if path is not None and not interrupted:
            path.end(done, self._bank.W[0], self._bank.b[0])
        self.origin_ = resuming.origin_of(
            self, data.X, seed=self.seed_, data=prints, seconds=clock.seconds()
        )
        return interrupted

    def _descend(
        self,
        settings: Settings,
        prepared: "_Prepared",
        descent: "_Descent",
        callback: Any,
        keeper: resuming.Keeper | None,
    ) -> None:
        """The epochs, until one of them is the last or it is asked to stop."""
        bank, stop = descent.bank, descent.stop
        held_out, eval_every = prepared.held_out, settings.eval_every
        if stop is not None and eval_every is None:
            eval_every = 1
        for epoch in trainer.epochs(
            prepared.data,
            bank,
            settings.sgd,
            seed=self.seed_,
            count=settings.epochs,
            max_steps=settings.max_steps,
            held_out=held_out,
            eval_every=eval_every,
            path=descent.path,
            keeper=keeper,
        ):
            self._record(epoch, bank, prepared.rows.X)
            if held_out is not None and not _is_finite(epoch.val_loss):
                inputs.refuse_non_finite(held_out.X, "X_val", names=prepared.rows.labels)
            if callback is not None:
                self._have(bank)  # a callback may look at the model
            asked = callback is not None and callback(self.history_[-1])
            waited = stop is not None and stop.should_stop(epoch, bank)
            if asked or waited:
                break

    def _solve(
        self,
        settings: Settings,
        optimum: Optimum,
        given: tuple[Any, ...],
        callback: Any,
        keeper: resuming.Keeper | None,
        fingerprint: str,
    ) -> Solution:
        """As `_fit`, to the optimum."""
        clock, sgd = resuming.Clock() if keeper is None else keeper.clock, settings.sgd
        prepared = self._prepared(*given, seed=resuming.seed(self.random_state, keeper))
        rows, weights = prepared.rows, prepared.weights
        data, held_out = prepared.data, prepared.held_out
        inputs.refuse_non_finite(rows.X, names=rows.labels)
        if held_out is not None:
            inputs.refuse_non_finite(held_out.X, "X_val", names=rows.labels)
        l2 = sgd.l2
        if self.C is not None:
            total = len(rows.X) if weights is None else weights.sum()
            l2 = l2_of(self.C, total, len(self.classes_))
        problem = Problem.of(sgd, data, np.array([self.loss]), np.array([l2], float))
        bank, prints = self._bank, resuming.of_rows(prepared.unscaled, fingerprint)
        descent = _Descent(self, bank, ceil_div(len(data.X), self.batch_size), None, None)

        def put(heads: Any, W: Array, b: Array) -> None:
            bank.W[heads], bank.b[heads] = W, b

        with _keeping(descent, keeper, data.X, prints):
            solution = solve(
                problem,
                bank.W,
                bank.b,
                optimum=optimum,
                callback=callback,
                keep=keeping(keeper, put),
            )
            put(..., solution.W, solution.b)
            if keeper is not None:
                keeper.keep()
        put_optimum_on(self, solution.of_head(0))
        self.loss_curve_, self.n_iter_ = solution.curve[:, 0], int(solution.n_iter[0])
        self._publish()
        if held_out is not None or self.n_iter_:
            self.history_ = [_at_the_end(prepared.placed(), bank, sgd, self.n_iter_)]
        self.origin_ = resuming.origin_of(
            self, data.X, seed=self.seed_, data=prints, seconds=clock.seconds()
        )
        C = np.array([np.nan if self.C is None else self.C], float)
        say_what_fell_short(solution, problem.l2, C, optimum)
        return solution

    def _partial_fit(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> None:
        clock, settings = resuming.Clock(), Settings.again(self)
        if settings.optimum is not None:
            raise ValueError("partial_fit trains by solver='sgd': solver='lbfgs' needs all rows")
        sgd = settings.sgd
        if sgd.schedule != "constant":
            sgd = dataclasses.replace(sgd, schedule="constant")
        inputs.refuse_balanced_in_parts(self.class_weight)
        inputs.warn_of_other_rows(X, {"y": y, "sample_weight": sample_weight})
        if hasattr(self, "coef_"):
            fitted = Fitted.of(self)
            schema = fitted.schema
            rows = schema.rows(X)
            self._refuse_other_classes(classes)
            y, _ = self._targets(rows.X, y, self.classes_)
            clock.before = float(self.origin_.get("seconds", 0.0))
            self._bank = self._bank.of_weights(fitted.W, fitted.b)
            self.history_ = [*self.history_]
            self._bring_back(on_host(y, "y"))
            self._forget_optimum()
        else:
            rows = self._seen(X)
            y, classes = self._targets(rows.X, y, inputs.class_values(classes))
            self._start(rows, classes, inputs.seed("random_state", self.random_state))
            schema = Schema.of_model(self)
            self._measure(rows, self._weights(y, sample_weight), None)
        data = self._data(schema, rows, y, self._weights(y, sample_weight)).placed()
        bank = self._bank.beside(data.X, self.backend)
        learned = schema.and_then(rows)
        if learned is not schema:
            learned.put_on(self)
        for epoch in trainer.epochs(data, bank, sgd, seed=self.seed_, count=1, first=self.n_iter_):
            self._record(epoch, bank, rows.X)
        self._have(bank)
        self.origin_ = resuming.origin_of(
            self, data.X, seed=self.seed_, data=None, seconds=clock.seconds()
        )

    def _refuse_other_classes(self, classes: Any) -> None:
        """Raise ValueError if these are given, and not those of the first call."""
        if classes is None or inputs.are_same(classes, self.classes_):
            return
        known = np.unique(inputs.label_values(classes, None, "classes"))
        if not np.array_equal(known, self.classes_):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_!r}"
            )

    def _targets(self, X: Array, y: Any, classes: Any = None) -> tuple[Array, Array]:
        """The targets as the ops take them, and the classes: those given, sorted, or those in y."""
        y = inputs.target_array(y)
        if inputs.is_soft(y):
            return inputs.soft_target_rows(y, len(X), classes)
        y = inputs.label_values(y, len(X))
        if classes is None:
            classes = np.unique(y)
            inputs.warn_of_regression(y, classes)
        if len(classes) < 2:
            raise ValueError(f"y has one class only, {classes[0]!s}: at least two are needed")
        return inputs.encode(y, classes), classes

    def _seen(self, X: Any) -> Features:
        """X through its door, as much of it as the model sees."""
        rows = inputs.features(X)
        return rows.seen(views.resolve(self.features, rows.width))

    def _start(self, rows: Features, classes: Array, seed: int) -> Fitted | None:
        """Set the seed, the initial weights and empty curves -> the fit that it goes on from, if
        any: its weights until `_measure` has seen to how rows are scaled."""
        last, dtype = Fitted.to_go_on(self, rows, classes), compute_dtype(rows.X)
        self.seed_, self._scaler = seed, None
        self.classes_ = classes
        schema = Schema.of_rows(rows, self) if last is None else last.schema.and_then(rows)
        schema.put_on(self)
        if self.scaling is None:
            inputs.warn_of_spread(rows.X, schema.scale, rows.labels, self.solver)
        if last is None:
            W = trainer.initial_weights(self, (schema.seen, len(classes)), dtype)
            b = np.zeros(len(classes), dtype)
        else:
            W = last.W.astype(dtype, order="C")
            b = brought_back(last.b.astype(dtype))
        self._bank = trainer.BankState(W[None], b[None])
        self._forget_optimum()
        self.history_ = []
        self.loss_curve_, self.n_iter_ = np.empty(0), 0
        self._publish()
        return last

    def _measure(self, rows: Features, weights: Array | None, last: Fitted | None) -> None:
        """Set the statistics by which rows are scaled. last: as `_start` says."""
        if self.scaling is None:
            return
        schema, bank = Schema.of_model(self), self._bank
        X, centers = schema.numbers(rows, bank.W.dtype), bool(self.fit_intercept)
        factor = schema.factor(rows)
        (scaler,) = inputs.measured(
            X, self.scaling, factor, weights, [0], centers=centers, names=rows.labels
        )
        self._scaler = scaler
        if last is None:
            bank.W[0] = scaler.begun(bank.W[0])
        else:
            W, b = scaler.unfolded(*last.raw())
            bank.W[0], bank.b[0] = W, brought_back(b)
        self._publish()

    def _prepared(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, *, seed: int
    ) -> "_Prepared":
        """What `fit` was given, ready to learn from, and the weights before the first step."""
        rows = self._seen(X)
        y, classes = self._targets(rows.X, y)
        last = self._start(rows, classes, seed)
        weights = self._weights(y, sample_weight)
        scaled = inputs.of_mean_one(weights)
        self._measure(rows, scaled, last)
        data = self._data(Schema.of_model(self), rows, y, scaled)
        return _Prepared(rows, weights, data, self._held_out(X_val, y_val, data.X))

    def _weights(self, y: Array, sample_weight: Any) -> Array | None:
        """What each row counts, by its own weight and that of its class; None if all the same."""
        codes = y if y.ndim == 1 else None
        found: Array | None = inputs.row_weights(
            sample_weight, self.class_weight, codes, self.classes_, len(y)
        )
        return found

    def _data(
        self, schema: Schema, rows: Features, y: Array, weights: Array | None
    ) -> trainer.Rows:
        """The rows to learn from."""
        dtype = self._bank.W.dtype
        X, scale = schema.numbers(rows, dtype), schema.factor(rows)
        X = X if compute_dtype(X) == dtype else X.astype(dtype)  # that of the first rows
        X, scale = inputs.scaled(X, self._scaler, scale, inputs.Factors().of(X, ...))
        X = inputs.placed(X, self.backend)
        return trainer.Rows(X, y, weights, scale)

    def _held_out(self, X_val: Any, y_val: Any, like: Any) -> trainer.Rows | None:
        """The held-out rows; if the rows to learn from, `like`, are on a GPU, so are these."""
        if (X_val is None) != (y_val is None):
            raise ValueError("give X_val and y_val together")
        if X_val is None:
            return None
        backend = self.backend if self._scaler is None else "numpy"  # scaled in host memory
        X, scale = held_out_features(
            Schema.of_model(self), X_val, self._bank.W.dtype, backend, like
        )
        X, scale = inputs.scaled(X, self._scaler, scale, inputs.Factors().of(X, ...))
        y_val = inputs.target_array(y_val, "y_val")
        if inputs.is_soft(y_val):
            y, _ = inputs.soft_target_rows(y_val, len(X), self.classes_, "y_val")
        else:
            y = inputs.encode(inputs.label_values(y_val, len(X), "y_val"), self.classes_, "y_val")
        return trainer.Rows(X, y, None, scale)

    def _record(self, epoch: trainer.Epoch, bank: trainer.BankState, X: Array) -> None:
        """Record the epoch's figures; raise if training diverged."""
        if not bank.sound().all():
            inputs.refuse_non_finite(X, names=Schema.of_model(self).labels)
            raise FloatingPointError(
                f"training diverged in epoch {epoch.number + 1}: the logits overflow; "
                "lower learning_rate, l2 or the scale of the features"
            )
        self.history_.append(_of_one_head(epoch))
        self.loss_curve_ = np.concatenate((self.loss_curve_, epoch.loss))
        self.n_iter_ += 1

    def _have(self, bank: trainer.BankState) -> None:
        """Take over the weights of a bank that trains, and publish them."""
        self._bank = bank.on_host()
        self._publish()

    def _adopt_weights(self) -> None:
        """Copy coef_ and intercept_ into the bank: they may have been set by hand."""
        fitted = Fitted.of(self)
        self._bank.W[0], self._bank.b[0] = fitted.W, fitted.b

    def _forget_optimum(self) -> None:
        """What was known of an earlier fit does not hold of these weights."""
        for name in OF_OPTIMUM:
            vars(self).pop(name, None)

    def _bring_back(self, y: Array) -> None:
        """Let classes of these targets be learned that an optimum without rows of them left out."""
        of_rows = np.isin(np.arange(len(self.classes_)), y) if y.ndim == 1 else (y > 0).any(axis=0)
        self._bank.b[0] = brought_back(self._bank.b[0], of_rows)

    def _publish(self) -> None:
        """The weights of the bank as scikit-learn names them, and the statistics of its columns."""
        W, b, scaler = self._bank.W[0], self._bank.b[0], self._scaler
        for name in ("mean_", "scale_", "_folded"):
            vars(self).pop(name, None)
        if scaler is not None:
            self._folded = W, b = scaler.folded(W, b)
            for name, array in scaler.arrays().items():
                setattr(self, f"{name}_", _read_only(array))
        self.coef_: Any = W.copy().T
        self.intercept_: Any = b.copy()

    def _how(self, scale: float) -> dict[str, Any]:
        """How the ops that predict are called."""
        return {
            "feature_scale": scale,
            "backend": self.backend,
            "n_threads": self.n_threads,
        }

    def _labels(self, X: Any) -> Array:
        """The most probable label of each row, (n,), in host memory."""
        fitted = Fitted.of(self)
        X, scale = fitted.features(X)
        W, b = fitted.weights(X)
        how = self._how(scale)
        codes = inputs.by_rows(
            lambda x: on_host(kernels.predict(x, W, b, **how), "labels"), X, self.backend
        )
        labels: Array = fitted.classes[codes]
        return labels

    def _logits(self, X: Any) -> Any:
        fitted = Fitted.of(self)
        X, scale = fitted.features(X)
        W, b = fitted.weights(X)
        how = self._how(scale)
        return inputs.by_rows(lambda x: kernels.linear_forward(x, W, b, **how), X, self.backend)


class _Unchanged:
    """If this block fails or is interrupted, the model is restored to its state before it."""

    def __init__(self, model: SoftmaxRegression) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.before = dict(vars(self.model))  # a shallow copy will do: training works on copies

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            vars(self.model).clear()
            vars(self.model).update(self.before)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """Rows as they came through the door, with their weights as given; as the ops take them, with
    weights of mean 1; and the held-out ones."""

    rows: Features
    weights: Array | None
    data: trainer.Rows
    held_out: trainer.Rows | None

    @property
    def unscaled(self) -> trainer.Rows:
        """The rows before they are scaled, by which it is told whether they are the same: their
        statistics are rounded as they are added, in one process or in several."""
        X = self.data.X
        if not isinstance(X, inputs.ScaledRows):
            return self.data
        return dataclasses.replace(self.data, X=X.X, feature_scale=X.feature_scale)

    def placed(self) -> "_Prepared":
        """The same, with all that the ops read where they read the features."""
        held_out = None if self.held_out is None else self.held_out.placed()
        return dataclasses.replace(self, data=self.data.placed(), held_out=held_out)


@dataclasses.dataclass
class _Descent:
    """What changes while a model is fitted, for its keeper.

    steps: of an epoch, unless it is the last.
    """

    model: SoftmaxRegression
    bank: trainer.BankState
    steps: int
    stop: trainer.EarlyStop | None
    path: WeightPath | None

    def state(self) -> dict[str, Array]:
        history = self.model.history_
        arrays = self.bank.arrays() | {"active": self.bank.active}
        # not active: training diverged, which is seen at the epoch's end
        rows = [dataclasses.astuple(epoch) for epoch in history]  # None becomes NaN
        arrays["history"] = np.array(rows, np.float64).reshape(-1, 6)
        arrays["evaluated"] = np.array([epoch.val_loss is not None for epoch in history], bool)
        for part in (self.stop, self.path):
            arrays |= part.state() if part is not None else {}
        return arrays

    def restore(self, arrays: dict[str, Array]) -> None:
        model, bank = self.model, self.bank
        for name, target in (bank.arrays() | {"active": bank.active}).items():
            resuming.fill(target, arrays, name)
        done = resuming.whole(arrays, "epoch", model.epochs)
        history, evaluated = np.empty((done, 6)), np.empty(done, bool)
        resuming.fill(history, arrays, "history")
        resuming.fill(evaluated, arrays, "evaluated")
        rows = zip(history.tolist(), evaluated.tolist(), strict=True)
        model.history_ = [
            trainer.Epoch(int(number), int(steps), *(figures if judged else figures[:2]))
            for (number, steps, *figures), judged in rows
        ]
        ran = [(epoch.number, epoch.steps) for epoch in model.history_]
        if ran != [(number, self.steps) for number in range(done)]:
            raise ValueError(f"history is not that of {done} epochs")
        model.loss_curve_ = np.array([epoch.loss for epoch in model.history_])
        model.n_iter_ = len(model.history_)
        if self.stop is not None:
            self.stop.restore(arrays, bank)
        if self.path is not None:
            taken = done * self.steps + resuming.whole(arrays, "sums.steps", self.steps)
            self.path.restore(arrays, bank.W[0], bank.b[0], taken)


def _keeping(
    descent: _Descent, keeper: resuming.Keeper | None, X: Array, rows: dict[str, str]
) -> contextlib.AbstractContextManager[None]:
    """The block in which a model is fitted on X: `keeper` first resumes it, and keeps its state.

    rows: the fingerprints of its rows.
    """
    if keeper is None:
        return contextlib.nullcontext()
    model = descent.model
    seen = list(model.features_)
    about = resuming.about(model, model.seed_, X, rows, path=descent.path, features=seen)
    total = trainer.planned_steps(len(X), model.batch_size, model.epochs, model.max_steps)
    return keeper.keeping(descent, about, ceil_div(total, descent.steps))


def held_out_features(
    schema: Schema, X_val: Any, dtype: np.dtype[Any], backend: str | None, like: Any
) -> tuple[Array, float]:
    """Held-out rows, (n, d), ready for ops whose weights are of `dtype`, and their scale; on the
    GPU that the rows to learn from, `like`, are on.

    Raises:
        TypeError, ValueError: X_val has another form, or a dtype that cannot be read.
    """
    rows = schema.rows(X_val, "X_val")
    scale = schema.factor(rows, "X_val")
    X = rows.X if compute_dtype(rows.X) == dtype else rows.X.astype(dtype)
    return inputs.placed(X, backend, like), scale


def _at_the_end(
    prepared: _Prepared,
    bank: trainer.BankState,
    sgd: trainer.SGDSettings,
    steps: int,
) -> trainer.Epoch:
    """The figures of a bank of one, on the rows it learned from and on held-out ones."""
    both = prepared.data, prepared.held_out
    figures = [trainer.evaluate(rows, bank.W, bank.b, sgd) for rows in both if rows]
    return _of_one_head(trainer.Epoch(0, steps, *(figure for pair in figures for figure in pair)))


def _of_one_head(epoch: trainer.Epoch) -> trainer.Epoch:
    """The figures of a bank of one, as plain numbers."""
    figures = (epoch.loss, epoch.accuracy, epoch.val_loss, epoch.val_accuracy)
    return trainer.Epoch(
        epoch.number, epoch.steps, *(None if f is None else float(f[0]) for f in figures)
    )


def _plain(value: Any) -> Any:
    """A NumPy scalar as the Python number it holds, for JSON."""
    return value.item() if isinstance(value, np.generic) else value


def _read_only(array: Array) -> Array:
    """A copy that cannot be written to."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _is_finite(figure: Any) -> bool:
    """Whether a figure of a bank of one is finite, or was not taken."""
    return figure is None or bool(np.isfinite(figure[0]))
