"""`softstep predict`: the label of each row of a file."""

import argparse
import sys
from typing import Any

from softstep.cli import common
from softstep.model import SoftmaxRegression, datasets
from softstep.runs.streams import in_one_line


def add_parser(commands: Any) -> None:
    parser = common.add_command(commands, "predict", "print the label of each row of a file")
    parser.add_argument("model", metavar="MODEL", help="a file written by softstep train")
    parser.add_argument("file", metavar="FILE", help=f"features: {common.FILES}")
    common.add_label(parser)
    common.add_backend(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    model = SoftmaxRegression.load(arguments.model)
    X, y = datasets.load_features(
        arguments.file,
        n_features=model.n_features_in_,
        names=getattr(model, "feature_names_in_", None),
        label=arguments.label,
        tell=lambda sentence: print(sentence, file=sys.stderr),
    )
    for label in model.predict(X):
        print(in_one_line(label))
    if y is not None:
        print(f"accuracy {model.score(X, y):.4f}", file=sys.stderr)
    return 0
