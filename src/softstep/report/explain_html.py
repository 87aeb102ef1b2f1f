"""The steps of `softstep explain` as a page."""

import re
from html import escape
from typing import Any

import numpy as np

from softstep.model.explain import Explanation
from softstep.report import html_page
from softstep.report.explain_steps import Step, steps

CELL = 14  # pixels of the page for one of the image, at most
SMALL = 110  # pixels: the width of a small picture


def page(title: str, e: Explanation, classes: Any, shape: tuple[int, int] | None) -> str:
    """All steps; a row that is an image of `shape`, and its weight gradient, are shown as such."""
    told = steps(e, classes, unit="pixels" if shape else "features")
    parts = []
    if shape is not None:
        parts.append(_picture(e.x.reshape(shape), CELL * shape[1], "the pixels x"))
    for step in told:
        parts.append(_section(step, _gradients(e, classes, shape) if _is_of_w(step) else ""))
    return html_page.page(title, parts)


def _is_of_w(step: Step) -> bool:
    return step.op == "linear_backward"


def _section(step: Step, more: str) -> str:
    op = f' <span class="note">softstep.kernels.{step.op}</span>' if step.op else ""
    classes = ["right" if k == step.marked else "" for k in range(len(step.rows))]
    return html_page.section(
        step.title,
        f'<p class="formula">{_formula(step.formula)}{op}</p>',
        html_page.table([*map(_formula, step.head), *map(escape, step.names)], step.rows, classes),
        f"<p>{_formula(step.remark)} {escape(step.note)}</p>" if step.remark else "",
        more,
    )


def _formula(text: str) -> str:
    """HTML with subscripts and superscripts for v_i and e^(v_i), symbols of one or two letters."""
    html = re.sub(r"\b(\w{1,2})_([a-z0-9]+)", r"\1<sub>\2</sub>", escape(text))
    return re.sub(r"\^\(([^)]*)\)", r"<sup>\1</sup>", html)


def _gradients(e: Explanation, classes: Any, shape: tuple[int, int] | None) -> str:
    """The part of each class in dW, as pictures."""
    if shape is None:
        return ""
    most = float(np.abs(e.dW).max()) or 1.0
    pictures = [
        _picture(column.reshape(shape) / most, SMALL, f"class {name}")
        for column, name in zip(e.dW.T, classes, strict=True)
    ]
    note = (
        "dW of each class: positive in blue, negative in orange. A gradient step subtracts a "
        "multiple of it from the weights."
    )
    return f'<div class="pictures">{"".join(pictures)}</div><p class="note">{note}</p>'


def _picture(pixels: Any, width: int, name: str) -> str:
    """An SVG with a square for each pixel that is not 0: blue if positive, orange if negative."""
    rows, columns = pixels.shape
    top = float(np.abs(pixels).max()) if pixels.max() > 1 else 1.0
    squares = "".join(
        f'<rect class="{"above" if value > 0 else "below"}" x="{j}" y="{i}" width="1.02" '
        f'height="1.02" fill-opacity="{abs(value) / top:.3f}"/>'
        for (i, j), value in np.ndenumerate(pixels)
        if value
    )
    return (
        f'<figure class="picture"><svg viewBox="0 0 {columns} {rows}" width="{width}" role="img" '
        f'aria-label="{escape(name)}">{squares}</svg>'
        f"<figcaption>{escape(name)}</figcaption></figure>"
    )
