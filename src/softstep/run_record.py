"""run.json: what a command that fills a folder was asked, on what, with which versions.

`softstep report` reads it. All have "format", "command", "data" (its name), "source" (what was
given for it), "labels", "seed", "backend", "settings", "versions", "results" and "model"; the names
of files are relative to the folder.
"""

import argparse
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

from softstep import __version__, run_folder
from softstep.model import datasets

NAME = "run.json"
FORMAT = "softstep run 1"
FIELDS: dict[str, Any] = {  # what `read` wants of all, and of some commands
    "data": str,
    "source": str,
    "labels": str | None,
    "seed": int,
    "settings": dict,
    "versions": dict,
    "model": str,
}
OF_COMMANDS: dict[str, dict[str, Any]] = {
    "sweep": {},
    "landscape": {"surface": str, "line": str, "rows": str},
}
LIBRARIES = ("numpy", "numba", "matplotlib", "plotly")


def record(command: str, arguments: argparse.Namespace, data: str, backend: str) -> dict[str, Any]:
    """What is the same for every command; `arguments` has data, labels and seed."""
    return {
        "format": FORMAT,
        "command": command,
        "data": data,
        "source": _source(arguments.data),
        "labels": None if arguments.labels is None else _source(arguments.labels),
        "seed": arguments.seed,
        "backend": backend,
        "versions": versions(),
    }


def _source(given: str) -> str:
    """A file by its whole path, so that the folder can be read from anywhere."""
    return given if given in datasets.NAMED else str(Path(given).resolve())


def versions() -> dict[str, str]:
    """Of softstep, Python and the libraries that are here."""
    found = {"softstep": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write(folder: Path, content: dict[str, Any]) -> None:
    run_folder.write(folder / NAME, json.dumps(content, indent=2) + "\n")


def read(folder: Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        ValueError: there is no such file, it is of another format, or something is missing in it.
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
            raise ValueError(f"{path} is damaged: its {name!r} is missing, or of a wrong kind")
    return content
