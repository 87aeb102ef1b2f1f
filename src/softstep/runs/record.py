"""run.json: what a command that fills a folder was asked to do, on which rows, by which versions.

`softstep report` and `softstep describe` read it. Every run.json has "format", "command", "data"
(its name), "source" (what was given for it), "labels", "label", "seed", "settings", "versions",
"origin" (that of the model: backend, threads, seconds and so on), "results", "notes" (sentences for
the report), "model" and "parts"; the names of files are relative to the folder.

It is written last, and has the SHA-256 of each other file of the run in "parts": a folder in which
two runs are mixed, for the second did not come to its end, is refused.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from softstep.model import archive, checkpoint, datasets
from softstep.model.resume import origin
from softstep.runs.folder import write_text

NAME = "run.json"
FORMAT = "softstep run 2"
FIELDS: dict[str, Any] = {  # what `read` requires of all commands, and below of some
    "data": str,
    "source": str,
    "labels": str | None,
    "seed": int,
    "settings": dict,
    "versions": dict,
    "origin": dict,
    "notes": list,
    "model": str,
    "parts": dict,
}
OF_COMMANDS: dict[str, dict[str, Any]] = {
    "sweep": {"results_table": str, "loss_curves": str},
    "landscape": {"surface": str, "line": str, "rows": str},
}
FILES = ("model", "results_table", "loss_curves", "surface", "line")  # fields that name a part
DRAWING = ("matplotlib", "plotly")  # whose versions are told beside those of an origin
LONGEST = 1 << 24  # bytes


def record(
    command: str,
    data: str,
    *,
    source: str,
    labels: str | None,
    label: str | None,
    seed: int,
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
        "versions": origin.versions(DRAWING),
        "notes": [],
    }


def _absolute(given: str) -> str:
    """The full path of a file, so that the folder can be read from anywhere."""
    return given if given in datasets.NAMED else str(Path(given).resolve())


def write(folder: Path, content: dict[str, Any], parts: Iterable[str]) -> None:
    """Write the record of a run whose other files, `parts`, are in the folder."""
    digests = {name: _digest(folder / name) for name in parts}
    write_text(folder / NAME, json.dumps(content | {"parts": digests}, indent=2) + "\n")


def read(folder: Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        OSError: a file of the run cannot be read.
        ValueError: there is no such file, its format is another one, a field is missing, or a file
            of the run is not the one that the run wrote.
    """
    path = folder / NAME
    if not path.exists():
        raise ValueError(f"{folder} has no {NAME}: softstep sweep and softstep landscape write one")
    content = _content(path)
    for name in {content[field] for field in FILES if field in content}:
        if _digest(folder / name) != content["parts"].get(name):
            raise ValueError(
                f"{folder / name} is not the file that {NAME} tells of: it was changed, or is of "
                "another run, such as one that was broken off; run it again"
            )
    return content


def _digest(path: Path) -> str:
    with archive.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(path: Path) -> dict[str, Any]:
    """The fields, with the types that they must have."""
    try:
        with archive.opened(path) as file:
            text = file.read(LONGEST + 1)
        if len(text) > LONGEST:
            raise ValueError(f"it has more than {LONGEST} bytes")
        content = json.loads(text.decode("utf-8"))
        if checkpoint.is_deeper(content, checkpoint.DEEPEST):
            raise ValueError("it is nested too deep")
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
