"""`softstep landscape`: trains as the recipe does, and shows the loss around the way it went.

The folder it writes can be read by `softstep report`:
    run.json     what was run: see `softstep.run_record`
    model.npz    the model (SoftmaxRegression.load)
    surface.npz  the loss on the plane, and the path (softstep.model.landscape.Surface.load)
    line.npz     the loss and its slope along D1 (softstep.model.landscape.Line.load)
    surface.png, contours.png, gradient.png, line.png, each also with "-dark" before the dot;
        gradient.png only where the path is seen in the plane, with --directions pca
"""

import argparse
from pathlib import Path
from typing import Any

from softstep import SoftmaxRegression, run_folder, run_record
from softstep.kernels.backend import CHOICES, choose
from softstep.kernels.checks import LOSSES
from softstep.landscape_figures import KINDS, NAMES, Landscape, around, pictures
from softstep.model import WeightPath, extras, inputs
from softstep.model.datasets import Dataset
from softstep.model.landscape import Surface
from softstep.picture import file_names, write
from softstep.progress import Progress
from softstep.recipe import load_rows, model_for, train


def add_parser(commands: Any) -> None:
    landscape = commands.add_parser(
        "landscape", help="train a model and draw the loss around the way it went"
    )
    landscape.add_argument("data", nargs="?", default="digits", help="as for train")
    landscape.add_argument("--labels", help="the labels' file, for .npy and IDX features")
    landscape.add_argument(
        "--directions",
        choices=("pca", "random"),
        default="pca",
        help="the plane: principal components of the path (default), or random directions",
    )
    landscape.add_argument(
        "--rows", choices=tuple(KINDS), default="train", help="whose loss is drawn (default train)"
    )
    landscape.add_argument(
        "--span",
        type=float,
        default=1.0,
        help="offsets from -SPAN to SPAN (default 1), 1 being "
        "the length of a direction: for pca, the path reaches to 0.8",
    )
    landscape.add_argument("--steps", type=int, default=51, help="offsets in each direction (51)")
    landscape.add_argument("--loss", choices=LOSSES, default="mse", help="default mse")
    landscape.add_argument("--lr", type=float, help="learning rate, as for train")
    landscape.add_argument("--batch-size", type=int, default=100, help="rows of a step (100)")
    landscape.add_argument("--epochs", type=int, help="passes over the rows, as for train")
    landscape.add_argument(
        "--seed", type=int, default=0, help="of the rows' order and of random directions"
    )
    landscape.add_argument(
        "--out", type=Path, help="a folder for the results (runs/NAME-landscape)"
    )
    landscape.add_argument("--backend", choices=CHOICES, help="default: SOFTSTEP_BACKEND, or auto")
    landscape.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    extras.load("matplotlib", extra="plot")  # before the work, not after
    backend, why = choose()
    print(f"backend {backend.name} ({why})", flush=True)
    data = load_rows(arguments.data, arguments.labels, arguments.seed)
    out = arguments.out or Path("runs") / f"{data.name}-landscape"
    with run_folder.ready(out):
        _fill(out, data, arguments, backend.name)
    return 0


def _fill(out: Path, data: Dataset, arguments: argparse.Namespace, backend: str) -> None:
    """Train, and write all there is into the folder."""
    span = inputs.number("--span", arguments.span, above=0)  # before the work, as the steps
    steps = inputs.integer("--steps", arguments.steps, least=2)

    model = model_for(
        data.name,
        arguments.loss,
        lr=arguments.lr,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        random_state=arguments.seed,
    )
    if arguments.directions == "pca":
        _refuse_too_few_steps(model, len(data.X_train))
    path = WeightPath()
    accuracy = train(model, data, path)
    _remove_old(out)
    model.save(out / "model.npz")  # nothing that fails below loses the training
    with Progress() as progress:
        landscape = around(
            model,
            data,
            arguments.rows,
            arguments.directions,
            span=span,
            steps=steps,
            path=path,
            random_state=arguments.seed,
            callback=lambda done, of: progress.tell(f"surface: {done}/{of} rows", done, of),
        )
    landscape.surface.save(out / "surface.npz")
    landscape.line.save(out / "line.npz")
    record = run_record.record("landscape", arguments, data.name, backend)
    run_record.write(out, record | _found(arguments, model, accuracy, landscape.surface))
    print(_summary(landscape))
    images = 0
    for picture in pictures(landscape):
        files, caption = picture.drawn()
        images += write(files, out)
        if not files:
            print(f"{picture.name}: {caption}")
    print(f"run.json, model.npz, surface.npz, line.npz and {images} images saved to {out}")


def _refuse_too_few_steps(model: SoftmaxRegression, rows: int) -> None:
    """Raise ValueError where the path would have less than the three points of a plane."""
    batch = inputs.integer("--batch-size", model.batch_size, least=1)
    if inputs.integer("--epochs", model.epochs, least=1) * -(-rows // batch) < 2:
        raise ValueError(
            "--directions pca needs two steps of training at least: give more epochs, smaller "
            "batches, or --directions random"
        )


def _remove_old(out: Path) -> None:
    """Remove what an earlier run and its report left: not every run writes all of it anew."""
    images = [file for name in NAMES for file in file_names(name)]
    for file in (run_record.NAME, "surface.npz", "line.npz", "report.html", *images):
        (out / file).unlink(missing_ok=True)


def _found(
    arguments: argparse.Namespace,
    model: SoftmaxRegression,
    accuracy: float,
    surface: Surface,
) -> dict[str, Any]:
    """What run.json holds beside the command's record: settings, results, files."""
    return {
        "settings": {
            **model.get_params(),
            **{name: getattr(arguments, name) for name in ("directions", "rows", "span", "steps")},
        },
        "results": {
            "test_accuracy": accuracy,
            "loss": float(surface.path_loss[-1]),
            "explained_variance": surface.explained_variance,
        },
        "model": "model.npz",
        "surface": "surface.npz",
        "line": "line.npz",
        "rows": arguments.rows,
    }


def _summary(landscape: Landscape) -> str:
    surface = landscape.surface
    i, j = divmod(int(surface.loss.argmin()), len(surface.x))
    text = (
        f"{surface.loss_name} of {surface.rows} {landscape.of}: "
        f"{surface.path_loss[-1]:.6f} at the model, on the plane {surface.loss.min():.6f} (at the "
        f"offsets {surface.x[j]:.3g} and {surface.y[i]:.3g}) to {surface.loss.max():.6f}"
    )
    if surface.explained_variance is None:
        return text
    shares = " and ".join(f"{share:.1%}" for share in surface.explained_variance)
    return f"{text}; the directions hold {shares} of the path's variance"
