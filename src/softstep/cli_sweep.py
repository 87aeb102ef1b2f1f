"""`softstep sweep`: many softmax regressions in one pass, and a report on them."""

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from softstep import SoftmaxRegression, SoftmaxSweep, run_record, sweep_report
from softstep.kernels.backend import CHOICES, choose
from softstep.kernels.checks import LOSSES
from softstep.model import datasets
from softstep.model.heads import SweepEpoch
from softstep.model.schedules import SCHEDULES
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
    sweep.add_argument("--loss", type=_losses, default="mse,cross_entropy")
    sweep.add_argument("--l2", type=numbers, default="0", help="as for --lr")
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
    sweep.add_argument("--schedule", choices=SCHEDULES, default="constant")
    sweep.add_argument("--l2-bias", action="store_true", help="l2 on the bias too")
    sweep.add_argument("--batch-size", type=int, default=100)
    sweep.add_argument("--epochs", type=int, default=20)
    sweep.add_argument(
        "--seed", type=int, default=0, help="of the rows' order, folds, held-out rows"
    )
    sweep.add_argument("--out", type=Path, help="a folder for the results (runs/NAME-sweep)")
    sweep.add_argument("--backend", choices=CHOICES, help="default: SOFTSTEP_BACKEND, or auto")
    sweep.set_defaults(run=run)


def numbers(text: str) -> list[float]:
    """Numbers with commas between; FROM:TO:logN stands for N numbers of equal ratio."""
    found: list[float] = []
    for part in text.split(","):
        first, *rest = part.split(":")
        if not rest:
            found.append(float(first))
            continue
        last, count = rest
        if not count.startswith("log"):
            raise ValueError(text)
        start, stop, n = float(first), float(last), int(count[3:])
        if not (0 < start < np.inf and 0 < stop < np.inf and n > 0):
            raise ValueError(text)
        found.extend(np.geomspace(start, stop, n).tolist())
    return found


def _losses(text: str) -> list[str]:
    losses = text.split(",")
    if not set(losses) <= set(LOSSES):
        raise argparse.ArgumentTypeError(f"{text!r}: choose from {', '.join(LOSSES)}")
    return losses


def run(arguments: argparse.Namespace) -> int:
    backend, why = choose()
    print(f"backend {backend.name} ({why})", flush=True)
    data = load_rows(arguments.data, arguments.labels, arguments.seed)
    rows, held_out = data, {}
    if arguments.cv is None:
        train = datasets.Dataset(data.name, data.X_train, data.y_train, None, None)
        rows = datasets.hold_out(train, fraction=0.2, seed=arguments.seed)
        held_out = {"X_val": rows.X_test, "y_val": rows.y_test}
        count = len(data.X_train) - len(rows.X_train)
        print(f"judged on {count} of the training rows, a fifth", flush=True)
    out = arguments.out or Path("runs") / f"{data.name}-sweep"
    out.mkdir(parents=True, exist_ok=True)

    sweep = _sweep(arguments)
    progress = Progress()
    start = time.perf_counter()
    sweep.fit(rows.X_train, rows.y_train, **held_out, callback=progress)
    seconds = time.perf_counter() - start
    progress.close()
    alone = _seconds_alone(sweep.best_estimator_, rows.X_train, rows.y_train)
    heads = len(sweep.results_["rank"]) * (1 + (arguments.cv or 0))
    print("\n".join(_best_lines(sweep)))
    times = (
        f"{heads} heads in {seconds:.2f} s; one head alone takes about {alone:.2f} s "
        f"(one epoch of it, times {sweep.epochs}), one after the other {heads * alone:.1f} s"
    )
    print(times)
    predicted = sweep.best_estimator_.predict(data.X_test)
    accuracy = float(np.mean(predicted == data.y_test))
    print(f"test accuracy of the best {accuracy:.4f}")

    write_csv(out / "results.csv", sweep.results_)
    np.savetxt(out / "loss_curves.csv", sweep.loss_curves_, delimiter=",")
    sweep.best_estimator_.save(out / "best.npz")
    report = sweep_report.page(data.name, sweep, times, data.y_test, predicted)
    (out / "report.html").write_text(report, encoding="utf-8")
    record = run_record.record("sweep", arguments, data.name, backend.name)
    run_record.write(out, record | _found(arguments, sweep, accuracy))
    print(f"results.csv, loss_curves.csv, best.npz, run.json and report.html saved to {out}")
    return 0


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


def _seconds_alone(model: SoftmaxRegression, X: Any, y: Any) -> float:
    """What all epochs of this model alone take, from the time of one."""
    lone = SoftmaxRegression(**model.get_params() | {"epochs": 1})
    SoftmaxRegression(**lone.get_params() | {"max_steps": 1}).fit(X, y)  # compiles
    start = time.perf_counter()
    lone.fit(X, y)
    return (time.perf_counter() - start) * int(model.get_params()["epochs"])


def _best_lines(sweep: SoftmaxSweep) -> list[str]:
    """A table of the best settings."""
    results = sweep.results_
    rows = [("rank", "accuracy", "loss", "settings")]
    for i in np.argsort(results["rank"], kind="stable")[:SHOWN]:
        settings = "  ".join(f"{name} {_short(v)}" for name, v in results["params"][i].items())
        accuracy, loss = (results[f"mean_val_{name}"][i] for name in ("accuracy", "loss"))
        rows.append((str(results["rank"][i]), f"{accuracy:.4f}", f"{loss:.5f}", settings))
    return ["  ".join((a.rjust(4), b.rjust(8), c.rjust(8), d)) for a, b, c, d in rows]


def _short(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def write_csv(path: Path, results: dict[str, Any]) -> None:
    """`results_`, a line for each setting; NaN is an empty cell."""
    names = [name for name in results if name != "params"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in zip(*(results[name].tolist() for name in names), strict=True):
            writer.writerow(["" if value != value else value for value in row])


class Progress:
    """Heads alive, the best so far, the time left: rewritten on a terminal, ten lines elsewhere."""

    LINES = 10

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.on_terminal = sys.stderr.isatty()

    def __call__(self, epoch: SweepEpoch) -> None:
        done, of = epoch.number + 1, epoch.epochs
        left = (time.perf_counter() - self.start) / done * (of - done)
        best = "" if epoch.score is None else f"  best {epoch.score:.4f}"
        text = f"epoch {done:>{len(str(of))}}/{of}  {epoch.alive} heads{best}  {left:.0f} s left"
        if self.on_terminal:
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
        elif done % max(1, of // self.LINES) == 0 or done == of:
            print(text, flush=True)

    def close(self) -> None:
        if self.on_terminal:
            print(file=sys.stderr)
