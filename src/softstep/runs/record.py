"""run.json: what a command that fills a folder was asked to do, on which rows, by which versions.

`softstep report` and `softstep describe` read it. Every run.json has "format", "command", "data"
(its name), "source" (what was given for it), "labels", "label", "seed", "settings", "versions",
"origin" (that of the model: backend, threads, seconds and so on), "results", "notes" (sentences for
the report) and "parts".

It is written last, and has the SHA-256 of each other file of the run in "parts": a folder in which
two runs are mixed, for the second did not come to its end, is refused.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from softstep.model import archive, checkpoint, datasets
from softstep.model.archive import DataError
from softstep.model.resume import origin
from softstep.runs.folder import is_model, write_text

NAME = "run.json"
FORMAT = "softstep run 2"
PARTS = {  # of a run, by its command, the model first
    "sweep": ("best.npz", "results.csv", "loss_curves.csv"),
    "landscape": ("model.npz", "surface.npz", "line.npz"),
}
FIELDS: dict[str, Any] = {  # what `read` requires of all commands, and below of some
    "data": str,
    "source": str,
    "labels": str | None,
    "label": str | None,
    "seed": int,
    "settings": dict,
    "versions": dict,
    "origin": dict,
    "notes": list,
    "parts": dict,
}
OF_COMMANDS: dict[str, dict[str, Any]] = {"sweep": {}, "landscape": {"rows": str}}
DRAWING = ("matplotlib", "plotly")  # whose versions are told beside those of an origin


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


def write(folder: Path, content: dict[str, Any]) -> None:
    """Write the record of a run whose other files are in the folder; numbers that are not finite,
    which JSON has no words for, become null."""
    digests = {name: _digest(folder / name) for name in PARTS[content["command"]]}
    whole = _for_json(content | {"parts": digests})
    write_text(folder / NAME, json.dumps(whole, indent=2, allow_nan=False) + "\n")


def refuse_what_is_no_run(folder: Path, names: Iterable[str]) -> None:
    """Raise ValueError if a run would take the place of files of these names that no run has left.

    One that was broken off has left a model, which comes first.
    """
    if any(is_model(folder / model) for model, *_ in PARTS.values()):
        return
    for path in (folder / name for name in names):
        if path.exists():
            raise ValueError(
                f"{path} exists, and no model of a run of softstep is beside it: write somewhere "
                "else"
            )


def _for_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _for_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_for_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(folder: Path) -> dict[str, Any]:
    """What `write` wrote.

    Raises:
        OSError: a file of the run cannot be read.
        DataError: there is no such file, its format is another one, a field is missing, or a file
            of the run is not the one that the run wrote.
    """
    path = folder / NAME
    if not path.exists():
        raise DataError(f"{folder} has no {NAME}: softstep sweep and softstep landscape write one")
    content = _content(path)
    for name in PARTS[content["command"]]:
        if _digest(folder / name) != content["parts"].get(name):
            raise DataError(
                f"{folder / name} is not the file that {NAME} tells of: it was changed, or is of "
                "another run, such as one that was broken off; run it again"
            )
    return content


def _digest(path: Path) -> str:
    with archive.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(path: Path) -> dict[str, Any]:
    """The fields, with the types that they must have."""
    with archive.opened(path) as file:
        text = file.read(checkpoint.LONGEST_JSON + 1)
    try:
        content = checkpoint.json_object(text.decode("utf-8"), f"{path} is damaged")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if content.get("format") != FORMAT:
        raise DataError(f"{path} was written in another format than {FORMAT!r}")
    command = content.get("command")
    if not isinstance(command, str) or command not in OF_COMMANDS:
        raise DataError(f"{path} is damaged: its command is none of {', '.join(OF_COMMANDS)}")
    for name, kind in (FIELDS | OF_COMMANDS[command]).items():
        if not isinstance(content.get(name), kind):
            raise DataError(f"{path} is damaged: its {name!r} is missing or of the wrong type")
    return content
