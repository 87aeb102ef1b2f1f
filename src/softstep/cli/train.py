"""`softstep train`: a model on the training rows, and how well it does on the test rows."""

import argparse
from pathlib import Path
from typing import Any

from softstep.cli import common
from softstep.kernels.losses import LOSSES
from softstep.model.settings import Settings
from softstep.model.views import SCALINGS
from softstep.runs import folder, recipe


def add_parser(commands: Any) -> None:
    parser = common.add_command(
        commands, "train", "train a model and print how well it does on test rows"
    )
    common.add_rows(parser)
    parser.add_argument(
        "--val", metavar="FILE", help="rows to judge by, in place of test rows or a held-out fifth"
    )
    parser.add_argument("--val-labels", metavar="FILE", help="their labels, as --labels")
    add_recipe(parser)
    add_scaling(parser)
    _add_features(parser)
    parser.add_argument("--max-steps", type=int, help="stop after this many steps")
    common.add_seed(parser, "the order of the rows, and of the rows held out")
    parser.add_argument("--out", type=Path, help="where to save the model (runs/NAME.npz)")
    common.add_checkpoint(parser)
    common.add_backend(parser)
    parser.set_defaults(run=run)


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Loss, rate, batch size, epochs and scale of the features, whose defaults are the recipe's."""
    rates, digits = (
        ", ".join(f"{loss} {rate:g}" for loss, rate in table.items())
        for table in (recipe.RATES, recipe.DIGITS_RATES)
    )
    parser.add_argument(
        "--loss", choices=LOSSES, default=recipe.LOSS, help=f"default {recipe.LOSS}"
    )
    parser.add_argument("--lr", type=float, help=f"learning rate ({rates}; digits: {digits})")
    common.add_batch_size(parser)
    common.add_feature_scale(parser)
    parser.add_argument(
        "--epochs",
        type=int,
        help=f"passes over the rows ({recipe.EPOCHS}; digits: {recipe.DIGITS_EPOCHS})",
    )


def add_scaling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scaling",
        choices=[scaling for scaling in SCALINGS if scaling is not None],
        help="columns to mean 0 and variance 1, rows to unit length, or these and then the columns "
        "(default: as they are)",
    )


def _add_features(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--features",
        type=common.columns,
        metavar="START:STOP",
        help="the columns to learn from, such as 0:768 for the first 768 (default: all)",
    )


@common.to_the_end
def run(arguments: argparse.Namespace) -> int:
    common.say_backend()
    name = common.name_of(arguments.data)  # also what the data set will be called
    model = recipe.model_for(
        name,
        arguments.loss,
        lr=arguments.lr,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        feature_scale=arguments.feature_scale,
        scaling=arguments.scaling,
        features=arguments.features,
        max_steps=arguments.max_steps,
        random_state=arguments.seed,
    )
    Settings.of(model)  # or it says what is wrong, before any rows are read
    keeping = common.checkpoint_of(arguments)
    out = arguments.out or Path("runs") / f"{name}.npz"
    val = {"val": arguments.val, "val_labels": arguments.val_labels}
    if arguments.val is None and arguments.val_labels is not None:
        raise ValueError("--val-labels needs --val, the file of their rows")
    folder.refuse_own_input([out], [arguments.data, arguments.labels, *val.values()])
    folder.refuse_what_is_no_model(out)
    with folder.ready_for_file(out):
        data = recipe.load_rows(
            arguments.data, arguments.labels, arguments.label, arguments.seed, **val
        )
        recipe.train(model, data, **keeping)
        folder.save_at(out, model.save)
    print(f"model saved to {out}")
    return 0
