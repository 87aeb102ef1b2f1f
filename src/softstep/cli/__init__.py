"""The command line: a file for each command, with its parser and what it prints."""

from softstep.cli.main import main

__all__ = ["main"]
