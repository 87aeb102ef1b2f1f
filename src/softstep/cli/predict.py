"""`softstep predict`: the label of each row of a file, and the probabilities of the classes."""

import argparse
import contextlib
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from softstep.cli import common
from softstep.model import SoftmaxRegression, datasets, extras
from softstep.model.datasets import files
from softstep.runs import folder, predictions, recipe
from softstep.runs.streams import in_one_line, write_data


def add_parser(commands: Any) -> None:
    parser = common.add_command(commands, "predict", "print the label of each row of a file")
    parser.add_argument("model", metavar="MODEL", help="a file written by softstep train")
    names = ", ".join(datasets.NAMED)
    parser.add_argument(
        "data", metavar="FILE", help=f"features: {common.FILES}, or the test rows of {names}"
    )
    common.add_labels(parser)
    parser.add_argument(
        "--proba", action="store_true", help="also the probability of each class, p_CLASS"
    )
    parser.add_argument(
        "--format",
        choices=predictions.FORMATS,
        help="default: by the ending of --out; else a label a line, or csv with --proba",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write (standard output)")
    common.add_backend(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    out: Path | None = arguments.out
    kind: str | None = arguments.format
    given = [arguments.model, arguments.data, arguments.labels]
    folder.refuse_own_input([] if out is None else [out], given)
    if out is not None:
        kind = kind or predictions.format_of(out)
    if kind == "parquet":
        extras.load("pyarrow", extra="tables")  # before the work, not after
        if out is None:
            raise ValueError("--format parquet is not text: say with --out FILE where it goes")
    with contextlib.nullcontext() if out is None else folder.ready_for_file(out):
        model = SoftmaxRegression.load(arguments.model)
        X, y = _rows(arguments, model)
        if y is not None:
            _refuse_guessed_label(arguments, model)
            _refuse_other_labels(arguments.data, model, y)
        columns = predictions.table(model, X, proba=arguments.proba)
        if out is not None:
            predictions.write(columns, kind or "csv", out)
            _tell(f"{len(X)} rows written to {out}")
        elif kind or arguments.proba:
            write_data(predictions.text(columns, kind or "csv"))
        else:
            for label in columns["label"]:
                print(in_one_line(label))
    if y is not None:
        _tell(f"accuracy {np.mean(np.array(columns['label']) == y):.4f}")
    return 0


def _refuse_guessed_label(arguments: argparse.Namespace, model: SoftmaxRegression) -> None:
    """Raise ValueError if the last column of a table was taken for the label, by a model without
    names of columns that learned from another one: the features would be other columns too."""
    words = model.origin_.get("command") or []
    said = [place for word, place in pairwise(words) if word == "--label"]
    is_guess = arguments.label is None and files.is_table(arguments.data)
    if not said or not is_guess or hasattr(model, "feature_names_in_"):
        return
    if not said[-1].lstrip("+-").isdigit() or int(said[-1]) in (-1, model.n_features_in_):
        return
    raise ValueError(
        f"{arguments.data}: the model was trained with --label {said[-1]}: say here too which "
        "column holds the labels"
    )


def _refuse_other_labels(name: str, model: SoftmaxRegression, y: Any) -> None:
    """Raise ValueError if none of what was taken for labels is a class of the model."""
    are_alike = (y.dtype.kind == "U") == (model.classes_.dtype.kind == "U")
    if not (are_alike and recipe.known_rows(model, y).any()):
        shown = ", ".join(map(str, model.classes_[: recipe.SHOWN_CLASSES]))
        raise ValueError(
            f"{name}: its labels, such as {y[0]}, are none of the model's classes ({shown} …): say "
            "with --label which column holds them, or take it out if it holds none"
        )


def _rows(arguments: argparse.Namespace, model: SoftmaxRegression) -> tuple[Any, Any]:
    """Features, and labels where there are some."""
    if arguments.data in datasets.NAMED:
        data = datasets.load(arguments.data, arguments.labels, arguments.label)
        _tell(f"{data.name}: its test rows")
        return data.X_test, data.y_test
    return datasets.load_features(
        arguments.data,
        n_features=model.n_features_in_,
        names=getattr(model, "feature_names_in_", None),
        label=arguments.label,
        labels=arguments.labels,
        tell=_tell,
    )


def _tell(sentence: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # what nobody hears costs no result
        print(sentence, file=sys.stderr, flush=True)
