"""The page of a report: a summary, figures, tables of settings and versions, all in one file."""

import json
from collections.abc import Callable, Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from softstep.kernels import losses
from softstep.model import extras
from softstep.model.plots import style
from softstep.model.plots.surface_html import interactive, surface_html
from softstep.report import figures, html_page, sweep
from softstep.report.picture import Picture, write_images
from softstep.report.subject import Subject
from softstep.runs.landscape import Landscape, View, around

INTERACTIVE = "Interactive loss surface"
Tell = Callable[[str], Any]

# The surface is drawn light; this redraws it whenever the reader's browser is dark.
FOLLOW = """<script>
const themes = %s, dark = matchMedia("(prefers-color-scheme: dark)");
const draw = () => {
  const theme = themes[dark.matches ? "dark" : "light"];
  Plotly.react("loss-surface", theme.data, theme.layout);
};
dark.addEventListener("change", draw);
if (dark.matches) draw();
</script>"""


def page(subject: Subject, folder: Path | None, *, tell: Tell) -> str:
    """The page of `softstep report`: every figure of the subject.

    folder: each figure is also written there, if given, as PNG files.
    tell: called with the title of each figure before it is drawn.

    Raises:
        MissingExtraError: matplotlib or plotly is not installed.
    """
    tell(INTERACTIVE)
    landscape, surface = _landscape(subject)
    drawn = (_drawn(picture, folder) for picture in _told(figures.all_of(subject, landscape), tell))
    return _page(subject, [surface, *drawn])


def sweep_page(subject: Subject, folder: Path | None, *, tell: Tell) -> str:
    """The page that `softstep sweep` leaves: as `page`, but without the figures of the best model,
    which would take longer than many a sweep.

    folder: the figure of the sweep is also written there, if given, as PNG files.
    tell: called with the reason if there are no figures because matplotlib is not installed; the
        page gives it too.
    """
    try:
        extras.load("matplotlib", extra="plot")
    except extras.MissingExtraError as error:
        missing = f"no figures in the report: {error}"
        tell(missing)
        return _page(subject, [f"<p>There are {escape(missing)}.</p>"])
    sections = [
        _drawn(figures.sweep(subject), folder),
        _drawn(figures.confusion(subject), None),
        "<p><code>softstep report</code> on this folder adds figures of the best model.</p>",
    ]
    return _page(subject, sections)


def _page(subject: Subject, sections: Iterable[str]) -> str:
    parts = [_summary(subject)]
    tables = [_table("Settings", subject.settings), _table("Versions", subject.versions)]
    if subject.results is not None:
        parts += sweep.summary(subject.results, subject.settings, list(subject.notes))
        tables.insert(0, html_page.section("All settings", sweep.table(subject.results)))
    return html_page.page(subject.title, [*parts, *sections, *tables])


def _summary(subject: Subject) -> str:
    model, data = subject.model, subject.data
    X, y = subject.test_rows
    held_out = ""
    if subject.results is not None and subject.settings.get("cv") is None:
        held_out = ", a fifth of which was held out to choose it"
    of_train = model.score(data.X_train, data.y_train)
    return (
        f"<p>A softmax regression with {model.n_features_in_} features and {len(model.classes_)} "
        f"classes, trained on the {losses.find(model.loss).title} loss. Accuracy on the {len(X)} "
        f"test rows of {escape(data.name)}: {model.score(X, y):.4f}; on the {len(data.y_train)} "
        f"training rows: {of_train:.4f}{held_out}.</p>"
    )


def _landscape(subject: Subject) -> tuple[Landscape | None, str]:
    """The loss around the model, and the section of its interactive surface."""
    try:
        landscape = subject.landscape or around(subject.model, subject.data, View())
    except ValueError as error:  # such as weights that are all zero, or so large that it overflows
        return None, html_page.section(INTERACTIVE, f"<p>Not drawn: {escape(str(error))}.</p>")
    return landscape, _interactive(landscape)


def _told(pictures: Iterable[Picture], tell: Tell) -> Iterator[Picture]:
    for picture in pictures:
        tell(picture.title)
        yield picture


def _drawn(picture: Picture, folder: Path | None) -> str:
    files, caption = picture.drawn()
    if not files:
        return html_page.section(picture.title, f"<p>{escape(caption)}</p>")
    if folder is not None:
        write_images(files, folder)
    light, dark = files.values()
    return html_page.section(picture.title, html_page.figure(light, dark, caption))


def _interactive(landscape: Landscape) -> str:
    surface, of = landscape.surface, landscape.of
    themes = {
        theme: json.loads(interactive(surface, of=of, theme=theme).to_json())
        for theme in style.THEMES
    }
    script = FOLLOW % json.dumps(themes).replace("</", "<\\/")
    note = '<p class="note">The loss is constant along each white line.</p>'
    return html_page.section(INTERACTIVE, surface_html(surface, of=of), note, script)


def _table(title: str, values: dict[str, Any]) -> str:
    rows = [(name, _text(value)) for name, value in values.items()]
    return html_page.section(title, html_page.table(("", ""), rows))


def _text(value: Any) -> str:
    return ", ".join(map(_text, value)) if isinstance(value, list) else f"{value}"
