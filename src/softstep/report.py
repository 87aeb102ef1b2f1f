"""The page of `softstep report`: settings, versions, figures and a surface to turn, in one file."""

import json
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from softstep import html_page, sweep_report
from softstep.landscape_figures import Landscape, around
from softstep.model.plots import style
from softstep.model.plots.surface_html import interactive, surface_html
from softstep.picture import Picture, write
from softstep.report_figures import pictures
from softstep.report_subject import Subject

TURNABLE = "The loss, to be turned"

# The surface is drawn light; this draws it anew where and when the reader's page is dark.
FOLLOW = """<script>
const themes = %s, dark = matchMedia("(prefers-color-scheme: dark)");
const draw = () => {
  const theme = themes[dark.matches ? "dark" : "light"];
  Plotly.react("loss-surface", theme.data, theme.layout);
};
dark.addEventListener("change", draw);
if (dark.matches) draw();
</script>"""


def page(subject: Subject, folder: Path | None, *, tell: Callable[[str], Any]) -> str:
    """The page; each figure is also written to `folder`, if given, as PNG files.

    tell: called with the title of each figure when it is to be drawn.

    Raises:
        MissingExtraError: matplotlib or plotly is not there.
    """
    tell(TURNABLE)
    parts, landscape = [_summary(subject)], None
    try:
        landscape = subject.landscape or around(subject.model, subject.data)
    except ValueError as error:  # such as weights that are all zero, or so long that it overflows
        parts.append(html_page.section(TURNABLE, f"<p>Not drawn: {escape(str(error))}.</p>"))
    else:
        parts.append(_turnable(landscape))
    for picture in pictures(subject, landscape):
        tell(picture.title)
        parts.append(_drawn(picture, folder))
    if subject.results is not None:
        parts.append(html_page.section("All settings", sweep_report.settings(subject.results)))
    parts.append(_table("Settings", subject.settings))
    parts.append(_table("Versions", subject.versions))
    return html_page.page(subject.title, parts)


def _summary(subject: Subject) -> str:
    model, data = subject.model, subject.data
    X, y = subject.test_rows
    held_out = ""
    if subject.results is not None and subject.settings.get("cv") is None:
        held_out = ", a fifth of which was held out to choose it"
    of_train = model.score(data.X_train, data.y_train)
    return (
        f"<p>A softmax regression of {model.n_features_in_} features and {len(model.classes_)} "
        f"classes; its loss is {style.LOSSES[model.loss]}. Accuracy on the {len(X)} test rows of "
        f"{escape(data.name)}: {model.score(X, y):.4f}; on the {len(data.y_train)} training rows: "
        f"{of_train:.4f}{held_out}.</p>"
    )


def _drawn(picture: Picture, folder: Path | None) -> str:
    files, caption = picture.drawn()
    if not files:
        return html_page.section(picture.title, f"<p>{escape(caption)}</p>")
    if folder is not None:
        write(files, folder)
    light, dark = files.values()
    return html_page.section(picture.title, html_page.figure(light, dark, caption))


def _turnable(landscape: Landscape) -> str:
    surface, of = landscape.surface, landscape.of
    themes = {
        theme: json.loads(interactive(surface, of=of, theme=theme).to_json())
        for theme in style.THEMES
    }
    script = FOLLOW % json.dumps(themes).replace("</", "<\\/")
    note = '<p class="note">On each white line the loss is the same.</p>'
    return html_page.section(TURNABLE, surface_html(surface, of=of), note, script)


def _table(title: str, values: dict[str, Any]) -> str:
    rows = [(name, _text(value)) for name, value in values.items()]
    return html_page.section(title, html_page.table(("", ""), rows))


def _text(value: Any) -> str:
    return ", ".join(map(_text, value)) if isinstance(value, list) else f"{value}"
