"""`softstep sweep`: many softmax regressions in one pass, and a report on them."""

import argparse
import contextlib
import csv
import io
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from softstep import (
    SoftmaxRegression,
    SoftmaxSweep,
    report_figures,
    run_folder,
    run_record,
    sweep_report,
)
from softstep.kernels.backend import CHOICES, choose
from softstep.kernels.checks import LOSSES
from softstep.model import datasets, extras
from softstep.model.heads import SweepEpoch
from softstep.model.schedules import SCHEDULES
from softstep.picture import write
from softstep.progress import Progress
from softstep.recipe import load_rows

EVALUATIONS = 10  # of the held-out rows, so that there is a best so far
SHOWN = 10


def add_parser(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep", help="train a softmax regression for each setting of a grid, all in one pass"
    )
    sweep.add_argument("data", nargs="?", default="digits", help="as for train")
    sweep.add_argument("--labels", help="the labels' file, for .npy and IDX features")
    sweep.add_argument(
        "--lr",
        type=numbers,
        default="1e-3:10:log20",
        help="learning rates: 0.1,0.2 or FROM:TO:logN (default %(default)s)",
    )
    sweep.add_argument(
        "--loss",
        type=_losses,
        default="mse,cross_entropy",
        help="one or both of them (default %(default)s)",
    )
    sweep.add_argument(
        "--l2",
        type=numbers,
        default="0",
        help="as for --lr; with --l2-bias, cross_entropy gets a bound on its distance to the best",
    )
    sweep.add_argument("--momentum", type=numbers, default="0", help="as for --lr")
    sweep.add_argument(
        "--cv", type=int, help="judge by so many folds (default: by a fifth of the training rows)"
    )
    sweep.add_argument(
        "--refit",
        choices=("accuracy", "loss"),
        default="accuracy",
        help="what the best is best in (default %(default)s); loss needs one --loss",
    )
    sweep.add_argument(
        "--halving", action="store_true", help="drop the worse half, again and again"
    )
    sweep.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default="constant",
        help="how the rate falls over the training (default %(default)s)",
    )
    sweep.add_argument("--l2-bias", action="store_true", help="l2 on the bias too")
    sweep.add_argument("--batch-size", type=int, default=100, help="rows of a step (100)")
    sweep.add_argument("--epochs", type=int, default=20, help="passes over the rows (20)")
    sweep.add_argument(
        "--seed", type=int, default=0, help="of the rows' order, folds, held-out rows"
    )
    sweep.add_argument("--out", type=Path, help="a folder for the results (runs/NAME-sweep)")
    sweep.add_argument(
        "--figures", type=Path, metavar="DIR", help="draw the sweep there too, as PNG files"
    )
    sweep.add_argument("--backend", choices=CHOICES, help="default: SOFTSTEP_BACKEND, or auto")
    sweep.set_defaults(run=run)


def numbers(text: str) -> list[float]:
    """Numbers with commas between, each once; FROM:TO:logN stands for N numbers of equal ratio."""
    return list(dict.fromkeys(value for part in text.split(",") for value in _span(part)))


def _span(part: str) -> list[float]:
    """One number, or those of FROM:TO:logN."""
    try:
        if ":" not in part:
            return [float(part)]
        first, last, count = part.split(":")
        start, stop, n = float(first), float(last), int(count.removeprefix("log"))
    except ValueError:
        n, count = 0, ""
    if not (count.startswith("log") and n > 0 and 0 < start < np.inf and 0 < stop < np.inf):
        raise argparse.ArgumentTypeError(
            f"{part!r}: give numbers, such as 0.1,0.2, or FROM:TO:logN, such as 1e-3:10:log20, "
            "with FROM and TO above 0"
        )
    return [float(value) for value in np.geomspace(start, stop, n)]


def _losses(text: str) -> list[str]:
    losses = list(dict.fromkeys(text.split(",")))
    if not set(losses) <= set(LOSSES):
        raise argparse.ArgumentTypeError(f"{text!r}: choose from {', '.join(LOSSES)}")
    return losses


