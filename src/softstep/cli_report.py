"""`softstep report`: a page with pictures of a model, or of what a sweep or a landscape found."""

import argparse
from pathlib import Path
from typing import Any

from softstep import report, report_subject
from softstep.model import extras
from softstep.recipe import ready


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("report", help="one HTML file with pictures of a model or a run")
    parser.add_argument(
        "path",
        type=Path,
        metavar="MODEL|RUN_DIR",
        help="a file written by softstep train, or a folder by softstep sweep or landscape",
    )
    parser.add_argument("--data", help="what the model learned from, as for train (digits)")
    parser.add_argument("--labels", help="the labels' file, for .npy and IDX features")
    parser.add_argument("--seed", type=int, default=0, help="of rows held out, as for train")
    parser.add_argument(
        "--out", type=Path, help="the page (RUN_DIR/report.html, or MODEL-report.html)"
    )
    parser.add_argument(
        "--figures", type=Path, metavar="DIR", help="write each figure there as a PNG file too"
    )
    parser.set_defaults(run=run, backend=None)


def run(arguments: argparse.Namespace) -> int:
    for module, extra in (("matplotlib", "plot"), ("plotly", "report")):
        extras.load(module, extra=extra)  # before the work, not after
    path: Path = arguments.path
    subject = report_subject.read(path, arguments.data, arguments.labels, arguments.seed)
    out = arguments.out or _beside(path)
    ready(out)
    if arguments.figures is not None:
        arguments.figures.mkdir(parents=True, exist_ok=True)
    page = report.page(subject, arguments.figures, tell=lambda what: print(what, flush=True))
    out.write_text(page, encoding="utf-8")
    print(f"saved to {out}")
    return 0


def _beside(path: Path) -> Path:
    """Where the page goes if nobody says."""
    return path / "report.html" if path.is_dir() else path.with_name(f"{path.stem}-report.html")
