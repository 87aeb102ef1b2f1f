"""The progress of a command: one line that is rewritten on a terminal, ten lines elsewhere."""

import sys
from typing import Self


class Progress:
    LINES, BAR = 10, 20

    def __init__(self) -> None:
        self.shown: int = 0
        self.told: bool = False
        self.width: int = 0  # of the line that is on the terminal
        self.on_terminal: bool = sys.stderr.isatty()

    def tell(self, text: str, done: int, of: int) -> None:
        """Show `text` after `done` of `of` parts of the work."""
        self.told = True
        tenth = self.LINES * done // of
        if self.on_terminal:
            bar = ("#" * (self.BAR * done // of)).ljust(self.BAR, ".")
            line = f"[{bar}] {text}"
            print("\r" + line.ljust(self.width), end="", file=sys.stderr, flush=True)
            self.width = len(line)
        elif tenth > self.shown:
            print(text, flush=True)
        self.shown = tenth

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End the line, so that what follows, even an error, starts a new one."""
        if self.on_terminal and self.told:
            print(file=sys.stderr)
