"""`softstep report`: a page with pictures of a model, a sweep, a landscape, or the recipe."""

import argparse
from pathlib import Path
from typing import Any

from softstep import report, report_subject
from softstep.model import datasets, extras
from softstep.recipe import ready


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "report", help="one HTML file with pictures of a model, a run or the recipe"
    )
    parser.add_argument(
        "path",
        type=Path,
        metavar="MODEL|RUN_DIR|DATA",
        help="a file written by softstep train, a folder by softstep sweep or landscape, or "
        "digits, mnist or fashion-mnist, on which the recipe is trained",
    )
    parser.add_argument("--data", help="the rows to show a model on, as for train (digits)")
    parser.add_argument("--labels", help="the labels' file, for .npy and IDX features")
    parser.add_argument("--seed", type=int, default=0, help="of rows held out, as for train")
    parser.add_argument(
        "--out",
        type=Path,
        help="the page (RUN_DIR/report.html, MODEL-report.html, runs/DATA-report.html)",
    )
    parser.add_argument(
        "--figures", type=Path, metavar="DIR", help="write each figure there as a PNG file too"
    )
    parser.set_defaults(run=run, backend=None)


def run(arguments: argparse.Namespace) -> int:
    for module, extra in (("matplotlib", "plot"), ("plotly", "report")):
        extras.load(module, extra=extra)  # before the work, not after
    path: Path = arguments.path
    if not (path.exists() or str(path) in datasets.NAMED):
        raise FileNotFoundError(
            f"{path}: no such model, folder or data set ({', '.join(datasets.NAMED)})"
        )
    out = arguments.out or _beside(path)
    ready(out)
    subject = report_subject.read(path, arguments.data, arguments.labels, arguments.seed)
    if arguments.figures is not None:
        arguments.figures.mkdir(parents=True, exist_ok=True)
    page = report.page(subject, arguments.figures, tell=lambda what: print(what, flush=True))
    out.write_text(page, encoding="utf-8")
    print(f"saved to {out}")
    return 0


def _beside(path: Path) -> Path:
    """Where the page goes if nobody says."""
    if path.is_dir():
        return path / "report.html"
    folder = path.parent if path.exists() else Path("runs")
    return folder / f"{path.stem}-report.html"
