"""`softstep sweep`: many softmax regressions in one pass, and a report on them."""

import argparse
import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from softstep.cli import common
from softstep.kernels.losses import LOSSES
from softstep.model import SoftmaxSweep, extras
from softstep.model.optimum.settings import refuse_kept_tasks
from softstep.model.schedules import SCHEDULES
from softstep.model.scores import ALWAYS, SCORES
from softstep.model.sweep.grid import KEYS
from softstep.model.sweep.settings import SweepSettings
from softstep.report import page, subject
from softstep.report.picture import file_names
from softstep.runs import folder, recipe, record, workers
from softstep.runs.results import SCALED, in_words
from softstep.runs.sweep import FILES, at_an_end, fit, honest, rows, save

SHOWN = 10  # settings in the table that is printed


def add_parser(commands: Any) -> None:
    parser = common.add_command(
        commands, "sweep", "train a softmax regression for each setting of a grid, all in one pass"
    )
    common.add_rows(parser)
    _add_grid(parser)
    parser.add_argument(
        "--cv",
        type=int,
        help="number of folds that judge (default: a fifth of the training rows judges)",
    )
    parser.add_argument(
        "--scoring",
        metavar="NAMES",
        type=lambda text: list(dict.fromkeys(text.split(","))),
        help="scores on the held-out rows besides accuracy and loss, separated by commas: "
        f"{', '.join(name for name in SCORES if name not in ALWAYS)}, top5 and its like, or "
        "scorers of scikit-learn",
    )
    parser.add_argument(
        "--refit",
        metavar="NAME",
        help="what makes a setting the best: accuracy, loss (with a single --loss) or one of "
        "--scoring (default: the first of --scoring, or accuracy)",
    )
    parser.add_argument(
        "--halving", action="store_true", help="drop the worse half of the settings again and again"
    )
    parser.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default="constant",
        help="how the learning rate falls during training (default %(default)s)",
    )
    parser.add_argument("--l2-bias", action="store_true", help="apply l2 to the bias too")
    common.add_batch_size(parser)
    common.add_feature_scale(parser)
    parser.add_argument("--epochs", type=int, default=20, help="passes over the rows (20)")
    common.add_seed(parser, "the order of the rows, and of the folds or the rows held out")
    parser.add_argument("--out", type=Path, help="a folder for the results (runs/NAME-sweep)")
    common.add_figures(parser, "also write the figure of the sweep there, as PNG files")
    common.add_checkpoint(parser)
    _add_workers(parser)
    common.add_backend(parser)
    parser.set_defaults(run=run)


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="train in N processes, to the same results (default: in this one, on all cores)",
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="train by the workers of the Dask scheduler there, such as tcp://host:8786",
    )


# The settings of a grid and their options; what is swept where nothing is said, by solver.
OPTIONS = {
    "learning_rate": "--lr",
    "l2": "--l2",
    "momentum": "--momentum",
    "C": "--C",
    "loss": "--loss",
    "scaling": "--scaling",
    "features": "--features",
}
DEFAULTS = {
    "sgd": {
        "learning_rate": "1e-3:10:log20",
        "l2": "0",
        "momentum": "0",
        "loss": "mse,cross_entropy",
    },
    "lbfgs": {"C": "1e-4:1e4:log17", "loss": "cross_entropy"},
}


