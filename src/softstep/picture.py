"""A figure of a report: what it is called, what to see in it, how it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softstep.model.plots import style


@dataclass(frozen=True)
class Picture:
    """`draw` makes the figure in a theme; without it, `caption` says why there is none."""

    name: str
    title: str
    caption: str
    draw: Callable[[str], Any] | None = None

    def files(self) -> dict[str, bytes]:
        """The PNG file of each theme: NAME.png, light, and NAME-dark.png; none without `draw`."""
        names = dict(zip(style.THEMES, file_names(self.name), strict=True))
        return {name: style.png(self.draw(theme)) for theme, name in names.items() if self.draw}


def file_names(figure: str) -> tuple[str, str]:
    """Of its PNG files, light and dark."""
    return f"{figure}.png", f"{figure}-dark.png"


def write(files: dict[str, bytes], folder: Path) -> int:
    """Write what `Picture.files` gives; how many there are."""
    for name, png in files.items():
        (folder / name).write_bytes(png)
    return len(files)
