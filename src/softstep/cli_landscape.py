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
import sys
from pathlib import Path
from typing import Any

from softstep import SoftmaxRegression, run_record
from softstep.kernels.backend import CHOICES, choose
from softstep.kernels.checks import LOSSES
from softstep.model import WeightPath, extras, inputs, plots
from softstep.model.landscape import Line, Surface, loss_line, loss_surface, plane_slopes
from softstep.model.plots import style
from softstep.recipe import Progress, known_rows, load_rows, recipe

CAPTIONS = {
    "surface": "The loss on the plane, in three dimensions; the line is the way of the descent.",
    "contours": "The same from above: on each line the loss is the same.",
    "gradient": "At some points of the way: where the loss grows fastest, and the way on, to "
    "the next point kept, some steps later.",
    "line": "The loss along the first direction; the straight lines have its slope.",
}


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
    landscape.add_argument("--rows", choices=("train", "test"), default="train", help="loss of")
    landscape.add_argument("--span", type=float, default=1.0, help="offsets from -SPAN to SPAN")
    landscape.add_argument("--steps", type=int, default=51, help="offsets in each direction")
    landscape.add_argument("--loss", choices=LOSSES, default="mse")
    landscape.add_argument("--lr", type=float, help="learning rate, as for train")
    landscape.add_argument("--batch-size", type=int, default=100)
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
    out.mkdir(parents=True, exist_ok=True)
    plane = _plane(arguments)

    rate, epochs = recipe(data.name, arguments.loss)
    model = SoftmaxRegression(
        loss=arguments.loss,
        learning_rate=rate if arguments.lr is None else arguments.lr,
        batch_size=arguments.batch_size,
        epochs=epochs if arguments.epochs is None else arguments.epochs,
        random_state=arguments.seed,
    )
    if arguments.directions == "pca":
        _refuse_too_few_steps(model, len(data.X_train))
    path, progress = WeightPath(), Progress(model.epochs)
    model.fit(data.X_train, data.y_train, callback=progress, path=path)
    progress.close()
    accuracy = model.score(data.X_test, data.y_test)
    print(f"test accuracy {accuracy:.4f}")
    _remove_old(out)
    model.save(out / "model.npz")  # nothing that fails below loses the training

    of_train = arguments.rows == "train"
    X: Any = data.X_train if of_train else data.X_test
    y: Any = data.y_train if of_train else data.y_test
    known = known_rows(model, y)
    if not known.all():
        print(f"{(~known).sum()} test rows have a label that no training row has: left out")
        X, y = X[known], y[known]
    rows = X, y
    shown = RowsProgress("surface")
    surface = loss_surface(
        model,
        *rows,
        arguments.directions,
        **plane,
        path=path,
        random_state=arguments.seed,
        callback=shown,
    )
    shown.close()
    line = loss_line(model, *rows, surface.D1, **plane)
    surface.save(out / "surface.npz")
    line.save(out / "line.npz")
    record = run_record.record("landscape", arguments, data.name, backend.name)
    record |= _found(arguments, model, accuracy, surface)
    run_record.write(out, record | {"figures": []})
    print(_summary(surface))
    names = draw(out, model, rows, surface, line)
    run_record.write(out, record | {"figures": [_entry(name) for name in names]})
    print(f"run.json, model.npz, surface.npz, line.npz and {2 * len(names)} images saved to {out}")
    return 0


def _plane(arguments: argparse.Namespace) -> dict[str, Any]:
    """The span and the steps, checked before the work."""
    return {
        "span": inputs.number("--span", arguments.span, above=0),
        "steps": inputs.integer("--steps", arguments.steps, least=2),
    }


def _refuse_too_few_steps(model: SoftmaxRegression, rows: int) -> None:
    """Raise ValueError where the path would have less than the three points of a plane."""
    batch = inputs.integer("--batch-size", model.batch_size, least=1)
    if inputs.integer("--epochs", model.epochs, least=1) * -(-rows // batch) < 2:
        raise ValueError(
            "--directions pca needs two steps of training at least: give more epochs, smaller "
            "batches, or --directions random"
        )


def _remove_old(out: Path) -> None:
    """Remove what an earlier run left: not all of it is written anew, by every run."""
    images = [file for name in CAPTIONS for file in _files(name)]
    for file in (run_record.NAME, "surface.npz", "line.npz", *images):
        (out / file).unlink(missing_ok=True)


def _files(figure: str) -> tuple[str, str]:
    """The names of its files, light and dark."""
    return f"{figure}.png", f"{figure}-dark.png"


def _entry(figure: str) -> dict[str, str]:
    """Of the figures in run.json."""
    light, dark = _files(figure)
    return {"file": light, "dark": dark, "caption": CAPTIONS[figure]}


def draw(
    out: Path, model: SoftmaxRegression, rows: tuple[Any, Any], surface: Surface, line: Line
) -> list[str]:
    """Write the figures, light and dark; their names."""
    is_pca = surface.explained_variance is not None
    name = "PC 1 of the path" if is_pca else "the first random direction"
    figures = {
        "surface": lambda theme: plots.surface(surface, theme=theme),
        "contours": lambda theme: plots.contours(surface, theme=theme),
        "line": lambda theme: plots.line(line, name=name, theme=theme),
    }
    if is_pca and len(at := plots.arrow_points(surface)):  # a small plane may hold the end alone
        slopes = plane_slopes(model, *rows, surface, surface.path[at])
        figures["gradient"] = lambda theme: plots.gradient(surface, slopes, theme=theme)
    for figure, make in figures.items():
        for theme, file in zip(("light", "dark"), _files(figure), strict=True):
            (out / file).write_bytes(style.png(make(theme)))
    return [figure for figure in CAPTIONS if figure in figures]


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
    }


def _summary(surface: Surface) -> str:
    i, j = divmod(int(surface.loss.argmin()), len(surface.x))
    text = (
        f"{surface.loss_name} of {surface.rows} rows: {surface.path_loss[-1]:.6f} at the model, "
        f"on the plane {surface.loss.min():.6f} (at {surface.x[j]:.2f}, {surface.y[i]:.2f}) to "
        f"{surface.loss.max():.6f}"
    )
    if surface.explained_variance is None:
        return text
    shares = " and ".join(f"{share:.1%}" for share in surface.explained_variance)
    return f"{text}; the directions hold {shares} of the path's variance"


class RowsProgress:
    """How many rows are done: rewritten in place on a terminal, ten lines elsewhere."""

    LINES = 10

    def __init__(self, what: str) -> None:
        self.what, self.shown = what, 0
        self.on_terminal = sys.stderr.isatty()

    def __call__(self, done: int, of: int) -> None:
        text = f"{self.what}: {done}/{of} rows"
        tenth = self.LINES * done // of
        if self.on_terminal:
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
        elif tenth > self.shown:
            print(text, flush=True)
        self.shown = tenth

    def close(self) -> None:
        if self.on_terminal:
            print(file=sys.stderr)
