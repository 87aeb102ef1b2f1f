"""`softstep explain`: a row's forward and backward pass, number by number, beside the formulas."""

import argparse
from pathlib import Path
from typing import Any

from softstep.cli import common
from softstep.kernels.losses import LOSSES
from softstep.model import SoftmaxRegression
from softstep.model.explain import Explanation, explain
from softstep.model.inputs import integer
from softstep.report import explain_html, explain_text
from softstep.runs import folder, recipe


def add_parser(commands: Any) -> None:
    parser = common.add_command(
        commands, "explain", "show one test row's forward and backward pass, number by number"
    )
    common.add_rows(parser)
    parser.add_argument("--index", type=int, default=0, help="number of the test row (0)")
    parser.add_argument(
        "--model", help="a file written by softstep train (default: train the recipe)"
    )
    parser.add_argument(
        "--loss", choices=LOSSES, help=f"loss of the recipe (default {recipe.LOSS})"
    )
    common.add_seed(parser, "the recipe, and of the rows held out")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write it as a page")
    common.add_backend(parser)
    parser.set_defaults(run=run)


@common.to_the_end
def run(arguments: argparse.Namespace) -> int:
    if arguments.model is not None and arguments.loss is not None:
        raise ValueError("--loss is for the recipe: a model has its own loss")
    if arguments.html is None:
        print(explain_text.text(*_explained(arguments)))
        return 0
    with folder.ready_for(arguments.html):
        told = _explained(arguments)
        print(explain_text.text(*told))
        folder.write_text(arguments.html, explain_html.page(*told))
    print(f"\nsaved to {arguments.html}")
    return 0


def _explained(arguments: argparse.Namespace) -> tuple[str, Explanation, Any, Any]:
    """A title, the passes of the row, the classes, and the shape of the image if it is one."""
    common.say_backend()
    index = integer("--index", arguments.index, least=0)
    known = None if arguments.model is None else SoftmaxRegression.load(arguments.model)
    data = recipe.load_rows(arguments.data, arguments.labels, arguments.label, arguments.seed)
    X: Any = data.X_test  # load_rows makes sure that there are some
    y: Any = data.y_test
    if index >= len(X):
        raise ValueError(f"there is no test row {index}: there are {len(X)}")
    if known is None:
        loss = arguments.loss or recipe.LOSS
        model = recipe.model_for(data.name, loss, random_state=arguments.seed)
        recipe.train(model, data)
    else:
        model = known
    found = explain(model, X[index : index + 1], y[index])
    title = f"Row {index} of {data.name}, class {y[index]}"
    return title, found, model.classes_, data.image_shape
