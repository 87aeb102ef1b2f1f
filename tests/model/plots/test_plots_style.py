"""Promise: all figures have one look, light or dark, that can be read at 600 pixels."""

import sys

import numpy as np
import pytest

from softstep import cli
from softstep.model import extras
from softstep.model.plots import style

pytest.importorskip("matplotlib")


def contrast(a, b):
    return style.contrast(style.rgb(a), style.rgb(b))


@pytest.mark.parametrize("theme", style.THEMES.values(), ids=style.THEMES)
def test_text_and_lines_stand_out_from_the_ground(theme):
    assert contrast(theme.ink, theme.page) > 12  # WCAG asks 4.5 of text, 3 of graphics
    assert contrast(theme.muted, theme.page) > 4.5
    assert min(contrast(colour, theme.page) for colour in theme.colours[:3]) > 2.9


@pytest.mark.parametrize("theme", style.THEMES.values(), ids=style.THEMES)
def test_the_first_colours_differ_for_colour_blind_readers(theme):
    """Viénot, Brettel and Mollon 1999: what a reader without red or green cones sees."""
    to_lms = np.array([[17.88, 43.52, 4.12], [3.46, 27.16, 3.87], [0.03, 0.18, 1.47]])
    protan = np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]])
    deutan = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    linear = np.array([style.rgb(c) for c in theme.colours[:3]]) ** 2.2
    for lost in (protan, deutan):
        seen = np.linalg.inv(to_lms) @ lost @ to_lms @ linear.T
        seen = np.clip(seen, 0, 1).T ** (1 / 2.2)
        apart = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
        assert min(apart) > 0.2


def test_colours_of_signs_have_the_ground_at_zero():
    for theme in style.THEMES.values():
        middle = style.sign_colours(theme)(0.5)[:3]
        np.testing.assert_allclose(middle, style.rgb(theme.page), atol=0.02)


def test_ink_on_a_colour_is_the_one_that_can_be_read():
    light = style.LIGHT
    assert style.ink_on(light, style.rgb("#ffe0c0")) == light.ink
    assert style.ink_on(light, style.rgb("#102040")) == light.page


def test_another_theme_is_refused():
    with pytest.raises(ValueError, match="theme must be one of light, dark, not 'sepia'"):
        style.theme_named("sepia")


def test_without_matplotlib_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(extras.MissingExtraError, match=r"pip install 'softstep\[plot\]'"):
        style.new_figure(style.LIGHT)


def test_without_plotly_a_report_ends_in_one_sentence(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "plotly", None)
    assert cli.main(["report", "nothing.npz"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'softstep[report]'" in error
    assert error.count("\n") == 1


def test_long_names_lose_their_middle_until_they_fit():
    for name in ("W" * 40, "i" * 80, "a rather long class name no. 3", "été" * 20):
        short = style.fitted(name, 1.0, style.SMALL)
        assert style.text_width(short, style.SMALL) <= 1.0
        start, end = short.split("…")
        assert name.startswith(start)
        assert name.endswith(end)
        assert start
        assert end
        wider = name[: len(start) + 1] + "…" + name[-len(end) - 1 :]
        assert style.text_width(wider, style.SMALL) > 1.0  # no shorter than it must be
    assert style.fitted("short", 1.0, style.SMALL) == "short"
    assert style.fitted(7, 1.0, style.SMALL) == "7"
    assert style.fitted("$x_{$\ny", 1.0, style.SMALL) == r"\$x_{\$ y"


def test_logarithmic_axes_have_plain_numbers_and_always_some():
    for low, high, expected in (
        (0.001, 100, ["0.001", "0.01", "0.1", "1", "10", "100"]),
        (0.05, 5, ["0.1", "0.3", "1", "3"]),
        (0.0131, 0.0149, None),
    ):
        axes = style.new_figure(style.LIGHT).subplots()
        axes.set(yscale="log", ylim=(low, high))
        style.plain_logs(axes.yaxis)
        axes.figure.draw_without_rendering()
        ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
        seen = [label.get_text() for at, label in ticks if low * 0.999 < at < high * 1.001]
        assert seen == expected if expected else len(seen) >= 2
        assert not any("$" in text for text in seen)
