"""softstep.model.plots: figures of softmax regressions, by matplotlib (`softstep[plot]`).

One file per figure. A figure function takes `theme="light"` or `"dark"` and returns a matplotlib
Figure, which nothing else refers to; `style.py` says how all of them look.
"""

from softstep.model.plots.gradient import angles, arrow_points, gradient
from softstep.model.plots.line import line
from softstep.model.plots.surface import contours, surface
from softstep.model.plots.surface_html import surface_html
from softstep.model.plots.sweep import sweep

__all__ = [
    "angles",
    "arrow_points",
    "contours",
    "gradient",
    "line",
    "surface",
    "surface_html",
    "sweep",
]
