"""The table of protocols."""

from collections.abc import Callable
from typing import Any, Protocol

from softstep.bench.studies.optimum.results import Kept, markdown

OURS = "softstep"
HEADINGS = ("protocol", "who", "seconds", "times ours", "aim", "result")
MODULES, STACKED = "torch, 52 modules", "torch, banks by hand"
# How many times as long as ours they are to take: at least, and at best.
AIMS = {
    ("dinov2_linear", MODULES): (3.0, 6.0),
    ("dinov2_linear", STACKED): (1.2, 1.5),
}


class Put(Protocol):
    """Keeps what `who` took, and in a few words what came of it. work: in words, with ours."""

    def __call__(self, who: str, seconds: float, result: str, *, work: str = ...) -> None: ...


class Results(Kept):
    """By the word of the protocol, then by who did it."""

    def take(
        self,
        key: str,
        tell: Callable[[str], Any],
        who: str,
        seconds: float,
        result: str,
        *,
        work: str = "",
    ) -> None:
        """Keep it, and tell of it."""
        self.put(key, who, seconds=seconds, result=result, work=work)
        tell(f"{who}: {seconds:.1f} s, {result}")

    def table(self) -> str:
        """Markdown: a line for each competitor."""
        lines = [
            _line(key, who, figures, parts[OURS]["seconds"])
            for key, parts in self.parts.items()
            for who, figures in parts.items()
        ]
        return markdown(HEADINGS, lines)


def _line(key: str, who: str, figures: dict[str, Any], ours: float) -> tuple[str, ...]:
    aim = AIMS.get((key, who))
    return (
        f"{key}: {figures['work']}" if who == OURS else "",
        who,
        f"{figures['seconds']:.4g}",
        "" if who == OURS else f"{figures['seconds'] / ours:.1f}",
        "" if aim is None else f"{aim[0]:g} to {aim[1]:g}",
        figures["result"],
    )
