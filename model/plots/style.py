"""The look of all figures: two themes, text sizes, colours that colour-blind readers tell apart.

A figure of the usual width is 1200 pixels wide; shown at 600, its text is 12 pixels high.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.model import extras

WIDTH, HEIGHT = 7.5, 4.4  # inches
DPI = 160
TEXT, SMALL, TITLE = 11, 9.5, 12.5  # points

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Theme:
    """Colours by purpose."""

    name: str
    page: str  # the background
    ink: str  # text and whatever matters
    muted: str  # axes and everything secondary
    grid: str
    colours: tuple[str, ...]  # of lines, in this order; Okabe and Ito 2008
    good: str
    bad: str
    stops: tuple[str, ...]  # of a scale of values: from the background to the strongest
    signs: tuple[str, str, str]  # negative, zero, positive


LIGHT = Theme(
    name="light",
    page="#ffffff",
    ink="#1c1917",
    muted="#57534e",
    grid="#e7e5e4",
    colours=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    good="#0072b2",
    bad="#d55e00",
    stops=("#ffffff", "#9ecbe6", "#0072b2", "#06304d"),
    signs=("#c04a00", "#ffffff", "#00619a"),
)
DARK = Theme(
    name="dark",
    page="#141416",
    ink="#f2f0ee",
    muted="#b5b0aa",
    grid="#35353a",
    colours=("#56b4e9", "#e69f00", "#00c08b", "#e79ac4", "#f0e442", "#f0743e"),
    good="#56b4e9",
    bad="#f0743e",
    stops=("#141416", "#12486e", "#56b4e9", "#e6f5ff"),
    signs=("#ff9a5c", "#141416", "#6cc4f7"),
)
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}


class NothingToDrawError(ValueError):
    """There is nothing to see in these numbers, such as contours of a flat loss."""


def theme_named(name: str) -> Theme:
    """The theme "light" or "dark"; ValueError for another name."""
    if name not in THEMES:
        raise ValueError(f"theme must be one of {', '.join(THEMES)}, not {name!r}")
    return THEMES[name]


def new_figure(theme: Theme, *, height: float = HEIGHT) -> Any:
    """An empty figure, WIDTH by `height` inches. MissingExtraError without matplotlib."""
    figure = extras.load("matplotlib.figure", extra="plot")
    return figure.Figure(
        figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor=theme.page
    )


def axes_at(figure: Any, left: float, bottom: float, width: float, height: float) -> Any:
    """Axes at a position in inches from the figure's lower left corner."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def dress(axes: Any, theme: Theme, *, x: str = "", y: str = "", title: str = "") -> Any:
    """Give axes (2-D or 3-D) the theme's colours and these labels; returns them."""
    axes.set_facecolor(theme.page)
    axes.set_xlabel(x, color=theme.ink, fontsize=TEXT)
    axes.set_ylabel(y, color=theme.ink, fontsize=TEXT)
    axes.set_title(title, color=theme.ink, fontsize=TITLE, loc="left")
    axes.tick_params(which="both", colors=theme.muted, labelsize=SMALL)
    axes.grid(True, color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_color(theme.muted)
        spine.set_visible(side in ("left", "bottom"))
    return axes


def plain_logs(axis: Any) -> None:
    """Label a logarithmic axis with plain numbers, no exponents; a few even for a narrow range."""
    ticker = extras.load("matplotlib.ticker", extra="plot")
    low, high = np.log10(axis.get_view_interval())
    subs = (1,) if high - low > 2 else (1, 3) if high - low > 1.2 else (1, 2, 5)
    powers = ticker.LogLocator(subs=subs, numticks=8)
    axis.set_major_locator(powers if high - low > 0.7 else ticker.MaxNLocator(4))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def plain(name: Any) -> str:
    """A name, such as a label, escaped so that matplotlib takes no $ in it for a formula."""
    return str(name).replace("$", r"\$")


def fitted(name: Any, width: float, size: float) -> str:
    """A name as `plain` gives it, with an ellipsis in the middle if it exceeds `width` inches.

    The middle goes because similar names differ at their ends. `size`: of the text, in points.
    """
    whole = text = " ".join(str(name).split())  # on one line
    for kept in range(len(whole) - 1, 1, -1):
        if text_width(text, size) <= width:
            break
        text = f"{whole[: kept - kept // 2]}…{whole[-(kept // 2) :]}"
    return plain(text)


def text_width(text: str, size: float) -> float:
    """The width of a line of text at `size` points, in inches."""
    textpath = extras.load("matplotlib.textpath", extra="plot")
    fonts = extras.load("matplotlib.font_manager", extra="plot")
    width, _, _ = textpath.TextToPath().get_text_width_height_descent(
        text, fonts.FontProperties(size=size), ismath=False
    )
    return float(width) / 72


def power_of_e(log: float, digits: int = 4) -> str:
    """e^log to that many digits, written 2.31·10⁻⁷⁶ if far from 1; it may lie beyond all floats."""
    log10 = float(log) / np.log(10)
    if -3 <= log10 < 4 and "e" not in (text := f"{np.exp(log):.{digits}g}"):
        return text
    whole = int(np.floor(log10))
    number, carry = f"{10 ** (log10 - whole):.{digits - 1}e}".split("e")
    return number + power_of_ten(whole + int(carry))


def power_of_ten(exponent: int) -> str:
    """The power as it follows a number: ·10⁻⁷⁶."""
    return f"·10{str(exponent).translate(SUPERSCRIPTS)}"


def legend(axes: Any, theme: Theme, **keywords: Any) -> Any:
    """A legend in the theme's colours; `keywords` are matplotlib's."""
    return axes.legend(
        labelcolor=theme.ink,
        fontsize=SMALL,
        facecolor=theme.page,
        edgecolor=theme.grid,
        **keywords,
    )


def value_colours(theme: Theme) -> Any:
    """A colour map for values from 0 up: 0 has the colour of the background."""
    colors = extras.load("matplotlib.colors", extra="plot")
    return colors.LinearSegmentedColormap.from_list(f"softstep-{theme.name}", theme.stops)


def sign_colours(theme: Theme) -> Any:
    """A colour map for values of either sign: 0 has the colour of the background."""
    colors = extras.load("matplotlib.colors", extra="plot")
    return colors.LinearSegmentedColormap.from_list(f"softstep-signs-{theme.name}", theme.signs)


def ink_on(theme: Theme, ground: Any) -> str:
    """The text colour with more contrast on `ground`: red, green and blue in [0, 1]."""
    return max((theme.ink, theme.page), key=lambda ink: contrast(rgb(ink), ground))


def rgb(colour: str) -> Any:
    """ "#rrggbb" as red, green and blue in [0, 1], (3,)."""
    return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255


def contrast(a: Any, b: Any) -> float:
    """The ratio of the relative luminances, as WCAG 2 defines it."""
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


def _luminance(rgb: Any) -> float:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def png(figure: Any) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
