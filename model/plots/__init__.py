"""softstep.model.plots: figures of softmax regressions, drawn with matplotlib (`softstep[plot]`).

One file per figure. A figure function takes `theme="light"` or `"dark"` and returns a matplotlib
Figure that is not registered with pyplot; `style.py` says how all of them look.
"""

from softstep.model.plots.confusion import confusion, counts
from softstep.model.plots.forward import forward
from softstep.model.plots.gradient import arrow_points, gradient
from softstep.model.plots.learning_rate import learning_rate, three_rates
from softstep.model.plots.line import line
from softstep.model.plots.momentum import momentum
from softstep.model.plots.regularisation import regularisation
from softstep.model.plots.surface import contours, surface
from softstep.model.plots.surface_html import surface_html
from softstep.model.plots.sweep import sweep
from softstep.model.plots.weights import weights

__all__ = [
    "arrow_points",
    "confusion",
    "contours",
    "counts",
    "forward",
    "gradient",
    "learning_rate",
    "line",
    "momentum",
    "regularisation",
    "surface",
    "surface_html",
    "sweep",
    "three_rates",
    "weights",
]
