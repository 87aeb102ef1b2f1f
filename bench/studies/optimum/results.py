"""What has been measured so far: a file that is written after each part, and its table."""

import json
from pathlib import Path
from typing import Any

from softstep.bench.machine import machine

HEADINGS = (
    "work",
    "who",
    "seconds",
    "times ours",
    "goal",
    "above our objectives at most",
    "accuracies apart at most",
)
# How many times as long as ours they are to take at least, and as aimed at.
GOALS = {
    ("digits", "scikit-learn"): (1.0, 3.0),
    ("mnist", "scikit-learn"): (6.0, 15.0),
    ("folds", "scikit-learn"): (8.0, 20.0),
    ("embeddings", "scikit-learn"): (4.0, 10.0),
    ("embeddings", "torch"): (2.0, 4.0),
}


class Kept:
    """By the word of the work, then by who did it, a dict of figures."""

    def __init__(self, path: Path | None):
        self.path = path
        self.parts: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            self.parts = json.loads(path.read_text(encoding="utf-8"))["parts"]

    def put(self, key: str, who: str, **figures: Any) -> None:
        """Keep these figures, in the file too."""
        self.parts.setdefault(key, {})[who] = figures
        if self.path is not None:
            text = json.dumps({"machine": machine(), "parts": self.parts}, indent=1)
            self.path.write_text(f"{text}\n", encoding="utf-8")


class Results(Kept):
    """Those of optima."""

    def table(self) -> str:
        """Markdown: a line for each part."""
        lines = [
            _line(work, who, figures, parts["softstep"]["seconds"])
            for work, parts in self.parts.items()
            for who, figures in parts.items()
        ]
        return markdown(HEADINGS, lines)


def markdown(headings: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """A table."""
    whole = [headings, ("---",) * len(headings), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in whole)


def _line(work: str, who: str, figures: dict[str, Any], ours: float) -> tuple[str, ...]:
    ratio = "" if who == "softstep" else f"{figures['seconds'] / ours:.1f}"
    if "broken off" in (figures.get("note") or ""):
        ratio = f"more than {ratio}"
    goal = GOALS.get((work, who))
    above = f"{figures['above']:.1e}" if "above" in figures else ""
    apart = f"{figures['apart']:.1e} at C = {figures['at']:.2g}" if "apart" in figures else ""
    return (
        figures["work"],
        who + (f" ({figures['note']})" if figures.get("note") else ""),
        f"{figures['seconds']:.4g}",
        ratio,
        "" if goal is None else f"{goal[0]:g}, aim {goal[1]:g}",
        above,
        apart,
    )
