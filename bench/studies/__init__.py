"""Measurements of one question each: `python -m softstep.bench.studies.<name>`."""

import argparse


def parser(name: str, about: str | None) -> argparse.ArgumentParser:
    """The parser of the study `name`; its help begins with the study's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m softstep.bench.studies.{name}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
