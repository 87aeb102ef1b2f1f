"""The steps of `softstep explain` as text for the terminal."""

from typing import Any

import numpy as np

from softstep.model.explain import Explanation
from softstep.report.explain_steps import Step, steps

SHADES = " ░▒▓█"


def text(title: str, e: Explanation, classes: Any, shape: tuple[int, int] | None) -> str:
    """All steps as lines of text; `shape`: of the row's image, None if it is not one."""
    parts = [title]
    if shape is not None:
        parts.append(_image(e.x.reshape(shape)))
    return "\n\n".join(
        [*parts, *map(_step, steps(e, classes, unit="pixels" if shape else "features"))]
    )


def _image(pixels: Any) -> str:
    top = max(float(pixels.max()), 1e-300)
    levels = np.rint(np.clip(pixels / top, 0, 1) * (len(SHADES) - 1)).astype(int)
    edge = "─" * (2 * pixels.shape[1])
    lines = ["│" + "".join(2 * SHADES[level] for level in row) + "│" for row in levels]
    return "\n".join([f"┌{edge}┐", *lines, f"└{edge}┘"])


def _step(step: Step) -> str:
    op, head = f"    [{step.op}]" if step.op else "", (*step.head, *step.names)
    widths = [max(len(row[k]) for row in (head, *step.rows)) for k in range(len(head))]
    lines = [step.title, f"    {step.formula}{op}", _line(head, widths)]
    for k, row in enumerate(step.rows):
        lines.append(_line(row, widths) + ("  ◂" if k == step.marked else ""))
    said = " ".join(filter(None, (step.remark, step.note)))
    return "\n".join([*lines, *([said] if said else [])])


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
