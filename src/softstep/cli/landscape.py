"""`softstep landscape`: trains the recipe and draws the loss around the path of the descent.

The folder it writes can be read by `softstep report`:
    run.json     what was run: see `softstep.runs.record`
    model.npz    the model (SoftmaxRegression.load)
    surface.npz  the loss on the plane, and the path (softstep.model.landscape.Surface.load)
    line.npz     the loss and its slope along D1 (softstep.model.landscape.Line.load)
    surface.png, contours.png, gradient.png, line.png, each also with "-dark" before the dot;
        gradient.png only with --directions pca, and if the path can be seen in the plane
"""

import argparse
from pathlib import Path
from typing import Any

from softstep.cli import common
from softstep.cli.train import add_recipe, add_scaling
from softstep.kernels import losses
from softstep.model import extras
from softstep.model.settings import Settings
from softstep.report.landscape_figures import NAMES, pictures
from softstep.report.picture import file_names, write_images
from softstep.runs import folder, landscape, recipe, record
from softstep.runs.landscape import FILES, KINDS, Landscape, View


def add_parser(commands: Any) -> None:
    parser = common.add_command(
        commands, "landscape", "train a model and draw the loss around the path of its descent"
    )
    common.add_rows(parser)
    parser.add_argument(
        "--directions",
        choices=("pca", "random"),
        default="pca",
        help="the plane: principal components of the path (default), or random directions",
    )
    parser.add_argument(
        "--rows", choices=tuple(KINDS), default="train", help="whose loss is drawn (default train)"
    )
    parser.add_argument(
        "--span",
        type=float,
        default=1.0,
        help="offsets go from -SPAN to SPAN (default 1), where 1 is the length of a direction; "
        "with pca, the path reaches to 0.8",
    )
    parser.add_argument("--steps", type=int, default=51, help="offsets in each direction (51)")
    add_recipe(parser)
    add_scaling(parser)
    common.add_seed(parser, "the order of the rows, and of random directions")
    parser.add_argument("--out", type=Path, help="a folder for the results (runs/NAME-landscape)")
    common.add_checkpoint(parser)
    common.add_backend(parser)
    parser.set_defaults(run=run)


@common.to_the_end
def run(arguments: argparse.Namespace) -> int:
    extras.load("matplotlib", extra="plot")  # before the work, not after
    common.say_backend()
    name = common.name_of(arguments.data)  # also what the data set will be called
    out = arguments.out or Path("runs") / f"{name}-landscape"
    model = recipe.model_for(
        name,
        arguments.loss,
        lr=arguments.lr,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        feature_scale=arguments.feature_scale,
        scaling=arguments.scaling,
        random_state=arguments.seed,
    )
    Settings.of(model)  # or it says what is wrong, before any rows are read
    names = ("rows", "directions", "span", "steps")
    view = View(**{name: getattr(arguments, name) for name in names}, random_state=arguments.seed)
    landscape.refuse_bad_view(view)
    keeping = common.checkpoint_of(arguments)
    about = record.record(
        "landscape",
        name,
        source=arguments.data,
        labels=arguments.labels,
        label=arguments.label,
        seed=arguments.seed,
    )
    stale = ["report.html", *(file for name in NAMES for file in file_names(name))]
    folder.refuse_own_input([out / name for name in FILES], [arguments.data, arguments.labels])
    record.refuse_what_is_no_run(out, (*FILES, *stale))
    with folder.of_run(out):
        data = recipe.load_rows(arguments.data, arguments.labels, arguments.label, arguments.seed)
        found = landscape.run(out, model, data, view, about, stale, **keeping)
        print(_summary(found))
        images = _draw(found, out)
        print(f"run.json, model.npz, surface.npz, line.npz and {images} images saved to {out}")
    return 0


def _draw(found: Landscape, out: Path) -> int:
    """Write the images, and say which cannot be drawn; how many there are."""
    images = 0
    for picture in pictures(found):
        files, caption = picture.drawn()
        images += write_images(files, out)
        if not files:
            print(f"{picture.name}: {caption}")
    return images


def _summary(found: Landscape) -> str:
    surface = found.surface
    i, j = divmod(int(surface.loss.argmin()), len(surface.x))
    text = (
        f"{losses.find(surface.loss_name).title} of {surface.rows} {found.of}: "
        f"{surface.path_loss[-1]:.6f} at the model; on the plane from {surface.loss.min():.6f} (at "
        f"the offsets {surface.x[j]:.3g} and {surface.y[i]:.3g}) to {surface.loss.max():.6f}"
    )
    if surface.explained_variance is None:
        return text
    shares = " and ".join(f"{share:.1%}" for share in surface.explained_variance)
    return f"{text}; the directions hold {shares} of the path's variance"