def _add_grid(parser: argparse.ArgumentParser) -> None:
    by_sgd, by_lbfgs = DEFAULTS["sgd"], DEFAULTS["lbfgs"]
    parser.add_argument(
        "--solver",
        choices=tuple(DEFAULTS),
        default="sgd",
        help="sgd, or lbfgs: each setting to its optimum, and a proof (default %(default)s)",
    )
    parser.add_argument(
        "--lr",
        dest="learning_rate",
        metavar="LR",
        type=numbers,
        help=f"learning rates: 0.1,0.2 or FROM:TO:logN (default {by_sgd['learning_rate']})",
    )
    parser.add_argument(
        "--C",
        type=numbers,
        help="as for --lr, of lbfgs: scikit-learn's C, which sets l2 (default "
        f"{by_lbfgs['C']}, unless --l2 is given)",
    )
    parser.add_argument(
        "--loss",
        type=loss_names,
        help=f"one or more of {', '.join(LOSSES)} (default {by_sgd['loss']}; of lbfgs "
        f"{by_lbfgs['loss']})",
    )
    parser.add_argument(
        "--l2",
        type=numbers,
        help="as for --lr (default 0); above 0 cross-entropy gets a bound on how far it is from "
        "its optimum",
    )
    parser.add_argument("--momentum", type=numbers, help="as for --lr (default 0)")
    parser.add_argument(
        "--scaling",
        type=scalings,
        metavar="NAMES",
        help=f"one or more of {', '.join(SCALED)} (default none): standard brings columns to "
        "mean 0 and variance 1, l2 rows to unit length",
    )
    parser.add_argument(
        "--features",
        type=ranges,
        metavar="RANGES",
        help="one or more ranges of columns to learn from, START:STOP, such as 0:768,768:1536 "
        "(default: all columns)",
    )
    parser.add_argument(
        "--tol",
        type=float,
        help="of lbfgs: how near to the optimum, relative to it (default 1e-6)",
    )
    parser.add_argument(
        "--max-iter", type=int, help="of lbfgs: the most steps of a setting (default 1000)"
    )


MOST_NUMBERS = 100_000  # of one FROM:TO:logN


def numbers(text: str) -> list[float]:
    """Numbers separated by commas, without repeats; FROM:TO:logN means N numbers of equal ratio."""
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
    if n > MOST_NUMBERS:
        raise argparse.ArgumentTypeError(f"{part!r}: {n} numbers are more than {MOST_NUMBERS}")
    if not (count.startswith("log") and n > 0 and 0 < start < np.inf and 0 < stop < np.inf):
        raise argparse.ArgumentTypeError(
            f"{part!r}: give numbers, such as 0.1,0.2, or FROM:TO:logN, such as 1e-3:10:log20, "
            "with FROM and TO above 0"
        )
    return [float(value) for value in np.geomspace(start, stop, n)]


def loss_names(text: str) -> list[str]:
    """Names of losses separated by commas, without repeats."""
    names = list(dict.fromkeys(text.split(",")))
    if not set(names) <= set(LOSSES):
        raise argparse.ArgumentTypeError(f"{text!r}: choose from {', '.join(LOSSES)}")
    return names


def scalings(text: str) -> list[str | None]:
    """Names of scalings separated by commas, without repeats."""
    names = list(dict.fromkeys(text.split(",")))
    if not set(names) <= set(SCALED):
        raise argparse.ArgumentTypeError(f"{text!r}: choose from {', '.join(SCALED)}")
    return [SCALED[name] for name in names]


def ranges(text: str) -> list[tuple[int, int]]:
    """Ranges of columns separated by commas, without repeats."""
    return list(dict.fromkeys(map(common.columns, text.split(","))))


@common.to_the_end
def run(arguments: argparse.Namespace) -> int:
    figures: Path | None = arguments.figures
    if figures is not None:
        extras.load("matplotlib", extra="plot")  # before the work, not after
    common.say_backend()
    sweep = _sweep(arguments)
    settings = SweepSettings.of(sweep)  # or it says what is wrong, before any rows are read
    sweep.set_params(refit=settings.asked.refit.name)
    if settings.optimum is not None and (arguments.workers or arguments.scheduler):
        refuse_kept_tasks(arguments.checkpoint)
    keeping = common.checkpoint_of(arguments)
    workers.check(arguments.workers, arguments.scheduler)
    out = arguments.out or Path("runs") / f"{common.name_of(arguments.data)}-sweep"
    folder.refuse_own_input([out / name for name in FILES], [arguments.data, arguments.labels])
    record.refuse_what_is_no_run(out, FILES)
    with (
        folder.of_run(out),
        contextlib.nullcontext() if figures is None else folder.ready(figures),
    ):
        data = recipe.load_rows(arguments.data, arguments.labels, arguments.label, arguments.seed)
        given = rows(data, arguments.cv, arguments.seed)
        print(given.judged, flush=True)
        with workers.executor(arguments.workers, arguments.scheduler) as executor:
            times = fit(sweep, given, executor=executor, **keeping)
        best = sweep.best_estimator_
        accuracy = best.score(data.X_test, data.y_test)
        notes = [given.judged, *at_an_end(sweep), *honest(sweep), times]
        print("\n".join([*_best_lines(sweep), *notes[1:]]))
        print(f"test accuracy of the best {accuracy:.4f}")
        about = record.record(
            "sweep",
            data.name,
            source=arguments.data,
            labels=arguments.labels,
            label=arguments.label,
            seed=arguments.seed,
        )
        name = "sweep" if sweep.solver == "sgd" else "path"
        stale = [] if figures is None else [figures / file for file in file_names(name)]
        stale.append(out / "report.html")
        about = save(out, sweep, about, accuracy, notes, stale)
        found = {"results": sweep.results_, "loss_curves": sweep.loss_curves_}
        text = page.sweep_page(subject.of_run(about, best, data, **found), figures, tell=print)
        folder.write_text(out / "report.html", text)
        print(f"results.csv, loss_curves.csv, best.npz, run.json and report.html saved to {out}")
        if figures is not None:
            print(f"{name}.png and {name}-dark.png saved to {figures}")
    return 0


