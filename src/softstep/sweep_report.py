"""The report of a sweep: one HTML file with its pictures in it, and nothing from elsewhere."""

from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np

from softstep import html_page
from softstep.model.plots.confusion import SHOWN, most_mistaken
from softstep.model.plots.confusion import counts as matrix
from softstep.model.plots.sweep import by_loss, column

KINDS = {"cross_entropy": "below", "mse": "above"}  # of `html_page.STYLE`
WIDTH, HEIGHT, MARGIN = 620, 340, 56


def page(name: str, sweep: Any, times: str, y_true: Any, y_predicted: Any) -> str:
    """The page of a fitted SoftmaxSweep with one label set.

    y_true, y_predicted: labels of the test rows and the best model's answers, (n,).
    """
    right = float(np.mean(y_true == y_predicted))
    parts = [
        f"<p>{escape(times)}.</p>",
        f"<p>Best: {_settings(sweep.best_params_)}; test accuracy {right:.4f}.</p>",
        html_page.section("Held-out accuracy against learning rate", _accuracy_chart(sweep)),
        html_page.section("Training loss of every setting", _loss_chart(sweep)),
        html_page.section(
            "Confusion matrix of the best, on the test rows",
            _confusion(sweep.classes_, y_true, y_predicted),
        ),
        html_page.section("All settings", settings(sweep.results_)),
    ]
    return html_page.page(f"Sweep of {name}", parts)


def _settings(params: dict[str, Any]) -> str:
    return escape(", ".join(f"{name} {_cell(value)}" for name, value in params.items()))


def _accuracy_chart(sweep: Any) -> str:
    rates = np.log10(column(sweep.results_, "learning_rate").astype(float))
    accuracy = sweep.results_["mean_val_accuracy"]
    shown = np.isfinite(accuracy)
    axes = Axes(rates[shown], accuracy[shown])
    marks = []
    for loss, chosen in by_loss(sweep.results_).items():
        for i in chosen[shown[chosen]]:
            x, y = axes.at(rates[i], accuracy[i])
            title = f"{_settings(sweep.results_['params'][i])}: {accuracy[i]:.4f}"
            marks.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="{KINDS[loss]}" fill-opacity=".7">'
                f"<title>{title}</title></circle>"
            )
    note = f"<p>{(~shown).sum()} diverged and are not shown.</p>" if not shown.all() else ""
    frame = axes.frame("learning rate", "accuracy", lambda v: f"{10**v:.2g}", lambda v: f"{v:.3f}")
    return _svg([*frame, *marks, *_legend(by_loss(sweep.results_))]) + note


def _loss_chart(sweep: Any) -> str:
    with np.errstate(divide="ignore", invalid="ignore"):
        curves = np.log10(sweep.loss_curves_)
    curves = np.where(np.isfinite(curves), curves, np.nan)
    epochs = np.arange(1, len(curves) + 1)
    axes = Axes(epochs, curves[np.isfinite(curves)])
    lines = []
    for loss, chosen in by_loss(sweep.results_).items():
        for i in chosen:
            seen = np.isfinite(curves[:, i])
            points = [axes.at(*p) for p in zip(epochs[seen], curves[seen, i], strict=True)]
            if not points:
                continue
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            # a single point is a line of no length, which a round cap makes a dot
            path = path if len(points) > 1 else f"{path} {path}"
            lines.append(
                f'<polyline points="{path}" class="{KINDS[loss]}" stroke-width="2" '
                f'stroke-opacity=".45" stroke-linecap="round">'
                f"<title>{_settings(sweep.results_['params'][i])}</title></polyline>"
            )
    frame = axes.frame(
        "epoch", "loss", lambda v: f"{v:.0f}" if v % 1 == 0 else "", lambda v: f"{10**v:.2g}"
    )
    return _svg([*frame, *lines, *_legend(by_loss(sweep.results_))])


class Axes:
    """Places data in a picture."""

    def __init__(self, x: Any, y: Any) -> None:
        self.low = np.array([np.min(x), np.min(y)], dtype=float)
        span = np.array([np.max(x), np.max(y)]) - self.low
        self.span = np.where(span > 0, span, 1.0)

    def at(self, x: float, y: float) -> tuple[float, float]:
        u, v = (np.array([x, y]) - self.low) / self.span
        return MARGIN + u * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - v * (HEIGHT - 2 * MARGIN)

    def frame(self, x_name: str, y_name: str, x_text: Any, y_text: Any) -> list[str]:
        """Grid, ticks and names; x_text, y_text write a value at a tick."""
        parts = []
        for f in np.linspace(0, 1, 5):
            x, y = self.low + f * self.span
            px, py = self.at(x, y)
            parts += [
                f'<path d="M{px:.1f} {MARGIN}V{HEIGHT - MARGIN}M{MARGIN} {py:.1f}'
                f'H{WIDTH - MARGIN}" class="grid"/>',
                f'<text x="{px:.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">'
                f"{x_text(x)}</text>",
                f'<text x="{MARGIN - 6}" y="{py + 4:.1f}" text-anchor="end">{y_text(y)}</text>',
            ]
        parts += [
            f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">{x_name}</text>',
            f'<text x="{MARGIN}" y="{MARGIN - 14}" text-anchor="end">{y_name}</text>',
        ]
        return parts


def _legend(losses: Iterable[str]) -> list[str]:
    return [
        f'<circle cx="{WIDTH - 170 + 70 * k}" cy="18" r="4" class="{KINDS[loss]}"/>'
        f'<text x="{WIDTH - 160 + 70 * k}" y="22">{loss}</text>'
        for k, loss in enumerate(sorted(losses, reverse=True))
    ]


def _svg(parts: list[str]) -> str:
    body = "\n".join(parts)
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
    return f'<svg class="chart" {size} role="img">\n{body}\n</svg>'


def _confusion(classes: Any, y_true: Any, y_predicted: Any) -> str:
    """Rows are the true class, columns the answer; of many classes only those most mistaken."""
    counts, shown = matrix(y_true, y_predicted, classes), np.arange(len(classes))
    note = ""
    if len(classes) > SHOWN:
        shown = most_mistaken(counts)
        note = f"<p>The {len(shown)} classes of {len(classes)} with the most mistakes.</p>"
    lost = len(y_true) - counts.sum()
    if lost:
        note += f"<p>{lost} test rows have a class that no training row has.</p>"
    names = [escape(str(classes[i])) for i in shown]
    largest = counts.sum(axis=1).max()
    rows = ["<tr><th></th>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"]
    for name, i in zip(names, shown, strict=True):
        cells = []
        for j in shown:
            colour = "good" if i == j else "bad"
            shade = 0.5 * (counts[i, j] / largest) ** 0.5
            style = f"background: rgba(var(--{colour}), {shade:.2f})"
            cells.append(f'<td style="{style}">{counts[i, j]}</td>')
        rows.append(f"<tr><th>{name}</th>{''.join(cells)}</tr>")
    return f"<table>{''.join(rows)}</table><p>Rows: the true class; columns: the answer.</p>{note}"


def settings(results: dict[str, Any]) -> str:
    """A table of all settings, the best first; `results` as `SoftmaxSweep.results_`."""
    names = [name for name in results if name != "params"]
    order = np.argsort(results["rank"], kind="stable")
    return html_page.table(
        [escape(name) for name in names],
        ([_cell(results[name][i]) for name in names] for i in order),
    )


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.4g}"
    return str(value)
