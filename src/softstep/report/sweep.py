"""What a report says about a sweep besides its figures: the best setting, and a table of all."""

from html import escape
from typing import Any

import numpy as np

from softstep.report import html_page
from softstep.runs.results import in_words


def summary(results: dict[str, Any], settings: dict[str, Any], notes: list[str]) -> list[str]:
    """Paragraphs: the best setting, what all settings share, notes of the run.

    results: as `SoftmaxSweep.results_`, with or without `params`. settings: of the sweep.
    """
    best = int(np.argmin(results["rank"]))
    params = ", ".join(
        f"{name.removeprefix('param_')} {_cell(values[best])}"
        for name, values in results.items()
        if name.startswith("param_")
    )
    dropped = ", the worse half dropped again and again" if settings.get("halving") else ""
    shared = (
        f"solved by L-BFGS, tol {settings.get('tol')}, best by {settings.get('refit')}"
        if settings.get("solver") == "lbfgs"
        else f"{settings.get('epochs')} epochs in batches of {settings.get('batch_size')}, "
        f"{settings.get('schedule')} learning rate, seed {settings.get('random_state')}, "
        f"best by {settings.get('refit')}{dropped}"
    )
    best_of = f"The best of {len(results['rank'])} settings: {params}"
    said = [best_of, f"All settings: {shared}", *map(str, notes)]
    return [f"<p>{escape(sentence[:1].upper() + sentence[1:])}.</p>" for sentence in said]


def table(results: dict[str, Any]) -> str:
    """All settings, the best first; `results` as for `summary`."""
    names = ["rank", *(name for name in results if name not in ("params", "rank"))]
    order = np.argsort(results["rank"], kind="stable")
    return html_page.table(
        [escape(name.removeprefix("param_")) for name in names],
        ([_cell(results[name][i]) for name in names] for i in order),
    )


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.4g}"
    return in_words(value)
