"""A figure of a report: its title, a caption that says what to see, and how it is drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softstep.model import writing
from softstep.model.plots import style


@dataclass(frozen=True)
class Picture:
    """`draw` makes the figure in a theme; if it is None, `caption` says why there is none."""

    name: str
    title: str
    caption: str
    draw: Callable[[str], Any] | None = None

    def drawn(self) -> tuple[dict[str, bytes], str]:
        """The PNG files, NAME.png (light) and NAME-dark.png, and the caption.

        No files, and the reason, if there is nothing to draw, such as contours of a flat loss.
        """
        if self.draw is None:
            return {}, self.caption
        names = dict(zip(style.THEMES, file_names(self.name), strict=True))
        try:
            files = {name: style.png(self.draw(theme)) for theme, name in names.items()}
        except style.NothingToDrawError as error:
            return {}, f"Not drawn: {error}."
        return files, self.caption


def file_names(figure: str) -> tuple[str, str]:
    """The names of its PNG files, light and dark."""
    return f"{figure}.png", f"{figure}-dark.png"


def write_images(files: dict[str, bytes], folder: Path) -> int:
    """Write these PNG files; returns how many there are."""
    for name, png in files.items():
        with writing.atomic_write(folder / name) as file:
            file.write(png)
    return len(files)