def run(arguments: argparse.Namespace) -> int:
    figures: Path | None = arguments.figures
    if figures is not None:
        extras.load("matplotlib", extra="plot")  # before the work, not after
    backend, why = choose()
    print(f"backend {backend.name} ({why})", flush=True)
    data = load_rows(arguments.data, arguments.labels, arguments.seed)
    out = arguments.out or Path("runs") / f"{data.name}-sweep"
    with (
        run_folder.ready(out),
        contextlib.nullcontext() if figures is None else run_folder.ready(figures),
    ):
        rows, held_out, judged = _rows(data, arguments)
        print(judged, flush=True)
        sweep, times = _fit(arguments, rows, held_out)
        predicted = sweep.best_estimator_.predict(data.X_test)
        accuracy = float(np.mean(predicted == data.y_test))
        found = _found(arguments, sweep, accuracy)
        record = run_record.record("sweep", arguments, data.name, backend.name) | found
        print("\n".join([*_best_lines(sweep), *_at_the_end(sweep), times]))
        print(f"test accuracy of the best {accuracy:.4f}")
        page = sweep_report.page(data.name, sweep, judged, times, data.y_test, predicted)
        _save(out, sweep, record, page)
        print(f"results.csv, loss_curves.csv, best.npz, run.json and report.html saved to {out}")
        if figures is not None:
            files, caption = report_figures.sweep(sweep.results_, sweep.loss_curves_).drawn()
            write(files, figures)
            print(f"{' and '.join(files)} saved to {figures}" if files else caption)
    return 0


def _rows(
    data: datasets.Dataset, arguments: argparse.Namespace
) -> tuple[datasets.Dataset, dict[str, Any], str]:
    """The rows to learn from, those held out, as `fit` takes them (none with --cv), and a word."""
    if arguments.cv is not None:
        return data, {}, f"judged by {arguments.cv} folds of {len(data.X_train)} rows"
    train = datasets.Dataset(data.name, data.X_train, data.y_train, None, None)
    rows = datasets.hold_out(train, fraction=0.2, seed=arguments.seed)
    assert rows.X_test is not None
    assert rows.y_test is not None
    lost = np.setdiff1d(rows.y_test, rows.y_train)
    if lost.size:
        raise ValueError(
            f"all rows of class {lost[0]} are among the fifth held out: judge by folds, --cv N"
        )
    judged = (
        f"judged on {len(rows.X_test)} of the training rows, a fifth; "
        f"learned from the other {len(rows.X_train)}, the saved model too"
    )
    return rows, {"X_val": rows.X_test, "y_val": rows.y_test}, judged


def _fit(
    arguments: argparse.Namespace, rows: datasets.Dataset, held_out: dict[str, Any]
) -> tuple[SoftmaxSweep, str]:
    """The fitted sweep, and a sentence on what it took, without the compiling."""
    X, y = rows.X_train, rows.y_train
    # One step of the same bank compiles what its training needs; it certifies nothing.
    _sweep(arguments).set_params(max_steps=1, l2_bias=False).fit(X, y, **held_out)
    sweep = _sweep(arguments)
    start = time.perf_counter()
    with SweepProgress(sweep.refit, certifies(arguments)) as progress:
        sweep.fit(X, y, **held_out, callback=progress)
    seconds = time.perf_counter() - start
    alone = _seconds_an_epoch_alone(sweep.best_estimator_, X, y)
    heads_each = 1 + (arguments.cv or 0)
    epochs = int(sweep.results_["epochs"].sum()) * heads_each  # without those of heads that fell
    times = (
        f"{len(sweep.results_['rank']) * heads_each} heads in {progress.seconds:.2f} s; "
        f"one head alone takes about {alone:.3f} s an epoch, and the {epochs} epochs they ran "
        f"one after the other {epochs * alone:.1f} s"
    )
    if progress.certifies:
        times += f"; the certificates took {seconds - progress.seconds:.1f} s more"
    return sweep, times


def certifies(arguments: argparse.Namespace) -> bool:
    """Whether some setting gets a certificate."""
    return arguments.l2_bias and any(arguments.l2) and "cross_entropy" in arguments.loss


def _save(out: Path, sweep: SoftmaxSweep, record: dict[str, Any], page: str) -> None:
    """What was found, the model first."""
    sweep.best_estimator_.save(out / "best.npz")
    run_record.write(out, record)
    run_folder.write(out / "results.csv", results_csv(sweep.results_))
    run_folder.write(out / "loss_curves.csv", curves_csv(sweep.loss_curves_))
    run_folder.write(out / "report.html", page)


