"""Many softmax regressions on the same rows, trained together in one pass over them."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from os import PathLike
from typing import Any, Literal, Self

import numpy as np

from softstep.kernels.checks import Array, compute_dtype
from softstep.kernels.names import Backend
from softstep.model import blocks, extras, inputs, trainer, views
from softstep.model import resume as resuming
from softstep.model.inputs import Schema
from softstep.model.optimum.settings import refuse_kept_tasks
from softstep.model.optimum.solve import Solution
from softstep.model.params import Params
from softstep.model.regression import SoftmaxRegression, held_out_features
from softstep.model.scores import SCORES
from softstep.model.shards import door
from softstep.model.shards.ranks import fit_over
from softstep.model.sweep import data, few_rows, memory, results
from softstep.model.sweep.data import Labels, Splits
from softstep.model.sweep.executor import Crew, opened, train
from softstep.model.sweep.heads import ALL_ROWS, Heads, Plan, Training
from softstep.model.sweep.out_of_fold import LeftOut, OutOfFold
from softstep.model.sweep.scoring import Estimators, Scoring, Winner, refuse_missing
from softstep.model.sweep.settings import SweepSettings, lone
from softstep.model.sweep.solving import Solving
from softstep.model.sweep.views import Views, first_weights


@dataclass(frozen=True)
class Given:
    """What `SoftmaxSweep.fit` was given, as it was given."""

    X: Any
    y: Any
    sample_weight: Any
    X_val: Any
    y_val: Any
    sample_weight_val: Any
    groups: Any

    @contextlib.contextmanager
    def from_dask(self) -> Iterator["Given"]:
        """The same with the rows of Dask arrays in shards, within this block, and all else here."""
        with door.opened(X=self.X, X_val=self.X_val) as shards:
            others = {n: door.here(value) for n, value in vars(self).items() if n not in shards}
            yield Given(**shards, **others)


class SoftmaxSweep(OutOfFold, Params):
    """Many softmax regressions, trained together: each as if it were alone, in one pass.

    Every setting of the grid is a head of one bank, trained by the fused op
    `softstep.kernels.train`. All heads see the rows in the same order. A head ends with the weights
    of a `SoftmaxRegression` with its settings and `random_state`: bit for bit where both use the
    same kind of kernel, else to within rounding, which unstable settings amplify.

    Args:
        param_grid: the settings to try, as in scikit-learn's GridSearchCV: a dict of lists (their
            product) or a list of such dicts. A plain value counts as a list of one, so a list of
            dicts of plain values is a list of exact settings. Keys: learning_rate, l2, momentum,
            loss, init, init_seed, features, scaling; with solver="lbfgs" l2, C, loss, init,
            init_seed, features, scaling. Others have SoftmaxRegression's default. Under "features"
            there is a range of columns, as `SoftmaxRegression` takes it (one pair is one range), a
            list of them, or a dict of them by name. The heads of one range are one bank; each block
            of rows is read once for all ranges, and X is not copied. Under "scaling" there are
            the values that `SoftmaxRegression` takes: a head is scaled by the rows that it learns
            from, those of its own fold.
        cv: judge each setting by cross-validation: a number of folds, stratified and shuffled with
            the seed, an object with scikit-learn's `split`, or the folds themselves, an iterable of
            pairs (rows to learn from, rows to be judged on). A fold is a head whose row weights
            are 0 on the rows it is judged on; a further head learns from all rows. Heads of
            the splits of `softstep.model.few_shot` visit the rows they learn from alone, of which
            there is a copy, and end as a model does that is fitted on these.
        n_bootstrap: number of bootstraps of each setting, as row weights, besides a head on all
            rows. They are judged on X_val or, without it, each on the rows it left out.
        bootstrap: "poisson" (each row counts Poisson(1) times) or "multinomial" (n rows drawn with
            replacement).
        scoring: what else to score on the held-out rows, as in scikit-learn's GridSearchCV: a name,
            a list of names, a dict of names and functions, or a function (estimator, X, y) ->
            number, which is called "score". Built in are accuracy, balanced_accuracy,
            top_k_accuracy ("top5" and its like; 2 without a number), neg_log_loss, brier, ece (15
            bins of equal mass), macro_f1, roc_auc_ovr and average_precision, both the mean over the
            classes, of two classes that of the second; other names are scorers of scikit-learn,
            where it is installed. Of loss, brier and ece less is better.
        refit: "accuracy", "loss" or a score of `scoring`: the figure on held-out rows by which
            settings are ranked and halved; accuracy and then the loss break ties. None: the first
            of `scoring`, or accuracy. Losses of different kinds are not comparable: in a grid with
            several, "loss" is an error, and among settings of equal accuracy the first is the best.
        halving: repeatedly drop the worse half of the settings, at even intervals, so that one is
            left for the last epochs; more than half where there are few epochs, none with a single
            epoch. The remaining heads are packed together, so that time is saved.
        eval_every: evaluate held-out rows every `eval_every` epochs; None: after the last epoch, at
            each halving and, with `patience`, after each epoch.
        patience: stop a head after this many evaluations without an improvement of its held-out
            loss, with `scoring` of the score of `refit`, and restore its best weights. The figure
            of a head on all rows is the mean over its folds.
        memory: None: X is used in place. Bytes, or "1.5 GB": X, such as a .npy mapped with
            mmap_mode="r", is read in shuffled blocks (their order: `softstep.model.blocks`), X_val
            in blocks too, and at most this much memory is used beyond what the process holds when
            `fit` starts, not counting the copies that `checkpoint` makes of the weights. A splitter
            makes its folds before that is checked.
        solver: "sgd", or "lbfgs": all heads are solved to their optimum, together. Neither halving,
            patience nor the settings of the descent go with it.
        tol, max_iter, C: of "lbfgs", as in `SoftmaxRegression`; `C` counts each head's own row
            weights, those of its fold or bootstrap. With `memory` the blocks are read in the order
            of the file.
        schedule, batch_size, epochs, max_steps, l2_bias, fit_intercept: as in `SoftmaxRegression`,
            for all heads.
        random_state, class_weight, feature_scale, backend, n_threads: the same.
        missing: the label that stands for none, such as -1 or ""; None: that is a label as others
            are. With it labels (n,) may be missing too.
        refit_together: True: label sets are one task of many labels: settings are ranked, halved
            and chosen by the mean of the figure over all label sets, and one that diverges on one
            of them has diverged. Where all have two classes, the probabilities and decisions of the
            sweep are (n, t) arrays.

    Attributes:
        results_: a dict of arrays, one entry for each setting (and label set): `params`,
            in which "features" is (start, stop), `param_<name>`, `features_name` (the name of the
            range, or "start:stop"; where the grid has "features"), `label_set` (for
            two-dimensional labels), `rank` (1 is best; the diverged last), `mean_val_accuracy`,
            `std_val_accuracy`, `mean_val_loss`, `std_val_loss` (over folds or bootstraps; std is
            NaN without), `mean_val_<name>` and `std_val_<name>` of each score, and of those that
            are means over rows `low_val_<name>` and `high_val_<name>`, between which 95% of 1000
            bootstraps of the held-out rows are, the same for all settings; `epochs` run, `diverged`
            (whether any head of the setting did: one fold or bootstrap is enough), and the
            certificate of the head on all rows: `objective`, `gradient_norm` and `bound`, an
            upper bound on how far `objective` is above its minimum (`model/optimum/proof.py`; NaN
            where none exists: for losses that are not convex, and without l2). With
            solver="lbfgs" there are `n_iter`, `converged` (whether the head on all rows was proven
            to be within `tol`) and `weight_norm`, ‖W‖, in place of `epochs`.
        best_index_, best_params_, best_estimator_: the best setting: its index in `results_`, its
            values, and a SoftmaxRegression fitted with it on all rows. For two-dimensional labels,
            lists with an entry for each label set, None for one that was skipped.
        best_score_, best_score_interval_, best_wins_: with `scoring`, where the score of `refit` is
            a mean over rows: the best of many settings is partly the luckiest. So each of those
            1000 bootstraps chooses a setting by the rows it drew, and takes its score on the rows
            it left out. The mean of these scores, what is to be expected of the best on new rows;
            (low, high), between which 95% of them are; the share of the bootstraps that chose the
            best. For two-dimensional labels, lists; not with `refit_together`.
        skipped_: the label sets, by column, that were skipped, having fewer than two classes.
        loss_curves_: mean training loss of each epoch and setting, (epochs, settings); NaN after a
            setting has stopped.
        seed_: the seed used. classes_: (c,). n_iter_: the epochs, or steps, of the best. For
            two-dimensional labels these two are lists.
        n_features_in_, feature_names_in_, feature_scale_, learned_from_, origin_: as in
            `SoftmaxRegression`.
    """

    seed_: int
    best_index_: Any
    best_params_: Any
    best_estimator_: Any
    _trained: results.Trained
    best_score_: Any
    best_score_interval_: Any
    best_wins_: Any
    origin_: Any

    def __init__(
        self,
        param_grid: dict[str, Any] | list[dict[str, Any]],
        cv: Any = None,
        n_bootstrap: int | None = None,
        bootstrap: Literal["poisson", "multinomial"] = "poisson",
        refit: str | None = None,
        halving: bool = False,
        schedule: Literal["constant", "cosine", "step"] = "constant",
        batch_size: int = 100,
        epochs: int = 20,
        max_steps: int | None = None,
        l2_bias: bool = False,
        fit_intercept: bool = True,
        random_state: int | np.random.RandomState | None = None,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        feature_scale: float | Literal["auto"] = "auto",
        eval_every: int | None = None,
        patience: int | None = None,
        memory: int | str | None = None,
        backend: Backend | None = None,
        n_threads: int | None = None,
        solver: Literal["sgd", "lbfgs"] = "sgd",
        tol: float = 1e-6,
        max_iter: int = 1000,
        C: float | None = None,
        scoring: Any = None,
        missing: Any = None,
        refit_together: bool = False,
    ) -> None:
        self.param_grid = param_grid
        self.cv = cv
        self.n_bootstrap = n_bootstrap
        self.bootstrap = bootstrap
        self.refit = refit
        self.halving = halving
        self.schedule = schedule
        self.batch_size = batch_size
        self.epochs = epochs
        self.max_steps = max_steps
        self.l2_bias = l2_bias
        self.fit_intercept = fit_intercept
        self.random_state = random_state
        self.class_weight = class_weight
        self.feature_scale = feature_scale
        self.eval_every = eval_every
        self.patience = patience
        self.memory = memory
        self.backend = backend
        self.n_threads = n_threads
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.C = C
        self.scoring = scoring
        self.missing = missing
        self.refit_together = refit_together

    results_: dict[str, Any]

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
        groups: Any = None,
        callback: Callable[[Any], Any] | None = None,
        checkpoint: str | PathLike[str] | None = None,
        checkpoint_every: float = 60.0,
        resume: bool = False,
        fingerprint: str = "sample",
        executor: Any = None,
        n_tasks: int | None = None,
        comm: Any = None,
    ) -> Self:
        """Train every setting.

        Args:
            X: features, (n, d), as for `SoftmaxRegression.fit`.
            y: labels (n,), integers or strings; labels (n, t), a column for each of t label sets:
                every setting learns each; or float targets (n, c). Label sets have classes of their
                own, few or many. One with a single class is skipped, with a warning. In (n, t) a
                label may be missing: NaN, None, null, masked, or what `missing` says; floats (n, t)
                are then label sets, if all others are whole numbers. A row without a label
                has weight 0 for that set, in learning and in judging. Columns of tables are matched
                by their names, if they have them, in `y_val` and in `score`.
            sample_weight: weights of the rows, (n,), >= 0; scaled to mean 1. Held-out rows count
                alike.
            X_val, y_val: held-out rows, of the forms of X and y; not together with `cv`.
            sample_weight_val: what each of these rows counts in every figure on them, (n_val,), >=
                0. Functions that score are given it as `sample_weight`, scaled to mean 1.
            groups: for a `cv` that splits by groups.
            callback: called with a `SweepEpoch` after each epoch, or with solver="lbfgs" with a
                `Round` (model/optimum/solve.py) after each round; returning True stops training.
            checkpoint, checkpoint_every, resume, fingerprint: as for `SoftmaxRegression.fit`; with
                `executor` the state is saved as each task ends, but not with solver="lbfgs".
            executor: a `concurrent.futures.Executor` of processes, here or on other machines: a
                ProcessPoolExecutor, loky's, Dask's `client.get_executor()`, MPIPoolExecutor of
                mpi4py. Its workers train the heads, to the bits that they have without, on like
                processors; docs/scaling.md says which to choose. X may be the path of a .npy file
                then, which each worker maps, as it does a memory map; any other X is written to a
                temporary file for them, or scattered by Dask. `memory` and `n_threads` are of each
                worker; without `n_threads` those of one machine share its cores. `callback` is
                called as each task ends, with a `SweepEpoch`, by either solver; if it returns True,
                training stops when all have that train up to the same epoch.
            n_tasks: how many tasks the heads are dealt to at a time, at most; None: as many as the
                executor has workers.
            comm: of solver="lbfgs", as for `SoftmaxRegression.fit`: each rank gives its own rows,
                of X_val too. Folds are those of all rows, by their numbers in the order of ranks.

        Returns:
            self. If `fit` raises, the sweep is unchanged.

        Raises:
            TypeError, ValueError: X, y, the weights or a setting are not as described; there is
                nothing to judge the settings by; refit="loss" with several losses in the grid; a
                score that is not known, not computed, no number, or says nothing of the held-out
                rows, as the AUC of a class that has none of them; `checkpoint` holds a checkpoint,
                but `resume` is False.
            CheckpointError: no checkpoint is sound, or it is of another run: the field is named.
            OSError: the folder of checkpoints cannot be written to, or another training holds it.
            FloatingPointError: every setting diverged, on all label sets or on one.
            BackendError: the backend requested by name cannot run.
            WorkerError: a worker of the executor or of Dask's died; a RuntimeError.
            MemoryError: a GPU has no room for the rows and the weights, which stay there for the
                whole fit.
        """
        given = Given(X, y, sample_weight, X_val, y_val, sample_weight_val, groups)
        if comm is not None:
            how: dict[str, Any] = {"callback": callback, "checkpoint": checkpoint}
            how |= {"checkpoint_every": checkpoint_every, "resume": resume}
            how |= {"fingerprint": fingerprint, "executor": executor, "n_tasks": n_tasks}
            fit_over(comm, self, partial(self.fit, **how), **vars(given))
            return self
        inputs.function("callback", callback)
        inputs.choice("fingerprint", fingerprint, resuming.KINDS)
        settings = SweepSettings.of(self)
        for rows in (X, X_val):
            own = {"executor": executor, "memory": self.memory, "scoring": self.scoring}
            door.check(rows, self.solver, **own)
        crew = Crew.of(executor, n_tasks)
        if crew is not None:
            if settings.optimum is not None:
                refuse_kept_tasks(checkpoint)
            given = replace(given, X=opened(X), X_val=opened(X_val))
            settings.asked.refuse_in_workers()
        own = {"y": y, "sample_weight": sample_weight, "groups": groups}
        inputs.warn_of_other_rows(X, own)
        held_out = {"y_val": y_val, "sample_weight_val": sample_weight_val}
        inputs.warn_of_other_rows(X_val, held_out, "X_val")
        checkpoints = resuming.opened(checkpoint, checkpoint_every, resume)
        with checkpoints as keeper, given.from_dask() as given:
            solution = self._fit(settings, given, callback, keeper, fingerprint, crew)
        if solution is not None and solution.interrupted:
            raise KeyboardInterrupt
        return self

    def _fit(
        self,
        settings: SweepSettings,
        given: Given,
        callback: Any,
        keeper: resuming.Keeper | None,
        fingerprint: str,
        crew: Crew | None,
    ) -> Solution | None:
        clock = resuming.Clock() if keeper is None else keeper.clock
        seed = resuming.seed(self.random_state, keeper)
        has_held_out = given.X_val is not None
        models = [self._model(entry, seed, has_held_out) for entry in settings.grid]
        schemas, labels, heads, plan = self._planned(settings, models, given)
        optimum = settings.optimum
        new: Any = Training
        if optimum is not None:
            new = partial(Solving, optimum=optimum, C=data.given_C(heads, models, labels))
        bank = _first_weights(models, heads, labels, plan)
        if optimum is None and crew is None:
            bank = bank.beside(plan.data.X, self.backend)
        training: Training = new(heads, bank, plan)
        plan.scoring.try_out(training)
        entries = plan.views.settings
        X, prints = plan.data.X, resuming.of_rows(plan.data, fingerprint)
        run: Callable[..., None] = training.run
        if crew is not None:
            run = partial(train, training, crew)
        if keeper is None:
            run(callback)
        else:
            judges = resuming.of_rows(plan.held_out, fingerprint, "_val")
            how = {} if crew is None else {"trained": "in tasks"}
            about = resuming.about(self, seed, X, prints | judges, param_grid=entries, **how)
            with keeper.keeping(training, about, training.planned):
                run(callback, keeper)
        came = resuming.origin_of(self, X, seed=seed, data=prints, seconds=clock.seconds())
        found = results.trained(models, labels, schemas[1:], training, came)
        self._publish(entries, found, labels, training)
        schemas[0].put_on(self)
        return training.solution

    def _planned(
        self, settings: SweepSettings, models: list[SoftmaxRegression], given: Given
    ) -> tuple[list[Schema], Labels, Heads, Plan]:
        """What was given as the ops take it: which heads there are, and how they train. The schema
        of what any setting sees comes first, then that of each."""
        X, schemas, seen = self._opened(given.X, models, settings.grid)
        schema = schemas[0]
        labels, dtype = data.labels(given.y, len(X), self.missing), compute_dtype(X)
        scales = any(model.scaling for model in models)
        backend = "numpy" if scales else self.backend  # scaled in host memory
        held_out = self._given_rows(schema, labels, given, dtype, backend, X)
        heads, layout, splits = self._split(settings, models, seen, X, given, labels, held_out)
        weights, sums = data.weight_sets(
            given.sample_weight, self.class_weight, labels, splits, dtype
        )
        judge, left_out, few = splits.judge, LeftOut.of(splits.learn, splits.judge), splits.few
        del splits  # whole numbers for every row, no longer needed
        factors = inputs.Factors() if layout is None else None
        rows = trainer.Rows(X, labels.y, weights, schema.scale, factors=factors)
        by_split = held_out is None
        if held_out is None:
            assert judge is not None
            held_out = replace(rows, sample_weight=data.judges(labels, judge, dtype))
        heads = data.with_C(heads, models, labels, sums)
        release = None if layout is None else blocks.page_release(X)
        copies = few_rows.taken(rows, few, len(left_out.bits), release)
        counts = labels.class_counts
        heads, parts, copies = seen.parts(models, heads, rows, copies, counts, release)
        refuse_missing(settings.asked, labels, held_out, by_split)
        read = Estimators(
            models, labels, schemas[1:], given.X if by_split else given.X_val, held_out
        )
        plan = Plan(
            data=rows,
            held_out=held_out,
            by_split=by_split,
            sgd=settings.shared.sgd,
            seed=models[0].seed_,
            epochs=settings.shared.epochs,
            max_steps=settings.shared.max_steps,
            eval_every=settings.shared.eval_every,
            patience=settings.shared.patience,
            halving=settings.halving,
            asked=settings.asked,
            scoring=Scoring(settings.asked, tuple(map(len, labels.classes)), read),
            together=settings.together,
            layout=layout,
            views=seen,
            parts=parts,
            left_out=left_out,
            few=copies,
        )
        return schemas, labels, heads, plan

    def _opened(
        self, X: Any, models: list[SoftmaxRegression], entries: list[dict[str, Any]]
    ) -> tuple[Any, list[Schema], Views]:
        """X through its door: what any setting sees of it, the schema of that and of each setting,
        and what they see."""
        in_blocks = self.memory is not None
        whole = inputs.features(blocks.sample(blocks.features(X, "X")) if in_blocks else X)
        seen = Views.of(models, entries, whole.width)
        first = whole.seen(seen.span)
        schema = Schema.of_rows(first, self)
        by_view = [Schema.of_rows(whole.seen(columns), self) for columns in seen.ranges]
        scales = any(model.scaling for model in models)
        if not scales:
            inputs.warn_of_spread(first.X, schema.scale, first.labels, self.solver)
        X = views.seen(X, seen.span) if in_blocks else first.X
        if scales:  # in host memory
            inputs.refuse_on_gpu(X)
        X = X if in_blocks else inputs.placed(X, "numpy" if scales else self.backend)
        return X, [schema, *(by_view[v] for v in seen.of_setting)], seen

    def estimator(self, index: int, split: int | None = None) -> SoftmaxRegression:
        """The fitted SoftmaxRegression of entry `index` of `results_`.

        split: the fold or bootstrap whose head is meant; None: the head on all rows.

        Raises:
            NotFittedError: before `fit`. TypeError: `index` or `split` is not a whole number.
            IndexError: no such entry or split.
            FloatingPointError: the setting diverged.
        """
        self._require_fit()
        return self._trained.estimator(index, split)

    def to_pandas(self) -> Any:
        """`results_` as a pandas DataFrame.

        Raises NotFittedError before `fit`, MissingExtraError without pandas.
        """
        self._require_fit()
        pandas = extras.load("pandas", extra="pandas")
        return pandas.DataFrame(self.results_)

    def plot(self, *, theme: str = "light") -> Any:
        """A matplotlib figure: accuracy and loss against learning rate, and the loss curves; with
        solver="lbfgs" accuracy, loss and ‖W‖ against C or l2.

        Raises NotFittedError before `fit`, MissingExtraError without matplotlib.
        """
        from softstep.model.plots.regularisation import has_path, regularisation
        from softstep.model.plots.sweep import sweep

        self._require_fit()
        if has_path(self.results_):
            return regularisation(self.results_, theme=theme)
        return sweep(self.results_, self.loss_curves_, theme=theme)

    def _model(self, setting: dict[str, Any], seed: int, held_out: bool) -> SoftmaxRegression:
        """The SoftmaxRegression that would train this setting alone."""
        model = lone(self, setting).set_params(random_state=seed)
        if not held_out:  # the head on all rows has none
            model.set_params(patience=None, eval_every=None)
        model.seed_ = seed
        return model

    def _split(
        self,
        settings: SweepSettings,
        models: list[SoftmaxRegression],
        seen: Views,
        X: Array,
        given: Given,
        labels: Labels,
        held_out: trainer.Rows | None,
    ) -> tuple[Heads, blocks.Layout | None, Splits]:
        """The heads, the blocks that X is read in (None: as a whole), and the splits.

        Memory is checked before splits are made, unless only a splitter knows how many there are,
        and has to be asked first.
        """
        how = given.y, given.groups, labels, len(X), models[0].seed_
        make_splits = partial(data.splits, self, *how, judges=held_out is None)
        count, splits = data.split_count(self), None
        if count is None:
            splits = make_splits()
            count = splits.count
        by_set = labels.have_own_weights(self.class_weight)
        heads = data.heads(models, seen.of_setting, labels.count, count, by_set)
        layout = None
        if self.memory is not None:
            layout = memory.layout(
                self.memory,
                X,
                labels,
                heads,
                settings.shared.sgd,
                sizes=seen.sizes,
                scales=any(model.scaling for model in models),
                weight_sets=self._weight_sets(labels, count, given.sample_weight is not None),
                few=0 if splits is None else sum(map(len, splits.few.values())),
                given=held_out,
                solves=self.solver == "lbfgs",
                asked=settings.asked,
            )
        return heads, layout, splits if splits is not None else make_splits()

    def _weight_sets(self, labels: Labels, splits: int, weighted: bool) -> int:
        """How many sets of row weights the heads will learn by."""
        if labels.have_own_weights(self.class_weight):
            return labels.count * (1 + splits)
        return 1 + splits if weighted or splits else 0

    def _given_rows(
        self,
        schema: Schema,
        labels: Labels,
        given: Given,
        dtype: np.dtype[Any],
        backend: str | None,
        like: Any,
    ) -> trainer.Rows | None:
        """The held-out rows given to judge by, on the GPU that the rows to learn from, `like`, are
        on; None where the splits judge."""
        X_val, y_val, weights = given.X_val, given.y_val, given.sample_weight_val
        if (X_val is None) != (y_val is None):
            raise ValueError("give X_val and y_val together")
        if X_val is None:
            if weights is not None:
                raise ValueError("sample_weight_val are weights of X_val: give it too")
            if self.cv is None and self.n_bootstrap is None:
                raise ValueError("nothing to judge by: give cv, n_bootstrap, or X_val and y_val")
            return None
        if self.cv is not None:
            raise ValueError("give cv or X_val, not both")
        if self.memory is None:
            X_val, scale = held_out_features(schema, X_val, dtype, backend, like)
        else:  # left as it is, to be read and converted block by block
            first = schema.rows(blocks.sample(blocks.features(X_val, "X_val")), "X_val")
            scale = schema.factor(first, "X_val")
            X_val = views.seen(X_val, schema.columns)
        if weights is not None:
            weights = inputs.weight_array(weights, len(X_val), "sample_weight_val")
        codes, observed = labels.encode(y_val, len(X_val), "y_val")
        weights = data.held_out_weights(labels, observed, weights, dtype)
        factors = inputs.Factors() if self.memory is None else None
        return trainer.Rows(X_val, codes, weights, scale, factors=factors)

    def _publish(
        self,
        settings: list[dict[str, Any]],
        found: results.Trained,
        labels: Labels,
        training: Training,
    ) -> None:
        """Set the attributes from what was trained."""
        count = labels.count
        lost = training.diverged.reshape(-1, count).all(axis=0)
        if lost.any():
            of_set = "" if lost.all() else f" on label set {labels.numbers[lost.argmax()]}"
            raise FloatingPointError(
                f"every setting diverged{of_set}: the logits overflow; "
                "lower learning_rate, l2 or the scale of the features"
            )
        plan = training.plan
        scored = plan.scoring.final(training) if plan.asked.scores else None
        scores, intervals = ({}, {}) if scored is None else (scored.figures, scored.intervals())
        table = results.table(settings, labels, training, scores, intervals)
        of_sets = [np.arange(t, training.groups, count) for t in range(count)]
        best = [int(training.order(groups)[0][0]) for groups in of_sets]
        of_best: list[Any] = [
            best,
            [dict(table["params"][i]) for i in best],
            [found.estimator(i, split=None) for i in best],
        ]
        if labels.two_dimensional:
            of_best = [labels.spread(of_sets) for of_sets in of_best]
        else:
            of_best = [of_one_set for (of_one_set,) in of_best]
        apart = None if plan.together else scored  # a draw chooses for one label set
        winners = [] if apart is None else [apart.winner(training, g) for g in of_sets]
        self._set_best_scores([winner for winner in winners if winner is not None], labels)
        self._trained, self.results_, self.seed_ = found, table, training.plan.seed
        self._set_names = labels.names
        self._refit = plan.asked.refit if plan.asked.scores else SCORES["accuracy"]
        self.loss_curves_: np.ndarray = training.curves.loss[:, training.heads.split == ALL_ROWS]
        self.best_index_, self.best_params_, self.best_estimator_ = of_best
        self.n_iter_: Any = self._each(lambda best: best.n_iter_)
        self.origin_ = found.origin
        self.classes_: Any = labels.found if labels.two_dimensional else labels.found[0]
        self.skipped_: list[int] = [t for t in range(len(labels.found)) if t not in labels.numbers]

    def _set_best_scores(self, winners: list[Winner], labels: Labels) -> None:
        """Of each label set, where they are known."""
        found: dict[str, list[Any]] = {
            "best_score_": [winner.score for winner in winners],
            "best_score_interval_": [(winner.low, winner.high) for winner in winners],
            "best_wins_": [winner.wins for winner in winners],
        }
        for name, values in found.items():
            vars(self).pop(name, None)
            if winners:
                setattr(self, name, labels.spread(values) if labels.two_dimensional else values[0])


def _first_weights(
    models: list[SoftmaxRegression], heads: Heads, labels: Labels, plan: Plan
) -> trainer.BankState:
    """The bank before the first step."""
    h, counts, dtype = len(heads.group), labels.class_counts, compute_dtype(plan.data.X)
    sizes = plan.views.sizes[plan.views.of_setting].tolist()
    setting = (np.arange(h) // (h // len(models))).tolist()

    @cache
    def drawn(s: int, c: int) -> Array:
        return trainer.initial_weights(models[s], (sizes[s], c), dtype)

    W = first_weights(
        lambda k: drawn(setting[k], counts[heads.label_set[k]]), heads.part, plan.parts
    )
    return trainer.BankState(W, np.zeros((h, max(counts)), dtype))
