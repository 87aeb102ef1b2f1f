"""The `softstep` command; the commands with more to them have a cli_*.py of their own."""

import argparse
import contextlib
import io
import sys
from pathlib import Path

from softstep import (
    SoftmaxRegression,
    __version__,
    cli_explain,
    cli_landscape,
    cli_report,
    cli_sweep,
)
from softstep.kernels.backend import (
    BACKENDS,
    CHOICES,
    BackendError,
    asked_for,
    choose,
    override,
    probe,
)
from softstep.kernels.checks import LOSSES
from softstep.model import checkpoint, datasets
from softstep.model.download import DatasetError
from softstep.model.extras import MissingExtraError
from softstep.recipe import load_rows, model_for, train

USER_ERRORS = (
    ValueError,
    TypeError,
    OSError,
    MemoryError,
    BackendError,
    DatasetError,
    FloatingPointError,
    MissingExtraError,
)


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code: 0 done, 1 a check failed, 2 bad input, 130 interrupted,
    141 nobody reads on."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    backend = arguments.backend
    if isinstance(sys.stdout, io.TextIOWrapper):  # what it cannot write is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with override(backend, f"--backend {backend}") if backend else contextlib.nullcontext():
            return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("\nsoftstep: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        return 141
    except USER_ERRORS as error:
        print(f"softstep: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="softstep",
        description="Softmax regressions on hand-written kernels.",
    )
    parser.add_argument("--version", action="version", version=f"softstep {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a model and say how well it does on test rows")
    train.add_argument(
        "data",
        nargs="?",
        default="digits",
        help="digits (default), mnist, fashion-mnist, or a file: .npz, .npy, .csv, IDX",
    )
    train.add_argument("--labels", help="the labels' file, for .npy and IDX features")
    train.add_argument("--loss", choices=LOSSES, default="mse", help="default mse")
    train.add_argument("--lr", type=float, help="learning rate (0.2; digits 2; cross-entropy 0.5)")
    train.add_argument("--batch-size", type=int, default=100, help="rows of a step (100)")
    train.add_argument("--epochs", type=int, help="passes over the rows (20; digits 300)")
    train.add_argument("--max-steps", type=int, help="stop after this many steps")
    train.add_argument(
        "--seed", type=int, default=0, help="of the order of the rows, and of the rows held out"
    )
    train.add_argument("--out", type=Path, help="where the model goes (runs/NAME.npz)")
    train.set_defaults(run=_train)

    cli_sweep.add_parser(commands)
    cli_landscape.add_parser(commands)
    cli_explain.add_parser(commands)
    cli_report.add_parser(commands)

    predict = commands.add_parser("predict", help="print the label of each row of a file")
    predict.add_argument("model", metavar="MODEL", help="a file written by softstep train")
    predict.add_argument("file", metavar="FILE", help="features: .npz, .npy, .csv, IDX")
    predict.set_defaults(run=_predict)

    backends = commands.add_parser("backends", help="which backends are usable here, and why not")
    backends.set_defaults(run=_backends, backend=None)

    check = commands.add_parser(
        "check",
        help="compare every usable backend, or the one asked for, with the oracle in float64",
    )
    check.set_defaults(run=_check)

    bench = commands.add_parser(
        "bench", help="time the kernels beside every peer that is installed"
    )
    bench.add_argument("--quick", action="store_true", help="small sizes, under 30 s once compiled")
    bench.add_argument("--only", metavar="SUITES", help="such as a,b: see docs/benchmarks.md")
    bench.add_argument("--json", metavar="FILE", help="write the figures to FILE too")
    bench.add_argument("--markdown", metavar="FILE", help="write the tables to FILE too")
    bench.add_argument("--chart", metavar="FILE", help="draw them into a PNG FILE too")
    bench.add_argument(
        "--backend", choices=["cupy"], help="the GPU alone: kernel time and wall time apart"
    )
    bench.set_defaults(run=_bench)

    for command in (train, predict, check):
        command.add_argument(
            "--backend", choices=CHOICES, help="default: SOFTSTEP_BACKEND, or auto"
        )
    return parser


def _train(arguments: argparse.Namespace) -> int:
    backend, why = choose()
    print(f"backend {backend.name} ({why})", flush=True)
    data = load_rows(arguments.data, arguments.labels, arguments.seed)
    out = arguments.out or Path("runs") / f"{data.name}.npz"
    checkpoint.target(out).parent.mkdir(parents=True, exist_ok=True)
    model = model_for(
        data.name,
        arguments.loss,
        lr=arguments.lr,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        max_steps=arguments.max_steps,
        random_state=arguments.seed,
    )
    train(model, data)
    model.save(out)
    print(f"model saved to {out}")
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    model = SoftmaxRegression.load(arguments.model)
    X, y = datasets.load_features(arguments.file, n_features=model.n_features_in_)
    for label in model.predict(X):
        print(label)
    if y is not None:
        print(f"accuracy {model.score(X, y):.4f}", file=sys.stderr)
    return 0


def _backends(arguments: argparse.Namespace) -> int:
    statuses = [probe(name) for name in BACKENDS]
    rows = [("backend", "usable", "reason", "install")]
    rows += [
        (s.backend.name, "yes" if s.usable else "no", s.reason, s.backend.install) for s in statuses
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    backend, why = choose()
    print(f"\nruns now: {backend.name} ({why})")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from softstep.bench.parity import check_command
    from softstep.bench.run import usable_backends

    chosen, _ = choose()  # which refuses what cannot run
    return check_command(usable_backends() if asked_for() == "auto" else [chosen.name])


def _bench(arguments: argparse.Namespace) -> int:
    if arguments.backend == "cupy":
        from softstep.bench import gpu

        if arguments.only or arguments.markdown or arguments.chart:
            raise ValueError("--only, --markdown and --chart do not go with --backend cupy")
        return gpu.bench_command(quick=arguments.quick, json_path=arguments.json)
    from softstep.bench import run

    return run.bench_command(
        arguments.quick,
        arguments.json,
        only=arguments.only,
        markdown_path=arguments.markdown,
        chart_path=arguments.chart,
    )
