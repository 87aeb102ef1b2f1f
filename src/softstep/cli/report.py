"""`softstep report`: a page with figures of a model, a sweep, a landscape, or the recipe."""

import argparse
import contextlib
from pathlib import Path
from typing import Any

from softstep.cli import common
from softstep.model import datasets, extras
from softstep.report import page, subject
from softstep.runs import folder


def add_parser(commands: Any) -> None:
    parser = common.add_command(
        commands, "report", "write one HTML file with figures of a model, a run or the recipe"
    )
    parser.add_argument(
        "path",
        metavar="MODEL|RUN_DIR|DATA",
        help="a file written by softstep train, a folder written by softstep sweep or landscape, "
        f"or a data set ({', '.join(datasets.NAMED)}), on which the recipe is trained",
    )
    parser.add_argument("--data", help="the rows to show a model on, as for train (digits)")
    common.add_labels(parser)
    parser.add_argument(
        "--seed", type=int, help="seed of the rows held out, as for train, or of the recipe (0)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="the page (RUN_DIR/report.html, MODEL-report.html, runs/DATA-recipe-report.html)",
    )
    common.add_figures(parser, "also write each figure there as PNG files")
    parser.set_defaults(run=run, backend=None)


@common.to_the_end
def run(arguments: argparse.Namespace) -> int:
    for module, extra in (("matplotlib", "plot"), ("plotly", "report")):
        extras.load(module, extra=extra)  # before the work, not after
    given, is_name = arguments.path, arguments.path in datasets.NAMED
    if not (is_name or Path(given).exists()):
        names = ", ".join(datasets.NAMED)
        raise FileNotFoundError(f"{given}: no such model, folder or data set ({names})")
    out = arguments.out or _page_of(given)
    figures: Path | None = arguments.figures
    with (
        folder.ready_for(out),
        contextlib.nullcontext() if figures is None else folder.ready(figures),
    ):
        about = subject.read(
            given, arguments.data, arguments.labels, arguments.label, arguments.seed
        )
        text = page.page(about, figures, tell=lambda what: print(f"drawing: {what}", flush=True))
        folder.write_text(out, text)
    if figures is not None:
        print(f"each figure saved to {figures}")
    print(f"saved to {out}")
    return 0


def _page_of(given: str) -> Path:
    """Where the page goes by default."""
    if given in datasets.NAMED:
        return Path("runs") / f"{given}-recipe-report.html"
    path = Path(given)
    return path / "report.html" if path.is_dir() else path.with_name(f"{path.stem}-report.html")
