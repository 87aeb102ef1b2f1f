"""run.json: what a command that fills a folder was asked to do, on which rows, by which versions.

`softstep report` reads it. Every run.json has "format", "command", "data" (its name), "source"
(what was given for it), "labels", "label", "seed", "backend", "settings", "versions", "results",
"notes" (sentences for the report) and "model"; the names of files are relative to the folder.
"""

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

from softstep import __version__
from softstep.model import datasets
from softstep.runs.folder import write_text

NAME = "run.json"
FORMAT = "softstep run 1"
FIELDS: dict[str, Any] = {  # what `read` requires of all commands, and below of some
    "data": str,
    "source": str,
    "labels": str | None,
    "seed": int,
    "settings": dict,
    "versions": dict,
    "notes": list,
    "model": str,
}
OF_COMMANDS: dict[str, dict[str, Any]] = {
    "sweep": {},
    "landscape": {"surface": str, "line": str, "rows": str},
}
LIBRARIES = ("numpy", "numba", "matplotlib", "plotly")


def record(
    command: str,
    data: str,
    *,
    source: str,
    labels: str | None,
    label: str | None,
    seed: int,
    backend: str,
) -> dict[str, Any]:
    """The fields that do not depend on the command.

    data: the name of the data set. source, labels, label, seed: what `load_rows` was given.
    """
    return {
        "format": FORMAT,
        "command": command,
        "data": data,
        "source": _absolute(source),
        "labels": None if labels is None else _absolute(labels),
        "label": label,
        "seed": seed,
        "backend": backend,
        "versions": versions(),
        "notes": [],
    }


def _absolute(given: str) -> str:
    """The full path of a file, so that the folder can be read from anywhere."""
    return given if given in datasets.NAMED else str(Path(given).resolve())


def versions() -> dict[str, str]:
    """Those of softstep, Python and the libraries that are installed."""
    found = {"softstep": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write(folder: Path, content: dict[str, Any]) -> None:
    write_text(folder / NAME, json.dumps(content, indent=2) + "\n")


def read(folder: Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        ValueError: there is no such file, its format is another one, or a field is missing.
    """
    path = folder / NAME
    if not path.is_file():
        raise ValueError(f"{folder} has no {NAME}: softstep sweep and softstep landscape write one")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # neither JSON nor, perhaps, text
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} was written in another format than {FORMAT!r}")
    command = content.get("command")
    if not isinstance(command, str) or command not in OF_COMMANDS:
        raise ValueError(f"{path} is damaged: its command is none of {', '.join(OF_COMMANDS)}")
    for name, kind in (FIELDS | OF_COMMANDS[command]).items():
        if not isinstance(content.get(name), kind):
            raise ValueError(f"{path} is damaged: its {name!r} is missing or of the wrong type")
    return content
