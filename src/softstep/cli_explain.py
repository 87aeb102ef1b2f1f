"""`softstep explain`: a row's forward and backward pass, number by number, beside the formulas."""

import argparse
from pathlib import Path
from typing import Any

from softstep import SoftmaxRegression, explain_html, explain_text, run_folder
from softstep.kernels.backend import CHOICES, choose
from softstep.kernels.checks import LOSSES
from softstep.model.explain import Explanation, explain
from softstep.model.inputs import integer
from softstep.recipe import load_rows, model_for, train


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "explain", help="one test row's forward and backward pass, number by number"
    )
    parser.add_argument("data", nargs="?", default="digits", help="as for train")
    parser.add_argument("--labels", help="the labels' file, for .npy and IDX features")
    parser.add_argument("--index", type=int, default=0, help="which test row (default 0)")
    parser.add_argument(
        "--model", help="a file written by softstep train (default: train the recipe)"
    )
    parser.add_argument("--loss", choices=LOSSES, help="of the recipe (default mse)")
    parser.add_argument("--seed", type=int, default=0, help="of the recipe, and of rows held out")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write it as a page too")
    parser.add_argument("--backend", choices=CHOICES, help="default: SOFTSTEP_BACKEND, or auto")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.model is not None and arguments.loss is not None:
        raise ValueError("--loss is of the recipe: a model has its own")
    if arguments.html is None:
        print(explain_text.text(*_explained(arguments)))
        return 0
    with run_folder.ready_for(arguments.html):
        told = _explained(arguments)
        print(explain_text.text(*told))
        run_folder.write(arguments.html, explain_html.page(*told))
    print(f"\nsaved to {arguments.html}")
    return 0


def _explained(arguments: argparse.Namespace) -> tuple[str, Explanation, Any, Any]:
    """A title, the passes of the row, the classes, and the shape of the image if it is one."""
    backend, why = choose()
    print(f"backend {backend.name} ({why})", flush=True)
    data = load_rows(arguments.data, arguments.labels, arguments.seed)
    index = integer("--index", arguments.index, least=0)
    X: Any = data.X_test  # load_rows sees to it that there are some
    y: Any = data.y_test
    if index >= len(X):
        raise ValueError(f"there is no test row {index}: there are {len(X)}")
    if arguments.model is None:
        model = model_for(data.name, arguments.loss or "mse", random_state=arguments.seed)
        train(model, data)
    else:
        model = SoftmaxRegression.load(arguments.model)
    found = explain(model, X[index], y[index])
    title = f"Row {index} of {data.name}, class {y[index]}"
    return title, found, model.classes_, data.image_shape