def _sweep(arguments: argparse.Namespace) -> SoftmaxSweep:
    return SoftmaxSweep(
        {
            "learning_rate": arguments.lr,
            "l2": arguments.l2,
            "momentum": arguments.momentum,
            "loss": arguments.loss,
        },
        cv=arguments.cv,
        refit=arguments.refit,
        halving=arguments.halving,
        schedule=arguments.schedule,
        l2_bias=arguments.l2_bias,
        batch_size=arguments.batch_size,
        epochs=arguments.epochs,
        random_state=arguments.seed,
        eval_every=max(1, arguments.epochs // EVALUATIONS),
    )


def _found(arguments: argparse.Namespace, sweep: SoftmaxSweep, accuracy: float) -> dict[str, Any]:
    """What run.json holds beside the command's record."""
    names = "learning_rate", "l2", "momentum", "loss"
    settings = {name: getattr(arguments, "lr" if name == names[0] else name) for name in names}
    shared = {name: value for name, value in sweep.get_params().items() if name != "param_grid"}
    return {
        "settings": settings | shared,
        "results": {"best": sweep.best_params_, "test_accuracy": accuracy},
        "model": "best.npz",
    }


def _seconds_an_epoch_alone(model: SoftmaxRegression, X: Any, y: Any) -> float:
    """What one epoch of this model alone takes."""
    lone = SoftmaxRegression(**model.get_params() | {"epochs": 1})
    SoftmaxRegression(**lone.get_params() | {"max_steps": 1}).fit(X, y)  # compiles
    start = time.perf_counter()
    lone.fit(X, y)
    return time.perf_counter() - start


def _best_lines(sweep: SoftmaxSweep) -> list[str]:
    """A table of the best settings."""
    results = sweep.results_
    planned = results["epochs"].max()
    rows: list[tuple[str, ...]] = [("rank", "accuracy", "loss", "settings")]
    for i in np.argsort(results["rank"], kind="stable")[:SHOWN]:
        settings = "  ".join(f"{name} {_short(v)}" for name, v in results["params"][i].items())
        accuracy, loss = (results[f"mean_val_{name}"][i] for name in ("accuracy", "loss"))
        if results["diverged"][i]:
            settings += "  diverged"
        elif results["epochs"][i] < planned:
            settings += f"  dropped after {results['epochs'][i]} epochs"
        if np.isfinite(results["bound"][i]):
            settings += f"  bound {results['bound'][i]:.2g}"
        found = [
            _figure(accuracy, results["std_val_accuracy"][i], ".4f"),
            _figure(loss, results["std_val_loss"][i], ".4g"),
        ]
        rows.append((str(results["rank"][i]), *found, settings))
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    return ["  ".join([*(row[k].rjust(widths[k]) for k in range(3)), row[3]]) for row in rows]


def _figure(mean: float, std: float, form: str) -> str:
    """Mean and, over folds, standard deviation; a dash where there is none."""
    if np.isnan(mean):
        return "-"
    return f"{mean:{form}}" + ("" if np.isnan(std) else f" ±{std:.2g}")


def _at_the_end(sweep: SoftmaxSweep) -> list[str]:
    """A hint where the best rate is the first or last of several tried with its loss."""
    best = sweep.best_params_
    same = [p for p in sweep.results_["params"] if p["loss"] == best["loss"]]
    rates = sorted({p["learning_rate"] for p in same})
    ends = {rates[0]: "smallest", rates[-1]: "largest"} if len(rates) > 1 else {}
    if best["learning_rate"] not in ends:
        return []
    return [f"the best rate is the {ends[best['learning_rate']]} tried: move the span of --lr"]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def results_csv(results: dict[str, Any]) -> str:
    """`results_`, a line for each setting; NaN is an empty cell."""
    names = [name for name in results if name != "params"]
    rows = zip(*(results[name].tolist() for name in names), strict=True)
    return _csv(names, (["" if value != value else value for value in row] for row in rows))


def curves_csv(curves: Any) -> str:
    """`loss_curves_`, a line for each epoch, a column for each entry of `results_`."""
    return _csv([f"setting_{i}" for i in range(curves.shape[1])], curves.tolist())


def _csv(head: list[str], rows: Iterable[Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


class SweepProgress(Progress):
    """Heads alive, the best so far, the time left.

    seconds: from the start to the end of the last epoch.
    """

    def __init__(self, refit: str, certifies: bool) -> None:
        super().__init__()
        self.refit, self.certifies = refit, certifies
        self.start = time.perf_counter()
        self.seconds = 0.0
        self.alive: int | None = None
        self.head_epochs = 0

    def __call__(self, epoch: SweepEpoch) -> None:
        done, of = epoch.number + 1, epoch.epochs
        self.seconds = time.perf_counter() - self.start
        # Time follows the heads that train: those alive before the epoch took it.
        self.head_epochs += epoch.alive if self.alive is None else self.alive
        self.alive = epoch.alive
        left = self.seconds / max(1, self.head_epochs) * epoch.alive * (of - done)
        best = "" if epoch.score is None else f"  best {self.refit} {epoch.score:.4f}"
        text = f"epoch {done:>{len(str(of))}}/{of}  {epoch.alive} heads{best}  {left:.0f} s left"
        if done == of and self.certifies:
            text += ", and the certificates"
        self.tell(text, done, of)
