"""The page of `softstep report`: settings, versions, figures and a surface to turn, in one file."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from softstep import html_page, sweep_report
from softstep.model.landscape import Surface
from softstep.model.plots import style
from softstep.model.plots.surface_html import interactive, surface_html
from softstep.report_figures import Picture, pictures, plane
from softstep.report_subject import Subject

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
    """The page; each figure is also written to `folder` as NAME.png and NAME-dark.png, if given.

    tell: called with the title of each figure when it is to be drawn.

    Raises:
        MissingExtraError: matplotlib or plotly is not there.
    """
    tell("The loss around the model")
    surface = plane(subject)
    parts = [_summary(subject), *_kept(subject, folder)]
    for picture in pictures(subject, surface):
        tell(picture.title)
        parts.append(_drawn(picture, folder))
    parts.append(_turnable(surface))
    if subject.results is not None:
        parts.append(html_page.section("All settings", sweep_report.settings(subject.results)))
    parts.append(_table("Settings", subject.settings))
    parts.append(_table("Versions", subject.versions))
    return html_page.page(subject.title, parts)


def _summary(subject: Subject) -> str:
    model, (X, y) = subject.model, subject.test_rows
    return (
        f"<p>A softmax regression of {model.n_features_in_} features and {len(model.classes_)} "
        f"classes, trained with {model.loss} on {len(subject.data.X_train)} rows. On "
        f"{len(X)} test rows its accuracy is {model.score(X, y):.4f}.</p>"
    )


def _kept(subject: Subject, folder: Path | None) -> Iterator[str]:
    """The figures the folder has already."""
    for name, light, dark, caption in subject.pictures:
        _write(folder, name, light, dark)
        yield html_page.section(name.capitalize(), html_page.figure(light, dark, caption))


def _drawn(picture: Picture, folder: Path | None) -> str:
    if picture.draw is None:
        return html_page.section(picture.title, f"<p>{picture.caption}</p>")
    light, dark = (style.png(picture.draw(theme)) for theme in ("light", "dark"))
    _write(folder, picture.name, light, dark)
    return html_page.section(picture.title, html_page.figure(light, dark, picture.caption))


def _write(folder: Path | None, name: str, light: bytes, dark: bytes) -> None:
    if folder is not None:
        (folder / f"{name}.png").write_bytes(light)
        (folder / f"{name}-dark.png").write_bytes(dark)


def _turnable(surface: Surface) -> str:
    themes = {
        theme: json.loads(interactive(surface, theme=theme).to_json()) for theme in style.THEMES
    }
    script = FOLLOW % json.dumps(themes).replace("</", "<\\/")
    return html_page.section("The loss, to be turned", surface_html(surface), script)


def _table(title: str, values: dict[str, Any]) -> str:
    rows = [(name, _text(value)) for name, value in values.items()]
    return html_page.section(title, html_page.table(("", ""), rows))


def _text(value: Any) -> str:
    return ", ".join(map(_text, value)) if isinstance(value, list) else f"{value}"
