"""Measurements of one question each: `python -m softstep.bench.studies.<name>`."""

import argparse
import subprocess
import sys


def parser(name: str, about: str | None) -> argparse.ArgumentParser:
    """The parser of the study `name`; its help begins with the study's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m softstep.bench.studies.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def run_apart(name: str, *arguments: str) -> int:
    """The exit code of the study `name` in a process of its own, whose table is not shown."""
    command = [sys.executable, "-m", f"{__name__}.{name}", *arguments]
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
