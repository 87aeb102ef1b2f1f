"""A figure of a report: what it is called, what to see in it, how it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softstep.model import checkpoint
from softstep.model.plots import style


@dataclass(frozen=True)
class Picture:
    """`draw` makes the figure in a theme; without it, `caption` says why there is none."""

    name: str
    title: str
    caption: str
    draw: Callable[[str], Any] | None = None

    def drawn(self) -> tuple[dict[str, bytes], str]:
        """The PNG files, NAME.png, light, and NAME-dark.png, and the caption; no files, and the
        reason, where there is nothing to be drawn, such as contours of a loss that is flat."""
        if self.draw is None:
            return {}, self.caption
        names = dict(zip(style.THEMES, file_names(self.name), strict=True))
        try:
            files = {name: style.png(self.draw(theme)) for theme, name in names.items()}
        except style.NothingToDrawError as error:
            return {}, f"Not drawn: {error}."
        return files, self.caption


def file_names(figure: str) -> tuple[str, str]:
    """Of its PNG files, light and dark."""
    return f"{figure}.png", f"{figure}-dark.png"


def write(files: dict[str, bytes], folder: Path) -> int:
    """Write these files; how many there are."""
    for name, png in files.items():
        with checkpoint.whole(folder / name) as file:
            file.write(png)
    return len(files)
