"""The report of a sweep: one HTML file with its pictures in it, and nothing from elsewhere."""

from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np

from softstep import html_page
from softstep.model.plots.confusion import SHOWN, most_mistaken
from softstep.model.plots.confusion import counts as matrix
from softstep.model.plots.sweep import by_loss, column

KINDS = {"cross_entropy": "above", "mse": "below"}  # of `html_page.STYLE`
WIDTH, HEIGHT, MARGIN = 620, 340, 56
Ticks = list[tuple[float, str]]  # where, in data, and what is written there


def page(name: str, sweep: Any, judged: str, times: str, y_true: Any, y_predicted: Any) -> str:
    """The page of a fitted SoftmaxSweep with one label set.

    judged, times: sentences on the rows that judge, and on the time taken.
    y_true, y_predicted: labels of the test rows and the best model's answers, (n,).
    """
    right = float(np.mean(y_true == y_predicted))
    parts = [
        f"<p>{escape(_shared(sweep))}; {escape(judged)}.</p>",
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


def _shared(sweep: Any) -> str:
    """What all settings have in common."""
    halving = ", the worse half dropped again and again" if sweep.halving else ""
    return (
        f"{sweep.epochs} epochs of batches of {sweep.batch_size}, {sweep.schedule} learning rate, "
        f"seed {sweep.seed_}, best by {sweep.refit}{halving}"
    )


def _settings(params: dict[str, Any]) -> str:
    return escape(", ".join(f"{name} {_cell(value)}" for name, value in params.items()))


def _accuracy_chart(sweep: Any) -> str:
    rates = np.log10(column(sweep.results_, "learning_rate").astype(float))
    accuracy = sweep.results_["mean_val_accuracy"]
    shown = np.isfinite(accuracy)
    axes = Axes(rates[shown], accuracy[shown], least=(1.0, 0.02))
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
    x_ticks, y_ticks = decade_ticks(*axes.x_ends), even_ticks(*axes.y_ends)
    frame = axes.frame("learning rate", "accuracy", x_ticks, y_ticks)
    return _svg([*frame, *marks, *_legend(by_loss(sweep.results_))]) + note


def _loss_chart(sweep: Any) -> str:
    with np.errstate(divide="ignore", invalid="ignore"):
        curves = np.log10(sweep.loss_curves_)
    curves = np.where(np.isfinite(curves), curves, np.nan)
    epochs = np.arange(1, len(curves) + 1)
    axes = Axes(epochs, curves[np.isfinite(curves)], least=(1.0, 0.2))
    width = 2 if len(curves) > 1 else 6  # a single epoch is a dot
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
                f'<polyline points="{path}" class="{KINDS[loss]}" stroke-width="{width}" '
                f'stroke-opacity=".45" stroke-linecap="round">'
                f"<title>{_settings(sweep.results_['params'][i])}</title></polyline>"
            )
    x_ticks, y_ticks = even_ticks(*axes.x_ends, least_step=1), decade_ticks(*axes.y_ends)
    frame = axes.frame("epoch", "loss", x_ticks, y_ticks)
    return _svg([*frame, *lines, *_legend(by_loss(sweep.results_))])


def even_ticks(low: float, high: float, least_step: float = 0.0) -> Ticks:
    """At most seven multiples of 1, 2 or 5 times a power of ten."""
    steps = (digit * 10.0**power for power in range(-12, 13) for digit in (1, 2, 5))
    step = next(s for s in steps if s >= least_step and (high - low) / s <= 6)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [(i * step, f"{i * step:.6g}") for i in np.arange(first, last + 1)]


def decade_ticks(low: float, high: float) -> Ticks:
    """Powers of ten, of a narrow span 2 and 5 times them too; low, high and places are log10."""
    decades = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    digits = (1,) if high - low > 2 else (1, 2, 5)
    every = max(1, len(decades) // 6)
    ticks = [(k + np.log10(m), m * 10.0**k) for k in decades[::every] for m in digits]
    inside = [(at, f"{value:.3g}") for at, value in ticks if low - 1e-9 <= at <= high + 1e-9]
    return inside or [(at, f"{10**at:.3g}") for at in (low, high)]


class Axes:
    """Places data in a picture that spans at least `least` in x and y, the data in its middle."""

    def __init__(self, x: Any, y: Any, *, least: tuple[float, float]) -> None:
        low, high = (np.array([f(x), f(y)], dtype=float) for f in (np.min, np.max))
        self.span = np.maximum(high - low, least)
        self.low = (low + high - self.span) / 2

    @property
    def x_ends(self) -> tuple[float, float]:
        return float(self.low[0]), float(self.low[0] + self.span[0])

    @property
    def y_ends(self) -> tuple[float, float]:
        return float(self.low[1]), float(self.low[1] + self.span[1])

    def at(self, x: float, y: float) -> tuple[float, float]:
        u, v = (np.array([x, y]) - self.low) / self.span
        return MARGIN + u * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - v * (HEIGHT - 2 * MARGIN)

    def frame(self, x_name: str, y_name: str, x_ticks: Ticks, y_ticks: Ticks) -> list[str]:
        """Grid, ticks and names."""
        parts = []
        for x, text in x_ticks:
            px, _ = self.at(x, self.low[1])
            parts += [
                f'<path d="M{px:.1f} {MARGIN}V{HEIGHT - MARGIN}" class="grid"/>',
                f'<text x="{px:.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{text}</text>',
            ]
        for y, text in y_ticks:
            _, py = self.at(self.low[0], y)
            parts += [
                f'<path d="M{MARGIN} {py:.1f}H{WIDTH - MARGIN}" class="grid"/>',
                f'<text x="{MARGIN - 6}" y="{py + 4:.1f}" text-anchor="end">{text}</text>',
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