def _sweep(arguments: argparse.Namespace) -> SoftmaxSweep:
    """The sweep that was asked for, not yet fitted.

    Raises:
        ValueError: as `_grid`, and for --tol or --max-iter with the other solver.
    """
    names = (
        *("cv", "refit", "halving", "schedule", "l2_bias", "batch_size", "epochs", "solver"),
        *("feature_scale", "scoring"),
    )
    settings = {name: getattr(arguments, name) for name in names}
    for name in ("tol", "max_iter"):
        if getattr(arguments, name) is None:
            continue
        if arguments.solver != "lbfgs":
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option} does not go with --solver {arguments.solver}")
        settings[name] = getattr(arguments, name)
    return SoftmaxSweep(_grid(arguments), **settings, random_state=arguments.seed)


def _grid(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given, and the solver's defaults for the rest.

    Raises:
        ValueError: an option of the other solver was given, or both --C and --l2.
    """
    solver = arguments.solver
    given = {name: getattr(arguments, name) for name in OPTIONS}
    given = {name: values for name, values in given.items() if values is not None}
    if {"C", "l2"} <= given.keys():
        raise ValueError("--C and --l2 both set the weight of ‖W‖²: give one of them")
    for name in given:
        if name not in KEYS[solver]:
            raise ValueError(f"{OPTIONS[name]} does not go with --solver {solver}")
    defaults = {
        name: loss_names(text) if name == "loss" else numbers(text)
        for name, text in DEFAULTS[solver].items()
        if not (name == "C" and "l2" in given)
    }
    return defaults | given


def _best_lines(sweep: SoftmaxSweep) -> list[str]:
    """A table of the best settings."""
    results = sweep.results_
    names = [name.removeprefix("mean_val_") for name in results if name.startswith("mean_val_")]
    lines: list[tuple[str, ...]] = [("rank", *names, "settings")]
    for i in np.argsort(results["rank"], kind="stable")[:SHOWN]:
        figures = (
            _figure(
                results[f"mean_val_{name}"][i],
                results[f"std_val_{name}"][i],
                ".4g" if name == "loss" else ".4f",
            )
            for name in names
        )
        lines.append((str(results["rank"][i]), *figures, _settings(results, int(i))))
    widths = [max(len(line[k]) for line in lines) for k in range(len(names) + 1)]
    return ["  ".join([*map(str.rjust, line, widths), line[-1]]) for line in lines]


def _settings(results: dict[str, Any], i: int) -> str:
    """The settings of an entry, whether it was trained to the end, and its bound."""
    text = "  ".join(f"{name} {_short(value)}" for name, value in results["params"][i].items())
    if results["diverged"][i]:
        text += "  diverged"
    elif "epochs" in results and results["epochs"][i] < results["epochs"].max():
        text += f"  dropped after {results['epochs'][i]} epochs"
    if np.isfinite(results["bound"][i]):
        text += f"  bound {results['bound'][i]:.2g}"
    return text


def _figure(mean: float, std: float, form: str) -> str:
    """Mean and, over folds, standard deviation; a dash if there is none."""
    if np.isnan(mean):
        return "-"
    return f"{mean:{form}}" + ("" if np.isnan(std) else f" ±{std:.2g}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else in_words(value)
