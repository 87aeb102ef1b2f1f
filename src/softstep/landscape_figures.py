"""The loss around a model: what `softstep landscape` and `softstep report` compute and show."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from softstep import SoftmaxRegression
from softstep.model import WeightPath, plots
from softstep.model.datasets import Dataset
from softstep.model.landscape import Line, Surface, loss_line, loss_surface, plane_slopes
from softstep.picture import Picture
from softstep.recipe import known_rows

NAMES = ("surface", "contours", "gradient", "line")  # of all figures there may be
KINDS = {"train": "training rows", "test": "test rows"}


@dataclass(frozen=True)
class Landscape:
    """The loss of the rows X, y on a plane through the model, and on the plane's first direction.

    of: which rows they are, "training rows" or "test rows".
    """

    model: SoftmaxRegression
    X: Any
    y: Any
    of: str
    surface: Surface
    line: Line


def rows_of(model: SoftmaxRegression, data: Dataset, kind: str) -> tuple[Any, Any]:
    """The "train" or "test" rows whose labels the model knows.

    Raises ValueError where it knows none.
    """
    X: Any = data.X_train if kind == "train" else data.X_test
    y: Any = data.y_train if kind == "train" else data.y_test
    known = known_rows(model, y)
    if known.all():
        return X, y
    if not known.any():
        raise ValueError(f"no {KINDS[kind][:-1]} of {data.name} has a label that the model knows")
    return X[known], y[known]


def around(
    model: SoftmaxRegression,
    data: Dataset,
    kind: str = "train",
    directions: str = "random",
    *,
    span: float = 1.0,
    steps: int = 51,
    path: WeightPath | None = None,
    random_state: int = 0,
    callback: Callable[[int, int], Any] | None = None,
) -> Landscape:
    """The loss around `model`; `kind` is as for `rows_of`, the rest as for `loss_surface`."""
    X, y = rows_of(model, data, kind)
    whole: Any = data.y_train if kind == "train" else data.y_test
    lost = len(whole) - len(y)
    if lost:
        print(f"{lost} {KINDS[kind]} have a label that the model does not know: left out")
    surface = loss_surface(
        model,
        X,
        y,
        directions,
        span,
        steps,
        path=path,
        random_state=random_state,
        callback=callback,
    )
    return Landscape(
        model, X, y, KINDS[kind], surface, loss_line(model, X, y, surface.D1, span, steps)
    )


def pictures(landscape: Landscape) -> Iterator[Picture]:
    """The figures, without the gradient where the path is not seen in the plane."""
    surface, of = landscape.surface, landscape.of
    way = "" if surface.path is None else "; the line is the way of the descent"
    yield Picture(
        "surface",
        "The loss around the model",
        f"The loss of the {of} on a plane through the weights{way}.",
        lambda theme: plots.surface(surface, of=of, theme=theme),
    )
    yield Picture(
        "contours",
        "The same from above",
        "On each line the loss is the same.",
        lambda theme: plots.contours(surface, of=of, theme=theme),
    )
    is_pca = surface.explained_variance is not None
    if is_pca and len(at := plots.arrow_points(surface)):  # a small plane may hold the end alone
        slopes = plane_slopes(landscape.model, landscape.X, landscape.y, surface, surface.path[at])
        yield Picture(
            "gradient",
            "Gradient and way",
            "At some points of the way: where the loss grows fastest, and the way on, to the next "
            "point kept, some steps later.",
            lambda theme: plots.gradient(surface, slopes, of=of, theme=theme),
        )
    name = "PC 1 of the path" if is_pca else "the first random direction"
    yield Picture(
        "line",
        "The slope",
        "The loss along the first direction, and tangents to it: their slope is the derivative.",
        lambda theme: plots.line(landscape.line, name=name, of=of, theme=theme),
    )
